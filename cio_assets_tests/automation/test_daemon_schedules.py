"""Under a real Dagster daemon: a missed tick, a backfill as the UI launches it, and a run whose machine went away."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import ScheduleInstigatorData

from cio_assets import sandbox
from cio_assets.assets.factory import asset_key
from cio_assets_tests.automation.test_daemon import WORKSPACE, Daemon, daemon_in
from cio_assets_tests.conftest import PROJECT, environment
from cio_assets_tests.test_ui import Ui
from cio_assets_tests.truth import differences, live, stored

TODAY = datetime.now(UTC).date()
START = TODAY - timedelta(days=40)
MESSAGES = asset_key("messages")

BACKFILL = """
mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }
"""


def days(first: int, last: int) -> list[str]:
    """Keys of the days between so many days ago and so many days ago."""
    return [f"{TODAY - timedelta(days=ago)}" for ago in range(first, last - 1, -1)]


@pytest.fixture
def env(box: sandbox.Sandbox, home: Path) -> dict[str, str]:
    home.mkdir()
    configuration = (PROJECT / "dagster.yaml").read_text()
    assert "poll_interval_seconds: 30" in configuration
    faster = configuration.replace("poll_interval_seconds: 30", "poll_interval_seconds: 1")
    (home / "dagster.yaml").write_text(faster)
    (home / "workspace.yaml").write_text(WORKSPACE)
    return environment(home, box, CIO_START_DATE=f"{START}")


@contextmanager
def webserver(daemon: Daemon) -> Iterator[Ui]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("dagster-webserver")), "-w", "workspace.yaml", "-p", f"{port}"],
        env=daemon.env,
        cwd=daemon.home,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        ui = Ui(f"http://127.0.0.1:{port}")

        def answers() -> bool:
            with suppress(OSError):
                return bool(ui.ask("{ version }"))
            return False

        daemon.wait(answers, "the web server")
        yield ui
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def materializations(daemon: Daemon, run: dg.DagsterRun) -> Counter[str]:
    """Number of events of each asset (table) in the event log of a run."""
    logged = daemon.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    events = [entry.get_dagster_event() for entry in logged]
    return Counter(event.asset_key.path[-1] for event in events if event.asset_key)


def read_days(daemon: Daemon, run: dg.DagsterRun) -> set[str]:
    """Days of deliveries that the run's events tell."""
    logged = daemon.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    events = [entry.get_dagster_event() for entry in logged]
    return {f"{event.partition}" for event in events if event.asset_key == MESSAGES}


def all_runs(daemon: Daemon) -> list[dg.DagsterRun]:
    return [*daemon.instance.get_runs()][::-1]


def switch_on(home: Path, env: dict[str, str], schedule: str, since: timedelta) -> None:
    """Switch a schedule on as if that had been so long ago, and the machine off since."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        subprocess.run(
            [sys.executable, "-m", "dagster", "schedule", "start", schedule, "-w", str(home / "workspace.yaml")],
            env=env,
            cwd=home,
            capture_output=True,
            timeout=120,
            check=True,
        )
        (state,) = instance.all_instigator_state()
        data = state.instigator_data
        assert isinstance(data, ScheduleInstigatorData)
        began = (datetime.now(UTC) - since).timestamp()
        instance.update_instigator_state(state.with_data(ScheduleInstigatorData(data.cron_schedule, began)))


@pytest.mark.slow
def test_a_missed_tick_and_a_backfill_run_to_completion(box: sandbox.Sandbox, home: Path, env: dict[str, str]) -> None:
    switch_on(home, env, "deliveries_daily", since=timedelta(days=3, hours=1))
    with daemon_in(home, env) as daemon:
        daemon.wait(lambda: any(run.is_finished for run in all_runs(daemon)), "the run of the missed tick")
        (run,) = all_runs(daemon)  # one, though three or four ticks were missed, and for all 41 days
        assert run.status is dg.DagsterRunStatus.SUCCESS, daemon.log.read_text()[-4000:]
        assert run.job_name == "sync_deliveries"
        assert run.tags["dagster/schedule_name"] == "deliveries_daily"
        assert run.tags["customerio/workspace"].endswith("/customerio")
        assert read_days(daemon, run) == {*days(40, 0)}
        events = materializations(daemon, run)
        assert events["messages"] == 41
        assert events["campaign_messages"] == events["newsletter_messages"] == 1
        (tick,) = daemon.instance.get_ticks(*_origin(daemon))
        assert tick.run_ids == [run.run_id]
        assert differences("messages", live(stored(home / "warehouse.duckdb", "messages")), since_the_start(box)) == []

        with webserver(daemon) as ui:
            params = {
                "assetSelection": [{"path": MESSAGES.path}],
                "partitionNames": days(20, 5),
                "tags": [{"key": "asked_by", "value": "a test"}],
            }
            launched = ui.ask(BACKFILL, params=params)["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        backfill = launched["backfillId"]

        def over() -> bool:
            found = daemon.instance.get_backfill(backfill)
            return found is not None and found.status.value.startswith("COMPLETED")

        daemon.wait(over, "the end of the backfill")
        (done,) = [run for run in all_runs(daemon) if run.tags.get("dagster/backfill") == backfill]
        assert done.tags["customerio/workspace"] == run.tags["customerio/workspace"]
        assert done.status is dg.DagsterRunStatus.SUCCESS
        assert read_days(daemon, done) == {*days(20, 5)}
        assert materializations(daemon, done) == {"messages": 16}


@pytest.mark.slow
@pytest.mark.soak
def test_a_run_whose_machine_went_away_is_found_and_ends_well(
    box: sandbox.Sandbox, home: Path, env: dict[str, str]
) -> None:
    switch_on(home, env, "deliveries_daily", since=timedelta(days=1, hours=1))
    box.faults(rates={"stall": 1}, stall_seconds=60)
    with daemon_in(home, env) as daemon:
        asked = box.stats()["requests"]
        daemon.wait(lambda: box.stats()["requests"] > asked, "a run that reads")
        power_cut(daemon.home)
        (run,) = all_runs(daemon)
        assert run.status is dg.DagsterRunStatus.STARTED
    box.faults()
    with daemon_in(home, env) as daemon:

        def again() -> bool:
            return [found.status.value for found in all_runs(daemon)] == ["FAILURE", "SUCCESS"]

        daemon.wait(again, "the second attempt")
        first, second = all_runs(daemon)
        assert first.run_id == run.run_id == second.parent_run_id
        assert read_days(daemon, second) == {*days(40, 0)}


def _origin(daemon: Daemon) -> tuple[str, str]:
    (state,) = daemon.instance.all_instigator_state()
    return state.instigator_origin_id, state.selector_id


def since_the_start(box: sandbox.Sandbox) -> list[dict]:
    """The deliveries since the first partition."""
    first = datetime.combine(START, datetime.min.time(), UTC)
    return box.truth("messages", start=int(first.timestamp()))


def power_cut(home: Path) -> None:
    """End every process that works on this home, as nothing else but a power cut does."""
    ours = f"DAGSTER_HOME={home}".encode()
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            with suppress(OSError):
                if ours in (process / "environ").read_bytes().split(b"\0"):
                    os.kill(int(process.name), signal.SIGKILL)
