"""When a push sensor asks for a push: once for each change, however it learns of it, and never twice."""

from __future__ import annotations

import json
import re
from typing import Any

import dagster as dg
import pytest

from cio_assets.automation.push_sensors import build_push_sensors
from cio_assets.reverse_etl.model import BUILT_IN, Gone, Kind, Sync
from cio_assets.warehouse.database import Warehouse
from cio_assets_tests.automation.ticks import ANNA, MARKED, PERSONS, Ticks, persons, score, score_at, settle

SUCCESS, FAILURE, CANCELED = dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED
either_way = pytest.mark.parametrize("sync", [PERSONS, MARKED], ids=["checksum", "watermark"])


def test_each_sync_has_a_sensor_that_is_off(ticks: Ticks) -> None:
    warehouse = Warehouse(str(ticks.path), "customerio", scratch=ticks.folder)
    sensors = build_push_sensors(BUILT_IN, ticks.loaded(), warehouse)
    assert [sensor.name for sensor in sensors] == [f"push_{sync.name}_on_change" for sync in BUILT_IN]
    assert [sensor.job_name for sensor in sensors] == [f"push_{sync.name}" for sync in BUILT_IN]
    assert {sensor.default_status for sensor in sensors} == {dg.DefaultSensorStatus.STOPPED}
    assert {sensor.minimum_interval_seconds for sensor in sensors} == {60}
    assert "reverse_etl.events" in (sensors[1].description or "")
    assert "greatest timestamp" in (sensors[1].description or "")


@either_way
def test_the_first_look_asks_and_the_next_does_not(ticks: Ticks, sync: Sync) -> None:
    ticks.sync = sync
    assert ticks.tick()
    assert not ticks.tick()
    assert "has not changed" in ticks.skipped


@either_way
def test_every_change_asks_once_also_one_back_to_what_was(ticks: Ticks, sync: Sync) -> None:
    ticks.sync = sync
    ticks.tick()
    for change in (score_at(2, 2), score_at(1, 1), score_at(2, 2), score_at(1, 1)):
        ticks.sql(change)
        assert [ticks.tick(), ticks.tick(), ticks.tick()] == [True, False, False]
    assert len(set(ticks.run_keys)) == 5


@either_way
@pytest.mark.parametrize("asset_here", [True, False], ids=["asset of this location", "asset of elsewhere"])
def test_a_change_seen_in_the_data_is_not_asked_for_again_at_its_materialization(
    ticks: Ticks, sync: Sync, asset_here: bool
) -> None:
    ticks.sync = sync
    if asset_here:
        ticks.repository = dg.Definitions(assets=[persons]).get_repository_def()
    else:
        ticks.materialized()  # it has been one before
    ticks.tick()
    ticks.sql(score_at(2, 2))
    assert ticks.tick()
    ticks.materialized()
    assert not ticks.tick()
    assert not ticks.tick()


@either_way
def test_a_materialization_seen_with_its_data_asks_once(ticks: Ticks, sync: Sync) -> None:
    ticks.sync = sync
    ticks.materialized()
    ticks.tick()
    ticks.sql(score_at(2, 2))
    ticks.materialized()
    assert [ticks.tick(), ticks.tick()] == [True, False]


@either_way
def test_a_materialization_that_changed_nothing_asks_for_nothing(ticks: Ticks, sync: Sync) -> None:
    ticks.sync = sync
    ticks.materialized()
    ticks.tick()
    assert not ticks.tick()  # reads no row where there is a watermark, and remembers those that were read
    ticks.materialized()
    assert [ticks.tick(), ticks.tick()] == [False, False]


def test_what_the_watermark_misses_is_found_at_the_materialization(ticks: Ticks) -> None:
    ticks.sync = MARKED
    ticks.materialized()
    ticks.tick()
    ticks.sql(score(5))
    assert not ticks.tick()  # nothing tells
    ticks.materialized()
    assert [ticks.tick(), ticks.tick()] == [True, False]


def test_what_the_watermark_missed_is_found_even_in_a_file_untouched_since(ticks: Ticks) -> None:
    ticks.sync = MARKED
    ticks.materialized()
    ticks.tick()
    ticks.sql(score(5))
    settle(ticks)
    assert not ticks.tick()
    ticks.materialized()
    assert ticks.tick()


def test_rows_unknown_at_the_first_materialization_are_pushed(ticks: Ticks) -> None:
    ticks.sync = MARKED
    ticks.tick()
    ticks.sql(score(5))
    ticks.materialized()  # the first ever, of an asset that nobody here knew of
    assert [ticks.tick(), ticks.tick()] == [True, False]


def test_with_a_watermark_no_other_column_is_read(ticks: Ticks) -> None:
    ticks.sync = MARKED
    ticks.sql(
        "ALTER TABLE reverse_etl.persons RENAME TO stored",
        "CREATE VIEW reverse_etl.persons AS SELECT updated_at, error(email) AS email FROM reverse_etl.stored",
    )
    assert ticks.tick()
    assert not ticks.tick()
    ticks.sql("UPDATE reverse_etl.stored SET updated_at = '2026-01-09'")
    assert ticks.tick()


def test_events_without_their_timestamp_column_are_told_by_all_rows(ticks: Ticks) -> None:
    ticks.sync = MARKED.model_copy(update={"cursor": "not_there"})
    ticks.tick()
    ticks.sql(score(5))
    assert [ticks.tick(), ticks.tick()] == [True, False]


@either_way
@pytest.mark.parametrize(
    "change",
    [{"gone": Gone.DELETE}, {"columns": ("score",)}, {"nulls": "unset"}, {"identifiers": {"id": "email"}}],
    ids=lambda change: next(iter(change)),
)
def test_another_definition_is_a_change(ticks: Ticks, sync: Sync, change: dict[str, Any]) -> None:
    ticks.sync = sync
    ticks.tick()
    settle(ticks)
    ticks.sync = sync.model_copy(update=change)
    assert [ticks.tick(), ticks.tick()] == [True, False]


def test_another_description_is_no_change_but_another_workspace_is(ticks: Ticks) -> None:
    ticks.settings = {"site_id": "one"}
    ticks.tick()
    ticks.sync = PERSONS.model_copy(update={"description": "reworded"})
    assert not ticks.tick()
    ticks.settings = {"site_id": "two"}
    assert [ticks.tick(), ticks.tick()] == [True, False]


def test_a_reset_cursor_asks_anew_by_a_key_of_its_own(ticks: Ticks) -> None:
    ticks.tick()
    ticks.cursor = None
    assert [ticks.tick(), ticks.tick()] == [True, False]
    assert len(set(ticks.run_keys)) == 2


@pytest.mark.parametrize("cursor", ["", "2026-01-01", "[]", "null", '{"since": "x"}', '{"last": 3}', '{"other": 1}'])
def test_a_cursor_that_somebody_wrote_is_as_none(ticks: Ticks, cursor: str) -> None:
    ticks.cursor = cursor
    assert [ticks.tick(), ticks.tick()] == [True, False]


def test_changes_made_while_it_was_off_ask_once(ticks: Ticks) -> None:
    ticks.tick()
    for value in range(5):
        ticks.sql(score_at(value, value + 2))
        ticks.materialized()
    assert [ticks.tick(minutes=10_000), ticks.tick()] == [True, False]


def test_the_same_evaluation_again_asks_by_the_same_key(ticks: Ticks) -> None:
    """What was asked for and then not noted, because the daemon died, is the same run to Dagster."""
    ticks.tick()
    ticks.sql(score(2))
    before = ticks.cursor
    ticks.tick()
    ticks.cursor = before
    ticks.tick()
    assert ticks.run_keys[-1] == ticks.run_keys[-2]


@pytest.mark.parametrize("status", ["QUEUED", "STARTING", "STARTED", "CANCELING"])
def test_while_a_push_has_not_ended_nothing_is_asked(ticks: Ticks, status: str) -> None:
    ticks.tick()
    ticks.sql(score(2))
    run = ticks.run(dg.DagsterRunStatus[status])
    before = ticks.cursor
    assert not ticks.tick()
    assert run in ticks.skipped
    assert ticks.cursor == before
    ticks.instance.delete_run(run)
    assert [ticks.tick(), ticks.tick()] == [True, False]


def test_a_failed_push_is_asked_for_again_every_quarter_of_an_hour(ticks: Ticks) -> None:
    ticks.tick()
    ticks.run(FAILURE)
    asked = [ticks.tick(minutes=1) for _ in range(40)]
    assert [minute for minute, yes in enumerate(asked, 1) if yes] == [15, 30]
    assert "The last push failed; it is asked for again at 00:" in ticks.skipped
    assert len(set(ticks.run_keys)) == 3
    ticks.run(SUCCESS)
    assert not any(ticks.tick(minutes=10) for _ in range(5))


def test_changes_while_the_pushes_fail_do_not_ask_more_often(ticks: Ticks) -> None:
    ticks.tick()
    ticks.run(FAILURE)
    asked = []
    for minute in range(40):
        ticks.sql(score(minute))
        asked.append(ticks.tick(minutes=1))
    assert sum(asked) == 2
    ticks.run(SUCCESS)
    assert [ticks.tick(), ticks.tick()] == [True, False]  # what came after the last request


def test_a_failed_push_of_an_untouched_file_is_asked_for_again(ticks: Ticks) -> None:
    settle(ticks)
    ticks.tick()
    ticks.run(FAILURE)
    assert ticks.tick(minutes=16)


def test_a_cancelled_push_is_not_asked_for_again(ticks: Ticks) -> None:
    ticks.tick()
    ticks.run(CANCELED)
    assert not ticks.tick(minutes=60)
    ticks.sql(score(2))
    assert ticks.tick()


@pytest.mark.parametrize(
    "partial",
    [
        {"run_config": {"resources": {"customerio_track": {"config": {"dry_run": True}}}}},
        {"tags": {"dagster/partition": "2026-01-01"}},
        {"tags": {"dagster/asset_partition_range_start": "2026-01-01"}},
    ],
    ids=["dry run", "a day", "some days"],
)
def test_a_run_that_pushed_not_everything_says_nothing_of_the_failed_one(ticks: Ticks, partial: dict[str, Any]) -> None:
    ticks.tick()
    ticks.run(FAILURE)
    ticks.run(SUCCESS, **partial)
    assert ticks.tick(minutes=16)
    ticks.run(SUCCESS)
    ticks.run(FAILURE, **partial)
    assert not ticks.tick(minutes=60)


def test_no_value_of_a_row_is_shown(ticks: Ticks, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    ticks.sync = MARKED
    ticks.materialized()
    ticks.tick()
    ticks.sql(score_at(4711, 30))
    ticks.tick()
    ticks.tick()
    shown = json.dumps([ticks.cursor, ticks.run_keys, ticks.skipped, caplog.text])
    for value in (ANNA, "anna", "4711", "2026-01-30", "2026-01-01"):
        assert value not in shown
    assert all(re.fullmatch(r"persons:\d+:\d+\.\d+:[0-9a-f]{16}", key) for key in ticks.run_keys)


def test_the_sensors_job_is_the_syncs_own(ticks: Ticks) -> None:
    ticks.sync = Sync(name="vip", kind=Kind.PERSONS, source="reverse_etl.persons")
    ticks.run(dg.DagsterRunStatus.STARTED)  # of push_persons
    assert ticks.sensor().job_name == "push_vip"
    assert ticks.tick()
