"""The read side of the fault matrix: a table of each way to read, read by its own job while the service misbehaves.

What came of a run is judged by the rows of the table before and after, and by the sandbox's own truth.
"""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dagster as dg

from cio_assets import sandbox
from cio_assets.assets.api import AppApi
from cio_assets.assets.factory import asset_key, build_asset
from cio_assets.catalog import TABLES
from cio_assets.customerio import AppClient, RateLimiter
from cio_assets.io_managers import WarehouseIOManager, make_warehouse
from cio_assets.runs import failure_message
from cio_assets_tests.fault_outcomes import ATTEMPTS, GONE, OLD, PATIENCE, RIGHT, STALL, Case, Clock, Seen
from cio_assets_tests.in_process import QUIET, settings_of
from cio_assets_tests.truth import KEYS, differences, live, stored

NOW = datetime(2025, 6, 10, 12, 30, tzinfo=UTC)
"""The sandbox's clock stands here: on no boundary of anything, and behind every clock that is right."""

SANDBOX: dict[str, Any] = {
    "people": 250,
    "campaigns": 3,
    "broadcasts": 3,
    "newsletters": 2,
    "segments": 4,
    "objects": 5,
    "deliveries": 2300,
    "activities": 250,
    "days": 2,
    "now": NOW.isoformat(),
    "freeze": True,
    "app_rps": 0,
    "export_seconds": 0.0,
}
"""Small, and yet each list that has pages has several."""

Tables = dict[str, list[dict[str, Any]]]

_JUNE = (datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC))
_SPANS = {
    "campaign_metrics": {"period": "days", "start": int(_JUNE[0].timestamp()), "end": int(_JUNE[1].timestamp())},
    "broadcast_metrics": {"period": "days"},
}
_DAYS = ("2025-06-07", "2025-06-10")
_PEOPLE = ({"kind": "change_people", "count": 3},)
_DELIVERIES = ({"kind": "add_deliveries", "count": 300},)
"""So many that each parent gets some."""


@dataclass(frozen=True)
class Column:
    """A way to read: the tables whose rows are looked at, their requests, and what changes between two runs."""

    title: str
    tables: tuple[str, ...]
    path: str
    changes: tuple[Mapping[str, Any], ...]
    places: tuple[tuple[str, int], ...]
    """Requests that meet a fault that comes once: a path, and how many of its requests are spared before."""
    parents: tuple[str, ...] = ()
    partitions: tuple[str, str] | None = None
    parent: str | None = None
    """The column that names the parent of a row."""
    people: str = "full"
    before: tuple[Mapping[str, Any], ...] = ()
    """What changes before the first run: enough for several pages in every case."""
    step: timedelta = timedelta(seconds=1)
    """From one case to the next: a day where what has not changed for a day is not read again."""


def _pages(path: str, *after: int) -> tuple[tuple[str, int], ...]:
    return tuple((path, spared) for spared in after)


def _field(table: str) -> tuple[Mapping[str, Any], ...]:
    return ({"kind": "add_unknown_field", "table": table, "field": "case"},)


_ACTIONS, _ATTRIBUTES = "^/v1/campaigns/[0-9]+/actions$", "^/v1/customers/attributes$"
_CAMPAIGN, _BROADCAST = "^/v1/campaigns/[0-9]+/metrics$", "^/v1/broadcasts/[0-9]+/metrics$"

COLUMNS = {
    "list": Column(
        "list",
        ("sender_identities",),
        "^/v1/sender_identities$",
        _field("sender_identities"),
        _pages("^/v1/sender_identities$", 0, 1),
    ),
    "children": Column(
        "children of parents",
        ("campaign_actions",),
        _ACTIONS,
        _field("campaign_actions"),
        _pages(_ACTIONS, 0, 1),
        parents=("campaigns",),
        parent="campaign_id",
        step=timedelta(days=1),
    ),
    "batch": Column(
        "batches of people",
        ("customer_attributes",),
        _ATTRIBUTES,
        _PEOPLE,
        _pages(_ATTRIBUTES, 0, 1),
        parents=("customers",),
    ),
    "changed": Column(
        "people who changed",
        ("customer_attributes",),
        "^/v1/(activities|customers/attributes)$",
        _PEOPLE,
        (("^/v1/activities$", 0), ("^/v1/activities$", 1), (_ATTRIBUTES, 0)),
        parents=("customers",),
        people="changed",
        before=({"kind": "change_people", "count": 125},) * 2,
    ),
    "export": Column(
        "people by export",
        ("customers",),
        "^/v1/exports/|^/downloads/",
        ({"kind": "change_identifiers", "count": 3},),
        (("^/v1/exports/customers$", 0), ("^/v1/exports/[0-9]+$", 0), ("/download$", 0), ("^/downloads/", 0)),
        people="export",
    ),
    "window": Column(
        "window, and a view",
        ("messages", "campaign_messages"),
        "^/v1/messages$",
        ({"kind": "add_deliveries", "count": 5}, {"kind": "late_opens", "count": 5}),
        _pages("^/v1/messages$", 0, 1, 3),
        partitions=_DAYS,
    ),
    "series-2": Column(
        "series, version 2",
        ("campaign_metrics",),
        _CAMPAIGN,
        _DELIVERIES,
        _pages(_CAMPAIGN, 0, 1),
        parents=("campaigns",),
        partitions=("2025-06-01|days", "2025-06-01|days"),
        parent="campaign_id",
        step=timedelta(days=1),
    ),
    "series-1": Column(
        "series, version 1",
        ("broadcast_metrics",),
        _BROADCAST,
        _DELIVERIES,
        _pages(_BROADCAST, 0, 1),
        parents=("broadcasts",),
        partitions=("days", "days"),
        parent="broadcast_id",
        step=timedelta(days=1),
    ),
    "merge": Column(
        "merge",
        ("activities",),
        "^/v1/activities$",
        ({"kind": "add_activities", "count": 3},),
        _pages("^/v1/activities$", 0, 1),
    ),
}


class Hasty(AppApi):
    """The API by a client of few attempts, which waits for nothing and asks one thing at a time."""

    patience: float = 60
    """Seconds for an answer."""

    def client(self, max_attempts: int = ATTEMPTS) -> AppClient:
        key, clock = self.settings.require_app_api_key(), Clock()
        limiter = RateLimiter(
            self.settings.dagster_home, urlsplit(self.url).netloc, key, 0, clock=clock.time, sleep=clock.sleep
        )
        return AppClient(
            base_url=self.url,
            key=key,
            limiter=limiter,
            timeout=(10, self.patience),
            max_attempts=max_attempts,
            workers=1,
            sleep=clock.sleep,
        )


@dataclass
class Reads:
    """The tables of a column in a warehouse of their own, and the runs that read them."""

    box: sandbox.Sandbox
    home: Path
    column: Column
    now: datetime = NOW
    cases: Any = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.home.mkdir()
        settings = settings_of(self.home, self.box, date(2025, 6, 1), people=self.column.people, full_every_days=1)
        self.settings, self.warehouse = settings, self.home / "warehouse.duckdb"
        self.instance = dg.DagsterInstance.ephemeral()
        for change in self.column.before:
            self.box.mutate(**change)
        names = {"parents": self.column.parents, "tables": self.column.tables}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)  # as in cio_assets.build
            assets = [build_asset(TABLES[table], settings) for table in (*self.column.parents, *self.column.tables)]
        definitions = dg.Definitions(
            assets=assets,
            jobs=[dg.define_asset_job(name, [*map(asset_key, tables)]) for name, tables in names.items() if tables],
            resources={"customerio": self._api(), "warehouse": WarehouseIOManager(make_warehouse(settings))},
            executor=dg.in_process_executor,
        )
        self.tables = definitions.resolve_job_def("tables")
        if self.column.parents:
            assert not self._run(definitions.resolve_job_def("parents"), self._api(), None)
        assert not self.run()
        self.rows = self._rows()
        assert not self._problems(self.rows, self._truth())

    def close(self) -> None:
        self.instance.dispose()

    def run(self, *, patience: float = 60) -> list[str]:
        """Read the tables, as a process of its own would; answers what the failed steps said."""
        self.now += timedelta(seconds=1)  # what was read later counts
        api = self._api()
        api.patience = patience
        return self._run(self.tables, api, self.column.partitions)

    def meet(self, fault: str, case: Case) -> Seen:
        """Read what has changed while the fault is met, then once more without it; answers what came of it."""
        self.now += self.column.step
        number = next(self.cases)
        for change in self.column.changes:
            self.box.mutate(**change, **({"value": number} if change["kind"] == "add_unknown_field" else {}))
        before, truth = self.rows, self._truth()
        changed = any(differences(table, live(before[table]), truth[table]) for table in before)
        assert changed, "old rows and right rows would be the same"
        path, spared = (self.column.path, None) if case.place is None else self.column.places[case.place]
        self.box.reset_stats()
        self.box.faults(rules=[{"kind": fault, "path": path} | case.limits(spared)], stall_seconds=STALL)
        try:
            failures = self.run(patience=PATIENCE if fault == "stall" else 60)
        finally:
            self.box.faults()
        met = self.box.stats()["injected"].get(fault, 0)
        self.rows = self._rows()
        outcome = self._judge(before, truth, failures)
        if outcome != RIGHT:
            assert self.run() == [], "without the fault"
            self.rows = self._rows()
            assert self._problems(self.rows, truth) == [], "without the fault"
        assert self.box.stats()["violations"] == []
        return Seen(outcome, met, " ".join(failures))

    def _judge(self, before: Tables, truth: Tables, failures: Sequence[str]) -> str:
        if failures:
            assert self.rows == before, f"a failed run changed rows: {failures}"
            return OLD
        problems = self._problems(self.rows, truth)
        if not problems:
            return RIGHT
        assert self.column.parent, problems
        (table,) = self.column.tables
        rows, old, right = (_by(self.column.parent, some[table]) for some in (self.rows, before, truth))
        wrong = [
            parent
            for parent in rows.keys() | right.keys()
            if differences(table, live(rows.get(parent, [])), right.get(parent, []))
        ]
        assert len(wrong) == 1, problems
        assert not live(rows[wrong[0]]) or rows[wrong[0]] == old[wrong[0]], problems
        return GONE

    def _problems(self, rows: Tables, truth: Tables) -> list[str]:
        """Differences between the tables and the truth."""
        return [text for table in rows for text in differences(table, live(rows[table]), truth[table])]

    def _api(self) -> Hasty:
        return Hasty(self.settings, lambda: self.now, sleep=lambda _: time.sleep(0.01))  # the sandbox writes a file

    def _run(self, job: dg.JobDefinition, api: Hasty, partitions: tuple[str, str] | None) -> list[str]:
        names = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
        result = job.execute_in_process(
            run_config=QUIET,
            instance=self.instance,
            tags=dict(zip(names, partitions, strict=True)) if partitions else None,
            raise_on_error=False,
            resources={"customerio": api},
        )
        failed = [event for event in result.all_events if event.is_step_failure]
        return [failure_message(event.step_failure_data.error) for event in failed]

    def _rows(self) -> Tables:
        return {
            table: sorted(stored(self.warehouse, table), key=lambda row: [str(row[name]) for name in KEYS[table]])
            for table in self.column.tables
        }

    def _truth(self) -> Tables:
        return {table: self.box.truth(table, **_SPANS.get(table, {})) for table in self.column.tables}


def _by(column: str, rows: Sequence[dict[str, Any]]) -> dict[Any, list[dict[str, Any]]]:
    found: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row[column], []).append(row)
    return found
