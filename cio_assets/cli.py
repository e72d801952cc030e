"""The command line: check, sync, sandbox. Arguments and printing only."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Sequence
from datetime import date

from rich.console import Console
from rich.table import Table as Grid
from sqlalchemy.exc import SQLAlchemyError

from cio_assets import sandbox
from cio_assets.settings import Settings, SettingsError, load_settings

FAILED, UNUSABLE, INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; exit code 0, 1 where something failed, 2 where settings or arguments are wrong."""
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    terminal = os.dup(2)  # Dagster sends stderr into its home while a step runs
    try:
        return options.run(options)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return UNUSABLE
    except (OSError, SQLAlchemyError) as error:
        reason = error.strerror if isinstance(error, OSError) else type(error).__name__
        text = f"DAGSTER_HOME cannot be used ({reason}): see that its disk has room and that it can be written.\n"
        os.write(terminal, text.encode())
        os._exit(FAILED)  # what is left in stdout's and stderr's buffers cannot be written either
    except KeyboardInterrupt:
        print("stopped; tables keep their last complete state", file=sys.stderr, flush=True)
        sys.stdout.flush()
        # At once: Python would first wait for every thread, and one may wait for an answer for another minute.
        os._exit(INTERRUPTED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cio-assets", description="Customer.io and a warehouse, kept in step.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    check = commands.add_parser("check", help="say which credentials, region and warehouse work, and what to do")
    check.set_defaults(run=_check)

    sync = commands.add_parser("sync", help="read Customer.io into the warehouse: the Dagster jobs in order")
    sync.add_argument("--select", metavar="TABLE,…", help="only these tables (default: all)")
    sync.add_argument(
        "--since", metavar="DATE", type=_date, help="first day of deliveries and metrics (default: CIO_START_DATE)"
    )
    sync.add_argument(
        "--full", action="store_true", help="carry nothing over from earlier syncs (at present no sync does)"
    )
    sync.set_defaults(run=_sync)

    box = commands.add_parser("sandbox", help="serve a local Customer.io with made-up data")
    sandbox.add_arguments(box)
    box.set_defaults(run=_sandbox)
    return parser


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an ISO date such as 2026-01-31") from None


def _check(_options: argparse.Namespace) -> int:
    from cio_assets.check import check  # noqa: PLC0415  # Dagster and DuckDB are not loaded for the other commands

    worst = 0
    for finding in check(load_settings()):
        mark = {"ok": "ok  ", "off": "off ", "bad": "FAIL"}[finding.state]
        print(f"{mark}  {finding.what}: {finding.said}")
        worst = max(worst, FAILED if finding.state == "bad" else 0)
    return worst


def _sandbox(options: argparse.Namespace) -> int:
    sandbox.serve(sandbox.options_from_args(options))
    return 0


def _sync(options: argparse.Namespace) -> int:
    return run_sync(load_settings(), options.select.split(",") if options.select is not None else [], options.since)


def run_sync(settings: Settings, select: Sequence[str] = (), since: date | None = None) -> int:
    """Sync with progress, then print a row a table; the exit code."""
    from cio_assets.sync import prepare_home, selected_tables, sync  # noqa: PLC0415  # see _check

    tables = selected_tables(select)
    prepare_home(settings)
    console = Console(highlight=False)
    started = time.monotonic()
    results = []

    def tell(table: str, requests: int, rows: int) -> None:
        console.print(f"  … {table}: {rows:,} rows, {requests:,} requests", style="dim")

    for result in sync(settings, tables, since, observer=tell):
        if result.failure and result.failure not in {earlier.failure for earlier in results}:
            console.print(f"FAILED {result.table}: {result.failure}", markup=False, soft_wrap=True)
        results.append(result)
    grid = Grid()
    grid.add_column("table", no_wrap=True, min_width=max(map(len, tables)))
    for name in ("rows", "requests", "retries", "deleted", "seconds"):
        grid.add_column(name, justify="right")
    for result in sorted(results, key=lambda result: result.table):
        counts = (result.requests, result.retries, result.marked_deleted)
        rows = "failed" if result.failure else f"{result.rows:,}"
        grid.add_row(result.table, rows, *(f"{count:,}" for count in counts), f"{result.seconds:.1f}")
    total = sum(result.requests for result in results)
    grid.add_section()
    grid.add_row("total", "", f"{total:,}", "", "", f"{time.monotonic() - started:.1f}")
    console.print(grid)
    failed = [result.table for result in results if result.failure]
    if failed:
        console.print(f"Failed: {', '.join(failed)}. These tables keep their last complete state.", soft_wrap=True)
    console.print(f"Warehouse: {settings.warehouse_label}", soft_wrap=True)
    return FAILED if failed else 0


if __name__ == "__main__":
    sys.exit(main())
