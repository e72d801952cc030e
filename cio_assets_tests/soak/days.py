"""Days that pass in seconds: one clock for sandbox, assets and Dagster, and every tick when it is due."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from dagster._core.test_utils import freeze_time
from dagster._utils.schedules import schedule_execution_time_iterator

from cio_assets import sandbox
from cio_assets.build import build_definitions
from cio_assets.settings import Settings
from cio_assets_tests.in_process import QUIET


@dataclass(frozen=True)
class Ran:
    """A run: when, which schedule asked for it, its tags, and of each table the numbers in its materialization."""

    at: datetime
    schedule: str
    tags: Mapping[str, str]
    tables: Mapping[str, Mapping[str, int]]
    ways: Mapping[str, tuple[str, str]]
    """In which of their ways the people were read, and why, by table."""


@dataclass
class Days:
    """Goes from tick to tick; `hours` are the hours at which hourly schedules tick here, all would take long."""

    box: sandbox.Sandbox
    instance: dg.DagsterInstance
    settings: Settings
    now: datetime
    hours: frozenset[int]
    before_run: Callable[[str, Mapping[str, str]], None] = lambda *_: None
    """Told the schedule and the tags of a run before it begins."""
    after_run: Callable[[Ran], None] = lambda _: None
    """Told a run when it has ended."""
    runs: list[Ran] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.definitions = build_definitions(self.settings, lambda: self.now)
        self.schedules = [*self.definitions.get_repository_def().schedule_defs]

    def at(self, moment: datetime) -> None:
        """Set the clock."""
        assert moment >= self.now
        self.now = moment
        self.box.clock(now=moment.timestamp())

    def ticks(self, until: datetime) -> Iterator[tuple[datetime, dg.ScheduleDefinition]]:
        """The ticks from now to `until`, in order."""
        found = []
        for schedule in self.schedules:
            for moment in schedule_execution_time_iterator(self.now.timestamp(), str(schedule.cron_schedule), "UTC"):
                if moment >= until:
                    break
                if "hourly" not in schedule.name or moment.hour in self.hours:
                    found.append((moment.astimezone(UTC), schedule))
        yield from sorted(found, key=lambda tick: (tick[0], tick[1].name))

    def run_until(self, until: datetime) -> None:
        """Every tick that is due before `until`, one run after the other."""
        for moment, schedule in self.ticks(until):
            self.at(moment)
            self.tick(schedule)
        self.at(until)

    def sleep_until(self, until: datetime) -> None:
        """The machine is off."""
        self.at(until)

    def tick(self, schedule: dg.ScheduleDefinition) -> None:
        """One tick of a schedule, now: the runs that it asks for, to their end."""
        with _frozen(self.now):
            with dg.build_schedule_context(
                instance=self.instance,
                scheduled_execution_time=self.now,
                repository_def=self.definitions.get_repository_def(),
            ) as context:
                asked = schedule.evaluate_tick(context).run_requests or []
            for request in asked:
                self.before_run(schedule.name, request.tags)
                self._run(schedule, request)

    def named(self, name: str) -> dg.ScheduleDefinition:
        return next(schedule for schedule in self.schedules if schedule.name == name)

    def _run(self, schedule: dg.ScheduleDefinition, request: dg.RunRequest) -> None:
        tags = {"dagster/schedule_name": schedule.name, **request.tags}
        job = self.definitions.resolve_job_def(schedule.job_name)
        if request.asset_selection:
            checks = None if request.asset_check_keys is None else {*request.asset_check_keys}
            job = job.get_subset(asset_selection={*request.asset_selection}, asset_check_selection=checks)
        result = job.execute_in_process(
            run_config=QUIET,
            instance=self.instance,
            partition_key=tags.pop("dagster/partition", None),
            tags=tags,
        )
        tables: dict[str, dict[str, int]] = {}
        ways: dict[str, tuple[str, str]] = {}
        for event in result.get_asset_materialization_events():
            assert event.asset_key
            metadata: Mapping[str, Any] = event.materialization.metadata
            table = event.asset_key.path[-1]
            tables[table] = {name: metadata[name].value for name in ("requests", "requests_spared") if name in metadata}
            if "people_mode" in metadata:
                ways[table] = metadata["people_mode"].value, metadata["people_mode_because"].value
        ran = Ran(self.now, schedule.name, dict(request.tags), tables, ways)
        self.runs.append(ran)
        self.after_run(ran)


@contextmanager
def _frozen(moment: datetime) -> Iterator[None]:
    """Dagster's own clock stands at this moment: it says which partitions there are, and when events were."""
    with freeze_time(moment):
        yield


def midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def fortnight_before(now: datetime) -> datetime:
    """The Monday two weeks before a Sunday that is over: so the last day of a fortnight is a Sunday."""
    sunday = midnight(now) - timedelta(days=(now.weekday() + 1) % 7 or 7)
    return sunday - timedelta(days=13)
