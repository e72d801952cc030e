"""Who or what a row is about: which columns identify it, how identifiers are written, when they cannot be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cio_assets.customerio import limits
from cio_assets.reverse_etl.operations.columns import Column, Columns
from cio_assets.reverse_etl.operations.rules import Check, Reason
from cio_assets.reverse_etl.operations.values import ascii_lower, name_of

_WORDS = "('null', 'none', 'nan', 'undefined', '<na>')"
_EMAIL = r"'[^@\s\p{Z}\p{Cc}]+@[^@\s\p{Z}\p{Cc}]+'"
_E164 = r"'\+[1-9][0-9]{1,14}'"
_MUST: Mapping[str, str] = {
    "email": "an address like a@b without white space",
    "phone": "a number in E.164 form, like +4915112345678",
    "object_type_id": "digits, like 1",
    "segment_id": "a positive whole number",
}
_NO_LIMIT = ("token", "platform", "event_id", "action")
_TEXT = "text or a whole number, and not a word like null that stands for a missing value"


@dataclass(frozen=True)
class Part:
    """One identifying column: SQL names of its text, of what is wrong with it (1 invalid, 2 too long), its checks."""

    identifier: str
    column: Column
    text: str
    fault: str

    def checks(self, where: str = "TRUE") -> tuple[Check, Check]:
        """The checks of this column on the rows where it is used."""
        name = self.column.name
        limit = limits.EMAIL if self.identifier == "email" else limits.IDENTIFIER
        return (
            Check(
                f"{self.fault} = 1 AND {where}",
                Reason.IDENTIFIER_INVALID,
                name,
                f"Column {name} cannot be used as {self.identifier}: it must be {_MUST.get(self.identifier, _TEXT)}. "
                "Correct it, or make it NULL.",
            ),
            Check(
                f"{self.fault} = 2 AND {where}",
                Reason.IDENTIFIER_TOO_LONG,
                name,
                f"Column {name} is longer than the {limit} bytes that {self.identifier} may have. Shorten it.",
            ),
        )


@dataclass
class Layers:
    """What has to be computed before what: texts of identifiers and dear values, then faults."""

    first: dict[str, str] = field(default_factory=dict)
    second: dict[str, str] = field(default_factory=dict)

    def part(self, identifier: str, column: Column) -> Part:
        """Have an identifying column computed."""
        name = name_of(column)
        text, fault = f"t_{column.sql}", f"f_{column.sql}"
        self.first[text] = _unprefixed(name.text) if identifier == "cio_id" else name.text
        self.second[fault] = _fault(identifier, text, name.wrong)
        return Part(identifier, column, text, fault)


def _unprefixed(text: str) -> str:
    return f"regexp_replace({text}, '^cio_', '')"


def _fault(identifier: str, text: str, wrong: str | None) -> str:
    longest = limits.EMAIL if identifier == "email" else limits.IDENTIFIER
    match identifier:
        case "email":
            invalid = [f"NOT regexp_full_match({text}, {_EMAIL})"]
        case "phone":
            invalid = [f"NOT regexp_full_match({text}, {_E164})"]
        case "object_type_id":
            invalid = [f"NOT regexp_full_match({text}, '[0-9]{{1,18}}')"]
        case "segment_id":
            invalid = [f"NOT regexp_full_match({text}, '[1-9][0-9]{{0,17}}')"]
        case _:
            # Most identifiers have another length than these words.
            word = f"CASE WHEN strlen({text}) BETWEEN 3 AND 9 THEN lower({text}) IN {_WORDS} ELSE FALSE END"
            invalid = [f"{text} = ''", word]
    invalid = [wrong, *invalid] if wrong else invalid
    whens = " ".join(f"WHEN {condition} THEN 1" for condition in invalid)
    too_long = "" if identifier in _NO_LIMIT else f" WHEN strlen({text}) > {longest} THEN 2"
    return f"CASE WHEN {text} IS NULL THEN NULL {whens}{too_long} END"


@dataclass(frozen=True)
class Identity:
    """One person or object as JSON in SQL, as it is sent; NULL where it is missing or cannot be used."""

    sent: str
    missing: Check
    checks: tuple[Check, ...]
    parts: tuple[Part, ...] = ()
    known_by: tuple[str, ...] = ()
    """The same by each identifier, as it stands in a key; NULL where that one is missing or cannot be used."""


def person_of(
    layers: Layers, columns: Columns, identifiers: Mapping[str, str], *, all_checked: Sequence[str] = ()
) -> Identity:
    """The person that a row is about: the first identifier that is there. `all_checked`: those sent in any case."""
    found = [(name, columns.find(column)) for name, column in identifiers.items()]
    parts = tuple(layers.part(name, column) for name, column in found if column is not None)
    checks: list[Check] = []
    for number, part in enumerate(parts):
        chosen = [f"{earlier.text} IS NULL" for earlier in parts[:number]]
        where = "TRUE" if part.identifier in all_checked else " AND ".join(chosen) or "TRUE"
        checks += part.checks(where)
    named = ", ".join(part.column.name for part in parts) or ", ".join(identifiers.values())
    return Identity(
        sent=_first(parts),
        missing=Check(
            " AND ".join(f"{part.text} IS NULL" for part in parts) or "TRUE",
            Reason.IDENTIFIER_MISSING,
            parts[0].column.name if len(parts) == 1 else None,
            f"Nothing says who this is: fill {'one of ' if len(parts) > 1 else ''}{named}.",
        ),
        checks=tuple(checks),
        parts=parts,
        known_by=tuple(_in_key(part) for part in parts),
    )


def _first(parts: Sequence[Part]) -> str:
    if not parts:
        return "NULL::VARCHAR"
    whens = " ".join(f"WHEN {part.text} IS NOT NULL THEN {one_json(part)}" for part in parts)
    return f"CASE {whens} END"


def one_json(part: Part) -> str:
    """`{"id":"u_1"}` of one identifying column; NULL where it is absent or cannot be used."""
    return f"""CASE WHEN {part.fault} IS NULL THEN '{{"{part.identifier}":' || to_json({part.text}) || '}}' END"""


def as_key(sent: str) -> str:
    """The same person in a key: Customer.io takes emails in any case for one."""
    # A usable email has no character that JSON writes with letters.
    return f"""CASE WHEN starts_with({sent}, '{{"email":') THEN {ascii_lower(sent)} ELSE {sent} END"""


def _in_key(part: Part) -> str:
    return ascii_lower(one_json(part)) if part.identifier == "email" else one_json(part)


def object_of(layers: Layers, columns: Columns) -> Identity:
    """The object that a row is about: `object_type_id` with `object_id`, else `cio_object_id`."""
    kind, name, own = (columns.find(column) for column in ("object_type_id", "object_id", "cio_object_id"))
    whens: list[str] = []
    absent: list[str] = []
    checks: list[Check] = []
    parts: list[Part] = []
    known_by: list[str] = []
    if kind is not None and name is not None:
        a, b = layers.part("object_type_id", kind), layers.part("object_id", name)
        both = f"{a.text} IS NOT NULL AND {b.text} IS NOT NULL"
        json = f"""'{{"object_type_id":' || to_json({a.text}) || ',"object_id":' || to_json({b.text}) || '}}'"""
        usable = f"CASE WHEN {a.fault} IS NULL AND {b.fault} IS NULL THEN {json} END"
        whens.append(f"WHEN {both} THEN {usable}")
        known_by.append(usable)
        absent.append(f"({a.text} IS NULL OR {b.text} IS NULL)")
        checks += (*a.checks(both), *b.checks(both))
        parts += (a, b)
    if own is not None:
        part = layers.part("cio_object_id", own)
        whens.append(f"WHEN {part.text} IS NOT NULL THEN {one_json(part)}")
        checks += part.checks(" AND ".join(absent) or "TRUE")
        absent.append(f"{part.text} IS NULL")
        parts.append(part)
        known_by.append(one_json(part))
    sent = f"CASE {' '.join(whens)} END" if whens else "NULL::VARCHAR"
    return Identity(
        sent=sent,
        missing=Check(
            " AND ".join(absent) or "TRUE",
            Reason.IDENTIFIER_MISSING,
            None,
            "Nothing says which object this is: fill object_type_id and object_id, or cio_object_id.",
        ),
        checks=tuple(checks),
        parts=tuple(parts),
        known_by=tuple(known_by),
    )
