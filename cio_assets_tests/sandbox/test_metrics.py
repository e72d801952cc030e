"""Series agree with what the deliveries themselves say, in the buckets of the documentation."""

import itertools
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from cio_assets.sandbox import Sandbox

from .client import NOW, Client

DAY = 86400
EASTERN = ZoneInfo("America/New_York")


def counts(rows: list[dict], edges: list[int]) -> dict[str, list[int]]:
    """Count metric timestamps per bucket, from the rows of /v1/messages."""
    out: dict[str, list[int]] = defaultdict(lambda: [0] * (len(edges) - 1))
    for row in rows:
        for name, when in row["metrics"].items():
            bucket = bisect_right(edges, when) - 1
            if 0 <= bucket < len(edges) - 1:
                out[name][bucket] += 1
    return dict(out)


def check(series: dict[str, list[int]], rows: list[dict], edges: list[int]) -> None:
    wanted = counts(rows, edges)
    assert {name: values for name, values in series.items() if any(values)} == wanted
    assert {len(values) for values in series.values()} == {len(edges) - 1}


def local(year: int, month: int, day: int, zone: ZoneInfo = EASTERN) -> int:
    return int(datetime(year, month, day, tzinfo=zone).timestamp())


@pytest.fixture(scope="module")
def deliveries(api: Client) -> list[dict]:
    """All deliveries, read page by page in windows of a month."""
    rows = []
    for month in range(12):
        end = NOW - month * 30 * DAY
        window = {"start_ts": end - 30 * DAY + 1, "end_ts": end, "limit": 1000}
        for drafts in ("false", "true"):
            rows += api.walk("messages", "messages", **window, drafts=drafts)
    return rows


def test_version_2_days_over_the_end_of_daylight_saving(api: Client, deliveries: list[dict]) -> None:
    start, end = local(2026, 10, 25) + 5 * 3600, local(2026, 11, 5) + 1
    body = api.get("campaigns/1/metrics", version=2, res="daily", start=start, end=end, tz="America/New_York")
    days = [datetime(2026, 10, 25) + timedelta(days=n) for n in range(13)]
    edges = [local(day.year, day.month, day.day) for day in days]
    assert edges[8] - edges[7] == 25 * 3600
    check(body["metric"]["series"], [row for row in deliveries if row["campaign_id"] == 1], edges)
    assert body["start"] == "2026-10-25 00:00:00 -0400 EDT"
    assert body["end"] == "2026-11-06 00:00:00 -0500 EST"
    assert body["res"] == "days"


@pytest.mark.parametrize("res", ["hours", "days", "weeks", "months"])
def test_version_2_in_utc(api: Client, deliveries: list[dict], res: str) -> None:
    start, end = NOW - 40 * DAY + 1234, NOW
    body = api.get("campaigns/2/actions/96/metrics", version=2, res=res, start=start, end=end)
    first = datetime.fromtimestamp(start, UTC).replace(minute=0, second=0)
    if res != "hours":
        first = first.replace(hour=0)
    if res == "weeks":
        first -= timedelta(days=first.isoweekday() % 7)
    if res == "months":
        first = first.replace(day=1)
    edges = [int(first.timestamp())]
    while edges[-1] < end:
        moment = datetime.fromtimestamp(edges[-1], UTC)
        step = {"hours": timedelta(hours=1), "days": timedelta(days=1), "weeks": timedelta(days=7)}.get(res)
        after = moment + step if step else (moment + timedelta(days=32)).replace(day=1)
        edges.append(int(after.timestamp()))
    rows = [row for row in deliveries if row["campaign_id"] == 2 and row["action_id"] == 96]
    check(body["metric"]["series"], rows, edges)
    assert body["start"] == first.strftime("%Y-%m-%d %H:%M:%S +0000 UTC")


@pytest.mark.parametrize(
    ("now", "change"),
    [("2026-11-03T15:30", 25), ("2026-03-10T03:59", 23)],
)
def test_version_1_days_are_eastern_over_daylight_saving(start: Callable, now: str, change: int) -> None:
    sandbox, api = start(now=now)
    moment = int(datetime.fromisoformat(now).replace(tzinfo=UTC).timestamp())
    today = datetime.fromtimestamp(moment, EASTERN).date()
    days = [today - timedelta(days=44 - n) for n in range(46)]
    edges = [local(day.year, day.month, day.day) for day in days]
    assert change * 3600 in [b - a for a, b in itertools.pairwise(edges)]
    rows = sandbox.truth("messages") + sandbox.truth("messages", drafts="true")
    series = api.get("broadcasts/2/metrics")["metric"]["series"]
    check(series, [row for row in rows if row["broadcast_id"] == 2], edges)


def test_version_1_weeks_begin_on_sunday_and_hours_and_months_end_now(api: Client, deliveries: list[dict]) -> None:
    rows = [row for row in deliveries if row["newsletter_id"] == 129]
    sunday = [local(2026, 11, 8) - 7 * DAY * n for n in range(11, -2, -1)]
    weeks = [int(datetime.fromtimestamp(t, EASTERN).timestamp()) for t in sunday]
    weeks = [t - 3600 if datetime.fromtimestamp(t, EASTERN).hour == 1 else t for t in weeks]  # before 1 November
    check(api.get("newsletters/129/metrics", period="weeks")["metric"]["series"], rows, weeks)
    hours = [NOW - NOW % 3600 + 3600 * n for n in range(-23, 2)]
    check(api.get("newsletters/129/metrics", period="hours")["metric"]["series"], rows, hours)
    months = [local(2025 + (11 + n) // 12, (11 + n) % 12 + 1, 1) for n in range(13)]
    body = api.get("newsletters/129/metrics", period="months")
    check(body["metric"]["series"], rows, months)
    assert body["metric"]["type"] == "email"


@pytest.mark.parametrize(
    ("period", "steps", "length"),
    [("days", None, 45), ("hours", None, 24), ("weeks", None, 12), ("months", None, 12), ("months", 121, 121),
     ("months", 0, 121), ("days", 1, 2), ("days", 0, 45), ("days", 7, 7)],
)  # fmt: skip
def test_version_1_steps(api: Client, period: str, steps: int | None, length: int) -> None:
    params = {} if steps is None else {"steps": steps}
    body = api.get("campaigns/1/metrics", period=period, **params)
    assert len(body["metric"]["series"]["sent"]) == length
    assert set(body) == {"metric"}


def test_type_filter(api: Client, deliveries: list[dict]) -> None:
    window = {"version": 2, "res": "months", "start": NOW - 90 * DAY, "end": NOW}
    every = api.get("campaigns/1/metrics", **window)["metric"]["series"]["sent"]
    kinds = {row["type"] for row in deliveries if row["campaign_id"] == 1}
    parts = [api.get("campaigns/1/metrics", **window, type=kind)["metric"]["series"]["sent"] for kind in kinds]
    assert [sum(column) for column in zip(*parts, strict=True)] == every
    assert len(kinds) > 1


def test_language_variants(api: Client) -> None:
    window = {"version": 2, "res": "months", "start": NOW - 90 * DAY, "end": NOW}
    found = [
        body["metric"]
        for action in api.walk("campaigns/1/actions", "actions")
        if "language_variants" in (body := api.get(f"campaigns/1/actions/{action['id']}/metrics", **window))["metric"]
    ]
    assert len(found) == 1
    variants = found[0]["language_variants"]
    assert sorted(variant["language"] for variant in variants.values()) == ["", "fr"]
    assert [variant["series"] for variant in variants.values() if variant["default"]] == [found[0]["series"]]


def test_truth_of_metrics_is_what_the_endpoints_give(sandbox: Sandbox, api: Client) -> None:
    truth = sandbox.truth("broadcast_metrics", period="days")
    today = datetime.fromtimestamp(NOW, EASTERN).date()
    for broadcast in (2, 4):
        series = api.get(f"broadcasts/{broadcast}/metrics")["metric"]["series"]
        rows = []
        for n in range(45):
            day = today - timedelta(days=44 - n)
            row = {name: values[n] for name, values in series.items() if values[n]}
            if row:
                keys = {
                    "broadcast_id": broadcast,
                    "period": "days",
                    "period_start": local(day.year, day.month, day.day),
                }
                rows.append(keys | row)
        assert rows == [row for row in truth if row["broadcast_id"] == broadcast]
    start, end = NOW - 30 * DAY, NOW
    truth = sandbox.truth("campaign_action_metrics", start=start, end=end, period="weeks", tz="UTC")
    assert {datetime.fromtimestamp(row["period_start"], UTC).weekday() for row in truth} == {6}
    assert all(start <= row["period_start"] < end for row in truth)


def test_weeks_may_begin_on_monday(start: Callable) -> None:
    sandbox, api = start(week_start="monday")
    body = api.get("campaigns/1/metrics", version=2, res="weeks", start=NOW - 9 * DAY, end=NOW)
    assert body["start"] == "2026-10-26 00:00:00 +0000 UTC"
    rows = sandbox.truth("campaign_metrics", start=NOW - 90 * DAY, end=NOW, period="weeks")
    assert {datetime.fromtimestamp(row["period_start"], UTC).weekday() for row in rows} == {0}


@pytest.mark.parametrize(("table", "params"), [("nonsense", {}), ("campaign_metrics", {"period": "days"})])
def test_truth_refuses_what_it_cannot_tell(sandbox: Sandbox, table: str, params: dict) -> None:
    with pytest.raises(ValueError, match="KeyError"):
        sandbox.truth(table, **params)
