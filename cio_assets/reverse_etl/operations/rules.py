"""What the rules are called, what becomes of odd values, how a list of checks becomes SQL. No value, no query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cio_assets.warehouse.sql import literal


class Reason(StrEnum):
    """Why a row is rejected before it is sent; stable, for people's queries."""

    IDENTIFIER_MISSING = "identifier_missing"
    IDENTIFIER_INVALID = "identifier_invalid"
    IDENTIFIER_TOO_LONG = "identifier_too_long"
    EVENT_NAME_MISSING = "event_name_missing"
    EVENT_NAME_TOO_LONG = "event_name_too_long"
    EVENT_TYPE_INVALID = "event_type_invalid"
    PLATFORM_INVALID = "platform_invalid"
    ACTION_INVALID = "action_invalid"
    MERGE_CHAIN = "merge_chain"
    TIMESTAMP_INVALID = "timestamp_invalid"
    VALUE_NOT_REPRESENTABLE = "value_not_representable"
    VALUE_TOO_LONG = "value_too_long"
    TOO_MANY_ATTRIBUTES = "too_many_attributes"
    ATTRIBUTE_NAME_TOO_LONG = "attribute_name_too_long"
    ATTRIBUTES_TOO_LARGE = "attributes_too_large"
    OPERATION_TOO_LARGE = "operation_too_large"


@dataclass(frozen=True)
class Check:
    """A condition in SQL that is true where the row breaks a rule; `field` is the source column to blame, if one is."""

    condition: str
    reason: Reason
    field: str | None
    message: str


def first_broken(checks: Sequence[Check], start: int = 1) -> str:
    """SQL of the number of the first check that a row breaks, counted from `start`; NULL for a good row."""
    if not checks:
        return "NULL::INTEGER"
    whens = " ".join(f"WHEN {check.condition} THEN {number}" for number, check in enumerate(checks, start))
    return f"CASE {whens} END"


def explained(checks: Sequence[Check], number: str) -> Mapping[str, str]:
    """SQL of `reason`, `field` and `message` for the SQL `number` of a broken check."""

    def looked_up(texts: list[str | None]) -> str:
        choices = ", ".join("NULL" if text is None else literal(text) for text in texts)
        # A good row looks nothing up.
        return f"CASE WHEN {number} IS NOT NULL THEN ([{choices}]::VARCHAR[])[{number}] END"

    return {
        "reason": looked_up([check.reason.value for check in checks]),
        "field": looked_up([check.field for check in checks]),
        "message": looked_up([check.message for check in checks]),
    }


OUTCOMES: Final[tuple[tuple[str, str, str], ...]] = (
    ("identifier", "NULL, JSON null, empty text, only white space", "absent: the sync's next identifier is looked at"),
    ("identifier", "none is there", "identifier_missing"),
    ("identifier", "text", "white space around it is dropped; a cio_id loses its prefix cio_"),
    ("identifier", "the text null, none, nan, undefined or <na>, in any case", "identifier_invalid"),
    ("identifier", "integer, UUID, enum", "its text"),
    ("identifier", "float or decimal that is a whole number, like 1001.0", "1001"),
    ("identifier", "float or decimal with a fraction, NaN, infinite, too large to be exact", "identifier_invalid"),
    ("identifier", "JSON string, JSON whole number", "its text"),
    ("identifier", "other JSON, boolean, date, time, bytes, nested", "identifier_invalid"),
    ("identifier", "email unlike a@b or with white space, phone that is not E.164", "identifier_invalid"),
    ("identifier", "more than 150 bytes, an email of more than 254", "identifier_too_long"),
    ("identifier", "id, email or phone of a person beside what identifies", "an attribute; id and email checked"),
    ("identifier", "cio_id of a person beside what identifies", "not sent"),
    ("attribute", "NULL, JSON null", "left out"),
    ("attribute", "those with nulls: unset (persons, objects, relationships)", 'sent as "", which removes it'),
    ("attribute", "text, also empty", "as it is"),
    ("attribute", "integer of up to 64 bits, decimal, boolean", "as it is"),
    ("attribute", "integer beyond signed 64 bits", "value_not_representable"),
    ("attribute", "float", "as it is"),
    ("attribute", "NaN, infinity", "value_not_representable"),
    ("attribute", "timestamp, date; without time zone read as UTC", "unix seconds, rounded down"),
    ("attribute", "infinite timestamp or date", "value_not_representable"),
    ("attribute", "time, UUID, enum", "text"),
    ("attribute", "JSON", "embedded"),
    ("attribute", "JSON column that holds no JSON, or NaN", "value_not_representable"),
    ("attribute", "struct, list, map, union", "JSON; timestamps inside as text"),
    ("attribute", "NaN, infinity, bytes, intervals inside those", "value_not_representable"),
    ("attribute", "interval, bytes, bits, geometry, any other type", "value_not_representable"),
    ("attribute", "more than 1000 bytes (person, object, relationship)", "value_too_long"),
    ("attribute", "more than 300 (person, object, relationship)", "too_many_attributes"),
    ("attribute", "column name of more than 150 bytes, not NULL", "attribute_name_too_long"),
    ("attribute", "all of an object, relationship or event: more than 100 000 bytes", "attributes_too_large"),
    ("attribute", "created_at (person), timestamp (event), last_used (device)", "unix seconds"),
    ("attribute", "timestamp, date, ISO-8601 text, whole number of seconds there", "unix seconds; empty: absent"),
    ("attribute", "one of those outside of 0 to 9999999999, or anything else", "timestamp_invalid"),
    ("attribute", "cio_subscription_preferences that is no JSON object with boolean topics", "value_not_representable"),
    ("attribute", "of a device", "text; JSON text of nested values"),
    ("event", "event_name NULL, blank or no text", "event_name_missing"),
    ("event", "event_name of more than 100 bytes", "event_name_too_long"),
    ("event", "event_type in any case; NULL", "event, page or screen; event"),
    ("event", "any other event_type", "event_type_invalid"),
    ("event", "event_id that is a ULID", "the event's id"),
    ("event", "any other event_id", "an id derived from it and the timestamp"),
    ("event", "no event_id", "an id derived from who, what, when and the columns that were there at the first push"),
    ("event", "neither event_id nor timestamp", "rows that are alike are counted: each is an event of its own"),
    ("event", "recipient, from_address, reply_to, path, referrer, search, title, url", "text"),
    ("device", "platform other than ios, android in any case", "platform_invalid"),
    ("removal", "several of one person", "the one with the latest requested_at is sent"),
    ("removal", "action NULL, or no such column", "delete"),
    ("removal", "action other than delete, suppress, unsuppress in any case", "action_invalid"),
    ("merge", "of a person with itself", "identifier_invalid"),
    ("merge", "into a person who is merged away by another row", "merge_chain"),
    ("any", "an operation of more than 32 768 bytes", "operation_too_large"),
)  # fmt: skip
"""What (of what), as the source holds it, becomes what: a name_like_this is the reason for which the row is rejected.

The first rule that a row breaks is told: identifiers, event name, values, number and names of attributes, sizes.
"""
