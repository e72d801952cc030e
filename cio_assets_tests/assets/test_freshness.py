"""Freshness: every table has a limit that fits its schedule, and views have none."""

from __future__ import annotations

import warnings
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.freshness import TimeWindowFreshnessPolicy

from cio_assets.assets.freshness import freshness_of
from cio_assets.build import build_definitions
from cio_assets.catalog import TABLES, Refresh
from cio_assets.settings import load_settings


def windows(policy: dg.FreshnessPolicy | None) -> tuple[timedelta, timedelta]:
    assert isinstance(policy, TimeWindowFreshnessPolicy)
    assert policy.warn_window is not None
    return policy.warn_window.to_timedelta(), policy.fail_window.to_timedelta()


def limits(table: str) -> tuple[timedelta, timedelta]:
    return windows(freshness_of(TABLES[table]))


@pytest.mark.parametrize("table", ["campaigns", "customers", "exports", "messages"])
def test_what_is_read_daily_is_late_after_a_day_and_two_hours(table: str) -> None:
    assert limits(table) == (timedelta(hours=26), timedelta(hours=36))


@pytest.mark.parametrize("table", ["activities", "campaign_metrics", "newsletter_metrics"])
def test_what_is_read_hourly_is_late_after_two_missed_ticks(table: str) -> None:
    warn, fail = limits(table)
    assert warn == timedelta(hours=3)
    assert warn < fail < timedelta(hours=24)  # version 1 hours are lost after that


def test_views_are_as_fresh_as_the_table_below_them() -> None:
    for table in TABLES.values():
        assert (freshness_of(table) is None) == (table.refresh is Refresh.VIEW)


DAILY, HOURLY = timedelta(hours=26), timedelta(hours=3)


@pytest.mark.parametrize(
    ("schedules", "warned"),
    [
        (
            "on",
            {
                Refresh.SNAPSHOT: {DAILY},
                Refresh.WINDOW: {DAILY},
                Refresh.MERGE: {DAILY, HOURLY},  # exports, activities
                Refresh.SERIES: {HOURLY},
                Refresh.VIEW: {None},
            },
        ),
        ("off", {refresh: {None} for refresh in Refresh}),
    ],
)
def test_assets_have_a_limit_where_schedules_keep_them_fresh(
    tmp_path: Path, schedules: str, warned: dict[Refresh, set[timedelta | None]]
) -> None:
    settings = load_settings(dagster_home=tmp_path, schedules=schedules, _env_file=None)
    graph = build_definitions(settings).get_repository_def().asset_graph
    found: dict[Refresh, set[timedelta | None]] = {}
    for name, table in TABLES.items():
        policy = graph.get(dg.AssetKey(["customerio", name])).freshness_policy
        found.setdefault(table.refresh, set()).add(policy and windows(policy)[0])
    assert found == warned


def test_an_asset_takes_it_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dg.asset(name="rows", freshness_policy=freshness_of(TABLES["campaigns"]))(lambda: None)
