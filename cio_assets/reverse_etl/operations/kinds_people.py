"""Persons and their devices: identify and add_device (section 9 of customerio-api.md)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from cio_assets.customerio import limits
from cio_assets.reverse_etl.model import Mode, Sync
from cio_assets.reverse_etl.operations.attributes import (
    Attribute,
    attribute,
    checks,
    joined,
    moment,
    moment_attribute,
    not_representable,
    text_attribute,
)
from cio_assets.reverse_etl.operations.columns import Column, Columns
from cio_assets.reverse_etl.operations.identities import Identity, Layers, Part, as_key, person_of
from cio_assets.reverse_etl.operations.plan import ATTRIBUTES, Plan
from cio_assets.reverse_etl.operations.rules import Check, Reason
from cio_assets.reverse_etl.operations.values import Value, not_json, trimmed

PREFERENCES: Final = "cio_subscription_preferences"
_WRITTEN_AS_IDENTIFIER = ("id", "email", "phone")
RESERVED_NAMES: Final = frozenset({*_WRITTEN_AS_IDENTIFIER, "created_at", PREFERENCES})
"""Attributes of people with a meaning of their own: whatever the case of the column, they are sent in lower case."""
NEVER_REMOVED: Final = frozenset({*_WRITTEN_AS_IDENTIFIER, "cio_id", PREFERENCES})
"""What is never sent as empty text, which would remove it."""


def person_attribute_columns(sync: Sync, columns: Columns) -> list[Column]:
    """The columns that become attributes although they do not identify the row."""
    return columns.others((*sync.identifiers.values(), *sync.identifiers, "cio_id"), sync.columns)


def persons(sync: Sync, columns: Columns) -> Plan:
    """Create or update people, or with mode update only update them."""
    plan = Plan(key=as_key("sent"), sent={})
    unset = sync.nulls == "unset"
    person = person_of(plan.layers, columns, sync.identifiers, all_checked=("id", "email"))
    attributes = _other_identifiers(person)
    attributes += [_person_attribute(plan.layers, column) for column in person_attribute_columns(sync, columns)]
    rules = checks(attributes, value_limit=limits.ATTRIBUTE_VALUE, count_limit=limits.ATTRIBUTE_COUNT, unset=unset)
    plan.checks = [person.missing, *person.checks, *rules]
    plan.sent = {"sent": person.sent}
    plan.keys = [*person.known_by]
    members = joined(attributes, unset=unset)
    if sync.mode is Mode.UPDATE:
        listed = ", ".join(["'\"_update\":true'", *(one.json(unset=unset) for one in attributes)])
        members = f"concat({listed})"
    plan.operation = (
        """concat('{"type":"person","identifiers":', sent, ',"action":"identify","attributes":{', """
        + members
        + ", '}}')"
    )
    return plan


def _other_identifiers(person: Identity) -> list[Attribute]:
    """Identifiers of the row behind the one that identifies it: attributes of the person."""
    others = []
    for number, part in enumerate(person.parts):
        if number and part.identifier in _WRITTEN_AS_IDENTIFIER:
            earlier = " OR ".join(f"{before.text} IS NOT NULL" for before in person.parts[:number])
            others.append(_identifier_attribute(part, f"({earlier})"))
    return others


def _identifier_attribute(part: Part, where: str = "TRUE") -> Attribute:
    # A number that is not in the form of a phone identifier can still be kept as text, within the limit of any value.
    size = f"CASE WHEN {where} THEN strlen({part.text}) END" if part.identifier == "phone" else None
    text = f"CASE WHEN {where} THEN to_json({part.text}) END"
    value = Value(text, size=size, present=f"{part.text} IS NOT NULL AND {where}")
    return Attribute(part.identifier, part.column, value, removable=False)


def _person_attribute(layers: Layers, column: Column) -> Attribute:
    name = column.name.casefold()
    if name in _WRITTEN_AS_IDENTIFIER:
        part = layers.part(name, column)
        own = () if name == "phone" else part.checks()
        return replace(_identifier_attribute(part), own_checks=own)
    if name == "created_at":
        return moment_attribute(layers, column, name)
    return _preferences(layers, column) if name == PREFERENCES else attribute(layers, column)


def _preferences(layers: Layers, column: Column) -> Attribute:
    """The one attribute with a shape of its own: an object whose topics are booleans."""
    what = 'must be a JSON object like {"topics":{"topic_1":true}}: correct it or make it NULL.'
    c, name = column.sql, f"v_{column.sql}"
    if column.family not in {"VARCHAR", "JSON", "NESTED"}:
        check = not_representable(f"{c} IS NOT NULL", column, what)
        return Attribute(PREFERENCES, column, Value("NULL::VARCHAR", present="FALSE"), (check,), removable=False)
    given = f"TRY(to_json({c})::VARCHAR)" if column.family == "NESTED" else trimmed(f"{c}::VARCHAR")
    # Empty text stands for what is no JSON.
    layers.first[name] = (
        f"nullif(CASE WHEN {given} IS NOT NULL THEN coalesce(TRY(json({given}))::VARCHAR, '') END, 'null')"
    )
    topics = f"json_type({name}, '$.topics')"
    others = f"len(list_filter(json_type({name}, '$.topics.*'), lambda kind: kind <> 'BOOLEAN'))"
    wrong = (
        f"CASE WHEN {name} IS NULL THEN FALSE WHEN {name} = '' THEN TRUE WHEN json_type({name}) <> 'OBJECT' THEN TRUE "
        f"WHEN {not_json(name)} THEN TRUE WHEN {topics} IS NULL THEN FALSE WHEN {topics} <> 'OBJECT' THEN TRUE "
        f"ELSE {others} > 0 END"
    )
    value = Value(name, size=f"strlen({name})", present=f"{name} IS NOT NULL")
    return Attribute(PREFERENCES, column, value, (not_representable(wrong, column, what),), removable=False)


DEVICE_COLUMNS = ("token", "platform", "last_used")


def device_attribute_columns(sync: Sync, columns: Columns) -> list[Column]:
    """The columns that become attributes of the device."""
    return columns.others((*sync.identifiers.values(), *DEVICE_COLUMNS), sync.columns)


def devices(sync: Sync, columns: Columns) -> Plan:
    """Add or update a device of a person. Its attributes are all text."""
    plan = Plan()
    person = person_of(plan.layers, columns, sync.identifiers)
    token_column, platform_column = columns.find("token"), columns.find("platform")
    if token_column is None or platform_column is None:
        return Plan(checks=[person.missing])
    token = plan.layers.part("token", token_column)
    platform = plan.layers.part("platform", platform_column)
    attributes = [_device_attribute(plan.layers, column) for column in device_attribute_columns(sync, columns)]
    plan.checks = [
        person.missing,
        *person.checks,
        Check(
            f"{token.text} IS NULL", Reason.IDENTIFIER_MISSING, token_column.name, "The device has no token: fill it."
        ),
        *token.checks(),
        Check(
            f"{platform.text} IS NULL OR lower({platform.text}) NOT IN ('ios', 'android')",
            Reason.PLATFORM_INVALID,
            platform_column.name,
            f"Column {platform_column.name} must be ios or android.",
        ),
    ]
    last_used = columns.find("last_used")
    used = "NULL::VARCHAR"
    if last_used is not None:
        check, micros = moment(plan.layers, last_used)
        plan.checks.append(check)
        used = f"""',"last_used":' || ({micros} // 1000000)"""
    plan.checks += checks(attributes, value_limit=None, count_limit=None)
    plan.sent = {
        "sent": person.sent,
        "token": f"CASE WHEN {token.fault} IS NULL THEN to_json({token.text})::VARCHAR END",
        ATTRIBUTES: joined(attributes),
    }
    plan.key = _device_key(as_key("sent"))
    plan.keys = [_device_key(one) for one in person.known_by]
    plan.operation = (
        """concat('{"type":"person","identifiers":', sent, ',"action":"add_device","device":{"token":', token, """
        f"""',"platform":"', lower({platform.text}), '"', {used}, ',"attributes":{{', {ATTRIBUTES}, '}}}}}}')"""
    )
    return plan


def _device_key(person: str) -> str:
    return f"""'{{"person":' || {person} || ',"token":' || token || '}}'"""


def _device_attribute(layers: Layers, column: Column) -> Attribute:
    usual = text_attribute(layers, column)
    if column.name.casefold() != "push_enabled":
        return usual
    text = f"lower({usual.value.text})"
    wrong = f"{text} NOT IN ('\"true\"', '\"false\"')"
    check = not_representable(wrong, column, "must be true or false: correct it or make it NULL.")
    return replace(
        usual, name="push_enabled", value=replace(usual.value, text=text), own_checks=(*usual.own_checks, check)
    )
