"""A second sync after the world has moved on: changes arrive, what is gone is marked, history stays."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cio_assets import sandbox
from cio_assets_tests import forked
from cio_assets_tests.conftest import Finished, clear_of_the_hour
from cio_assets_tests.truth import KEYS, differences, live, stored

START = (datetime.now(UTC) - timedelta(days=210)).date()
Cli = Callable[..., Finished]


def metrics_truth(box: sandbox.Sandbox, table: str) -> list[dict]:
    first = datetime.combine(START.replace(day=1), datetime.min.time(), UTC)
    return box.truth(table, start=int(first.timestamp()), end=int(datetime.now(UTC).timestamp()) + 86_400)


def opened(rows: list[dict]) -> int:
    return sum("opened" in row["metrics"] for row in rows)


def test_a_second_sync_brings_what_changed(box: sandbox.Sandbox, cli: Cli, home: Path) -> None:
    clear_of_the_hour(90)
    warehouse = home / "warehouse.duckdb"
    assert cli(box, "sync", CIO_START_DATE=START.isoformat()).code == 0
    opened_before = opened(stored(warehouse, "messages"))
    campaigns_before = {row["id"] for row in stored(warehouse, "campaigns")}

    late = box.mutate("late_opens", count=40, older_than_days=20)
    box.mutate("change_people", count=9)
    box.mutate("delete_people", count=4)
    box.mutate("add_people", count=5)
    box.mutate("change_campaign", id=1)
    box.mutate("delete_campaign", id=2)
    box.mutate("add_campaign")
    box.mutate("delete_newsletter")
    box.mutate("delete_segment")
    box.mutate("change_membership", count=6)
    box.mutate("delete_object", count=2)
    box.mutate("clear_suppression", count=3)
    box.mutate("add_deliveries", count=30, days=3)
    box.mutate("add_activities", count=20, backdated=True)
    box.mutate("add_unknown_field", table="segments", field="brand_new", value={"deep": [1]})

    done = cli(box, "sync", CIO_START_DATE=START.isoformat())
    assert done.code == 0, done.text

    for table in sorted(KEYS):
        expected = {
            "campaign_metrics": lambda: metrics_truth(box, "campaign_metrics"),
            "campaign_action_metrics": lambda: metrics_truth(box, "campaign_action_metrics"),
            "customer_messages": lambda: box.truth("messages"),
            "customer_activities": lambda: box.truth("activities"),
        }.get(table, lambda table=table: box.truth(table))()
        rows = live(stored(warehouse, table))
        if table == "customer_relationships":
            expected = [{k: v for k, v in item.items() if k not in ("attributes", "timestamps")} for item in expected]
        if table.endswith("_metrics") or table in ("campaign_messages", "newsletter_messages"):
            # What the API told of the deleted campaign and newsletter stays as history.
            gone = {"campaign_id": {2}, "newsletter_id": deleted(warehouse, "newsletters")}
            rows = [row for row in rows if not any(row.get(column) in ids for column, ids in gone.items())]
        assert differences(table, rows, expected) == [], table

    assert late
    assert opened(stored(warehouse, "messages")) >= opened_before + 40
    marked = {row["id"]: row["_deleted_at"] for row in stored(warehouse, "campaigns")}
    assert marked.keys() >= campaigns_before
    assert marked[2] is not None
    assert {row["_deleted_at"] is None for row in stored(warehouse, "campaign_actions", "campaign_id = 2")} == {False}
    assert len([row for row in stored(warehouse, "customers") if row["_deleted_at"]]) == 4
    assert stored(warehouse, "campaign_metrics", "campaign_id = 2"), "the metrics of a deleted campaign are history"
    assert {row["_extra"]["brand_new"]["deep"][0] for row in stored(warehouse, "segments") if row["_extra"]} == {1}
    assert box.stats()["violations"] == []


def deleted(warehouse: Path, table: str) -> set[int]:
    return {row["id"] for row in stored(warehouse, table) if row["_deleted_at"] is not None}


def test_a_row_that_comes_back_is_live_again(box: sandbox.Sandbox, cli: Cli, home: Path) -> None:
    assert cli(box, "sync", "--select", "segments").code == 0
    with forked.launch(people=10, campaigns=1, segments=2, deliveries=10, app_rps=0) as smaller:
        assert cli(smaller, "sync", "--select", "segments").code == 0
    assert len(deleted(home / "warehouse.duckdb", "segments")) == 4
    assert cli(box, "sync", "--select", "segments").code == 0
    assert deleted(home / "warehouse.duckdb", "segments") == set()
    assert differences("segments", stored(home / "warehouse.duckdb", "segments"), box.truth("segments")) == []


def test_history_outside_the_api_s_reach_stays(box: sandbox.Sandbox, cli: Cli, home: Path) -> None:
    warehouse = home / "warehouse.duckdb"
    tables = "activities,exports,messages,newsletters,newsletter_metrics"
    assert cli(box, "sync", "--select", tables, CIO_START_DATE=START.isoformat()).code == 0
    before = {table: stored(warehouse, table) for table in tables.split(",")}

    box.mutate("delete_activity_history", older_than_days=10)
    box.mutate("forget_deliveries", before=int((datetime.now(UTC) - timedelta(days=185)).timestamp()))
    forgotten = len(before["activities"]) - len(box.truth("activities"))
    old = len(before["messages"]) - len(box.truth("messages"))
    assert forgotten > 0
    assert old > 0

    assert cli(box, "sync", "--select", tables, CIO_START_DATE=START.isoformat()).code == 0
    assert {row["id"] for row in stored(warehouse, "activities")} == {row["id"] for row in before["activities"]}
    assert {row["id"] for row in stored(warehouse, "messages")} >= {row["id"] for row in before["messages"]}


def test_only_the_partitions_asked_for_are_read_again(box: sandbox.Sandbox, cli: Cli, home: Path) -> None:
    warehouse = home / "warehouse.duckdb"
    assert cli(box, "sync", "--select", "messages", CIO_START_DATE=START.isoformat()).code == 0
    since = (datetime.now(UTC) - timedelta(days=10)).date()
    old = datetime.combine(since, datetime.min.time(), UTC).timestamp()
    box.mutate("late_opens", count=400, older_than_days=0)
    assert cli(box, "sync", "--select", "messages", "--since", str(since), CIO_START_DATE=START.isoformat()).code == 0
    truth = {item["id"]: item["metrics"] for item in box.truth("messages")}
    rows = stored(warehouse, "messages")
    recent = [row for row in rows if row["created"] >= old]
    assert recent
    assert all(row["metrics"] == truth[row["id"]] for row in recent)
    assert any(row["metrics"] != truth[row["id"]] for row in rows if row["created"] < old)
