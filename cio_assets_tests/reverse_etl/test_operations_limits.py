"""Every documented limit, met exactly and exceeded by one, counted in bytes; a neighbour of the bad row is good."""

from __future__ import annotations

import pytest

from cio_assets.customerio import limits
from cio_assets_tests.reverse_etl.written import one, written

EMOJI = "😀"
"""One character of four bytes."""


def text_of(size: int) -> str:
    """SQL of a text of so many bytes, mostly of four-byte characters."""
    return f"(repeat('{EMOJI}', {size // 4}) || repeat('x', {size % 4}))"


@pytest.mark.parametrize("name", ["id", "cio_id"])
def test_identifiers_of_people(name: str) -> None:
    at, above = (one("persons", f"{text_of(limits.IDENTIFIER + over)} AS {name}") for over in (0, 1))
    assert at.reason is None
    assert (above.reason, above.field, above.key) == ("identifier_too_long", name, None)


def test_email() -> None:
    emails = [f"'a@' || {text_of(limits.EMAIL - 2 + over)}" for over in (0, 1)]
    at, above = (one("persons", f"{email} AS email") for email in emails)
    assert (at.reason, above.reason, above.field) == (None, "identifier_too_long", "email")
    beside = one("persons", f"'u_1' AS id, {emails[1]} AS email")
    assert (beside.reason, beside.key) == ("identifier_too_long", '{"id":"u_1"}')


@pytest.mark.parametrize("name", ["object_id", "cio_object_id"])
def test_identifiers_of_objects(name: str) -> None:
    for kind in ("objects", "relationships"):
        select = f"'u_1' AS person_id, 1 AS object_type_id, {{}} AS {name}"
        at, above = (one(kind, select.format(text_of(limits.IDENTIFIER + over))) for over in (0, 1))
        assert (at.reason, above.reason, above.field) == (None, "identifier_too_long", name)


@pytest.mark.parametrize("column", ["person_id", "anonymous_id"])
def test_identifiers_of_events(column: str) -> None:
    at, above = (
        one("events", f"{text_of(limits.IDENTIFIER + over)} AS {column}, 'e' AS event_name") for over in (0, 1)
    )
    assert (at.reason, above.reason, above.field) == (None, "identifier_too_long", column)


KINDS = {
    "persons": "'u_1' AS id",
    "objects": "1 AS object_type_id, 'acme' AS object_id",
    "relationships": "'u_1' AS person_id, 1 AS object_type_id, 'acme' AS object_id",
    "events": "'u_1' AS person_id, 'bought' AS event_name",
    "devices": "'u_1' AS person_id, 'token' AS token, 'ios' AS platform",
}
WITH_ATTRIBUTES = ["persons", "objects", "relationships"]


@pytest.mark.parametrize("kind", WITH_ATTRIBUTES)
@pytest.mark.parametrize(
    "value",
    [
        "{text}",
        "{text}::ENUM({text})",
        "to_json({text})",
        "to_json(repeat('\"', {size}))",  # escaped it is twice as long
        "[repeat('x', {size} - 4)]",
        "{{'a': repeat('x', {size} - 8)}}",
        "to_json([repeat('x', {size} - 4)])",
    ],
)
def test_an_attribute_value(kind: str, value: str) -> None:
    def row(size: int):
        literal = "'" + EMOJI * (size // 4) + "x" * (size % 4) + "'"
        given = value.format(text=literal if "ENUM" in value else text_of(size), size=size)
        return one(kind, f"{KINDS[kind]}, {given} AS a")

    at, above = row(limits.ATTRIBUTE_VALUE), row(limits.ATTRIBUTE_VALUE + 1)
    assert (at.reason, above.reason, above.field) == (None, "value_too_long", "a")


@pytest.mark.parametrize("kind", ["events", "devices"])
def test_event_data_and_devices_have_no_limit_for_one_value(kind: str) -> None:
    assert one(kind, f"{KINDS[kind]}, {text_of(20_000)} AS a").reason is None


@pytest.mark.parametrize("kind", WITH_ATTRIBUTES)
def test_the_number_of_attributes(kind: str) -> None:
    columns = ", ".join(f"{number} AS a{number}" for number in range(limits.ATTRIBUTE_COUNT))
    at = one(kind, f"{KINDS[kind]}, {columns}, NULL AS further")
    above = one(kind, f"{KINDS[kind]}, {columns}, 1 AS further")
    assert (at.reason, above.reason, above.field) == (None, "too_many_attributes", None)
    # NULL that is sent counts.
    assert one(kind, f"{KINDS[kind]}, {columns}, NULL AS further", nulls="unset").reason == "too_many_attributes"


def test_identifiers_beside_count_as_attributes() -> None:
    columns = ", ".join(f"{number} AS a{number}" for number in range(limits.ATTRIBUTE_COUNT))
    assert one("persons", f"'u_1' AS id, 'a@b' AS email, {columns}").reason == "too_many_attributes"


def test_events_have_no_limit_for_the_number_of_attributes() -> None:
    columns = ", ".join(f"{number} AS a{number}" for number in range(1500))
    assert len(one("events", f"{KINDS['events']}, {columns}").json["attributes"]) == 1500


@pytest.mark.parametrize("kind", KINDS)
def test_an_attribute_name(kind: str) -> None:
    name = EMOJI * 37 + "xx"
    assert len(name.encode()) == limits.ATTRIBUTE_NAME
    assert one(kind, f'{KINDS[kind]}, 1 AS "{name}"').reason is None
    above = one(kind, f'{KINDS[kind]}, 1 AS "{name}x"')
    assert (above.reason, above.field) == ("attribute_name_too_long", name + "x")
    assert one(kind, f'{KINDS[kind]}, NULL AS "{name}x"').reason is None


def test_an_event_name() -> None:
    at, above = (
        one("events", f"'u_1' AS person_id, ' ' || {text_of(limits.EVENT_NAME + over)} || ' ' AS event_name")
        for over in (0, 1)
    )
    assert (at.reason, above.reason, above.field) == (None, "event_name_too_long", "event_name")


@pytest.mark.parametrize("kind", ["objects", "relationships"])
def test_all_attributes_together(kind: str) -> None:
    """100 000 bytes are above what an operation may have, so one more byte only changes what is told."""
    columns = [f"repeat('x', 990) AS a{number:03}" for number in range(99)]
    filled = 99 * (990 + len(',"a000":""'))
    left = limits.ATTRIBUTES - 2 - filled - len(',"z":""') + 1
    at, above = (one(kind, f"{KINDS[kind]}, {', '.join(columns)}, repeat('x', {left + over}) AS z") for over in (0, 1))
    assert (at.reason, above.reason) == ("operation_too_large", "attributes_too_large")


def test_event_data() -> None:
    """As above: one attribute, its name and the braces are eight bytes."""
    sizes = (limits.ATTRIBUTES - 8, limits.ATTRIBUTES - 7)
    at, above = (one("events", f"{KINDS['events']}, repeat('x', {size}) AS a") for size in sizes)
    assert (at.reason, above.reason) == ("operation_too_large", "attributes_too_large")


@pytest.mark.parametrize("kind", [*KINDS, "anonymous"])
def test_an_operation(kind: str) -> None:
    """Filled with values of up to 1000 bytes, the last one so long that the operation is exactly at the limit."""
    head = "'x' AS anonymous_id, 'bought' AS event_name" if kind == "anonymous" else KINDS[kind]
    kind = "events" if kind == "anonymous" else kind
    columns = ", ".join(f"{text_of(996)} AS a{number:02}" for number in range(31))
    empty = one(kind, f"{head}, {columns}, '' AS z")
    left = limits.OPERATION - len((empty.operation or "").encode())
    spread = f"repeat('x', {left // 2}) AS y, {{}} AS z"
    left -= left // 2 + len(',"y":""')
    at, above = (one(kind, f"{head}, {columns}, " + spread.format(f"repeat('x', {left + over})")) for over in (0, 1))
    assert (at.reason, above.reason, above.field) == (None, "operation_too_large", None)
    assert len((at.operation or "").encode()) == limits.OPERATION
    assert above.key == at.key or kind == "events"


def test_the_first_broken_rule_is_told() -> None:
    """Identifier, event name, values, number and names, sizes."""
    long, name = text_of(1001), "n" * 151
    columns = ", ".join(f"{number} AS a{number}" for number in range(300))
    broken = [
        "NULL AS id",
        f"{long} AS v",
        columns,
        f'1 AS "{name}"',
        ", ".join(f"repeat('x', 999) AS b{n}" for n in range(40)),
    ]
    fixed = ["'u_1' AS id", "'' AS v", "1 AS a0", '1 AS "n"']
    expected = [
        "identifier_missing", "value_too_long", "too_many_attributes", "attribute_name_too_long", "operation_too_large"
    ]  # fmt: skip
    for number, reason in enumerate(expected):
        assert one("persons", ", ".join([*fixed[:number], *broken[number:]])).reason == reason


def test_neighbours_of_bad_rows_are_good() -> None:
    rows = written(
        "persons",
        "SELECT 'u_' || i AS id, repeat('x', CASE WHEN i % 10 = 0 THEN 1001 ELSE 9 END) AS a FROM range(5000) r(i)",
    )
    assert sum(row.reason == "value_too_long" for row in rows) == 500
    assert sum(row.reason is None for row in rows) == 4500
    assert len({row.key for row in rows}) == 5000
