"""Columns that become attributes: their JSON in SQL, and the rules for their values, names, number and size."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from cio_assets.customerio import limits
from cio_assets.reverse_etl.operations.columns import INTEGERS, Column
from cio_assets.reverse_etl.operations.identities import Layers
from cio_assets.reverse_etl.operations.rules import Check, Reason
from cio_assets.reverse_etl.operations.values import Value, moment_of, value_of
from cio_assets.warehouse.sql import literal


@dataclass(frozen=True)
class Attribute:
    """One attribute: what it is called, where it comes from, its value, and the checks that are its own."""

    name: str
    column: Column
    value: Value
    own_checks: tuple[Check, ...] = ()
    removable: bool = True
    """Whether `nulls: unset` may send it as empty text."""

    def json(self, *, unset: bool) -> str:
        """SQL of `,"name":value`; NULL where it is left out."""
        text = f"""coalesce({self.value.text}, '""')""" if unset and self.removable else self.value.text
        return f"{literal(',' + json.dumps(self.name, ensure_ascii=False) + ':')} || {text}"


def attribute(layers: Layers, column: Column, name: str | None = None) -> Attribute:
    """An attribute under the rules for its type."""
    value = value_of(column)
    return Attribute(name or column.name, column, _computed(layers, column, value), _wrong(column, value))


def moment_attribute(layers: Layers, column: Column, name: str) -> Attribute:
    """A point in time, sent as unix seconds."""
    check, micros = moment(layers, column)
    return Attribute(name, column, Value(f"({micros} // 1000000)::VARCHAR", present=f"{micros} IS NOT NULL"), (check,))


def moment(layers: Layers, column: Column) -> tuple[Check, str]:
    """Have a point in time computed: the check of it, and the SQL of its microseconds since 1970."""
    name = f"m_{column.sql}"
    value = moment_of(column)
    layers.first[name] = value.text
    message = (
        f"Column {column.name} is no point in time between 1970 and 2286: give a timestamp, ISO-8601 text, or unix "
        "seconds (not milliseconds)."
    )
    return Check(value.computed(name).wrong or "FALSE", Reason.TIMESTAMP_INVALID, column.name, message), name


def text_attribute(layers: Layers, column: Column) -> Attribute:
    """An attribute that must be text: numbers and booleans as their text, nested values as JSON text."""
    usual = attribute(layers, column)
    text, family = usual.value.text, column.family
    if family in {"NESTED", "JSON"}:
        text = f"CASE WHEN starts_with({text}, '\"') THEN {text} ELSE to_json({text})::VARCHAR END"
    elif usual.value.wrong is not None or family in INTEGERS | {"BOOLEAN", "DECIMAL"}:
        text = f"""'"' || {text} || '"'"""
    return replace(usual, value=replace(usual.value, text=text))


def _computed(layers: Layers, column: Column, value: Value) -> Value:
    if not value.dear:
        return value
    layers.first[f"v_{column.sql}"] = value.text
    return value.computed(f"v_{column.sql}")


def _wrong(column: Column, value: Value) -> tuple[Check, ...]:
    if value.wrong is None:
        return ()
    condition = value.computed(f"v_{column.sql}").wrong if value.dear else value.wrong
    return (not_representable(condition or "FALSE", column, _what_to_do(column)),)


def not_representable(condition: str, column: Column, what: str) -> Check:
    """A value that has no form in which it could be sent."""
    return Check(condition, Reason.VALUE_NOT_REPRESENTABLE, column.name, f"Column {column.name} {what}")


def _what_to_do(column: Column) -> str:
    match column.family:
        case "UBIGINT" | "HUGEINT" | "UHUGEINT" | "BIGNUM":
            return "holds a whole number beyond 64 bits: cast the column to text."
        case "FLOAT" | "DOUBLE":
            return "is not a finite number: make it NULL, or leave the column out."
        case "DATE" | "TIMESTAMP" | "TIMESTAMP WITH TIME ZONE" | "TIMESTAMP_S" | "TIMESTAMP_MS" | "TIMESTAMP_NS":
            return "is infinite, or beyond what a timestamp holds: make it NULL."
        case "JSON":
            return "is no JSON, or holds NaN or Infinity, which JSON does not know: correct it or make it NULL."
        case "NESTED":
            return "holds something inside that JSON does not know (NaN, infinity, bytes): make it NULL or cast it."
        case _:
            return f"is of type {column.type}, which has no form in JSON: cast it to text or leave it out."


def joined(attributes: Sequence[Attribute], *, unset: bool = False) -> str:
    """SQL of the members of a JSON object, without its braces; empty text where there is nothing."""
    if not attributes:
        return "''"
    # concat leaves NULL out, so an absent attribute takes its name and comma with it.
    return f"ltrim(concat({', '.join(one.json(unset=unset) for one in attributes)}), ',')"


def checks(
    attributes: Sequence[Attribute], *, value_limit: int | None, count_limit: int | None, unset: bool = False
) -> Iterable[Check]:
    """The rules for values, then for their number, then for names."""
    for one in attributes:
        yield from one.own_checks
        if value_limit and one.value.size:
            message = (
                f"Column {one.column.name} holds more than the {value_limit} bytes that one attribute may have: "
                "shorten it, or leave the column out."
            )
            yield Check(f"{one.value.size} > {value_limit}", Reason.VALUE_TOO_LONG, one.column.name, message)
    if count_limit and len(attributes) > count_limit:
        # Flat: a sum of that many terms would be too deep for the parser.
        ones = ", ".join(
            "'1'" if unset and one.removable else f"CASE WHEN {one.value.present} THEN '1' END" for one in attributes
        )
        message = f"More than the {count_limit} attributes that may be sent at once: choose some with `columns`."
        yield Check(f"strlen(concat({ones})) > {count_limit}", Reason.TOO_MANY_ATTRIBUTES, None, message)
    for one in attributes:
        if len(one.name.encode()) > limits.ATTRIBUTE_NAME:
            message = f"The name of this column is longer than {limits.ATTRIBUTE_NAME} bytes: rename it."
            yield Check(one.value.present, Reason.ATTRIBUTE_NAME_TOO_LONG, one.column.name, message)
