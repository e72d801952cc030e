"""A schedule's tick as the daemon evaluates it, and an event log with what it finds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from cio_assets.assets.factory import asset_key
from cio_assets.build import build_definitions
from cio_assets.settings import Settings, load_settings

NOW = datetime.now(UTC).replace(microsecond=0)
TODAY = NOW.date()

_REPOSITORY = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("cio_assets"), "__repository__")


def day(ago: int) -> str:
    """Key of the day that many days ago."""
    return f"{TODAY - timedelta(days=ago)}"


def month(ago: int) -> str:
    """Key of the month that many months ago."""
    return f"{first_of(ago)}"


def first_of(ago: int) -> date:
    """First day of the month that many months ago."""
    number = TODAY.year * 12 + TODAY.month - 1 - ago
    return date(number // 12, number % 12 + 1, 1)


@dataclass
class Clockwork:
    """The schedules of a workspace on an instance of its own."""

    folder: Path
    instance: dg.DagsterInstance
    start: date = TODAY - timedelta(days=60)
    now: datetime = NOW
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.settings: Settings = load_settings(
            _env_file=None, dagster_home=self.folder / "home", start=self.start, **self.options
        )
        self.definitions = build_definitions(self.settings, now=lambda: self.now)
        self.repository = self.definitions.get_repository_def()

    def evaluated(self, schedule: str, at: datetime | None = None) -> dg.ScheduleExecutionData | Any:
        """What a tick of that scheduled time (default: now) gives the daemon."""
        found = self.repository.get_schedule_def(schedule)
        with dg.build_schedule_context(
            instance=self.instance, scheduled_execution_time=at or self.now, repository_def=self.repository
        ) as context:
            return found.evaluate_tick(context)

    def requests(self, schedule: str, at: datetime | None = None) -> list[dg.RunRequest]:
        """The runs that a tick asks for."""
        data = self.evaluated(schedule, at)
        assert data.run_requests, data.skip_message
        return [*data.run_requests]

    def ranges(self, schedule: str, at: datetime | None = None) -> list[tuple[str, str]]:
        """Their ranges of partitions."""
        return [range_of(request.tags) for request in self.requests(schedule, at)]

    def materialized(self, table: str, partitions: Iterable[str | None] = (None,)) -> None:
        """As a run of somebody's read them."""
        for partition in partitions:
            self.instance.report_runless_asset_event(dg.AssetMaterialization(asset_key(table), partition=partition))

    def run(self, request: dg.RunRequest, job: str, status: dg.DagsterRunStatus, at: datetime | None = None) -> str:
        """A run of a request, as the daemon makes it, that has come to this status; answers its id."""
        definition = self.definitions.resolve_job_def(job)
        made = self.instance.create_run_for_job(
            job_def=definition,
            tags={
                **definition.run_tags,
                **request.tags,
                ".dagster/scheduled_execution_time": (at or self.now).astimezone(UTC).isoformat(),
            },
            asset_selection=frozenset(request.asset_selection) if request.asset_selection else None,
            remote_job_origin=RemoteJobOrigin(_REPOSITORY, job),
        )
        if status is dg.DagsterRunStatus.SUCCESS:
            self.instance.report_dagster_event(dg.DagsterEvent("PIPELINE_SUCCESS", job_name=job), run_id=made.run_id)
        elif status in (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.QUEUED):
            kind = {"STARTED": "PIPELINE_START", "QUEUED": "PIPELINE_ENQUEUED"}[status.value]
            self.instance.report_dagster_event(dg.DagsterEvent(kind, job_name=job), run_id=made.run_id)
        elif status is dg.DagsterRunStatus.FAILURE:
            self.instance.report_run_failed(made)
        elif status is dg.DagsterRunStatus.CANCELED:
            self.instance.report_run_canceled(made)
        return made.run_id


def range_of(tags: Any) -> tuple[str, str]:
    """First and last partition of a run's tags."""
    return tags["dagster/asset_partition_range_start"], tags["dagster/asset_partition_range_end"]
