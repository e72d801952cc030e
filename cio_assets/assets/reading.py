"""One reading of a table, decided before it begins: what is asked, how it is loaded and what the ledger is to know."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from cio_assets.assets import asked, people
from cio_assets.assets.api import AppApi
from cio_assets.assets.asked import Asked, Circumstances, Deliveries
from cio_assets.assets.extract import Extracted, Until, extract
from cio_assets.assets.extract_series import SeriesUnit, extract_series, series_units
from cio_assets.assets.extract_window import extract_drafts, extract_window
from cio_assets.assets.partitions import spans
from cio_assets.assets.people import PeopleReading
from cio_assets.assets.sources import sources_of
from cio_assets.catalog import Refresh, Table
from cio_assets.catalog.windows import WIDEST
from cio_assets.customerio import AppClient
from cio_assets.io_managers import StoredTable, WarehouseLoad
from cio_assets.warehouse import Staged, Staging, Warehouse
from cio_assets.warehouse.ledger import DRAFTS_OF, FULL, RECENT, TOUCHED_BY, Ledger, Reading
from cio_assets.warehouse.load import Replace

DELIVERIES = "messages"
DRAFTS = timedelta(days=30)
"""How far back drafts are looked at."""


@dataclass(frozen=True)
class Wanted:
    """Which partitions are to be read (of deliveries also their span of time), and whether everything is asked."""

    partition_keys: Sequence[str] = ()
    window: tuple[datetime, datetime] | None = None
    full_pass: str = ""
    """Names the full pass that this is part of, where it is one."""

    @property
    def full(self) -> bool:
        """Whether everything is asked, also what is known not to have changed."""
        return bool(self.full_pass)


@dataclass(frozen=True)
class Plan:
    """What will be asked. `read` asks it; `reading`, given what was read, is what the ledger is to know of it."""

    table: Table
    at: datetime
    """When it was decided: what others load afterwards is newer than what is read by it, whenever that is."""
    asked: Asked
    read: Callable[[AppClient, Staging], Extracted]
    reading: Callable[[Extracted], Reading]
    said: tuple[object, ...] = ()
    """All that decides what is asked, besides the parents."""
    replace: Replace | None = None
    units: Sequence[SeriesUnit] = field(default_factory=list)

    def fingerprint(self, source: str) -> str:
        """Names what is asked: an earlier run that died is gone on with if it asked the same."""
        said = (source, self.asked.until, *self.said)
        return asked.fingerprint(*said, parents=self.asked.parents)

    def load(self, staged: Staged, read_at: datetime, extracted: Extracted, source: str) -> WarehouseLoad:
        """What is to be loaded."""
        scope = extracted.scope or self.asked.scope
        reading = replace(self.reading(extracted), source=source)
        return WarehouseLoad(self.table, staged, read_at, self.replace, scope, reading)


def plan_stored(
    table: Table, wanted: Wanted, api: AppApi, warehouse: Warehouse, parents: Mapping[str, StoredTable]
) -> Plan:
    """As `plan_reading`, of what the warehouse has: opened once for all that is asked of it.

    Raises `WarehouseError`, also where the load would: before requests are spent.
    """
    with warehouse.attached():
        ledger = Ledger(warehouse, sources_of(api))
        ledger.check()
        rows = {name: stored.read() for name, stored in parents.items()}
        stored = warehouse.count(table.name) if table.variants_repeat else 0
        return plan_reading(table, wanted, api, ledger, rows, stored)


def plan_reading(
    table: Table, wanted: Wanted, api: AppApi, ledger: Ledger, parents: Mapping[str, pa.Table], stored: int
) -> Plan:
    """Decide what to ask for a table of which `stored` rows are there; `parents` are the rows of its parent tables."""
    c = Circumstances(api.now(), timedelta(days=api.settings.full_every_days), wanted.full)
    if table.refresh is Refresh.WINDOW:
        return _deliveries(table, wanted, api.now, c)
    if table.series:
        return _series(table, wanted, api, ledger, parents, c)
    if table.name in people.TABLES:
        return _people(people.read_people(table, api, ledger, parents, c), c.now)
    if table.variants_repeat and table.endpoint:
        asks = asked.recent_activities(ledger.last(table.name), stored, table.endpoint.page_size or 1, c)
    else:
        asks = asked.changed_parents(table, parents, ledger.units(table.name) if _has_marker(table) else {}, c)
    other_side = api.settings.relationships == "people"
    until = None if asks.until is None else Until(asks.until, c.now)

    def read(client: AppClient, staging: Staging) -> Extracted:
        return extract(table, client, staging, asks.parents, other_side=other_side, until=until)

    def reading(extracted: Extracted) -> Reading:
        gone = _gone(extracted)
        units = {unit: marker for unit, marker in asks.reading.units.items() if unit not in gone}
        return replace(asks.reading, units=units)

    return Plan(table, c.now, asks, read, reading, (other_side,))


def _people(way: PeopleReading, at: datetime) -> Plan:
    return Plan(way.table, at, way.asked, way.read, lambda extracted: extracted.reading or Reading(), way.said)


def _gone(extracted: Extracted) -> set[str]:
    """Parents that were gone: it may only have seemed so, and they are asked again if they are listed again."""
    return {asked.unit_key(values) for values in extracted.gone}


def _has_marker(table: Table) -> bool:
    return table.parent is not None and bool(table.parent.marker)


def _deliveries(table: Table, wanted: Wanted, now: Callable[[], datetime], c: Circumstances) -> Plan:
    if wanted.window is None:
        raise ValueError(f"{table.name} is read by windows")
    start, end = wanted.window
    up_to_now = end > c.now
    columns = ("id", "created", *DRAFTS_OF)
    drafts_since = max(start, (c.now - DRAFTS).replace(hour=0, minute=0, second=0, microsecond=0))
    drafts: list[dict[str, Any]] = []

    def read(client: AppClient, staging: Staging) -> Extracted:
        extracted = extract_window(table, client, staging, start, end)
        if up_to_now:
            found = extract_drafts(table, client, staging, drafts_since, end, columns)
            drafts[:] = [dict(zip(columns, values, strict=True)) for values in found]
        return extracted

    def reading(_: Extracted) -> Reading:
        schema = pa.schema([("id", pa.string()), *((name, pa.int64()) for name in columns[1:])])
        rows = pa.Table.from_pylist(drafts, schema) if up_to_now else None
        return Reading(
            RECENT if up_to_now else FULL, since=start, ended_at=now(), drafts=rows, drafts_since=drafts_since
        )

    horizon = c.now - timedelta(seconds=WIDEST)
    return Plan(table, c.now, Asked({}), read, reading, (start, end, up_to_now), Replace(start, end, horizon))


def _series(
    table: Table,
    wanted: Wanted,
    api: AppApi,
    ledger: Ledger,
    parents: Mapping[str, pa.Table],
    c: Circumstances,
) -> Plan:
    if table.parent is None:
        raise ValueError(f"{table.name} has no parent to read metrics of")
    keys = list(wanted.partition_keys)
    periods = spans(keys, api.settings.start_date) if table.series == 2 else keys
    columns = list(table.parent.columns.values())
    deliveries = Deliveries(
        ledger.last(DELIVERIES).get(RECENT),
        ledger.touched(columns) if set(columns) <= set(TOUCHED_BY) else {},
    )
    known = ledger.units(table.name, {period if isinstance(period, str) else period.period for period in periods})
    every = list(series_units(table, parents[table.parent.table], periods))
    due, spared = asked.due_series(every, _months, known, deliveries, c)

    def read(client: AppClient, staging: Staging) -> Extracted:
        return extract_series(table, client, staging, due, api.now)

    def reading(extracted: Extracted) -> Reading:
        gone = _gone(extracted)
        keys = {name: asked.unit_key(unit.parent) in gone for unit in due for name in _names(unit)}
        there = {name: "" for name, is_gone in keys.items() if not is_gone}
        return Reading(FULL, units=there, forgotten=[name for name, is_gone in keys.items() if is_gone])

    # What an earlier run has read of others than are due now is right all the same: it is loaded with the rest.
    return Plan(table, c.now, Asked({}, spared=spared), read, reading, (), None, due)


def _names(unit: SeriesUnit) -> list[str]:
    return [asked.series_key(unit, month) for month in _months(unit)]


def _months(unit: SeriesUnit) -> list[str]:
    """The months of a span, as the ledger names them; version 1 has none."""
    if unit.span is None:
        return [""]
    months, moment = [], unit.span.start
    while moment < unit.span.end:
        months.append(moment.strftime("%Y-%m"))
        moment = (moment.replace(day=1) + timedelta(days=32)).replace(day=1)
    return months
