"""The jobs that schedules, backfills and the CLI run."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from cio_assets.assets.factory import asset_key
from cio_assets.assets.push import push_key
from cio_assets.catalog import TABLES, Refresh, Table
from cio_assets.reverse_etl.model import Sync

SNAPSHOTS = "sync_snapshots"
DELIVERIES = "sync_deliveries"
METRICS = "sync_metrics"
RECENT_METRICS = "sync_recent_metrics"


def job_of(table: Table) -> str:
    """The job that materializes a table. One job has one kind of partitions, hence two for metrics."""
    if table.refresh is Refresh.VIEW and table.view:
        return job_of(TABLES[table.view.of])
    if table.refresh is Refresh.WINDOW:
        return DELIVERIES
    return {1: RECENT_METRICS, 2: METRICS}[table.series] if table.series else SNAPSHOTS


_DESCRIPTIONS = {
    SNAPSHOTS: "Lists, people, segments, objects, activities: everything that is read whole.",
    DELIVERIES: "Deliveries of a day or a range of days, and the views over them.",
    METRICS: "Metrics of campaigns and their actions, for months and periods.",
    RECENT_METRICS: "Metrics of broadcasts, their actions and newsletters, as far back as the API tells.",
}


def push_job(sync: Sync) -> str:
    """The job that pushes a sync."""
    return f"push_{sync.name}"


def build_jobs(syncs: Iterable[Sync] = ()) -> Iterable[dg.UnresolvedAssetJobDefinition]:
    """All jobs."""
    for sync in syncs:
        yield dg.define_asset_job(
            push_job(sync),
            selection=dg.AssetSelection.assets(push_key(sync)),
            description=f"Pushes what has changed in {sync.source} to Customer.io.",
        )
    for name, description in _DESCRIPTIONS.items():
        keys = [asset_key(table.name) for table in TABLES.values() if job_of(table) == name]
        yield dg.define_asset_job(name, selection=dg.AssetSelection.assets(*keys), description=description)
