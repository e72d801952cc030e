"""What Dagster loads: without credentials, without warnings, every asset materializable alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from cio_assets import sandbox
from cio_assets.build import build_definitions
from cio_assets.catalog import TABLES
from cio_assets.reverse_etl.model import BUILT_IN
from cio_assets.settings import Settings, load_settings
from cio_assets_tests import forked
from cio_assets_tests.conftest import Finished, environment, run_cli
from cio_assets_tests.truth import KEYS

MONTH = (datetime.now(UTC) - timedelta(days=32)).date().replace(day=1)
PARTITION = {"messages": f"{MONTH}", 2: f"{MONTH}|days", 1: "days"}


def settings_for(home: Path, box: sandbox.Sandbox | None = None, **values: Any) -> Settings:
    found = {"app_url": box.url, "app_api_key": box.app_key} if box else {}
    return load_settings(**found, dagster_home=home, app_rps=100_000, _env_file=None, **values)


def test_the_definitions_load_without_credentials_and_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "from cio_assets.definitions import defs; print(len(defs.assets))"],
        env=environment(tmp_path / "home"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert int(done.stdout) == len(TABLES) + len(BUILT_IN)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("CUSTOMERIO_REGION", "mars"), ("CIO_START_DATE", "2099-01-01"), ("CIO_WAREHOUSE", "mysql://u:secret@h/db")],
)
def test_a_wrong_setting_stops_the_load_with_a_sentence(tmp_path: Path, variable: str, value: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import cio_assets.definitions"],
        env=environment(tmp_path / "home") | {variable: value},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert f"SettingsError: {variable} " in done.stderr
    assert "secret" not in done.stderr


def test_every_table_of_the_issue_is_an_asset_of_that_name(tmp_path: Path) -> None:
    repository = build_definitions(settings_for(tmp_path)).get_repository_def()
    keys = {key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()}
    assert keys >= {f"customerio/{table}" for table in KEYS}
    assert {job for job in repository.job_names if job.startswith("sync")} >= {
        "sync_snapshots",
        "sync_deliveries",
        "sync_metrics",
    }


def test_children_depend_on_their_parents(tmp_path: Path) -> None:
    graph = build_definitions(settings_for(tmp_path)).get_repository_def().asset_graph

    def parents(table: str) -> set[str]:
        return {key.path[-1] for key in graph.get(dg.AssetKey(["customerio", table])).parent_keys}

    assert parents("campaign_action_metrics") == {"campaign_actions"}
    assert parents("customer_attributes") == {"customers"}
    assert parents("segment_membership") == {"segments"}
    assert parents("customer_relationships") == {"customers", "objects"}
    assert parents("campaign_messages") == {"messages"}
    assert parents("customer_activities") == {"activities"}


def test_assets_tell_what_they_are(tmp_path: Path) -> None:
    graph = build_definitions(settings_for(tmp_path)).get_repository_def().asset_graph
    for name, table in TABLES.items():
        node = graph.get(dg.AssetKey(["customerio", name]))
        assert "https://docs.customer.io/" in (node.description or "")
        assert node.group_name == table.group
        assert node.owners
        assert node.kinds >= {"customerio", "duckdb"}
        assert node.code_version
        columns = {column.name for column in node.metadata["dagster/column_schema"].columns}
        assert columns >= {column.name for column in table.columns} | {"_extra", "_synced_at"}


def test_what_reads_the_app_api_shares_one_pool_and_nothing_else_waits_for_it(tmp_path: Path) -> None:
    graph = build_definitions(settings_for(tmp_path)).get_repository_def().asset_graph
    pools = {key: graph.get(key).pools for key in graph.get_all_asset_keys()}
    readers = {key for key, found in pools.items() if found == {"customerio_app"}}
    assert readers == {dg.AssetKey(["customerio", name]) for name, table in TABLES.items() if not table.view}
    assert not any(found for key, found in pools.items() if key not in readers)


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[sandbox.Sandbox, Path]]:
    folder = tmp_path_factory.mktemp("definitions")
    with forked.launch(people=60, campaigns=2, broadcasts=2, newsletters=2, segments=3, objects=5, app_rps=0) as box:
        env = environment(folder / "home", box, CIO_START_DATE=f"{MONTH}")
        parents = {parent.table for table in TABLES.values() for parent in table.parents}
        assert run_cli(["sync", "--select", ",".join(parents)], env, folder).code == 0
        yield box, folder / "home"


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_asset_can_be_materialized_alone(synced: tuple[sandbox.Sandbox, Path], name: str) -> None:
    box, home = synced
    definitions = build_definitions(settings_for(home, box, start=f"{MONTH}"))
    table = TABLES[name]
    partition = PARTITION.get(name) or (PARTITION[table.series] if table.series else None)
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            asset_selection=[dg.AssetKey(["customerio", name])],
            instance=instance,
            partition_key=partition,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        (event,) = result.get_asset_materialization_events()
    assert event.partition == partition
    metadata = event.materialization.metadata
    assert "dagster/row_count" in metadata
    if not table.view:
        assert {"requests", "retries", "seconds_waited_for_budget", "rows_in_slice"} <= metadata.keys()
    if table.tombstones:
        assert "rows_marked_deleted" in metadata


def test_materializing_without_a_key_fails_with_the_sentence(tmp_path: Path) -> None:
    definitions = build_definitions(settings_for(tmp_path))
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def("sync_snapshots").execute_in_process(
            asset_selection=[dg.AssetKey(["customerio", "campaigns"])], instance=instance, raise_on_error=False
        )
        failure = result.get_failed_step_keys()
        (event,) = [event for event in result.all_events if event.is_step_failure]
    assert failure
    assert "CUSTOMERIO_APP_API_KEY is not set" in str(event.step_failure_data.error)


def test_a_child_without_its_parent_s_table_says_what_to_do(box: sandbox.Sandbox, cli: Callable[..., Finished]) -> None:
    done = cli(box, "sync", "--select", "campaign_actions")
    assert done.code == 1
    assert "materialize the asset campaigns first" in done.out
