"""The service misbehaves: the rows are the same, or the old ones stay and the message says why."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cio_assets import sandbox
from cio_assets_tests import forked
from cio_assets_tests.conftest import Finished, environment
from cio_assets_tests.truth import KEYS, differences, live, stored

START = (datetime.now(UTC) - timedelta(days=210)).date()
Cli = Callable[..., Finished]


def unequal(box: sandbox.Sandbox, warehouse: Path, tables: list[str]) -> list[str]:
    """Differences of the tables with the truth; metrics as far back as the start."""
    problems = []
    for table in tables:
        span = {}
        if table in ("campaign_metrics", "campaign_action_metrics"):
            first = datetime.combine(START.replace(day=1), datetime.min.time(), UTC)
            span = {"start": int(first.timestamp()), "end": int(datetime.now(UTC).timestamp()) + 86_400}
        name = {"customer_messages": "messages", "customer_activities": "activities"}.get(table, table)
        expected = box.truth(name, **span)
        if table == "customer_relationships":
            expected = [{k: v for k, v in item.items() if k not in ("attributes", "timestamps")} for item in expected]
        problems += differences(table, live(stored(warehouse, table)), expected)
    return problems


@pytest.mark.soak
def test_two_percent_of_every_fault_change_nothing(box: sandbox.Sandbox, cli: Cli, home: Path) -> None:
    kinds = ("500", "502", "503", "429", "reset", "truncated", "html", "overlap")
    box.faults(rates=dict.fromkeys(kinds, 0.02) | {"stall": 0.02}, stall_seconds=1, seed=3)
    done = cli(box, "sync", CIO_START_DATE=START.isoformat())
    assert done.code == 0, done.text
    assert {"500", "502", "503", "429", "reset", "html"} <= box.stats()["injected"].keys()
    box.faults()
    assert unequal(box, home / "warehouse.duckdb", sorted(KEYS)) == []


def test_a_lasting_error_fails_its_asset_alone(box: sandbox.Sandbox, cli: Cli, home: Path) -> None:
    tables = "campaigns,campaign_actions,campaign_action_metrics,broadcasts,snippets"
    assert cli(box, "sync", "--select", tables).code == 0
    before = stored(home / "warehouse.duckdb", "campaign_actions")
    box.mutate("change_campaign")
    box.faults(rules=[{"kind": "403", "path": "^/v1/campaigns/2/actions$"}])
    done = cli(box, "sync", "--select", tables, "--full")
    assert done.code == 1
    assert "/v1/campaigns/2/actions" in done.out
    assert "403" in done.out
    assert "Failed: campaign_actions" in done.out
    assert stored(home / "warehouse.duckdb", "campaign_actions") == before
    # The others are of today: the campaign's change arrived, and the metrics were read from the actions of before.
    assert unequal(box, home / "warehouse.duckdb", ["campaigns", "broadcasts", "snippets"]) == []


def test_a_table_is_not_shortened_by_an_error_in_the_middle(box: sandbox.Sandbox, cli: Cli, home: Path) -> None:
    assert cli(box, "sync", "--select", "customers,customer_attributes").code == 0
    before = stored(home / "warehouse.duckdb", "customer_attributes")
    box.faults(rules=[{"kind": "401", "method": "POST", "path": "^/v1/customers/attributes$", "after": 1}])
    done = cli(box, "sync", "--select", "customers,customer_attributes")
    assert done.code == 1
    assert "CUSTOMERIO_APP_API_KEY" in done.out
    assert stored(home / "warehouse.duckdb", "customer_attributes") == before


@pytest.mark.parametrize(
    ("kind", "says"), [("401", ["CUSTOMERIO_APP_API_KEY", "CUSTOMERIO_REGION"]), ("403", ["permission"])]
)
def test_refused_credentials_stop_at_once_and_name_the_fix(
    box: sandbox.Sandbox, cli: Cli, kind: str, says: list[str]
) -> None:
    box.faults(rules=[{"kind": kind, "path": ".*"}])
    done = cli(box, "sync", "--select", "campaigns")
    assert done.code == 1
    assert all(word in done.out for word in says), done.out
    assert box.stats()["requests"] == 1


def test_a_wrong_key_is_told_from_a_missing_one(box: sandbox.Sandbox, cli: Cli) -> None:
    wrong = cli(box, "sync", "--select", "campaigns", CUSTOMERIO_APP_API_KEY="not-the-key-4711")
    assert wrong.code == 1
    assert "401" in wrong.out
    assert "not-the-key-4711" not in wrong.text
    missing = cli(box, "sync", "--select", "campaigns", CUSTOMERIO_APP_API_KEY="")
    assert missing.code == 2
    assert "CUSTOMERIO_APP_API_KEY is not set" in missing.err


def test_a_key_with_white_space_around_it_works(box: sandbox.Sandbox, cli: Cli) -> None:
    assert cli(box, "sync", "--select", "campaigns", CUSTOMERIO_APP_API_KEY=f"  {box.app_key}\n").code == 0


def test_a_parent_that_goes_away_in_the_middle_marks_its_children(box: sandbox.Sandbox, cli: Cli, home: Path) -> None:
    assert cli(box, "sync", "--select", "campaigns,campaign_actions").code == 0
    box.faults(rules=[{"kind": "vanish", "path": "^/v1/campaigns/2/"}])
    done = cli(box, "sync", "--select", "campaigns,campaign_actions,campaign_metrics", "--full")
    assert done.code == 0, done.text
    rows = stored(home / "warehouse.duckdb", "campaign_actions")
    assert {row["_deleted_at"] is not None for row in rows if row["campaign_id"] == 2} == {True}
    assert {row["_deleted_at"] for row in rows if row["campaign_id"] != 2} == {None}
    assert not [row for row in stored(home / "warehouse.duckdb", "campaign_metrics") if row["campaign_id"] == 2]


def test_429_waits_for_retry_after(box: sandbox.Sandbox, cli: Cli, home: Path) -> None:
    box.faults(rules=[{"kind": "429", "path": "^/v1/snippets$", "times": 1}])
    assert cli(box, "sync", "--select", "snippets").code == 0
    arrivals = [at for at, _ in box.stats(arrivals=True)["arrivals"]]
    assert len(arrivals) == 2
    assert arrivals[1] - arrivals[0] >= 1.0  # what the sandbox asked for
    assert unequal(box, home / "warehouse.duckdb", ["snippets"]) == []


@pytest.mark.parametrize("shape", ["wrapped", "mixed"])
def test_attributes_come_with_and_without_their_wrapper(cli: Cli, home: Path, shape: str) -> None:
    with forked.launch(people=150, campaigns=1, deliveries=50, app_rps=0, attributes_shape=shape) as box:
        assert cli(box, "sync", "--select", "customers,customer_attributes").code == 0
        assert unequal(box, home / "warehouse.duckdb", ["customer_attributes"]) == []


def test_a_person_missing_from_the_batch_is_marked(box: sandbox.Sandbox, cli: Cli, home: Path) -> None:
    assert cli(box, "sync", "--select", "customers,customer_attributes").code == 0
    box.mutate("delete_people", count=3)
    # Only the attributes are read: the list of people still names the three.
    assert cli(box, "sync", "--select", "customer_attributes").code == 0
    gone = [row for row in stored(home / "warehouse.duckdb", "customer_attributes") if row["_deleted_at"]]
    assert len(gone) == 3
    assert unequal(box, home / "warehouse.duckdb", ["customer_attributes"]) == []


def test_relationships_from_the_people_tell_their_attributes(box: sandbox.Sandbox, cli: Cli, home: Path) -> None:
    tables = "customers,object_types,objects,customer_relationships"
    assert cli(box, "sync", "--select", tables, CIO_RELATIONSHIPS="people").code == 0
    truth = box.truth("customer_relationships")
    assert any(item["attributes"] for item in truth)
    rows = live(stored(home / "warehouse.duckdb", "customer_relationships"))
    assert differences("customer_relationships", rows, truth) == []


def test_a_parent_that_goes_between_two_pages_leaves_no_half_of_its_children(
    box: sandbox.Sandbox, cli: Cli, home: Path
) -> None:
    assert cli(box, "sync", "--select", "campaigns,campaign_actions").code == 0
    box.faults(rules=[{"kind": "404", "path": "^/v1/campaigns/2/actions$", "after": 1}])
    assert cli(box, "sync", "--select", "campaign_actions", "--full").code == 0
    rows = stored(home / "warehouse.duckdb", "campaign_actions", "campaign_id = 2")
    assert len(rows) > 10, "one page only: the test would prove nothing"
    assert all(row["_deleted_at"] for row in rows)


def test_a_404_for_every_parent_is_not_believed(box: sandbox.Sandbox, cli: Cli, home: Path) -> None:
    assert cli(box, "sync", "--select", "campaigns,campaign_actions,campaign_metrics").code == 0
    before = stored(home / "warehouse.duckdb", "campaign_actions")
    box.faults(rules=[{"kind": "404", "path": "^/v1/campaigns/[0-9]+/"}])
    done = cli(box, "sync", "--select", "campaign_actions,campaign_metrics", "--full")
    assert done.code == 1
    assert "was answered 404 for each of 4 parents" in done.out
    assert stored(home / "warehouse.duckdb", "campaign_actions") == before


def test_a_wrong_key_is_tried_once_for_all_tables(box: sandbox.Sandbox, cli: Cli) -> None:
    done = cli(box, "sync", CUSTOMERIO_APP_API_KEY="not-the-key-4711")
    assert done.code == 1
    assert box.stats()["requests"] == 1
    assert done.out.count("was refused with 401") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--since", "2099-01-01"], "lies in the future"),
        (["--select", ","], "--select names no table"),
        (["--select", "campaings"], "there is no table campaings"),
    ],
)
def test_arguments_that_would_read_nothing_are_refused(
    box: sandbox.Sandbox, cli: Cli, arguments: list[str], says: str
) -> None:
    done = cli(box, "sync", *arguments)
    assert done.code == 2
    assert says in done.err
    assert box.stats()["requests"] == 0


def test_a_start_many_years_back_is_asked_for_in_pieces(box: sandbox.Sandbox, cli: Cli, home: Path) -> None:
    done = cli(box, "sync", "--select", "campaigns,campaign_metrics", CIO_START_DATE="2013-05-01")
    assert done.code == 0, done.text
    assert box.stats()["violations"] == []
    span = {
        "start": int(datetime(2013, 5, 1, tzinfo=UTC).timestamp()),
        "end": int(datetime.now(UTC).timestamp()) + 86_400,
    }
    rows = stored(home / "warehouse.duckdb", "campaign_metrics")
    assert differences("campaign_metrics", rows, box.truth("campaign_metrics", **span)) == []


def test_a_busy_warehouse_is_noticed_before_requests_are_spent(
    box: sandbox.Sandbox, cli: Cli, home: Path, tmp_path: Path
) -> None:
    wrong = tmp_path / "not-a-database.duckdb"
    wrong.write_text("not a database")
    done = cli(box, "sync", "--select", "campaigns", CIO_WAREHOUSE=str(wrong))
    assert done.code == 1
    assert "cannot be opened as a DuckDB database" in done.out
    assert box.stats()["requests"] == 0


def test_the_demo_s_data_and_a_real_workspace_are_not_mixed(cli: Cli, home: Path) -> None:
    home.mkdir()
    (home / "made-by-the-demo").touch()
    done = cli(None, "sync", "--select", "campaigns", CUSTOMERIO_APP_API_KEY="k")
    assert done.code == 1
    assert "holds the demo's data" in done.out


def test_an_interrupted_sync_stops_and_says_so(box: sandbox.Sandbox, home: Path, tmp_path: Path) -> None:
    box.faults(rules=[{"kind": "stall", "path": "^/v1/(messages|segments/.*)$"}], stall_seconds=60)
    process = subprocess.Popen(
        [sys.executable, "-m", "cio_assets.cli", "sync", "--select", "messages,campaigns"],
        env=environment(home, box),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while box.stats()["requests"] < 2:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "stopped" in stderr


def test_an_object_type_that_goes_away_marks_its_objects(box: sandbox.Sandbox, cli: Cli, home: Path) -> None:
    tables = "object_types,objects"
    assert cli(box, "sync", "--select", tables).code == 0
    box.faults(rules=[{"kind": "404", "method": "POST", "path": "^/v1/objects$", "times": 2}])
    assert cli(box, "sync", "--select", tables).code == 0
    assert any(row["_deleted_at"] for row in stored(home / "warehouse.duckdb", "objects"))


def test_attributes_of_relationships_stay_when_the_cheaper_side_does_not_tell_them(
    box: sandbox.Sandbox, cli: Cli, home: Path
) -> None:
    tables = "customers,object_types,objects,customer_relationships"
    assert cli(box, "sync", "--select", tables, CIO_RELATIONSHIPS="people").code == 0
    assert cli(box, "sync", "--select", tables).code == 0
    rows = live(stored(home / "warehouse.duckdb", "customer_relationships"))
    assert differences("customer_relationships", rows, box.truth("customer_relationships")) == []


def test_syncs_that_begin_at_once_in_a_new_home_all_succeed(box: sandbox.Sandbox, home: Path, tmp_path: Path) -> None:
    syncs = [
        subprocess.Popen(
            [sys.executable, "-m", "cio_assets.cli", "sync", "--select", "segments,campaigns,snippets"],
            env=environment(home, box),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(3)
    ]
    for sync in syncs:
        text, _ = sync.communicate(timeout=100)
        assert sync.returncode == 0, text[-1500:]
    assert unequal(box, home / "warehouse.duckdb", ["segments", "campaigns", "snippets"]) == []
