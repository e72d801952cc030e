"""What need not be asked again: decided from change markers, the ledger and the deliveries, never from hope."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from cio_assets.assets.asked import (
    Asked,
    Circumstances,
    Deliveries,
    changed_parents,
    due_series,
    fingerprint,
    recent_activities,
    series_key,
)
from cio_assets.assets.extract_series import SeriesUnit, Span
from cio_assets.catalog import TABLES
from cio_assets.warehouse.ledger import CHANGED, FULL, RECENT, Known, Last

NOW = datetime(2026, 6, 10, 3, tzinfo=UTC)
WEEK = timedelta(days=7)
USUAL = Circumstances(NOW, WEEK)
ACTIONS = TABLES["campaign_actions"]


def ago(**time: float) -> datetime:
    return NOW - timedelta(**time)


def campaigns(*rows: tuple[int, int | None, str | None, str | None]) -> dict[str, pa.Table]:
    names = ("id", "updated", "deduplicate_id", "actions")
    return {"campaigns": pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows])}


ONE, TWO = (1, 10, "1:10", "[1]"), (2, 20, "2:20", "[2]")


def after(asked: Asked, read_at: datetime) -> dict[str, Known]:
    """What the ledger knows when that was read."""
    return {unit: Known(marker, read_at) for unit, marker in asked.reading.units.items()}


def asked_ids(asked: Asked) -> list[int]:
    return asked.parents["campaigns"]["id"].to_pylist()


def test_parents_whose_marker_stands_are_carried_over() -> None:
    first = changed_parents(ACTIONS, campaigns(ONE, TWO), {}, USUAL)
    assert (asked_ids(first), first.scope, first.spared) == ([1, 2], None, 0)
    again = changed_parents(ACTIONS, campaigns(ONE, TWO), after(first, ago(days=1)), USUAL)
    assert (asked_ids(again), again.spared, again.reading.units) == ([], 2, {})
    assert again.reading.kept == ["[1]", "[2]"]
    assert again.scope is not None
    assert (again.scope.inside, again.scope.keys.to_pylist()) == (False, [{"campaign_id": 1}, {"campaign_id": 2}])


@pytest.mark.parametrize(
    "changed", [(1, 11, "1:10", "[1]"), (1, 10, "1:11", "[1]"), (1, 10, "1:10", "[1,3]"), (1, None, "1:10", "[1]")]
)
def test_a_marker_that_moves_in_any_part_is_asked(changed: tuple) -> None:
    known = after(changed_parents(ACTIONS, campaigns(ONE, TWO), {}, USUAL), ago(days=1))
    assert asked_ids(changed_parents(ACTIONS, campaigns(changed, TWO), known, USUAL)) == [1]


def test_a_new_parent_is_asked_and_one_that_is_gone_is_not_spoken_for() -> None:
    known = after(changed_parents(ACTIONS, campaigns(ONE), {}, USUAL), ago(days=1))
    asked = changed_parents(ACTIONS, campaigns(TWO), known, USUAL)
    assert (asked_ids(asked), asked.scope) == ([2], None)


def test_without_a_marker_nothing_is_carried_over() -> None:
    rows = campaigns((1, None, None, None))
    known = after(changed_parents(ACTIONS, rows, {}, USUAL), ago(days=1))
    assert asked_ids(changed_parents(ACTIONS, rows, known, USUAL)) == [1]


@pytest.mark.parametrize(
    ("circumstances", "read_at", "expected"),
    [
        (USUAL, ago(days=6.9), []),
        (USUAL, ago(days=7), [1, 2]),
        (USUAL, ago(hours=-1), [1, 2]),
        (replace(USUAL, full=True), ago(days=1), [1, 2]),
    ],
    ids=["six days", "a week", "ahead of now", "a full pass is asked for"],
)
def test_a_full_pass_comes_round(circumstances: Circumstances, read_at: datetime, expected: list[int]) -> None:
    known = after(changed_parents(ACTIONS, campaigns(ONE, TWO), {}, USUAL), read_at)
    assert asked_ids(changed_parents(ACTIONS, campaigns(ONE, TWO), known, circumstances)) == expected


def test_tables_without_markers_ask_all_their_parents() -> None:
    parents = {"segments": pa.table({"id": [1, 2]})}
    asked = changed_parents(TABLES["segment_membership"], parents, {"[1]": Known("", ago(days=1))}, USUAL)
    assert asked.parents["segments"].num_rows == 2


JUNE = Span("days", datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC))
UNIT = SeriesUnit({"campaign_id": 1}, "days", JUNE)
READ = ago(hours=24)
LATELY = Last(ago(hours=1), ago(days=30))


def due(
    unit: SeriesUnit = UNIT,
    read_at: datetime | None = READ,
    recent: Last | None = LATELY,
    touched: datetime | None = None,
    circumstances: Circumstances = USUAL,
    whose: tuple[int, ...] = (1,),
) -> bool:
    known = {series_key(unit, "2026-06"): Known("", read_at)} if read_at else {}
    deliveries = Deliveries(recent, {whose: touched} if touched else {})
    units, spared = due_series([unit], lambda _: ["2026-06"], known, deliveries, circumstances)
    assert len(units) + spared == 1
    return bool(units)


def test_metrics_stand_where_no_delivery_came_or_changed() -> None:
    assert not due()
    assert not due(touched=ago(hours=25)), "before they were read"
    assert due(touched=ago(hours=1))
    assert due(touched=READ), "while they were read"


def test_metrics_of_an_action_stand_where_another_of_its_campaign_changed() -> None:
    action = replace(UNIT, parent={"campaign_id": 1, "action_id": 2})
    assert due(action, touched=ago(hours=1), whose=(1, 2))
    assert not due(action, touched=ago(hours=1), whose=(1, 3))
    assert not due(action, touched=ago(hours=1), whose=(2, 2))


def test_hours_that_are_told_for_a_day_are_read_once_a_day() -> None:
    hours = SeriesUnit({"campaign_id": 1}, "hours", None)
    for unit, asked in ((hours, True), (replace(hours, period="days"), False), (replace(UNIT, period="hours"), False)):
        assert due(unit, read_at=ago(hours=21)) == asked
        assert not due(unit, read_at=ago(hours=19))


def test_metrics_are_asked_where_nothing_is_known_of_the_deliveries() -> None:
    assert due(read_at=None)
    assert due(recent=None)
    assert due(recent=Last(ago(hours=25), ago(days=30))), "deliveries were not read since"
    assert due(recent=Last(ago(hours=1), ago(hours=2))), "not all of them since"


def test_metrics_have_a_full_pass_too() -> None:
    assert due(read_at=ago(days=8), recent=Last(ago(hours=1), ago(days=30)))
    assert due(circumstances=replace(USUAL, full=True))


def test_a_span_is_due_if_one_of_its_months_is() -> None:
    known = {series_key(UNIT, "2026-06"): Known("", READ)}
    deliveries = Deliveries(Last(ago(hours=1), ago(days=30)), {})
    units, spared = due_series([UNIT], lambda _: ["2026-05", "2026-06"], known, deliveries, USUAL)
    assert (units, spared) == ([UNIT], 0)


def activities(last: Mapping[str, Last], stored: int = 1_000_000, circumstances: Circumstances = USUAL) -> Asked:
    return recent_activities(last, stored, 100, circumstances)


def test_a_short_list_is_read_whole() -> None:
    last = {FULL: Last(ago(hours=1), None)}
    assert activities(last, stored=10_000).until is None
    assert activities(last, stored=10_001).until == int(ago(hours=2).timestamp())


def test_a_long_list_is_read_until_it_is_known() -> None:
    assert activities({}).reading.mode == FULL
    assert activities({FULL: Last(ago(days=8), None)}).reading.mode == FULL
    assert activities({FULL: Last(ago(hours=1), None)}, circumstances=replace(USUAL, full=True)).until is None
    hourly = activities({FULL: Last(ago(hours=5), None), CHANGED: Last(ago(hours=1), None)})
    assert (hourly.reading.mode, hourly.until) == (CHANGED, int(ago(hours=2).timestamp()))
    ahead = activities({FULL: Last(ago(days=1), None), RECENT: Last(ago(hours=-3), None)})
    assert (ahead.reading.mode, ahead.until) == (RECENT, int(ago(days=3).timestamp())), "a clock that was ahead"
    daily = activities({FULL: Last(ago(days=5), None), RECENT: Last(ago(hours=21), None), CHANGED: Last(NOW, None)})
    assert (daily.reading.mode, daily.until) == (RECENT, int(ago(days=3, hours=21).timestamp()))


def test_a_fingerprint_is_of_all_that_decides() -> None:
    rows = campaigns(ONE, TWO)
    told = {
        fingerprint("a", parents=rows),
        fingerprint("b", parents=rows),
        fingerprint("a", parents=campaigns(ONE)),
        fingerprint("a", parents=campaigns(ONE, (2, 20, "2:20", "[4]"))),
        fingerprint("a", parents={"broadcasts": rows["campaigns"]}),
    }
    assert len(told) == 5
    assert fingerprint("a", parents=campaigns(TWO, ONE)) == fingerprint("a", parents=rows), "in whatever order"
