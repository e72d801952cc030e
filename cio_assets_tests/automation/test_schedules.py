"""The schedules: when they tick, what each tick asks for, and that no tick asks twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from cio_assets.automation.jobs import job_of
from cio_assets.catalog import TABLES
from cio_assets.catalog.buckets import EASTERN
from cio_assets.settings import SettingsError, load_settings
from cio_assets_tests.automation.tick import NOW, TODAY, Clockwork, day, first_of, month, range_of
from cio_assets_tests.conftest import PROJECT

SUNDAY = datetime(2026, 3, 8, 3, 15, tzinfo=UTC)
MONDAY = SUNDAY + timedelta(days=1)
Make = Callable[..., Clockwork]


@pytest.fixture
def make(tmp_path: Path, instance: dg.DagsterInstance) -> Make:
    def made(**options: Any) -> Clockwork:
        start = options.pop("start", TODAY - timedelta(days=60))
        return Clockwork(tmp_path, instance, start=start, options=options)

    return made


def test_they_are_off_or_on_in_one_place(make: Make) -> None:
    for setting, schedule, sensor in (
        ("off", dg.DefaultScheduleStatus.STOPPED, dg.DefaultSensorStatus.STOPPED),
        ("on", dg.DefaultScheduleStatus.RUNNING, dg.DefaultSensorStatus.RUNNING),
    ):
        repository = make(schedules=setting).repository
        assert {found.default_status for found in repository.schedule_defs} == {schedule}
        for name in ("sync_failures", "push_failures"):
            assert repository.get_sensor_def(name).default_status == sensor


def test_each_tick_is_documented_and_in_the_time_zone(make: Make) -> None:
    found = {each.name: each for each in make(timezone="Europe/Berlin").repository.schedule_defs}
    apart = {"snapshots_daily", "activities_hourly", "deliveries_daily", "deliveries_hourly", "checks_daily"}
    assert found.keys() == apart | {
        f"{prefix}metrics_{often}" for prefix in ("", "recent_") for often in ("hourly", "daily", "weekly", "monthly")
    }
    for each in found.values():
        assert each.execution_timezone == "Europe/Berlin"
        assert "One run" in (each.description or "")
        assert "request" in (each.description or "") or each.name == "snapshots_daily"


def ticks_of_a_night(clockwork: Clockwork) -> list[str]:
    """Daily schedules in the order of their first tick on the 2nd of a month that is a Monday."""
    at = datetime(2026, 3, 2, tzinfo=UTC).timestamp()
    daily = [each for each in clockwork.repository.schedule_defs if not each.name.endswith("hourly")]
    first = {each.name: next(schedule_execution_time_iterator(at, str(each.cron_schedule), "UTC")) for each in daily}
    return sorted(first, key=lambda name: first[name])


def test_a_night_reads_first_what_the_rest_is_made_of(make: Make) -> None:
    assert ticks_of_a_night(make()) == [
        "snapshots_daily",
        "deliveries_daily",
        "metrics_daily",
        "recent_metrics_daily",
        "metrics_weekly",
        "recent_metrics_weekly",
        "metrics_monthly",
        "recent_metrics_monthly",
        "checks_daily",
    ]


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/Los_Angeles", "Pacific/Pago_Pago"])
def test_weeks_and_months_are_read_after_their_end_whatever_the_time_zone(make: Make, zone: str) -> None:
    schedules = {each.name: each for each in make(timezone=zone).repository.schedule_defs}
    ends = {
        "recent_metrics_weekly": datetime(2026, 3, 8, tzinfo=EASTERN),
        "recent_metrics_monthly": datetime(2026, 3, 1, tzinfo=EASTERN),
    }
    for name, end in ends.items():
        ticks = schedule_execution_time_iterator(
            (end - timedelta(days=2)).timestamp(), str(schedules[name].cron_schedule), zone
        )
        near = [next(ticks), next(ticks)]
        assert near[1] - near[0] == timedelta(days=1)
        assert end < near[1].astimezone(UTC) < end + timedelta(days=2)
        assert near[1].astimezone(ZoneInfo(zone)).hour == 4


def test_deliveries_of_two_days_are_read_before_the_metrics_of_the_hour(make: Make) -> None:
    clockwork = make()
    assert clockwork.ranges("deliveries_hourly") == [(day(1), day(0))]
    assert make(start=TODAY).ranges("deliveries_hourly") == [(day(0), day(0))]
    minutes = {
        each.name: int(str(each.cron_schedule).split()[0])
        for each in clockwork.repository.schedule_defs
        if each.name.endswith("hourly")
    }
    assert sorted(minutes, key=lambda name: minutes[name])[1:] == [
        "deliveries_hourly",
        "metrics_hourly",
        "recent_metrics_hourly",
    ]


def test_snapshots_leave_activities_to_their_own_schedule(make: Make) -> None:
    clockwork = make()
    (nightly,) = clockwork.requests("snapshots_daily")
    tables = {key.path[-1] for key in nightly.asset_selection or ()}
    assert tables == {name for name, table in TABLES.items() if job_of(table) == "sync_snapshots"} - {
        "activities",
        "customer_activities",
    }
    assert {"campaigns", "customers", "exports"} <= tables
    (hourly,) = clockwork.requests("activities_hourly")
    assert hourly.asset_selection is None
    job = clockwork.repository.get_job("sync_activities")
    assert {key.path[-1] for key in job.asset_layer.executable_asset_keys} == {"activities", "customer_activities"}


def test_sundays_read_more_days_and_a_missed_sunday_is_made_up_for(make: Make) -> None:
    clockwork = make(start=TODAY - timedelta(days=300))
    clockwork.materialized("messages", [day(ago) for ago in range(300, -1, -1)])
    (sunday,) = clockwork.requests("deliveries_daily", SUNDAY)
    assert range_of(sunday.tags) == (day(180), day(0))
    (monday,) = clockwork.requests("deliveries_daily", MONDAY)  # of a Sunday nobody has read
    assert range_of(monday.tags) == (day(180), day(0))
    clockwork.run(monday, "sync_deliveries", dg.DagsterRunStatus.SUCCESS)
    assert clockwork.ranges("deliveries_daily", MONDAY + timedelta(days=1)) == [(day(30), day(0))]
    assert clockwork.ranges("deliveries_daily", SUNDAY + timedelta(days=7)) == [(day(180), day(0))]


def test_the_day_of_the_week_is_that_of_the_time_zone(make: Make) -> None:
    clockwork = make(start=TODAY - timedelta(days=60), timezone="Asia/Tokyo", trailing_days=3, trailing_days_weekly=9)
    clockwork.materialized("messages", [day(ago) for ago in range(60, -1, -1)])
    (first,) = clockwork.requests("deliveries_daily", SUNDAY)
    clockwork.run(first, "sync_deliveries", dg.DagsterRunStatus.SUCCESS)
    at = datetime(2026, 3, 7, 18, 15, tzinfo=UTC)  # Sunday, 3:15, in Tokyo
    assert clockwork.ranges("deliveries_daily", at) == [(day(9), day(0))]
    assert clockwork.ranges("deliveries_daily", at + timedelta(days=1)) == [(day(3), day(0))]


def test_no_day_before_the_first_partition(make: Make) -> None:
    assert make(start=TODAY - timedelta(days=2)).ranges("deliveries_daily") == [(day(2), day(0))]
    assert make(start=TODAY).ranges("deliveries_daily") == [(day(0), day(0))]


@pytest.mark.parametrize(
    ("schedule", "period", "before"),
    [("hourly", "hours", 1), ("daily", "days", 6), ("weekly", "weeks", 6), ("monthly", "months", 6)],
)
def test_metrics_are_read_for_the_months_that_can_still_move(
    make: Make, schedule: str, period: str, before: int
) -> None:
    clockwork = make(start=first_of(20))
    at = NOW.replace(hour=3)
    name = f"metrics_{schedule}"
    assert clockwork.ranges(name, at) == [(f"{month(20)}|{period}", f"{month(0)}|{period}")]
    keys = [f"{month(ago)}|{period}" for ago in range(20, -1, -1)]
    clockwork.materialized("campaign_metrics", keys)
    # Of two tables that are read together both have to be there.
    assert clockwork.ranges(name, at) == [(keys[0], keys[-1])]
    clockwork.materialized("campaign_action_metrics", [key for key in keys if key != keys[3]])
    (gap, trailing) = clockwork.requests(name, at)
    assert (range_of(gap.tags), gap.tags["customerio/catch_up"]) == ((keys[3], keys[3]), month(17))
    assert range_of(trailing.tags) == (keys[20 - before], keys[-1])

    (recent,) = clockwork.requests(f"recent_{name}")
    assert recent.tags["dagster/partition"] == period


def test_hours_of_all_months_are_read_once_a_day(make: Make) -> None:
    clockwork = make(start=first_of(9), timezone="Asia/Tokyo")
    for table in ("campaign_metrics", "campaign_action_metrics"):
        clockwork.materialized(table, [f"{month(ago)}|hours" for ago in range(10)])
    few, all_of_them = [(f"{month(ago)}|hours", f"{month(0)}|hours") for ago in (1, 6)]
    four = datetime(2026, 3, 1, 19, 25, tzinfo=UTC)  # 4:25 of the 2nd in Tokyo
    assert clockwork.ranges("metrics_hourly", four - timedelta(hours=1)) == [few]
    (whole,) = clockwork.requests("metrics_hourly", four)
    assert range_of(whole.tags) == all_of_them
    clockwork.run(whole, "sync_metrics", dg.DagsterRunStatus.FAILURE, four)
    (again,) = clockwork.requests("metrics_hourly", four + timedelta(hours=3))
    assert range_of(again.tags) == all_of_them
    clockwork.run(again, "sync_metrics", dg.DagsterRunStatus.SUCCESS, four + timedelta(hours=3))
    assert clockwork.ranges("metrics_hourly", four + timedelta(hours=4)) == [few]
    assert clockwork.ranges("metrics_hourly", four + timedelta(hours=23)) == [few]
    assert clockwork.ranges("metrics_hourly", four + timedelta(hours=24)) == [all_of_them]


def test_a_range_of_months_holds_one_period(make: Make) -> None:
    clockwork = make(start=first_of(3))
    (request,) = clockwork.requests("metrics_daily")
    partitions = clockwork.repository.asset_graph.get(dg.AssetKey(["customerio", "campaign_metrics"])).partitions_def
    assert partitions is not None
    found = partitions.get_partition_keys_in_range(dg.PartitionKeyRange(*range_of(request.tags)))
    assert [*found] == [f"{month(ago)}|days" for ago in (3, 2, 1, 0)]


def test_a_tick_that_is_evaluated_twice_asks_by_the_same_run_keys(make: Make) -> None:
    clockwork = make(trailing_days=5, trailing_days_weekly=5)
    clockwork.materialized("messages", [day(ago) for ago in range(60, -1, -1) if ago != 50])
    gap, trailing = clockwork.requests("deliveries_daily")
    clockwork.run(gap, "sync_deliveries", dg.DagsterRunStatus.STARTED)  # then the daemon died
    clockwork.now += timedelta(minutes=3)
    again = clockwork.requests("deliveries_daily", NOW)
    assert {request.run_key for request in again} <= {gap.run_key, trailing.run_key}
    assert gap.run_key != trailing.run_key
    assert trailing.run_key in {request.run_key for request in again}
    clockwork.instance.wipe()
    assert trailing.run_key != clockwork.requests("deliveries_daily", NOW + timedelta(days=1))[-1].run_key


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTED])
def test_a_tick_while_the_run_before_has_not_ended_is_skipped(make: Make, status: dg.DagsterRunStatus) -> None:
    clockwork = make()
    (request,) = clockwork.requests("activities_hourly")
    run = clockwork.run(request, "sync_activities", status)
    data = clockwork.evaluated("activities_hourly", NOW + timedelta(hours=1))
    assert not data.run_requests
    assert f"Run {run} of an earlier tick has not ended ({status.value.lower()})" in (data.skip_message or "")
    assert clockwork.evaluated("snapshots_daily").run_requests  # another schedule is another matter


def test_a_run_whose_machine_went_away_holds_up_no_tick(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text((PROJECT / "dagster.yaml").read_text())
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        clockwork = Clockwork(tmp_path, instance)
        (request,) = clockwork.requests("activities_hourly")
        run = clockwork.run(request, "sync_activities", dg.DagsterRunStatus.STARTED)
        next_tick = NOW + timedelta(hours=1)
        assert not clockwork.evaluated("activities_hourly", next_tick).run_requests
        server = {"host": "localhost", "socket": f"{tmp_path}/of-the-boot-before"}
        instance.add_run_tags(run, {".dagster/grpc_info": json.dumps(server)})
        assert clockwork.evaluated("activities_hourly", next_tick).run_requests


def test_what_the_api_has_no_longer_is_told_once(make: Make, capfd: pytest.CaptureFixture[str]) -> None:
    clockwork = make()
    clockwork.materialized("activities")
    for table in ("broadcast_metrics", "broadcast_action_metrics", "newsletter_metrics"):
        clockwork.materialized(table, ["hours", "days", "weeks", "months"])
    clockwork.now += timedelta(days=46)

    def told(schedule: str, job: str) -> list[str]:
        (request,) = clockwork.requests(schedule, clockwork.now)
        lines = [line for line in capfd.readouterr().err.splitlines() if "Lost: " in line]
        clockwork.run(request, job, dg.DagsterRunStatus.FAILURE, clockwork.now)
        clockwork.now += timedelta(hours=1)
        return lines

    (activities,) = told("activities_hourly", "sync_activities")
    assert f"activities of {TODAY} " in activities
    assert told("activities_hourly", "sync_activities") == []
    (days,) = told("recent_metrics_daily", "sync_recent_metrics")
    assert "metrics by days of " in days
    assert told("recent_metrics_daily", "sync_recent_metrics") == []
    assert len(told("recent_metrics_hourly", "sync_recent_metrics")) == 1
    assert told("recent_metrics_weekly", "sync_recent_metrics") == []  # 12 weeks
    assert told("recent_metrics_monthly", "sync_recent_metrics") == []
    clockwork.materialized("activities")
    assert len(told("activities_hourly", "sync_activities")) == 1  # after another reading another span is lost


def test_scheduled_runs_of_a_job_follow_each_other_and_tell_their_workspace(make: Make) -> None:
    clockwork = make(region="eu", warehouse_schema="crm")
    for schedule in clockwork.repository.schedule_defs:
        for request in clockwork.requests(schedule.name):
            assert request.tags["customerio/queue"] == schedule.job_name
    for name in clockwork.repository.job_names:
        tags = clockwork.repository.get_job(name).run_tags
        if name.startswith(("sync_", "push_")):
            assert tags["customerio/workspace"] == "api-eu.customer.io/crm"
            assert tags["customerio/region"] == "eu"
            retry = "retry_strategy" if name.startswith("sync_") else "retry_on_asset_or_op_failure"
            assert tags[f"dagster/{retry}"] == {"sync_": "FROM_FAILURE", "push_": "false"}[name[:5]]


def test_the_instance_comes_up_with_our_dagster_yaml(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text((PROJECT / "dagster.yaml").read_text())
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.run_launcher.supports_check_run_worker_health
        assert instance.run_retries_enabled
        assert instance.run_retries_max_retries == 1
        assert instance.run_monitoring_enabled
        queue = instance.get_concurrency_config().run_queue_config
        assert queue is not None
        (limit,) = queue.tag_concurrency_limits
        assert (limit["key"], limit["limit"]) == ("customerio/queue", 1)
        # Places that steps take stay taken by a killed process; places of runs do not.
        pools = instance.get_concurrency_config().pool_config
        assert pools.pool_granularity is not None
        assert pools.pool_granularity.value == "run"
        # What waits for an export holds up no other; of more than ten none would have a request a second.
        assert 1 < (pools.default_pool_limit or 0) <= 10
        assert queue.max_concurrent_runs > (pools.default_pool_limit or 0), "pushes have their turn beside syncs"
        # A large workspace takes hours, and a machine that is swapping a minute to start a process.
        assert instance.run_monitoring_max_runtime_seconds >= timedelta(hours=6).total_seconds()
        assert instance.run_monitoring_start_timeout_seconds >= 60


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("schedules", "maybe", "CIO_SCHEDULES must be on or off."),
        ("timezone", "Mars/Olympus", "CIO_TIMEZONE is not a time zone's IANA name"),
        ("trailing_days", "many", "CIO_TRAILING_DAYS is not a number of days such as 30."),
        ("trailing_days", "0", "CIO_TRAILING_DAYS is not a number of days from 1 to 3660."),
        ("trailing_days_weekly", "7", "CIO_TRAILING_DAYS_WEEKLY is less than CIO_TRAILING_DAYS"),
    ],
)
def test_a_wrong_setting_is_told_in_a_sentence(
    option: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"CIO_{option.upper()}", value)
    with pytest.raises(SettingsError) as caught:
        load_settings(_env_file=None)
    assert said in str(caught.value)
