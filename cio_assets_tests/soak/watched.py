"""What others notice while a warehouse is written: who reads it, who looks at the web server, who queues to write."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb

from cio_assets_tests.test_ui import Ui

VERSION = "{ version }"
RUNS = """{ runsOrError(limit: 20) { __typename
  ... on Runs { results { runId jobName status startTime endTime tags { key value } } } } }"""


@dataclass
class Watcher:
    """Looks again and again, in a thread of its own; what it raises fails the test."""

    pause: float = 0.02
    over: threading.Event = field(default_factory=threading.Event)
    failures: list[BaseException] = field(default_factory=list)

    def look(self) -> None:
        raise NotImplementedError

    def run(self) -> None:
        try:
            while not self.over.wait(self.pause):
                self.look()
        except BaseException as error:
            self.failures.append(error)


@contextmanager
def watching(*watchers: Watcher) -> Iterator[None]:
    """All of them look while the block runs."""
    threads = [threading.Thread(target=watcher.run) for watcher in watchers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for watcher, thread in zip(watchers, threads, strict=True):
            watcher.over.set()
            thread.join()
    assert [error for watcher in watchers for error in watcher.failures] == []


@dataclass
class Reader(Watcher):
    """A DuckDB of somebody's own, a few milliseconds each time, as a dashboard does."""

    path: Path = Path()
    looks: int = 0
    refused: int = 0
    longest: float = 0.0
    """Seconds without a look."""
    counts: dict[str, set[int]] = field(default_factory=dict)
    _seen: float = field(default_factory=time.monotonic)

    def look(self) -> None:
        try:
            self._count()
        except duckdb.IOException as error:
            if "lock" not in str(error):
                raise
            self.refused += 1
            return
        finally:
            self.longest = max(self.longest, time.monotonic() - self._seen)
        self.looks += 1
        self._seen = time.monotonic()

    def _count(self) -> None:
        with duckdb.connect(str(self.path), read_only=True) as con:
            for table in ("messages", "segment_membership"):
                if con.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = ?", [table]).fetchall():
                    found = con.execute(f"SELECT count(*) FROM customerio.{table}").fetchall()
                    self.counts.setdefault(table, set()).add(found[0][0])


@dataclass
class Visitor(Watcher):
    """Somebody at the web server: whether it is there, and its list of runs."""

    ui: Ui = field(default_factory=lambda: Ui(""))
    seconds: dict[str, list[float]] = field(default_factory=lambda: {VERSION: [], RUNS: []})
    """How long each answer took, by query."""
    seen: set[tuple[str, str]] = field(default_factory=set)
    """Runs and the status in which they were seen."""

    def look(self) -> None:
        assert self._ask(VERSION)["version"]
        listed = self._ask(RUNS)["runsOrError"]
        assert listed["__typename"] == "Runs", listed
        self.seen.update((run["runId"], run["status"]) for run in listed["results"])

    def _ask(self, query: str) -> dict[str, Any]:
        asked = time.monotonic()
        answer = self.ui.ask(query)
        self.seconds[query].append(time.monotonic() - asked)
        return answer


@dataclass
class Queue(Watcher):
    """Who waits for a lock file, as the kernel tells it."""

    lock: Path = Path()
    waits: dict[int, float] = field(default_factory=dict)
    """By process, the longest that it waited at a stretch, in seconds."""
    _since: dict[int, float] = field(default_factory=dict)

    def look(self) -> None:
        now = time.monotonic()
        waiting = self._waiting()
        self._since = {process: self._since.get(process, now) for process in waiting}
        for process, since in self._since.items():
            self.waits[process] = max(self.waits.get(process, 0.0), now - since)

    def _waiting(self) -> set[int]:
        """Lines such as `1: -> FLOCK  ADVISORY  WRITE 3989 fe:00:2441501 0 EOF`."""
        if not self.lock.exists():
            return set()
        file = f":{self.lock.stat().st_ino}"
        lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        return {int(words[5]) for words in lines if words[1] == "->" and words[6].endswith(file)}


def loads(instance: dg.DagsterInstance) -> dict[str, list[float]]:
    """How long the loads of each table took, with the time that they waited for the warehouse, in seconds."""
    found: dict[str, list[float]] = {}
    for run in instance.get_runs():
        made: dict[str | None, float] = {}
        for entry in instance.all_logs(run.run_id):
            event = entry.get_dagster_event() if entry.is_dagster_event else None
            if event and event.event_type is dg.DagsterEventType.STEP_OUTPUT:
                made.setdefault(event.step_key, entry.timestamp)
            elif event and event.event_type is dg.DagsterEventType.HANDLED_OUTPUT:
                found.setdefault(f"{event.step_key}", []).append(entry.timestamp - made[event.step_key])
    return found
