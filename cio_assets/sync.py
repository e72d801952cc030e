"""Runs the Dagster jobs of a sync in order, in this process, and gathers what each table cost."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import cache
from typing import Any

import dagster as dg

from cio_assets.ahead import ReadAhead
from cio_assets.assets.api import AppApi, Observer
from cio_assets.assets.asked import FULL_TAG, SYNC_TAG
from cio_assets.assets.factory import asset_key
from cio_assets.assets.partitions import by_month_and_period, by_period, daily, partitions_of
from cio_assets.assets.reading import Wanted
from cio_assets.automation.checks import DELIVERIES as DELIVERIES_OF_CAMPAIGNS
from cio_assets.automation.checks import step_of
from cio_assets.automation.jobs import (
    ACTIVITIES,
    DELIVERIES,
    METRICS,
    RECENT_METRICS,
    SNAPSHOTS,
    activity_tables,
    job_of,
)
from cio_assets.automation.process_tag import process_tag
from cio_assets.build import build_definitions
from cio_assets.catalog import TABLES, Refresh, Table
from cio_assets.catalog.people import PEOPLE
from cio_assets.customerio import CredentialsRefused
from cio_assets.customerio.credentials import bearer
from cio_assets.runs import failure_message, interrupted, is_refusal, open_instance, watching_for_signals
from cio_assets.settings import Settings, SettingsError
from cio_assets.unfinished import attempt, ended

JOBS = (SNAPSHOTS, DELIVERIES, METRICS, RECENT_METRICS)

NOT_READ = "not read, because a table it depends on failed"


@dataclass(frozen=True)
class TableResult:
    """What became of one table: its rows, requests and seconds, or the reason why it failed or was skipped."""

    table: str
    rows: int | None = None
    requests: int = 0
    retries: int = 0
    marked_deleted: int = 0
    seconds: float = 0.0
    failure: str | None = None
    refused: bool = False
    """Whether the credentials were refused (401): nothing else is worth trying."""
    earlier: bool = False
    """Whether an earlier sync that did not end had read the table: it was not read again."""
    checks: tuple[str, ...] = ()
    """What its checks found wrong and did not stop at."""


def selected_tables(names: Iterable[str]) -> list[str]:
    """The named tables; all of them for none. Raises `SettingsError` for a name that is not in the catalog."""
    given = list(names)
    wanted = [name.strip() for name in given if name.strip()]
    if given and not wanted:
        raise SettingsError("--select names no table: leave it out to sync them all.")
    unknown = [name for name in wanted if name not in TABLES]
    if unknown:
        raise SettingsError(f"--select: there is no table {', '.join(unknown)}. Tables: {', '.join(TABLES)}.")
    return wanted or list(TABLES)


def sync(
    settings: Settings,
    tables: Sequence[str],
    since: date | None = None,
    *,
    full: bool = False,
    observer: Observer | None = None,
    instance: dg.DagsterInstance | None = None,
) -> Iterable[TableResult]:
    """Run snapshots, deliveries and metrics for the tables; yields each table's result when its job has ended.

    `since` is the first day (UTC) of deliveries and, by its month, of metrics; default the settings' start date.
    `full` asks for everything, whatever is known not to have changed. What the same sync has finished, begun less than
    six hours ago and killed or failed in part, is not read again.
    """
    try:
        bearer(settings.require_app_api_key())
    except CredentialsRefused as error:  # what cannot be a key: said once, and not by each table
        raise SettingsError(str(error)) from None
    ranges = partition_ranges(settings, first_day(settings, since))
    api = AppApi(settings, observer=observer)
    definitions = build_definitions(settings, api=api, asking_checks=False)
    home_instance = cache(lambda: instance or open_instance(settings))  # half a second where it makes its tables
    where = (api.workspace, settings.warehouse_label, settings.warehouse_schema)
    inputs = repr((sorted(tables), ranges, full, where))
    with ExitStack() as stack, attempt(settings.dagster_home.absolute(), inputs, home_instance) as this:
        tags = {SYNC_TAG: this.id} | ({FULL_TAG: "true"} if full else {})
        done = {name for name in tables if asset_key(name).to_python_identifier() in this.finished}
        yield from (_earlier(home_instance(), table) for table in tables if table in done)
        todo = in_order(name for name in tables if name not in done)
        runs = runs_of(todo)
        full_pass = this.id if full else ""
        order = {name: wanted(name, settings, ranges, full_pass) for name in reading_order(todo)}
        ahead = ReadAhead(api, order, observer)
        stack.callback(ahead.close)
        failures: dict[str, TableResult] = {}
        for job, chosen in runs:
            refused = next((result.failure for result in failures.values() if result.refused), None)
            if refused:  # with 401: every other table would be, too
                yield from (TableResult(table, failure=refused, refused=True) for table in chosen)
                continue
            readable = with_parents(job, chosen, failures)
            skipped = [TableResult(table, failure=NOT_READ) for table in chosen if table not in readable]
            read = _run(definitions, home_instance(), job, readable, ranges.get(job), tags) if readable else ()
            results = [*skipped, *read]
            ahead.leave(chosen)
            for result in results:
                if result.failure is not None:
                    failures[result.table] = result
                yield result
        ended(settings.dagster_home.absolute(), this, failed=bool(failures))


def first_day(settings: Settings, since: date | None) -> date:
    """The first day to read; raises `SettingsError` where no partition begins with `since`."""
    if since is None:
        return settings.start_date
    if since < settings.start_date:
        raise SettingsError(
            f"--since {since} lies before the first partition: set CIO_START_DATE={since} (now {settings.start_date})."
        )
    if since > datetime.now(UTC).date():
        raise SettingsError(f"--since {since} lies in the future: give a day that has begun.")
    return since


def partition_ranges(settings: Settings, since: date) -> dict[str, tuple[str, str]]:
    """The first and the last partition of each job that has any, from the day `since` on."""
    today = daily(settings.start_date).get_last_partition_key()
    months = by_month_and_period(settings.start_date).get_partition_keys()
    periods = by_period().get_partition_keys()
    first_month = since.replace(day=1).isoformat()
    return {
        DELIVERIES: (since.isoformat(), str(today)),
        METRICS: (f"{first_month}|{periods[0]}", months[-1]),
        RECENT_METRICS: (periods[0], periods[-1]),
    }


def in_order(tables: Iterable[str]) -> list[str]:
    """Job by job, parents first, and first of all those of which others are children."""
    parents = {parent.table for table in TABLES.values() for parent in table.parents}

    def depth(table: Table) -> int:
        return max((1 + depth(TABLES[parent.table]) for parent in table.parents), default=0)

    return sorted(tables, key=lambda name: (JOBS.index(job_of(TABLES[name])), depth(TABLES[name]), name not in parents))


def runs_of(tables: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The job and the tables of each run of a sync, so that there is always something to ask while one loads.

    Deliveries are loaded while the children of the lists are read, for the metrics wait for them; of the metrics those
    that take longest are loaded while the others are read. `tables` are in order.
    """
    apart = activity_tables()  # one long chain of pages, which nobody waits for
    jobs = {job: [name for name in tables if job_of(TABLES[name]) == job and name not in apart] for job in JOBS}
    lists, children = jobs[SNAPSHOTS], []
    if jobs[DELIVERIES]:
        lists = [name for name in lists if not TABLES[name].parents]
        children = [name for name in jobs[SNAPSHOTS] if name not in lists]
    runs = [
        (SNAPSHOTS, lists),
        (DELIVERIES, jobs[DELIVERIES]),
        (SNAPSHOTS, children),
        (METRICS, jobs[METRICS]),
        (ACTIVITIES, [name for name in tables if name in apart]),
        (RECENT_METRICS, jobs[RECENT_METRICS]),
    ]
    return [(job, chosen) for job, chosen in runs if chosen]


def with_parents(job: str, tables: Sequence[str], failures: Collection[str]) -> list[str]:
    """Without the lists' children of what failed in an earlier run, as Dagster leaves them out of one run."""
    missing = set(failures) if job == SNAPSHOTS else set()
    readable = []
    for table in tables:
        if any(parent.table in missing for parent in TABLES[table].parents):
            missing.add(table)
        else:
            readable.append(table)
    return readable


def reading_order(tables: Sequence[str]) -> list[str]:
    """A short list first, which tells whether the key works; then the longest chain of pages; then as they are loaded.

    `tables` are in order.
    """
    chain = [name for name in tables if name in activity_tables()]
    others = [name for _, chosen in runs_of(tables) for name in chosen if name not in chain]
    short = [
        name for name in others if job_of(TABLES[name]) == SNAPSHOTS and not TABLES[name].parents and name != PEOPLE
    ]
    first = (short or others)[:1]
    return [*first, *chain, *(name for name in others if name not in first)]


def wanted(name: str, settings: Settings, ranges: Mapping[str, tuple[str, str]], full_pass: str) -> Wanted:
    """What a sync of these partitions wants of a table."""
    table = TABLES[name]
    partitions = partitions_of(table, settings.start_date)
    if partitions is None or table.view:
        return Wanted(full_pass=full_pass)
    keys = partitions.get_partition_keys_in_range(dg.PartitionKeyRange(*ranges[job_of(table)]))
    return Wanted(keys, span(settings, ranges) if table.refresh is Refresh.WINDOW else None, full_pass)


def span(settings: Settings, ranges: Mapping[str, tuple[str, str]]) -> tuple[datetime, datetime]:
    """The span of deliveries that the sync reads."""
    days = daily(settings.start_date)
    first, last = (days.time_window_for_partition_key(key) for key in ranges[DELIVERIES])
    return first.start, last.end


def _run(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    job: str,
    tables: Sequence[str],
    partitions: tuple[str, str] | None,
    tags: Mapping[str, str],
) -> Iterable[TableResult]:
    run_tags = {**tags, **process_tag()}
    if partitions:
        run_tags |= {
            "dagster/asset_partition_range_start": partitions[0],
            "dagster/asset_partition_range_end": partitions[1],
        }
    with watching_for_signals() as signal_came:
        result = definitions.resolve_job_def(job).execute_in_process(
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            instance=instance,
            asset_selection=[asset_key(table) for table in tables],
            tags=run_tags,
            raise_on_error=False,
        )
        stopped = signal_came()
    seconds: dict[str, float] = {}
    failures: dict[str, Any] = {}
    for event in result.all_events:
        if event.step_key and event.is_step_success:
            seconds[event.step_key] = event.step_success_data.duration_ms / 1000
        elif event.step_key and event.is_step_failure:
            failures[event.step_key] = event.step_failure_data.error
    if stopped or any(interrupted(error) for error in failures.values()):
        raise KeyboardInterrupt
    metadata = {
        event.asset_key.path[-1]: event.materialization.metadata
        for event in result.get_asset_materialization_events()
        if event.asset_key
    }
    checks = _found_wrong(result.get_asset_check_evaluations(), failures)
    for table in tables:
        step, wrong = asset_key(table).to_python_identifier(), tuple(checks.get(table, ()))
        if step in failures:
            why, refused = failure_message(failures[step]), is_refusal(failures[step])
            yield TableResult(table, failure=why, refused=refused, checks=wrong)
        elif table in metadata:
            yield replace(_succeeded(table, metadata[table], seconds.get(step, 0.0)), checks=wrong)
        else:
            yield TableResult(table, failure=NOT_READ)


def _found_wrong(
    evaluations: Iterable[dg.AssetCheckEvaluation], failures: Mapping[str, Any]
) -> Mapping[str, Sequence[str]]:
    """By table, what its checks say; of one that blocks, the failure of its step says it."""
    found: dict[str, list[str]] = {}
    for evaluation in evaluations:
        if not evaluation.passed and not evaluation.blocking:
            found.setdefault(evaluation.asset_key.path[-1], []).append(evaluation.description or evaluation.check_name)
    failed = failures.get(step_of(DELIVERIES_OF_CAMPAIGNS))
    if failed is not None:
        said = f"its deliveries could not be counted: {failure_message(failed)}"
        found.setdefault(DELIVERIES_OF_CAMPAIGNS.asset_key.path[-1], []).append(said)
    return found


def _earlier(instance: dg.DagsterInstance, table: str) -> TableResult:
    """The result of a table that an earlier attempt has read."""
    event = instance.get_latest_materialization_event(asset_key(table))
    materialization = event.asset_materialization if event else None
    rows = materialization.metadata.get("dagster/row_count") if materialization else None
    return TableResult(table, rows=int(str(rows.value)) if rows else 0, earlier=True)


def _succeeded(table: str, metadata: Mapping[str, Any], seconds: float) -> TableResult:
    def number(name: str) -> int:
        return int(metadata[name].value) if name in metadata else 0

    return TableResult(
        table,
        rows=number("dagster/row_count"),
        requests=number("requests"),
        retries=number("retries"),
        marked_deleted=number("rows_marked_deleted"),
        seconds=seconds,
    )
