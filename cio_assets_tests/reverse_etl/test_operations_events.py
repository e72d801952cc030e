"""Events: who, what, when, and the id by which Customer.io knows an event that it has seen before."""

from __future__ import annotations

import json

import pytest

from cio_assets.reverse_etl.operations import operations_sql
from cio_assets.reverse_etl.operations.ulid import ALPHABET
from cio_assets_tests.reverse_etl.written import connection, described, one, sync_of, written

BASE = "'u_1' AS person_id, 'bought' AS event_name"


def test_an_event_of_a_person() -> None:
    row = one(
        "events",
        "'u_1' AS person_id, ' bought ' AS event_name, '01kdvq4y1s8q0m7z2t9v3w5x6y' AS event_id, "
        "TIMESTAMP '2026-01-01 00:00:00.5' AS \"timestamp\", 23.45 AS price, NULL AS coupon",
    )
    assert row.lane == "batch"
    assert row.key == '{"id":"01KDVQ4Y1S8Q0M7Z2T9V3W5X6Y"}'
    assert row.json == {
        "type": "person",
        "identifiers": {"id": "u_1"},
        "action": "event",
        "name": "bought",
        "id": "01KDVQ4Y1S8Q0M7Z2T9V3W5X6Y",
        "timestamp": 1767225600,
        "attributes": {"price": 23.45},
    }


def test_an_anonymous_event_has_the_shape_of_version_1() -> None:
    row = one("events", "'a_\"1' AS anonymous_id, NULL AS person_id, 'seen' AS event_name, 5 AS x, 0 AS \"timestamp\"")
    assert row.lane == "anonymous"
    assert row.json == {
        "name": "seen", "type": "event", "id": row.json["id"], "timestamp": 0, "anonymous_id": 'a_"1', "data": {"x": 5},
    }  # fmt: skip
    assert json.loads(row.key or "") == {"id": row.json["id"]}


def test_identifiers_are_looked_for_in_the_order_of_the_sync() -> None:
    select = "'u' AS person_id, 'a@b' AS person_email, 'c' AS person_cio_id, 'n' AS anonymous_id, 'e' AS event_name"
    assert one("events", select).json["identifiers"] == {"email": "a@b"}
    assert one("events", select, identifiers=["cio_id", "id"]).json["identifiers"] == {"cio_id": "c"}
    # An identifier that is not sent breaks no rule.
    assert one("events", select.replace("'u'", "'null'")).reason is None
    missing = one("events", "NULL AS person_id, '' AS anonymous_id, 'e' AS event_name")
    assert missing.reason == "identifier_missing"


@pytest.mark.parametrize("name", ["NULL", "''", "' \t'", "chr(160)", "'null'::JSON", "true", "[1]"])
def test_an_event_needs_a_name(name: str) -> None:
    row = one("events", f"'u_1' AS person_id, {name} AS event_name")
    assert (row.reason, row.field) == ("event_name_missing", "event_name")


@pytest.mark.parametrize(
    ("given", "sent"),
    [("'event'", "event"), ("' PAGE '", "page"), ("'Screen'", "screen"), ("NULL", "event"), ("''", "event")],
)
def test_event_types(given: str, sent: str) -> None:
    assert one("events", f"{BASE}, {given} AS event_type").json["action"] == sent
    anonymous = one("events", f"'n' AS anonymous_id, 'seen' AS event_name, {given} AS event_type")
    assert anonymous.json["type"] == sent


@pytest.mark.parametrize("given", ["'click'", "1", "true", "'null'"])
def test_other_event_types_are_rejected(given: str) -> None:
    row = one("events", f"{BASE}, {given} AS event_type")
    assert (row.reason, row.field) == ("event_type_invalid", "event_type")


def test_attributes_with_a_meaning_are_text() -> None:
    names = ("recipient", "from_address", "reply_to", "path", "referrer", "search", "title", "url")
    row = one("events", f"{BASE}, 'page' AS event_type, " + ", ".join(f"{{'a': 1}} AS {name}" for name in names))
    assert row.json["attributes"] == dict.fromkeys(names, '{"a":1}')
    assert one("events", f"{BASE}, 5 AS url").json["attributes"] == {"url": "5"}


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ("['a', 'b']", True),
        ("'[\"a\"]'::JSON", True),
        ("NULL", True),
        ("'a'", False),
        ("[1]", False),
        ("['a', NULL]", False),
    ],
)
def test_keywords_of_a_page_are_a_list_of_texts(value: str, good: bool) -> None:
    row = one("events", f"{BASE}, 'page' AS event_type, {value} AS keywords")
    assert row.reason == (None if good else "value_not_representable")
    assert one("events", f"{BASE}, {value} AS keywords").reason is None


def ids(select: str, id_attributes: list[str] | None = None) -> list[str]:
    rows = written("events", select, id_attributes=id_attributes)
    assert all(row.reason is None for row in rows)
    return [row.json["id"] for row in rows]


def one_id(select: str, id_attributes: list[str] | None = None) -> str:
    (found,) = ids(f"SELECT {select}", id_attributes)
    return found


def test_an_id_comes_from_event_id_and_time() -> None:
    first = one_id(f"{BASE}, 'order 1' AS event_id, 1767225600 AS \"timestamp\"")
    other = "'other' AS person_id, 'sold' AS event_name, DATE '2026-01-01' AS \"timestamp\", 5 AS new"
    assert first == one_id(f"{other}, 'order 1' AS event_id")
    milliseconds = 0
    for character in first[:10]:
        milliseconds = milliseconds * 32 + ALPHABET.index(character)
    assert milliseconds == 1767225600 * 1000
    assert first != one_id(f"{BASE}, 'order 2' AS event_id, 1767225600 AS \"timestamp\"")
    assert first != one_id(f"{BASE}, 'order 1' AS event_id")


@pytest.mark.parametrize("given", ["1001", "1001.0::DOUBLE", "'1001'", "' 1001 '", "'1001'::JSON"])
def test_an_event_id_is_the_same_in_every_type(given: str) -> None:
    assert one_id(f"{BASE}, {given} AS event_id") == one_id(f"{BASE}, 1001::HUGEINT AS event_id")


@pytest.mark.parametrize("given", ["'null'", "true", "[1]", "1.5"])
def test_an_event_id_that_is_none_is_rejected(given: str) -> None:
    row = one("events", f"{BASE}, {given} AS event_id")
    assert (row.reason, row.field, row.key) == ("identifier_invalid", "event_id", None)


def test_without_event_id_the_id_comes_from_all_that_is_sent() -> None:
    base = f"{BASE}, TIMESTAMP '2026-01-01 00:00:00' AS \"timestamp\", 1 AS a"
    same = one_id(base)
    assert same == one_id(f"1 AS a, NULL AS later, '' AS event_id, DATE '2026-01-01' AS \"timestamp\", {BASE}")
    others = [
        f"{base}, 'x' AS later",
        base.replace("'u_1'", "'u_2'"),
        base.replace("'bought'", "'sold'"),
        base.replace("00:00:00'", "00:00:00.000001'"),
        base.replace("1 AS a", "2 AS a"),
        base.replace("1 AS a", "1 AS b"),
        f"{base}, 'page' AS event_type",
    ]
    assert len({same, *(one_id(other) for other in others)}) == 1 + len(others)


def test_a_new_column_makes_no_new_ids() -> None:
    base = f'{BASE}, 5 AS "timestamp", 1 AS a, \'x\' AS "B"'
    first = one_id(base)
    assert first == one_id(base, ["B", "a"])
    assert first == one_id(f"'new' AS aa, {base}, {{'n': 1}} AS later", ["a", "B"])
    assert first == one_id(f"'new' AS aa, {base.replace('1 AS a', '1 AS A')}", ["a", "b", "B"][::2]), "spelt otherwise"
    row = one("events", f"'new' AS aa, {base}", id_attributes=["a", "B"])
    assert row.json["attributes"] == {"a": 1, "aa": "new", "B": "x"}, "yet it is sent"
    assert first != one_id(base.replace("1 AS a", "2 AS a"), ["a", "B"])
    # A column that went is as one that holds nothing.
    assert one_id(f"{base}, NULL AS c") == first == one_id(base, ["a", "B", "c"])
    assert one_id(base, []) == one_id(f'{BASE}, 5 AS "timestamp"')


def test_a_new_column_makes_no_new_ids_without_a_time() -> None:
    before = ids(f"SELECT {BASE}, i // 2 AS half FROM range(6) r(i)")
    now = ids(f"SELECT {BASE}, i // 2 AS half, i AS aa FROM range(6) r(i)", ["half"])
    assert before == now
    assert len(set(now)) == 6


def test_alike_rows_without_id_and_time_are_events_of_their_own() -> None:
    found = ids(f"SELECT {BASE}, i // 2 AS half FROM range(6) r(i)")
    assert len(set(found)) == 6
    # In whatever order the rows come, and however many others there are.
    assert found == ids(f"SELECT * FROM (SELECT {BASE}, i // 2 AS half FROM range(6) r(i) ORDER BY i DESC)")
    assert set(found) < set(ids(f"SELECT {BASE}, i // 2 AS half FROM range(9) r(i)"))


def test_alike_rows_with_a_time_or_an_id_are_one_event() -> None:
    assert len(set(ids(f'SELECT {BASE}, 5 AS "timestamp" FROM range(3)'))) == 1
    assert len(set(ids(f"SELECT {BASE}, 'x' AS event_id FROM range(3)"))) == 1


def test_each_row_is_counted_by_itself() -> None:
    """Of the four, two have no time: those are two events; the others are one."""
    select = "SELECT 'u' AS person_id, 'e' AS event_name, NULL AS event_id, unnest([5, 5, NULL, NULL]) AS \"timestamp\""
    rows = written("events", select)
    assert len(rows) == 4
    assert sorted(row.json.get("timestamp", 0) for row in rows) == [0, 0, 5, 5]
    assert len({row.key for row in rows}) == 3


def test_a_rejected_event_keeps_the_key_of_its_event_id() -> None:
    """So that it leaves the rejected ones when it is corrected."""
    bad = one("events", "'u_1' AS person_id, '' AS event_name, 'order 1' AS event_id, 5 AS \"timestamp\"")
    good = one("events", f"{BASE}, 'order 1' AS event_id, 5 AS \"timestamp\"")
    assert bad.reason == "event_name_missing"
    assert bad.key == good.key
    assert one("events", "'u_1' AS person_id, '' AS event_name, 5 AS \"timestamp\"").key is None


def test_events_are_not_gathered_unless_they_must_be() -> None:
    """Rows with a time stream: the plan's window reads only the others."""
    with connection() as con:
        con.execute(
            "CREATE TABLE t AS SELECT 'u' AS person_id, 'e' AS event_name, i AS \"timestamp\" FROM range(10000) r(i)"
        )
        con.execute("INSERT INTO t VALUES ('u', 'e', NULL), ('u', 'e', NULL)")
        types = described(con, "t")
        con.execute("PRAGMA enable_profiling = 'no_output'")
        con.execute(operations_sql(sync_of("events"), types, "t")).fetchall()
        profile = json.loads(con.get_profiling_information("json"))
    windows = [node for node in _nodes(profile) if node.get("operator_type") in {"WINDOW", "STREAMING_WINDOW"}]
    assert [node["operator_cardinality"] for node in windows] == [2]


def _nodes(node: dict) -> list[dict]:
    return [node] + [inner for child in node.get("children", []) for inner in _nodes(child)]
