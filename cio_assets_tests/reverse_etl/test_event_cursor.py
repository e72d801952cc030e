"""What a plain push of events finds: new, late, mended and exchanged rows, each counted once, whatever the columns."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from cio_assets.reverse_etl.source import PushError
from cio_assets_tests.reverse_etl.pushing import EVENTS, Pushing, sync, whole
from cio_assets_tests.reverse_etl.test_push_events import TABLE, add, counted

OF_OCTOBER_FIRST = (datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 10, 2, tzinfo=UTC))
NEW_COLUMN = "ALTER TABLE reverse_etl.events ADD COLUMN channel VARCHAR DEFAULT 'web'"


@pytest.fixture
def events(pushing: Pushing) -> Pushing:
    """With an empty table of events."""
    pushing.sql(TABLE)
    return pushing


@pytest.mark.parametrize("how", ["plain", "retry_rejected", "full", "without a cursor"])
def test_a_new_column_does_not_count_the_history_again(events: Pushing, how: str) -> None:
    what = sync("events") if how == "without a cursor" else EVENTS
    for hour in range(5):
        add(events, timestamp=f"2026-10-01 0{hour}:00:00")
    events.push(what)
    events.sql(NEW_COLUMN)
    for _ in range(2):
        assert events.push(what, full=how == "full", retry_rejected=how == "retry_rejected").accepted == 0
    assert len(counted(events)) == 5


def test_a_late_row_with_a_new_column_counts_alone(events: Pushing) -> None:
    for hour in range(5):
        add(events, timestamp=f"2026-10-01 0{hour}:00:00")
    events.push(EVENTS)
    events.sql(NEW_COLUMN)
    add(events, timestamp="2026-09-01 00:00:00")
    add(events, timestamp="2026-10-02 00:00:00")
    assert events.push(EVENTS).accepted == 2
    assert len(counted(events)) == 7


def test_events_without_time_are_not_counted_again_for_a_new_column(events: Pushing) -> None:
    add(events)
    add(events, timestamp="2026-10-01 00:00:00")
    events.push(EVENTS)
    events.sql(NEW_COLUMN)
    assert events.push(EVENTS).accepted == 0
    assert len(counted(events)) == 2


def test_a_rejected_event_that_is_mended_in_place_is_sent(events: Pushing) -> None:
    add(events, event_name="", event_id="e1", timestamp="2026-10-01 00:00:00")
    add(events, event_id="e2", timestamp="2026-10-02 00:00:00")
    events.push(EVENTS)
    events.sql("UPDATE reverse_etl.events SET event_name = 'mended' WHERE event_id = 'e1'")
    result = events.push(EVENTS)
    assert (result.accepted, result.rejected) == (1, {})
    assert events.rejected() == []
    assert sorted(event["name"] for event in counted(events)) == ["bought", "mended"]
    assert events.push(EVENTS).requests == 0


def test_a_rejected_event_behind_the_cursor_stays_in_the_list(events: Pushing) -> None:
    add(events, event_name="", event_id="e1", timestamp="2026-10-01 00:00:00")
    add(events, event_id="e2", timestamp="2026-10-02 00:00:00")
    events.push(EVENTS)
    kept = events.rejected()
    add(events, event_id="e3", timestamp="2026-10-03 00:00:00")
    assert events.push(EVENTS).accepted == 1
    assert events.rejected() == kept
    assert len(kept) == 1


def test_rows_exchanged_behind_the_cursor_are_found(events: Pushing) -> None:
    for price in (1, 2):
        add(events, timestamp="2026-10-01 00:00:00", price=price)
    add(events, timestamp="2026-10-09 00:00:00")
    events.push(EVENTS)
    events.sql("DELETE FROM reverse_etl.events WHERE timestamp = '2026-10-01'")
    for price in (3, 4):
        add(events, timestamp="2026-10-02 00:00:00", price=price)
    assert events.push(EVENTS).accepted == 2
    assert len(counted(events)) == 5


def test_an_event_exchanged_for_another_of_its_day_is_found(pushing: Pushing) -> None:
    pushing.sql(
        """CREATE TABLE reverse_etl.events AS FROM (VALUES ('u_1', 'seen', DATE '2026-10-01'),
           ('u_2', 'seen', DATE '2026-10-02')) t(person_id, event_name, timestamp)"""
    )
    pushing.push(EVENTS)
    pushing.sql("UPDATE reverse_etl.events SET person_id = 'u_3' WHERE person_id = 'u_1'")
    assert pushing.push(EVENTS).accepted == 1
    assert len(counted(pushing)) == 3


def test_alike_events_are_counted_when_the_cursor_is_not_sent(pushing: Pushing) -> None:
    what = sync("events", cursor="loaded_at", columns=["price"])
    pushing.sql(
        """CREATE TABLE reverse_etl.events AS FROM (VALUES ('u_1', 'click', 1, TIMESTAMP '2026-10-01'))
           t(person_id, event_name, price, loaded_at)"""
    )
    for day in (1, 2, 3):
        if day > 1:
            pushing.sql(f"INSERT INTO reverse_etl.events VALUES ('u_1', 'click', 1, '2026-10-0{day}')")
        assert pushing.push(what).accepted == 1
        assert len(counted(pushing)) == day
    assert pushing.push(what).requests == 0
    assert pushing.push(what, full=True).accepted == 0
    assert len(counted(pushing)) == 3


def test_another_type_of_the_time_does_not_break_pushes(pushing: Pushing) -> None:
    made = "CREATE OR REPLACE TABLE reverse_etl.events AS FROM (VALUES {}) t(person_id, event_name, timestamp)"
    pushing.sql(made.format("('u_1', 'seen', TIMESTAMP '2026-10-01')"))
    pushing.push(EVENTS)
    pushing.sql(made.format("('u_1', 'seen', 1790812800), ('u_1', 'seen', 1790812900)"))
    pushing.push(EVENTS)
    assert len(counted(pushing)) == 2, "the first is the one that was told"
    assert pushing.push(EVENTS).requests == 0
    pushing.sql(made.format("('u_1', 'seen', '2026-10-01'), ('u_1', 'seen', 'soon')"))
    assert pushing.push(EVENTS).rejected == {"timestamp_invalid": 1}
    assert len(counted(pushing)) == 2


def test_columns_in_another_case_are_the_same_columns(pushing: Pushing) -> None:
    pushing.sql(
        """CREATE TABLE reverse_etl.EVENTS AS SELECT 'u_1' AS Person_Id, 'seen' AS Event_Name,
           TIMESTAMP '2026-10-01' AS "Timestamp" """
    )
    assert pushing.push(EVENTS).accepted == 1
    assert pushing.push(EVENTS).rows == 0, "what stands before the cursor is not looked at"
    pushing.sql("INSERT INTO reverse_etl.events VALUES ('u_1', 'seen', '2026-10-02')")
    result = pushing.push(EVENTS)
    assert (result.rows, result.accepted) == (1, 1)


def test_an_event_is_told_once_whatever_becomes_of_its_row(events: Pushing) -> None:
    what = sync("events")
    add(events, event_id="e1", timestamp="2026-10-01 00:00:00", price=1)
    events.push(what)
    events.sql("UPDATE reverse_etl.events SET price = 2")
    result = events.push(what)
    assert (result.requests, result.unchanged) == (0, 1)


def test_a_window_says_nothing_of_the_rows_outside(events: Pushing) -> None:
    add(events, event_name="", event_id="e1", timestamp="2026-10-05 00:00:00")
    add(events, event_name="", event_id="e2", timestamp="2026-10-01 00:00:00")
    events.push(EVENTS)
    outside = next(row for row in events.rejected() if row)
    events.sql("UPDATE reverse_etl.events SET event_name = 'mended' WHERE event_id = 'e2'")
    kept = events.rejected()
    result = events.push(EVENTS, window=OF_OCTOBER_FIRST)
    assert (result.rows, result.accepted) == (1, 1)
    assert len(events.rejected()) == 1, "the other day's row stays rejected"
    assert events.rejected()[0] in kept
    assert outside[1] == "event_name_missing"


def test_a_window_needs_a_time(pushing: Pushing) -> None:
    rows = pa.table({"person_id": ["u_1"], "event_name": ["seen"]})
    with pytest.raises(PushError, match="timestamp"):
        pushing.push(EVENTS, rows, window=OF_OCTOBER_FIRST)
    assert pushing.box
    assert pushing.box.stats()["track_requests"] == 0


def test_times_that_cannot_be_read_are_rejected_in_a_window(pushing: Pushing) -> None:
    times = ["2026-10-01T05:00:00Z", "2026-10-03", "soon"]
    rows = pa.table({"person_id": ["u_1"] * 3, "event_name": ["seen"] * 3, "timestamp": times})
    result = pushing.push(EVENTS, rows, window=OF_OCTOBER_FIRST)
    assert (result.rows, result.accepted, result.rejected) == (2, 1, {"timestamp_invalid": 1})
    assert whole(result)
    assert [row[1] for row in pushing.rejected()] == ["timestamp_invalid"]
