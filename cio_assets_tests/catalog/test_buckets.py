"""When a metrics bucket starts, above all where clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cio_assets.catalog.buckets import (
    EASTERN,
    V1_STEPS,
    ceil,
    floor,
    parse_echo,
    shift,
    shift_from,
    version_1_starts,
    version_2_starts,
)
from cio_assets.catalog.metrics import PERIODS

INSTANTS = st.datetimes(
    datetime(2012, 1, 1),
    datetime(2037, 12, 31),
    timezones=st.just(UTC),  # zone rules are known until 2037
)
periods = st.sampled_from(PERIODS)


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# (period, now in UTC, the last three starts in UTC)
V1_TABLE = [
    # Summer time begins on 2026-03-08 at 07:00 UTC: an hour has always 3600 seconds, that day has 23 of them.
    ("hours", "2026-03-08T07:30", ["2026-03-08T05:00", "2026-03-08T06:00", "2026-03-08T07:00"]),
    ("days", "2026-03-09T12:00", ["2026-03-07T05:00", "2026-03-08T05:00", "2026-03-09T04:00"]),
    ("days", "2026-03-09T03:59", ["2026-03-06T05:00", "2026-03-07T05:00", "2026-03-08T05:00"]),
    ("weeks", "2026-03-15T04:00", ["2026-03-01T05:00", "2026-03-08T05:00", "2026-03-15T04:00"]),
    ("months", "2026-04-01T04:00", ["2026-02-01T05:00", "2026-03-01T05:00", "2026-04-01T04:00"]),
    # Winter time begins on 2026-11-01 at 06:00 UTC: that day has 25 hours, and 01:00 twice.
    ("hours", "2026-11-01T06:30", ["2026-11-01T04:00", "2026-11-01T05:00", "2026-11-01T06:00"]),
    ("days", "2026-11-02T05:00", ["2026-10-31T04:00", "2026-11-01T04:00", "2026-11-02T05:00"]),
    ("days", "2026-11-02T04:59", ["2026-10-30T04:00", "2026-10-31T04:00", "2026-11-01T04:00"]),
    ("weeks", "2026-11-08T05:00", ["2026-10-25T04:00", "2026-11-01T04:00", "2026-11-08T05:00"]),
    ("months", "2026-12-01T05:00", ["2026-10-01T04:00", "2026-11-01T04:00", "2026-12-01T05:00"]),
    # The day, week and month in the east begin hours after those of UTC; years end as months do.
    ("days", "2026-01-01T04:59", ["2025-12-29T05:00", "2025-12-30T05:00", "2025-12-31T05:00"]),
    ("weeks", "2026-01-04T04:59", ["2025-12-14T05:00", "2025-12-21T05:00", "2025-12-28T05:00"]),
    ("weeks", "2026-01-04T05:00", ["2025-12-21T05:00", "2025-12-28T05:00", "2026-01-04T05:00"]),
    ("months", "2026-01-01T04:59", ["2025-10-01T04:00", "2025-11-01T04:00", "2025-12-01T05:00"]),
    ("months", "2026-01-01T05:00", ["2025-11-01T04:00", "2025-12-01T05:00", "2026-01-01T05:00"]),
]


@pytest.mark.parametrize(("period", "now", "starts"), V1_TABLE)
def test_version_1_counts_back_in_us_eastern_time(period: str, now: str, starts: list[str]) -> None:
    assert version_1_starts(period, 3, _utc(now)) == [_utc(start) for start in starts]


def test_version_1_of_every_documented_length() -> None:
    now = _utc("2026-03-10T15:20")

    for period, steps in V1_STEPS.items():
        assert len(version_1_starts(period, steps, now)) == steps
        assert version_1_starts(period, 0, now) == []
    assert version_1_starts("months", 121, now)[0] == _utc("2016-03-01T05:00")


@given(periods, INSTANTS, st.integers(1, 121))
def test_version_1_starts_ascend_and_the_last_bucket_holds_now(period: str, now: datetime, count: int) -> None:
    starts = version_1_starts(period, count, now)

    assert len(starts) == count
    assert all(earlier < later for earlier, later in pairwise(starts))
    assert starts[-1] <= now < shift(period, starts[-1], 1, EASTERN)
    assert all(start.utcoffset() == timedelta(0) for start in starts)


@given(periods, INSTANTS, st.integers(1, 30))
def test_each_start_is_the_floor_of_itself_and_of_its_last_second(period: str, now: datetime, count: int) -> None:
    starts = version_1_starts(period, count, now)

    for start, end in pairwise([*starts, shift(period, starts[-1], 1, EASTERN)]):
        assert floor(period, start, EASTERN) == start
        assert floor(period, end - timedelta(seconds=1), EASTERN) == start


@given(periods, INSTANTS, st.integers(1, 24))
def test_an_hour_later_the_buckets_overlap_without_a_shift(period: str, now: datetime, count: int) -> None:
    # What is stored for a bucket must be found again under the same instant by the next sync.
    earlier = version_1_starts(period, count, now)
    later = version_1_starts(period, count + 1, now + timedelta(hours=1))

    assert set(earlier[1:]) <= set(later)


@given(periods, INSTANTS, st.integers(-200, 200), st.sampled_from([None, EASTERN]))
def test_a_shift_there_and_back_again(period: str, now: datetime, steps: int, zone: None) -> None:
    start = floor(period, now, zone)

    assert shift(period, shift(period, start, steps, zone), -steps, zone) == start


@pytest.mark.parametrize(
    ("period", "instant", "start"),
    [
        ("hours", "2026-02-28T23:59:59", "2026-02-28T23:00"),
        ("days", "2026-02-28T23:59:59", "2026-02-28T00:00"),
        ("weeks", "2026-02-28T23:59:59", "2026-02-22T00:00"),  # a Saturday belongs to the Sunday before
        ("weeks", "2026-03-01T00:00:00", "2026-03-01T00:00"),  # a Sunday begins its own week
        ("weeks", "2026-01-02T12:00:00", "2025-12-28T00:00"),
        ("months", "2028-02-29T12:00:00", "2028-02-01T00:00"),
    ],
)
def test_floor_in_utc(period: str, instant: str, start: str) -> None:
    assert floor(period, _utc(instant)) == _utc(start)


@pytest.mark.parametrize(
    ("period", "instant", "start"),
    [
        ("hours", "2026-02-01T00:00", "2026-02-01T00:00"),
        ("hours", "2026-02-01T00:01", "2026-02-01T01:00"),
        ("days", "2026-12-31T00:01", "2027-01-01T00:00"),
        ("weeks", "2026-02-01T00:00", "2026-02-01T00:00"),  # a Sunday
        ("weeks", "2026-03-02T00:00", "2026-03-08T00:00"),
        ("months", "2026-12-02T00:00", "2027-01-01T00:00"),
    ],
)
def test_ceil_in_utc(period: str, instant: str, start: str) -> None:
    assert ceil(period, _utc(instant)) == _utc(start)


@given(periods, INSTANTS)
def test_ceil_is_the_first_start_not_before(period: str, instant: datetime) -> None:
    start = ceil(period, instant)

    assert start >= instant
    assert floor(period, start) == start
    assert start == instant or floor(period, instant) == shift(period, start, -1)


@given(periods, INSTANTS, st.integers(0, 50))
def test_version_2_starts_are_those_of_utc(period: str, instant: datetime, count: int) -> None:
    first = floor(period, instant)

    starts = version_2_starts(period, count, first)

    assert starts == [shift(period, first, step) for step in range(count)]


@given(periods, INSTANTS.map(lambda instant: instant.replace(day=min(instant.day, 28))), st.integers(1, 50))
def test_version_2_starts_follow_what_the_answer_says(period: str, first: datetime, count: int) -> None:
    # The service may echo another start than was asked: its weekday and time of day are kept.
    starts = version_2_starts(period, count, first)

    assert starts[0] == first
    assert all(earlier < later for earlier, later in pairwise(starts))
    assert {start.time() for start in starts} == ({first.time()} if period != "hours" else {s.time() for s in starts})


@pytest.mark.parametrize("day", [29, 30, 31])
def test_a_month_may_be_told_to_start_on_its_last_day(day: int) -> None:
    starts = [shift_from("months", datetime(2026, 1, day, tzinfo=UTC), steps) for steps in range(4)]

    assert all(earlier < later for earlier, later in pairwise(starts))


@pytest.mark.parametrize(
    ("echo", "instant"),
    [
        ("2025-01-01 00:00:00 +0000 UTC", "2025-01-01T00:00"),
        ("2025-01-01 00:00:00 -0500 EST", "2025-01-01T05:00"),
        ("2025-07-01 00:00:00.123456 -0400 EDT", "2025-07-01T04:00"),
        ("2025-01-01T00:00:00Z", "2025-01-01T00:00"),
        ("2025-01-01T00:00:00+02:00", "2024-12-31T22:00"),
        ("2025-01-01 00:00:00", "2025-01-01T00:00"),
    ],
)
def test_the_start_in_an_answer_is_read(echo: str, instant: str) -> None:
    assert parse_echo(echo) == _utc(instant)


@pytest.mark.parametrize("echo", [None, 1735689600, "", "soon", {}, "2025-01-01", "2025-13-01 00:00:00 +0000 UTC"])
def test_an_answer_may_tell_no_start(echo: object) -> None:
    assert parse_echo(echo) is None
