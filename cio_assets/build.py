"""Assets, jobs and resources of one workspace, put together from its settings."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from datetime import datetime

import dagster as dg

from cio_assets.assets.api import AppApi, Observer, utc_now
from cio_assets.assets.factory import build_asset
from cio_assets.automation.jobs import build_jobs
from cio_assets.catalog import TABLES
from cio_assets.io_managers import WarehouseIOManager, make_warehouse
from cio_assets.memory import share_arenas
from cio_assets.settings import Settings


def build_definitions(
    settings: Settings, now: Callable[[], datetime] = utc_now, observer: Observer | None = None
) -> dg.Definitions:
    """The definitions for these settings; needs no credentials, they are asked for when an asset is materialized."""
    share_arenas()
    with warnings.catch_warnings():
        # backfill_policy is "beta" in 1.13; without it a range of partitions is one run each.
        warnings.simplefilter("ignore", dg.BetaWarning)
        assets = [build_asset(table, settings) for table in TABLES.values()]
    return dg.Definitions(
        assets=assets,
        jobs=list(build_jobs()),
        resources={
            "customerio": AppApi(settings, now, observer),
            "warehouse": WarehouseIOManager(make_warehouse(settings)),
        },
        executor=dg.in_process_executor,
    )
