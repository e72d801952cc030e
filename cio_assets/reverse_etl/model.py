"""What a sync is, as data: where its rows come from, what they become, what happens to rows that left."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Kind(StrEnum):
    """What a row becomes."""

    PERSONS = "persons"
    EVENTS = "events"
    OBJECTS = "objects"
    RELATIONSHIPS = "relationships"
    DEVICES = "devices"
    SEGMENT_MEMBERS = "segment_members"
    REMOVALS = "removals"
    MERGES = "merges"


class Mode(StrEnum):
    """How present rows are written: create or update, update only, create or update and remove what left, or once."""

    UPSERT = "upsert"
    UPDATE = "update"
    MIRROR = "mirror"
    APPEND = "append"


class Gone(StrEnum):
    """What becomes of a row that was accepted and has left the source."""

    IGNORE = "ignore"
    DELETE = "delete"
    SUPPRESS = "suppress"
    UNSET = "unset"


_PERSON_COLUMNS = {"id": "id", "email": "email", "cio_id": "cio_id", "phone": "phone"}
_OF_PERSON = {"id": "person_id", "email": "person_email", "cio_id": "person_cio_id", "phone": "person_phone"}
_OF_EVENT = {"email": "person_email", "id": "person_id", "cio_id": "person_cio_id", "anonymous_id": "anonymous_id"}
_OF_MEMBER = {"id": "person_id", "email": "person_email", "cio_id": "person_cio_id"}

IDENTIFIERS: Mapping[Kind, Mapping[str, str]] = {
    Kind.PERSONS: _PERSON_COLUMNS,
    Kind.EVENTS: _OF_EVENT,
    Kind.OBJECTS: {},
    Kind.RELATIONSHIPS: _OF_PERSON,
    Kind.DEVICES: _OF_PERSON,
    Kind.SEGMENT_MEMBERS: _OF_MEMBER,
    Kind.REMOVALS: _PERSON_COLUMNS,
    Kind.MERGES: {},
}
"""Identifier of a person -> column, in the order in which they are looked for."""

_ONCE = (Kind.EVENTS, Kind.REMOVALS, Kind.MERGES)
_GONE: Mapping[Kind, tuple[Gone, ...]] = {
    Kind.PERSONS: tuple(Gone),
    Kind.OBJECTS: (Gone.IGNORE, Gone.DELETE, Gone.UNSET),
    Kind.RELATIONSHIPS: (Gone.IGNORE, Gone.DELETE),
    Kind.DEVICES: (Gone.IGNORE, Gone.DELETE),
    Kind.SEGMENT_MEMBERS: (Gone.IGNORE, Gone.DELETE),
}


class Sync(BaseModel):
    """One sync. Raises pydantic's ValidationError whose messages say what may be written instead."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,47}$", description="the sync, its asset and its job are called so")
    kind: Kind = Field(description="what a row becomes")
    source: str = Field(
        pattern=r"^[A-Za-z_]\w*\.[A-Za-z_]\w*$", description="`schema.table` of the warehouse, a table or a view"
    )
    identifiers: Mapping[str, str] = Field(
        default_factory=dict,
        description="what identifies a person, in the order in which it is looked for: a list, `[email, id]`, or a "
        "mapping to the columns, `{email: mail_address}`",
    )
    mode: Mode = Field(  # pyright: ignore[reportAssignmentType]  # set from the kind before validation
        default=None,
        description="`upsert` creates or updates, `update` only updates, `mirror` also removes what left the source, "
        "`append` sends each row once",
    )
    gone: Gone = Field(  # pyright: ignore[reportAssignmentType]  # set from the mode before validation
        default=None,
        description="what becomes of a row that was accepted and has left the source",
    )
    nulls: Literal["omit", "unset"] = Field(
        default="omit", description="a NULL leaves the attribute as it is (`omit`) or takes it away (`unset`)"
    )
    columns: tuple[str, ...] | None = Field(default=None, description="the columns that are sent, as a list")
    cursor: str | None = Field(
        default=None, description="a column that only grows: rows up to its last value are not read again"
    )
    partitions: Literal["daily"] | None = Field(
        default=None, description="`daily`: a partition for each day (events only)"
    )
    allow_empty: bool = Field(
        default=False, description="`true`: that the source is empty is no mistake, and everything in it has left"
    )
    description: str = Field(default="", description="what the UI says about it")

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        values = {name: value for name, value in given.items() if value is not None}
        kind = values.get("kind")
        if kind not in tuple(Kind):
            return values
        usual = Mode.MIRROR if kind == Kind.SEGMENT_MEMBERS else Mode.APPEND if kind in _ONCE else Mode.UPSERT
        values.setdefault("mode", usual)
        values.setdefault("gone", Gone.DELETE if values["mode"] == Mode.MIRROR else Gone.IGNORE)
        identifiers = values.get("identifiers") or IDENTIFIERS[Kind(kind)]
        if isinstance(identifiers, (list, tuple)):
            usual_columns = IDENTIFIERS[Kind(kind)]
            identifiers = {str(name): usual_columns.get(str(name), str(name)) for name in identifiers}
        values["identifiers"] = identifiers
        return values

    @field_validator("identifiers")
    @classmethod
    def _known_identifiers(cls, value: Mapping[str, str], info: Any) -> Mapping[str, str]:
        kind = info.data.get("kind")
        known = IDENTIFIERS.get(kind, {}) if kind else {}
        unknown = [name for name in value if name not in known]
        if unknown:
            may = f"use {', '.join(known)}" if known else "leave it out, for their columns have fixed names"
            raise ValueError(f"{', '.join(unknown)} cannot identify rows of kind {kind}: {may}")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Sync:
        append = self.kind in _ONCE
        if append != (self.mode is Mode.APPEND):
            writing = "upsert, update or mirror" if self.kind is Kind.PERSONS else "upsert or mirror"
            may = "append" if append else writing
            raise ValueError(f"mode {self.mode} does not go with kind {self.kind}: use {may}")
        if self.mode is Mode.UPDATE and self.kind is not Kind.PERSONS:
            raise ValueError(f"mode update is for persons only, not for {self.kind}: use upsert or mirror")
        allowed = _GONE.get(self.kind, (Gone.IGNORE,))
        if self.gone not in allowed:
            raise ValueError(f"gone {self.gone} does not go with kind {self.kind}: use {', '.join(allowed)}")
        if self.mode is Mode.MIRROR and self.gone is Gone.IGNORE:
            raise ValueError(
                "mode mirror removes what left the source, gone ignore keeps it: use mode upsert, or leave gone out"
            )
        if self.partitions and self.kind is not Kind.EVENTS:
            raise ValueError(f"partitions are for events only, not for {self.kind}: leave it out")
        return self


BUILT_IN: tuple[Sync, ...] = tuple(
    Sync.model_validate({"name": kind.value, "kind": kind, "source": f"reverse_etl.{kind.value}", **extra})
    for kind, extra in (
        (Kind.PERSONS, {}),
        (Kind.EVENTS, {"cursor": "timestamp", "partitions": "daily"}),
        (Kind.OBJECTS, {}),
        (Kind.RELATIONSHIPS, {}),
        (Kind.DEVICES, {}),
        (Kind.SEGMENT_MEMBERS, {}),
        (Kind.REMOVALS, {}),
        (Kind.MERGES, {}),
    )
)
"""The syncs that are there without a file; each is inactive while its relation is not in the warehouse."""
