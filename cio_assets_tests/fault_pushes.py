"""The write side of the fault matrix: pushes of each way to send, made while the service misbehaves.

What came of a push is judged by what the sandbox holds afterwards, and by the next push of the same rows.
"""

from __future__ import annotations

import itertools
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from cio_assets import sandbox
from cio_assets.customerio import RateLimiter
from cio_assets.customerio.track_client import TrackClient
from cio_assets.reverse_etl.model import Sync
from cio_assets.reverse_etl.push import PushResult, Target, target_name
from cio_assets.reverse_etl.source import PushError
from cio_assets_tests.fault_outcomes import ATTEMPTS, PATIENCE, REJECTED, REST, RIGHT, STALL, Case, Clock, Seen
from cio_assets_tests.reverse_etl.pushing import EVENTS, PERSONS, Pushing, sync, whole

SANDBOX: dict[str, Any] = {
    "people": 0,
    "campaigns": 0,
    "broadcasts": 0,
    "newsletters": 0,
    "objects": 0,
    "segments": 4,
    "app_rps": 0,
    "track_rps": 0,
}

_LONG = 24
"""So many operations of 24 kB take two batches."""
_SEGMENT = 3
"""The sandbox's manual segment."""


@dataclass(frozen=True)
class Rows:
    """The rows of a push, what is in the workspace once they have arrived, and how many of them the service refuses."""

    table: pa.Table
    there: Sequence[Any]
    refused: int = 0


@dataclass(frozen=True)
class Column:
    """A way to send: the rows of the n-th case, what the workspace holds of such, and where a fault comes once."""

    title: str
    sync: Sync
    rows: Callable[[int, bool], Rows]
    """Of the case's number, and whether they must take several requests."""
    held: Callable[[sandbox.Sandbox], Iterator[Any]]
    path: str = "^/api/v2/batch$"
    places: tuple[int, ...] = (0, 1)
    """Requests that are spared before one meets a fault that comes once."""
    adds: bool = False
    """Whether what arrived before stays beside it."""
    dry_run: bool = False


def _long(count: int, letter: str) -> dict[str, list[str]]:
    return {f"note_{number}": [letter * 950] * count for number in range(25)} if count == _LONG else {}


def _persons(case: int, _several: bool) -> Rows:
    ids, visits = [f"u_{number}" for number in range(_LONG)], [str(case)] * _LONG
    table = pa.table({"id": ids, "visits": visits, **_long(_LONG, "abcdefgh"[case % 8])})
    return Rows(table, [*zip(ids, visits, strict=True)])


def _mirror(case: int, _several: bool) -> Rows:
    """Whoever the case before brought has left: one request writes, one removes."""
    ids = ["u_1", "u_2", f"only_{case}"]
    return Rows(pa.table({"id": ids, "visits": [str(case)] * 3}), [(one, str(case)) for one in ids])


def _objects(case: int, _several: bool) -> Rows:
    """One of a type that the workspace does not have."""
    ids = [f"o_{case}_{number}" for number in range(4)]
    types = ["1", "1", "99", "1"]
    there = [one for one, type_ in zip(ids, types, strict=True) if type_ == "1"]
    return Rows(pa.table({"object_type_id": types, "object_id": ids}), there, refused=1)


def _events(who: str) -> Callable[[int, bool], Rows]:
    def rows(case: int, several: bool) -> Rows:
        count = _LONG if several and who == "person_id" else 3
        names = [f"e_{case}_{number}" for number in range(count)]
        times = [1_790_000_000 + 100 * case + number for number in range(count)]
        table = {who: ["u_1"] * count, "event_name": names, "timestamp": times, **_long(count, "x")}
        return Rows(pa.table(table), names)

    return rows


def _members(case: int, _several: bool) -> Rows:
    """Three come and three leave: one request adds, one removes."""
    ids = [f"s_{number}" for number in (range(6) if case % 2 else range(3, 9))]
    return Rows(pa.table({"segment_id": [_SEGMENT] * 6, "person_id": ids}), ids)


def _people_held(box: sandbox.Sandbox) -> Iterator[Any]:
    for row in box.truth("customer_attributes"):
        yield row["attributes"]["id"], row["attributes"].get("visits")


def _events_held(box: sandbox.Sandbox) -> Iterator[Any]:
    return (row["name"] for row in box.truth("track_events"))


def _objects_held(box: sandbox.Sandbox) -> Iterator[Any]:
    return (row["object_id"] for row in box.truth("objects"))


def _members_held(box: sandbox.Sandbox) -> Iterator[Any]:
    return (row["id"] for row in box.truth("segment_membership") if row["segment_id"] == _SEGMENT)


COLUMNS = {
    "persons": Column("persons", PERSONS, _persons, _people_held),
    "mirror": Column("persons, mirror", sync("persons", mode="mirror"), _mirror, _people_held),
    "objects": Column("objects, one refused", sync("objects"), _objects, _objects_held, places=(0,), adds=True),
    "events": Column("events", EVENTS, _events("person_id"), _events_held, adds=True),
    "anonymous": Column(
        "anonymous events", EVENTS, _events("anonymous_id"), _events_held, "^/api/v1/events$", adds=True
    ),
    "members": Column("segment members", sync("segment_members"), _members, _members_held, "^/api/v1/segments/"),
    "dry-run": Column("dry run", PERSONS, _persons, _people_held, places=(0,), dry_run=True),
}


class Hasty(Pushing):
    """Pushes by a client of few attempts, which waits for nothing and asks one thing at a time."""

    patience: float = 60
    """Seconds for an answer."""

    def target(self) -> Target:
        box, clock, patience = self.box, Clock(), self.patience
        assert box

        def client() -> AbstractContextManager[TrackClient]:
            return TrackClient(
                base_url=box.url,
                site_id=box.site_id,
                key=box.track_key,
                limiter=RateLimiter(self.folder, box.url, box.track_key, 0, clock=clock.time, sleep=clock.sleep),
                timeout=(10, patience),
                max_attempts=ATTEMPTS,
                workers=1,
                sleep=clock.sleep,
            )

        return Target(target_name("host", box.site_id), client)


@dataclass
class Pushes:
    """A column's pushes from a warehouse of its own."""

    box: sandbox.Sandbox
    folder: Path
    column: Column
    cases: Any = field(default_factory=lambda: itertools.count(1))
    there: Counter[Any] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.pushing = Hasty(self.box, self.folder)
        if self.column.title == "segment members":
            people = pa.table({"id": [f"s_{number}" for number in range(9)]})
            assert self.pushing.push(PERSONS, people).accepted == 9
        if not self.column.dry_run:
            self.meet("500", Case(0))  # so that what is there is not what is to be there

    def close(self) -> None:
        """Nothing is left open."""

    def meet(self, fault: str, case: Case) -> Seen:
        """Push new rows while the fault is met, then until all is there; answers what came of the first push."""
        column, number = self.column, next(self.cases)
        place = None if case.place is None else column.places[case.place]
        rows = column.rows(number, bool(place))
        there = Counter() if column.dry_run else Counter(rows.there) + (self.there if column.adds else Counter())
        self.box.reset_stats()
        self.box.faults(rules=[{"kind": fault, "path": column.path} | case.limits(place)], stall_seconds=STALL)
        self.pushing.patience = PATIENCE if fault == "stall" else 60
        said, result = "", None
        try:
            result = self._push(rows)
        except PushError as error:
            said = str(error)
        self.box.faults()
        self.pushing.patience = 60
        stats = self._all_answered()
        if column.dry_run:
            assert stats["track_requests"] == 0
            return Seen(RIGHT, 0)
        outcome = self._judge(rows, result)
        if outcome == RIGHT:
            assert self._held() == there
        else:
            again = self._push(rows, retry_rejected=outcome == REJECTED)
            assert whole(again)
            assert again.rejected.total() == rows.refused, again.rejected
            for waited, accepted in re.findall(r"Of (\d+) operations (\d+) were accepted", said):
                assert again.sent == int(waited) - int(accepted), "only the rest"
        assert self._held() == there, "once and no more"
        assert self._push(rows).requests == 0, "nothing is left to be sent"
        self.there = there
        return Seen(outcome, stats["injected"].get(fault, 0), said)

    def _judge(self, rows: Rows, result: PushResult | None) -> str:
        if result is None:
            return REST
        assert whole(result)
        return RIGHT if result.rejected.total() == rows.refused else REJECTED

    def _push(self, rows: Rows, *, retry_rejected: bool = False) -> PushResult:
        return self.pushing.push(
            self.column.sync, rows.table, dry_run=self.column.dry_run, retry_rejected=retry_rejected
        )

    def _held(self) -> Counter[Any]:
        return Counter(self.column.held(self.box))

    def _all_answered(self) -> dict[str, Any]:
        """Wait for the requests that nobody waits for any more: the service may do them late."""
        while True:
            stats = self.box.stats()
            if sum(stats["by_status"].values()) >= stats["track_requests"]:
                return stats
            time.sleep(0.05)  # the sandbox's stall is of real time
