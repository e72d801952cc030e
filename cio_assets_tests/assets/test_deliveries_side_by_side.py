"""When a window of deliveries is cut: by what a stand-in for the service is asked, and by what pages promise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from cio_assets.assets import extract_window
from cio_assets.catalog import TABLES
from cio_assets.catalog.windows import Window
from cio_assets.customerio import AppClient, Call, Page
from cio_assets.warehouse import Staging

DAY = 86_400
DAYS = 150
PAGE = 1000
START = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())


class Service:
    """As much of a client as reading deliveries needs; `asked` counts the requests by the window's last second."""

    workers = 4

    def __init__(self, created: list[int], *, budget_used_up: bool = False) -> None:
        self.created = sorted(created, reverse=True)
        self.budget_used_up = budget_used_up
        self.asked: Counter[int] = Counter()

    def pages(self, call: Call, _paging: Any, _items: Any, resume: Mapping[str, Any] | None) -> Iterator[Page]:
        first, last = int(call.query["start_ts"]), int(call.query["end_ts"])
        self.asked[last] += 1
        begin = int(resume["start"]) if resume else 0
        within = [(place, at) for place, at in enumerate(self.created) if first <= at <= last]
        items = [{"id": f"d{place}", "created": at} for place, at in within[begin : begin + PAGE]]
        more = {"start": str(begin + PAGE)} if begin + PAGE < len(within) else None
        yield Page(items, {}, more, None)


def read(service: Service, folder: Path) -> int:
    """Read all deliveries; the number of chains that it took."""
    end = datetime.fromtimestamp(START + DAYS * DAY, UTC)
    with Staging(folder, "messages") as staging:
        done = extract_window.extract_window(
            TABLES["messages"], cast(AppClient, service), staging, datetime.fromtimestamp(START, UTC), end
        )
        assert staging.row_count == len(service.created)
    return done.units


def evenly(count: int, first_day: float, days: float) -> list[int]:
    return [int(START + (first_day + days * n / count) * DAY) for n in range(count)]


def test_a_window_is_cut_while_the_budget_is_not_used_up(tmp_path: Path) -> None:
    idle, busy = (Service(evenly(60 * PAGE, 0, DAYS), budget_used_up=busy) for busy in (False, True))

    assert read(busy, tmp_path) == 1
    # At most two cuts at the start, and one for 32 pages.
    assert 2 <= read(idle, tmp_path) <= 4
    assert sum(idle.asked.values()) <= sum(busy.asked.values()) + 3


def test_a_newsletter_s_burst_does_not_promise_more_pages() -> None:
    chain = extract_window._Chain(Window(START, START + DAYS * DAY - 1), START)
    created = sorted(evenly(60 * PAGE, DAYS / 2, DAYS / 2) + evenly(4 * PAGE, DAYS / 2, 0.003), reverse=True)
    for first in range(0, len(created), PAGE):
        extract_window._observe(chain, created[first : first + PAGE])

    assert chain.pages_left(PAGE) == pytest.approx(64, abs=1)  # in the other half as many as in this one
