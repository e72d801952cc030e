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
from cio_assets.reverse_etl.operations.identities import Layers, as_key, one_json, person_of
from cio_assets.reverse_etl.operations.kinds_events import events_sql
from cio_assets.reverse_etl.operations.kinds_objects import objects, relationships
from cio_assets.reverse_etl.operations.kinds_people import NEVER_REMOVED, devices, persons
from cio_assets.reverse_etl.operations.kinds_requests import merges, removals, segment_members
from cio_assets.reverse_etl.operations.plan import Plan, built, stacked
from cio_assets.reverse_etl.operations.values import moment_of
from cio_assets.warehouse.database import literal, quoted


def operations_sql(sync: Sync, columns: Mapping[str, str], relation: str) -> str:
    """The SELECT that turns rows of `relation` (a table, or a query in parentheses) into operations, row by row.

    `columns`: name -> DuckDB type as DESCRIBE prints it. Made are, all VARCHAR: `key` (the row's identity as JSON),
    `operation` (JSON; NULL where the row is rejected), `lane` (batch, anonymous, segment), `reason`, `field`, `message`
    (no values in it), `source_row` (JSON, only where rejected), `version` (removals and merges: tells equal requests
    apart); and `recency`, the value of the sync's cursor in its own type.
    Events and merges read `relation` twice, so it must say the same both times.
    """
    known = Columns(columns)
    cursor = known.find(sync.cursor) if sync.cursor else None
    recency = cursor.sql if cursor else "NULL::VARCHAR"
    if sync.kind is Kind.EVENTS:
        return events_sql(sync, known, relation, recency)
    plan = merges(known, relation) if sync.kind is Kind.MERGES else _PLANS[sync.kind](sync, known)
    plan.recency = recency
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


def identifier_keys_sql(sync: Sync, columns: Mapping[str, str], relation: str) -> str | None:
    """SELECT of the keys that people in `relation` have by any of their identifiers; None for other kinds.

    Somebody who is only written under another identifier now is not gone.
    """
    if sync.kind is not Kind.PERSONS:
        return None
    known, layers = Columns(columns), Layers()
    parts = person_of(layers, known, sync.identifiers).parts
    if not parts:
        return "SELECT NULL::VARCHAR AS key WHERE FALSE"
    keys = ", ".join(as_key(name) for name in (f"k_{part.text}" for part in parts))
    rows = stacked(
        known.select(relation), layers.first, layers.second, {f"k_{part.text}": one_json(part) for part in parts}
    )
    return f"SELECT DISTINCT key FROM (SELECT unnest([{keys}]) AS key FROM ({rows})) WHERE key IS NOT NULL"


def window_sql(sync: Sync, columns: Mapping[str, str], start: datetime, end: datetime) -> str:
    """A condition over the source's own columns: events from `start` on and before `end` (naive ones read as UTC)."""
    column = Columns(columns).find("timestamp") if sync.kind is Kind.EVENTS else None
    if column is None:
        return "FALSE"
    name = quoted(column.name)
    first, last = (at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC) for at in (start, end))
    if column.type in {"TIMESTAMP", "TIMESTAMP WITH TIME ZONE"}:
        # Compared as it is, so that DuckDB skips the row groups of other times.
        zone = "+00" if column.type != "TIMESTAMP" else ""
        at = [f"{column.type} '{time.replace(tzinfo=None).isoformat(sep=' ')}{zone}'" for time in (first, last)]
        return f"({name} >= {at[0]} AND {name} < {at[1]})"
    micros = moment_of(Column(column.name, column.type, name)).text
    bounds = [int(time.timestamp()) * 1_000_000 + time.microsecond for time in (first, last)]
    return f"({micros} >= {bounds[0]} AND {micros} < {bounds[1]})"
