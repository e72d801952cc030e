"""The command line: check, plan, sync, push, rejects, sandbox. Arguments and exit codes; `console.py` prints."""

from __future__ import annotations

import argparse
import gc
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from datetime import date
from types import ModuleType

from sqlalchemy.exc import SQLAlchemyError

from cio_assets import sandbox
from cio_assets.memory import leave_pandas_out
from cio_assets.settings import SettingsError, load_settings

FAILED, UNUSABLE, INTERRUPTED = 1, 2, 130


def command() -> None:
    """The program `cio-assets`: `main` in a process that has what it needs and no more."""
    leave_pandas_out()
    code = main()
    gc.freeze()  # or Python looks through all that Dagster has loaded before it ends: half a second
    sys.exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; exit code 0, 1 where something failed, 2 where settings or arguments are wrong."""
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    terminal = os.dup(2)  # Dagster sends stderr into its home while a step runs
    try:
        return _said(options.run(options))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return UNUSABLE
    except BrokenPipeError:  # whoever read what it says has gone, and what is still buffered goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED
    except (OSError, SQLAlchemyError) as error:
        reason = error.strerror if isinstance(error, OSError) else type(error).__name__
        text = f"DAGSTER_HOME cannot be used ({reason}): see that its disk has room and that it can be written.\n"
        os.write(terminal, text.encode())
        os._exit(FAILED)  # what is left in stdout's and stderr's buffers cannot be written either
    except _lazily("warehouse").WarehouseError as error:
        print(error, file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("stopped; tables keep their last complete state, what was pushed is noted", file=sys.stderr, flush=True)
        sys.stdout.flush()
        # At once: Python would first wait for every thread, and one may wait for an answer for another minute.
        os._exit(INTERRUPTED)


def _said(code: int) -> int:
    """`code`, once all that was printed has arrived."""
    if sys.stdout:  # None where a supervisor has closed it
        sys.stdout.flush()
    return code


def _lazily(name: str) -> ModuleType:
    """A module that loads Dagster or DuckDB: `--help` and `sandbox` do without the second that takes."""
    return importlib.import_module(f"cio_assets.{name}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cio-assets", description="Customer.io and a warehouse, kept in step.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    check = commands.add_parser("check", help="say which credentials, region and warehouse work, and what to do")
    check.set_defaults(run=_check)

    plan = commands.add_parser("plan", help="say how many requests and minutes each table would take if synced now")
    sync = commands.add_parser("sync", help="read Customer.io into the warehouse: the Dagster jobs in order")
    for command in (plan, sync):
        command.add_argument("--select", metavar="TABLE,…", help="only these tables (default: all)")
        command.add_argument(
            "--since", metavar="DATE", type=_date, help="first day of deliveries and metrics (default: CIO_START_DATE)"
        )
        command.add_argument(
            "--full", action="store_true", help="ask for everything, also what is known not to have changed"
        )
    plan.set_defaults(run=_plan)
    sync.set_defaults(run=_sync)

    push = commands.add_parser("push", help="push what has changed in the warehouse to Customer.io")
    push.add_argument("syncs", metavar="SYNC", nargs="*", help="only these (default: all whose source is there)")
    push.add_argument("--dry-run", action="store_true", help="count what would be sent, and send nothing")
    push.add_argument("--full", action="store_true", help="send unchanged rows too (events that are known are not)")
    push.set_defaults(run=_push)

    rejects = commands.add_parser("rejects", help="rows that were not accepted, and why")
    actions = rejects.add_subparsers(required=True, metavar="ACTION")
    shown = actions.add_parser("list", help="count them by sync and reason")
    shown.add_argument("syncs", metavar="SYNC", nargs="*", help="only of these")
    shown.add_argument("--rows", action="store_true", help="print them as JSON lines (personal data) instead")
    shown.set_defaults(run=_rejects_list)
    again = actions.add_parser("retry", help="push again, what Customer.io refused included")
    again.add_argument("syncs", metavar="SYNC", nargs="*", help="only these (default: all that have rejected rows)")
    again.set_defaults(run=_rejects_retry)

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
    worst = 0
    for finding in _lazily("check").check(load_settings()):
        mark = {"ok": "ok  ", "off": "off ", "bad": "FAIL"}[finding.state]
        print(f"{mark}  {finding.what}: {finding.said}")
        worst = max(worst, FAILED if finding.state == "bad" else 0)
    return worst


def _sandbox(options: argparse.Namespace) -> int:
    sandbox.serve(sandbox.options_from_args(options))
    return 0


def _selected(options: argparse.Namespace) -> list[str]:
    return options.select.split(",") if options.select is not None else []


def _plan(options: argparse.Namespace) -> int:
    failed = _lazily("console").run_plan(load_settings(), _selected(options), options.since, full=options.full)
    return FAILED if failed else 0


def _sync(options: argparse.Namespace) -> int:
    settings, select = load_settings(), _selected(options)
    failed = _lazily("console").run_sync(settings, select, options.since, full=options.full)
    pushed = 0 if select else _lazily("console").run_push(settings, wanted=False)
    return FAILED if failed or pushed else 0


def _push(options: argparse.Namespace) -> int:
    chosen = {"dry_run": options.dry_run, "full": options.full}
    return FAILED if _lazily("console").run_push(load_settings(), options.syncs, **chosen) else 0


def _rejects_list(options: argparse.Namespace) -> int:
    _lazily("console").list_rejects(load_settings(), options.syncs, rows=options.rows)
    return 0


def _rejects_retry(options: argparse.Namespace) -> int:
    return FAILED if _lazily("console").retry_rejects(load_settings(), options.syncs) else 0


if __name__ == "__main__":
    command()
