"""From an item of the API to a row: types, misfits, unknown fields, identifiers, wrappers, keys."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cio_assets.catalog import TABLES, Refresh, Table
from cio_assets.catalog.model import Endpoint, columns
from cio_assets.catalog.shape import RowInvalid, Shaper

WIDE = Table(
    name="wide",
    group="test",
    description="One column of each type.",
    key=("id",),
    columns=columns("id int\nname text\nok bool\nat time\ndata json"),
    refresh=Refresh.MERGE,
    docs="",
    endpoint=Endpoint(path="/v1/wide", items="wide"),
)


def _row(table: Table | str, item: Any, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return Shaper(TABLES[table] if isinstance(table, str) else table).row(item, given or {})


FITTING: list[tuple[str, Any, Any]] = [
    ("id", 5, 5),
    ("id", "5", 5),
    ("id", "-5", -5),
    ("id", 5.0, 5),
    ("id", 0, 0),
    ("id", 2**63 - 1, 2**63 - 1),
    ("id", str(2**63 - 1), 2**63 - 1),
    ("name", "Ann", "Ann"),
    ("name", "", ""),
    ("name", 5, "5"),
    ("name", True, "true"),
    ("name", {"a": [1]}, '{"a":[1]}'),
    ("name", 2**70, str(2**70)),
    ("name", {"n": 2**70}, f'{{"n":{2**70}}}'),
    ("ok", True, True),
    ("ok", "false", False),
    ("at", 1767225600, 1767225600),
    ("at", "1767225600", 1767225600),
    ("at", 0, 0),
    ("data", {"a": None}, {"a": None}),
    ("data", [], []),
    ("data", "text", "text"),
    ("data", 2**70, 2**70),
]


@pytest.mark.parametrize(("column", "value", "stored"), FITTING)
def test_a_value_is_cast_to_its_declared_type(column: str, value: Any, stored: Any) -> None:
    row = _row(WIDE, {"id": 1, column: value})

    assert row[column] == stored
    assert type(row[column]) is type(stored)
    assert row["_extra"] is None


MISFITS: list[tuple[str, Any]] = [
    ("at", "2026-01-01T00:00:00Z"),
    ("at", 1767225600.5),
    ("at", -1),
    ("at", 1767225600000000),  # microseconds
    ("at", 253_402_300_800),
    ("at", True),
    ("at", []),
    ("ok", 1),
    ("ok", "yes"),
    ("ok", {}),
    ("ok", ""),
]


@pytest.mark.parametrize(("column", "value"), MISFITS)
def test_a_value_that_does_not_fit_is_kept_beside(column: str, value: Any) -> None:
    row = _row(WIDE, {"id": 1, column: value})

    assert row[column] is None
    assert row["_extra"] == {column: value}


@pytest.mark.parametrize(
    "value", [2**63, -(2**63) - 1, 1.5, float("1e300"), "five", "1_000", "0x10", "", True, {}, [1]]
)
def test_a_number_that_does_not_fit_is_kept_beside(value: Any) -> None:
    row = _row("exports", {"id": 1, "total": value})

    assert row["total"] is None
    assert row["_extra"] == {"total": value}


def test_absent_and_null_are_null() -> None:
    row = _row(WIDE, {"id": 1, "name": None, "data": None})

    assert row == {"id": 1, "name": None, "ok": None, "at": None, "data": None, "_extra": None}


def test_an_action_id_that_arrives_as_a_string_becomes_an_integer() -> None:
    row = _row("campaign_actions", {"id": "96", "campaign_id": "5", "type": "email"}, {"campaign_id": 5})

    assert (row["campaign_id"], row["id"]) == (5, 96)


def test_unknown_fields_are_kept_whole() -> None:
    row = _row("segments", {"id": 7, "name": "VIP", "new": {"deep": [1, {"x": None}]}, "flag": False, "none": None})

    assert row["_extra"] == {"new": {"deep": [1, {"x": None}]}, "flag": False, "none": None}


def test_an_unknown_field_inside_a_known_object_is_kept_under_its_path() -> None:
    item = {"id": "d1", "customer_identifiers": {"id": "u1", "cio_id": "a1", "phone": "+1", "more": {"a": 1}}}

    row = _row("messages", item)

    assert (row["customer_id"], row["cio_id"]) == ("u1", "a1")
    assert row["_extra"] == {"customer_identifiers.phone": "+1", "customer_identifiers.more": {"a": 1}}


@pytest.mark.parametrize("odd", ["u1", 5, [1], False])
def test_an_object_that_is_none_is_kept(odd: Any) -> None:
    row = _row("messages", {"id": "d1", "customer_identifiers": odd})

    assert row["_extra"] == {"customer_identifiers": odd}


@pytest.mark.parametrize("word", ["identifiers", "customer_identifiers"])
def test_both_words_for_the_identifiers_of_a_delivery(word: str) -> None:
    row = _row("messages", {"id": "d1", word: {"id": "u1", "email": "ann@example.com", "cio_id": "a1"}})

    assert (row["customer_id"], row["email"], row["cio_id"]) == ("u1", "ann@example.com", "a1")
    assert row["_extra"] is None


def test_both_words_for_the_template_of_a_delivery() -> None:
    assert _row("messages", {"id": "d1", "message_template_id": "7"})["msg_template_id"] == 7
    assert _row("messages", {"id": "d1", "msg_template_id": 7})["msg_template_id"] == 7


def test_of_two_places_that_differ_the_second_is_kept_beside() -> None:
    row = _row("messages", {"id": "d1", "customer_id": "u1", "customer_identifiers": {"id": "u2"}})

    assert row["customer_id"] == "u1"
    assert row["_extra"] == {"customer_identifiers.id": "u2"}


def test_a_person_without_an_id() -> None:
    row = _row("messages", {"id": "d1", "customer_id": "", "customer_identifiers": {"id": "", "cio_id": "a1"}})

    assert row["customer_id"] is None
    assert row["cio_id"] == "a1"
    assert row["_extra"] is None


PERSON = {
    "id": "u1",
    "identifiers": {"id": "u1", "email": "ann@example.com", "cio_id": "a1"},
    "attributes": {"id": "u1", "cio_id": "a1", "email": "ann@example.com", "plan": "pro"},
    "timestamps": {"plan": 1767225600},
    "unsubscribed": False,
    "devices": [],
}


@pytest.mark.parametrize("item", [PERSON, {"customer": PERSON}], ids=["bare", "wrapped"])
def test_attributes_come_with_and_without_a_wrapper(item: dict) -> None:
    row = _row("customer_attributes", item)

    assert (row["cio_id"], row["id"], row["email"]) == ("a1", "u1", "ann@example.com")
    assert row["attributes"] == PERSON["attributes"]
    assert row["_extra"] is None


@pytest.mark.parametrize(
    "item",
    [
        {"identifiers": {"id": "u1"}, "attributes": {"cio_id": "a1"}},
        {"identifiers": None, "attributes": {"cio_id": "a1"}},
        {"attributes": {"cio_id": "a1"}},
        {"identifiers": {"cio_id": "a1"}, "attributes": {}},
        {"identifiers": {"cio_id": "a1"}},
        {"cio_id": "a1"},
    ],
)
def test_the_cio_id_is_found_wherever_it_stands(item: dict) -> None:
    assert _row("customer_attributes", item)["cio_id"] == "a1"


def test_fields_beside_the_wrapper_are_not_lost() -> None:
    row = _row("customer_attributes", {"customer": PERSON, "merged_into": "a2"})

    assert row["_extra"] is not None
    assert row["_extra"]["merged_into"] == "a2"


def test_a_bare_value_becomes_a_row() -> None:
    assert _row("info_ip_addresses", "35.188.196.183") == {"ip": "35.188.196.183", "_extra": None}


def test_a_relationship_read_from_the_person_s_side() -> None:
    item = {
        "object_type_id": 1,
        "identifiers": {"object_id": "acme", "cio_object_id": "ob1"},
        "attributes": {"role": "admin"},
    }

    row = _row("customer_relationships", item, {"cio_id": "a1"})

    assert (row["cio_id"], row["object_type_id"], row["object_id"], row["cio_object_id"]) == ("a1", "1", "acme", "ob1")
    assert row["_extra"] is None  # nothing is unknown in a documented answer


def test_a_relationship_read_from_the_object_s_side() -> None:
    item = {
        "identifiers": {"id": "u1", "email": "ann@example.com", "cio_id": "a1"},
        "object_type_id": "1",
        "object_type_disabled": False,
    }

    row = _row("customer_relationships", item, {"object_type_id": "1", "object_id": "acme", "cio_object_id": "ob1"})

    assert (row["cio_id"], row["object_type_id"], row["object_id"], row["cio_object_id"]) == ("a1", "1", "acme", "ob1")
    assert row["_extra"] is None


def test_both_sides_of_a_relationship_have_the_same_key() -> None:
    person = _row(
        "customer_relationships",
        {"object_type_id": 1, "identifiers": {"cio_object_id": "ob1"}},
        {"cio_id": "a1"},
    )

    assert person["object_id"] == "ob1"  # an object without an id of its own


CATEGORIES = [
    ("bounces", "bounces", "bounces"),
    ("spam_reports", "spam", "spam"),
    ("spam_reports", "spam_reports", "spam_reports"),
    ("blocks", "blocks", "blocks"),
    ("blocks", "bounces", "blocks"),
    ("invalid_emails", "invalid", "invalid"),
    ("invalid_emails", "bounces", "invalid_emails"),
    ("blocks", None, "blocks"),
    ("blocks", "", "blocks"),
]


@pytest.mark.parametrize(("asked", "answered", "stored"), CATEGORIES)
def test_suppressions_of_two_lists_never_share_a_key(asked: str, answered: str | None, stored: str) -> None:
    given = {"category": answered, "suppression_type": asked}

    row = _row("esp_suppressions", {"email": "ann@example.com", "created": 1, "status": "550"}, given)

    assert (row["category"], row["suppression_type"]) == (stored, asked)


URLS = [
    ("https://example.com/hook", "https://example.com/hook"),
    ("https://example.com:8443/hook?x=1#y", "https://example.com:8443/hook?x=1#y"),
    ("https://ann:s3cret@example.com/hook", "https://example.com/hook"),
    ("https://s3cret@example.com", "https://example.com"),
    ("https://:s3cret@example.com/", "https://example.com/"),
    ("https://ann:s3@cret@example.com/hook", "https://example.com/hook"),
    ("https://ann:s3%40cret@example.com:8443/hook", "https://example.com:8443/hook"),
    ("HTTPS://ann:s3cret@EXAMPLE.com/Hook", None),
    ("https://ann:s3:cret@[::1]:8080/hook", "https://[::1]:8080/hook"),
    ("https://example.com/~ann@home?mail=b@c", "https://example.com/~ann@home?mail=b@c"),
    ("//ann:s3cret@example.com/hook", None),
    (" https://ann:s3cret@example.com/hook", None),
    # Not valid, but typed all the same: a reserved character in the password.
    ("https://ann:s3cret/s3cret@example.com/hook", None),
    ("https://ann:s3cret#s3cret@example.com/hook", None),
    ("https://ann:s3cret?s3cret@example.com/hook", None),
    ("https://ann:s3cret[x@example.com/hook", None),
    ("https://ann:s3cret\u2100@example.com/hook", None),
]


@pytest.mark.parametrize(("url", "stored"), URLS)
def test_credentials_never_reach_the_warehouse(url: str, stored: str | None) -> None:
    row = _row("reporting_webhooks", {"id": 4, "endpoint": url})

    assert "s3" not in str(row)
    assert "example.com" in row["endpoint"].lower() or "[::1]" in row["endpoint"]
    assert stored is None or row["endpoint"] == stored


NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=10)
PASSWORDS = st.text("abcXYZ019!$&'()*+,;=:@%._~-", min_size=1, max_size=20)


@given(NAMES, PASSWORDS, NAMES)
def test_whatever_the_password_it_is_taken_out(user: str, password: str, host: str) -> None:
    row = _row("reporting_webhooks", {"id": 4, "endpoint": f"https://{user}:{password}@{host}.example/hook"})

    assert row["endpoint"] == f"https://{host}.example/hook"


@pytest.mark.parametrize(
    ("table", "item", "given", "column"),
    [
        ("campaigns", {"name": "Ann"}, {}, "id"),
        ("campaigns", {"id": None, "name": "Ann"}, {}, "id"),
        ("campaigns", {"id": "Ann", "name": "x"}, {}, "id"),
        ("customers", {"id": "Ann", "email": "Ann", "cio_id": ""}, {}, "cio_id"),
        ("snippets", {"value": "Ann"}, {}, "name"),
        ("segment_membership", {"cio_id": None, "email": "Ann"}, {"segment_id": 1}, "cio_id"),
        (
            "esp_suppressions",
            {"email": "", "reason": "Ann"},
            {"category": "bounces", "suppression_type": "bounces"},
            "email",
        ),
        ("messages", {"id": "", "subject": "Ann"}, {}, "id"),
    ],
)
def test_an_item_without_its_key_is_refused_without_a_value(
    table: str, item: dict, given: Mapping[str, Any], column: str
) -> None:
    with pytest.raises(RowInvalid) as caught:
        _row(table, item, given)

    assert re.search(rf"\b{table}\b.*'{column}'", str(caught.value))
    assert "Ann" not in str(caught.value)


@pytest.mark.parametrize("item", [None, "Ann", 5, ["Ann"], True])
def test_an_item_that_is_no_object_is_refused(item: Any) -> None:
    with pytest.raises(RowInvalid, match=r"^customers: ") as caught:
        _row("customers", item)

    assert "Ann" not in str(caught.value)


def test_what_the_request_knows_wins() -> None:
    row = _row("newsletter_contents", {"id": 45, "newsletter_id": 999}, {"newsletter_id": 128})

    assert row["newsletter_id"] == 128


def test_the_zero_of_a_test_group_is_a_key() -> None:
    assert _row("newsletter_test_groups", {"id": 0, "name": "A"}, {"newsletter_id": 128})["id"] == 0


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["name", "ok", "at", "data", "unknown", "other"])


@given(st.dictionaries(FIELDS, VALUES))
def test_no_value_is_lost_and_none_breaks_the_row(fields: dict[str, Any]) -> None:
    item = {"id": 1, **fields}
    before = copy.deepcopy(item)

    row = _row(WIDE, item)

    assert item == before  # the API's answer is not changed
    extra = row["_extra"] or {}
    for name, value in fields.items():
        if name not in row or (row[name] is None and value is not None):
            assert extra[name] == value
        else:
            assert name not in extra


@given(VALUES.filter(lambda value: not isinstance(value, int | float | str)) | st.text(max_size=10))
def test_a_key_is_an_integer_or_refused(key: Any) -> None:
    try:
        row = _row(WIDE, {"id": key})
    except RowInvalid:
        return
    assert re.fullmatch(r"\s*[+-]?\d+\s*", str(key))
    assert row["id"] == int(key)
