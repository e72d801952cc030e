"""Which deliveries a request gets that names no window, half a window or too wide a one."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from cio_assets.sandbox import Sandbox
from cio_assets_tests import forked

from .client import NOW, Client

DAY = 86400
WIDE = {"days": 700, "people": 50, "deliveries": 3000}


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


HALF_YEAR, YEAR = at("2026-05-09T12:00"), at("2025-11-09T12:00")  # 6 and 12 months before NOW


@pytest.fixture(scope="module")
def wide() -> Iterator[tuple[Sandbox, Client]]:
    with forked.launch(**WIDE, now=NOW, freeze=True, app_rps=0) as running:
        client = Client(running.url)
        yield running, client
        client.session.close()


def span(rows: list[dict]) -> tuple[int, int]:
    return min(row["created"] for row in rows), max(row["created"] for row in rows)


def expected(rows: list[dict], start: int, end: int) -> list[str]:
    return sorted(row["id"] for row in rows if start <= row["created"] <= end)


@pytest.mark.parametrize(
    ("params", "start", "end"),
    [
        ({}, HALF_YEAR, NOW),
        ({"start_ts": 1}, HALF_YEAR, NOW),
        ({"start_ts": NOW - 9 * DAY}, NOW - 9 * DAY, NOW),
        ({"end_ts": at("2026-08-31T00:00")}, at("2026-02-28T00:00"), at("2026-08-31T00:00")),
        ({"start_ts": 1, "end_ts": at("2026-03-15T00:00")}, at("2025-09-15T00:00"), at("2026-03-15T00:00")),
    ],
)
def test_workspace_list(wide: tuple[Sandbox, Client], params: dict, start: int, end: int) -> None:
    sandbox, api = wide
    rows = api.walk("messages", "messages", limit=1000, **params)
    assert sorted(row["id"] for row in rows) == expected(sandbox.truth("messages"), start, end)


def test_both_ends_are_inclusive(wide: tuple[Sandbox, Client]) -> None:
    sandbox, api = wide
    second = sandbox.truth("messages", start=NOW - 30 * DAY)[7]["created"]
    rows = api.walk("messages", "messages", start_ts=second, end_ts=second)
    assert {row["created"] for row in rows} == {second}


@pytest.mark.parametrize(
    ("params", "start", "end"),
    [
        ({}, HALF_YEAR, NOW),
        ({"start_ts": 1, "end_ts": NOW}, YEAR, NOW),
        ({"start_ts": 1}, YEAR, NOW),
        ({"end_ts": NOW - 400 * DAY, "start_ts": NOW - 500 * DAY}, NOW - 500 * DAY, NOW - 400 * DAY),
    ],
)
def test_campaign_list(wide: tuple[Sandbox, Client], params: dict, start: int, end: int) -> None:
    sandbox, api = wide
    for campaign in (1, 2):
        rows = api.walk(f"campaigns/{campaign}/messages", "messages", limit=1000, **params)
        truth = [row for row in sandbox.truth("messages") if row["campaign_id"] == campaign]
        assert sorted(row["id"] for row in rows) == expected(truth, start, end)


def test_broadcasts_and_newsletters_begin_with_the_oldest(wide: tuple[Sandbox, Client]) -> None:
    sandbox, api = wide
    everything = sandbox.truth("messages")
    drafts = sandbox.truth("messages", drafts="true")
    for kind, months in (("broadcast", 1), ("newsletter", 6)):
        seen = 0
        for parent in sandbox.truth(f"{kind}s"):
            key = f"{kind}_id"
            mine = [row for row in everything if row[key] == parent["id"]]
            if not mine:
                continue
            first = min(row["created"] for row in mine + drafts if row[key] == parent["id"])
            rows = api.walk(f"{kind}s/{parent['id']}/messages", "messages", limit=1000)
            later = datetime.fromtimestamp(first, UTC)
            place = later.year * 12 + later.month - 1 + months
            last_day = later.replace(day=1, year=place // 12, month=place % 12 + 1)
            end = int(last_day.timestamp()) + (later.day - 1) * DAY
            near = [row["id"] for row in mine if row["created"] <= end - 4 * DAY]
            assert set(near) <= {row["id"] for row in rows} <= set(expected(mine, first, end + 4 * DAY))
            seen += bool(rows)
        assert seen


def test_a_walk_keeps_its_window_while_the_clock_runs(start: Callable) -> None:
    sandbox, api = start()
    pages = api.pages("messages", limit=100)
    first = next(pages)
    sandbox.clock(advance_seconds=3 * DAY)
    rows = (first["messages"] or []) + [row for page in pages for row in page["messages"] or ()]
    assert len({row["id"] for row in rows}) == len(rows)
    assert sorted(row["id"] for row in rows) == expected(sandbox.truth("messages"), HALF_YEAR, NOW)
    assert sandbox.truth("messages")[0]["created"] < HALF_YEAR
