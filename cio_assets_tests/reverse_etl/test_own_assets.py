"""Assets that users write themselves, next to the syncs that are built in, and the SQL that they may return."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from cio_assets import sandbox
from cio_assets.console import list_rejects
from cio_assets.io_managers import make_warehouse
from cio_assets.io_managers.track import SYNC_METADATA, track_io_manager
from cio_assets.push_run import SyncResult, push_syncs, selected_syncs
from cio_assets.reverse_etl.prepare import Options
from cio_assets.reverse_etl.source import PushError
from cio_assets.runs import failure_message, prepare_home
from cio_assets.settings import Settings, load_settings
from cio_assets.warehouse.frames import Relation
from cio_assets_tests.conftest import environment
from cio_assets_tests.reverse_etl.pushing import PERSONS, Pushing

MIRROR = {"kind": "persons", "mode": "mirror"}


@pytest.fixture
def settings(empty_box: sandbox.Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Of a DAGSTER_HOME of its own, with the workspace's credentials."""
    for name in list(os.environ):
        if name.startswith(("CIO_", "CUSTOMERIO_")):
            monkeypatch.delenv(name)
    for name, value in environment(tmp_path / "home", empty_box).items():
        monkeypatch.setenv(name, value)
    made = load_settings()
    prepare_home(made)
    return made


def materialize(
    settings: Settings, key: list[str], rows: Any, said: dict[str, str] | None = None
) -> dg.ExecuteInProcessResult:
    """One run of an asset of a user's own, that returns these rows."""

    @dg.asset(key=key, io_manager_key="customerio_track", metadata={SYNC_METADATA: said or MIRROR})
    def own() -> Any:
        return rows

    manager = track_io_manager(settings, make_warehouse(settings))
    return dg.materialize([own], resources={"customerio_track": manager}, raise_on_error=False)


def counts(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """The metadata of its materialization."""
    (event,) = result.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


def failure(result: dg.ExecuteInProcessResult) -> str:
    """Why a run failed."""
    events = [event for event in result.all_events if event.is_step_failure]
    return failure_message(events[0].step_failure_data.error)


def push_built_in(settings: Settings, name: str) -> SyncResult:
    """One push of a sync that is built in."""
    (result,) = push_syncs(settings, selected_syncs(settings, [name]), Options())
    return result


def execute(settings: Settings, *statements: str) -> None:
    """SQL in the settings' warehouse."""
    with make_warehouse(settings).attached() as con:
        for statement in statements:
            con.execute(statement)


def present(box: sandbox.Sandbox) -> list[str]:
    """The ids of everybody in the workspace."""
    return sorted(row["id"] for row in box.truth("customers"))


def ids(*values: str) -> pa.Table:
    """Persons."""
    return pa.table({"id": list(values)})


@pytest.mark.parametrize("key", [["persons"], ["track", "persons"], ["PERSONS"], ["marts", "persons"]], ids="/".join)
def test_an_asset_named_like_a_built_in_sync_removes_nobody_of_it(
    settings: Settings, empty_box: sandbox.Sandbox, key: list[str]
) -> None:
    execute(
        settings, "CREATE SCHEMA wh.reverse_etl", "CREATE TABLE wh.reverse_etl.persons AS FROM (VALUES ('b')) t(id)"
    )
    assert push_built_in(settings, "persons").counts["accepted"] == 1
    result = materialize(settings, key, ids("mine"))
    # It may be refused as well; what it must not do is to take the other's people for its own.
    assert not result.success or counts(result)["removed"] == 0
    assert "b" in present(empty_box)
    again = push_built_in(settings, "persons")
    assert (again.counts["requests"], again.counts["unchanged"]) == (0, 1)
    if result.success:
        assert counts(materialize(settings, key, ids("mine")))["requests"] == 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["a", "b__c"], ["a__b", "c"]),
        (["track", "vip"], ["vip"]),
        (["vip"], ["VIP"]),
        (["marts", "track", "vip"], ["marts", "vip"]),
    ],
    ids="/".join,
)
def test_assets_whose_names_are_alike_remove_nobody_of_each_other(
    settings: Settings, empty_box: sandbox.Sandbox, one: list[str], other: list[str]
) -> None:
    assert materialize(settings, one, ids("u_1", "u_2")).success
    second = materialize(settings, other, ids("u_3"))
    assert {"u_1", "u_2"} <= set(present(empty_box))
    again = materialize(settings, one, ids("u_1", "u_2"))
    assert counts(again)["requests"] == 0
    if second.success:
        assert "u_3" in present(empty_box)


def test_an_asset_with_a_long_or_odd_name_is_pushed(settings: Settings, empty_box: sandbox.Sandbox) -> None:
    for number, key in enumerate((["_syncs"], ["marts", "x" * 60], ["marts", "x" * 61], ["state"], ["rejected"])):
        result = materialize(settings, key, ids(f"u_{number}"))
        # A name that cannot be is refused by a sentence about it.
        assert result.success or key[-1] in failure(result)
    assert {"u_3", "u_4"} <= set(present(empty_box))


def test_rejected_rows_of_own_assets_are_listed(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert counts(materialize(settings, ["scores"], ids("fine", "x" * 151)))["rejected"] == 1
    capsys.readouterr()
    list_rejects(settings, [], rows=False)
    assert "scores" in (told := capsys.readouterr().out)
    assert "identifier_too_long" in told
    list_rejects(settings, [], rows=True)
    assert "identifier_too_long" in capsys.readouterr().out


def test_a_table_that_is_not_there_fails_the_asset_and_not_the_built_in_sync(settings: Settings) -> None:
    for missing in ("marts.nothing", "nothing", "SELECT * FROM marts.nothing"):
        result = materialize(settings, ["scores"], Relation(missing))
        assert not result.success
        assert "scores" in failure(result) or "nothing" in failure(result)
    assert push_built_in(settings, "persons").status == "inactive"


@pytest.mark.parametrize(
    "sql",
    [
        '"odd-s"."odd t"',
        "people",
        "customerio.people",
        'reverse_etl."select"',
        "reverse_etl.select",
        "REVERSE_ETL.V",
        ' "reverse_etl"."v"\n',
        "pushed_rows",
        "customerio.pushed_rows",
        "SELECT * FROM pushed_rows",
        "FROM people",
        "SELECT * FROM people -- all of them",
        "SELECT * FROM people; -- all of them",
        "SELECT * FROM people;\n",
        "WITH a AS (SELECT * FROM people) SELECT * FROM a /* all */",
        "SELECT ';--' AS note, * FROM people",
    ],
)
def test_sql_is_read_as_it_is_written(pushing: Pushing, sql: str) -> None:
    for statement in (
        'CREATE SCHEMA "odd-s"',
        "CREATE SCHEMA customerio",
        "CREATE TABLE customerio.people AS SELECT 'u_1' AS id",
        "CREATE TABLE customerio.pushed_rows AS SELECT 'u_1' AS id",
        'CREATE TABLE "odd-s"."odd t" AS SELECT \'u_1\' AS id',
        "CREATE TABLE reverse_etl.\"select\" AS SELECT 'u_1' AS id",
        "CREATE VIEW reverse_etl.v AS SELECT * FROM customerio.people",
    ):
        pushing.sql(statement)
    assert pushing.push(PERSONS, Relation(sql)).accepted == 1
    assert pushing.box
    assert present(pushing.box) == ["u_1"]


@pytest.mark.parametrize("sql", ["SELECT * FROM", "SELECT 1 AS id; DROP TABLE reverse_etl.t", "-- nothing", ""])
def test_sql_that_is_no_query_fails_by_a_sentence(pushing: Pushing, sql: str) -> None:
    pushing.sql("CREATE TABLE reverse_etl.t AS SELECT 1 AS id")
    with pytest.raises(PushError):
        pushing.push(PERSONS, Relation(sql))
    assert pushing.sql("SELECT * FROM reverse_etl.t") == [(1,)]
