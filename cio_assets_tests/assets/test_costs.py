"""The arithmetic of requests: pages, parents, batches, and what is known how well."""

from __future__ import annotations

import pytest

from cio_assets.assets.costs import (
    NOTHING,
    UNKNOWN,
    Estimate,
    Sure,
    from_a_page,
    minutes,
    more_pages,
    newest_first,
    of_parents,
    pages,
    total,
)
from cio_assets.catalog import TABLES, Endpoint

ABOUT, AT_LEAST = Sure.ABOUT, Sure.AT_LEAST


def endpoint(table: str) -> Endpoint:
    found = TABLES[table].endpoint
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("table", "rows", "requests"),
    [
        ("campaigns", 5000, 1),
        ("customers", 0, 1),
        ("customers", 1000, 1),
        ("customers", 1001, 2),
        ("esp_suppressions", 999, 1),
        ("esp_suppressions", 1000, 2),
        ("sender_identities", 0, 1),
        ("sender_identities", 100, 2),
        ("sender_identities", 101, 3),
        ("campaign_actions", 11, 2),
    ],
)
def test_pages_of_a_list(table: str, rows: int, requests: int) -> None:
    assert pages(TABLES[table], endpoint(table), Estimate(rows)).number == requests


def test_a_list_that_comes_whole_is_known_whatever_its_rows() -> None:
    assert pages(TABLES["campaigns"], endpoint("campaigns"), UNKNOWN) == Estimate(1)


def test_parents_and_batches() -> None:
    assert of_parents(endpoint("segment_usage"), Estimate(7), UNKNOWN) == Estimate(7)
    assert of_parents(endpoint("campaign_actions"), Estimate(7), Estimate(2, ABOUT)) == Estimate(9, ABOUT)
    assert of_parents(endpoint("customer_attributes"), Estimate(201, ABOUT), NOTHING, 100) == Estimate(3, ABOUT)
    assert of_parents(endpoint("campaign_actions"), NOTHING, UNKNOWN) == NOTHING


@pytest.mark.parametrize(("rows", "more"), [(0, 0), (1, 0), (10, 0), (11, 1), (20, 1), (21, 2)])
def test_pages_beyond_the_first(rows: int, more: int) -> None:
    assert more_pages(rows, 10) == more


def test_activities_take_a_page_to_end_and_one_to_prove_that_they_repeat() -> None:
    assert newest_first(endpoint("activities"), Estimate(250)).number == 5
    assert newest_first(endpoint("activities"), NOTHING).number == 2


def test_rows_are_estimated_from_the_times_of_a_page() -> None:
    assert from_a_page([1000, 990, 980], 0, 1000, ended=True) == Estimate(3, ABOUT)
    assert from_a_page([1000, 990, 980], 0, 1000, ended=False) == Estimate(150, ABOUT)
    assert from_a_page([], 0, 1000, ended=False) == UNKNOWN
    assert from_a_page([1000, 1000], 1000, 1000, ended=False).number == 2


def test_what_is_dated_ahead_does_not_make_a_list_seem_sparse() -> None:
    assert from_a_page([9000, 1000, 990, 980], 0, 1000, ended=False) == Estimate(150, ABOUT)


def test_a_sum_is_known_no_better_than_its_parts() -> None:
    assert str(total([Estimate(1), Estimate(2)])) == "3"
    assert str(total([Estimate(1000), Estimate(234, ABOUT)])) == "~1,234"
    assert str(total([Estimate(1), Estimate(2, ABOUT), UNKNOWN])) == "at least 3"
    assert str(UNKNOWN) == "?"


def test_minutes_follow_the_limiter_s_spacing() -> None:
    assert minutes(600, 10) == pytest.approx(1.03)
    assert minutes(600, 0) == 0
    assert minutes(600, 100_000) == 0
