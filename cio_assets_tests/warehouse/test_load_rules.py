"""How each refresh rule meets what is stored (section 3 of the design), in every kind of warehouse."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cio_assets.catalog import TABLES
from cio_assets.warehouse import Warehouse
from cio_assets.warehouse.load import Replace, create_view
from cio_assets_tests.warehouse.stage import MONDAY, TUESDAY, WEDNESDAY, put, unix


def _live(warehouse: Warehouse, table: str, *columns: str) -> list[tuple]:
    return sorted(zip(*warehouse.read(table, columns).to_pydict().values(), strict=True))


def _segments(*names: str) -> list[dict[str, Any]]:
    return [{"id": number, "name": name} for number, name in enumerate(names, 1) if name]


# snapshot ------------------------------------------------------------------------------------------------------------


def test_a_first_snapshot(warehouse: Warehouse) -> None:
    result = put(warehouse, "segments", [{"id": 7, "name": "VIP", "created_at": unix("2026-01-31"), "tags": ["a"]}])

    assert (result.rows_in_table, result.rows_in_slice, result.rows_marked_deleted) == (1, 1, 0)
    (row,) = warehouse.read("segments").to_pylist()
    assert row["id"] == 7
    assert row["created_at"] == datetime(2026, 1, 31, tzinfo=UTC)
    assert row["tags"] == '["a"]'
    assert row["description"] is None
    assert (row["_extra"], row["_synced_at"], row["_deleted_at"]) == (None, MONDAY, None)


def test_a_row_that_is_no_longer_listed_is_marked_and_kept(warehouse: Warehouse) -> None:
    put(warehouse, "segments", _segments("one", "two", "three"))

    result = put(warehouse, "segments", _segments("one", "", "THREE"), at=TUESDAY)

    assert (result.rows_in_table, result.rows_in_slice, result.rows_marked_deleted) == (2, 2, 1)
    assert _live(warehouse, "segments", "id", "name") == [(1, "one"), (3, "THREE")]
    assert warehouse.query("SELECT id, name, _deleted_at, _synced_at FROM segments WHERE _deleted_at IS NOT NULL") == [
        (2, "two", TUESDAY, MONDAY)
    ]


def test_a_mark_tells_when_the_row_was_first_missed(warehouse: Warehouse) -> None:
    put(warehouse, "segments", _segments("one", "two"))
    put(warehouse, "segments", _segments("one"), at=TUESDAY)

    result = put(warehouse, "segments", _segments("one"), at=WEDNESDAY)

    assert result.rows_marked_deleted == 0
    assert warehouse.query("SELECT id, _deleted_at FROM segments WHERE id = 2") == [(2, TUESDAY)]


def test_a_mark_is_cleared_when_the_row_comes_back(warehouse: Warehouse) -> None:
    put(warehouse, "segments", _segments("one", "two"))
    put(warehouse, "segments", _segments("one"), at=TUESDAY)

    put(warehouse, "segments", _segments("one", "two again"), at=WEDNESDAY)

    assert warehouse.query("SELECT id, name, _deleted_at, _synced_at FROM segments ORDER BY id") == [
        (1, "one", None, WEDNESDAY),
        (2, "two again", None, WEDNESDAY),
    ]


def test_an_empty_list_marks_everything(warehouse: Warehouse) -> None:
    put(warehouse, "segments", _segments("one", "two"))

    result = put(warehouse, "segments", at=TUESDAY)

    assert (result.rows_in_table, result.rows_in_slice, result.rows_marked_deleted) == (0, 0, 2)
    assert _live(warehouse, "segments", "id") == []
    assert warehouse.query("SELECT count(*) FROM segments") == [(2,)]


def test_children_are_kept_apart_by_their_parent(warehouse: Warehouse) -> None:
    put(
        warehouse,
        "newsletter_test_groups",
        [{"newsletter_id": n, "id": i, "name": "A"} for n in (1, 2) for i in (0, 1)],
    )

    # Newsletter 1 lost a group; newsletter 2 is gone: none of its groups come.
    result = put(warehouse, "newsletter_test_groups", [{"newsletter_id": 1, "id": 0, "name": "B"}], at=TUESDAY)

    assert result.rows_marked_deleted == 3
    assert _live(warehouse, "newsletter_test_groups", "newsletter_id", "id", "name") == [(1, 0, "B")]


# window --------------------------------------------------------------------------------------------------------------

DAY = timedelta(days=1)
FIRST = datetime(2026, 1, 10, tzinfo=UTC)
SURE = datetime(2025, 8, 1, tzinfo=UTC)  # younger days the API surely keeps


def _message(number: int, created: str, subject: str = "old") -> dict[str, Any]:
    return {"id": f"m{number}", "created": unix(created), "subject": subject}


def _window(days: int = 1, horizon: datetime = SURE) -> Replace:
    return Replace(FIRST, FIRST + days * DAY, horizon)


STORED = [
    _message(1, "2026-01-09T23:59:59"),
    _message(2, "2026-01-10T00:00:00"),
    _message(3, "2026-01-10T23:59:59"),
    _message(4, "2026-01-11T00:00:00"),
    _message(5, "2026-01-11T12:00:00"),
    _message(6, "2026-01-12T00:00:00"),
]


@pytest.fixture
def deliveries(warehouse: Warehouse) -> Warehouse:
    """Six deliveries over four days."""
    put(warehouse, "messages", STORED, replace=Replace(FIRST - DAY, FIRST + 3 * DAY, SURE))
    return warehouse


def test_a_day_is_replaced_as_a_whole(deliveries: Warehouse) -> None:
    result = put(deliveries, "messages", [_message(3, "2026-01-10T23:59:59", "new")], at=TUESDAY, replace=_window())

    assert (result.rows_in_table, result.rows_in_slice, result.rows_marked_deleted) == (5, 1, 0)
    assert _live(deliveries, "messages", "id", "subject") == [
        ("m1", "old"),
        ("m3", "new"),
        ("m4", "old"),
        ("m5", "old"),
        ("m6", "old"),
    ]
    assert deliveries.query("SELECT _synced_at FROM messages WHERE id IN ('m1', 'm3') ORDER BY id") == [
        (MONDAY,),
        (TUESDAY,),
    ]


def test_a_window_that_comes_back_empty_keeps_its_rows(deliveries: Warehouse) -> None:
    result = put(deliveries, "messages", at=TUESDAY, replace=_window(days=2))

    assert (result.rows_in_table, result.rows_in_slice) == (6, 0)
    assert [row[0] for row in _live(deliveries, "messages", "id")] == ["m1", "m2", "m3", "m4", "m5", "m6"]


def test_a_day_of_a_window_that_comes_back_empty_keeps_its_rows(deliveries: Warehouse) -> None:
    put(deliveries, "messages", [_message(5, "2026-01-11T12:00:00", "new")], at=TUESDAY, replace=_window(days=2))

    assert [row[0] for row in _live(deliveries, "messages", "id")] == ["m1", "m2", "m3", "m5", "m6"]


def test_a_window_older_than_the_api_surely_keeps_only_adds(deliveries: Warehouse) -> None:
    came = [_message(3, "2026-01-10T23:59:59", "new"), _message(7, "2026-01-10T12:00:00", "new")]

    put(deliveries, "messages", came, at=TUESDAY, replace=_window(horizon=FIRST + 30 * DAY))

    assert _live(deliveries, "messages", "id", "subject") == [
        ("m1", "old"),
        ("m2", "old"),
        ("m3", "new"),
        ("m4", "old"),
        ("m5", "old"),
        ("m6", "old"),
        ("m7", "new"),
    ]


def test_the_day_in_which_the_api_begins_to_forget_only_adds(deliveries: Warehouse) -> None:
    came = [_message(3, "2026-01-10T23:59:59", "new"), _message(5, "2026-01-11T12:00:00", "new")]

    put(deliveries, "messages", came, at=TUESDAY, replace=_window(days=2, horizon=FIRST + timedelta(hours=18)))

    # The 10th began before the horizon: what is missing of it may just be forgotten. The 11th is replaced.
    assert [row[0] for row in _live(deliveries, "messages", "id")] == ["m1", "m2", "m3", "m5", "m6"]


def test_a_delivery_is_never_stored_twice(deliveries: Warehouse) -> None:
    moved = _message(1, "2026-01-10T08:00:00", "moved")  # the service corrected its time of creation

    result = put(deliveries, "messages", [moved], at=TUESDAY, replace=_window())

    assert result.rows_in_table == 4
    assert ("m1", "moved") in _live(deliveries, "messages", "id", "subject")
    assert deliveries.query("SELECT count(*), count(DISTINCT id) FROM messages") == [(4, 4)]


def test_days_are_those_of_utc(deliveries: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")

    put(deliveries, "messages", [_message(2, "2026-01-10T00:00:00", "new")], at=TUESDAY, replace=_window())

    assert [row[0] for row in _live(deliveries, "messages", "id")] == ["m1", "m2", "m4", "m5", "m6"]


def test_a_window_load_needs_its_window(warehouse: Warehouse) -> None:
    with pytest.raises(ValueError, match="window"):
        put(warehouse, "messages", STORED)


def test_messages_have_no_marks(deliveries: Warehouse) -> None:
    assert "_deleted_at" not in deliveries.read("messages").column_names


# series --------------------------------------------------------------------------------------------------------------


def _bucket(campaign: int, start: str, sent: int, period: str = "days") -> dict[str, Any]:
    return {"campaign_id": campaign, "period": period, "period_start": unix(start), "sent": sent}


def _span(campaign: int, first: str, end: str, period: str = "days") -> dict[str, Any]:
    return {"campaign_id": campaign, "period": period, "span_from": unix(first), "span_to": unix(end)}


@pytest.fixture
def counted(warehouse: Warehouse) -> Warehouse:
    """Metrics of two campaigns over three days, and one month."""
    rows = [_bucket(c, day, 1) for c in (1, 2) for day in ("2026-01-01", "2026-01-02", "2026-01-03")]
    put(warehouse, "campaign_metrics", rows, [_bucket(1, "2026-01-01", 3, "months")])
    return warehouse


def _counts(warehouse: Warehouse) -> list[tuple]:
    return warehouse.query("SELECT campaign_id, period, day(period_start), sent FROM campaign_metrics ORDER BY ALL")


def test_only_the_span_that_was_read_is_replaced(counted: Warehouse) -> None:
    result = put(
        counted,
        "campaign_metrics",
        [_bucket(1, "2026-01-02", 9)],
        spans=[_span(1, "2026-01-02", "2026-01-04")],
        at=TUESDAY,
    )

    # The 3rd fell to zero and is not stored; the 1st, the other campaign and the other period were not read.
    assert (result.rows_in_table, result.rows_in_slice) == (6, 1)
    assert _counts(counted) == [
        (1, "days", 1, 1),
        (1, "days", 2, 9),
        (1, "months", 1, 3),
        (2, "days", 1, 1),
        (2, "days", 2, 1),
        (2, "days", 3, 1),
    ]


def test_the_end_of_a_span_is_not_part_of_it(counted: Warehouse) -> None:
    put(counted, "campaign_metrics", spans=[_span(2, "2026-01-01", "2026-01-03")], at=TUESDAY)

    assert [row for row in _counts(counted) if row[0] == 2] == [(2, "days", 3, 1)]


def test_a_span_in_which_nothing_happened_any_more_is_emptied(counted: Warehouse) -> None:
    result = put(
        counted,
        "campaign_metrics",
        spans=[_span(c, "2026-01-01", "2026-02-01", p) for c in (1, 2) for p in ("days", "months")],
    )

    assert result.rows_in_table == 0


def test_without_a_span_buckets_are_only_added(counted: Warehouse) -> None:
    put(counted, "campaign_metrics", [_bucket(1, "2026-01-04", 9), _bucket(1, "2026-01-01", 8)], at=TUESDAY)

    assert [row for row in _counts(counted) if row[0] == 1] == [
        (1, "days", 1, 8),
        (1, "days", 2, 1),
        (1, "days", 3, 1),
        (1, "days", 4, 9),
        (1, "months", 1, 3),
    ]


# merge ---------------------------------------------------------------------------------------------------------------


def test_a_merge_updates_adds_and_forgets_nothing(warehouse: Warehouse) -> None:
    put(warehouse, "activities", [{"id": "a", "type": "event"}, {"id": "b", "type": "event"}])

    result = put(warehouse, "activities", [{"id": "b", "type": "page"}, {"id": "c", "type": "event"}], at=TUESDAY)

    assert (result.rows_in_table, result.rows_in_slice, result.rows_marked_deleted) == (3, 2, 0)
    assert warehouse.query("SELECT id, type, _synced_at FROM activities ORDER BY id") == [
        ("a", "event", MONDAY),
        ("b", "page", TUESDAY),
        ("c", "event", TUESDAY),
    ]


def test_a_merge_of_nothing_changes_nothing(warehouse: Warehouse) -> None:
    put(warehouse, "activities", [{"id": "a"}])

    result = put(warehouse, "activities", at=TUESDAY)

    assert (result.rows_in_table, result.rows_in_slice) == (1, 0)


# every rule ----------------------------------------------------------------------------------------------------------


def test_of_a_row_that_moved_between_pages_the_later_page_is_kept(warehouse: Warehouse) -> None:
    pages = [[{"id": n, "name": f"page {page}"} for n in (page, page + 1)] for page in range(1, 40)]

    result = put(warehouse, "segments", *pages)

    assert result.rows_in_slice == 40
    assert _live(warehouse, "segments", "id", "name") == [
        (1, "page 1"),
        *((n, f"page {n}") for n in range(2, 40)),
        (40, "page 39"),
    ]


def test_a_row_that_came_twice_in_one_page_is_stored_once(warehouse: Warehouse) -> None:
    result = put(warehouse, "activities", [{"id": "a", "type": "event"}] * 3)

    assert result.rows_in_table == 1
    assert result.rows_in_slice == 1


def test_rows_with_unknown_fields_are_counted(warehouse: Warehouse) -> None:
    rows = [{"id": 1, "_extra": {"new": [1, None]}}, {"id": 2, "_extra": None}, {"id": 3}]

    result = put(warehouse, "segments", rows)

    assert result.rows_with_unknown_fields == 1
    assert _live(warehouse, "segments", "id", "_extra")[0] == (1, '{"new":[1,null]}')


def test_a_load_can_be_repeated(warehouse: Warehouse) -> None:
    for _ in range(2):
        put(warehouse, "segments", _segments("one", "two"))
        put(warehouse, "messages", STORED, replace=Replace(FIRST - DAY, FIRST + 3 * DAY, SURE))

    assert len(_live(warehouse, "segments", "id")) == 2
    assert len(_live(warehouse, "messages", "id")) == 6


def test_a_view_shows_the_rows_of_its_table(warehouse: Warehouse) -> None:
    view = TABLES["campaign_messages"]
    assert create_view(warehouse, view, TABLES["messages"]) == 0  # before anything was read

    put(warehouse, "messages", [{"id": "a", "campaign_id": 1}, {"id": "b"}], replace=_window())

    assert create_view(warehouse, view, TABLES["messages"]) == 1
    assert warehouse.query("SELECT id FROM campaign_messages") == [("a",)]
