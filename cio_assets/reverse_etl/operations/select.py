"""Source rows become operations of the Track API: one SELECT per sync, one row per row, every rule checked in it.

What becomes of odd values stands in `rules.OUTCOMES`. Nothing here reads a row: these functions write SQL, for
connections whose TimeZone is UTC.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from cio_assets.reverse_etl.model import Gone, Kind, Sync
from cio_assets.reverse_etl.operations.columns import Column, Columns
from cio_assets.reverse_etl.operations.kinds_events import events_sql
from cio_assets.reverse_etl.operations.kinds_objects import objects, relationships
from cio_assets.reverse_etl.operations.kinds_people import NEVER_REMOVED, devices, persons
from cio_assets.reverse_etl.operations.kinds_requests import merges, removals, segment_members
from cio_assets.reverse_etl.operations.plan import Plan, built
from cio_assets.reverse_etl.operations.values import READABLE_TIMES, moment_of
from cio_assets.warehouse.sql import literal, quoted


def operations_sql(
    sync: Sync, columns: Mapping[str, str], relation: str, id_attributes: Sequence[str] | None = None
) -> str:
    """The SELECT that turns rows of `relation` (a table, or a query in parentheses) into operations, row by row.

    `columns`: name -> DuckDB type as DESCRIBE prints it. Made are, all VARCHAR: `key` (the row's identity as JSON),
    `operation` (JSON; NULL where the row is rejected), `lane` (batch, anonymous, segment), `reason`, `field`, `message`
    (no values in it), `source_row` (JSON, only where rejected), `version` (removals and merges: tells equal requests
    apart), `also` (a JSON array of the keys that the row has by its other identifiers; NULL where there are none); and
    `recency`, the value of the sync's cursor, else of `requested_at`, in a type that sorts.
    `id_attributes`: those attributes from which events without event_id get their ids (None: all), so that a column
    that was not there at first changes no id.
    Events and merges read `relation` twice, so it must say the same both times.
    """
    known = Columns(columns)
    cursor = known.find(sync.cursor) if sync.cursor else None
    if sync.kind is Kind.EVENTS:
        return events_sql(sync, known, relation, cursor.sql if cursor else "NULL::VARCHAR", id_attributes)
    plan = merges(known, relation) if sync.kind is Kind.MERGES else _PLANS[sync.kind](sync, known)
    if cursor:
        plan.recency = cursor.sql
    return built(plan, known, relation)


_PLANS: Mapping[Kind, Callable[[Sync, Columns], Plan]] = {
    Kind.PERSONS: persons,
    Kind.OBJECTS: objects,
    Kind.RELATIONSHIPS: relationships,
    Kind.DEVICES: devices,
    Kind.SEGMENT_MEMBERS: segment_members,
    Kind.REMOVALS: removals,
}


def gone_sql(sync: Sync, key: str, attributes: Sequence[str]) -> str:
    """SQL of the operation for a row that left the source, from the SQL `key` alone.

    `attributes` are those that `unset` empties. For segment_members the operation says who leaves which segment.
    """
    start = f"""'{{"type":"{"object" if sync.kind is Kind.OBJECTS else "person"}","identifiers":' || """
    person, thing, token = (f"json_extract({key}, '$.{part}')" for part in ("person", "object", "token"))
    match sync.kind:
        case Kind.SEGMENT_MEMBERS:
            return key
        case Kind.RELATIONSHIPS:
            related = (
                f"""',"action":"delete_relationships","cio_relationships":[{{"identifiers":' || {thing} || '}}]}}'"""
            )
            return f"({start}{person} || {related})"
        case Kind.DEVICES:
            return f"""({start}{person} || ',"action":"delete_device","device":{{"token":' || {token} || '}}}}')"""
    if sync.gone is not Gone.UNSET:
        action = "suppress" if sync.gone is Gone.SUPPRESS else "delete"
        return f"""({start}{key} || ',"action":"{action}"}}')"""
    emptied: dict[str, object] = {name: "" for name in attributes if name not in NEVER_REMOVED}
    if sync.kind is Kind.PERSONS:
        emptied = {"_update": True, **emptied}
    members = json.dumps(emptied, ensure_ascii=False, separators=(",", ":"))
    end = literal(f',"action":"identify","attributes":{members}}}')
    return f"({start}{key} || {end})"


def window_sql(sync: Sync, columns: Mapping[str, str], start: datetime, end: datetime) -> str:
    """A condition over the source's own columns: events from `start` on and before `end` (naive ones read as UTC).

    Events whose time is there but cannot be read are among them, for they would be in no window, and nobody would be
    told.
    """
    column = Columns(columns).find("timestamp") if sync.kind is Kind.EVENTS else None
    if column is None:
        return "FALSE"
    name = quoted(column.name)
    first, last = (at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC) for at in (start, end))
    if column.type in {"TIMESTAMP", "TIMESTAMP WITH TIME ZONE"}:
        # Compared as it is, so that DuckDB skips the row groups of other times.
        zone = "+00" if column.type != "TIMESTAMP" else ""
        at = [f"{column.type} '{time.replace(tzinfo=None).isoformat(sep=' ')}{zone}'" for time in (first, last)]
        beyond = [f"{column.type} '{time}{zone}'" for time in READABLE_TIMES]
        return f"(({name} >= {at[0]} AND {name} < {at[1]}) OR {name} < {beyond[0]} OR {name} >= {beyond[1]})"
    value = moment_of(Column(column.name, column.type, name))
    micros = f"({value.text})"
    bounds = [int(time.timestamp()) * 1_000_000 + time.microsecond for time in (first, last)]
    return f"(({micros} >= {bounds[0]} AND {micros} < {bounds[1]}) OR ({value.computed(micros).wrong}))"


def has_time(sync: Sync, columns: Mapping[str, str]) -> bool:
    """Whether the rows are events that say when they happened: only those can be chosen by time."""
    return sync.kind is Kind.EVENTS and Columns(columns).find("timestamp") is not None
