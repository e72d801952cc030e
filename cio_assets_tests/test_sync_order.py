"""The order in which a sync reads and loads its tables."""

from __future__ import annotations

from itertools import combinations

import pytest

from cio_assets.automation.jobs import ACTIVITIES, DELIVERIES, METRICS, RECENT_METRICS, SNAPSHOTS, job_of
from cio_assets.catalog import TABLES
from cio_assets.sync import in_order, reading_order, runs_of, with_parents


def test_the_runs_of_a_whole_sync() -> None:
    runs = runs_of(in_order(TABLES))
    assert [job for job, _ in runs] == [SNAPSHOTS, DELIVERIES, SNAPSHOTS, METRICS, ACTIVITIES, RECENT_METRICS]
    (_, lists), _, (_, children), *_ = runs
    assert all(not TABLES[name].parents for name in lists)
    assert all(TABLES[name].parents for name in children)


def test_without_deliveries_the_lists_and_their_children_are_one_run() -> None:
    runs = runs_of(in_order(["campaign_actions", "campaigns", "segments"]))
    assert runs == [(SNAPSHOTS, ["campaigns", "segments", "campaign_actions"])]


@pytest.mark.parametrize("tables", [*combinations(sorted(TABLES), 1), *combinations(sorted(TABLES), 2), tuple(TABLES)])
def test_each_table_is_in_one_run_of_its_job_behind_its_parents(tables: tuple[str, ...]) -> None:
    runs = runs_of(in_order(tables))
    loaded = [name for _, chosen in runs for name in chosen]
    assert sorted(loaded) == sorted(tables)
    assert sorted(reading_order(in_order(tables))) == sorted(tables)
    for job, chosen in runs:
        assert {job_of(TABLES[name]) for name in chosen} == {SNAPSHOTS if job == ACTIVITIES else job}
    place = {name: number for number, name in enumerate(loaded)}
    for name in tables:
        for parent in TABLES[name].parents:
            assert place.get(parent.table, -1) < place[name]


def test_a_short_list_is_read_first_and_then_the_long_chain() -> None:
    first, second, *_ = reading_order(in_order(TABLES))
    assert first != "activities"
    assert not TABLES[first].parents
    assert second == "activities"
    assert reading_order(in_order(["customers", "customer_attributes", "snippets"]))[0] == "snippets"


def test_children_of_what_failed_are_left_out_with_theirs() -> None:
    tables = in_order(["objects", "customer_relationships", "segment_usage"])
    assert with_parents(SNAPSHOTS, tables, {"object_types"}) == ["segment_usage"]
    assert with_parents(METRICS, ["campaign_metrics"], {"campaigns"}) == ["campaign_metrics"]
