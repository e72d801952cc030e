"""Which columns of a source become attributes, which ones a sync needs, which cannot be sent. Names only, no rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from cio_assets.customerio import limits
from cio_assets.reverse_etl.model import IDENTIFIERS, Gone, Kind, Sync
from cio_assets.reverse_etl.operations.columns import Column, Columns
from cio_assets.reverse_etl.operations.kinds_events import event_attribute_columns
from cio_assets.reverse_etl.operations.kinds_objects import object_attribute_columns
from cio_assets.reverse_etl.operations.kinds_people import (
    RESERVED_NAMES,
    device_attribute_columns,
    person_attribute_columns,
)
from cio_assets.reverse_etl.operations.kinds_requests import merge_columns

_NEEDED: Mapping[Kind, tuple[str, ...]] = {
    Kind.EVENTS: ("event_name",),
    Kind.DEVICES: ("token", "platform"),
    Kind.SEGMENT_MEMBERS: ("segment_id",),
}
_NOT_SENT: Mapping[Kind, Mapping[str, str]] = {
    Kind.PERSONS: {
        "cio_relationships": "people are related to objects by a sync of kind relationships",
        "_update": "use mode update",
    },
    Kind.DEVICES: {"_last_status": "Customer.io sets it"},
}
_ENVELOPE = 600
"""Bytes of an operation besides its attributes: its identifiers' 254 bytes escaped, type and action."""


def attribute_columns(sync: Sync, columns: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the attributes that rows can have, identifiers not among them."""
    known = Columns(columns)
    match sync.kind:
        case Kind.PERSONS:
            return tuple(_person_name(column) for column in person_attribute_columns(sync, known))
        case Kind.EVENTS:
            found = event_attribute_columns(sync, known)
        case Kind.OBJECTS | Kind.RELATIONSHIPS:
            found = object_attribute_columns(sync, known)
        case Kind.DEVICES:
            found = device_attribute_columns(sync, known)
        case _:
            found = []
    return tuple(column.name for column in found)


def _person_name(column: Column) -> str:
    name = column.name.casefold()
    return name if name in RESERVED_NAMES else column.name


def missing_columns(sync: Sync, columns: Mapping[str, str]) -> str | None:
    """The first thing about the source's columns that keeps the sync from running, and what to do; None when fine."""
    return next(_problems(sync, columns), None)


def _problems(sync: Sync, types: Mapping[str, str]) -> Iterator[str]:
    columns = Columns(types)
    has = ", ".join(types)
    named = [column for name, column in sync.identifiers.items() if IDENTIFIERS[sync.kind].get(name) != column]
    # The usual cursor of events is the timestamp, which a source of events need not have.
    cursor = [] if (sync.kind, sync.cursor) == (Kind.EVENTS, "timestamp") else [sync.cursor or ""]
    for said, names in (("identifiers", named), ("columns", sync.columns or ()), ("cursor", [*filter(None, cursor)])):
        unknown = [name for name in names if columns.find(name) is None]
        if unknown:
            yield f"{said} names {', '.join(unknown)}, but the source has no such column: it has {has}."
    needed = [name for name in _NEEDED.get(sync.kind, ()) if columns.find(name) is None]
    if needed:
        yield f"the source has no column {', '.join(needed)}, which {sync.kind} need: add it."
    for what, choices in _one_of(sync):
        if not any(all(columns.find(name) for name in choice) for choice in choices):
            yield f"the source has no column that says which {what}: add {_listed(choices)}."
    for name, instead in _NOT_SENT.get(sync.kind, {}).items():
        column = columns.find(name)
        if column and (sync.columns is None or column.name in sync.columns):
            yield f"column {column.name} cannot be sent: {instead}; drop the column, or choose others with columns."
    if sync.kind is Kind.PERSONS:
        yield from _twice(sync, columns)
    if sync.gone is Gone.UNSET:
        yield from _too_many_to_empty(attribute_columns(sync, types))


def _one_of(sync: Sync) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """What has to be told apart, and the sets of columns of which one is enough."""
    if sync.kind is Kind.MERGES:
        for role in ("primary", "secondary"):
            yield f"person is the {role} one", [(name,) for name in merge_columns(role).values()]
    if sync.identifiers:
        yield "person a row is about", [(name,) for name in sync.identifiers.values()]
    if sync.kind in (Kind.OBJECTS, Kind.RELATIONSHIPS):
        yield "object a row is about", [("object_type_id", "object_id"), ("cio_object_id",)]


def _listed(choices: Sequence[Sequence[str]]) -> str:
    return " or ".join(" and ".join(choice) for choice in choices)


def _twice(sync: Sync, columns: Columns) -> Iterator[str]:
    used = {column.casefold() for column in sync.identifiers.values()}
    for name, given in sync.identifiers.items():
        other = columns.find(name)
        chosen = sync.columns is None or name in sync.columns
        if other and other.name.casefold() not in used and chosen and columns.find(given):
            yield (
                f"columns {given} and {other.name} would both become {name} of a person: drop one, or choose the "
                "attributes with columns."
            )


def _too_many_to_empty(attributes: Sequence[str]) -> Iterator[str]:
    size = sum(len(json.dumps(name, ensure_ascii=False).encode()) + 4 for name in attributes)
    if len(attributes) > limits.ATTRIBUTE_COUNT or size + _ENVELOPE > limits.OPERATION:
        yield (
            f"gone unset empties all {len(attributes)} attributes in one operation, which takes "
            f"{limits.ATTRIBUTE_COUNT} and {limits.OPERATION} bytes: choose fewer with columns, or use gone ignore."
        )
