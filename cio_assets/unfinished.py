"""The sync of the command line that did not end: the next one of the same kind does not ask again what it has finished.

Which tables those are stands in Dagster's own event log; here is only kept under which tag to look for them.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from cio_assets.assets.asked import SYNC_TAG
from cio_assets.turns import turn_if_free

BELIEVED = timedelta(hours=6)
"""How long after its begin what a sync that died has finished counts as read by the next one."""

ENDED = timedelta(minutes=30)
"""The same for one that came to its end with tables that failed: how long after that end it is taken up again."""

_FILE = "unfinished-sync.json"


@dataclass(frozen=True)
class Attempt:
    """One sync: its id, when its first attempt began, and the steps that earlier attempts have finished."""

    id: str
    began: datetime
    finished: frozenset[str]


@contextmanager
def attempt(home: Path, inputs: str, instance: Callable[[], dg.DagsterInstance]) -> Iterator[Attempt]:
    """Go on with a sync of the same `inputs` that did not end, or begin one; call `ended` when it has.

    The `instance` is only looked into for what an earlier one has finished.

    Of two at the same time the second one begins anew, and is not gone on with.
    """
    path = home / _FILE
    with ExitStack() as held:
        try:
            held.enter_context(turn_if_free(home / f"{_FILE}.lock"))
        except BlockingIOError:
            yield _new()
            return
        earlier = _read(path, inputs)
        if earlier is not None:
            yield Attempt(earlier.id, earlier.began, _finished(instance(), earlier.id))
            return
        new = _new()
        _write(path, inputs, new)
        yield new


def ended(home: Path, which: Attempt, *, failed: bool) -> None:
    """The sync came to its end: nothing is left to go on with, or for a while the tables that failed."""
    path = home / _FILE
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["id"] != which.id:
            return
        if not failed:
            path.unlink()
        elif "ended" not in kept:  # the first end counts: a table that always fails must not keep the others old
            path.write_text(json.dumps(kept | {"ended": datetime.now(UTC).isoformat()}), encoding="utf-8")


def _new() -> Attempt:
    return Attempt(uuid.uuid4().hex, datetime.now(UTC), frozenset())


def _read(path: Path, inputs: str) -> Attempt | None:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        began = datetime.fromisoformat(kept["began"])
        now = datetime.now(UTC)
        believed = abs(now - began) < BELIEVED
        if "ended" in kept:
            believed = believed and abs(now - datetime.fromisoformat(kept["ended"])) < ENDED
        return Attempt(kept["id"], began, frozenset()) if kept["inputs"] == inputs and believed else None
    except (OSError, ValueError, KeyError, TypeError):  # none there, or not ours
        return None


def _write(path: Path, inputs: str, one: Attempt) -> None:
    kept = {"inputs": inputs, "id": one.id, "began": one.began.isoformat()}
    with suppress(OSError):  # a full disk: then the next one begins anew
        path.write_text(json.dumps(kept), encoding="utf-8")


def _finished(instance: dg.DagsterInstance, sync_id: str) -> frozenset[str]:
    """Steps that succeeded in the runs of a sync; runs whose process died are closed."""
    steps: set[str] = set()
    for run in instance.get_runs(filters=dg.RunsFilter(tags={SYNC_TAG: sync_id})):
        for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_SUCCESS):
            if entry.step_key:
                steps.add(entry.step_key)
        if not run.is_finished:
            instance.report_run_failed(run, "The process of this run died; the next sync goes on where it was.")
    return frozenset(steps)
