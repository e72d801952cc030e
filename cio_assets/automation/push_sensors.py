"""A sensor for each sync: looks whether the source has changed, reading only, and asks for the push when it has."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import duckdb

from cio_assets.assets.push import source_key
from cio_assets.automation.jobs import push_job
from cio_assets.automation.source_changes import Look, Memory
from cio_assets.reverse_etl.fingerprint import by_content, by_watermark, find_source, of_file
from cio_assets.reverse_etl.model import Sync
from cio_assets.settings import Settings
from cio_assets.warehouse.database import Warehouse, WarehouseAbsent, WarehouseBusy, WarehouseError

INTERVAL_SECONDS = 60
"""Between two looks."""
RETRY_SECONDS = 15 * 60
"""Between two requests while the pushes fail."""
LOOK_SECONDS = 20.0
"""A look ends after that: our writers wait for 120 s, and Dagster for 60 s."""

_RUNNING = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]


class _NoLookError(Exception):
    """The source could not be looked at; says why and what to do, without a value of a row."""


def build_push_sensors(
    syncs: Iterable[Sync],
    settings: Settings,
    warehouse: Warehouse,
    *,
    interval_seconds: int = INTERVAL_SECONDS,
    look_seconds: float = LOOK_SECONDS,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> list[dg.SensorDefinition]:
    """The sensors `push_<sync>_on_change`, off until they are switched on."""
    watch = _Watch(settings, warehouse, interval_seconds, look_seconds, now)
    return [watch.sensor(sync) for sync in syncs]


class _Watch:
    """What the sensors of a workspace share."""

    def __init__(
        self,
        settings: Settings,
        warehouse: Warehouse,
        interval_seconds: int,
        look_seconds: float,
        now: Callable[[], datetime],
    ) -> None:
        self._workspace = _workspace(settings)
        self._warehouse = warehouse
        self._interval = interval_seconds
        self._look_seconds = look_seconds
        self._now = now

    def sensor(self, sync: Sync) -> dg.SensorDefinition:
        """The sensor of a sync."""
        told_by = f"the number of rows and the greatest {sync.cursor}" if sync.cursor else "a checksum of all rows"

        @dg.sensor(
            name=f"{push_job(sync)}_on_change",
            job_name=push_job(sync),
            minimum_interval_seconds=self._interval,
            default_status=dg.DefaultSensorStatus.STOPPED,
            description=(
                f"Pushes {sync.source} when it has changed: watches {told_by}, the materializations of the asset "
                f"{source_key(sync).to_user_string()}, and the definition of the sync. It reads only, asks once for "
                f"each change, and once in {RETRY_SECONDS // 60} minutes while the pushes fail."
            ),
        )
        def on_change(context: dg.SensorEvaluationContext) -> dg.SensorResult:
            return self._evaluate(context, sync)

        return on_change

    def _evaluate(self, context: dg.SensorEvaluationContext, sync: Sync) -> dg.SensorResult:
        instance, job, moment = context.instance, push_job(sync), self._now().timestamp()
        for run in instance.get_runs(dg.RunsFilter(job_name=job, statuses=_RUNNING), limit=1):
            return _skip(f"Run {run.run_id} of {job} has not ended: {sync.source} is looked at after it.")
        known = Memory.read(context.cursor)
        failing = not known.first and _last_push_failed(instance, job)
        if failing and moment < known.asked + RETRY_SECONDS:
            at = datetime.fromtimestamp(known.asked + RETRY_SECONDS, UTC)
            return _skip(f"The last push failed; it is asked for again at {at:%H:%M} UTC. Its run tells what to do.")
        # Before the rows are read: a materialization is told after its rows are there, so none can be missed.
        materialization = _last_materialization(instance, sync)
        about = f"{sync.model_dump_json(exclude={'description'})}\n{self._workspace}"
        file = of_file(self._warehouse, about)
        untouched = file is not None and file == known.last.file and materialization == known.last.materialization
        if untouched and not failing:
            return _skip("Nothing was written to the warehouse since the last look.")
        tracked = materialization is not None or _is_asset_here(context, sync)
        try:
            look = self._look(sync, about, known, materialization, tracked=tracked)
        except (_NoLookError, WarehouseError) as problem:
            return _skip(str(problem))
        # A view may read what is not in the file.
        look = replace(look, file=file if look.file else None)
        if known.differs(look):
            known = known.changed(look, moment)
        elif failing:
            known = known.again(look, moment)
        else:
            return _skip(f"{sync.source} has not changed.", known.seen(look))
        return dg.SensorResult(run_requests=[dg.RunRequest(run_key=known.run_key(sync.name))], cursor=known.written())

    def _look(self, sync: Sync, about: str, known: Memory, materialization: int | None, *, tracked: bool) -> Look:
        """What the source is like; `file` only says whether the rows stand in the warehouse. Raises `_NoLookError`."""
        hint = f"See that `SELECT * FROM {sync.source}` works in the warehouse."
        try:
            with self._warehouse.attached_for_reading() as con, _bounded(con, self._look_seconds):
                source = find_source(con, sync)
                if source is None:
                    raise _NoLookError(f"Inactive: {sync.source} is not in the warehouse.")
                watermark = by_watermark(con, self._warehouse, source, sync, about)
                thorough = known.wants_content(watermark, materialization, tracked=tracked)
                content = by_content(con, source, about) if thorough else None
        except WarehouseAbsent as error:
            raise _NoLookError(f"{error} Inactive until {sync.source} is there.") from None
        except WarehouseBusy as error:
            raise _NoLookError(f"{error} It is in use: looked at again at the next evaluation.") from None
        except duckdb.InterruptException:
            raise _NoLookError(
                f"Looking at {sync.source} takes longer than {self._look_seconds:g} s: make it a table, or give the "
                "sync a cursor, a column that grows with every change."
            ) from None
        except duckdb.Error as error:  # its message quotes values
            raise _NoLookError(f"{sync.source} cannot be read ({type(error).__name__}). {hint}") from None
        return Look(watermark, content, materialization, "stored" if source.stored else None)


def _skip(reason: str, memory: Memory | None = None) -> dg.SensorResult:
    # Without a cursor the old one stays.
    return dg.SensorResult(skip_reason=reason, cursor=memory.written() if memory else None)


@contextmanager
def _bounded(con: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    """Interrupt what the connection does when the time is over."""
    timer = threading.Timer(seconds, con.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _workspace(settings: Settings) -> str:
    """Tells workspaces apart: another one has to be told everything."""
    site = settings.site_id.get_secret_value() if settings.site_id else ""
    return hashlib.sha256(json.dumps([settings.region, settings.track_url, site]).encode()).hexdigest()


def _last_materialization(instance: dg.DagsterInstance, sync: Sync) -> int | None:
    records = instance.fetch_materializations(source_key(sync), limit=1).records
    return records[0].storage_id if records else None


def _is_asset_here(context: dg.SensorEvaluationContext, sync: Sync) -> bool:
    """Whether Dagster makes the source, so that its first materialization is to come."""
    graph = context.repository_def.asset_graph if context.repository_def else None
    return graph is not None and graph.has(source_key(sync)) and graph.get(source_key(sync)).is_materializable


def _last_push_failed(instance: dg.DagsterInstance, job: str) -> bool:
    """Of those that push the whole source, whoever started them; somebody who cancels one means it."""
    for run in instance.get_runs(dg.RunsFilter(job_name=job, statuses=_ENDED), limit=50):
        if not _is_partial(run):
            return run.status is dg.DagsterRunStatus.FAILURE
    return False


def _is_partial(run: dg.DagsterRun) -> bool:
    """Whether a run pushed some days only, or was a dry run."""
    config: Any = run.run_config
    options = config.get("resources", {}).get("customerio_track", {}).get("config", {})
    return bool(options.get("dry_run")) or any(tag.startswith("dagster/") and "partition" in tag for tag in run.tags)
