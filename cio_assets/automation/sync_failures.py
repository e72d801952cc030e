"""A sensor that tells of failed syncs: which tables, why, of which workspace, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

import dagster as dg

from cio_assets.assets.factory import asset_key
from cio_assets.assets.workspace_tags import workspace_of
from cio_assets.automation.attempts import CATCH_UP
from cio_assets.automation.failures import DIED, reason_of, status_of, will_retry
from cio_assets.automation.jobs import ACTIVITIES, activity_tables, job_of
from cio_assets.catalog import TABLES
from cio_assets.runs import is_refusal

NAME = "sync_failures"
_MOST_NAMED = 12
"""Tables that a message names; it is read on a phone."""


def build_sync_failure_sensor(*, notify: Callable[[str], None] | None = None, on: bool = False) -> dg.SensorDefinition:
    """The sensor `sync_failures`, off until it is switched on (or `on`); `notify` is given each message.

    It looks at every failed run of this code location, so that tables that are read by a user's own job or by a
    backfill count too. What `notify` raises fails the evaluation, and the message still stands in the sensor's log.
    """

    @dg.run_failure_sensor(
        name=NAME,
        default_status=status_of(on),
        description=(
            "Logs an error for each run in which tables could not be read: which, the reason, the workspace and what "
            "to do. A run that Dagster starts once more is told when it fails again. Give "
            "`build_sync_failure_sensor` a function to be told by Slack or e-mail."
        ),
    )
    def sync_failures(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
        run = context.dagster_run
        failed = failed_tables(run, context.get_step_failure_events(), _succeeded(context.instance, run))
        if not failed:
            return dg.SkipReason(f"Run {run.run_id} failed, but no table of it.")
        if will_retry(run):
            return dg.SkipReason(f"Run {run.run_id} is started once more by Dagster: told if that fails, too.")
        message = failure_text(run, failed)
        context.log.error(message)
        if notify:
            notify(message)
        return None

    return sync_failures


def _succeeded(instance: dg.DagsterInstance, run: dg.DagsterRun) -> set[str]:
    """Keys of the steps that ended well."""
    logged = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_SUCCESS)
    return {event.step_key for event in logged if event.step_key}


def failed_tables(
    run: dg.DagsterRun, failures: Iterable[dg.DagsterEvent], succeeded: Collection[str] = ()
) -> dict[str, Any]:
    """The tables whose step failed, with its error; of a run that died before one said so what was not read: None."""
    by_step = {asset_key(table).to_python_identifier(): table for table in TABLES}
    events = [event for event in failures if event.step_key]
    if events:
        return {by_step[event.step_key]: event.step_failure_data.error for event in events if event.step_key in by_step}
    wanted = [table.name for table in TABLES.values() if job_of(table) == run.job_name]
    if run.asset_selection:
        wanted = [table for table in TABLES if asset_key(table) in run.asset_selection]
    elif run.job_name == ACTIVITIES:
        wanted = activity_tables()
    return {table: None for step, table in by_step.items() if table in wanted and step not in succeeded}


def failure_text(run: dg.DagsterRun, failed: dict[str, Any]) -> str:
    """What is told of a failed run: nothing of a row, and no key."""
    named = _names(failed)
    reasons: dict[str, list[str]] = {}
    for table, error in failed.items():
        reasons.setdefault(reason_of(error) if error else DIED, []).append(table)
    why = " ".join(reason if len(reasons) == 1 else f"{_names(tables)}: {reason}" for reason, tables in reasons.items())
    stretch = run.tags.get(CATCH_UP)
    caught_up = (
        f" It was to catch up {stretch}: what fails by itself is tried once a day while the API still reaches back to "
        "it, and then left alone until somebody materializes it."
        if stretch
        else ""
    )
    refused = any(is_refusal(error) for error in failed.values())
    hint = (
        "Run `cio-assets check`: it tells what is wrong with key, region or address. Then" if refused else "To retry,"
    )
    selection = f" --select {','.join(failed)}" if len(failed) <= _MOST_NAMED else ""
    return (
        f"The sync of {named} failed{workspace_of(run.tags)}: {why} What was stored of it stays.{caught_up} "
        f"{hint} re-execute the run from failure in the UI, or run `cio-assets sync{selection}`, or wait for the next "
        f"tick of its schedule. Run {run.run_id}."
    )


def _names(tables: Iterable[str]) -> str:
    found = list(tables)
    more = len(found) - _MOST_NAMED
    return ", ".join(found) if more <= 0 else f"{', '.join(found[:_MOST_NAMED])} and {more} more"
