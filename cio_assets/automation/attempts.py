"""What became of an asset's partitions, from Dagster's event log: when each was read, and what was tried since.

A few queries, whatever the number of partitions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg

from cio_assets.automation.catch_up import Attempt, Fault

CATCH_UP = "customerio/catch_up"
"""Tag of a run that reads missed partitions and nothing else; its value is their stretch."""
FINISHED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
UNFINISHED = [status for status in dg.DagsterRunStatus if status not in FINISHED]
_PAGE = 500


@dataclass(frozen=True)
class History:
    """Of one asset: when each partition was last read, and the last attempts that came later and brought nothing."""

    read: Mapping[str, datetime]
    attempts: Mapping[str, Attempt]


def history(instance: dg.DagsterInstance, asset: dg.AssetKey, job: str) -> History:
    """The history of a partitioned asset; `job` is the one whose other runs tell whether reading works at all."""
    latest = instance.get_latest_storage_id_by_partition(asset, dg.DagsterEventType.ASSET_MATERIALIZATION)
    times = _times(instance, asset, latest.values())
    # What the asset's page shows as failed or in progress: planned by a run, and not materialized by it or a later one.
    log = instance.event_log_storage
    open_ends = log.get_latest_asset_partition_materialization_attempts_without_materializations(asset)
    records = _records(instance, {run for run, _ in open_ends.values()})
    worked = _last_success(instance, job)
    found = {run: attempt for run, record in records.items() if (attempt := _attempt(record, worked))}
    return History(
        {partition: times[number] for partition, number in latest.items() if number in times},
        {partition: found[run] for partition, (run, _) in open_ends.items() if run in found},
    )


def last_read(instance: dg.DagsterInstance, asset: dg.AssetKey, partition: str | None = None) -> datetime | None:
    """When an asset (a partition of it) was last materialized."""
    asked = dg.AssetRecordsFilter(asset_key=asset, asset_partitions=[partition] if partition else None)
    records = instance.fetch_materializations(asked, limit=1).records
    return _utc(records[0].timestamp) if records else None


def _times(instance: dg.DagsterInstance, asset: dg.AssetKey, numbers: Iterable[int]) -> dict[int, datetime]:
    wanted = sorted(numbers)
    times = {}
    for first in range(0, len(wanted), _PAGE):
        page = wanted[first : first + _PAGE]
        asked = dg.AssetRecordsFilter(asset_key=asset, storage_ids=page)
        records = instance.fetch_materializations(asked, limit=len(page)).records
        times |= {record.storage_id: _utc(record.timestamp) for record in records}
    return times


def _records(instance: dg.DagsterInstance, runs: set[str]) -> dict[str, dg.RunRecord]:
    wanted = sorted(runs)
    found = {}
    for first in range(0, len(wanted), _PAGE):
        asked = dg.RunsFilter(run_ids=wanted[first : first + _PAGE])
        found |= {record.dagster_run.run_id: record for record in instance.get_run_records(asked)}
    return found


def _attempt(record: dg.RunRecord, worked: datetime | None) -> Attempt | None:
    run, at = record.dagster_run, record.create_timestamp.replace(tzinfo=UTC)
    if run.status not in FINISHED:
        return Attempt(Fault.RUNNING, at)
    if run.status is dg.DagsterRunStatus.SUCCESS:  # of other assets: this one was not among those that were selected
        return None
    if CATCH_UP not in run.tags:
        return Attempt(Fault.UNKNOWN, at)
    if run.status is dg.DagsterRunStatus.CANCELED:
        return Attempt(Fault.CANCELED, at)
    return Attempt(Fault.OWN if worked and worked > at else Fault.UNKNOWN, at)


def _last_success(instance: dg.DagsterInstance, job: str) -> datetime | None:
    """When a run of the job was last over that succeeded."""
    asked = dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS])
    ended = [record.end_time for record in instance.get_run_records(asked, limit=5) if record.end_time]
    return _utc(max(ended)) if ended else None


def _utc(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)
