"""What a materialization asks of the API, and what it need not ask because the ledger knows that it did not change.

Pure decisions over the catalog, the parents' rows and the ledger; `assets.factory` asks, `cio_assets.plan` counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import orjson
import pyarrow as pa

from cio_assets.assets.extract_series import SeriesUnit
from cio_assets.catalog import Parent, Table
from cio_assets.warehouse.ledger import CHANGED, FULL, RECENT, Known, Last, Reading
from cio_assets.warehouse.load import Scope

FULL_TAG = "customerio/full"
"""Run tag: `true` asks for everything, whatever the ledger knows."""

SYNC_TAG = "customerio/sync"
"""Run tag that all runs of one sync of the command line have in common."""

OVERLAP = timedelta(hours=1)
"""How far behind the last reading a list of activities is read again: some arrive late."""

DEEP_OVERLAP = timedelta(days=3)
"""The same once a day: what is sent in batches at night is dated back by a day or two."""

_ONCE_A_DAY = timedelta(hours=20)

_HOURS_ARE_TOLD = timedelta(hours=20)
"""Version 1 tells 24 hours: they are read once a day in any case. Of an old delivery that was opened behind the
deliveries of a night only those of the next night tell, and then its hour may be told no longer."""

FEW_REQUESTS = 100
"""A list of activities of so many pages is read whole every time."""


@dataclass(frozen=True)
class Circumstances:
    """When it is asked, how often a full pass is due, and whether one is asked for."""

    now: datetime
    full_every: timedelta
    full: bool = False

    def believes(self, known: datetime) -> bool:
        """Whether what was read then need not be read again for its age. (A time ahead of now is a wrong clock.)"""
        return not self.full and timedelta(0) <= self.now - known < self.full_every


@dataclass(frozen=True)
class Asked:
    """The parents to ask (by table), what the answer speaks of, what to note, and how many requests that spared."""

    parents: Mapping[str, pa.Table]
    reading: Reading = field(default_factory=Reading)
    scope: Scope | None = None
    spared: int = 0
    until: int | None = None
    """Of activities: the unix second behind which the list is known."""


def unit_key(values: Mapping[str, Any]) -> str:
    """Names a parent in the ledger."""
    return orjson.dumps(list(values.values())).decode()


def changed_parents(
    table: Table, parents: Mapping[str, pa.Table], known: Mapping[str, Known], c: Circumstances
) -> Asked:
    """Ask only the parents whose change marker has moved; the children of the others are carried over as they are."""
    parent = table.parent
    if parent is None or not parent.marker:
        return Asked(parents)
    rows = parents[parent.table]
    keys = [unit_key(values) for values in _in_order(rows, parent)]
    markers = [_marker(row) for row in rows.select(list(parent.marker)).to_pylist()]
    carried = [
        bool(marker) and key in known and known[key].marker == marker and c.believes(known[key].read_at)
        for key, marker in zip(keys, markers, strict=True)
    ]
    asked = {key: marker for key, marker, stays in zip(keys, markers, carried, strict=True) if not stays}
    stands = [key for key, stays in zip(keys, carried, strict=True) if stays]
    kept = rows.filter(pa.array(carried, pa.bool_())).select(list(parent.columns))
    return Asked(
        {**parents, parent.table: rows.filter(pa.array([not one for one in carried], pa.bool_()))},
        # Units of parents that are not listed are forgotten: their children are marked, and asked for if they return.
        Reading(FULL, units=asked, kept=stands),
        Scope(kept.rename_columns(list(parent.columns.values())), inside=False) if kept.num_rows else None,
        spared=kept.num_rows,
    )


def _in_order(rows: pa.Table, parent: Parent) -> Iterable[Mapping[str, Any]]:
    return ({parent.columns[name]: row[name] for name in parent.columns} for row in rows.to_pylist())


def _marker(values: Mapping[str, Any]) -> str:
    """A text for the marker's columns; empty where the service told none of them."""
    if all(value is None for value in values.values()):
        return ""
    return hashlib.sha256(orjson.dumps([str(value) for value in values.values()])).hexdigest()[:24]


def recent_activities(last: Mapping[str, Last], stored: int, page_size: int, c: Circumstances) -> Asked:
    """How far back a list without a time filter is read: whole now and then, else until it is known."""
    full = last.get(FULL)
    if full is None or not c.believes(full.read_at) or stored <= FEW_REQUESTS * page_size:
        return Asked({}, Reading(FULL))
    deep = max(one.read_at for mode, one in last.items() if mode in (FULL, RECENT))
    if not timedelta(0) <= c.now - deep <= _ONCE_A_DAY:  # a time ahead of now is a clock that was wrong
        return Asked({}, Reading(RECENT), until=int((min(deep, c.now) - DEEP_OVERLAP).timestamp()))
    newest = min(c.now, max(one.read_at for one in last.values()))
    return Asked({}, Reading(CHANGED), until=int((newest - OVERLAP).timestamp()))


@dataclass(frozen=True)
class Deliveries:
    """What the ledger knows of deliveries: how far they were read, and when those of a parent were found changed."""

    recent: Last | None
    touched: Mapping[tuple[int, ...], datetime]


def due_series(
    units: Iterable[SeriesUnit],
    months: Callable[[SeriesUnit], Sequence[str]],
    known: Mapping[str, Known],
    deliveries: Deliveries,
    c: Circumstances,
) -> tuple[list[SeriesUnit], int]:
    """The requests that may bring something new, and the number of those that cannot.

    A metric counts what happens to deliveries: where none of a parent came or changed since its metrics were read,
    and the deliveries were read since, they stand.
    """
    due: list[SeriesUnit] = []
    spared = 0
    for unit in units:
        touched = deliveries.touched.get(tuple(unit.parent.values()))
        day = unit.span is None and unit.period == "hours"
        of_unit = replace(c, full_every=min(_HOURS_ARE_TOLD, c.full_every)) if day else c
        if all(
            _stands(known.get(series_key(unit, month)), touched, deliveries.recent, of_unit) for month in months(unit)
        ):
            spared += 1
        else:
            due.append(unit)
    return due, spared


def _stands(known: Known | None, touched: datetime | None, deliveries: Last | None, c: Circumstances) -> bool:
    if known is None or deliveries is None or not c.believes(known.read_at):
        return False
    seen = deliveries.read_at > known.read_at and (deliveries.since is None or deliveries.since <= known.read_at)
    return seen and (touched is None or touched < known.read_at)


def series_key(unit: SeriesUnit, month: str) -> str:
    """Names a parent, period and month in the ledger."""
    return f"{unit_key(unit.parent)} {unit.period} {month}".rstrip()


def fingerprint(*said: Any, parents: Mapping[str, pa.Table]) -> str:
    """Names all that decides what is read: staging of other inputs is not gone on with."""
    digest = hashlib.blake2b(repr(said).encode(), digest_size=16)
    for name, rows in sorted(parents.items()):
        digest.update(name.encode())
        order = [(column, "ascending") for column in rows.column_names if not pa.types.is_nested(rows[column].type)]
        for batch in (rows.sort_by(order) if order else rows).to_batches(max_chunksize=10_000):
            digest.update(repr(batch.to_pydict()).encode())
    return digest.hexdigest()
