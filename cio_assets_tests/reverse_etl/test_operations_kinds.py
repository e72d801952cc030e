"""What rows become, kind by kind: the operation, the key, and the operation for a row that left."""

from __future__ import annotations

import pytest

from cio_assets.reverse_etl.operations import operations_sql
from cio_assets_tests.reverse_etl.written import (
    assert_valid,
    connection,
    described,
    gone,
    one,
    sync_of,
    written,
    written_from,
)

PERSON = {"type": "person", "identifiers": {"id": "u_1"}}
RELATED = "'u_1' AS person_id, 1 AS object_type_id, 'acme' AS object_id"
DEVICE = "'u_1' AS person_id, 'tok' AS token, 'iOS' AS platform"


def test_a_person_with_all_identifiers() -> None:
    select = "'u_1' AS id, 'a@b' AS email, 'cio_7' AS cio_id, '+491' AS phone, 5 AS x"
    assert one("persons", select).json == {
        **PERSON, "action": "identify", "attributes": {"email": "a@b", "phone": "+491", "x": 5},
    }  # fmt: skip
    by_email = one("persons", select, identifiers=["email", "cio_id", "id"])
    assert by_email.key == '{"email":"a@b"}'
    assert by_email.json["attributes"] == {"id": "u_1", "phone": "+491", "x": 5}


def test_a_column_named_like_an_identifier_is_written_as_one() -> None:
    """The sync knows people by email; their numeric id is still text, and a bad one is not sent."""
    assert one("persons", "'a@b' AS email, 5 AS id", identifiers=["email"]).json["attributes"] == {"id": "5"}
    row = one("persons", "'a@b' AS email, true AS id", identifiers=["email"])
    assert (row.reason, row.field) == ("identifier_invalid", "id")


def test_identifiers_from_columns_of_other_names() -> None:
    row = one("persons", "7 AS user_no, 'a@b' AS mail, 1 AS x", identifiers={"id": "user_no", "email": "mail"})
    assert row.json == {"type": "person", "identifiers": {"id": "7"}, "action": "identify",
                        "attributes": {"email": "a@b", "x": 1}}  # fmt: skip


def test_mode_update_never_creates() -> None:
    assert one("persons", "'u_1' AS id, 5 AS x", mode="update").json["attributes"] == {"_update": True, "x": 5}
    assert one("persons", "'u_1' AS id", mode="update").json["attributes"] == {"_update": True}


def test_only_the_chosen_columns_become_attributes() -> None:
    select = "'u_1' AS id, 'a@b' AS email, 1 AS x, 2 AS y"
    assert one("persons", select, columns=["y"]).json["attributes"] == {"email": "a@b", "y": 2}
    assert one("persons", select, columns=[]).json["attributes"] == {"email": "a@b"}


def test_columns_are_found_whatever_their_case() -> None:
    row = one("persons", '\'u_1\' AS "ID", \'a@b\' AS "Email", 5 AS "Created_At", 6 AS "Plan"')
    assert row.json["identifiers"] == {"id": "u_1"}
    assert row.json["attributes"] == {"email": "a@b", "created_at": 5, "Plan": 6}


@pytest.mark.parametrize(
    "name", ['a"b', "a b", "a.b", "é😀", "select", "c0", "t_c0", "sent", "operation", "it's", "{x}", "\\"]
)
def test_odd_column_names(name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    for kind, base in (
        ("persons", "'u_1' AS id"), ("objects", "1 AS object_type_id, 'a' AS object_id"),
        ("events", "'u_1' AS person_id, 'e' AS event_name"), ("relationships", RELATED), ("devices", DEVICE),
    ):  # fmt: skip
        assert f'{name}"'.replace("\\", "").replace('a"b', "b") in (
            one(kind, f"{base}, 'v' AS {quoted}").operation or ""
        ).replace("\\", "")
    assert one("persons", f"'u_1' AS id, 'v' AS {quoted}").json["attributes"] == {name: "v"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"mode": "mirror"}, {"action": "delete"}),
        ({"gone": "suppress"}, {"action": "suppress"}),
        ({"gone": "unset"}, {"action": "identify", "attributes": {"_update": True, "x": "", "o\"d'd": ""}}),
    ],
)
def test_a_person_who_left(values: dict, expected: dict) -> None:
    operation = gone(
        '{"id":"u_1"}',
        ("x", "id", "email", "phone", "cio_subscription_preferences", "o\"d'd"),
        kind="persons",
        **values,
    )
    assert operation == {**PERSON, **expected}
    assert_valid(operation)


def test_an_object() -> None:
    row = one("objects", "1 AS object_type_id, 'acme' AS object_id, 'o7' AS cio_object_id, 'Acme' AS name, NULL AS n")
    identifiers = {"object_type_id": "1", "object_id": "acme"}
    assert row.key == '{"object_type_id":"1","object_id":"acme"}'
    assert row.json == {
        "type": "object",
        "identifiers": identifiers,
        "action": "identify",
        "attributes": {"name": "Acme"},
    }
    left = gone(row.key, kind="objects", mode="mirror")
    assert left == {"type": "object", "identifiers": identifiers, "action": "delete"}
    assert_valid(left)
    emptied = gone(row.key, ("name",), kind="objects", mode="mirror", gone="unset")
    assert emptied == {"type": "object", "identifiers": identifiers, "action": "identify", "attributes": {"name": ""}}
    assert_valid(emptied)


def test_an_object_by_its_own_id() -> None:
    row = one("objects", "1 AS object_type_id, NULL AS object_id, 'o7' AS cio_object_id, 5 AS x", nulls="unset")
    assert row.key == '{"cio_object_id":"o7"}'
    assert row.json["attributes"] == {"x": 5}
    assert one("objects", "'o7' AS cio_object_id").json["identifiers"] == {"cio_object_id": "o7"}


@pytest.mark.parametrize(
    ("select", "reason", "field"),
    [
        ("NULL AS object_type_id, 'a' AS object_id", "identifier_missing", None),
        ("1 AS object_type_id, ' ' AS object_id", "identifier_missing", None),
        ("'one' AS object_type_id, 'a' AS object_id", "identifier_invalid", "object_type_id"),
        ("1.5 AS object_type_id, 'a' AS object_id", "identifier_invalid", "object_type_id"),
        ("-1 AS object_type_id, 'a' AS object_id", "identifier_invalid", "object_type_id"),
        ("1 AS object_type_id, 'null' AS object_id", "identifier_invalid", "object_id"),
        ("'null' AS cio_object_id", "identifier_invalid", "cio_object_id"),
    ],
)
def test_an_object_that_is_not_named(select: str, reason: str, field: str | None) -> None:
    for kind in ("objects", "relationships"):
        row = one(kind, f"{select}, 'u_1' AS person_id")
        assert (row.reason, row.field, row.key) == (reason, field, None)


def test_a_relationship() -> None:
    row = one("relationships", RELATED.replace("'u_1' AS person_id", "'Ann@b' AS person_email") + ", 'admin' AS role")
    related = {
        "identifiers": {"object_type_id": "1", "object_id": "acme"},
        "relationship_attributes": {"role": "admin"},
    }
    assert row.key == '{"person":{"email":"ann@b"},"object":{"object_type_id":"1","object_id":"acme"}}'
    assert row.json == {
        "type": "person", "identifiers": {"email": "Ann@b"}, "action": "add_relationships",
        "cio_relationships": [related],
    }  # fmt: skip
    left = gone(row.key, kind="relationships", mode="mirror")
    del related["relationship_attributes"]
    assert left == {
        "type": "person", "identifiers": {"email": "ann@b"}, "action": "delete_relationships",
        "cio_relationships": [related],
    }  # fmt: skip
    assert_valid(left)
    assert (
        one("relationships", "NULL AS person_id, 1 AS object_type_id, 'a' AS object_id").reason == "identifier_missing"
    )


def test_a_device_has_attributes_of_text() -> None:
    row = one(
        "devices",
        f"{DEVICE}, 1767225600 AS last_used, 1.5::DOUBLE AS f, 2::DECIMAL(3,1) AS d, true AS b, 'é' AS t, [1] AS l, "
        "'\"x\"'::JSON AS j, 'null'::JSON AS n, TIMESTAMP '2026-01-01' AS ts, 'TRUE' AS push_enabled, 5::BIGNUM AS big",
    )
    assert row.key == '{"person":{"id":"u_1"},"token":"tok"}'
    assert row.json == {
        **PERSON,
        "action": "add_device",
        "device": {
            "token": "tok",
            "platform": "ios",
            "last_used": 1767225600,
            "attributes": {"f": "1.5", "d": "2.0", "b": "true", "t": "é", "l": "[1]", "j": "x", "ts": "1767225600",
                           "push_enabled": "true", "big": "5"},
        },
    }  # fmt: skip
    left = gone(row.key, kind="devices", mode="mirror")
    assert left == {**PERSON, "action": "delete_device", "device": {"token": "tok"}}
    assert_valid(left)


@pytest.mark.parametrize(
    ("select", "reason", "field"),
    [
        ("'u_1' AS person_id, '' AS token, 'ios' AS platform", "identifier_missing", "token"),
        ("'u_1' AS person_id, 'null' AS token, 'ios' AS platform", "identifier_invalid", "token"),
        ("'u_1' AS person_id, 't' AS token, 'windows' AS platform", "platform_invalid", "platform"),
        ("'u_1' AS person_id, 't' AS token, NULL AS platform", "platform_invalid", "platform"),
        (f"{DEVICE}, 'maybe' AS push_enabled", "value_not_representable", "push_enabled"),
        (f"{DEVICE}, 'nan'::DOUBLE AS f", "value_not_representable", "f"),
        (f"{DEVICE}, 'x'::BLOB AS f", "value_not_representable", "f"),
    ],
)
def test_a_device_that_cannot_be_sent(select: str, reason: str, field: str) -> None:
    row = one("devices", select)
    assert (row.reason, row.field) == (reason, field)


def test_a_member_of_a_segment() -> None:
    row = one("segment_members", "'Ann@b' AS person_email, NULL AS person_id, 7.0::DOUBLE AS segment_id")
    assert row.lane == "segment"
    assert row.operation == '{"segment_id":7,"id_type":"email","id":"Ann@b"}'
    assert row.key == '{"segment_id":7,"id_type":"email","id":"ann@b"}'
    assert gone(row.key, kind="segment_members") == {"segment_id": 7, "id_type": "email", "id": "ann@b"}
    assert one("segment_members", "'u_1' AS person_id, '7' AS segment_id").json["id_type"] == "id"


@pytest.mark.parametrize("segment", ["0", "-1", "1.5", "'x'", "NULL", "true", "''"])
def test_a_segment_is_a_positive_number(segment: str) -> None:
    row = one("segment_members", f"'u_1' AS person_id, {segment} AS segment_id")
    assert (row.reason, row.field, row.key) == ("identifier_invalid", "segment_id", None)


@pytest.mark.parametrize(
    ("action", "sent"),
    [("'delete'", "delete"), ("' Suppress'", "suppress"), ("'UNSUPPRESS'", "unsuppress"), ("NULL", "delete")],
)
def test_a_removal(action: str, sent: str) -> None:
    row = one("removals", f"'u_1' AS id, {action} AS action, 'gdpr' AS why")
    assert row.json == {**PERSON, "action": sent}
    assert row.key == '{"person":{"id":"u_1"}}'
    assert row.version is None


def test_removals_that_cannot_be_sent() -> None:
    assert one("removals", "'u_1' AS id").json["action"] == "delete"
    row = one("removals", "'u_1' AS id, 'forget' AS action")
    assert (row.reason, row.field, row.key) == ("action_invalid", "action", '{"person":{"id":"u_1"}}')
    assert one("removals", "'' AS id").reason == "identifier_missing"


def test_a_request_has_the_version_of_its_time() -> None:
    for kind, select in (("removals", "'u_1' AS id"), ("merges", "'u_1' AS primary_id, 'u_2' AS secondary_id")):
        assert one(kind, f"{select}, DATE '2026-01-01' AS requested_at").version == "2026-01-01"
        assert one(kind, select).version is None


@pytest.mark.parametrize(
    "times",
    [
        ["'2026-01-02T01:00:00+05:00'", "'2026-01-01T23:00:00Z'"],
        ["'2026-01-01'", "'1767312000'"],
        ["9::BIGINT", "10"],
        ["'9'::JSON", "'10'"],
        ["DATE '2026-01-01'", "'infinity'"],
        ["NULL", "TIMESTAMP '1960-01-01'"],
        ["'soon'", "'2026-01-01'"],
    ],
)
def test_the_latest_request_comes_first(times: list[str]) -> None:
    select = "SELECT *, 'u_1' AS id, 'u_1' AS primary_id, 'u_2' AS secondary_id FROM"
    for kind in ("removals", "merges"):
        with connection() as con:
            con.execute(f"CREATE TABLE t AS {select} (SELECT unnest([{', '.join(times)}]) AS requested_at)")
            con.execute("CREATE TABLE plain AS SELECT * EXCLUDE (requested_at) FROM t")
            operations = operations_sql(sync_of(kind), described(con, "t"), "t")
            found = con.execute(f"SELECT version FROM ({operations}) ORDER BY recency DESC NULLS LAST").fetchall()
            expected = con.execute(f"SELECT ({times[1]})::VARCHAR").fetchall()
            assert found[0] == expected[0] or found[0][0].startswith(expected[0][0])
            assert {row.recency for row in written_from(con, sync_of(kind), "plain")} == {None}


def test_a_merge() -> None:
    row = one("merges", "NULL AS primary_id, 'Ann@b' AS primary_email, 'cio_7' AS secondary_cio_id")
    assert row.key == '{"secondary":{"cio_id":"7"}}'
    assert row.json == {
        "type": "person",
        "action": "merge",
        "primary": {"email": "Ann@b"},
        "secondary": {"cio_id": "7"},
    }


@pytest.mark.parametrize(
    ("select", "reason"),
    [
        ("'a' AS primary_id, ' a' AS secondary_id", "identifier_invalid"),
        ("'A@b' AS primary_email, 'a@B' AS secondary_email", "identifier_invalid"),
        ("'a' AS primary_id, NULL AS secondary_id", "identifier_missing"),
        ("NULL AS primary_id, 'a' AS secondary_id", "identifier_missing"),
        ("'null' AS primary_id, 'a' AS secondary_id", "identifier_invalid"),
    ],
)
def test_a_merge_that_cannot_be_sent(select: str, reason: str) -> None:
    assert one("merges", select).reason == reason


def test_a_chain_of_merges_is_told() -> None:
    rows = written(
        "merges",
        "SELECT * FROM (VALUES ('a', 'b', NULL), ('b', 'c', NULL), (NULL, 'd', 'X@y')) "
        "AS t(primary_id, secondary_id, primary_email)",
    )
    assert {row.key: row.reason for row in rows} == {
        '{"secondary":{"id":"b"}}': None,
        '{"secondary":{"id":"c"}}': "merge_chain",
        '{"secondary":{"id":"d"}}': None,
    }
