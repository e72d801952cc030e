"""A sensor that tells of failed pushes: which sync, why, how many of its rows are rejected, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import dagster as dg
import duckdb

from cio_assets.assets.push import push_key
from cio_assets.automation.failures import DIED, reason_of, status_of, will_retry
from cio_assets.automation.jobs import push_job
from cio_assets.reverse_etl import state
from cio_assets.reverse_etl.model import Sync
from cio_assets.warehouse.database import Warehouse, WarehouseAbsent, WarehouseError

NAME = "push_failures"


def build_push_failure_sensor(
    syncs: Iterable[Sync], warehouse: Warehouse, *, notify: Callable[[str], None] | None = None, on: bool = False
) -> dg.SensorDefinition:
    """The sensor `push_failures`, off until it is switched on; `notify` is given each message, for Slack or e-mail.

    It looks at every failed run of this code location, so that a push as part of a user's own job counts too. What
    `notify` raises fails the evaluation, and the message still stands in the sensor's log.
    """
    watched = tuple(syncs)

    @dg.run_failure_sensor(
        name=NAME,
        default_status=status_of(on),
        description=(
            "Logs an error for each push that failed: the sync, the reason, the number of its rejected rows and what "
            "to do. Give `build_push_failure_sensor` a function to be told by Slack or e-mail."
        ),
    )
    def push_failures(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
        failed = _failed_pushes(context, watched)
        if not failed:
            return dg.SkipReason(f"Run {context.dagster_run.run_id} failed, but no push of it.")
        if will_retry(context.dagster_run):
            return dg.SkipReason(f"Run {context.dagster_run.run_id} is started once more by Dagster.")
        for sync, reason in failed:
            message = failure_text(sync, reason, rejected_count(warehouse, sync), context.dagster_run.run_id)
            context.log.error(message)
            if notify:
                notify(message)
        return None

    return push_failures


def failure_text(sync: Sync, reason: str, rejected: int | None, run: str) -> str:
    """What is told of a failed push; `rejected` is None where the rows could not be counted."""
    if rejected is None:
        rows = "The number of its rejected rows is unknown while the warehouse is in use."
    elif rejected:
        rows = f"Rejected rows: {rejected:,}, each with its reason in reverse_etl.rejected (cio-assets rejects list)."
    else:
        rows = "No rows of it are rejected."
    return (
        f"The push of {sync.name} failed: {reason} {rows} Accepted rows are noted; once the reason is gone start the "
        f"job {push_job(sync)}, or run `cio-assets push {sync.name}`, to send the rest. Run {run}."
    )


def rejected_count(warehouse: Warehouse, sync: Sync) -> int | None:
    """Rows of the sync in `reverse_etl.rejected`; None where that cannot be told now."""
    try:
        with warehouse.attached_for_reading() as con:
            if not state.rejected_exists(warehouse, con):
                return 0
            counted = con.execute(f"SELECT count(*) FROM {state.rejected_table()} WHERE sync = ?", [sync.name])
            return counted.fetchall()[0][0]
    except WarehouseAbsent:
        return 0
    except (WarehouseError, duckdb.Error):
        return None


def _failed_pushes(context: dg.RunFailureSensorContext, syncs: tuple[Sync, ...]) -> list[tuple[Sync, str]]:
    """The syncs whose step failed; for a run that died before any step said so the sync of its job."""
    by_step = {"__".join(push_key(sync).path): sync for sync in syncs}
    events = context.get_step_failure_events()
    failed = [(by_step[event.step_key], event) for event in events if event.step_key in by_step]
    if events:
        return [(sync, reason_of(event.step_failure_data.error)) for sync, event in failed]
    return [(sync, DIED) for sync in syncs if push_job(sync) == context.dagster_run.job_name]
