"""How a span of deliveries is cut: every second once, no window wider than the API answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cio_assets.catalog.windows import WIDEST, Window, windows

MOMENTS = st.datetimes(datetime(2012, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=0)
)


def test_a_day_is_one_window_and_its_last_second_belongs_to_it() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)

    (window,) = windows(start, start + timedelta(days=1))

    assert window.query == {"start_ts": 1767225600, "end_ts": 1767225600 + 86_399}


@pytest.mark.parametrize(("days", "count"), [(1, 1), (180, 1), (181, 2), (360, 2), (361, 3), (3650, 21)])
def test_as_few_windows_as_the_api_allows(days: int, count: int) -> None:
    start = datetime(2020, 1, 1, tzinfo=UTC)

    assert len(windows(start, start + timedelta(days=days))) == count


@pytest.mark.parametrize("seconds", [0, -1, -86_400])
def test_an_empty_span_asks_nothing(seconds: int) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)

    assert windows(start, start + timedelta(seconds=seconds)) == []


def test_a_window_needs_a_second() -> None:
    with pytest.raises(ValueError, match="second"):
        Window(5, 4)


@given(MOMENTS, st.integers(1, 20 * 365 * 86_400))
def test_every_second_is_asked_exactly_once(start: datetime, seconds: int) -> None:
    found = windows(start, start + timedelta(seconds=seconds))

    first = int(start.timestamp())
    expected = first
    for window in found:
        assert window.first == expected  # no gap, and no second asked twice: both ends are included
        assert window.last - window.first + 1 <= WIDEST
        expected = window.last + 1
    assert expected == first + seconds
    assert len(found) == -(-seconds // WIDEST)
    widths = {window.last - window.first for window in found}
    assert max(widths) - min(widths) <= 1  # equal shares, to be read side by side
