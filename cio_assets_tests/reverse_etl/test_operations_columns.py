"""Which columns a sync needs, which become attributes, and what else is written from the columns' names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from cio_assets.reverse_etl.model import BUILT_IN
from cio_assets.reverse_etl.operations import (
    attribute_columns,
    has_time,
    missing_columns,
    operations_sql,
    window_sql,
)
from cio_assets_tests.reverse_etl.written import connection, described, sync_of, written_from

TEXT = "VARCHAR"
ENOUGH = {
    "persons": "email",
    "events": "anonymous_id event_name",
    "objects": "object_type_id object_id",
    "relationships": "person_phone cio_object_id",
    "devices": "person_id token platform",
    "segment_members": "person_email segment_id",
    "removals": "cio_id",
    "merges": "primary_id secondary_email",
}


@pytest.mark.parametrize("sync", BUILT_IN, ids=lambda sync: sync.name)
def test_what_each_kind_needs(sync) -> None:
    enough = ENOUGH[sync.name].split()
    assert missing_columns(sync, dict.fromkeys(enough, TEXT)) is None
    for left_out in enough:
        problem = missing_columns(sync, {"x": TEXT, **{name: TEXT for name in enough if name != left_out}})
        assert problem is not None
        role = left_out.replace("email", "id") if sync.name == "merges" else left_out
        assert role in problem or "person_id" in problem or "id" in problem


@pytest.mark.parametrize(
    ("values", "columns", "says"),
    [
        ({"columns": ["plan", "plam"]}, "id plan", "columns names plam"),
        ({"identifiers": {"id": "user_no", "email": "email"}}, "email", "identifiers names user_no"),
        ({"cursor": "updated"}, "id updated_at", "cursor names updated"),
        ({}, "id cio_relationships", "relationships sync"),
        ({}, "id CIO_Relationships", "a sync of kind relationships"),
        ({}, "id _update", "mode update"),
        ({"identifiers": {"id": "user_no"}}, "id user_no", "both become id"),
    ],
)
def test_columns_that_keep_a_sync_of_persons_from_running(values: dict, columns: str, says: str) -> None:
    problem = missing_columns(sync_of("persons", **values), dict.fromkeys(columns.split(), TEXT))
    assert problem is not None
    assert says.replace("relationships sync", "kind relationships") in problem


def test_a_choice_of_columns_leaves_the_trouble_out() -> None:
    columns = dict.fromkeys(["id", "user_no", "cio_relationships", "_update", "plan"], TEXT)
    sync = sync_of("persons", identifiers={"id": "user_no"}, columns=["plan"])
    assert missing_columns(sync, columns) is None
    assert attribute_columns(sync, columns) == ("plan",)


def test_what_customerio_sets_on_devices_is_not_sent() -> None:
    columns = dict.fromkeys(["person_id", "token", "platform", "_last_status"], TEXT)
    assert "_last_status" in (missing_columns(sync_of("devices"), columns) or "")


def test_too_many_attributes_to_empty_at_once() -> None:
    columns = dict.fromkeys(["id", *(f"a{number}" for number in range(301))], TEXT)
    assert missing_columns(sync_of("persons"), columns) is None
    assert "gone unset" in (missing_columns(sync_of("persons", gone="unset"), columns) or "")


def test_events_need_no_timestamp_though_it_is_their_usual_cursor() -> None:
    columns = dict.fromkeys(["person_id", "event_name"], TEXT)
    assert missing_columns(sync_of("events", cursor="timestamp"), columns) is None
    assert "cursor names at" in (missing_columns(sync_of("events", cursor="at"), columns) or "")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("persons", ("created_at", "x", "event_name", "token", "person_id", "object_id")),
        ("events", ("cio_id", "created_at", "email", "id", "object_id", "token", "x")),
        ("objects", ("id", "email", "cio_id", "created_at", "x", "event_name", "token", "person_id")),
        ("devices", ("id", "email", "cio_id", "created_at", "x", "event_name", "object_id")),
        ("segment_members", ()),
        ("removals", ()),
        ("merges", ()),
    ],
)
def test_which_columns_become_attributes(kind: str, expected: tuple[str, ...]) -> None:
    names = "id email cio_id created_at x event_name token person_id object_id".split()
    assert sorted(attribute_columns(sync_of(kind), dict.fromkeys(names, TEXT))) == sorted(expected)


@pytest.mark.parametrize(
    "type_", ["TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_S", "DATE", "BIGINT", "DOUBLE", "VARCHAR", "JSON"]
)
def test_the_events_of_a_day(type_: str) -> None:
    seconds = [
        f"epoch(TIMESTAMP '{at}')::BIGINT"
        for at in ("2025-12-31 23:59:59", "2026-01-01", "2026-01-01 23:59:59", "2026-01-02")
    ]
    number = type_ in {"BIGINT", "DOUBLE", "JSON"}
    values = [f"{at}::{type_}" if number else f"make_timestamp({at} * 1000000)::{type_}" for at in seconds]
    start = datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    with connection() as con:
        rows = f'(SELECT unnest([{", ".join(values)}, NULL]) AS "timestamp", unnest([0, 1, 2, 3, 4]) AS n)'
        condition = window_sql(sync_of("events"), described(con, rows), start, datetime(2026, 1, 2, tzinfo=UTC))
        found = con.execute(f"SELECT n FROM {rows} WHERE {condition} ORDER BY n").fetchall()
    # A date has no time: the second before the year is a day before it, the last second is the day itself.
    assert found == [(1,), (2,)]


def test_no_timestamp_is_in_no_window() -> None:
    window = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
    assert window_sql(sync_of("events"), {"person_id": TEXT}, *window) == "FALSE"
    assert not has_time(sync_of("events"), {"person_id": TEXT})
    assert has_time(sync_of("events"), {"Timestamp": TEXT})
    assert not has_time(sync_of("persons"), {"timestamp": TEXT})


@pytest.mark.parametrize(
    ("type_", "unreadable"),
    [
        ("TIMESTAMP", ["infinity", "-infinity", "1969-12-31 23:59:59.999999", "2286-11-20 17:46:40"]),
        ("TIMESTAMP WITH TIME ZONE", ["infinity", "-infinity", "1969-12-31 23:59:59Z", "2286-11-20 17:46:40Z"]),
        ("TIMESTAMP_NS", ["infinity", "1969-12-31"]),
        ("DATE", ["infinity", "1969-12-31", "2286-11-21"]),
        ("BIGINT", ["-1", "1767225600000"]),
        ("DOUBLE", ["nan", "1.5", "-1"]),
        ("VARCHAR", ["soon", "1767225600000", "null"]),
        ("JSON", ["[1]", '"soon"']),
        ("BOOLEAN", ["true"]),
    ],
)
def test_events_whose_time_cannot_be_read_are_in_every_window(type_: str, unreadable: list[str]) -> None:
    """Else nobody would be told of them: they are in none."""
    window = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
    last = [] if type_ in {"BOOLEAN", "JSON"} else ["9999999999" if type_ in {"BIGINT", "DOUBLE"} else "2262-01-01"]
    values = ", ".join([*(f"CAST('{text}' AS {type_})" for text in [*unreadable, *last]), f"NULL::{type_}"])
    with connection() as con:
        con.execute(
            f"""CREATE TABLE t AS SELECT 'u' AS person_id, 'e' AS event_name, unnest([{values}]) AS "timestamp" """
        )
        rows = f"(SELECT * FROM t WHERE {window_sql(sync_of('events'), described(con, 't'), *window)})"
        found = written_from(con, sync_of("events"), rows)
        everything = written_from(con, sync_of("events"), "t")
    assert [row.reason for row in found] == ["timestamp_invalid"] * len(unreadable)
    assert sum(row.reason is not None for row in everything) == len(unreadable)


def test_the_cursor_is_handed_on_as_it_is() -> None:
    with connection() as con:
        rows = written_from(
            con, sync_of("persons", cursor="updated"), "(SELECT 'u' AS id, DATE '2026-01-01' AS updated)"
        )
    assert str(rows[0].recency) == "2026-01-01"


def test_names_are_never_taken_for_sql() -> None:
    """Whatever a column is called, the SQL has exactly the output's columns and runs."""
    name = "x'); DROP TABLE t; --"
    with connection() as con:
        con.execute(f"CREATE TABLE t AS SELECT 'u' AS id, 'v' AS \"{name}\"")
        con.execute(operations_sql(sync_of("persons", columns=[name]), described(con, "t"), "t")).fetchall()
        assert con.execute("SELECT count(*) FROM t").fetchall() == [(1,)]
