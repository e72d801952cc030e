"""Events of people and of anonymous visitors: what is sent, and the ULID by which a repeated event is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from cio_assets.customerio import limits
from cio_assets.reverse_etl.model import Sync
from cio_assets.reverse_etl.operations.attributes import (
    Attribute,
    attribute,
    checks,
    joined,
    moment,
    not_representable,
    text_attribute,
)
from cio_assets.reverse_etl.operations.columns import Column, Columns
from cio_assets.reverse_etl.operations.identities import Part, person_of
from cio_assets.reverse_etl.operations.plan import ATTRIBUTES, Plan, broken, results, source_row, stacked
from cio_assets.reverse_etl.operations.rules import Check, Reason, first_broken
from cio_assets.reverse_etl.operations.ulid import LENGTH, is_ulid, ulid_of
from cio_assets.reverse_etl.operations.values import name_of

EVENT_COLUMNS: Final = ("event_name", "event_id", "timestamp", "event_type")
_TEXTS = frozenset({"recipient", "from_address", "reply_to", "path", "referrer", "search", "title", "url"})
"""Attributes with a meaning of their own, which must be text."""
_ANONYMOUS = """starts_with(sent, '{"anonymous_id":')"""


@dataclass
class _Event:
    """SQL names of the parts of an event that identify it; SQL NULL where the source has no such column."""

    plan: Plan
    given: Part | None = None
    micros: str = "NULL::BIGINT"
    hashed: str = ATTRIBUTES
    """The attributes from which the id is derived."""

    @property
    def given_id(self) -> str:
        return self.given.text if self.given else "NULL::VARCHAR"

    @property
    def alike_are_several(self) -> str:
        """True where nothing but their number tells equal rows apart."""
        return f"({self.given_id} IS NULL AND {self.micros} IS NULL)"


def event_attribute_columns(sync: Sync, columns: Columns) -> list[Column]:
    """The columns that become attributes; in the order of their names, because they go into the hash."""
    found = columns.others((*sync.identifiers.values(), *EVENT_COLUMNS), sync.columns)
    return sorted(found, key=lambda column: column.name)


def events_sql(
    sync: Sync, columns: Columns, relation: str, recency: str, id_attributes: Sequence[str] | None = None
) -> str:
    """The SELECT of all events of `relation`, which is read twice where rows may lack both event_id and timestamp.

    Ids that are derived from what is sent are made from these `id_attributes` only (None: from all).
    """
    event = _planned(sync, columns, id_attributes)
    plan = event.plan
    plan.recency = recency
    rows = stacked(columns.select(relation), plan.layers.first)
    steps = _steps(event, columns)
    single = stacked(f"SELECT * FROM ({rows}) WHERE NOT {event.alike_are_several}", *steps)
    alike = stacked(f"SELECT * FROM ({rows}) WHERE {event.alike_are_several}", *steps)
    # Only these rows are gathered: a window holds its rows in memory or spills them.
    counted = f"SELECT *, row_number() OVER (PARTITION BY content) AS ordinal FROM ({alike})"
    identified = event.given is not None or event.micros != _Event.micros
    both = f"SELECT *, 0 AS ordinal FROM ({single}) UNION ALL {counted}" if identified else counted
    finished = stacked(
        both,
        {"number": "CASE WHEN ordinal = 0 THEN md5_number(content) ELSE md5_number(content || ordinal) END"},
        {"ulid": _ulid(event)},
        {"key": """'{"id":"' || ulid || '"}'""", "operation": "concat(head, ulid, tail)"},
    )
    return results(finished, plan, "source_row")


def _planned(sync: Sync, columns: Columns, id_attributes: Sequence[str] | None) -> _Event:
    plan = Plan(limited=True, lane=f"CASE WHEN {_ANONYMOUS} THEN 'anonymous' ELSE 'batch' END")
    event = _Event(plan)
    person = person_of(plan.layers, columns, sync.identifiers)
    plan.checks = [person.missing, *person.checks, *_id_checks(event, columns), *_name_checks(plan, columns)]
    when = columns.find("timestamp")
    if when is not None:
        check, event.micros = moment(plan.layers, when)
        plan.checks.append(check)
    attributes = [_event_attribute(plan, column) for column in event_attribute_columns(sync, columns)]
    plan.checks += checks(attributes, value_limit=None, count_limit=None)
    plan.sent = {"sent": person.sent, ATTRIBUTES: joined(attributes)}
    if id_attributes is not None and sorted(id_attributes) != [one.name for one in attributes]:
        event.hashed = joined(_hashed(attributes, id_attributes))
    return event


def _hashed(attributes: Sequence[Attribute], names: Sequence[str]) -> list[Attribute]:
    """The attributes of these names, in their order and under these spellings."""
    by_name = {one.name.casefold(): one for one in attributes}
    return [replace(by_name[key], name=name) for name in sorted(names) if (key := name.casefold()) in by_name]


def _id_checks(event: _Event, columns: Columns) -> tuple[Check, ...]:
    column = columns.find("event_id")
    if column is None:
        return ()
    event.given = event.plan.layers.part("event_id", column)
    return event.given.checks()


def _name_checks(plan: Plan, columns: Columns) -> list[Check]:
    name, kind = columns.find("event_name"), columns.find("event_type")
    wrong = ""
    if name is not None:
        found = name_of(name)
        plan.layers.first["event_name"] = found.text
        wrong = f" OR {found.wrong}" if found.wrong else ""
    else:
        plan.layers.first["event_name"] = "NULL::VARCHAR"
    field = name.name if name else "event_name"
    result = [
        Check(
            f"event_name IS NULL{wrong}",
            Reason.EVENT_NAME_MISSING,
            field,
            f"The event has no name: fill {field} with text.",
        ),
        Check(
            f"strlen(event_name) > {limits.EVENT_NAME}",
            Reason.EVENT_NAME_TOO_LONG,
            field,
            f"The event's name is longer than {limits.EVENT_NAME} bytes: shorten it.",
        ),
    ]
    plan.layers.first["event_type"] = f"coalesce(lower({name_of(kind).text}), 'event')" if kind else "'event'"
    if kind is not None:
        message = f"Column {kind.name} must be event, page or screen, or NULL for event."
        invalid = "event_type NOT IN ('event', 'page', 'screen')"
        result.append(Check(invalid, Reason.EVENT_TYPE_INVALID, kind.name, message))
    return result


def _event_attribute(plan: Plan, column: Column) -> Attribute:
    if column.name in _TEXTS:
        return text_attribute(plan.layers, column)
    usual = attribute(plan.layers, column)
    if column.name != "keywords":
        return usual
    text = usual.value.text
    others = f"len(list_filter(json_type({text}, '$[*]'), lambda kind: kind <> 'VARCHAR')) > 0"
    wrong = (
        f"event_type = 'page' AND {text} IS NOT NULL "
        f"AND CASE WHEN json_type({text}) = 'ARRAY' THEN {others} ELSE TRUE END"
    )
    check = not_representable(wrong, column, "of a page must be a list of texts: correct it or make it NULL.")
    # Behind the check for values that are no JSON at all.
    return replace(usual, own_checks=(*usual.own_checks, check))


def _steps(event: _Event, columns: Columns) -> list[dict[str, str]]:
    """What is computed row by row, down to all of the operation but its id."""
    plan = event.plan
    seconds = f"""',"timestamp":' || ({event.micros} // 1000000)"""
    head = f"""CASE WHEN {_ANONYMOUS}
        THEN concat('{{"name":', to_json(event_name), ',"type":"', event_type, '","id":"')
        ELSE concat('{{"type":"person","identifiers":', sent, ',"action":"', event_type,
                    '","name":', to_json(event_name), ',"id":"') END"""
    tail = f"""CASE WHEN {_ANONYMOUS}
        THEN concat('"', {seconds}, ',', sent[2:-2], ',"data":{{', {ATTRIBUTES}, '}}}}')
        ELSE concat('"', {seconds}, ',"attributes":{{', {ATTRIBUTES}, '}}}}') END"""
    size = f"(strlen(head) + {LENGTH} + strlen(tail))"
    given = f"'event_id:' || {event.given_id}"
    all_of_it = f"concat(sent, to_json(event_name), event_type, ',', {event.micros}, ',', {event.hashed})"
    content = f"CASE WHEN {event.given_id} IS NOT NULL THEN {given} WHEN early IS NULL THEN md5({all_of_it}) END"
    return [
        plan.layers.second,
        plan.sent,
        {"early": first_broken(plan.checks)},
        {
            "content": content,
            "head": f"CASE WHEN early IS NULL THEN {head} END",
            "tail": f"CASE WHEN early IS NULL THEN {tail} END",
        },
        {"broken": broken(plan, size)},
        {"source_row": source_row(columns)},
    ]


def _ulid(event: _Event) -> str:
    derived = ulid_of(f"coalesce({event.micros}, 0) // 1000", "number")
    if event.given is None:
        return f"CASE WHEN content IS NOT NULL THEN {derived} END"
    bad_time = [check.condition for check in event.plan.checks if check.reason is Reason.TIMESTAMP_INVALID]
    unknown = " OR ".join([f"{event.given.fault} IS NOT NULL", "content IS NULL"])
    timeless = f"WHEN {bad_time[0]} THEN NULL " if bad_time else ""
    return (
        f"CASE WHEN {unknown} THEN NULL WHEN {is_ulid(event.given.text)} THEN upper({event.given.text}) "
        f"{timeless}ELSE {derived} END"
    )
