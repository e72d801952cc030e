"""Checks as users meet them, in events and in what a sync answers: of right tables, and of those that others broke."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cio_assets import sandbox
from cio_assets.automation import checks
from cio_assets.automation.checks import DELIVERIES, JOB, MEMBERS, differs, due_segments
from cio_assets.build import build_definitions
from cio_assets.settings import Settings
from cio_assets.sync import TableResult, sync
from cio_assets_tests.conftest import Finished
from cio_assets_tests.in_process import QUIET, settings_of

START = (datetime.now(UTC) - timedelta(days=20)).date()


class Workspace:
    """A home that syncs from a sandbox, with all events of its runs."""

    def __init__(self, box: sandbox.Sandbox, home: Path, instance: dg.DagsterInstance) -> None:
        self.box, self.home, self.instance = box, home, instance
        self.settings: Settings = settings_of(home, box, START)

    def sync(self, *tables: str) -> dict[str, TableResult]:
        """Sync these tables, whatever the sync before has left unfinished."""
        (self.home / "unfinished-sync.json").unlink(missing_ok=True)
        return {result.table: result for result in sync(self.settings, tables, instance=self.instance, full=True)}

    def sql(self, *statements: str) -> list[tuple]:
        """What another program does to the warehouse."""
        with duckdb.connect(str(self.home / "warehouse.duckdb")) as con:
            con.execute("USE customerio")
            return [con.execute(statement).fetchall() for statement in statements][-1]

    def check(self, *keys: dg.AssetCheckKey) -> dict[str, dg.AssetCheckEvaluation]:
        """Run the job `check_tables`, or some checks of it."""
        job = build_definitions(self.settings).resolve_job_def(JOB)
        wanted = job.get_subset(asset_check_selection=set(keys)) if keys else job
        return evaluations(wanted.execute_in_process(run_config=QUIET, instance=self.instance))

    def events(self) -> list[dg.EventLogEntry]:
        """Every event of every run."""
        return [
            entry
            for run in self.instance.get_runs()
            for entry in self.instance.all_logs(run.run_id)
            if entry.dagster_event
        ]


def evaluations(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {f"{found.asset_key.path[-1]}.{found.check_name}": found for found in result.get_asset_check_evaluations()}


@pytest.fixture
def workspace(box: sandbox.Sandbox, home: Path, tmp_path: Path) -> Iterator[Workspace]:
    """An empty home, with an instance on disk: a sync runs jobs side by side."""
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield Workspace(box, home, instance)


def of_table(workspace: Workspace, table: str) -> dict[str, dg.AssetCheckEvaluation]:
    """The last evaluation of each of a table's checks."""
    found = {}
    for entry in sorted(workspace.events(), key=lambda entry: entry.timestamp):
        event = entry.get_dagster_event()
        if event.event_type_value == "ASSET_CHECK_EVALUATION":
            evaluation = event.asset_check_evaluation_data
            if evaluation.asset_key.path[-1] == table:
                found[evaluation.check_name] = evaluation
    return found


def test_right_tables_pass_and_their_materializations_stay_as_they_were(workspace: Workspace) -> None:
    results = workspace.sync("segments", "segment_membership", "activities", "customer_activities")

    assert {result.failure for result in results.values()} == {None}
    assert {result.checks for result in results.values()} == {()}
    assert {name: found.passed for name, found in of_table(workspace, "segment_membership").items()} == {
        "key": True,
        "parents": True,
        "unknown_fields": True,
        "shrunk": True,
    }
    assert set(of_table(workspace, "activities")) == {"key", "unknown_fields"}
    assert of_table(workspace, "customer_activities") == {}
    event = workspace.instance.get_latest_materialization_event(dg.AssetKey(["customerio", "segments"]))
    assert event
    assert event.asset_materialization
    assert {"dagster/row_count", "requests", "requests_spared", "rows_marked_deleted", "rows_in_slice"} <= set(
        event.asset_materialization.metadata
    )


def test_a_key_that_others_broke_stops_what_depends_on_the_table(workspace: Workspace) -> None:
    assert workspace.sync("segments", "segment_usage")["segment_usage"].failure is None
    requests = workspace.box.stats()["requests"]
    workspace.sql("INSERT INTO segments BY NAME SELECT * REPLACE (NULL AS id) FROM segments LIMIT 1")

    results = workspace.sync("segments", "segment_usage")

    assert results["segments"].failure
    assert "customerio.segments has 1 row without a key (id)" in results["segments"].failure
    assert "Delete them" in results["segments"].failure
    assert results["segment_usage"].failure == "not read, because a table it depends on failed"
    assert workspace.box.stats()["requests"] == requests + 1, "the segments were read, and nothing else"
    assert of_table(workspace, "segments")["key"].passed is False
    # The rows that came are there.
    event = workspace.instance.get_latest_materialization_event(dg.AssetKey(["customerio", "segments"]))
    assert event
    assert event.run_id == workspace.instance.get_runs(limit=1)[0].run_id

    workspace.sql("DELETE FROM segments WHERE id IS NULL")
    assert workspace.sync("segments", "segment_usage")["segment_usage"].failure is None


def test_a_key_of_two_rows_is_found_in_a_range_of_partitions(workspace: Workspace) -> None:
    assert workspace.sync("messages", "campaign_messages")["messages"].failure is None
    workspace.sql(
        "INSERT INTO messages BY NAME SELECT * REPLACE (created - INTERVAL 90 DAY AS created, "
        "now() + INTERVAL 1 DAY AS _synced_at) FROM messages LIMIT 3",
        "INSERT INTO messages BY NAME SELECT * REPLACE ('one of them' AS id, created - INTERVAL 90 DAY AS created) "
        "FROM messages LIMIT 1",
        "INSERT INTO messages BY NAME SELECT * FROM messages WHERE id = 'one of them'",
    )

    results = workspace.sync("messages", "campaign_messages")

    assert results["messages"].failure
    assert "customerio.messages has 1 row of a key (id) that another row has" in results["messages"].failure
    assert results["campaign_messages"].failure
    workspace.sql("DELETE FROM messages WHERE id = 'one of them'")
    assert workspace.sync("messages", "campaign_messages")["campaign_messages"].failure is None


def test_rows_without_a_parent_are_told_and_stop_nothing(workspace: Workspace) -> None:
    workspace.sync("customers", "objects", "object_types", "customer_relationships")
    ((person,),) = workspace.sql("SELECT cio_id FROM customer_relationships LIMIT 1")
    workspace.sql(f"UPDATE customers SET _deleted_at = now() WHERE cio_id = '{person}'")

    result = workspace.sync("customer_relationships")["customer_relationships"]
    ((orphans,),) = workspace.sql(f"SELECT count(*) FROM customer_relationships WHERE cio_id = '{person}'")

    assert result.failure is None
    (said,) = result.checks
    assert " without a row in customers: " in said
    assert int(said.partition(" ")[0]) == orphans > 0
    assert person not in said
    assert of_table(workspace, "customer_relationships")["parents"].severity == dg.AssetCheckSeverity.WARN


def test_unknown_fields_are_named_and_their_values_are_not(workspace: Workspace) -> None:
    workspace.box.mutate("add_unknown_field", table="segments", field="brand_new", value="ann@example.com")
    workspace.box.mutate("add_unknown_field", table="segments", field="bob@example.com", value=1)

    result = workspace.sync("segments")["segments"]

    assert result.failure is None
    (said,) = result.checks
    assert "brand_new, others" in said
    assert "(6 rows of this load)" in said
    for entry in workspace.events():
        assert "example.com" not in dg.serialize_value(entry), "neither the value nor a name that may be one"


def test_a_list_that_shrank_says_so_loudly_and_blocks_nothing(
    workspace: Workspace, cli: Callable[..., Finished]
) -> None:
    workspace.sync("customers", "segments")
    workspace.box.mutate("delete_people", count=80)
    assert workspace.sync("customers")["customers"].checks == (), "less than half"
    workspace.box.mutate("delete_people", count=70)

    result = workspace.sync("customers", "customer_attributes")

    assert result["customer_attributes"].failure is None
    (said,) = result["customers"].checks
    assert "SHRANK from 120 to 50 rows" in said
    assert "CUSTOMERIO_APP_API_KEY" in said
    found = of_table(workspace, "customers")["shrunk"]
    assert (found.passed, found.severity, found.blocking) == (False, dg.AssetCheckSeverity.ERROR, False)

    workspace.box.mutate("delete_people", count=40)
    done = cli(workspace.box, "sync", "--select", "customers")
    assert done.code == 0, done.text
    assert "CHECK customers: it SHRANK from 50 to 10 rows." in done.out


def test_a_list_of_a_handful_may_shrink(workspace: Workspace) -> None:
    workspace.sync("segments")
    for _ in range(5):
        workspace.box.mutate("delete_segment")
    assert workspace.sync("segments")["segments"].checks == ()


def test_a_list_of_a_handful_does_not_become_empty_in_silence(workspace: Workspace) -> None:
    workspace.sync("newsletters")
    left = len(workspace.box.truth("newsletters"))
    assert 0 < left <= 10
    for _ in range(left):
        workspace.box.mutate("delete_newsletter")
    (said,) = workspace.sync("newsletters")["newsletters"].checks
    assert f"it SHRANK from {left} to 0 rows" in said


def test_members_are_compared_with_the_service_s_own_count(workspace: Workspace) -> None:
    workspace.sync("segments", "segment_membership", "messages", "campaigns", "campaign_metrics")
    requests = workspace.box.stats()["requests"]
    assert {name: found.passed for name, found in workspace.check().items()} == {
        "segment_membership.members": True,
        "campaign_metrics.deliveries": True,
    }
    built = [segment["id"] for segment in workspace.box.truth("segments") if segment["state"] == "finished"]
    assert len(built) == 5
    assert workspace.box.stats()["requests"] - requests == 5, "one for each segment that is built, none for deliveries"

    segment, members = workspace.sql(
        "SELECT segment_id, count(*) FROM segment_membership GROUP BY ALL ORDER BY 2 DESC LIMIT 1"
    )[0]
    workspace.sql(f"DELETE FROM segment_membership WHERE segment_id = {segment}")
    found = workspace.check(MEMBERS)["segment_membership.members"]

    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert f"{segment} (0 stored, {members} counted)" in (found.description or "")
    assert found.metadata["segments_that_differ"].value == 1


def test_a_segment_that_is_gone_has_no_count_to_compare(workspace: Workspace) -> None:
    workspace.sync("segments", "segment_membership")
    workspace.box.mutate("delete_segment")
    found = workspace.check(MEMBERS)["segment_membership.members"]
    assert found.passed
    assert found.metadata["segments_compared"].value == 4


def test_without_tables_there_is_nothing_to_compare(workspace: Workspace) -> None:
    assert all(found.passed for found in workspace.check().values())
    assert workspace.box.stats()["requests"] == 0


def test_deliveries_are_compared_with_metrics_in_the_sync_itself(workspace: Workspace) -> None:
    tables = ("messages", "campaigns", "campaign_metrics")
    assert workspace.sync(*tables)["campaign_metrics"].checks == ()
    compared = of_table(workspace, "campaign_metrics")["deliveries"].metadata
    sending = {row["campaign_id"] for row in workspace.box.truth("campaign_messages")}
    assert compared["campaigns_compared"].value == len(sending) > 1
    assert compared["campaigns_that_differ"].value == 0

    # A day that neither is over nor was read whole says nothing; one that was lacks a delivery.
    workspace.sql("DELETE FROM messages WHERE created >= current_date AND campaign_id IS NOT NULL")
    assert workspace.check(DELIVERIES)["campaign_metrics.deliveries"].passed
    (campaign, lost), *_ = workspace.sql(
        "SELECT campaign_id, id FROM messages WHERE campaign_id IS NOT NULL AND created < current_date - 2 "
        "AND json_extract(metrics, '$.drafted') IS NULL ORDER BY created LIMIT 1"
    )
    workspace.sql(
        f"UPDATE campaign_metrics SET drafted = 0 WHERE campaign_id = {campaign}",  # else it might be one of them
        f"DELETE FROM messages WHERE id = '{lost}'",
    )
    found = workspace.check(DELIVERIES)["campaign_metrics.deliveries"]
    assert not found.passed
    assert f"of 1 of {len(sending)} campaigns" in (found.description or "")
    assert lost not in (found.description or "")


def test_what_the_service_counts_besides_drafts_must_be_listed(workspace: Workspace) -> None:
    workspace.sync("messages", "campaigns", "campaign_metrics")
    assert workspace.sql("SELECT sum(drafted) FROM campaign_metrics WHERE period = 'days'") > [(0,)], "there are drafts"
    workspace.sql("UPDATE campaign_metrics SET created = created + 1000 WHERE period = 'days' AND campaign_id = 2")

    found = workspace.check(DELIVERIES)["campaign_metrics.deliveries"]

    assert found.metadata["campaigns_that_differ"].value == 1


def test_the_check_that_costs_requests_is_in_no_sync(workspace: Workspace) -> None:
    definitions = build_definitions(workspace.settings)
    jobs = [job for job in definitions.get_repository_def().get_all_jobs() if not job.name.startswith("__")]
    with_requests = [job.name for job in jobs if checks.step_of(MEMBERS) in job.graph.node_dict]
    assert with_requests == [JOB]

    # A selection of assets brings their checks, unless they are named.
    schedule = definitions.resolve_schedule_def("snapshots_daily")
    context = dg.build_schedule_context(workspace.instance, scheduled_execution_time=datetime.now(UTC))
    requests = schedule.evaluate_tick(context).run_requests
    assert requests
    request = requests[0]
    assert request.asset_selection
    assert request.asset_check_keys
    job = definitions.resolve_job_def(schedule.job_name).get_subset(
        asset_selection=set(request.asset_selection), asset_check_selection=set(request.asset_check_keys)
    )
    assert MEMBERS.asset_key.to_python_identifier() in job.graph.node_dict
    assert checks.step_of(MEMBERS) not in job.graph.node_dict


@given(st.lists(st.integers(), unique=True, max_size=45), st.dates(date(2020, 1, 1), date(2040, 1, 1)))
def test_every_segment_has_its_turn(segments: Sequence[int], day: date) -> None:
    turns = [due_segments(segments, day + timedelta(days=step)) for step in range(len(segments))]
    assert {segment for turn in turns for segment in turn} == set(segments)
    assert all(len(turn) == len(set(turn)) == min(10, len(segments)) for turn in turns)


@pytest.mark.parametrize(
    ("stored", "told", "wrong"),
    [(0, 0, False), (0, 10, False), (0, 11, True), (1000, 1050, False), (1000, 1060, True), (1060, 1000, True)],
)
def test_people_move_between_two_readings(stored: int, told: int, *, wrong: bool) -> None:
    assert differs(stored, told) == wrong
