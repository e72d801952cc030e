"""What is told of a failed sync: tables, reason, workspace, what to do; nothing of a row, and no key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.plan.objects import StepSuccessData

from cio_assets import sandbox
from cio_assets.assets.factory import asset_key
from cio_assets.automation.failures import DIED
from cio_assets.automation.sync_failures import build_sync_failure_sensor
from cio_assets.build import build_definitions
from cio_assets.settings import load_settings
from cio_assets_tests.automation.ticks import ORIGIN

ANNA = "anna@example.com"
Tell = Callable[..., list[str]]


@pytest.fixture
def told(instance: dg.DagsterInstance) -> Tell:
    """Evaluate the sensor for a failed run; what it gave to `notify`."""

    def evaluate(run: dg.DagsterRun, event: dg.DagsterEvent) -> list[str]:
        messages: list[str] = []
        sensor = build_sync_failure_sensor(notify=messages.append)
        context = dg.build_run_status_sensor_context(
            sensor_name=sensor.name, dagster_instance=instance, dagster_run=run, dagster_event=event
        ).for_run_failure()
        outcome = sensor(context)
        assert isinstance(outcome, dg.SkipReason) == (not messages)
        return messages

    return evaluate


def definitions(tmp_path: Path, box: sandbox.Sandbox, **options: Any) -> dg.Definitions:
    given = {"app_url": box.url, "app_api_key": box.app_key, "app_rps": 100_000, **options}
    return build_definitions(load_settings(_env_file=None, dagster_home=tmp_path / "home", **given))


def failed(instance: dg.DagsterInstance, job: dg.JobDefinition, *tables: str, **tags: str) -> Any:
    result = job.execute_in_process(
        instance=instance,
        asset_selection=[asset_key(table) for table in tables] or None,
        tags=tags,
        raise_on_error=False,
    )
    assert not result.success
    return result.dagster_run, result.get_run_failure_event()


def failing(error: Exception, asset: dg.AssetKey) -> dg.JobDefinition:
    @dg.asset(key=asset)
    def rows() -> None:
        raise error

    return dg.Definitions(
        assets=[rows], jobs=[dg.define_asset_job("nightly", selection="*")], executor=dg.in_process_executor
    ).resolve_job_def("nightly")


def test_a_refused_key_is_told_with_the_tables_the_workspace_and_what_to_do(
    tmp_path: Path, box: sandbox.Sandbox, instance: dg.DagsterInstance, told: Tell, capfd: pytest.CaptureFixture[str]
) -> None:
    job = definitions(tmp_path, box, app_api_key="not-the-key").resolve_job_def("sync_snapshots")
    run, event = failed(instance, job, "campaigns", "campaign_actions", "segments")
    (message,) = told(run, event)
    assert message.startswith("The sync of ")
    for table in ("campaigns", "segments"):
        assert table in message.split(" failed")[0]
    assert f" failed ({box.url.removeprefix('http://')}/customerio): " in message
    assert "401" in message
    assert "`cio-assets check`" in message
    assert "`cio-assets sync --select " in message
    assert run.run_id in message
    assert "not-the-key" not in message
    assert message in capfd.readouterr().err


def test_a_refused_request_says_the_services_words_once_for_all_tables(
    tmp_path: Path, box: sandbox.Sandbox, instance: dg.DagsterInstance, told: Tell
) -> None:
    box.faults(rules=[{"kind": "403", "path": "/v1/(segments|campaigns)"}])
    job = definitions(tmp_path, box).resolve_job_def("sync_snapshots")
    run, event = failed(instance, job, "campaigns", "segments", "newsletters")
    (message,) = told(run, event)
    named = message.split(" failed")[0]
    assert "campaigns" in named
    assert "segments" in named
    assert "newsletters" not in named


def test_an_error_of_others_is_told_by_its_class_for_it_may_quote_a_value(
    instance: dg.DagsterInstance, told: Tell
) -> None:
    (message,) = told(*failed(instance, failing(ValueError(f"row of {ANNA}"), asset_key("customers"))))
    assert "The sync of customers failed: ValueError; the run's own page tells more." in message
    assert ANNA not in message


def test_what_is_no_table_of_ours_is_not_told(instance: dg.DagsterInstance, told: Tell) -> None:
    assert told(*failed(instance, failing(ValueError("x"), dg.AssetKey(["models", "customers"])))) == []


@pytest.mark.parametrize(
    ("job", "selection", "done", "left"),
    [
        ("sync_activities", (), "activities", "customer_activities"),
        ("sync_snapshots", ("campaigns", "segments"), "segments", "campaigns"),
        ("sync_recent_metrics", (), "newsletter_metrics", "broadcast_action_metrics, broadcast_metrics"),
    ],
)
def test_a_run_that_died_is_told_by_what_it_had_not_read(
    tmp_path: Path,
    box: sandbox.Sandbox,
    instance: dg.DagsterInstance,
    told: Tell,
    job: str,
    selection: tuple[str, ...],
    done: str,
    left: str,
) -> None:
    definition = definitions(tmp_path, box).resolve_job_def(job)
    run = instance.create_run_for_job(
        job_def=definition,
        status=dg.DagsterRunStatus.STARTED,
        asset_selection=frozenset(map(asset_key, selection)) or None,
    )
    ended = dg.DagsterEvent(
        "STEP_SUCCESS",
        job_name=job,
        step_key=asset_key(done).to_python_identifier(),
        event_specific_data=StepSuccessData(duration_ms=1.0),
    )
    instance.report_dagster_event(ended, run_id=run.run_id)
    (message,) = told(run, instance.report_run_failed(run))
    assert message.startswith(f"The sync of {left} failed")
    assert DIED in message


def test_a_run_that_dagster_starts_once_more_is_told_when_that_fails(
    tmp_path: Path, box: sandbox.Sandbox, instance: dg.DagsterInstance, told: Tell
) -> None:
    job = definitions(tmp_path, box, app_api_key="not-the-key").resolve_job_def("sync_snapshots")
    run, event = failed(instance, job, "segments")
    retried = replace_tags(run, {"dagster/will_retry": "true"})
    assert len(told(retried, event)) == 1  # of the command line: Dagster cannot start it
    assert told(replace_origin(retried), event) == []
    assert len(told(replace_origin(replace_tags(run, {"dagster/will_retry": "false"})), event)) == 1


def test_what_was_to_be_caught_up_is_named(
    tmp_path: Path, box: sandbox.Sandbox, instance: dg.DagsterInstance, told: Tell
) -> None:
    job = definitions(tmp_path, box, app_api_key="not-the-key").resolve_job_def("sync_snapshots")
    run, event = failed(instance, job, "segments", **{"customerio/catch_up": "2026-01-01 to 2026-01-07"})
    (message,) = told(run, event)
    assert "It was to catch up 2026-01-01 to 2026-01-07: " in message


def test_it_is_off_until_switched_on() -> None:
    assert build_sync_failure_sensor().default_status == dg.DefaultSensorStatus.STOPPED
    assert build_sync_failure_sensor(on=True).default_status == dg.DefaultSensorStatus.RUNNING


def replace_tags(run: dg.DagsterRun, tags: dict[str, str]) -> dg.DagsterRun:
    return run.with_tags({**run.tags, **tags})


def replace_origin(run: dg.DagsterRun) -> dg.DagsterRun:
    return run._replace(remote_job_origin=ORIGIN)
