"""Partitions: which there are, and which spans of metrics are read for some of them."""

from __future__ import annotations

from datetime import UTC, date, datetime

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cio_assets.assets.extract_series import Span
from cio_assets.assets.partitions import by_month_and_period, by_period, daily, monthly, partitions_of, spans
from cio_assets.catalog import TABLES, Refresh
from cio_assets.catalog.metrics import PERIODS

START = date(2025, 10, 17)


def _span(period: str, first: str, end: str) -> Span:
    return Span(
        period, datetime.fromisoformat(first).replace(tzinfo=UTC), datetime.fromisoformat(end).replace(tzinfo=UTC)
    )


def _now(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "last"),
    [("2026-01-01T00:00:00", "2026-01-01"), ("2026-01-01T23:59:59", "2026-01-01"), ("2028-02-29T12:00", "2028-02-29")],
)
def test_today_is_a_day_to_read(now: str, last: str) -> None:
    keys = daily(START).get_partition_keys(current_time=_now(now))

    assert keys[0] == "2025-10-17"
    assert keys[-1] == last
    assert len(keys) == (date.fromisoformat(last) - START).days + 1


def test_a_start_of_today_is_one_partition() -> None:
    assert daily(date(2026, 1, 1)).get_partition_keys(current_time=_now("2026-01-01T00:00:01")) == ["2026-01-01"]


@pytest.mark.parametrize("now", ["2026-01-01T00:00:00", "2026-01-31T23:59:59"])
def test_the_running_month_is_a_month_to_read(now: str) -> None:
    keys = monthly(START).get_partition_keys(current_time=_now(now))

    assert keys == ["2025-10-01", "2025-11-01", "2025-12-01", "2026-01-01"]


def test_months_and_periods_make_a_grid() -> None:
    grid = by_month_and_period(START).get_partition_keys(current_time=_now("2025-11-05"))

    assert sorted(map(str, grid)) == sorted(
        f"{month}|{period}" for month in ("2025-10-01", "2025-11-01") for period in PERIODS
    )
    assert by_period().get_partition_keys() == ["hours", "days", "weeks", "months"]


def test_a_day_is_a_day_of_utc() -> None:
    window = daily(START).time_window_for_partition_key("2026-03-08")

    assert (window.start, window.end) == (_now("2026-03-08"), _now("2026-03-09"))


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_which_tables_are_partitioned(table) -> None:
    found = partitions_of(table, START)

    if table.name == "messages":
        assert isinstance(found, dg.DailyPartitionsDefinition)
    elif table.name in ("campaign_metrics", "campaign_action_metrics"):
        assert isinstance(found, dg.MultiPartitionsDefinition)
    elif table.refresh is Refresh.SERIES:
        assert isinstance(found, dg.StaticPartitionsDefinition)
    else:
        assert found is None


SPANS = [
    ([], []),
    (["2026-01-01|days"], [_span("days", "2026-01-01", "2026-02-01")]),
    (
        ["2026-01-01|days", "2026-02-01|days", "2026-03-01|days"],
        [_span("days", "2026-01-01", "2026-04-01")],
    ),
    (
        ["2026-03-01|days", "2026-01-01|days", "2026-02-01|days"],  # in any order
        [_span("days", "2026-01-01", "2026-04-01")],
    ),
    (
        ["2025-11-01|days", "2025-12-01|days", "2026-02-01|days", "2026-04-01|days", "2026-05-01|days"],
        [
            _span("days", "2025-11-01", "2026-01-01"),
            _span("days", "2026-02-01", "2026-03-01"),
            _span("days", "2026-04-01", "2026-06-01"),
        ],
    ),
    (
        ["2026-01-01|months", "2026-01-01|hours", "2026-02-01|hours", "2026-03-01|months"],
        [
            _span("hours", "2026-01-01", "2026-03-01"),
            _span("months", "2026-01-01", "2026-02-01"),
            _span("months", "2026-03-01", "2026-04-01"),
        ],
    ),
    (["2025-12-01|weeks", "2026-01-01|weeks"], [_span("weeks", "2025-12-01", "2026-02-01")]),
]


@pytest.mark.parametrize(("keys", "expected"), SPANS)
def test_an_unbroken_run_of_months_is_one_span(keys: list[str], expected: list[Span]) -> None:
    assert spans(keys, START) == expected


def test_a_start_in_the_middle_of_a_month_reads_its_whole_month() -> None:
    assert spans(["2025-10-01|days"], START) == [_span("days", "2025-10-01", "2025-11-01")]


MONTHS = [f"{year}-{month:02}-01" for year in (2024, 2025, 2026) for month in range(1, 13)]
KEYS = st.sets(st.tuples(st.sampled_from(MONTHS), st.sampled_from(PERIODS)), max_size=30)


@given(KEYS)
def test_spans_cover_the_asked_months_and_no_other(keys: set[tuple[str, str]]) -> None:
    found = spans([f"{month}|{period}" for month, period in keys], date(2024, 1, 1))

    covered = [(month, span.period) for span in found for month in MONTHS if span.start <= _now(month) < span.end]
    assert sorted(covered) == sorted(keys)  # each once
    for span in found:  # as few as possible: no span ends where the next of its period begins
        assert not [other for other in found if other.period == span.period and other.start == span.end]
