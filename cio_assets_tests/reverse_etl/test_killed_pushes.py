"""SIGKILL at any moment of a push: the next one sends the rest, and at most what was under way twice."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cio_assets.customerio import limits
from cio_assets_tests import forked
from cio_assets_tests.conftest import PROJECT
from cio_assets_tests.reverse_etl.pushing import EVENTS, PERSONS, Pushing

ROWS = 12_000
WORKERS = 3
TABLES = {
    "persons": f"SELECT 'u_' || i AS id, repeat('x', 400) AS note, i AS visits FROM range({ROWS}) t(i)",
    "events": f"""SELECT 'u_' || (i % 500) AS person_id, 'bought' AS event_name, repeat('x', 400) AS note,
                  TIMESTAMP '2026-10-01' + INTERVAL (i) SECOND AS timestamp FROM range({ROWS}) t(i)""",
}


def start(pushing: Pushing, kind: str) -> subprocess.Popen[str]:
    """A push in a process of its own."""
    assert pushing.box
    box = {"url": pushing.box.url, "site_id": pushing.box.site_id, "track_key": pushing.box.track_key}
    command = [sys.executable, "-m", "cio_assets_tests.reverse_etl.killed_pushes"]
    return subprocess.Popen(
        [*command, str(pushing.folder), json.dumps(box), kind], stdout=subprocess.PIPE, text=True, cwd=PROJECT
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["persons", "events"])
def test_nothing_is_lost_and_nothing_counts_twice(kind: str, tmp_path: Path) -> None:
    what = {"persons": PERSONS, "events": EVENTS}[kind]
    with forked.launch(people=0, campaigns=0, objects=0, app_rps=0, track_rps=0, latency_ms=120) as box:
        pushing = Pushing(box, tmp_path)
        pushing.sql(f"CREATE TABLE reverse_etl.{kind} AS {TABLES[kind]}")
        kills = 0
        for delay in (0.0, 0.15, 0.3, 0.45, 0.6, 0.8):
            process = start(pushing, kind)
            assert process.stdout
            process.stdout.readline()
            time.sleep(delay)
            kills += process.poll() is None
            process.kill()
            process.wait()
            process.stdout.close()
        last = pushing.push(what)
        stats = box.stats()
        assert kills >= 4, "the pushes ended before they were killed: give them more rows"
        if kind == "persons":
            people = {row["attributes"]["id"]: row["attributes"]["visits"] for row in box.truth("customer_attributes")}
            assert people == {f"u_{number}": str(number) for number in range(ROWS)}
        else:
            assert len(box.truth("track_events")) == ROWS
        of_a_batch = limits.BATCH // 400
        assert sum(stats["operations"].values()) <= ROWS + kills * WORKERS * of_a_batch
        assert last.rejected == {}
        again = pushing.push(what)
        assert again.requests == 0


def test_what_a_killed_push_sent_is_not_sent_again(tmp_path: Path) -> None:
    with forked.launch(people=0, campaigns=0, objects=0, app_rps=0, track_rps=0, latency_ms=250) as box:
        pushing = Pushing(box, tmp_path)
        pushing.sql(f"CREATE TABLE reverse_etl.persons AS {TABLES['persons']}")
        process = start(pushing, "persons")
        journal = pushing.outbox / "persons" / "journal"
        deadline = time.monotonic() + 60
        while not (journal.exists() and journal.read_bytes().count(b"\n") >= 4) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()
        noted = sum(
            end - first for _, first, end, _ in map(json.loads, filter(None, journal.read_bytes().splitlines()))
        )
        assert 0 < noted < ROWS
        result = pushing.push(PERSONS)
        assert result.recovered == noted
        assert result.unchanged == noted
        assert result.accepted == ROWS - noted
