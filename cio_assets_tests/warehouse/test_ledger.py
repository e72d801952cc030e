"""What the warehouse knows of earlier readings; its schema moves forward only by steps that are written down."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from cio_assets.catalog import TABLES
from cio_assets.warehouse import Warehouse, WarehouseError, ledger, load
from cio_assets.warehouse.ledger import CHANGED, FULL, RECENT, Known, Last, Ledger, Reading
from cio_assets.warehouse.load import Replace, Scope
from cio_assets_tests.warehouse.stage import MONDAY, TUESDAY, WEDNESDAY, put, stage


def read(
    warehouse: Warehouse,
    table: str,
    rows: Sequence[dict[str, Any]],
    at: datetime,
    reading: Reading,
    *,
    scope: Scope | None = None,
    replace: Replace | None = None,
) -> None:
    staged = stage(warehouse.scratch, rows)
    load(warehouse, TABLES[table], staged, at, replace, scope=scope, reading=reading)
    staged.discard()


def test_a_warehouse_without_it_knows_nothing_and_a_load_makes_it(warehouse: Warehouse) -> None:
    book = Ledger(warehouse)
    assert (book.last("segments"), book.units("segments"), book.touched(["campaign_id"])) == ({}, {}, {})
    put(warehouse, "segments", [{"id": 1}])
    with warehouse.attached() as con:
        assert ledger.stored_version(warehouse, con) == ledger.VERSION == 1
    assert book.last("segments") == {}, "nothing was said of how it was read"


def test_readings_and_units(warehouse: Warehouse) -> None:
    book = Ledger(warehouse)
    read(warehouse, "segments", [{"id": 1}], MONDAY, Reading(FULL, units={"[1]": "a", "[2]": "b"}))
    read(warehouse, "segments", [{"id": 1}], TUESDAY, Reading(CHANGED, since=MONDAY, units={"[2]": "c"}))
    assert book.last("segments") == {FULL: Last(MONDAY, None), CHANGED: Last(TUESDAY, MONDAY, MONDAY)}
    assert book.units("segments") == {"[1]": Known("a", MONDAY), "[2]": Known("c", TUESDAY)}
    assert book.last("campaigns") == {}


def test_readings_that_meet_cover_what_both_cover(warehouse: Warehouse) -> None:
    book = Ledger(warehouse)

    def recent(at: datetime, since: datetime) -> Last:
        read(warehouse, "segments", [{"id": 1}], at, Reading(RECENT, since=since))
        return book.last("segments")[RECENT]

    long_ago = MONDAY - timedelta(days=30)
    assert recent(MONDAY, long_ago) == Last(MONDAY, long_ago, long_ago)
    earlier = MONDAY - timedelta(hours=6)
    assert recent(TUESDAY, earlier) == Last(TUESDAY, long_ago, earlier)
    assert recent(WEDNESDAY, TUESDAY) == Last(WEDNESDAY, long_ago, TUESDAY)
    gap = WEDNESDAY + timedelta(days=2)
    later = gap + timedelta(days=1)
    assert recent(later, gap) == Last(later, gap, gap), "nobody saw the day between"
    assert recent(TUESDAY, long_ago) == Last(later, gap, gap), "one that took long comes behind"


def test_what_another_source_has_read_is_not_known(warehouse: Warehouse) -> None:
    read(warehouse, "segments", [{"id": 1}], MONDAY, Reading(FULL, source="a", units={"[1]": "x"}))
    mine, other = Ledger(warehouse, lambda _: "a"), Ledger(warehouse, lambda _: "b")
    assert (mine.last("segments").keys(), mine.units("segments").keys()) == ({FULL}, {"[1]"})
    assert (other.last("segments"), other.units("segments")) == ({}, {})
    read(warehouse, "segments", [{"id": 1}], TUESDAY, Reading(FULL, source="b", units={"[2]": "x"}))
    assert mine.last("segments") == {}
    assert other.last("segments").keys() == {FULL}


def test_units_that_are_not_told_any_more_are_forgotten(warehouse: Warehouse) -> None:
    book = Ledger(warehouse)
    read(warehouse, "segments", [], MONDAY, Reading(FULL, units={"[1]": "a", "[2]": "b", "[3]": "c"}))
    read(warehouse, "segments", [], TUESDAY, Reading(FULL, units={"[1]": "a"}, kept=["[2]"]))
    assert book.units("segments") == {"[1]": Known("a", TUESDAY), "[2]": Known("b", MONDAY)}
    read(warehouse, "segments", [], WEDNESDAY, Reading(FULL, forgotten=["[2]"]))
    assert book.units("segments") == {"[1]": Known("a", TUESDAY)}
    read(warehouse, "segments", [], WEDNESDAY + timedelta(days=100), Reading(FULL))
    assert book.units("segments") == {}


def test_units_of_some_periods(warehouse: Warehouse) -> None:
    units = {"[1] hours 2026-01": "", "[1] days 2026-01": "", "[1,2] days": ""}
    read(warehouse, "campaign_metrics", [], MONDAY, Reading(FULL, units=units))
    assert Ledger(warehouse).units("campaign_metrics", {"days"}).keys() == {"[1] days 2026-01", "[1,2] days"}


def test_a_dropped_table_was_never_read(duck: Warehouse) -> None:
    read(duck, "segments", [{"id": 1}], MONDAY, Reading(FULL, units={"[1]": "a"}))
    with duck.attached() as con:
        con.execute(f"DROP TABLE {duck.qualified('segments')}")
    assert (Ledger(duck).last("segments"), Ledger(duck).units("segments")) == ({}, {})


def test_two_schemas_have_two_ledgers(duck: Warehouse) -> None:
    read(duck, "segments", [{"id": 1}], MONDAY, Reading(FULL))
    other = Warehouse(duck.uri, "other", scratch=duck.scratch)
    assert Ledger(other).last("segments") == {}
    put(other, "segments", [{"id": 1}])
    assert Ledger(other).last("segments") == {}


def test_a_failed_load_is_no_reading(duck: Warehouse) -> None:
    with duck.attached() as con:
        con.execute(f"CREATE TABLE {duck.qualified('segments')} (id VARCHAR)")
    with pytest.raises(WarehouseError, match="column id is VARCHAR"):
        read(duck, "segments", [{"id": 1}], MONDAY, Reading(FULL))
    assert Ledger(duck).last("segments") == {}


def test_a_newer_warehouse_is_left_alone(warehouse: Warehouse) -> None:
    put(warehouse, "segments", [{"id": 1}])
    with warehouse.attached() as con:
        con.execute(f"UPDATE {ledger._table(warehouse, 'version')} SET version = 7")
    for attempt in (Ledger(warehouse).check, lambda: put(warehouse, "segments", [{"id": 2}], at=TUESDAY)):
        with pytest.raises(WarehouseError, match=r"newer cio-assets \(its schema has version 7.*update cio-assets"):
            attempt()
    with warehouse.attached() as con:
        found = con.execute(f"SELECT id, _deleted_at FROM {warehouse.qualified('segments')}").fetchall()
    assert found == [(1, None)]


def test_an_older_warehouse_is_brought_forward_by_every_step_once(
    duck: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(duck, "segments", [{"id": 1}])
    steps: list[int] = []
    more = (*ledger._MIGRATIONS, lambda *_: steps.append(2), lambda *_: steps.append(3))
    monkeypatch.setattr(ledger, "_MIGRATIONS", more)
    monkeypatch.setattr(ledger, "VERSION", len(more))
    for at in (TUESDAY, WEDNESDAY):
        put(duck, "segments", [{"id": 1}], at=at)
    assert steps == [2, 3]
    with duck.attached() as con:
        assert ledger.stored_version(duck, con) == 3


def test_what_a_reading_does_not_speak_of_is_left_as_it_is(warehouse: Warehouse) -> None:
    rows = [{"campaign_id": campaign, "id": action} for campaign in (1, 2, 3) for action in (1, 2)]
    read(warehouse, "campaign_actions", rows, MONDAY, Reading(FULL))
    carried = Scope(pa.table({"campaign_id": [1]}), inside=False)
    read(warehouse, "campaign_actions", [{"campaign_id": 2, "id": 1}], TUESDAY, Reading(FULL), scope=carried)
    assert live(warehouse) == [(1, 1, MONDAY), (1, 2, MONDAY), (2, 1, TUESDAY)]
    asked = Scope(pa.table({"campaign_id": [2, 3], "id": [1, 1]}), inside=True)
    read(warehouse, "campaign_actions", [{"campaign_id": 3, "id": 1}], WEDNESDAY, Reading(CHANGED), scope=asked)
    assert live(warehouse) == [(1, 1, MONDAY), (1, 2, MONDAY), (3, 1, WEDNESDAY)]


def live(warehouse: Warehouse) -> list[tuple]:
    with warehouse.attached() as con:
        return con.execute(
            f"""SELECT campaign_id, id, _synced_at FROM {warehouse.qualified("campaign_actions")}
                WHERE _deleted_at IS NULL ORDER BY ALL"""
        ).fetchall()


DAY = datetime(2026, 2, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
WINDOW = Replace(DAY, DAY + timedelta(days=1), DAY - timedelta(days=180))


def delivery(name: str, campaign: int, action: int, **more: Any) -> dict[str, Any]:
    row = {"id": name, "campaign_id": campaign, "action_id": action, "created": int(DAY.timestamp()) + 60}
    return row | {"metrics": {"sent": 1}} | more


def test_whose_deliveries_have_changed_is_noted(warehouse: Warehouse) -> None:
    rows = [delivery("a", 1, 11), delivery("b", 1, 12), delivery("c", 2, 21), delivery("d", 3, 31)]
    book = Ledger(warehouse)

    def again(at: datetime, *rows: dict[str, Any], drafts: pa.Table | None = None) -> dict[tuple, datetime]:
        reading = Reading(RECENT, since=DAY, ended_at=at + HOUR, drafts=drafts, drafts_since=DAY)
        read(warehouse, "messages", rows, at, reading, replace=WINDOW)
        return book.touched(["campaign_id", "action_id"])

    assert again(MONDAY, *rows) == dict.fromkeys([(1, 11), (1, 12), (2, 21), (3, 31)], MONDAY + HOUR)
    opened = delivery("a", 1, 11, metrics={"sent": 1, "opened": 2})
    variant = delivery("e", 4, 41, parent_action_id=40)
    touched = again(TUESDAY, opened, rows[1], rows[2], variant)  # d is no longer there
    assert touched == {
        (1, 11): TUESDAY + HOUR,
        (1, 12): MONDAY + HOUR,
        (2, 21): MONDAY + HOUR,
        (3, 31): TUESDAY + HOUR,
        (4, 41): TUESDAY + HOUR,
        (4, 40): TUESDAY + HOUR,
    }
    assert book.touched(["campaign_id"]) == {
        (1,): TUESDAY + HOUR,
        (2,): MONDAY + HOUR,
        (3,): TUESDAY + HOUR,
        (4,): TUESDAY + HOUR,
    }
    draft = pa.table(
        {
            "id": ["x"],
            "created": [int(DAY.timestamp())],
            **{name: pa.array([None], pa.int64()) for name in ledger.DRAFTS_OF},
        }
    )
    draft = draft.set_column(2, "campaign_id", pa.array([2], pa.int64()))
    assert again(WEDNESDAY, opened, rows[1], rows[2], variant, drafts=draft)[2, None] == WEDNESDAY + HOUR
    later = WEDNESDAY + timedelta(days=1)
    assert again(later, opened, rows[1], rows[2], variant, drafts=draft)[2, None] == WEDNESDAY + HOUR, (
        "a draft is new once"
    )
    before = book.touched(["campaign_id", "action_id"])
    assert again(MONDAY, *rows) == before, "what was read earlier and loaded later changes nothing"
