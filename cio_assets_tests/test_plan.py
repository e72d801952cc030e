"""`cio-assets plan` tells what a sync will ask: numbers without a mark are true, estimates within a fifth."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from cio_assets import sandbox
from cio_assets.catalog import TABLES
from cio_assets_tests import forked
from cio_assets_tests.conftest import Finished, environment, run_cli

Cli = Callable[..., Finished]

KNOWN = """
    broadcast_metrics broadcasts campaign_metrics campaigns collections exports info_ip_addresses newsletter_contents
    newsletter_metrics newsletter_test_groups newsletters object_types reporting_webhooks segment_usage segments
    snippets subscription_topics transactional_messages workspaces
    broadcast_messages campaign_messages customer_activities customer_messages newsletter_messages
""".split()
"""Tables of which a first plan knows the requests: whole lists, and what is asked once for each row of one."""

CHANGED = ",".join(
    name for name in TABLES if name.startswith(("campaign", "newsletter", "segment")) and not TABLES[name].view
)
"""The tables that the story changes."""

SERVICE_S_WHIM = 3
A_FEW_PARENTS = 16

"""Requests for deliveries that nobody can foresee: empty pages, and a cut."""


@dataclass(frozen=True)
class Compared:
    """A plan and the sync after it: the texts of their cells by table, and what the sandbox counted."""

    plan: Finished
    planned: dict[str, str]
    spared: dict[str, str]
    foreseen: dict[str, str]
    """What the sync itself printed as planned."""
    real: dict[str, int]
    asked: int
    synced: int

    def off(self) -> dict[str, tuple[str, int]]:
        """The tables whose plan was not what its mark says."""
        return {
            table: (said, self.real[table])
            for table, said in self.planned.items()
            if table != "total" and not holds(said, self.real[table], self.tolerance(table))
        }

    def tolerance(self, table: str) -> float:
        """How far an estimate may be off, in requests."""
        if table == "messages":
            return max(SERVICE_S_WHIM, 0.2 * self.real[table])
        if table == "activities" and self.foreseen[table].startswith("at least"):
            return 0.5 * self.real[table]  # never read: one page is all that is known of a list without a time filter
        if table.endswith("_metrics"):
            # The time since the last reading is taken to be as busy as the time before it: on a slow machine minutes.
            return max(A_FEW_PARENTS, 0.2 * self.real[table])
        return max(1, 0.2 * self.real[table])


def holds(said: str, real: int, tolerance: float) -> bool:
    if said == "?":
        return True
    number = int(re.sub(r"\D", "", said))
    if said.startswith("at least"):
        return real >= number
    if said.startswith("~"):
        return abs(real - number) <= tolerance
    return real == number


def cells(text: str) -> dict[str, list[str]]:
    """The cells of a printed table by its first column."""
    rows = [[cell.strip() for cell in line.strip()[1:-1].split("│")] for line in text.splitlines() if "│" in line]
    return {first: rest for first, *rest in rows}


def compare(box: sandbox.Sandbox, run: Callable[..., Finished], *arguments: str) -> Compared:
    box.reset_stats()
    plan = run("plan", *arguments)
    assert plan.code == 0, plan.text
    asked = box.stats()["requests"]
    box.reset_stats()
    sync = run("sync", *arguments)
    assert sync.code == 0, sync.text
    stats = box.stats()
    assert stats["violations"] == []
    told, found = cells(plan.out), cells(sync.out)
    return Compared(
        plan,
        {table: row[0] for table, row in told.items()},
        {table: row[2] for table, row in told.items()},
        {table: row[1] for table, row in found.items()},
        {table: int(row[2].replace(",", "")) for table, row in found.items()},
        asked,
        stats["requests"],
    )


@dataclass(frozen=True)
class Story:
    first: Compared
    nothing_changed: Compared
    some_changed: Compared
    home_before: bool


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("plan")
    sizes = {"people": 300, "campaigns": 3, "broadcasts": 2, "newsletters": 3, "segments": 4, "objects": 12}
    with forked.launch(**sizes, app_rps=0) as box:
        start = (datetime.now(UTC) - timedelta(days=40)).date()
        env = environment(folder / "home", box, CIO_START_DATE=f"{start}")

        def run(*arguments: str) -> Finished:
            return run_cli(list(arguments), env, folder)

        run("plan", "--select", "campaigns")
        before = (folder / "home").exists()
        first, second = compare(box, run), compare(box, run)
        box.mutate("change_campaign", id=1)
        box.mutate("add_campaign")
        box.mutate("add_action", campaign_id=2)
        box.mutate("delete_newsletter")
        box.mutate("delete_segment")
        yield Story(first, second, compare(box, run, "--select", CHANGED), before)


def numbers_without_a_mark_are_true_and_estimates_are_close(story: Story) -> None:
    assert story.first.off() == {}
    assert story.nothing_changed.off() == {}
    assert story.some_changed.off() == {}


def a_first_plan_knows_whole_lists_and_their_children(story: Story) -> None:
    said = {table: story.first.planned[table] for table in KNOWN}
    assert said == {table: str(story.first.real[table]) for table in KNOWN}


def a_second_plan_knows_what_is_carried_over(story: Story) -> None:
    then = story.nothing_changed
    for table in ("campaign_actions", "broadcast_actions", "newsletter_contents", "newsletter_test_groups"):
        assert then.planned[table] == "0", table
        assert then.real[table] == 0, table
    assert int(then.spared["campaign_actions"]) == 3
    assert int(then.spared["campaign_action_metrics"]) > 100
    # Changed and new: one request each; the others are carried over.
    assert (story.some_changed.planned["campaign_actions"], story.some_changed.spared["campaign_actions"]) == (
        "~7",
        "1",
    )


def the_total_is_within_a_fifth(story: Story) -> None:
    for compared in (story.first, story.nothing_changed, story.some_changed):
        number = int(re.sub(r"\D", "", compared.planned["total"]))
        assert abs(number - compared.real["total"]) <= 0.2 * compared.real["total"] + SERVICE_S_WHIM + 3 * A_FEW_PARENTS


def a_plan_says_what_it_cost_which_is_little(story: Story) -> None:
    for compared in (story.first, story.nothing_changed, story.some_changed):
        assert f"This plan took {compared.asked} requests" in compared.plan.out
        assert 0 < compared.asked <= 10
    assert story.some_changed.asked <= 6


def a_plan_writes_nothing(story: Story) -> None:
    assert story.home_before is False


def a_sync_prints_what_was_planned_without_a_request_for_it(story: Story) -> None:
    for compared in (story.first, story.nothing_changed, story.some_changed):
        assert compared.synced == compared.real["total"]
    told = story.nothing_changed.foreseen
    assert told["campaigns"] == "1"
    assert told["campaign_actions"] == "~0"
    assert told["activities"] == story.nothing_changed.planned["activities"]
    # Of an empty warehouse it knows no parents, and says so.
    assert story.first.foreseen["campaign_actions"] == "?"
    assert story.first.foreseen["customers"] == "at least 1"


def test_what_a_plan_says_is_what_a_sync_asks(story: Story) -> None:
    """One test: workers share tests out, and each would make the story, a minute long, for itself."""
    numbers_without_a_mark_are_true_and_estimates_are_close(story)
    a_first_plan_knows_whole_lists_and_their_children(story)
    a_second_plan_knows_what_is_carried_over(story)
    the_total_is_within_a_fifth(story)
    a_plan_says_what_it_cost_which_is_little(story)
    a_plan_writes_nothing(story)
    a_sync_prints_what_was_planned_without_a_request_for_it(story)


LARGE = "activities,customers,customer_attributes,messages,object_types,objects,customer_relationships"


@pytest.mark.soak
def test_people_deliveries_and_activities_of_a_larger_workspace(cli: Cli, home: Path) -> None:
    with forked.launch(people=4000, deliveries=30_000, activities=8000, objects=40, campaigns=2, app_rps=0) as box:

        def run(*arguments: str) -> Finished:
            return cli(box, *arguments)

        first = compare(box, run, "--select", LARGE)
        assert first.off() == {}
        assert (first.planned["customers"], first.planned["customer_attributes"]) == ("~4", "~40")
        second = compare(box, run, "--select", LARGE)
        assert second.off() == {}
        since = str((datetime.now(UTC) - timedelta(days=20)).date())
        third = compare(box, run, "--select", "messages,campaigns,campaign_metrics", "--since", since)
        assert third.off() == {}
        assert third.real["messages"] < second.real["messages"] / 2
        assert third.asked <= 2
        full = cells(cli(box, "plan", "--select", "customer_attributes", "--full").out)
        assert full["customer_attributes"][0] == "40"


def test_children_of_parents_that_are_not_there_are_unknown(cli: Cli, box: sandbox.Sandbox) -> None:
    done = cli(box, "plan", "--select", "campaign_actions,segment_usage")
    assert done.code == 0, done.text
    assert {row[0] for row in cells(done.out).values()} == {"?"}
    assert "This plan took 0 requests" in done.out


def test_an_api_that_cannot_be_reached_is_named(cli: Cli) -> None:
    done = cli(None, "plan", CUSTOMERIO_APP_API_KEY="k", CUSTOMERIO_APP_URL="http://127.0.0.1:9")
    assert done.code == 1
    assert "GET /v1/" in done.err
    assert "Traceback" not in done.text


def test_without_a_key_or_with_a_wrong_day_or_table_it_says_so(cli: Cli, box: sandbox.Sandbox) -> None:
    for done, says in (
        (cli(None, "plan"), "CUSTOMERIO_APP_API_KEY is not set"),
        (cli(box, "plan", "--since", "2013-01-01"), "CIO_START_DATE=2013-01-01"),
        (cli(box, "plan", "--select", "nonsense"), "there is no table nonsense"),
    ):
        assert done.code == 2
        assert says in done.err


def test_a_warehouse_that_is_locked_or_broken_is_named(cli: Cli, box: sandbox.Sandbox, home: Path) -> None:
    home.mkdir()
    with duckdb.connect(str(home / "warehouse.duckdb")):
        done = cli(box, "plan", "--select", "campaigns")
    assert done.code == 1
    assert "is open in another program" in done.err
    (home / "warehouse.duckdb").write_text("no database" * 1000)
    done = cli(box, "plan", "--select", "campaigns")
    assert done.code == 1
    assert "cannot be opened as a DuckDB database" in done.err


def test_an_empty_warehouse_is_planned_as_none(cli: Cli, box: sandbox.Sandbox, home: Path) -> None:
    home.mkdir()
    duckdb.connect(str(home / "warehouse.duckdb")).close()
    done = cli(box, "plan", "--select", "campaigns,campaign_metrics")
    assert done.code == 0, done.text
    assert [row[0] for row in cells(done.out).values()] == ["16", "1", "17"]
