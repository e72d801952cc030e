"""What is told of a failed push: the sync, the reason, its rejected rows; nothing of a row itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from cio_assets.automation.push_failures import build_push_failure_sensor, rejected_count
from cio_assets.reverse_etl import state
from cio_assets.reverse_etl.model import BUILT_IN
from cio_assets.reverse_etl.source import PushError
from cio_assets.warehouse.database import Warehouse

ANNA = "anna@example.com"


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(str(tmp_path / "w.duckdb"), "customerio", scratch=tmp_path / "staging", busy_seconds=5)


def reject(warehouse: Warehouse, *syncs: str) -> None:
    with warehouse.attached() as con:
        con.execute(f"CREATE SCHEMA IF NOT EXISTS wh.{state.REJECTED_SCHEMA}")
        con.execute(f"CREATE SCHEMA IF NOT EXISTS wh.{state.SCHEMA}")
        state.create(con, "persons")
        for sync in syncs:
            con.execute(f"INSERT INTO {state.rejected_table()} (sync, key) VALUES (?, 'a')", [sync])


def failing(error: Exception, *, job: str = "push_persons", asset: str = "persons") -> dg.JobDefinition:
    @dg.asset(key=["track", asset])
    def rows() -> None:
        raise error

    @dg.asset(deps=[rows])
    def after() -> None:
        """Another step of a user's own job."""

    return dg.Definitions(
        assets=[rows, after], jobs=[dg.define_asset_job(job, selection="*")], executor=dg.in_process_executor
    ).resolve_job_def(job)


Tell = Callable[..., list[str]]


@pytest.fixture
def told(warehouse: Warehouse, instance: dg.DagsterInstance) -> Tell:
    """Run a job that fails, evaluate the sensor for it; what it gave to `notify`."""

    def run(job: dg.JobDefinition) -> list[str]:
        messages: list[str] = []
        sensor = build_push_failure_sensor(BUILT_IN, warehouse, notify=messages.append)
        result = job.execute_in_process(instance=instance, raise_on_error=False)
        assert not result.success
        context = dg.build_run_status_sensor_context(
            sensor_name=sensor.name,
            dagster_instance=instance,
            dagster_run=result.dagster_run,
            dagster_event=result.get_run_failure_event(),
        ).for_run_failure()
        outcome = sensor(context)
        assert isinstance(outcome, dg.SkipReason) == (not messages)
        return messages

    return run


def test_it_is_off_until_switched_on(warehouse: Warehouse) -> None:
    sensor = build_push_failure_sensor(BUILT_IN, warehouse)
    assert sensor.name == "push_failures"
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED


def test_it_names_the_sync_the_reason_the_rejected_rows_and_what_to_do(told: Tell, warehouse: Warehouse) -> None:
    reject(warehouse, "persons", "persons", "events")
    (message,) = told(failing(PushError("persons: the service refused the credentials (401).")))
    assert message.startswith("The push of persons failed: persons: the service refused the credentials (401). ")
    assert "Rejected rows: 2, each with its reason in reverse_etl.rejected" in message
    assert "`cio-assets push persons`" in message


def test_it_logs_an_error(
    warehouse: Warehouse, instance: dg.DagsterInstance, told: Tell, capfd: pytest.CaptureFixture[str]
) -> None:
    told(failing(PushError("no room on the disk")))
    lines = [line for line in capfd.readouterr().err.splitlines() if " - dagster - ERROR - " in line]
    assert [line for line in lines if "The push of persons failed: no room on the disk. " in line]


def test_the_outermost_error_of_ours_is_the_reason(told: Tell) -> None:
    error = PushError("persons: comparing failed; nothing was sent.")
    error.__cause__ = ValueError(ANNA)
    (message,) = told(failing(error))
    assert "comparing failed; nothing was sent." in message
    assert ANNA not in message


def test_an_error_of_others_is_told_by_its_class_for_it_may_quote_a_value(told: Tell) -> None:
    (message,) = told(failing(duckdb.ConversionException(f"Could not convert string '{ANNA}' to INT32")))
    assert "failed: ConversionException; the run's own page tells more." in message
    assert ANNA not in message


def test_a_push_as_a_step_of_a_users_own_job_counts(told: Tell) -> None:
    (message,) = told(failing(PushError("stopped."), job="nightly", asset="events"))
    assert message.startswith("The push of events failed: stopped. ")


def test_a_failed_run_without_a_failed_push_is_skipped(told: Tell) -> None:
    assert told(failing(PushError("stopped."), job="nightly", asset="somebody_elses")) == []


def test_a_run_that_died_before_its_step_is_told_by_its_job(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    messages: list[str] = []
    sensor = build_push_failure_sensor(BUILT_IN, warehouse, notify=messages.append)
    run = instance.create_run_for_job(job_def=failing(PushError("never raised")), status=dg.DagsterRunStatus.STARTED)
    event = instance.report_run_failed(run)
    sensor(
        dg.build_run_status_sensor_context(
            sensor_name=sensor.name, dagster_instance=instance, dagster_run=run, dagster_event=event
        ).for_run_failure()
    )
    (message,) = messages
    assert message.startswith("The push of persons failed: its run ended without saying why")


def test_the_rejected_rows_are_counted_where_that_can_be(told: Tell, warehouse: Warehouse) -> None:
    persons = BUILT_IN[0]
    assert rejected_count(warehouse, persons) == 0  # no warehouse yet
    reject(warehouse)
    assert rejected_count(warehouse, persons) == 0
    reject(warehouse, *["persons"] * 1234)
    assert rejected_count(warehouse, persons) == 1234
    with warehouse.attached():
        assert rejected_count(warehouse, persons) is None
        (message,) = told(failing(PushError("stopped.")))
    assert "unknown while the warehouse is in use" in message
    (message,) = told(failing(PushError("stopped.")))
    assert "Rejected rows: 1,234, " in message
