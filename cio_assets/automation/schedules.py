"""The schedules of a workspace: what each tick reads, how often, and why then. Which partitions: `catch_up`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import dagster as dg

from cio_assets.assets.checks import check_keys
from cio_assets.assets.factory import asset_key
from cio_assets.assets.partitions import daily
from cio_assets.automation.attempts import CATCH_UP, UNFINISHED, last_read
from cio_assets.automation.catch_up import Lost, Plan, lost
from cio_assets.automation.checks import JOB as CHECKS
from cio_assets.automation.checks import SEGMENTS_A_DAY
from cio_assets.automation.due_partitions import (
    DELIVERIES_REACH,
    RECENT_MONTHS,
    TRAILING_MONTHS,
    plan_days,
    plan_months,
)
from cio_assets.automation.jobs import (
    ACTIVITIES,
    DELIVERIES,
    METRICS,
    RECENT_METRICS,
    SNAPSHOTS,
    activity_tables,
    job_of,
)
from cio_assets.automation.run_launcher import WatchfulRunLauncher
from cio_assets.catalog import TABLES
from cio_assets.catalog.buckets import EASTERN, V1_STEPS, floor, shift
from cio_assets.settings import Settings

QUEUE: Final = "customerio/queue"
"""Tag of a scheduled run: `dagster.yaml` lets runs of one queue follow each other, the oldest first."""
TRAILING: Final = "customerio/trailing_days"
WHOLE_HOURS: Final = "customerio/hours_of_all_months"
"""Tag of a run that read hours of all months that can still move: the day (in CIO_TIMEZONE) that it did so for."""
LOST: Final = "customerio/lost_since"
SCHEDULED_AT: Final = ".dagster/scheduled_execution_time"
"""Dagster's own hidden tag of a run that a schedule asked for."""

ACTIVITIES_REACH = timedelta(days=30)
_WEEKLY_AT_THE_LATEST = timedelta(days=8)
_SUNDAY = 6
_AFTER_THE_DELIVERIES = 4
"""The hour from which on a day's first tick reads hours of all months: the night's deliveries tell what has changed."""

Evaluate = Callable[[dg.ScheduleEvaluationContext], Iterable[dg.RunRequest]]


@dataclass(frozen=True)
class _Tick:
    """A schedule before it is one; minutes are chosen so that what a table is made of is read before it."""

    name: str
    job: str
    cron: str
    does: str
    evaluate: Evaluate


# 1. Missed ticks. A machine that was off asks once for what it missed, not once for each tick: Dagster's scheduler
#    evaluates only the latest missed tick of a schedule without a partition set (dagster/_scheduler/scheduler.py,
#    "has no partition set, so not trying to catch up"). That is all that snapshots need. Partitions that were missed
#    meanwhile are found by `catch_up`.
# 2. A tick that is evaluated twice, because the daemon died in it, keeps its scheduled time: Dagster looks for a run
#    with this time and the same run key before it makes one. So the run key of the trailing partitions
#    does not depend on what the tick finds, and that of a stretch of missed ones only on where it begins.
# 3. Weeks and months are read twice, at their end and a day later: buckets end in UTC (version 2) or US Eastern time
#    (version 1), ticks come in CIO_TIMEZONE, where the boundary may still be hours ahead.
def build_schedules(
    settings: Settings, now: Callable[[], datetime], *, asking_checks: bool = True
) -> list[dg.ScheduleDefinition]:
    """All schedules, on or off by CIO_SCHEDULES, in CIO_TIMEZONE; `now` is the clock of windows and buckets.

    `asking_checks` as in `build_definitions`: the schedule of them too.
    """
    make = _Ticks(settings, now)
    ticks = [
        _Tick(
            "snapshots_daily",
            SNAPSHOTS,
            "15 0 * * *",
            "Everything that is read whole, without activities, which have a schedule of their own. One run. First in "
            "the night, since metrics are asked for the campaigns and actions that it finds.",
            make.snapshots,
        ),
        _Tick(
            "activities_hourly",
            ACTIVITIES,
            "5 * * * *",
            "Activities that are new, and the view over them. One run. Hourly, since a tick costs a request for each "
            "100 new ones and the API keeps 30 days only.",
            make.activities,
        ),
        _Tick(
            "deliveries_daily",
            DELIVERIES,
            "15 3 * * *",
            f"Deliveries of today so far, of the finished day, and of the {settings.trailing_days} days before today, "
            f"on Sundays (or 8 days after the last time) of {settings.trailing_days_weekly}: opens and clicks keep "
            "arriving. One run over the whole range, a request for each 1,000 deliveries, and a run for each further "
            "stretch of days that was missed or failed. After the snapshots.",
            make.deliveries,
        ),
        _Tick(
            "deliveries_hourly",
            DELIVERIES,
            "15 0-2,4-23 * * *",
            "Deliveries of today so far and of yesterday. One run, a request for each 1,000. Hourly, because the "
            "metrics that are read after it are then asked only for campaigns and actions whose deliveries changed.",
            make.recent_deliveries,
        ),
    ]
    for period, often, minute in (
        ("hours", "hourly", 25),
        ("days", "daily", 15),
        ("weeks", "weekly", 30),
        ("months", "monthly", 45),
    ):
        hour_day = {"hours": "* * * *", "days": "4 * * *", "weeks": "4 * * 0,1", "months": "4 1,2 * *"}[period]
        when = {
            "hours": "Some time into the hour, away from its boundary.",
            "days": "After the deliveries of the night, which tell what has changed.",
            "weeks": "On Sunday and Monday: weeks end with Saturday, in some time zones hours after the first tick.",
            "months": "On the 1st and the 2nd: a month may end hours after the first tick.",
        }[period]
        months = f"the running month and the {TRAILING_MONTHS - 1} before it"
        if period == "hours":
            months = f"the running month and the one before, once a day (from 4:00 on) of {months}"
        ticks += [
            _Tick(
                f"metrics_{often}",
                METRICS,
                f"{minute} {hour_day}",
                f"Metrics by {period} of campaigns and their actions, of {months}: opens and clicks move a bucket for "
                "months. One run, at most a request for each campaign and action, and a run for each further stretch "
                f"of months that was missed or failed. {when}",
                make.metrics(f"metrics_{often}", period),
            ),
            _Tick(
                f"recent_metrics_{often}",
                RECENT_METRICS,
                f"{minute + 5} {hour_day}",
                f"Metrics by {period} of broadcasts, their actions and newsletters, as far back as the API tells "
                f"({V1_STEPS[period]} {period}). One run, a request for each. {when}",
                make.recent_metrics(f"recent_metrics_{often}", period),
            ),
        ]
    if asking_checks:
        ticks.append(
            _Tick(
                "checks_daily",
                CHECKS,
                "30 5 * * *",
                "Compares members of segments with the service's own count, others each day, and deliveries with the "
                f"metrics of campaigns. One run, at most {SEGMENTS_A_DAY} requests. After what it compares is read.",
                make.checks,
            )
        )
    return [_schedule(tick, settings) for tick in ticks]


def _schedule(tick: _Tick, settings: Settings) -> dg.ScheduleDefinition:
    def evaluate(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        busy = _under_way(context, tick.name)
        yield from [busy] if busy else tick.evaluate(context)

    on = settings.schedules == "on"
    return dg.ScheduleDefinition(
        name=tick.name,
        job_name=tick.job,
        cron_schedule=tick.cron,
        execution_timezone=settings.timezone,
        execution_fn=evaluate,
        description=f"{tick.does} A tick while a run of the tick before has not ended is skipped.",
        default_status=dg.DefaultScheduleStatus.RUNNING if on else dg.DefaultScheduleStatus.STOPPED,
    )


class _Ticks:
    """What ticks ask for."""

    def __init__(self, settings: Settings, now: Callable[[], datetime]) -> None:
        self._settings = settings
        self._now = now
        self._start = settings.start_date  # of the partitions of the assets, which are made in the same moment

    def snapshots(self, context: dg.ScheduleEvaluationContext) -> Iterable[dg.RunRequest]:
        apart = activity_tables()
        tables = [name for name, table in TABLES.items() if job_of(table) == SNAPSHOTS and name not in apart]
        keys = [asset_key(name) for name in tables]
        # Named, since a selection of assets brings every check of them, also that which costs requests.
        checks = [check for name in tables for check in check_keys(TABLES[name], asset_key(name))]
        yield dg.RunRequest(
            _run_key(context, SNAPSHOTS), tags={QUEUE: SNAPSHOTS}, asset_selection=keys, asset_check_keys=checks
        )

    def activities(self, context: dg.ScheduleEvaluationContext) -> Iterable[dg.RunRequest]:
        read = last_read(context.instance, asset_key("activities"))
        gone = lost(read, self._now(), ACTIVITIES_REACH)
        tags = _told(context, "activities_hourly", "activities", gone)
        yield dg.RunRequest(_run_key(context, ACTIVITIES), tags=tags | {QUEUE: ACTIVITIES})

    def deliveries(self, context: dg.ScheduleEvaluationContext) -> Iterable[dg.RunRequest]:
        days = self._trailing_days(context)
        # Today besides: it is the last partition.
        plan = plan_days(context.instance, self._start, days + 1, self._now())
        tags = {TRAILING: f"{days}"}
        sure = f"{(self._now() - DELIVERIES_REACH).astimezone(UTC).date()}"
        for stretch in plan.catch_up:
            if stretch.first < sure:  # told once, since what was asked for is not missing any more
                context.log.warning(
                    f"Deliveries of {stretch} are asked for late: before {sure} the API may tell only some of them, or "
                    "none. What it does not tell stays away."
                )
        yield from _runs(context, DELIVERIES, plan, lambda key: key, tags)

    def recent_deliveries(self, context: dg.ScheduleEvaluationContext) -> Iterable[dg.RunRequest]:
        days = daily(self._start).get_partition_keys(current_time=self._now())[-2:]
        yield dg.RunRequest(
            _run_key(context, "deliveries_hourly"), tags={QUEUE: DELIVERIES} | _range(days[0], days[-1])
        )

    def _trailing_days(self, context: dg.ScheduleEvaluationContext) -> int:
        """The many on Sundays, and where the machine was off on Sunday: when they were last read longer ago."""
        weekly = self._settings.trailing_days_weekly
        if context.scheduled_execution_time.astimezone(_zone(self._settings)).weekday() == _SUNDAY:
            return weekly
        asked = dg.RunsFilter(
            tags={TRAILING: f"{weekly}"},
            statuses=[dg.DagsterRunStatus.SUCCESS],
            created_after=datetime.now(UTC) - _WEEKLY_AT_THE_LATEST,
        )
        return self._settings.trailing_days if context.instance.get_runs(asked, limit=1) else weekly

    def metrics(self, name: str, period: str) -> Evaluate:
        def evaluate(context: dg.ScheduleEvaluationContext) -> Iterable[dg.RunRequest]:
            tags = self._whole_hours(context) if period == "hours" else {}
            months = RECENT_MONTHS if period == "hours" and not tags else TRAILING_MONTHS
            plan = plan_months(context.instance, self._start, period, months, self._now())
            yield from _runs(context, METRICS, plan, lambda month: f"{month}|{period}", tags, name)

        return evaluate

    def _whole_hours(self, context: dg.ScheduleEvaluationContext) -> dict[str, str]:
        """The tag of a day's reading of hours of all months; empty where it is too early, or the day has one."""
        local = context.scheduled_execution_time.astimezone(_zone(self._settings))
        tag = {WHOLE_HOURS: f"{local.date()}"}
        read = dg.RunsFilter(tags=tag, statuses=[dg.DagsterRunStatus.SUCCESS])
        return {} if local.hour < _AFTER_THE_DELIVERIES or context.instance.get_runs(read, limit=1) else tag

    def checks(self, context: dg.ScheduleEvaluationContext) -> Iterable[dg.RunRequest]:
        yield dg.RunRequest(_run_key(context, CHECKS), tags={QUEUE: CHECKS})

    def recent_metrics(self, name: str, period: str) -> Evaluate:
        def evaluate(context: dg.ScheduleEvaluationContext) -> Iterable[dg.RunRequest]:
            now = self._now()
            tables = [table for table, row in TABLES.items() if row.series == 1]
            reads = [last_read(context.instance, asset_key(table), period) for table in tables]
            # The API's steps end with the running one.
            reach = now - shift(period, floor(period, now, EASTERN), 1 - V1_STEPS[period], EASTERN)
            gone = lost(min((read for read in reads if read), default=None), now, reach)
            tags = _told(context, name, f"metrics by {period}", gone)
            yield dg.RunRequest(
                _run_key(context, name), tags=tags | {"dagster/partition": period, QUEUE: RECENT_METRICS}
            )

        return evaluate


def _zone(settings: Settings) -> ZoneInfo:
    return ZoneInfo(settings.timezone)


def _runs(
    context: dg.ScheduleEvaluationContext,
    job: str,
    plan: Plan,
    key: Callable[[str], str],
    tags: Mapping[str, str],
    name: str | None = None,
) -> Iterable[dg.RunRequest]:
    """A run for each stretch, the oldest first; what is not asked for is logged."""
    for stretch in plan.catch_up:
        context.log.info(f"Catches up {stretch}: never read, read before it ended, or failed.")
        yield dg.RunRequest(
            _run_key(context, f"{name or job}:{stretch.first}"),
            tags={CATCH_UP: f"{stretch}", QUEUE: job} | _range(key(stretch.first), key(stretch.last)),
        )
    for stretch in plan.later:
        context.log.info(f"Caught up by a later tick: {stretch}.")
    _tell_left(context, name or job, job, [f"{stretch}" for stretch in plan.left])
    trailing = _range(key(plan.trailing.first), key(plan.trailing.last))
    yield dg.RunRequest(_run_key(context, name or job), tags={**tags, QUEUE: job} | trailing)


def _tell_left(context: dg.ScheduleEvaluationContext, name: str, job: str, left: list[str]) -> None:
    """Log what is left alone, once: what was told stands in Dagster's own storage for such notes."""
    notes, place = context.instance.daemon_cursor_storage, f"customerio/left/{name}"
    told = set((notes.get_cursor_values({place}).get(place) or "").split(",")) - {""}
    for stretch in left:
        if stretch not in told:
            context.log.warning(
                f"Left alone, since catching up failed or was cancelled: {stretch}. Materialize these partitions of "
                f"the job {job} by hand to try again."
            )
    if told != set(left):
        notes.set_cursor_values({place: ",".join(left)})


def _range(first: str, last: str) -> dict[str, str]:
    # With BackfillPolicy.single_run() one run materializes them all, and each partition gets its own event.
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


def _told(context: dg.ScheduleEvaluationContext, name: str, what: str, gone: Lost | None) -> dict[str, str]:
    """Log what was lost, once: the run that is asked for carries it, and no later one tells it again."""
    if gone is None:
        return {}
    tag = {LOST: gone.since.isoformat()}
    if not context.instance.get_runs(dg.RunsFilter(tags=tag | {"dagster/schedule_name": name}), limit=1):
        context.log.warning(f"Lost: {what} of {gone}. The last reading was longer ago than the API reaches back.")
    return tag


def _run_key(context: dg.ScheduleEvaluationContext, what: str) -> str:
    return f"{what}:{_scheduled_at(context)}"


def _scheduled_at(context: dg.ScheduleEvaluationContext) -> str:
    return context.scheduled_execution_time.astimezone(UTC).isoformat()


def _under_way(context: dg.ScheduleEvaluationContext, name: str) -> dg.SkipReason | None:
    """Why this tick starts nothing: a run of an earlier one has not ended. Runs of this one are found by run key."""
    asked = dg.RunsFilter(tags={"dagster/schedule_name": name}, statuses=UNFINISHED)
    launcher = context.instance.run_launcher
    for run in context.instance.get_runs(asked, limit=20):
        # After a power cut the missed tick comes before `run_monitoring` has found the dead run. It must not wait a
        # day for it; should the run live after all, the queue keeps the two apart.
        dead = isinstance(launcher, WatchfulRunLauncher) and launcher.why_gone(run)
        if not dead and run.tags.get(SCHEDULED_AT) != _scheduled_at(context):
            return dg.SkipReason(
                f"Run {run.run_id} of an earlier tick has not ended ({run.status.value.lower()}): this tick starts "
                "none, the next one reads what has come meanwhile."
            )
    return None
