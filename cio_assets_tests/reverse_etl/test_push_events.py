"""Events end to end: once each, by cursor and by day, whatever comes late or twice."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from cio_assets_tests.reverse_etl.pushing import EVENTS, Pushing, sync, whole

TABLE = """
    CREATE OR REPLACE TABLE reverse_etl.events (
        person_email VARCHAR, person_id VARCHAR, anonymous_id VARCHAR, event_name VARCHAR, event_id VARCHAR,
        timestamp TIMESTAMP, event_type VARCHAR, price DECIMAL(9,2))"""


@pytest.fixture
def events(pushing: Pushing) -> Pushing:
    """With an empty table of events."""
    pushing.sql(TABLE)
    return pushing


def add(pushing: Pushing, **values: Any) -> None:
    """Insert one event."""
    row = {"person_id": "u_1", "event_name": "bought"} | values
    texts = ", ".join("NULL" if value is None else f"'{value}'" for value in row.values())
    pushing.sql(f"INSERT INTO reverse_etl.events ({', '.join(row)}) VALUES ({texts})")


def counted(pushing: Pushing) -> list[dict[str, Any]]:
    """The events that the workspace has counted."""
    assert pushing.box
    return pushing.box.truth("track_events")


def test_kinds_of_events_arrive_as_such(events: Pushing) -> None:
    add(events, timestamp="2026-10-01 12:00:00", price="9.90")
    add(events, person_id=None, person_email="ann@example.com", event_type="page", event_name="https://x.org/a")
    add(events, person_id=None, anonymous_id="device-7", event_type="screen", event_name="home")
    result = events.push(EVENTS)
    assert (result.rows, result.accepted, result.requests) == (3, 3, 2)
    found = {event["name"]: event for event in counted(events)}
    assert found["bought"]["timestamp"] == 1790856000
    assert found["bought"]["attributes"] == {"price": 9.90}
    assert found["https://x.org/a"]["type"] == "page"
    assert found["home"]["type"] == "screen"
    assert all(len(event["id"]) == 26 for event in found.values())
    assert events.push(EVENTS).requests == 0


def test_only_new_events_are_sent(events: Pushing) -> None:
    for hour in range(10):
        add(events, timestamp=f"2026-10-01 {hour:02}:00:00")
    assert events.push(EVENTS).accepted == 10
    add(events, timestamp="2026-10-02 00:00:00")
    result = events.push(EVENTS)
    assert (result.accepted, result.rows) == (1, 1), "what stands before the cursor was not looked at"
    add(events, timestamp="2026-09-30 00:00:00")
    late = events.push(EVENTS)
    assert (late.accepted, late.rows, late.unchanged) == (1, 12, 11), "a late row is found by its count"
    assert events.push(EVENTS).rows == 0
    assert len(counted(events)) == 12


def test_events_without_time_are_sent_once(events: Pushing) -> None:
    add(events)
    add(events, timestamp="2026-10-01 00:00:00")
    assert events.push(EVENTS).accepted == 2
    again = events.push(EVENTS)
    assert (again.requests, again.unchanged) == (0, 1)


def test_identical_rows_without_id_and_time_are_two_events(events: Pushing) -> None:
    add(events)
    add(events)
    assert events.push(EVENTS).accepted == 2
    assert len(counted(events)) == 2
    add(events)
    assert events.push(EVENTS).accepted == 1
    assert len({event["id"] for event in counted(events)}) == 3


def test_the_same_event_twice_is_one(events: Pushing) -> None:
    for _ in range(2):
        add(events, event_id="order-1", timestamp="2026-10-01 00:00:00")
    result = events.push(EVENTS)
    assert (result.accepted, result.rejected) == (1, {"duplicate_key": 1})
    assert len(counted(events)) == 1


def test_a_given_ulid_is_kept(events: Pushing) -> None:
    add(events, event_id="01ARZ3NDEKTSV4RRFFQ69G5FAV", timestamp="2026-10-01 00:00:00")
    events.push(EVENTS)
    assert counted(events)[0]["id"] == "01ARZ3NDEKTSV4RRFFQ69G5FAV"


def test_days_are_pushed_by_their_partitions(events: Pushing) -> None:
    for day in range(1, 8):
        add(events, timestamp=f"2026-10-{day:02} 23:59:59.9")
    window = (datetime(2026, 10, 2, tzinfo=UTC), datetime(2026, 10, 4, tzinfo=UTC))
    result = events.push(EVENTS, window=window)
    assert (result.rows, result.accepted) == (2, 2)
    rest = events.push(EVENTS)
    assert (rest.rows, rest.accepted, rest.unchanged) == (7, 5, 2)
    assert len(counted(events)) == 7


@pytest.mark.parametrize("type_", ["BIGINT", "VARCHAR", "TIMESTAMPTZ", "DATE"])
def test_days_are_found_whatever_the_type_of_the_time(pushing: Pushing, type_: str) -> None:
    times = {
        "BIGINT": ["1790812800", "1790899200"],
        "VARCHAR": ["2026-10-01T00:00:00Z", "2026-10-02"],
        "TIMESTAMPTZ": ["2026-10-01 02:00:00+02", "2026-10-02 00:00:00+00"],
        "DATE": ["2026-10-01", "2026-10-02"],
    }[type_]
    values = ", ".join(f"('u_1', 'bought', '{time}'::{type_})" for time in times)
    pushing.sql(f"CREATE TABLE reverse_etl.events AS FROM (VALUES {values}) t(person_id, event_name, timestamp)")
    window = (datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 10, 2, tzinfo=UTC))
    assert pushing.push(EVENTS, window=window).accepted == 1
    assert [event["timestamp"] for event in counted(pushing)] == [1790812800]


def test_a_rejected_event_leaves_the_list_when_it_is_mended(events: Pushing) -> None:
    add(events, event_name="", event_id="e1", timestamp="2026-10-01 00:00:00")
    add(events, event_id="e2", timestamp="2026-10-02 00:00:00")
    result = events.push(EVENTS)
    assert (result.accepted, result.rejected) == (1, {"event_name_missing": 1})
    assert whole(result)
    events.sql("UPDATE reverse_etl.events SET event_name = 'mended' WHERE event_id = 'e1'")
    assert events.push(EVENTS, retry_rejected=True).accepted == 1
    assert events.rejected() == []
    assert {event["name"] for event in counted(events)} == {"bought", "mended"}


def test_without_a_cursor_every_row_is_compared(events: Pushing) -> None:
    plain = sync("events")
    add(events, timestamp="2026-10-02 00:00:00")
    events.push(plain)
    add(events, timestamp="2026-10-01 00:00:00")
    result = events.push(plain)
    assert (result.rows, result.unchanged, result.accepted) == (2, 1, 1)


def test_full_does_not_count_events_twice(events: Pushing) -> None:
    for second in range(50):
        add(events, timestamp=f"2026-10-01 00:00:{second:02}")
    events.push(EVENTS)
    assert events.push(EVENTS, full=True).accepted == 0
    assert len(counted(events)) == 50


def test_rows_of_a_frame_are_events_too(pushing: Pushing) -> None:
    rows = pa.table({"person_id": ["a", "b"], "event_name": ["x", "y"], "timestamp": [1790812800, 1790812801]})
    assert pushing.push(EVENTS, rows).accepted == 2
