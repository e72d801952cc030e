"""Assets, jobs, sensors and resources of one workspace, put together from its settings."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from datetime import datetime

import dagster as dg

from cio_assets.assets.api import AppApi, utc_now
from cio_assets.assets.factory import build_asset
from cio_assets.assets.push import build_push_asset
from cio_assets.assets.workspace_tags import workspace_tags
from cio_assets.automation.checks import build_checks
from cio_assets.automation.jobs import build_jobs
from cio_assets.automation.push_failures import build_push_failure_sensor
from cio_assets.automation.push_sensors import INTERVAL_SECONDS, build_push_sensors
from cio_assets.automation.schedules import build_schedules
from cio_assets.automation.sync_failures import build_sync_failure_sensor
from cio_assets.catalog import TABLES
from cio_assets.io_managers import WarehouseIOManager, make_warehouse
from cio_assets.io_managers.track import track_io_manager
from cio_assets.memory import give_memory_back
from cio_assets.reverse_etl.syncs_file import load_syncs
from cio_assets.settings import Settings


def build_definitions(
    settings: Settings,
    now: Callable[[], datetime] = utc_now,
    api: AppApi | None = None,
    *,
    sensor_seconds: int = INTERVAL_SECONDS,
    notify: Callable[[str], None] | None = None,
    asking_checks: bool = True,
) -> dg.Definitions:
    """The definitions for these settings; needs no credentials, they are asked for when an asset is materialized.

    `api` is what the assets ask, by default made from the settings and `now`. `sensor_seconds` between two looks at a
    sync's source; `notify` is told what a failed sync or push says (mail, Slack …). Without `asking_checks` there are
    no checks that cost requests: a run of selected assets brings every check of them.
    """
    give_memory_back()
    syncs = load_syncs(settings.syncs_file)
    with warnings.catch_warnings():
        # backfill_policy is "beta" in 1.13; without it a range of partitions is one run each.
        warnings.simplefilter("ignore", dg.BetaWarning)
        assets = [build_asset(table, settings) for table in TABLES.values()]
        assets += [build_push_asset(sync, settings.start_date, workspace_tags(settings)) for sync in syncs]
    warehouse = make_warehouse(settings)
    return dg.Definitions(
        assets=assets,
        asset_checks=build_checks(settings.start_date, asking=asking_checks),
        jobs=list(build_jobs(syncs, workspace_tags(settings), asking_checks=asking_checks)),
        schedules=build_schedules(settings, now, asking_checks=asking_checks),
        resources={
            "customerio": api or AppApi(settings, now),
            "warehouse": WarehouseIOManager(warehouse),
            "customerio_track": track_io_manager(settings, warehouse, now),
        },
        sensors=[
            *build_push_sensors(syncs, settings, warehouse, interval_seconds=sensor_seconds),
            build_push_failure_sensor(syncs, warehouse, notify=notify, on=settings.schedules == "on"),
            build_sync_failure_sensor(notify=notify, on=settings.schedules == "on"),
        ],
        executor=dg.in_process_executor,
    )
