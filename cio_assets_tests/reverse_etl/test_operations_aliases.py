"""The keys that a row has besides its own: whoever is only written under another identifier is not gone."""

from __future__ import annotations

import json
import re

import pytest

from cio_assets.reverse_etl.operations import operations_sql
from cio_assets_tests.reverse_etl.written import connection, described, one, sync_of

EVERYTHING = "' u_1 ' AS id, 'Ann@B' AS email, '+491' AS phone, 7.0::DOUBLE AS cio_id"
PEOPLE = EVERYTHING.replace("AS ", "AS person_")
THING = "1 AS object_type_id, ' acme' AS object_id, 'o7' AS cio_object_id"


def also(kind: str, select: str, **values: object) -> list[str] | None:
    row = one(kind, select, **values)
    return None if row.also is None else sorted(json.loads(row.also))


def test_other_keys_of_a_person() -> None:
    assert also("persons", EVERYTHING) == ['{"cio_id":"7"}', '{"email":"ann@b"}', '{"phone":"+491"}']
    assert also("persons", EVERYTHING, identifiers=["email", "id"]) == ['{"id":"u_1"}']
    assert also("persons", "'u' AS id, '' AS email, NULL AS phone") is None
    assert also("persons", "NULL AS id, 'a@b' AS email") is None
    assert also("persons", "'u' AS id") is None


def test_rejected_rows_are_known_too() -> None:
    """Somebody whose row cannot be sent any more has not left."""
    row = one("persons", "'u' AS id, 'a@b' AS email, 'nan'::DOUBLE AS x")
    assert (row.reason, row.key, row.also) == ("value_not_representable", '{"id":"u"}', '["{\\"email\\":\\"a@b\\"}"]')
    row = one("persons", "'null' AS id, 'a@b' AS email")
    assert (row.reason, row.key, row.also) == ("identifier_invalid", None, '["{\\"email\\":\\"a@b\\"}"]')
    assert also("persons", "'u' AS id, 'bad' AS email, '1' AS phone") is None


def test_other_keys_of_an_object() -> None:
    assert also("objects", THING) == ['{"cio_object_id":"o7"}']
    assert also("objects", THING.replace("1 AS", "NULL AS")) is None
    assert also("objects", THING.replace("1 AS", "'one' AS")) == ['{"cio_object_id":"o7"}']
    assert also("objects", "1 AS object_type_id, 'acme' AS object_id") is None


def test_other_keys_of_a_relationship() -> None:
    people = ['{"cio_id":"7"}', '{"email":"ann@b"}', '{"id":"u_1"}']
    things = ['{"cio_object_id":"o7"}', '{"object_type_id":"1","object_id":"acme"}']
    row = one("relationships", f"{PEOPLE}, {THING}", identifiers=["email", "id", "cio_id"])
    every = {f'{{"person":{person},"object":{thing}}}' for person in people for thing in things}
    assert row.key in every
    assert {row.key, *json.loads(row.also or "")} == every
    assert len(every) == 6
    assert also("relationships", f"'u' AS person_id, {THING.replace('1 AS', 'NULL AS')}") is None


def test_other_keys_of_a_device() -> None:
    device = "'Tok' AS token, 'ios' AS platform"
    found = also("devices", f"'u_1' AS person_id, 'Ann@B' AS person_email, {device}")
    assert found == ['{"person":{"email":"ann@b"},"token":"Tok"}']


def test_other_keys_of_a_member() -> None:
    found = also("segment_members", "'u_1' AS person_id, 'Ann@B' AS person_email, 7 AS segment_id")
    assert found == ['{"segment_id":7,"id_type":"email","id":"ann@b"}']
    assert also("segment_members", "'u_1' AS person_id, 'Ann@B' AS person_email, 0 AS segment_id") is None


@pytest.mark.parametrize(
    ("kind", "select"),
    [
        ("events", f"{PEOPLE}, 'e' AS event_name"),
        ("removals", EVERYTHING),
        ("merges", "'a' AS primary_id, 'a@b' AS primary_email, 'b' AS secondary_id, 'b@c' AS secondary_email"),
    ],
)
def test_what_is_told_once_has_one_key(kind: str, select: str) -> None:
    row = one(kind, select)
    assert row.reason is None
    assert row.also is None


def test_an_other_key_is_the_key_of_the_same_row_without_the_first_identifier() -> None:
    """Email by email, whatever its letters."""
    for email in ("Ann@B.org", "\u0130X@b.org", "\u00c4nn@B.org", "a\\b@C.org", "\u212aX@b.org"):
        for kind, rest, person in (
            ("persons", "", ""),
            ("devices", ", 't' AS token, 'ios' AS platform", "person_"),
            ("segment_members", ", 7 AS segment_id", "person_"),
            ("relationships", ", 'o7' AS cio_object_id", "person_"),
        ):
            row = one(kind, f"'{email}' AS {person}email{rest}")
            assert row.reason is None
            assert also(kind, f"'u' AS {person}id, '{email}' AS {person}email{rest}") == [row.key]
            small = email.translate({code: code + 32 for code in range(ord("A"), ord("Z") + 1)})
            assert json.dumps(small, ensure_ascii=False) in (row.key or "")
            assert json.dumps(email, ensure_ascii=False) in (row.operation or "")


def test_nothing_is_spent_on_other_keys_that_nobody_asks_for() -> None:
    with connection() as con:
        con.execute(f"CREATE TABLE t AS SELECT {EVERYTHING}, 1 AS x FROM range(10)")
        con.execute(f"CREATE VIEW v AS {operations_sql(sync_of('persons'), described(con, 't'), 't')}")
        plans = [
            con.execute(f"EXPLAIN SELECT {listed} FROM v").fetchall()[0][1]
            for listed in ("key, operation", "key, operation, also")
        ]
    assert [bool(re.search("concat_ws", plan)) for plan in plans] == [False, True]
