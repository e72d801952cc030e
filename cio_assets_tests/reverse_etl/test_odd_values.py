"""Every odd value of a source has one documented outcome (rules.OUTCOMES), as an identifier and as an attribute."""

from __future__ import annotations

import json

import pytest

from cio_assets_tests.reverse_etl.written import one, written

TODAY = 1_767_225_600
"""2026-01-01 in unix seconds."""


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("'u_1'", "u_1"),
        ("' u_1\t'", "u_1"),
        ("chr(160) || 'u_1' || chr(8195)", "u_1"),
        ("'a b'", "a b"),
        ("'null_and_void'", "null_and_void"),
        ("1001", "1001"),
        ("-5::TINYINT", "-5"),
        ("18446744073709551615::UBIGINT", "18446744073709551615"),
        ("170141183460469231731687303715884105727::HUGEINT", "170141183460469231731687303715884105727"),
        ("1001.0::DOUBLE", "1001"),
        ("-0.0::DOUBLE", "0"),
        ("9007199254740992::DOUBLE", "9007199254740992"),
        ("16777216::FLOAT", "16777216"),
        ("1001.00::DECIMAL(12,2)", "1001"),
        ("0::DECIMAL(2,2)", "0"),
        ("'{\"a\":1}'::JSON -> 'a'", "1"),
        ("'\" u_1 \"'::JSON", "u_1"),
        ("'1001.0'::JSON", "1001"),
        ("'123456789012345678901234567890'::JSON", "123456789012345678901234567890"),
        ("'6f1c0c9e-0000-4000-8000-000000000001'::UUID", "6f1c0c9e-0000-4000-8000-000000000001"),
        ("'b'::ENUM('a', 'b')", "b"),
        ("'😀\"\\é'", '😀"\\é'),
    ],
)
def test_an_identifier_is_sent_as_text(value: str, sent: str) -> None:
    row = one("persons", f"{value} AS id, 'x' AS a")
    assert row.json["identifiers"] == {"id": sent}
    assert json.loads(row.key or "") == {"id": sent}


@pytest.mark.parametrize(
    "value",
    [
        "NULL::VARCHAR",
        "''",
        "'  '",
        "E'\\t\\n'",
        "chr(160)",
        "'null'::JSON",
        "'\"\"'::JSON",
        "NULL::BIGINT",
        "NULL::BOOLEAN",
    ],
)
def test_an_absent_identifier_gives_way_to_the_next(value: str) -> None:
    row = one("persons", f"{value} AS id, 'ann@example.org' AS email")
    assert row.json["identifiers"] == {"email": "ann@example.org"}
    assert row.json["attributes"] == {}
    missing = one("persons", f"{value} AS id, NULL AS email")
    assert (missing.reason, missing.key) == ("identifier_missing", None)


@pytest.mark.parametrize(
    "value",
    [
        "'null'", "'NULL'", "' Null '", "'None'", "'nan'", "'undefined'", "'<NA>'", "'\"null\"'::JSON",
        "true", "'true'::JSON", "'[1]'::JSON", "'{}'::JSON", "'1.5'::JSON", "'NaN'::JSON",
        "1.5::DOUBLE", "'nan'::DOUBLE", "'inf'::DOUBLE", "9007199254740994::DOUBLE", "16777218::FLOAT",
        "1.5::DECIMAL(5,2)", "DATE '2026-01-01'", "TIMESTAMP '2026-01-01'", "TIME '10:00'", "INTERVAL 1 DAY",
        "'x'::BLOB", "[1]", "{'a': 1}", "MAP {'a': 1}",
    ],
)  # fmt: skip
def test_what_cannot_be_an_identifier_is_rejected(value: str) -> None:
    row = one("persons", f"{value} AS id, 'ann@example.org' AS email")
    assert (row.reason, row.field, row.key) == ("identifier_invalid", "id", None)


@pytest.mark.parametrize(
    ("email", "good"),
    [
        ("ann@example.org", True),
        ("Ann.O'Neil+x@exämple.org", True),
        ("ann", False),
        ("ann@", False),
        ("@example.org", False),
        ("a@b@c", False),
        ("ann @example.org", False),
        ("ann\u00a0@example.org", False),
        ("ann@exam\u0007ple.org", False),
        ("null", False),
    ],
)
def test_an_email_looks_like_one(email: str, good: bool) -> None:
    text = "'" + email.replace("'", "''") + "'"
    for select in (f"{text} AS email", f"'u_1' AS id, {text} AS email"):
        row = one("persons", select)
        assert row.reason == (None if good else "identifier_invalid")
        assert row.field == (None if good else "email")


@pytest.mark.parametrize(
    ("phone", "good"),
    [("+4915112345678", True), ("015112345678", False), ("+0123", False), ("+1", False), ("+1 23", False)],
)
def test_a_phone_identifies_in_e164_form(phone: str, good: bool) -> None:
    row = one("persons", f"'{phone}' AS phone")
    assert row.reason == (None if good else "identifier_invalid")
    beside = one("persons", f"'u_1' AS id, '{phone}' AS phone")
    assert beside.json["attributes"] == {"phone": phone}


def test_a_cio_id_is_sent_without_its_prefix() -> None:
    assert one("persons", "'cio_03000010' AS cio_id").json["identifiers"] == {"cio_id": "03000010"}
    assert one("persons", "'03000010' AS cio_id").json["identifiers"] == {"cio_id": "03000010"}
    assert one("persons", "'cio_' AS cio_id").reason == "identifier_invalid"


def test_a_key_holds_the_email_in_lower_case_and_the_operation_as_it_is() -> None:
    row = one("persons", "'Ann@Example.ORG' AS email")
    assert (row.key, row.json["identifiers"]) == ('{"email":"ann@example.org"}', {"email": "Ann@Example.ORG"})


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ("'plain'", '"plain"'),
        ("''", '""'),
        ("' kept '", '" kept "'),
        ("'null'", '"null"'),
        ("'quote\" back\\ tab\t é 😀 ' || chr(0) || chr(8232)", '"quote\\" back\\\\ tab\\t é 😀 \\u0000\u2028"'),
        ("true", "true"),
        ("1::UTINYINT", "1"),
        ("9223372036854775807", "9223372036854775807"),
        ("-9223372036854775808::HUGEINT", "-9223372036854775808"),
        ("9223372036854775807::UBIGINT", "9223372036854775807"),
        ("5::BIGNUM", "5"),
        ("1.50::DECIMAL(5,2)", "1.50"),
        ("-0.05::DECIMAL(2,2)", "-0.05"),
        ("0.05::DECIMAL(38,38)", "0.05" + 36 * "0"),
        ("12345678901234567890123456789012345.678::DECIMAL(38,3)", "12345678901234567890123456789012345.678"),
        ("1e300::DOUBLE", "1e+300"),
        ("'-0.0'::DOUBLE", "-0.0"),
        ("1e-7::DOUBLE", "1e-07"),
        ("0.1::FLOAT", "0.1"),
        ("TIMESTAMP '2026-01-01 00:00:00.999'", str(TODAY)),
        ("TIMESTAMP '1969-12-31 23:59:59.5'", "-1"),
        ("TIMESTAMP '1969-12-31 23:59:59'", "-1"),
        ("TIMESTAMPTZ '2026-01-01 02:00:00+02'", str(TODAY)),
        ("TIMESTAMP_S '2026-01-01 00:00:00'", str(TODAY)),
        ("TIMESTAMP_MS '2026-01-01 00:00:00.5'", str(TODAY)),
        ("TIMESTAMP_NS '1969-12-31 23:59:59.999999999'", "-1"),
        ("TIMESTAMP_NS '2026-01-01 00:00:00.999999999'", str(TODAY)),
        ("DATE '2026-01-01'", str(TODAY)),
        ("DATE '0001-01-01'", "-62135596800"),
        ("TIME '10:00:00'", '"10:00:00"'),
        ("'b'::ENUM('a', 'b')", '"b"'),
        ("'6f1c0c9e-0000-4000-8000-000000000001'::UUID", '"6f1c0c9e-0000-4000-8000-000000000001"'),
        ("E'{\"a\": [1,\\n 2], \"n\": null, }'::JSON", '{"a":[1,2],"n":null}'),
        ("'\"NaN and Infinity\"'::JSON", '"NaN and Infinity"'),
        ("'{\"a\\\"NaN\": 1}'::JSON", '{"a\\"NaN":1}'),
        ("{'a': 1, 'b c': TIMESTAMP '2026-01-01', 'n': NULL}", '{"a":1,"b c":"2026-01-01 00:00:00","n":null}'),
        ("{'blob': 1, 'interval': 'x'}", '{"blob":1,"interval":"x"}'),
        ("{'nan': 'Infinity', 'f': 1.5::DOUBLE}", '{"nan":"Infinity","f":1.5}'),
        ("[1.5::DOUBLE, NULL]", "[1.5,null]"),
        ("MAP {'a': 1}", '{"a":1}'),
        ("[1, 2]::INTEGER[2]", "[1,2]"),
        ("union_value(k := 1)", '{"k":1}'),
    ],
)  # fmt: skip
def test_an_attribute_has_one_form(value: str, sent: str) -> None:
    row = one("persons", f"'u_1' AS id, {value} AS a")
    assert row.reason is None, row.message
    assert f'"attributes":{{"a":{sent}}}' in (row.operation or "")


@pytest.mark.parametrize(
    "value",
    [
        "'nan'::DOUBLE", "'inf'::DOUBLE", "'-inf'::FLOAT",
        "9223372036854775808::UBIGINT", "9223372036854775808::HUGEINT", "9223372036854775808::UHUGEINT",
        "-9223372036854775809::HUGEINT", "9223372036854775808::BIGNUM",
        "TIMESTAMP 'infinity'", "TIMESTAMPTZ '-infinity'", "TIMESTAMP_NS 'infinity'", "TIMESTAMP_S '-infinity'",
        "DATE 'infinity'", "DATE '5000000-01-01'",
        "INTERVAL 1 DAY", "'x'::BLOB", "'101'::BIT", "'POINT(1 2)'::GEOMETRY", "1::VARIANT",
        "'{\"a\": NaN}'::JSON", "'-inf'::JSON", "'[Infinity]'::JSON",
        "['nan'::DOUBLE]", "{'a': [{'b': 'inf'::FLOAT}]}", "MAP {'a': 'nan'::DOUBLE}", "{'a': 'NaN'::JSON}",
        "{'a': 'x'::BLOB}", "['x'::BLOB]", "{'a': INTERVAL 1 DAY}", "[0.05::DECIMAL(38,38)]",
    ],
)  # fmt: skip
def test_what_json_cannot_hold_is_rejected(value: str) -> None:
    row = one("persons", f"'u_1' AS id, {value} AS a")
    assert (row.reason, row.field, row.key) == ("value_not_representable", "a", '{"id":"u_1"}')


@pytest.mark.parametrize(
    "type_",
    ["VARCHAR", "DOUBLE", "UBIGINT", "BIGNUM", "TIMESTAMP", "DATE", "BLOB", "BIT", "JSON",
     "INTERVAL", "STRUCT(a DOUBLE)", "BLOB[]", "GEOMETRY", "VARIANT", "DECIMAL(2,2)", "BOOLEAN", "UUID", "TIME",
     "MAP(VARCHAR, DOUBLE)"],
)  # fmt: skip
def test_null_of_any_type_is_left_out_or_unset(type_: str) -> None:
    assert one("persons", f"'u_1' AS id, NULL::{type_} AS a").json["attributes"] == {}
    assert one("persons", f"'u_1' AS id, NULL::{type_} AS a", nulls="unset").json["attributes"] == {"a": ""}


def test_json_null_counts_as_null() -> None:
    assert one("persons", "'u_1' AS id, 'null'::JSON AS a").json["attributes"] == {}
    assert one("persons", "'u_1' AS id, 'null'::JSON AS a", nulls="unset").json["attributes"] == {"a": ""}


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (f"{TODAY}", TODAY),
        (f"{TODAY}::DOUBLE", TODAY),
        (f"{TODAY}.00::DECIMAL(20,2)", TODAY),
        (f"'{TODAY}'", TODAY),
        (f"'{TODAY}'::JSON", TODAY),
        ("'\"2026-01-01\"'::JSON", TODAY),
        ("'2026-01-01'", TODAY),
        ("'2026-01-01 00:00'", TODAY),
        ("' 2026-01-01T00:00:00.999 '", TODAY),
        ("'2026-01-01T00:00Z'", TODAY),
        ("'2026-01-01T02:00:00+02:00'", TODAY),
        ("'2026-01-01T02:00:00+0200'", TODAY),
        ("'2026-01-01 00:00:00 UTC'", TODAY),
        ("'2026-01-01T00:00:00.123456789Z'", TODAY),
        ("TIMESTAMP '2026-01-01'", TODAY),
        ("TIMESTAMP_S '2026-01-01 00:00:00'", TODAY),
        ("TIMESTAMPTZ '2026-01-01 02:00:00+02'", TODAY),
        ("DATE '2026-01-01'", TODAY),
        ("0", 0),
        ("9999999999", 9_999_999_999),
        ("TIMESTAMP '2286-11-20 17:46:39.999999'", 9_999_999_999),
        ("''", None),
        ("'null'::JSON", None),
        ("NULL::BOOLEAN", None),
    ],
)
def test_a_point_in_time_in_any_spelling(value: str, seconds: int | None) -> None:
    assert one("persons", f"'u_1' AS id, {value} AS created_at").json["attributes"].get("created_at") == seconds
    assert (
        one("events", f"'u_1' AS person_id, 'e' AS event_name, {value} AS \"timestamp\"").json.get("timestamp")
        == seconds
    )
    device = f"'u_1' AS person_id, 't' AS token, 'ios' AS platform, {value} AS last_used"
    assert one("devices", device).json["device"].get("last_used") == seconds


@pytest.mark.parametrize(
    "value",
    [
        "-1", "10000000000", f"{TODAY}000", f"{TODAY}.5::DOUBLE", f"{TODAY}.5::DECIMAL(20,1)", "'nan'::DOUBLE",
        "1e300::DOUBLE", "340282366920938463463374607431768211455::UHUGEINT", "1::BIGNUM - 2::BIGNUM",
        f"'{TODAY}000'", "'yesterday'", "'epoch'", "'infinity'", "'2026-13-01'", "'2026-01-01 (BC)'", "'01/02/2026'",
        "'null'", "true", "'[1]'::JSON", "TIMESTAMP '1969-12-31 23:59:59.9'", "TIMESTAMP 'infinity'",
        "TIMESTAMP '2286-11-20 17:46:40'", "DATE '5000000-01-01'", "TIME '10:00'", "INTERVAL 1 DAY", "[1]", "'x'::BLOB",
        "'6f1c0c9e-0000-4000-8000-000000000001'::UUID",
    ],
)  # fmt: skip
def test_what_is_no_point_in_time_is_rejected(value: str) -> None:
    for kind, select, name in (
        ("persons", "'u_1' AS id", "created_at"),
        ("events", "'u_1' AS person_id, 'e' AS event_name", "timestamp"),
        ("devices", "'u_1' AS person_id, 't' AS token, 'ios' AS platform", "last_used"),
    ):
        row = one(kind, f'{select}, {value} AS "{name}"')
        assert (row.reason, row.field) == ("timestamp_invalid", name)


def test_the_row_is_told_whole_whatever_it_holds() -> None:
    """Values that JSON does not know are told as text."""
    row = one(
        "persons",
        "NULL AS id, 'nan'::DOUBLE AS a, ['-inf'::FLOAT] AS b, 'x'::BLOB AS c, '{\"n\": NaN}'::JSON AS d, "
        'INTERVAL 1 DAY AS e, DATE \'infinity\' AS f, 1::BIGNUM AS g, \'é"\' AS "h "" é", NULL AS i, '
        "TIMESTAMPTZ '2026-01-01 00:00:00+00' AS j, 18446744073709551615::UBIGINT AS k, 0.5::DECIMAL(2,2) AS l",
    )
    assert json.loads(row.source_row or "") == {
        "id": None, "a": "nan", "b": "[-inf]", "c": "x", "d": '{"n": NaN}', "e": "1 day", "f": "infinity", "g": 1,
        'h " é': 'é"', "i": None, "j": "2026-01-01 00:00:00+00", "k": 18446744073709551615, "l": 0.5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        ('\'{"topics": {"topic_1": true}}\'', {"topics": {"topic_1": True}}),
        ('\'{"topics": {"topic_1": true}}\'::JSON', {"topics": {"topic_1": True}}),
        ("{'topics': {'topic_1': false}}", {"topics": {"topic_1": False}}),
        ("'{}'", {}),
        ("''", None),
        ("'null'", None),
        ('\'{"topics": {"topic_1": 1}}\'', "rejected"),
        ("'{\"topics\": null}'", "rejected"),
        ("'[]'", "rejected"),
        ("'no JSON'", "rejected"),
        ("{'topics': {'topic_1': NULL::BOOLEAN}}", "rejected"),
        ("5", "rejected"),
    ],
)
def test_subscription_preferences_have_the_documented_shape(value: str, outcome: object) -> None:
    row = one("persons", f"'u_1' AS id, {value} AS cio_subscription_preferences", nulls="unset")
    if outcome == "rejected":
        assert (row.reason, row.field) == ("value_not_representable", "cio_subscription_preferences")
    else:
        assert row.json["attributes"].get("cio_subscription_preferences") == outcome


def test_messages_hold_no_value() -> None:
    rows = written(
        "persons",
        "SELECT * FROM (VALUES ('null', 's3cret', 1.0::DOUBLE), ('u', repeat('s3cret', 200), 1), "
        "('v', 's3cret', 'nan'), "
        "(repeat('s3cret', 30), '', 1)) AS t(id, a, b)",
    )
    assert [row.reason is not None for row in rows] == [True] * 4
    assert not any("s3cret" in (row.message or "") + (row.field or "") for row in rows)
