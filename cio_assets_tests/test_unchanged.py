"""A later sync asks only for what may have changed, and its tables are those of one that asks for everything."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from cio_assets import sandbox
from cio_assets_tests import forked
from cio_assets_tests.conftest import Finished, clear_of_the_hour, environment, run_cli
from cio_assets_tests.truth import differences, live, stored

Cli = Callable[..., Finished]
START = (datetime.now(UTC) - timedelta(days=210)).date().isoformat()
CHILDREN = ("campaign_actions", "broadcast_actions", "newsletter_contents", "newsletter_test_groups")
PARENTS = ("campaigns", "broadcasts", "newsletters")
METRICS = (
    "campaign_metrics",
    "campaign_action_metrics",
    "broadcast_metrics",
    "broadcast_action_metrics",
    "newsletter_metrics",
)


def asked(box: sandbox.Sandbox, part: str) -> dict[str, int]:
    """Requests since the last look whose path holds `part`."""
    return {path: count for path, count in box.stats()["by_endpoint"].items() if part in path}


@pytest.fixture
def sync(box: sandbox.Sandbox, cli: Cli) -> Callable[..., Finished]:
    """Sync some tables, counting its requests alone."""

    def run(*tables: str, options: tuple[str, ...] = (), **settings: str) -> Finished:
        box.reset_stats()
        done = cli(box, "sync", "--select", ",".join(tables), *options, CIO_START_DATE=START, **settings)
        assert done.code == 0, done.text
        return done

    return run


def equal(box: sandbox.Sandbox, home: Path, *tables: str, **window: int) -> None:
    for table in tables:
        rows = live(stored(home / "warehouse.duckdb", table))
        assert differences(table, rows, box.truth(table, **window)) == [], table


def test_children_of_unchanged_parents_are_carried_over(
    box: sandbox.Sandbox, sync: Callable[..., Finished], home: Path
) -> None:
    sync(*PARENTS, *CHILDREN)
    equal(box, home, *CHILDREN)
    sync(*PARENTS, *CHILDREN)
    assert box.stats()["requests"] == 3, "one for each list of parents"
    equal(box, home, *CHILDREN)

    box.mutate("change_campaign", id=1)
    box.mutate("delete_campaign", id=2)
    box.mutate("delete_newsletter")
    box.mutate("add_campaign")
    sync(*PARENTS, *CHILDREN)
    assert set(asked(box, "/actions")) == {"GET /v1/campaigns/{campaign_id}/actions"}
    equal(box, home, *CHILDREN)
    assert box.stats()["violations"] == []


def test_what_no_marker_tells_is_found_by_a_full_pass(
    box: sandbox.Sandbox, sync: Callable[..., Finished], home: Path
) -> None:
    sync("campaigns", "campaign_actions")
    box.mutate("change_action", campaign_id=1)
    sync("campaigns", "campaign_actions")
    assert differences("campaign_actions", live(stored(home / "warehouse.duckdb", "campaign_actions")),
                       box.truth("campaign_actions"))  # fmt: skip
    sync("campaigns", "campaign_actions", options=("--full",))
    equal(box, home, "campaign_actions")


def test_a_dropped_table_is_read_again(box: sandbox.Sandbox, sync: Callable[..., Finished], home: Path) -> None:
    sync("campaigns", "campaign_actions")
    with duckdb.connect(str(home / "warehouse.duckdb")) as con:
        con.execute("DROP TABLE customerio.campaign_actions")
    sync("campaigns", "campaign_actions")
    equal(box, home, "campaign_actions")


def metrics_window() -> dict[str, int]:
    first = datetime.fromisoformat(START).replace(day=1, tzinfo=UTC)
    return {"start": int(first.timestamp()), "end": int(datetime.now(UTC).timestamp()) + 86_400}


def test_metrics_are_read_again_where_deliveries_changed(
    box: sandbox.Sandbox, sync: Callable[..., Finished], home: Path
) -> None:
    clear_of_the_hour(90)
    everything = (*PARENTS, "campaign_actions", "broadcast_actions", "messages", *METRICS)
    sync(*everything)
    assert sum(asked(box, "/metrics").values()) > 100
    sync(*everything)
    assert asked(box, "/metrics") == {}

    opened = box.mutate("late_opens", count=3, older_than_days=5)["ids"]
    sync(*everything)
    rows = stored(home / "warehouse.duckdb", "messages")
    changed = [row for row in rows if row["id"] in opened]

    def of(*names: str) -> set[tuple]:
        return {key for row in changed if all(key := tuple(row[name] for name in names))}

    expected = {
        "GET /v1/campaigns/{campaign_id}/metrics": of("campaign_id"),
        "GET /v1/campaigns/{campaign_id}/actions/{action_id}/metrics": of("campaign_id", "action_id")
        | of("campaign_id", "parent_action_id"),
        "GET /v1/broadcasts/{broadcast_id}/metrics": of("broadcast_id"),
        "GET /v1/broadcasts/{broadcast_id}/actions/{action_id}/metrics": of("broadcast_id", "action_id")
        | of("broadcast_id", "parent_action_id"),
        "GET /v1/newsletters/{newsletter_id}/metrics": of("newsletter_id"),
    }
    assert any(expected.values())
    assert asked(box, "/metrics") == {path: 4 * len(parents) for path, parents in expected.items() if parents}
    equal(box, home, "campaign_metrics", "campaign_action_metrics", **metrics_window())
    equal(box, home, "broadcast_metrics", "broadcast_action_metrics", "newsletter_metrics")


def test_without_deliveries_metrics_are_always_read(box: sandbox.Sandbox, sync: Callable[..., Finished]) -> None:
    tables = ("campaigns", "campaign_metrics")
    sync(*tables)
    first = asked(box, "/metrics")
    sync(*tables)
    assert asked(box, "/metrics") == first


def test_activities_of_a_large_workspace_are_read_until_they_are_known(tmp_path: Path, home: Path) -> None:
    with forked.launch(people=50, deliveries=100, activities=12_000, app_rps=0) as box:
        env = environment(home, box)
        assert run_cli(["sync", "--select", "activities"], env, tmp_path).code == 0
        assert box.stats()["requests"] >= 120
        box.mutate("add_activities", count=250)
        box.reset_stats()
        assert run_cli(["sync", "--select", "activities"], env, tmp_path).code == 0
        assert 3 <= box.stats()["requests"] <= 12
        equal(box, home, "activities")
        box.mutate("add_activities", count=10, backdated=True)
        assert run_cli(["sync", "--select", "activities", "--full"], env, tmp_path).code == 0
        equal(box, home, "activities")


def test_children_come_back_with_their_parents(
    box: sandbox.Sandbox, sync: Callable[..., Finished], home: Path, cli: Cli
) -> None:
    sync("campaigns", "campaign_actions")
    with forked.launch(people=5, campaigns=0, broadcasts=0, newsletters=0, app_rps=0, app_key=box.app_key) as empty:
        # The same workspace on a bad night: its list is empty once.
        tables = "campaigns,campaign_actions"
        done = cli(box, "sync", "--select", tables, CIO_START_DATE=START, CUSTOMERIO_APP_URL=empty.url)
        assert done.code == 0, done.text
    assert live(stored(home / "warehouse.duckdb", "campaign_actions")) == []
    sync("campaigns", "campaign_actions")
    equal(box, home, "campaigns", "campaign_actions")


def test_a_parent_that_only_seemed_gone_is_asked_again(
    box: sandbox.Sandbox, sync: Callable[..., Finished], home: Path
) -> None:
    tables = ("campaigns", "campaign_actions")
    sync(*tables)
    box.faults(rules=[{"kind": "404", "path": "/v1/campaigns/1/actions", "times": 1}])
    sync(*tables, options=("--full",))
    assert stored(home / "warehouse.duckdb", "campaign_actions", "campaign_id = 1 AND _deleted_at IS NULL") == []
    sync(*tables)
    equal(box, home, *tables)


def test_another_workspace_is_read_as_if_nothing_were_known(tmp_path: Path, home: Path) -> None:
    tables = "campaigns,campaign_actions,customers,customer_attributes,activities"
    with (
        forked.launch(people=3000, campaigns=3, deliveries=100, app_rps=0, seed=1) as one,
        forked.launch(people=40, campaigns=3, deliveries=100, app_rps=0, seed=2, app_key="another") as other,
    ):
        for box in (one, other):
            done = run_cli(["sync", "--select", tables], environment(home, box), tmp_path)
            assert done.code == 0, done.text
        for table in ("campaigns", "campaign_actions", "customers", "customer_attributes"):
            assert differences(table, live(stored(home / "warehouse.duckdb", table)), other.truth(table)) == [], table
