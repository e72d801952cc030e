"""What the sync that would run now will ask: requests and minutes a table, told before it runs.

The same decisions as the sync's (`assets.reading.plan_reading`), made over what is known before it. Partitions, tables
and paging are theirs to know; here they are only put together and counted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from cio_assets.assets import costs, people
from cio_assets.assets.api import AppApi
from cio_assets.assets.asked import Circumstances
from cio_assets.assets.costs import Estimate
from cio_assets.assets.extract import side
from cio_assets.assets.foreseen import DELIVERIES, Foreseen
from cio_assets.assets.foreseen_people import people_requests
from cio_assets.assets.look import Looked, Wish, look
from cio_assets.assets.reading import DRAFTS, Wanted, plan_reading
from cio_assets.assets.sources import sources_of
from cio_assets.catalog import TABLES, Endpoint, Refresh, Table
from cio_assets.catalog.windows import windows
from cio_assets.settings import Settings
from cio_assets.sync import first_day, in_order, partition_ranges, span, wanted
from cio_assets.warehouse import Warehouse
from cio_assets.warehouse.opened import opened

_PATIENCE = 10.0
"""Seconds to wait for others who hold the warehouse, when the plan is all that is wanted."""


@dataclass(frozen=True)
class TablePlan:
    """The requests for a table, and how many are spared because nothing can have changed."""

    table: str
    requests: Estimate
    spared: int = 0


@dataclass(frozen=True)
class SyncPlan:
    """The requests for each table, and those that it took to find out."""

    tables: Sequence[TablePlan]
    asked: int

    @property
    def requests(self) -> Estimate:
        """For all tables."""
        return costs.total(one.requests for one in self.tables)


def plan_sync(
    settings: Settings, tables: Sequence[str], since: date | None = None, *, full: bool = False, ask: bool = True
) -> SyncPlan:
    """Plan the sync of the same arguments. With `ask` a few requests tell what the warehouse does not know.

    Raises `SettingsError`, `WarehouseError`, and with `ask` what the client raises.
    """
    if ask:
        settings.require_app_api_key()
    ranges = partition_ranges(settings, first_day(settings, since))
    asked = {name: wanted(name, settings, ranges, "plan" if full else "") for name in tables}
    api = AppApi(settings)
    days = span(settings, ranges)
    sources = sources_of(api) if settings.app_api_key else None
    with tempfile.TemporaryDirectory(prefix="cio-plan-") as name:
        folder = Path(name)
        looked = Looked()
        warehouse = Warehouse(
            settings.warehouse,
            settings.warehouse_schema,
            scratch=folder / "scratch",  # not the home's: a plan leaves nothing behind
            memory_limit="512MB",
            data_path=settings.data_path,
        )
        if ask:
            with opened(warehouse, _PATIENCE) as stored:
                wish = _wish(Foreseen(stored, looked, tables, api.now(), days, sources), tables)
            looked = look(api, wish, folder)
        with opened(warehouse, _PATIENCE if ask else 0) as stored:
            planner = _Planner(api, Foreseen(stored, looked, tables, api.now(), days, sources), tables)
            plans = {name: planner.plan(TABLES[name], asked[name]) for name in in_order(tables)}
    return SyncPlan([plans[name] for name in tables], looked.requests)


def _wish(known: Foreseen, tables: Sequence[str]) -> Wish:
    """What is to be asked: the lists of parents that the sync reads first, and what nothing is known of."""
    parents = {parent.table for name in tables for parent in TABLES[name].parents}
    start, end = known.window
    return Wish(
        [name for name in tables if name in parents and _is_short(TABLES[name])],
        counts=known.wants_counts,
        windows=[] if known.covers_window or DELIVERIES not in tables else windows(start, end),
        activities="activities" in tables and not known.last_stored("activities"),
    )


def _is_short(table: Table) -> bool:
    """Whether it is a list of what somebody made by hand, read in a request or two."""
    return not table.parents and table.endpoint is not None and table.endpoint.method == "GET"


class _Planner:
    """Plans one table after the other, parents first: a list of children may tell what their own children cost."""

    def __init__(self, api: AppApi, known: Foreseen, tables: Collection[str]) -> None:
        self._api = api
        self._known = known
        self._tables = tables

    def plan(self, table: Table, wanted: Wanted) -> TablePlan:
        """Plan the reading of a table."""
        if table.view:
            return TablePlan(table.name, costs.NOTHING)
        if table.refresh is Refresh.WINDOW:
            return self._window(table, wanted)
        if table.variants_repeat:
            return self._activities(table, wanted)
        if table.name in people.TABLES:
            return self._people(table, wanted)
        if table.parents:
            return self._children(table, wanted)
        return TablePlan(table.name, self._list(table))

    def _list(self, table: Table) -> Estimate:
        endpoint = _endpoint(table)
        asked = self._known.pages_of(table.name)
        if asked is not None:
            return Estimate(asked)
        if len(table.variants) > 1:
            return costs.total(costs.pages(table, endpoint, rows) for rows in self._known.of_variants(table))
        return costs.pages(table, endpoint, self._known.listed(table))

    def _children(self, table: Table, wanted: Wanted) -> TablePlan:
        names_them = bool(table.series) or any(parent.marker for parent in table.parents)
        found = {parent.table: self._known.rows(parent, whole=names_them) for parent in table.parents}
        rows = {name: one[0] for name, one in found.items() if one}
        if len(rows) < len(found):
            return TablePlan(table.name, costs.UNKNOWN)
        sure = max(one[1] for one in found.values() if one)
        plan = plan_reading(table, wanted, self._api, self._known, rows, 0)
        if table.series:
            if not wanted.full and self._known.units(table.name):
                sure = max(sure, self._known.sure_of_metrics)
            return TablePlan(table.name, Estimate(len(plan.units), sure), plan.asked.spared)
        self._known.expect(table, rows, plan.asked)
        other_side = self._api.settings.relationships == "people"
        endpoint, parent = side(table, plan.asked.parents, other_side=other_side)
        if parent is None:
            raise ValueError(f"{table.name} has no parents")
        asked = plan.asked.parents[parent.table]
        families = self._known.long_families(table, endpoint, parent, asked)
        requests = costs.of_parents(endpoint, Estimate(asked.num_rows, sure), families, parent.batch)
        return TablePlan(table.name, requests, plan.asked.spared)

    def _people(self, table: Table, wanted: Wanted) -> TablePlan:
        settings = self._api.settings
        c = Circumstances(self._api.now(), timedelta(days=settings.full_every_days), wanted.full)
        full = self._list(table)
        if table.parent:
            found = self._known.rows(table.parent, whole=False)
            parents = Estimate(found[0].num_rows, found[1]) if found else costs.UNKNOWN
            full = costs.of_parents(_endpoint(table), parents, costs.NOTHING, table.parent.batch)
        return TablePlan(table.name, *people_requests(table, full, settings.people, self._known, self._tables, c))

    def _window(self, table: Table, wanted: Wanted) -> TablePlan:
        plan = plan_reading(table, wanted, self._api, self._known, {}, 0)
        if plan.replace is None:
            raise ValueError(f"{table.name} is not read by windows")
        start, end, now = plan.replace.start, plan.replace.end, self._api.now()
        endpoint = _endpoint(table)
        rows = self._known.deliveries(windows(start, end))
        if end > now:
            rows += [self._known.drafts() for _ in windows(max(start, now - DRAFTS), end)]
        return TablePlan(table.name, costs.total(costs.pages(table, endpoint, one) for one in rows))

    def _activities(self, table: Table, wanted: Wanted) -> TablePlan:
        endpoint = _endpoint(table)
        stored = self._known.count(table.name) if self._known.has(table.name) else 0
        until = plan_reading(table, wanted, self._api, self._known, {}, stored).asked.until
        requests = costs.newest_first(endpoint, self._known.activities(until))
        if until is None:
            return TablePlan(table.name, requests)
        whole = costs.newest_first(endpoint, self._known.activities(None))
        return TablePlan(table.name, requests, max(0, whole.number - requests.number))


def _endpoint(table: Table) -> Endpoint:
    """Where a table is read from; ValueError for a view."""
    if table.endpoint is None:
        raise ValueError(f"{table.name} is not read from the API")
    return table.endpoint
