"""Syncs and pushes with their progress and results on a terminal; each answers whether anything failed."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from datetime import date

import duckdb
import orjson
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as Grid

from cio_assets.assets.costs import Estimate, minutes
from cio_assets.catalog.shape import RowInvalid
from cio_assets.customerio import CustomerioError
from cio_assets.plan import plan_sync
from cio_assets.push_run import (
    SyncResult,
    present,
    push_syncs,
    rejected_counts,
    rejected_rows,
    selected_syncs,
)
from cio_assets.reverse_etl.model import Sync
from cio_assets.reverse_etl.prepare import Options
from cio_assets.runs import prepare_home
from cio_assets.settings import Settings, SettingsError
from cio_assets.sync import selected_tables, sync
from cio_assets.warehouse import WarehouseError

_WIDE = 110
"""Characters of our widest table with large numbers."""


def _console() -> Console:
    """Where nobody looks (a pipe, cron's mail) as wide as our tables: rich would cut them off behind 80 characters."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=max(console.width, _WIDE))


def _add_numbers(grid: Grid, names: Iterable[str]) -> None:
    """Columns whose numbers are broken into lines where there is no room, and not cut off."""
    for name in names:
        grid.add_column(name, justify="right", overflow="fold")


def run_sync(settings: Settings, select: Sequence[str] = (), since: date | None = None, *, full: bool = False) -> bool:
    """Sync with progress, then print a row a table; whether any failed."""
    tables = selected_tables(select)
    prepare_home(settings)
    console = _console()
    planned = _planned(settings, tables, since, full=full)
    started = time.monotonic()
    results = []

    def tell(table: str, requests: int, rows: int) -> None:
        console.print(f"  … {table}: {rows:,} rows, {requests:,} requests", style="dim")

    for result in sync(settings, tables, since, full=full, observer=tell):
        if result.failure and result.failure not in {earlier.failure for earlier in results}:
            console.print(f"FAILED {result.table}: {result.failure}", markup=False, soft_wrap=True)
        for wrong in result.checks:
            console.print(f"CHECK {result.table}: {wrong}", markup=False, soft_wrap=True)
        results.append(result)
    grid = Grid()
    grid.add_column("table", no_wrap=True, min_width=max(map(len, tables)))
    _add_numbers(grid, ("rows", "planned", "requests", "retries", "deleted", "seconds"))
    for result in sorted(results, key=lambda result: result.table):
        counts = (result.requests, result.retries, result.marked_deleted)
        rows = "failed" if result.failure else f"{result.rows:,}"
        plan = planned.get(result.table, "")
        grid.add_row(result.table, rows, plan, *(f"{count:,}" for count in counts), f"{result.seconds:.1f}")
    total = sum(result.requests for result in results)
    grid.add_section()
    grid.add_row("total", "", planned.get("", ""), f"{total:,}", "", "", f"{time.monotonic() - started:.1f}")
    console.print(grid)
    earlier = sum(result.earlier for result in results)
    if earlier:
        console.print(
            f"{earlier} tables had been read by the last sync, which did not end, and were not read again.",
            soft_wrap=True,
        )
    failed = [result.table for result in results if result.failure]
    if failed:
        console.print(f"Failed: {', '.join(failed)}. These tables keep their last complete state.", soft_wrap=True)
    console.print(f"Warehouse: {settings.warehouse_label}", soft_wrap=True)
    return bool(failed)


def _planned(settings: Settings, tables: Sequence[str], since: date | None, *, full: bool) -> dict[str, str]:
    """The requests planned for each table, and for all under ""; from the warehouse alone, without a request."""
    try:
        plan = plan_sync(settings, tables, since, full=full, ask=False)
    except (SettingsError, WarehouseError, duckdb.Error):  # it is only for comparison, and the sync says it better
        return {}
    return {one.table: str(one.requests) for one in plan.tables} | {"": str(plan.requests)}


def run_plan(settings: Settings, select: Sequence[str] = (), since: date | None = None, *, full: bool = False) -> bool:
    """Print what a sync would ask now, a row a table; whether that could not be found out."""
    console = _console()
    tables = selected_tables(select)
    try:
        plan = plan_sync(settings, tables, since, full=full)
    except (CustomerioError, RowInvalid) as error:
        print(error, file=sys.stderr)
        return True
    grid = Grid()
    grid.add_column("table", no_wrap=True, min_width=max(map(len, tables)))
    _add_numbers(grid, ("requests", "minutes", "spared"))

    def add(name: str, requests: Estimate, spared: int) -> None:
        took = minutes(requests.number, settings.app_rps)
        known = str(requests) != "?"
        grid.add_row(name, str(requests), f"{took:.1f}" if known else "?", f"{spared:,}" if spared else "")

    for one in sorted(plan.tables, key=lambda one: one.table):
        add(one.table, one.requests, one.spared)
    grid.add_section()
    add("total", plan.requests, sum(one.spared for one in plan.tables))
    console.print(grid)
    console.print(
        f"At {settings.app_rps:g} requests a second (CIO_APP_RPS). ~ is an estimate, ? cannot be known before. spared: "
        "requests for what is known not to have changed; --full makes them all the same.",
        soft_wrap=True,
    )
    console.print(f"This plan took {plan.asked} requests; nothing was written.", soft_wrap=True)
    return False


def run_push(
    settings: Settings,
    names: Sequence[str] = (),
    *,
    dry_run: bool = False,
    full: bool = False,
    retry_rejected: bool = False,
    wanted: bool = True,
) -> bool:
    """Push the named syncs (none: all whose source is there), then print a row a sync; whether any failed.

    With `wanted` False, missing sources or credentials are no fault and only mentioned.
    """
    console = _console()
    syncs = selected_syncs(settings, names)
    prepare_home(settings)
    syncs = syncs if names else present(settings, syncs)
    if not syncs:
        if wanted:
            console.print(
                "Nothing to push: no sync finds its source in the warehouse. Make a table reverse_etl.persons (see the "
                "README), or name a source in CIO_SYNCS.",
                soft_wrap=True,
            )
        return False
    if not wanted and not _has_credentials(settings, console, syncs):
        return False
    results = []
    for result in push_syncs(settings, syncs, Options(dry_run=dry_run, full=full, retry_rejected=retry_rejected)):
        if result.failure and result.failure not in {earlier.failure for earlier in results}:
            console.print(f"FAILED {result.sync}: {result.failure}", markup=False, soft_wrap=True)
        results.append(result)
    _tell(console, results, dry_run=dry_run)
    return any(result.failure for result in results)


def _has_credentials(settings: Settings, console: Console, syncs: Sequence[Sync]) -> bool:
    try:
        settings.require_track_credentials()
    except SettingsError as error:
        console.print(f"Not pushed: {', '.join(sync.name for sync in syncs)}. {error}", soft_wrap=True)
        return False
    return True


def _tell(console: Console, results: Sequence[SyncResult], *, dry_run: bool) -> None:
    console.print(_pushed(results, dry_run=dry_run))
    for result in results:
        if result.shape is not None:
            console.print(f"{result.sync}: {orjson.dumps(result.shape).decode()}", markup=False, soft_wrap=True)
        if result.rejected_by_reason:
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in result.rejected_by_reason.items())
            console.print(f"{result.sync}: rejected {reasons}", markup=False, soft_wrap=True)
        if result.status == "inactive":
            console.print(f"{result.sync}: inactive, since its source is not in the warehouse", soft_wrap=True)
    if any(result.rejected_by_reason for result in results) and not dry_run:
        console.print("Rejected rows stand in reverse_etl.rejected: cio-assets rejects list", soft_wrap=True)


_PUSHED = ("rows", "unchanged", "accepted", "removed", "rejected", "requests")
_PLANNED = {
    "rows": "rows",
    "unchanged": "unchanged",
    "sent": "to write",
    "removed": "to remove",
    "rejected": "to reject",
}


def _pushed(results: Sequence[SyncResult], *, dry_run: bool) -> Grid:
    grid = Grid(box=SIMPLE_HEAD)
    grid.add_column("sync", overflow="fold")
    columns = _PLANNED if dry_run else {name: name for name in _PUSHED}
    _add_numbers(grid, (*columns.values(), "seconds"))
    for result in results:
        counts = [f"{result.counts.get(name, 0):,}" for name in columns]
        if result.status in ("failed", "inactive"):
            counts = [result.status, *("" for _ in counts[1:])]
        grid.add_row(result.sync, *counts, f"{result.seconds:.1f}")
    return grid


def list_rejects(settings: Settings, names: Sequence[str], *, rows: bool) -> None:
    """Print the rejected rows, counted by sync and reason, or each as a JSON line."""
    prepare_home(settings)
    if rows:
        for row in rejected_rows(settings, names):
            print(orjson.dumps(row).decode())
        return
    counts = rejected_counts(settings, names)
    if not counts:
        _console().print("No row is rejected.")
        return
    grid = Grid(box=SIMPLE_HEAD, title="reverse_etl.rejected", title_justify="left")
    for name in ("sync", "reason", "field", "found by"):
        grid.add_column(name, no_wrap=name != "field", overflow="fold")
    grid.add_column("rows", justify="right")
    grid.add_column("message")
    for sync_name, reason, field, found_by, count, message in counts:
        # What the service says may quote a value.
        grid.add_row(sync_name, reason, field, found_by, f"{count:,}", message if found_by == "check" else "")
    _console().print(grid)


def retry_rejects(settings: Settings, names: Sequence[str]) -> bool:
    """Push again the syncs that have rejected rows; whether any failed."""
    syncs: list[Sync] = selected_syncs(settings, names)
    prepare_home(settings)
    rejected = {row[0] for row in rejected_counts(settings, names)}
    own = sorted(rejected - {sync.name for sync in syncs})
    if own:
        _console().print(
            f"{', '.join(own)}: pushed by assets of your own; materialize them with the run config "
            "resources: {customerio_track: {config: {retry_rejected: true}}}.",
            markup=False,
            soft_wrap=True,
        )
    chosen = [sync.name for sync in syncs if sync.name in rejected]
    if not chosen:
        _console().print("No row is rejected.")
        return False
    return run_push(settings, chosen, retry_rejected=True)
