"""Any frame: the SQL never fails, every source row is one output row, good or rejected, and always the same one."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cio_assets.reverse_etl.model import IDENTIFIERS, Kind, Mode
from cio_assets.warehouse.sql import literal, quoted
from cio_assets_tests.reverse_etl.written import Written, connection, sync_of, written_from

_TEXTS = st.one_of(
    st.sampled_from(
        ["", " ", "null", "NULL", "u_1", "a@b", "A@B", "+491", "cio_1", "x" * 151, "😀" * 38, "😀" * 251, "x" * 9000,
         "2026-01-01", "2026-01-01T00:00Z", "1767225600", "9" * 30, "page", "ios", "delete", "nan", "Infinity",
         '{"topics":{"a":true}}', '{"a":1}', "01KDVQ4Y1S8Q0M7Z2T9V3W5X6Y", "1", "0", "\u00a0", "a\nb", "'", '"'],
    ),
    st.text(st.characters(codec="utf-8"), max_size=12),
)  # fmt: skip
_JSON = st.sampled_from(
    ["null", "1", "1.0", "-1.5", "1e400", "NaN", "-Infinity", '""', '"null"', '"u_1"', '" a@b "', "[]", "{}",
     "[1, NaN]", '{"a": {"b": [1, null, "NaN"]}}', "true", '{"topics": {"x": true}}', '{"topics": [1]}',
     "123456789012345678901", '"\\u0000"',
     '"2026-01-01"', '["a", "b"]', '{"a": 1, }', '"' + "x" * 1001 + '"']
)  # fmt: skip
_TEXTS_OF_FLOATS = [
    "nan",
    "inf",
    "-inf",
    "0",
    "-0.0",
    "1",
    "1001.0",
    "0.1",
    "1e300",
    "1e-300",
    "1767225600",
    "16777217",
    "1e16",
]


def _text(text: str) -> str:
    """SQL of a text; a literal cannot hold a NUL, a value can."""
    return literal(text).replace("\0", "' || chr(0) || '")


def _typed(type_: str, *texts: str) -> st.SearchStrategy[tuple[str, list[str]]]:
    return st.tuples(
        st.just(type_), st.lists(st.sampled_from([f"{literal(text)}::{type_}" for text in texts]), min_size=1)
    )


_DATES = [
    "infinity",
    "-infinity",
    "1969-12-31 23:59:59.5",
    "1970-01-01",
    "2026-01-01 12:00:00.123456",
    "2262-01-01",
    "1677-10-01",
]
_NEVER = ["0001-01-01", "9999-12-31", "290000-01-01"]
_COLUMNS = st.one_of(
    st.tuples(st.just("VARCHAR"), st.lists(_TEXTS.map(_text), min_size=1)),
    st.tuples(st.just("JSON"), st.lists(_JSON.map(lambda text: f"{literal(text)}::JSON"), min_size=1)),
    _typed("BOOLEAN", "true", "false"),
    _typed("TINYINT", "-128", "0", "1", "127"),
    _typed("BIGINT", "-9223372036854775808", "-1", "0", "1767225600", "1767225600000", "9223372036854775807"),
    _typed("UBIGINT", "0", "9223372036854775807", "9223372036854775808", "18446744073709551615"),
    _typed("HUGEINT", "-170141183460469231731687303715884105728", "0", "170141183460469231731687303715884105727"),
    _typed("UHUGEINT", "0", "340282366920938463463374607431768211455"),
    _typed("BIGNUM", "0", "-1", "9" * 60),
    _typed("DOUBLE", *_TEXTS_OF_FLOATS),
    _typed("FLOAT", *[text for text in _TEXTS_OF_FLOATS if "300" not in text]),
    _typed("DECIMAL(12,2)", "0", "-0.05", "1001", "1767225600.50", "9999999999.99"),
    _typed("DECIMAL(38,38)", "0", "0.05", "-0.5"),
    _typed("DECIMAL(38,0)", "0", "9" * 38, "-1"),
    _typed("TIMESTAMP", *_DATES, *_NEVER, "290308-12-22 (BC) 00:00:00", "294247-01-10 04:00:54.775806"),
    _typed("TIMESTAMPTZ", *_DATES, *_NEVER, "290308-12-22 (BC) 00:00:00+00", "294247-01-10 04:00:54.775806+00"),
    _typed("TIMESTAMP_S", *_DATES, *_NEVER),
    _typed("TIMESTAMP_MS", *_DATES, *_NEVER),
    _typed("TIMESTAMP_NS", *_DATES),
    _typed("DATE", *_DATES, *_NEVER, "5877642-06-25 (BC)", "5881580-07-10"),
    _typed("TIME", "00:00:00", "23:59:59.999999"),
    _typed("TIMETZ", "00:00:00+15:59", "23:59:59-08"),
    _typed("INTERVAL", "1 day", "-1 month"),
    _typed("UUID", "6f1c0c9e-0000-4000-8000-000000000001"),
    _typed("BLOB", "x", "\\xff\\x00"),
    _typed("BIT", "0", "10101"),
    _typed("ENUM('', 'null', 'u_1', 'page', 'IOS')", "", "null", "u_1", "page", "IOS"),
    _typed("GEOMETRY", "POINT (1 2)"),
    _typed("DOUBLE[]", "[]", "[1.5, NULL]", "[nan]", "[inf]"),
    _typed("VARCHAR[]", "[]", "[a, b]", "[NULL]"),
    _typed("INTEGER[2]", "[1, 2]"),
    _typed("DECIMAL(30,30)[]", "[0.5]"),
    _typed('STRUCT(a INTEGER, "b ""c" VARCHAR, "nan" FLOAT)', "{a: 1, 'b \"c': x, nan: 1}", "{a: NULL, nan: nan}"),
    _typed("STRUCT(topics STRUCT(a BOOLEAN))", "{topics: {a: true}}", "{topics: {a: NULL}}", "{topics: NULL}"),
    _typed("STRUCT(b BLOB)", "{b: x}", "{b: NULL}"),
    _typed("MAP(VARCHAR, TIMESTAMP)", "{}", "{a=infinity}", "{a=2026-01-01}"),
    _typed("UNION(n INTEGER, t VARCHAR)", "1", "x"),
    st.tuples(st.just("VARIANT"), st.lists(st.sampled_from(["1::VARIANT", "'x'::VARIANT"]), min_size=1)),
)  # fmt: skip
_USED = {
    "timestamp", "event_name", "event_id", "event_type", "token", "platform", "last_used", "segment_id", "action",
    "requested_at", "object_type_id", "object_id", "cio_object_id", "created_at", "cio_subscription_preferences",
    "push_enabled", "keywords", "url", "title", "primary_id", "primary_email", "secondary_id", "secondary_email",
}  # fmt: skip
_NAMES = st.one_of(
    st.sampled_from(sorted(_USED | {column for columns in IDENTIFIERS.values() for column in columns.values()})),
    st.sampled_from(
        [
            "Plan",
            "a b",
            'q"u',
            "it's",
            "a.b",
            "é😀",
            "c1",
            "t_c1",
            "key",
            "sent",
            "n" * 151,
            "{text}",
            "\\",
            "Created_AT",
        ]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8),
)
_ENOUGH = {
    Kind.PERSONS: {"id": "'u_' || n"},
    Kind.EVENTS: {"person_id": "'u_' || n", "event_name": "'e'"},
    Kind.OBJECTS: {"object_type_id": "1", "object_id": "'o_' || n"},
    Kind.RELATIONSHIPS: {"person_id": "'u_' || n", "object_type_id": "1", "object_id": "'o_' || n"},
    Kind.DEVICES: {"person_id": "'u_' || n", "token": "'t'", "platform": "'ios'"},
    Kind.SEGMENT_MEMBERS: {"person_id": "'u_' || n", "segment_id": "7"},
    Kind.REMOVALS: {"id": "'u_' || n"},
    Kind.MERGES: {"primary_id": "'u_' || n", "secondary_id": "'v_' || n"},
}
"""What makes most rows good ones, unless the frame has columns of these names."""


@st.composite
def frames(draw: st.DrawFn) -> tuple[Kind, str]:
    """A kind, and the SELECT of a few rows; about a quarter of the values are NULL."""
    kind = draw(st.sampled_from(list(Kind)))
    rows = draw(st.integers(0, 6))
    columns = draw(st.dictionaries(_NAMES, _COLUMNS, max_size=8))
    drawn = {name.casefold() for name in columns}
    listed = [f"{sql} AS {quoted(name)}" for name, sql in _ENOUGH[kind].items() if name not in drawn]
    seen: set[str] = set()
    for name, (type_, values) in columns.items():
        # DuckDB knows a name whatever its case.
        if name.casefold() in seen:
            continue
        seen.add(name.casefold())
        picked = [
            f"({draw(st.sampled_from([*values, *values, *values, 'NULL']))})::{type_}" for _ in range(max(rows, 1))
        ]
        listed.append(f"(list_value({', '.join(picked)}))[n + 1] AS {quoted(name)}")
    return kind, f"SELECT {', '.join(listed)} FROM range({rows}) r(n)"


def _run(con: duckdb.DuckDBPyConnection, kind: Kind, relation: str, **values: Any) -> list[Written]:
    """What is written, in any order that is always the same (`recency` may be a list, which is not hashable)."""
    return sorted(written_from(con, sync_of(kind.value, **values), relation), key=repr)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(frames(), st.sampled_from(["omit", "unset"]), st.booleans())
def test_any_frame(frame: tuple[Kind, str], nulls: str, update: bool) -> None:
    """`written_from` holds every row against the schema and the limits; here they are counted and repeated."""
    kind, select = frame
    values: dict[str, Any] = {"nulls": nulls}
    if kind is Kind.PERSONS and update:
        values["mode"] = Mode.UPDATE
    with connection() as con:
        con.execute(f"CREATE TABLE frame AS {select}")
        (rows,) = con.execute("SELECT count(*) FROM frame").fetchall()[0]
        found = _run(con, kind, "frame", **values)
        assert len(found) == rows
        assert _run(con, kind, "frame", **values) == found
        con.execute("CREATE TABLE turned AS SELECT * FROM frame ORDER BY rowid DESC")
        assert _run(con, kind, "turned", **values) == found


@pytest.mark.parametrize("kind", list(Kind))
def test_a_frame_without_any_known_column(kind: Kind) -> None:
    """It has its own error, for the whole sync; yet the SQL holds."""
    with connection() as con:
        found = _run(con, kind, "(SELECT 1 AS x)")
    assert [row.reason is not None for row in found] == [True]
