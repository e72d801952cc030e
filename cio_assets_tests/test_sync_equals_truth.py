"""A full sync of a workspace of the size the issue names: every table equals the truth, for the fewest requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from cio_assets import sandbox
from cio_assets_tests import forked
from cio_assets_tests.conftest import Finished, clear_of_the_hour, environment, run_cli
from cio_assets_tests.soak.documented import WHOLE_LISTS
from cio_assets_tests.truth import KEYS, differences, live, stored

START = (datetime.now(UTC) - timedelta(days=210)).date()
"""Before the oldest delivery of the sandbox: two windows of the API."""

VIEWS = {
    "broadcast_messages": "broadcast_id",
    "campaign_messages": "campaign_id",
    "customer_messages": "cio_id",
    "customer_activities": "cio_id",
}


@dataclass(frozen=True)
class Synced:
    box: sandbox.Sandbox
    home: Path
    run: Finished
    stats: dict[str, Any]

    @property
    def warehouse(self) -> Path:
        return self.home / "warehouse.duckdb"


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Synced]:
    folder = tmp_path_factory.mktemp("truth")
    clear_of_the_hour(120)
    with forked.launch(people=2000, campaigns=20, broadcasts=10, newsletters=10, segments=30, app_rps=0) as box:
        env = environment(folder / "home", box, CIO_START_DATE=START.isoformat())
        run = run_cli(["sync"], env, folder)
        yield Synced(box, folder / "home", run, box.stats())


def truth(box: sandbox.Sandbox, table: str) -> list[dict[str, Any]]:
    if table in ("campaign_metrics", "campaign_action_metrics"):
        first = START.replace(day=1)
        month = datetime(first.year, first.month, 1, tzinfo=UTC)
        return box.truth(table, start=int(month.timestamp()), end=int(datetime.now(UTC).timestamp()) + 86_400)
    return box.truth({"customer_messages": "messages", "customer_activities": "activities"}.get(table, table))


def test_the_sync_succeeds_and_breaks_no_rule_of_the_api(synced: Synced) -> None:
    assert synced.run.code == 0, synced.run.text
    assert synced.stats["violations"] == []


@pytest.mark.parametrize("table", sorted(KEYS))
def test_table_equals_the_truth(synced: Synced, table: str) -> None:
    rows = live(stored(synced.warehouse, table))
    expected = truth(synced.box, table)
    assert expected, "the sandbox has nothing of this kind: the test would prove nothing"
    if table == "customer_relationships":
        # Read from the objects' side, which does not tell what a relationship is like.
        expected = [{k: v for k, v in item.items() if k not in ("attributes", "timestamps")} for item in expected]
    assert differences(table, rows, expected) == []


def pages(counts: Counter | dict, size: int, parents: int | None = None) -> int:
    """Requests for lists of those lengths, at least one each."""
    full = sum(max(1, ceil(count / size)) for count in counts.values())
    return full + (parents - len(counts) if parents is not None else 0)


def documented_minimum(box: sandbox.Sandbox) -> dict[str, int]:
    """The fewest requests a table can be read with, from page sizes and parents as documented (README, Tables)."""
    count = {table: len(truth(box, table)) for table in KEYS}
    broadcasts = [row["id"] for row in box.truth("broadcasts")]
    campaign_actions = Counter(row["campaign_id"] for row in box.truth("campaign_actions"))
    broadcast_actions = Counter(row["broadcast_id"] for row in box.truth("broadcast_actions"))
    members = Counter(row["segment_id"] for row in box.truth("segment_membership"))
    objects = Counter(row["object_type_id"] for row in box.truth("objects"))
    suppressed = Counter(row["type"] for row in box.truth("esp_suppressions"))
    hidden = Counter(bool(row.get("hidden")) for row in box.truth("sender_identities"))
    return dict.fromkeys(WHOLE_LISTS, 1) | {
        "activities": ceil(count["activities"] / 100) + 2,
        "broadcast_action_metrics": 4 * count["broadcast_actions"],
        "broadcast_actions": pages(broadcast_actions, 10, len(broadcasts)),
        "broadcast_metrics": 4 * count["broadcasts"],
        "campaign_action_metrics": 4 * count["campaign_actions"],
        "campaign_actions": pages(campaign_actions, 10, count["campaigns"]),
        "campaign_metrics": 4 * count["campaigns"],
        "customer_attributes": ceil(count["customers"] / 100),
        "customer_relationships": count["objects"],
        "customers": ceil(count["customers"] / 1000),
        "esp_suppressions": pages(suppressed, 1000, 4),
        "messages": ceil(count["messages"] / 1000) + 2,
        "newsletter_contents": count["newsletters"],
        "newsletter_metrics": 4 * count["newsletters"],
        "newsletter_test_groups": count["newsletters"],
        "newsletters": ceil(count["newsletters"] / 100),
        "objects": pages(objects, 1000, count["object_types"]),
        "segment_membership": pages(members, 30_000, count["segments"]),
        "segment_usage": count["segments"],
        "sender_identities": ceil(hidden[False] / 100) + ceil(hidden[True] / 100) + 2,
    }


def test_requests_are_within_five_percent_of_the_documented_minimum(synced: Synced) -> None:
    minimum = documented_minimum(synced.box)
    spent = materialized(synced.home, "requests")
    # The service may put an empty page into each window of deliveries; up to three cuts cost up to a request each.
    slack = {"messages": 4, "activities": 1}
    over = {
        table: (spent[table], fewest)
        for table, fewest in minimum.items()
        if spent[table] > fewest + slack.get(table, 0)
    }
    assert over == {}
    assert sum(spent.values()) == synced.stats["requests"]
    assert sum(spent.values()) <= 1.05 * sum(minimum.values())


def materialized(home: Path, name: str) -> dict[str, int]:
    """A number from the latest materialization of every table."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        found = {}
        for table in KEYS:
            event = instance.get_latest_materialization_event(dg.AssetKey(["customerio", table]))
            assert event is not None
            assert event.asset_materialization is not None
            value = event.asset_materialization.metadata.get(name)
            found[table] = int(str(value.value)) if value is not None else 0
        return found


def test_materializations_say_what_they_did(synced: Synced) -> None:
    rows = materialized(synced.home, "dagster/row_count")
    assert rows == {table: len(live(stored(synced.warehouse, table))) for table in KEYS}
    assert materialized(synced.home, "rows_in_slice")["messages"] == rows["messages"]
    unknown = materialized(synced.home, "rows_with_unknown_fields")
    assert unknown["campaigns"] == len([row for row in stored(synced.warehouse, "campaigns") if row["_extra"]]) > 0


@pytest.mark.parametrize("view", sorted(VIEWS))
def test_views_hold_the_rows_of_their_kind(synced: Synced, view: str) -> None:
    table = "activities" if view == "customer_activities" else "messages"
    wanted = {row["id"] for row in stored(synced.warehouse, table, f"{VIEWS[view]} IS NOT NULL")}
    assert {row["id"] for row in stored(synced.warehouse, view)} == wanted


def test_every_row_tells_when_it_was_read(synced: Synced) -> None:
    for table in KEYS:
        assert all(row["_synced_at"] is not None for row in stored(synced.warehouse, table)), table


def test_the_same_action_id_under_two_parents_is_kept_twice(synced: Synced) -> None:
    parents = Counter(row["id"] for row in stored(synced.warehouse, "campaign_actions"))
    parents.update(row["id"] for row in stored(synced.warehouse, "broadcast_actions"))
    assert max(parents.values()) > 1


def test_nothing_personal_reaches_what_dagster_or_the_terminal_keeps(synced: Synced) -> None:
    with dg.DagsterInstance.from_config(str(synced.home)) as instance:
        text = synced.run.text
        for run in instance.get_runs():
            text += "".join(event.to_json() for event in instance.all_logs(run.run_id))
    emails = [row["email"] for row in stored(synced.warehouse, "customers") if row["email"]]
    assert len(emails) > 1000
    assert [email for email in emails if email in text] == []
    assert synced.box.app_key not in text


def test_staging_is_empty_after_the_sync(synced: Synced) -> None:
    assert list((synced.home / "staging").rglob("*.ndjson")) == []
