"""A fortnight of ticks over a workspace that changes every day, two days of it with the machine off: at the end every
table is the truth, history is kept, and it has cost what is documented.

People are read by what changed, and activities until they are known; both whole every six days. So that a full pass
hides nothing that was missed before it, they are looked at behind each of their readings.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from cio_assets import sandbox
from cio_assets.catalog import TABLES
from cio_assets.event_log import keep_open
from cio_assets_tests import forked
from cio_assets_tests.in_process import settings_of
from cio_assets_tests.soak import documented
from cio_assets_tests.soak.days import Days, Ran, fortnight_before
from cio_assets_tests.soak.whole import VIEWS
from cio_assets_tests.truth import KEYS, differences, live, stored

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900), pytest.mark.xdist_group("fortnight")]

MONDAY = fortnight_before(datetime.now(UTC))
START = (MONDAY - timedelta(days=40)).date()
OUTAGE = (8, 9)
TRAILING, TRAILING_WEEKLY = 5, 60
FULL_EVERY = 6
"""Days: a full pass before the outage and one behind it; the last day is read without."""
PEOPLE = ("customers", "customer_attributes")
CHECKS = "checks_daily"
V1 = ("broadcast_metrics", "broadcast_action_metrics", "newsletter_metrics")


def changes_of(day: int, newsletter: int) -> list[dict[str, Any]]:
    """A day's changes, of which some come every day."""
    once: dict[int, list[dict[str, Any]]] = {
        0: [{"kind": "delete_people", "count": 4}],
        1: [{"kind": "change_action"}, {"kind": "add_people", "count": 6}],
        2: [{"kind": "add_campaign"}, {"kind": "change_membership", "count": 10}],
        3: [{"kind": "late_opens", "count": 15, "older_than_days": TRAILING + 3}, {"kind": "change_campaign"}],
        4: [{"kind": "delete_newsletter", "id": newsletter}, {"kind": "clear_suppression", "count": 2}],
        5: [{"kind": "merge_people", "count": 3}, {"kind": "add_action"}],
        7: [{"kind": "delete_campaign", "id": 2}, {"kind": "change_devices", "count": 4}],
        8: [
            {"kind": "delete_segment"},
            {"kind": "change_identifiers", "count": 3},
            {"kind": "delete_people", "count": 2},
            {"kind": "add_people", "count": 3},
        ],
        9: [{"kind": "delete_object"}, {"kind": "add_campaign"}, {"kind": "merge_people", "count": 2}],
        10: [{"kind": "change_membership", "count": 6}, {"kind": "delete_people", "count": 3}],
        11: [{"kind": "add_unknown_field", "table": "segments", "field": "brand_new", "value": 1}],
        12: [{"kind": "late_opens", "count": 15, "older_than_days": TRAILING + 3}, {"kind": "add_people", "count": 2}],
    }
    return [
        {"kind": "late_opens", "count": 25},
        {"kind": "add_deliveries", "count": 60, "days": 0.3},
        # Those that are dated back are found by the next full pass, the last of which is on day 12.
        {"kind": "add_activities", "count": 20, "backdated": day in (0, 3, 6, 9)},
        {"kind": "change_people", "count": 5},
        *once.get(day, []),
    ]


@dataclass
class Fortnight:
    box: sandbox.Sandbox
    warehouse: Path
    runs: list[Ran] = field(default_factory=list)
    full: list[dict[str, int]] = field(default_factory=list)
    """What each of them would have cost by the documentation, had it read everything anew."""
    due: list[dict[str, int]] = field(default_factory=list)
    """What it may cost by the documentation, with what need not be read of people and activities."""
    asked: list[int] = field(default_factory=list)
    """How many requests the sandbox got meanwhile."""
    people: documented.Passes = field(default_factory=lambda: documented.Passes(FULL_EVERY))
    activities: documented.Passes = field(default_factory=lambda: documented.Passes(FULL_EVERY))
    ways: list[str] = field(default_factory=list)
    """In which way the people should have been read, each time."""
    gone: set[str] = field(default_factory=set)
    """People who were deleted or merged into others."""
    dated_back: set[str] = field(default_factory=set)
    """Activities that came late, and not since the last full pass."""
    problems: list[str] = field(default_factory=list)
    """What was wrong behind a reading of people or activities."""
    parents: dict[str, int] = field(default_factory=dict)
    """The same of metrics, for the parents that the last night has found."""
    hours: dict[str, dict[tuple, dict[str, Any]]] = field(default_factory=lambda: defaultdict(dict))
    """What version 1 told of each hour, for as long as it told it: the later answer counts."""
    violations: list[Any] = field(default_factory=list)
    end: datetime = MONDAY
    _told: list[dict[str, Any]] | None = None

    def change(self, day: int) -> None:
        """The changes of a day happen."""
        newsletter = self.box.truth("newsletter_metrics", period="months")[0]["newsletter_id"]
        for change in changes_of(day, newsletter):
            answer = self.box.mutate(**change)
            if change["kind"] in ("delete_people", "merge_people"):
                self.gone.update(answer.get("merged", answer["ids"]))
            if change.get("backdated"):
                self.dated_back.update(answer["ids"])
        self._told = None

    def told(self) -> list[dict[str, Any]]:
        """All activities there are."""
        if self._told is None:
            self._told = self.box.truth("activities")
        return self._told

    def before(self, schedule: str, tags: Mapping[str, str]) -> None:
        box = self.box
        now = int(box.clock(advance_seconds=0))
        due: dict[str, int] = {}
        if schedule == "snapshots_daily":
            costs = documented.snapshots(box)
            self.parents = documented.metrics(box)
            since = self.people.people(now)
            self.ways.append("full" if since is None else "changed")
            if since is not None:
                due = documented.changed_people(self.told(), since)
        elif schedule == "activities_hourly":
            costs = documented.activities(self.told(), None)
            since = self.activities.activities(now)
            due = documented.activities(self.told(), since)
            if since is None:
                self.dated_back.clear()
        elif schedule.startswith("deliveries"):
            first = datetime.fromisoformat(tags["dagster/asset_partition_range_start"]).replace(tzinfo=UTC)
            costs = documented.deliveries(box, int(first.timestamp()))
        elif schedule == CHECKS:
            costs = documented.checks(box)
        else:
            costs = self.parents
        self.full.append(costs)
        self.due.append(costs | due)
        if schedule == "recent_metrics_hourly":
            for table in V1:
                for row in box.truth(table, period="hours"):
                    self.hours[table][tuple(row[name] for name in KEYS[table])] = row
        box.reset_stats()

    def after(self, ran: Ran) -> None:
        stats = self.box.stats()
        self.asked.append(stats["requests"])
        self.violations += stats["violations"]
        found = []
        if ran.schedule == "snapshots_daily":
            for table in PEOPLE:
                found += differences(table, live(stored(self.warehouse, table)), self.box.truth(table))
        elif ran.schedule == "activities_hourly":
            with duckdb.connect(str(self.warehouse), read_only=True) as con:
                ids = {row[0] for row in con.execute("SELECT id FROM customerio.activities").fetchall()}
            lacking = {row["id"] for row in self.told()} - ids - self.dated_back
            found += [f"activities {one}: missing" for one in sorted(lacking)[:20]]
        self.problems += [f"{ran.at}: {problem}" for problem in found]


@pytest.fixture(scope="module")
def fortnight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fortnight]:
    home = tmp_path_factory.mktemp("fortnight")
    (home / "dagster").mkdir()
    with (
        forked.launch(
            people=600,
            deliveries=3000,
            activities=10_500,  # more than are read whole each time
            days=35,
            campaigns=3,
            broadcasts=2,
            newsletters=4,
            segments=6,
            objects=12,
            now=MONDAY.timestamp(),
            freeze=True,
            app_rps=0,
        ) as box,
        dg.DagsterInstance.local_temp(str(home / "dagster")) as instance,
    ):
        keep_open(instance)
        settings = settings_of(
            home,
            box,
            START,
            trailing_days=TRAILING,
            trailing_days_weekly=TRAILING_WEEKLY,
            full_every_days=FULL_EVERY,
            people="changed",
            schedules="on",
        )
        found = Fortnight(box, home / "warehouse.duckdb")
        days = Days(box, instance, settings, MONDAY, frozenset({3, 23}), found.before, found.after, found.runs)
        for day in range(13):
            go = days.sleep_until if day in OUTAGE else days.run_until
            midnight = MONDAY + timedelta(days=day)
            go(midnight + timedelta(hours=3, minutes=40))  # behind the deliveries of the night
            box.mutate("late_opens", count=5)
            go(midnight + timedelta(hours=21))
            found.change(day)
            go(midnight + timedelta(days=1))
        days.run_until(days.now + timedelta(hours=6, minutes=10))
        for name in ("metrics_monthly", "recent_metrics_monthly"):  # else they tick on the 1st of a month
            days.tick(days.named(name))
        found.end = days.now
        yield found


def truth_of(fortnight: Fortnight, table: str) -> list[dict[str, Any]]:
    span = {}
    if table in ("campaign_metrics", "campaign_action_metrics"):
        first = datetime(START.year, START.month, 1, tzinfo=UTC)
        span = {"start": int(first.timestamp()), "end": int(fortnight.end.timestamp()) + 86_400}
    name = {"customer_messages": "messages", "customer_activities": "activities"}.get(table, table)
    rows = fortnight.box.truth(name, **span)
    if table == "customer_relationships":
        rows = [{k: v for k, v in item.items() if k not in ("attributes", "timestamps")} for item in rows]
    return rows


def deleted(fortnight: Fortnight, table: str) -> set[Any]:
    return {row["id"] for row in stored(fortnight.warehouse, table) if row["_deleted_at"] is not None}


@pytest.mark.parametrize("table", sorted(TABLES))
def test_every_table_is_the_truth(fortnight: Fortnight, table: str) -> None:
    rows = live(stored(fortnight.warehouse, table))
    expected = truth_of(fortnight, table)
    assert expected
    if table.endswith("_metrics") or table in ("campaign_messages", "newsletter_messages"):
        # What the API told of parents that are gone stays, and so do hours that version 1 tells no longer.
        gone = {"campaign_id": deleted(fortnight, "campaigns"), "newsletter_id": deleted(fortnight, "newsletters")}
        rows = [row for row in rows if not any(row.get(column) in ids for column, ids in gone.items())]
    if table in V1:
        first = {p: min(r["period_start"] for r in expected if r["period"] == p) for p in ("hours", "days", "weeks")}
        rows = [row for row in rows if row["period_start"] >= first.get(row["period"], 0)]
    assert differences(table, rows, expected) == []


@pytest.mark.parametrize("table", V1)
def test_hours_that_are_told_for_a_day_are_kept(fortnight: Fortnight, table: str) -> None:
    """Also those in which something happened behind the deliveries of the night."""
    hours = [row for row in stored(fortnight.warehouse, table) if row["period"] == "hours"]
    assert len(fortnight.hours[table]) > 20
    assert differences(table, hours, fortnight.hours[table].values()) == []


def test_history_is_kept(fortnight: Fortnight) -> None:
    for table, count in {"campaigns": 1, "newsletters": 1, "segments": 1, "objects": 1}.items():
        marked = [row for row in stored(fortnight.warehouse, table) if row["_deleted_at"] is not None]
        assert len(marked) == count, table
    for table in PEOPLE:
        marked = {row["cio_id"] for row in stored(fortnight.warehouse, table) if row["_deleted_at"] is not None}
        assert marked == fortnight.gone, table
    assert stored(fortnight.warehouse, "campaign_metrics", "campaign_id = 2")
    (newsletter,) = deleted(fortnight, "newsletters")
    assert stored(fortnight.warehouse, "newsletter_metrics", f"newsletter_id = {newsletter}")
    assert stored(fortnight.warehouse, "campaign_messages", "campaign_id = 2")


def test_people_and_activities_are_the_truth_behind_each_reading(fortnight: Fortnight) -> None:
    """Of activities only those lack that were dated back, and a full pass finds them."""
    assert fortnight.problems == []
    readings = [ran for ran in fortnight.runs if ran.schedule == "snapshots_daily"]
    otherwise = [
        (ran.at, table, told, why)
        for ran, way in zip(readings, fortnight.ways, strict=True)
        for table, (told, why) in ran.ways.items()
        if told != way
    ]
    assert otherwise == []
    assert {*PEOPLE} == {table for ran in readings for table in ran.ways}
    days = [(ran.at - MONDAY).days for ran, way in zip(readings, fortnight.ways, strict=True) if way == "full"]
    assert days == [0, 6, 12]


def test_what_could_not_be_read_any_more_is_told_once(fortnight: Fortnight) -> None:
    """Two days without a tick: of version 1, hours are told for a day only."""
    lost = [ran for ran in fortnight.runs if "customerio/lost_since" in ran.tags]
    assert [(ran.schedule, (ran.at - MONDAY).days) for ran in lost] == [("recent_metrics_hourly", OUTAGE[-1] + 1)]


def test_the_requests_are_those_of_the_arithmetic(fortnight: Fortnight) -> None:
    spared = 0
    otherwise = []
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for ran, full, due, asked in zip(fortnight.runs, fortnight.full, fortnight.due, fortnight.asked, strict=True):
        tables = {table: numbers for table, numbers in ran.tables.items() if table not in VIEWS}
        for table, numbers in tables.items():
            spent, saved = numbers["requests"], numbers["requests_spared"]
            # Of metrics a request for each parent and period, or one that was spared.
            if spent + saved != due[table] if table.endswith("_metrics") else spent > due[table]:
                otherwise.append((ran.at, table, spent, saved, due[table]))
            spared += saved
        told = sum(numbers["requests"] for numbers in tables.values())
        if asked > due[CHECKS] if ran.schedule == CHECKS else asked != told:
            otherwise.append((ran.at, ran.schedule, asked, told))
        of = due if ran.schedule == CHECKS else tables
        for place, more in enumerate((asked, sum(due[table] for table in of), sum(full[table] for table in of))):
            sums[ran.schedule][place] += more
    total, _, everything = (sum(column) for column in zip(*sums.values(), strict=True))
    for schedule, (spent, due, full) in sums.items():
        print(f"{schedule:24} {spent:6,} requests of at most {due:6,}; {full:6,} to read everything each time")
    print(f"{'total':24} {total:6,} requests, {everything:6,} to read everything each time, {spared:,} spared")
    assert otherwise == []
    assert total <= 0.6 * everything
    assert fortnight.violations == []
