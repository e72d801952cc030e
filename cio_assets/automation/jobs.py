"""The jobs that schedules, backfills and the CLI run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import dagster as dg

from cio_assets.assets.factory import asset_key
from cio_assets.assets.push import RUN_TAGS as PUSH_TAGS
from cio_assets.assets.push import push_key
from cio_assets.automation.checks import MEMBERS, build_check_job
from cio_assets.catalog import TABLES, Refresh, Table
from cio_assets.reverse_etl.model import Sync

SNAPSHOTS = "sync_snapshots"
ACTIVITIES = "sync_activities"
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


# What failed, and what depends on it; what was read stays as it is.
_SYNC_TAGS = {"dagster/retry_strategy": "FROM_FAILURE"}


def activity_tables() -> list[str]:
    """The activities and what is made of them: of all that is read whole the one that is wanted every hour."""
    views = [name for name, table in TABLES.items() if table.view and table.view.of == "activities"]
    return ["activities", *views]


def push_job(sync: Sync) -> str:
    """The job that pushes a sync."""
    return f"push_{sync.name}"


def build_jobs(
    syncs: Iterable[Sync] = (), run_tags: Mapping[str, str] | None = None, *, asking_checks: bool = True
) -> Iterable[dg.UnresolvedAssetJobDefinition]:
    """All jobs; `run_tags` are on every run of them. `asking_checks` as in `build_definitions`: the job of them too."""
    common = dict(run_tags or {})
    for sync in syncs:
        yield dg.define_asset_job(
            push_job(sync),
            selection=dg.AssetSelection.assets(push_key(sync)),
            description=f"Pushes what has changed in {sync.source} to Customer.io.",
            run_tags=common | PUSH_TAGS,
        )
    tables = {name: [table.name for table in TABLES.values() if job_of(table) == name] for name in _DESCRIPTIONS}
    tables[ACTIVITIES] = activity_tables()
    for name, description in (
        _DESCRIPTIONS | {ACTIVITIES: "Activities alone, of which the API keeps 30 days."}
    ).items():
        keys = [asset_key(table) for table in tables[name]]
        selection = dg.AssetSelection.assets(*keys)
        if asking_checks:  # which cost requests
            selection -= dg.AssetSelection.checks(MEMBERS)
        yield dg.define_asset_job(name, selection=selection, description=description, run_tags=common | _SYNC_TAGS)
    if asking_checks:
        yield build_check_job(common)
