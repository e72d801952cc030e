"""Compares the source with what Customer.io was last told, and puts what differs into an outbox. No request is made."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from cio_assets.reverse_etl import state
from cio_assets.reverse_etl.cursor import named, narrowed
from cio_assets.reverse_etl.gone import put_removals
from cio_assets.reverse_etl.model import Gone, Kind, Sync
from cio_assets.reverse_etl.operations import (
    attribute_columns,
    missing_columns,
    operations_sql,
)
from cio_assets.reverse_etl.outbox import REJECTED, ROWS_AT_ONCE, Lane, Outbox
from cio_assets.reverse_etl.source import PushError, Rows, open_rows
from cio_assets.warehouse.database import Warehouse
from cio_assets.warehouse.frames import Relation
from cio_assets.warehouse.sql import literal, quoted


@dataclass(frozen=True)
class Options:
    """How a push is run. `full` sends unchanged rows too (known events excepted), `retry_rejected` what was refused."""

    dry_run: bool = False
    full: bool = False
    retry_rejected: bool = False


@dataclass
class Prepared:
    """What a push is about to do, in rows. `rejected` counts by reason, those that stay refused included."""

    rows: int = 0
    unchanged: int = 0
    to_write: int = 0
    to_remove: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    shape: Any = None
    definition_changes: list[str] = field(default_factory=list)
    told: state.Told = field(default_factory=state.Told)
    cursor_before: dict[str, Any] = field(default_factory=dict)
    written: int = 0
    whole: bool = True
    """Whether every row of the source was looked at."""
    reset: bool = False
    """Whether the stored state was of another workspace or kind, and counts for nothing."""


def prepare(
    con: duckdb.DuckDBPyConnection,
    warehouse: Warehouse,
    sync: Sync,
    source: Relation,
    outbox: Outbox | None,
    target: str | None,
    options: Options,
    *,
    window: tuple[datetime, datetime] | None = None,
    slices: int = 1,
) -> Prepared | None:
    """Fill the outbox (None: only count), while the warehouse is attached; None where the source is not there.

    `target` names the workspace (None: the one of last time); `window` takes only events of that time. In `slices`
    wide rows take less memory.
    """
    rows = open_rows(con, warehouse, source)
    if rows is None:
        return None
    problem = missing_columns(sync, rows.columns)
    if problem:
        raise PushError(f"{sync.name}: {problem}")
    before = state.read(warehouse, con, sync.name)
    reset = _another(before, target, sync)
    if reset:
        before = state.Told()
    definition = _definition(sync, rows.columns, before.definition)
    # Rejected rows may have been mended, wherever they stand.
    everything = options.full or options.retry_rejected or state.has_rejected(warehouse, con, sync.name)
    rows, cursor, whole = narrowed(con, sync, rows, before, window, everything=everything)
    prepared = Prepared(
        rows=rows.count,
        definition_changes=_changes(before.definition, definition),
        told=state.Told(target or before.target, definition, cursor),
        cursor_before=dict(before.cursor),
        whole=whole,
        reset=reset,
    )
    known = not reset and state.exists(warehouse, con, sync.name)
    removes = known and sync.gone is not Gone.IGNORE and window is None
    views = _views(con, sync, rows, max(slices, _slices_for(con, rows)), definition["id_attributes"])
    repeated = _find_keys(con, views, keep=removes or len(views) > 1)
    _find_refused(con, sync, known=known and not options.retry_rejected and not options.full)
    for view in views:
        _write(con, sync, view, prepared, outbox, known=known, repeated=repeated, options=options)
    if repeated:
        _write(con, sync, _REPEATED, prepared, outbox, known=known, repeated=False, options=options)
    prepared.unchanged = prepared.rows - prepared.written
    if removes:
        same = before.definition.get("identifiers") == definition["identifiers"]
        if not same:
            prepared.definition_changes.append("its identifiers changed: rows that left are not removed this time")
        removed = put_removals(con, sync, outbox, definition["ever_attributes"], forget=not same)
        prepared.to_remove = removed
    return prepared


_REPEATED = "temp._repeated"
_WHOLE = "temp._operations"
_WIDE = 8_000
"""Bytes of text in a row, on average, from which rows are taken in slices, unless there are few of them."""
_AT_ONCE = 2048
"""Rows that DuckDB takes at once: very wide ones fill the memory."""
SLICES = (1, 16, 128)
"""Parts into which the rows are cut."""


def _slices_for(con: duckdb.DuckDBPyConnection, rows: Rows) -> int:
    texts = [
        f"coalesce(strlen({quoted(name)}), 0)" for name, type_ in rows.columns.items() if type_ in ("VARCHAR", "JSON")
    ]
    if not texts:
        return 1
    per_row = f"sum({' + '.join(texts)}) / greatest(count(*), {_AT_ONCE})"
    (width,) = con.execute(f"SELECT coalesce({per_row}, 0) FROM {rows.relation}").fetchall()[0]
    return SLICES[(width > _WIDE) + (width > 8 * _WIDE)]


def _views(con: duckdb.DuckDBPyConnection, sync: Sync, rows: Rows, slices: int, id_attributes: list[str]) -> list[str]:
    """Views of the operations, each of some of the rows, so that few wide ones are in memory at once."""
    # Merges are compared with each other; they are narrow.
    if slices == 1 or sync.kind is Kind.MERGES:
        relations = [rows.relation]
    else:
        by = "rowid"
        if sync.kind is Kind.EVENTS:  # those that may be alike stay together: they are numbered
            by = ", ".join(
                map(quoted, named(rows, *(name.lower() for name in sync.identifiers.values()), "event_name"))
            )
        relations = [
            f"(SELECT * FROM {rows.relation} t WHERE hash({by}) % {slices} = {number})" for number in range(slices)
        ]
    views = []
    for number, relation in enumerate(relations):
        name = f"_operations_{number}" if len(relations) > 1 else "_operations"
        views.append(f"temp.{name}")
        con.execute(
            f"CREATE OR REPLACE TEMP VIEW {name} AS " + operations_sql(sync, rows.columns, relation, id_attributes)
        )
    return views


def _definition(sync: Sync, columns: Mapping[str, str], before: Mapping[str, Any]) -> dict[str, Any]:
    said = sync.model_dump(mode="json", include={"kind", "mode", "gone", "nulls", "identifiers"})
    attributes = list(attribute_columns(sync, columns))
    return {
        **said,
        "attributes": attributes,
        # What `unset` has to empty: whatever was sent at any time.
        "ever_attributes": list(dict.fromkeys([*before.get("ever_attributes", []), *attributes])),
        # What ids of events are made from: a later column must not make new ones for events that were sent.
        "id_attributes": before.get("id_attributes", attributes),
    }


def _another(before: state.Told, target: str | None, sync: Sync) -> bool:
    """Whether what was told was told to another workspace, or as another kind."""
    return bool(before.definition) and (
        target not in (None, before.target) or before.definition["kind"] != sync.kind.value
    )


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    if not before:
        return []
    old, new = before.get("attributes", []), now["attributes"]
    changes = [f"column {name} is new" for name in new if name not in old]
    changes += [f"column {name} is gone" for name in old if name not in new]
    names = ("mode", "gone", "nulls", "identifiers")
    return changes + [
        f"{name}: {before.get(name)} became {now[name]}" for name in names if before.get(name) != now[name]
    ]


def _find_keys(con: duckdb.DuckDBPyConnection, views: list[str], *, keep: bool) -> bool:
    """Make `_repeated`: the rows of keys that come more than once, numbered, the first of each being the one to send.

    Rows that are fine come before rejected ones, later ones by the sync's cursor before earlier, then by content.
    Answers whether there are any. With `keep`, `_keys` holds all keys and those that the rows have besides.
    """
    con.execute("CREATE OR REPLACE TEMP TABLE _repeated_keys (key VARCHAR)")
    if keep:
        con.execute("CREATE OR REPLACE TEMP TABLE _keys (key VARCHAR, also VARCHAR)")
        for view in views:
            # Unfiltered: DuckDB would push a condition through all layers of the view, and plan for seconds.
            con.execute(f"INSERT INTO temp._keys SELECT key, also FROM {view}")
    keys_of = "temp._keys" if keep else views[0]
    keys, distinct = con.execute(
        f"SELECT count(key), count(DISTINCT CASE WHEN key IS NOT NULL THEN hash(key) END) FROM {keys_of}"
    ).fetchall()[0]
    if keys == distinct:
        return False
    con.execute(
        f"INSERT INTO temp._repeated_keys SELECT key FROM {keys_of} WHERE key IS NOT NULL "
        "GROUP BY key HAVING count(*) > 1"
    )
    for number, view in enumerate(views):
        make = "INSERT INTO temp._rows_repeated" if number else "CREATE OR REPLACE TEMP TABLE _rows_repeated AS"
        con.execute(f"{make} SELECT * FROM {view} WHERE key IN (SELECT key FROM temp._repeated_keys)")
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE _repeated AS
            SELECT * REPLACE (
                CASE WHEN turn > 1 THEN coalesce(reason, 'duplicate_key') ELSE reason END AS reason,
                CASE WHEN turn > 1 THEN coalesce(message, {literal(_DUPLICATE)}) ELSE message END AS message,
                CASE WHEN turn > 1 THEN coalesce(source_row, operation) ELSE source_row END AS source_row)
            FROM (SELECT *, row_number() OVER (PARTITION BY key
                     ORDER BY reason IS NOT NULL, recency DESC NULLS LAST, operation, version DESC) AS turn
                  FROM temp._rows_repeated)"""
    )
    return True


def _find_refused(con: duckdb.DuckDBPyConnection, sync: Sync, *, known: bool) -> None:
    """Make `_refused`: what the service refused and is not to be sent again as long as it is as it was."""
    con.execute("CREATE OR REPLACE TEMP TABLE _refused (key VARCHAR, hash BIGINT, reason VARCHAR)")
    if known:
        con.execute(
            f"""INSERT INTO temp._refused SELECT key, hash, any_value(reason) FROM {state.rejected_table()}
                WHERE sync = ? AND found_by = 'service' GROUP BY ALL""",
            [sync.name],
        )


_DUPLICATE = "another row of the source has the same key; that one is sent. Make the key unique in the source."


def _write(
    con: duckdb.DuckDBPyConnection,
    sync: Sync,
    view: str,
    prepared: Prepared,
    outbox: Outbox | None,
    *,
    known: bool,
    repeated: bool,
    options: Options,
) -> None:
    """Put those rows of a view that differ into the outbox; `repeated` leaves out those that come more than once."""
    versioned = "operation || coalesce(version, '')" if sync.kind in (Kind.REMOVALS, Kind.MERGES) else "operation"
    also = "also" if sync.gone is not Gone.IGNORE else "NULL::VARCHAR AS also"
    rows = f"SELECT key, operation, lane, reason, field, message, source_row, version, {also} FROM {view}"
    if repeated:
        rows += " WHERE key IS NULL OR key NOT IN (SELECT key FROM temp._repeated_keys)"
    # 63 bits of md5: DuckDB's own hash may change with its release, and would send everything again.
    hashed = f"SELECT * EXCLUDE (version), (md5_number_lower({versioned}) >> 1)::BIGINT AS hash FROM ({rows})"
    joins, condition = " LEFT JOIN temp._refused r ON r.key = o.key AND r.hash = o.hash", ""
    if known and (not options.full or sync.kind is Kind.EVENTS):
        joins += f" LEFT JOIN {state.keys_table(sync.name)} s ON s.key = o.key"
        # An event that is known by its id is told once, whatever became of its row.
        differs = "s.key IS NULL" if sync.kind is Kind.EVENTS else "s.hash IS DISTINCT FROM o.hash"
        rejected = "o.reason IS NOT NULL"
        if sync.kind is Kind.MERGES:
            # A merge that was done is done, even if its primary has been merged away since.
            rejected += " AND NOT (o.reason = 'merge_chain' AND s.key IS NOT NULL)"
        condition = f" WHERE CASE WHEN o.reason IS NULL THEN {differs} ELSE {rejected} END"
    # Neighbours share a request: people of one segment and kind of id.
    order = " ORDER BY o.key" if sync.kind is Kind.SEGMENT_MEMBERS else ""
    stream = con.execute(
        f"""SELECT coalesce(o.key, 'row:' || md5(o.source_row)) AS key, o.operation || ',' AS operation, o.lane,
                   o.reason, o.field, o.message, o.source_row, o.hash, o.also, r.reason AS refused
            FROM ({hashed}) o{joins}{condition}{order}"""
    ).to_arrow_reader(ROWS_AT_ONCE if view == _WHOLE else ROWS_AT_ONCE // 16)
    for batch in stream:
        prepared.written += len(batch)
        _sort(batch, sync, prepared, outbox)


def _sort(batch: pa.RecordBatch, sync: Sync, prepared: Prepared, outbox: Outbox | None) -> None:
    """Put the rows of a batch into their lanes, or among the rejected."""
    reasons = batch.column("reason")
    if reasons.null_count < len(batch):
        bad = batch.filter(reasons.is_valid())
        batch = batch.filter(reasons.is_null())
        prepared.rejected.update(bad.column("reason").to_pylist())
        if outbox:
            outbox.add_rejected(_rejected(bad))
    standing = batch.column("refused")
    if standing.null_count < len(batch):
        kept = batch.filter(standing.is_valid())
        prepared.rejected.update(kept.column("refused").to_pylist())
        if outbox:
            outbox.add(Lane.STANDING, kept)
        batch = batch.filter(standing.is_null())
    if not len(batch):
        return
    prepared.to_write += len(batch)
    if prepared.shape is None:
        prepared.shape = batch.column("operation")[0].as_py()[:-1]
    if outbox is None:
        return
    mixed = sync.kind is Kind.EVENTS
    for lane in batch.column("lane").unique().to_pylist() if mixed else [batch.column("lane")[0].as_py()]:
        part = batch.filter(pc.call_function("equal", [batch.column("lane"), pa.scalar(lane)])) if mixed else batch
        outbox.add(Lane(lane), part)


def _rejected(bad: pa.RecordBatch) -> pa.RecordBatch:
    columns = {"row": "source_row"}
    arrays = {
        name: pa.repeat(pa.scalar("check"), len(bad)) if name == "found_by" else bad.column(columns.get(name, name))
        for name in REJECTED.names
    }
    return pa.record_batch([array.cast(REJECTED.field(name).type) for name, array in arrays.items()], schema=REJECTED)


def shape(con: duckdb.DuckDBPyConnection, operation: str) -> Any:
    """The names and types of an operation, none of its values; inside an attribute even names may be values."""
    (text,) = con.execute("SELECT json_structure(?::JSON)::VARCHAR", [operation]).fetchall()[0]
    return _without_names(json.loads(text))


def _without_names(structure: Any, *, inside: bool = False) -> Any:
    if not isinstance(structure, dict):
        return structure if isinstance(structure, str) else [_without_names(part, inside=inside) for part in structure]
    if inside:
        return {name: part if isinstance(part, str) else "JSON" for name, part in structure.items()}
    attributes = ("attributes", "relationship_attributes", "data")
    return {name: _without_names(part, inside=name in attributes) for name, part in structure.items()}
