"""Pushes as users run them: the command line, its output, its exit codes, and the rejected rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from cio_assets import sandbox
from cio_assets.console import run_push
from cio_assets.settings import load_settings
from cio_assets_tests import forked
from cio_assets_tests.conftest import Finished
from cio_assets_tests.truth import stored

Cli = Callable[..., Finished]
NOTHING = dict.fromkeys(
    ("people", "campaigns", "broadcasts", "newsletters", "segments", "objects", "deliveries", "activities"), 0
)
SECRETS = ("ann@example.com", "Ann Secret", "sandbox-track-key")


@pytest.fixture
def warehouse(home: Path) -> Path:
    """A warehouse with a source of persons, two rows of which cannot be sent."""
    home.mkdir()
    path = home / "warehouse.duckdb"
    with duckdb.connect(str(path)) as con:
        con.execute("CREATE SCHEMA reverse_etl")
        con.execute(
            """CREATE TABLE reverse_etl.persons AS FROM (VALUES
                 ('u_1', 'ann@example.com', 'Ann Secret', 1), ('u_2', NULL, 'Bob', 2), (NULL, NULL, 'nobody', 3),
                 ('u_3', NULL, repeat('x', 1001), 4)) t(id, email, first_name, visits)"""
        )
    return path


def query(path: Path, sql: str) -> list[tuple]:
    """Rows of the warehouse."""
    with duckdb.connect(str(path)) as con:
        return con.execute(sql).fetchall()


def numbers(out: str, sync: str) -> list[str]:
    """The figures of a sync's line: rows, unchanged, accepted, removed, rejected, requests, seconds."""
    return next(line for line in out.splitlines() if line.split()[:1] == [sync] and "rejected" not in line).split()[1:]


def test_push_and_rejects(cli: Cli, box: sandbox.Sandbox, warehouse: Path) -> None:
    planned = cli(box, "push", "--dry-run")
    assert planned.code == 0, planned.text
    assert numbers(planned.out, "persons")[:-1] == ["4", "0", "2", "0", "2"]
    assert '"first_name":"VARCHAR"' in planned.out
    assert box.stats()["track_requests"] == 0

    first = cli(box, "push")
    assert first.code == 0, first.text
    assert numbers(first.out, "persons")[:-1] == ["4", "0", "2", "0", "2", "1"]
    assert "identifier_missing 1" in first.out
    assert "value_too_long 1" in first.out
    assert (box.person("id", "u_1") or {})["first_name"] == "Ann Secret"

    second = cli(box, "push", "persons")
    assert numbers(second.out, "persons")[:-1] == ["4", "2", "0", "0", "2", "0"]

    listed = cli(box, "rejects", "list")
    assert "value_too_long" in listed.out
    assert "first_name" in listed.out
    rows = [json.loads(line) for line in cli(box, "rejects", "list", "--rows").out.splitlines()]
    assert {row["reason"] for row in rows} == {"identifier_missing", "value_too_long"}
    assert json.loads(next(row["row"] for row in rows if row["reason"] == "identifier_missing"))["visits"] == 3

    query(warehouse, "UPDATE reverse_etl.persons SET first_name = 'Cid' WHERE id = 'u_3'")
    retried = cli(box, "rejects", "retry")
    assert numbers(retried.out, "persons")[:-1] == ["4", "2", "1", "0", "1", "1"]
    assert query(warehouse, "SELECT reason FROM reverse_etl.rejected") == [("identifier_missing",)]
    for printed in (planned, first, second, listed, retried):
        assert not any(secret in printed.text for secret in SECRETS)


def test_nothing_personal_in_dagsters_home(cli: Cli, box: sandbox.Sandbox, warehouse: Path, home: Path) -> None:
    assert cli(box, "push").code == 0
    for path in home.rglob("*"):
        if path.is_file() and path != warehouse:
            content = path.read_bytes()
            assert not any(secret.encode() in content for secret in SECRETS), path


def test_without_a_source_nothing_is_pushed(cli: Cli, box: sandbox.Sandbox) -> None:
    done = cli(box, "push")
    assert done.code == 0
    assert "reverse_etl.persons" in done.out
    named = cli(box, "push", "objects")
    assert named.code == 0
    assert "inactive" in named.out


def test_a_sync_that_is_not_there_is_named(cli: Cli, box: sandbox.Sandbox) -> None:
    done = cli(box, "push", "person")
    assert done.code == 2
    assert "no sync person" in done.err
    assert "persons" in done.err


def test_credentials_are_asked_for(cli: Cli, box: sandbox.Sandbox, warehouse: Path) -> None:
    done = cli(box, "push", CUSTOMERIO_SITE_ID="")
    assert done.code == 2
    assert "CUSTOMERIO_SITE_ID" in done.err
    refused = cli(box, "push", CUSTOMERIO_TRACK_API_KEY="nonsense")
    assert refused.code == 1
    assert "CUSTOMERIO_TRACK_API_KEY" in refused.out
    assert "nonsense" not in refused.text


def test_a_sync_of_an_empty_workspace_is_no_error_and_ends_with_a_push(cli: Cli, warehouse: Path) -> None:
    with forked.launch(**NOTHING, app_rps=0) as box:
        done = cli(box, "sync")
        assert done.code == 0, done.text
        assert numbers(done.out, "persons")[2] == "2"
        assert box.stats()["violations"] == []
        for table in ("customers", "messages", "campaigns", "objects"):
            # The pushed persons are there now, and were not when they were listed.
            assert stored(warehouse, table) == [], table
        alone = cli(box, "sync", "--select", "campaigns")
        assert "persons" not in alone.out


def test_a_sync_without_credentials_of_the_track_api_says_what_was_not_pushed(
    warehouse: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = load_settings(_env_file=None, dagster_home=warehouse.parent)
    assert run_push(settings, wanted=False) is False
    assert "Not pushed: persons" in capsys.readouterr().out


def test_syncs_of_a_file(cli: Cli, box: sandbox.Sandbox, warehouse: Path, tmp_path: Path) -> None:
    syncs = tmp_path / "syncs.yaml"
    syncs.write_text(
        "syncs:\n  vip:\n    kind: persons\n    source: marts.vip\n    identifiers: {id: number}\n    mode: mirror\n"
    )
    query(warehouse, "CREATE SCHEMA marts; CREATE TABLE marts.vip AS SELECT 'v_' || i AS number, i FROM range(5) t(i)")
    done = cli(box, "push", "vip", CIO_SYNCS=str(syncs))
    assert done.code == 0, done.text
    assert numbers(done.out, "vip")[:-1] == ["5", "0", "5", "0", "0", "1"]
    query(warehouse, "DELETE FROM marts.vip WHERE i = 0")
    assert numbers(cli(box, "push", "vip", CIO_SYNCS=str(syncs)).out, "vip")[3] == "1"
    syncs.write_text("syncs:\n  vip:\n    kind: persons\n    sauce: marts.vip\n")
    wrong = cli(box, "push", CIO_SYNCS=str(syncs))
    assert wrong.code == 2
    assert "line 4" in wrong.err


def test_check_looks_at_the_syncs_and_where_rejected_rows_go(
    cli: Cli, box: sandbox.Sandbox, warehouse: Path, tmp_path: Path
) -> None:
    query(warehouse, "CREATE TABLE reverse_etl.events AS SELECT 'u_1' AS person_id, 'x' AS name")
    done = cli(box, "check", CIO_REJECTS_URI=str(tmp_path / "rejects"))
    assert done.code == 1
    assert "ok    Track API" in done.out
    assert "ok    Sync persons" in done.out
    assert "FAIL  Sync events" in done.out
    assert "event_name" in done.out
    assert "ok    Rejected rows" in done.out


def test_rejected_rows_are_also_written_to_a_folder(
    cli: Cli, box: sandbox.Sandbox, warehouse: Path, tmp_path: Path
) -> None:
    assert cli(box, "push", CIO_REJECTS_URI=str(tmp_path / "rejects")).code == 0
    (path,) = (tmp_path / "rejects" / "persons").rglob("*.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert {row["reason"] for row in rows} == {"identifier_missing", "value_too_long"}
    assert {row["sync"] for row in rows} == {"persons"}
    assert next(row for row in rows if row["reason"] == "identifier_missing")["row"]["first_name"] == "nobody"
