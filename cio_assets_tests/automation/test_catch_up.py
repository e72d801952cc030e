"""Which partitions a tick asks for: a table of situations, rules for any of them, and what the event log tells."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cio_assets.automation.catch_up import MOST_RUNS, Attempt, Fault, Lost, Partition, Plan, Stretch, lost, plan
from cio_assets_tests.automation.tick import NOW, TODAY, Clockwork, day, range_of

REACH = timedelta(days=180)
TRAILING = 3


def made(letters: str, *, now: datetime = NOW, reach_back: int = 0) -> Plan:
    """The plan for days that end with today, one letter each: what became of it.

    `.` read, `?` never read, `u` read before it ended, `r` being read, `f` failed with others, `o` fails by itself,
    `O` too, but tried just now, `c` cancelled. The oldest are `reach_back` days further in the past.
    """
    midnight = now.replace(hour=0, minute=0, second=0)
    faults = {"r": Fault.RUNNING, "f": Fault.UNKNOWN, "o": Fault.OWN, "O": Fault.OWN, "c": Fault.CANCELED}
    partitions = []
    for place, letter in enumerate(letters):
        end = midnight - timedelta(
            days=len(letters) - 2 - place + (reach_back if place < len(letters) - TRAILING else 0)
        )
        read = {".": end, "u": end - timedelta(hours=2)}.get(letter)
        at = now - timedelta(minutes=5) if letter == "O" else now - timedelta(days=1)
        attempt = Attempt(faults[letter], at) if letter in faults else None
        partitions.append(Partition(f"{place:03}", end, read, attempt))
    return plan(partitions, TRAILING, now, REACH)


def stretches(*pairs: str) -> tuple[Stretch, ...]:
    return tuple(Stretch(first, last) for first, last in (pair.split("-") for pair in pairs))


@pytest.mark.parametrize(
    ("letters", "trailing", "catch_up"),
    [
        (".....", "002-004", ()),  # all is well: what can still move
        ("...???", "003-005", ()),  # the machine was off for less than the trailing days
        (".??...", "001-005", ()),  # a gap that meets them is the same run
        ("??????", "000-005", ()),  # nothing was ever read: one run
        ("?", "000-000", ()),  # the first day
        (".?.??....", "006-008", ("001-001", "003-004")),  # gaps of their own, the oldest first
        ("..u...", "002-005", ()),  # the day on which the machine went off was not over when it was read
        (".f....", "003-005", ("001-001",)),  # what failed keeps nothing else from being read
        (".ff...", "003-005", ("001-002",)),
        (".?f...", "003-005", ("001-001", "002-002")),  # nor what was not tried yet
        (".rr...", "003-005", ()),  # somebody reads it now
        ("...fff", "003-005", ()),  # in the trailing days anyway
        (".c....", "003-005", ()),
        (".o....", "003-005", ("001-001",)),  # the API still has it: once a day
        (".O....", "003-005", ()),
    ],
)
def test_what_a_tick_asks_for(letters: str, trailing: str, catch_up: tuple[str, ...]) -> None:
    found = made(letters)
    assert (found.trailing,) == stretches(trailing)
    assert found.catch_up == stretches(*catch_up)


def test_what_fails_by_itself_is_left_alone_where_the_api_has_it_no_longer() -> None:
    assert made(".oo....", reach_back=200) == Plan(Stretch("004", "006"), left=stretches("001-002"))
    assert made(".oo....", reach_back=100).catch_up == stretches("001-002")
    # But never without a try, and not because of an outage.
    assert made(".??....", reach_back=200).catch_up == stretches("001-002")
    assert made(".ff....", reach_back=200).catch_up == stretches("001-002")


def test_what_was_tried_just_now_comes_later_and_what_was_cancelled_not_at_all() -> None:
    assert made(".O.c....") == Plan(Stretch("005", "007"), later=stretches("001-001"), left=stretches("003-003"))


def test_a_tick_does_not_flood_the_queue() -> None:
    found = made("?." * (MOST_RUNS + 3) + "...")
    assert [stretch.first for stretch in found.catch_up] == [f"{2 * place:03}" for place in range(MOST_RUNS)]
    assert len(found.later) == 3


@given(st.text("?.urfoOc", min_size=1, max_size=60), st.sampled_from([0, 100, 300]))
def test_any_situation(letters: str, reach_back: int) -> None:
    found = made(letters, reach_back=reach_back)
    asked = [found.trailing, *found.catch_up]
    covered = [place for each in asked for place in range(int(each.first), int(each.last) + 1)]
    assert len(covered) == len(set(covered))  # nothing twice
    assert found.trailing.last == f"{len(letters) - 1:03}"
    assert set(range(max(0, len(letters) - TRAILING), len(letters))) <= set(covered)
    assert [*found.catch_up] == sorted(found.catch_up, key=lambda each: each.first)
    told = {*covered, *(p for s in (*found.later, *found.left) for p in range(int(s.first), int(s.last) + 1))}
    for place, letter in enumerate(letters[: max(0, len(letters) - TRAILING)]):
        assert (place in told) == (letter not in ".r"), (place, letter)  # nothing is forgotten, nothing read in vain


def test_lost_is_what_lies_between_the_last_reading_and_what_is_told_now() -> None:
    read, month = datetime(2026, 3, 1, tzinfo=UTC), timedelta(days=30)
    assert lost(None, read, month) is None
    assert lost(read, read + month, month) is None
    gone = lost(read, read + month + timedelta(days=2), month)
    assert gone == Lost(read, datetime(2026, 3, 3, tzinfo=UTC))
    assert str(gone) == "2026-03-01 00:00 to 2026-03-03 00:00 UTC"


# From the event log.


@pytest.fixture
def clockwork(tmp_path: Path, instance: dg.DagsterInstance) -> Clockwork:
    return Clockwork(tmp_path, instance, options={"trailing_days": 5, "trailing_days_weekly": 5})


def all_read(clockwork: Clockwork, *missing: int, days: int = 60) -> None:
    clockwork.materialized("messages", [day(ago) for ago in range(days, -1, -1) if ago not in missing])


def test_a_week_off_is_one_run(clockwork: Clockwork) -> None:
    all_read(clockwork, *range(8))
    assert clockwork.ranges("deliveries_daily") == [(day(7), day(0))]
    all_read(clockwork)
    assert clockwork.ranges("deliveries_daily") == [(day(5), day(0))]


def test_a_day_that_was_read_before_it_ended_is_read_again(clockwork: Clockwork) -> None:
    all_read(clockwork)
    clockwork.now += timedelta(days=20)
    later = f"{TODAY + timedelta(days=20)}"
    assert clockwork.ranges("deliveries_daily") == [(day(0), later)]


def test_days_of_the_past_are_tried_once_and_then_left_alone(
    tmp_path: Path, instance: dg.DagsterInstance, capfd: pytest.CaptureFixture[str]
) -> None:
    clockwork = Clockwork(tmp_path, instance, start=TODAY - timedelta(days=300))
    recent = dg.RunRequest(tags={})
    clockwork.materialized("messages", [day(ago) for ago in (300, *range(290, -1, -1))])
    old, trailing = clockwork.requests("deliveries_daily")
    assert range_of(old.tags) == (day(299), day(291))
    assert old.tags["customerio/catch_up"] == f"{day(299)} to {day(291)}"
    late = f"Deliveries of {day(299)} to {day(291)} are asked for late: before {day(180)} the API may tell only some"
    assert late in capfd.readouterr().err
    clockwork.run(old, "sync_deliveries", dg.DagsterRunStatus.FAILURE)

    # Nothing else went well either: the key may be wrong. It is tried again.
    again, trailing = clockwork.requests("deliveries_daily")
    assert range_of(again.tags) == range_of(old.tags)
    clockwork.run(again, "sync_deliveries", dg.DagsterRunStatus.FAILURE)
    clockwork.run(recent, "sync_deliveries", dg.DagsterRunStatus.SUCCESS)
    capfd.readouterr()
    assert [range_of(request.tags) for request in clockwork.requests("deliveries_daily")] == [range_of(trailing.tags)]
    assert f"Left alone, since catching up failed or was cancelled: {day(299)} to {day(291)}." in capfd.readouterr().err
    assert len(clockwork.requests("deliveries_daily")) == 1
    assert "Left alone" not in capfd.readouterr().err, "it is told once"

    # Until somebody materializes them by hand.
    clockwork.materialized("messages", [day(ago) for ago in range(299, 290, -1)])
    capfd.readouterr()
    assert len(clockwork.requests("deliveries_daily")) == 1
    assert "Left alone" not in capfd.readouterr().err


def test_what_failed_with_the_trailing_days_is_asked_for_apart(clockwork: Clockwork) -> None:
    (whole,) = clockwork.requests("deliveries_daily")
    assert range_of(whole.tags) == (day(60), day(0))
    clockwork.run(whole, "sync_deliveries", dg.DagsterRunStatus.FAILURE)
    assert clockwork.ranges("deliveries_daily") == [(day(60), day(6)), (day(5), day(0))]


def test_what_somebody_reads_now_is_not_asked_for(clockwork: Clockwork) -> None:
    all_read(clockwork, *range(40, 20, -1))
    by_hand = {"dagster/asset_partition_range_start": day(40), "dagster/asset_partition_range_end": day(30)}
    clockwork.run(dg.RunRequest(tags=by_hand), "sync_deliveries", dg.DagsterRunStatus.STARTED)
    assert clockwork.ranges("deliveries_daily") == [(day(29), day(21)), (day(5), day(0))]


@pytest.mark.slow
@pytest.mark.soak
def test_a_tick_is_cheap_after_three_years(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    clockwork = Clockwork(tmp_path, instance, start=TODAY - timedelta(days=1096))
    request = dg.RunRequest(
        tags={"dagster/asset_partition_range_start": day(1096), "dagster/asset_partition_range_end": day(0)}
    )
    clockwork.run(request, "sync_deliveries", dg.DagsterRunStatus.FAILURE)
    all_read(clockwork, 1000, days=1096)
    began = time.process_time()
    assert clockwork.ranges("deliveries_daily")[0] == (day(1000), day(1000))
    assert time.process_time() - began < 1
