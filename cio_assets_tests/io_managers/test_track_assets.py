"""Assets whose rows go to Customer.io: what they may return, what their materialization says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from cio_assets import sandbox
from cio_assets.build import build_definitions
from cio_assets.settings import Settings, load_settings
from cio_assets.warehouse.frames import Relation
from cio_assets_tests.conftest import environment


@pytest.fixture
def settings(box: sandbox.Sandbox, home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a test's own workspace."""
    for name, value in environment(home, box).items():
        if name.startswith(("CIO_", "CUSTOMERIO_", "DAGSTER_")):
            monkeypatch.setenv(name, value)
    home.mkdir()
    return load_settings()


def materialize(settings: Settings, *assets: Any, run_config: Any = None, **options: Any) -> dg.ExecuteInProcessResult:
    """Materialize assets with the resources of the settings."""
    definitions = build_definitions(settings)
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize(
            list(assets),
            resources=dict(definitions.resources or {}),
            instance=instance,
            run_config=run_config,
            **options,
        )


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """The values of the only materialization's metadata."""
    (event,) = result.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


FRAME = pa.table({"id": ["a", "b", None], "plan": ["free", "pro", "pro"]})


@pytest.mark.parametrize("form", ["table", "reader", "pandas", "sql", "text"])
def test_an_asset_of_ones_own(settings: Settings, box: sandbox.Sandbox, form: str) -> None:
    with duckdb.connect(settings.warehouse) as con:
        con.execute("CREATE SCHEMA marts")
        con.execute("CREATE TABLE marts.scores AS FROM FRAME")

    @dg.asset(key_prefix="marketing", io_manager_key="customerio_track")
    def scores() -> Any:
        forms = {"table": FRAME, "reader": FRAME.to_reader(), "pandas": FRAME.to_pandas()}
        return (forms | {"sql": Relation("SELECT * FROM marts.scores"), "text": "marts.scores"})[form]

    said = metadata(materialize(settings, scores))
    assert (said["sync"], said["status"]) == ("asset__marketing__scores", "pushed")
    assert (said["rows"], said["accepted"], said["rejected"], said["requests"]) == (3, 2, 1, 1)
    assert said["rejected_by_reason"] == {"identifier_missing": 1}
    assert said["bytes_sent"] > 100
    assert said["rows_per_second"] > 0
    assert (box.person("id", "b") or {})["plan"] == "pro"


def test_the_assets_metadata_says_what_rows_become(settings: Settings, box: sandbox.Sandbox) -> None:
    @dg.asset(io_manager_key="customerio_track", metadata={"customerio_sync": {"kind": "events"}})
    def purchases() -> pd.DataFrame:
        return pd.DataFrame({"person_id": ["a"], "event_name": ["bought"], "price": [9.5]})

    assert metadata(materialize(settings, purchases))["accepted"] == 1
    assert box.truth("track_events")[0]["attributes"] == {"price": 9.5}


def test_wrong_metadata_says_what_may_be_written(settings: Settings) -> None:
    @dg.asset(io_manager_key="customerio_track", metadata={"customerio_sync": {"kind": "people"}})
    def purchases() -> pa.Table:
        return FRAME

    with pytest.raises(dg.Failure, match=r"customerio_sync.*kind"):
        materialize(settings, purchases)


def test_a_dry_run_by_run_config(settings: Settings, box: sandbox.Sandbox) -> None:
    @dg.asset(io_manager_key="customerio_track")
    def scores() -> pa.Table:
        return FRAME

    dry = {"resources": {"customerio_track": {"config": {"dry_run": True}}}}
    said = metadata(materialize(settings, scores, run_config=dry))
    assert (said["status"], said["sent"], said["rejected"]) == ("dry run", 2, 1)
    assert said["payload_shape"]["attributes"] == {"plan": "VARCHAR"}
    assert box.stats()["track_requests"] == 0


def test_nothing_can_be_loaded_from_it(settings: Settings) -> None:
    @dg.asset(io_manager_key="customerio_track")
    def scores() -> pa.Table:
        return FRAME

    @dg.asset
    def later(scores: Any) -> None: ...

    with pytest.raises(dg.Failure, match="deps"):
        materialize(settings, scores, later)


def test_no_value_reaches_dagster(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    @dg.asset(io_manager_key="customerio_track")
    def scores() -> pa.Table:
        return pa.table({"email": ["ann@example.com", "not an address"], "plan": ["secret-plan", "secret-plan"]})

    result = materialize(settings, scores)
    told = caplog.text + "".join(str(event) for event in result.all_events)
    assert metadata(result)["rejected"] == 1
    assert not any(value in told for value in ("ann@", "not an address", "secret-plan", "sandbox-track-key"))


def test_events_of_a_range_of_days(settings: Settings, box: sandbox.Sandbox) -> None:
    with duckdb.connect(settings.warehouse) as con:
        con.execute("CREATE SCHEMA reverse_etl")
        con.execute(
            """CREATE TABLE reverse_etl.events AS SELECT 'u' AS person_id, 'x' AS event_name,
               TIMESTAMP '2026-10-01' + INTERVAL (i) HOUR AS timestamp FROM range(96) t(i)"""
        )
    definitions = build_definitions(settings)
    job = definitions.resolve_job_def("push_events")
    with dg.DagsterInstance.ephemeral() as instance:
        days = {"start": "2026-10-02", "end": "2026-10-03"}
        result = job.execute_in_process(
            instance=instance, tags={f"dagster/asset_partition_range_{name}": day for name, day in days.items()}
        )
        events = result.get_asset_materialization_events()
        assert {event.partition for event in events} == set(days.values())
        assert len(box.truth("track_events")) == 48
        assert metadata(job.execute_in_process(instance=instance))["accepted"] == 48
