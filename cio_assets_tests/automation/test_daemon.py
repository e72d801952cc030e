"""Under a real Dagster daemon: a row changed in the warehouse is in Customer.io without a hand on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from cio_assets import sandbox
from cio_assets_tests.conftest import PROJECT, environment
from cio_assets_tests.test_ui import group_runs

WORKSPACE = f"""
load_from:
  - python_module:
      module_name: cio_assets_tests.automation.daemon_definitions
      working_directory: {PROJECT}
      location_name: cio_assets
"""


@dataclass
class Daemon:
    """A daemon at work on a home, the instance that it works for, and the warehouse as others write it."""

    home: Path
    env: dict[str, str]
    instance: dg.DagsterInstance
    log: Path

    def dagster(self, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "dagster", *arguments, "-w", str(self.home / "workspace.yaml")],
            env=self.env,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def runs(self, job: str) -> list[dg.DagsterRun]:
        """All runs of a job, the oldest first."""
        return [*self.instance.get_runs(dg.RunsFilter(job_name=job))][::-1]

    def ticks(self, sensor: str) -> int:
        """How often a sensor was evaluated to the end."""
        states = [state for state in self.instance.all_instigator_state() if state.origin.instigator_name == sensor]
        found = [self.instance.get_ticks(state.instigator_origin_id, state.selector_id) for state in states]
        assert not [tick.error for ticks in found for tick in ticks if tick.error]
        return sum(tick.status.value in ("SKIPPED", "SUCCESS") for ticks in found for tick in ticks)

    def write(self, *statements: str) -> None:
        """By a DuckDB of its own, as soon as nobody else has the file."""

        def written() -> bool:
            try:
                with duckdb.connect(str(self.home / "warehouse.duckdb")) as con:
                    con.execute(";".join(statements))
            except duckdb.IOException:
                return False
            return True

        self.wait(written, "the warehouse to be free")

    def wait(self, true: Callable[[], object], what: str, seconds: float = 100) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, f"no sign of {what}; the daemon says:\n{self.log.read_text()[-4000:]}"
            time.sleep(0.3)

    def wait_for_push(self, job: str, number: int, status: str = "SUCCESS") -> None:
        """Until the job's run of that number has ended so; no other may have come."""
        self.wait(lambda: len([run for run in self.runs(job) if run.is_finished]) >= number, f"push {number} of {job}")
        assert [run.status.value for run in self.runs(job)][number - 1 :] == [status], self.log.read_text()[-4000:]

    def wait_for_looks(self, sensor: str, number: int = 3) -> None:
        """Until the sensor has looked that often from now on."""
        before = self.ticks(sensor)
        self.wait(lambda: self.ticks(sensor) >= before + number, f"looks of {sensor}")


@contextmanager
def daemon_in(home: Path, env: dict[str, str]) -> Iterator[Daemon]:
    log = home / "daemon.log"
    # The instance first: Dagster makes its tables without a lock.
    with dg.DagsterInstance.from_config(str(home)) as instance, log.open("wb") as out:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("dagster-daemon")), "run", "-w", "workspace.yaml"],
            env=env,
            cwd=home,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield Daemon(home, env, instance, log)
        finally:
            os.killpg(process.pid, signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
            for _ in range(40):
                if not group_runs(process.pid):
                    break
                time.sleep(0.25)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def daemon(box: sandbox.Sandbox, home: Path) -> Iterator[Daemon]:
    home.mkdir()
    (home / "dagster.yaml").write_text((PROJECT / "dagster.yaml").read_text())
    (home / "workspace.yaml").write_text(WORKSPACE)
    env = environment(
        home,
        box,
        CUSTOMERIO_TRACK_URL=box.url,
        CUSTOMERIO_SITE_ID=box.site_id,
        CUSTOMERIO_TRACK_API_KEY=box.track_key,
    )
    with daemon_in(home, env) as running:
        yield running


@pytest.mark.slow
@pytest.mark.soak
def test_a_changed_row_is_pushed_without_a_hand_on_it(daemon: Daemon, box: sandbox.Sandbox) -> None:
    def score(email: str) -> str | None:
        person = box.person("email", email)
        return person.get("score") if person else None

    daemon.write(
        "CREATE SCHEMA reverse_etl",
        "CREATE TABLE reverse_etl.persons AS SELECT * FROM (VALUES ('anna@example.com', 1), ('bert@example.com', 2)) "
        "AS rows(email, score)",
        "CREATE TABLE reverse_etl.events AS SELECT 'anna@example.com' AS person_email, 'ordered' AS event_name, "
        "now() AS timestamp",
    )
    for sensor in ("push_persons_on_change", "push_events_on_change", "push_failures"):
        daemon.dagster("sensor", "start", sensor)
    daemon.wait_for_push("push_persons", 1)
    daemon.wait_for_push("push_events", 1)  # of all days, though the job has partitions
    assert (score("anna@example.com"), score("bert@example.com")) == ("1", "2")

    daemon.write("UPDATE reverse_etl.persons SET score = 7 WHERE email = 'anna@example.com'")
    daemon.wait_for_push("push_persons", 2)
    assert (score("anna@example.com"), score("bert@example.com")) == ("7", "2")
    # The asset's materialization comes after its rows, and is no change of its own.
    daemon.instance.report_runless_asset_event(dg.AssetMaterialization(["reverse_etl", "persons"]))
    daemon.wait_for_looks("push_persons_on_change")
    assert len(daemon.runs("push_persons")) == 2

    daemon.write("UPDATE reverse_etl.persons SET score = 1 WHERE email = 'anna@example.com'")
    daemon.wait_for_push("push_persons", 3)
    assert score("anna@example.com") == "1"
    assert len(daemon.runs("push_events")) == 1

    daemon.write("ALTER TABLE reverse_etl.events RENAME event_name TO happened")
    daemon.wait_for_push("push_events", 2, "FAILURE")
    told = daemon.home / "told"
    daemon.wait(told.exists, "a word about the failed push")
    assert told.read_text().startswith("The push of events failed: ")
    assert "event_name" in told.read_text()
    assert "No rows of it are rejected." in told.read_text()
    daemon.wait_for_looks("push_events_on_change")
    assert len(daemon.runs("push_events")) == 2
    cursors = [state.instigator_data.cursor for state in daemon.instance.all_instigator_state()]  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]  # sensors have one
    assert "example.com" not in f"{cursors}{[run.tags for run in daemon.instance.get_runs()]}"
