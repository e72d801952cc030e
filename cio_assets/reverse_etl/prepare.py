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
from cio_assets.reverse_etl.model import Gone, Kind, Sync
from cio_assets.reverse_etl.operations import (
    attribute_columns,
    gone_sql,
    identifier_keys_sql,
    missing_columns,
    operations_sql,
    window_sql,
)
from cio_assets.reverse_etl.outbox import REJECTED, Lane, Outbox
from cio_assets.reverse_etl.source import PushError, Rows, open_rows
from cio_assets.warehouse.database import Warehouse, literal, quoted
from cio_assets.warehouse.frames import Relation

ROWS_AT_ONCE = 4096
"""Rows of one Arrow batch: with the longest operations 130 MB."""


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
    window: tuple[datetime, datetime] | None = None,
) -> Prepared | None:
    """Fill the outbox (None: only count), while the warehouse is attached; None where the source is not there.

    `target` names the workspace (None: the one of last time); `window` takes only events of that time.
    """
    rows = open_rows(con, warehouse, source)
    if rows is None:
        return None
    problem = missing_columns(sync, rows.columns)
    if problem:
        raise PushError(f"{sync.name}: {problem}")
    before = state.read(warehouse, con, sync.name)
    definition = _definition(sync, rows.columns)
    reset = _another(before, target, definition)
    if reset:
        before = state.Told()
    rows, cursor, whole = _narrowed(con, sync, rows, before, options, window)
    prepared = Prepared(
        rows=rows.count,
        definition_changes=_changes(before.definition, definition),
        told=state.Told(target or before.target, definition, cursor),
        cursor_before=dict(before.cursor),
        whole=whole,
        reset=reset,
    )
    known = not reset and state.exists(warehouse, con, sync.name)
    con.execute(f"CREATE OR REPLACE TEMP VIEW _operations AS {operations_sql(sync, rows.columns, rows.relation)}")
    _find_duplicates(con)
    _write(con, sync, prepared, outbox, known=known, options=options)
    if known and sync.gone is not Gone.IGNORE and window is None:
        _gone(con, sync, rows, prepared, outbox, [*before.definition.get("attributes", []), *definition["attributes"]])
    return prepared


def _definition(sync: Sync, columns: Mapping[str, str]) -> dict[str, Any]:
    said = sync.model_dump(mode="json", include={"kind", "mode", "gone", "nulls", "identifiers"})
    return {**said, "attributes": list(attribute_columns(sync, columns))}


def _another(before: state.Told, target: str | None, definition: Mapping[str, Any]) -> bool:
    """Whether what was told was told to another workspace, or as another kind."""
    if not before.definition:
        return False
    return target not in (None, before.target) or before.definition["kind"] != definition["kind"]


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


def _narrowed(
    con: duckdb.DuckDBPyConnection,
    sync: Sync,
    rows: Rows,
    before: state.Told,
    options: Options,
    window: tuple[datetime, datetime] | None,
) -> tuple[Rows, dict[str, Any], bool]:
    """Only the rows that can be new, the cursor to remember once they were sent, and whether these are all rows.

    Behind the cursor nothing is read, unless count or check there tell that rows came late.
    """
    if window is not None:
        condition = window_sql(sync, rows.columns, *window)
        return _where(con, rows, condition), dict(before.cursor), False
    column = sync.cursor
    if not column or sync.kind is not Kind.EVENTS or column not in rows.columns:
        return rows, {}, True
    name, last = quoted(column), before.cursor
    (upto,) = con.execute(f"SELECT max({name})::VARCHAR FROM {rows.relation}").fetchall()[0]
    narrowed = rows
    if not (options.full or options.retry_rejected) and last.get("column") == column and last.get("upto") is not None:
        behind = f"{name} <= CAST({literal(last['upto'])} AS {rows.columns[column]})"
        if [last["rows"], last["check"]] == _check(con, rows, name, behind):
            narrowed = _where(con, rows, f"({behind}) IS NOT TRUE")
    if upto is None:
        return narrowed, {}, True
    count, check = _check(con, rows, name, f"{name} IS NOT NULL")
    return narrowed, {"column": column, "upto": upto, "rows": count, "check": check}, narrowed is rows


def _check(con: duckdb.DuckDBPyConnection, rows: Rows, column: str, condition: str) -> list[Any]:
    found = con.execute(f"SELECT count(*), bit_xor(hash({column}))::VARCHAR FROM {rows.relation} WHERE {condition}")
    return list(found.fetchall()[0])


def _where(con: duckdb.DuckDBPyConnection, rows: Rows, condition: str) -> Rows:
    relation = f"(SELECT * FROM {rows.relation} WHERE {condition})"
    (count,) = con.execute(f"SELECT count(*) FROM {relation}").fetchall()[0]
    return Rows(relation, rows.columns, count)


def _find_duplicates(con: duckdb.DuckDBPyConnection) -> None:
    """Make `repeated`: the rows of keys that come more than once, numbered; the first of each is the one to send.

    Rows that are fine come before rejected ones, later ones by the sync's cursor before earlier, then by content.
    """
    con.execute(
        """CREATE OR REPLACE TEMP TABLE _repeated AS
           SELECT *, 0::BIGINT AS turn FROM temp._operations LIMIT 0"""
    )
    keys, distinct = con.execute("SELECT count(key), count(DISTINCT hash(key)) FROM temp._operations").fetchall()[0]
    if keys == distinct:
        return
    con.execute(
        "CREATE OR REPLACE TEMP TABLE _repeated_keys AS SELECT key FROM temp._operations WHERE key IS NOT NULL "
        "GROUP BY key HAVING count(*) > 1"
    )
    con.execute(
        """INSERT INTO temp._repeated SELECT *, row_number() OVER (
               PARTITION BY key ORDER BY reason IS NOT NULL, recency DESC NULLS LAST, operation, version DESC)
           FROM temp._operations WHERE key IN (SELECT key FROM temp._repeated_keys)"""
    )


_DUPLICATE = "another row of the source has the same key; that one is sent. Make the key unique in the source."


def _write(
    con: duckdb.DuckDBPyConnection,
    sync: Sync,
    prepared: Prepared,
    outbox: Outbox | None,
    *,
    known: bool,
    options: Options,
) -> None:
    columns = "key, operation, lane, reason, field, message, source_row, version"
    (repeats,) = con.execute("SELECT count(*) FROM temp._repeated").fetchall()[0]
    rows = f"SELECT {columns} FROM temp._operations"
    if repeats:
        rows += f""" WHERE key IS NULL OR key NOT IN (SELECT key FROM temp._repeated_keys)
            UNION ALL SELECT {columns} FROM temp._repeated WHERE turn = 1
            UNION ALL SELECT key, operation, lane, coalesce(reason, 'duplicate_key'), field,
                coalesce(message, {literal(_DUPLICATE)}), coalesce(source_row, operation), version
            FROM temp._repeated WHERE turn > 1"""
    versioned = "operation || coalesce(version, '')" if sync.kind in (Kind.REMOVALS, Kind.MERGES) else "operation"
    # 63 bits of md5: DuckDB's own hash may change with its release, and would send everything again.
    hashed = f"SELECT * EXCLUDE (version), (md5_number_lower({versioned}) >> 1)::BIGINT AS hash FROM ({rows})"
    joins, differs = "", []
    if known and (not options.full or sync.kind is Kind.EVENTS):
        joins += f" LEFT JOIN {state.keys_table(sync.name)} s ON s.key = o.key"
        # An event that is known by its id is told once, whatever became of its row.
        differs = ["s.key IS NULL" if sync.kind is Kind.EVENTS else "s.hash IS DISTINCT FROM o.hash"]
    refused = "NULL::VARCHAR"
    if known and not options.retry_rejected and not options.full:
        con.execute(
            f"""CREATE OR REPLACE TEMP TABLE _refused AS SELECT key, hash, any_value(reason) AS reason
                FROM {state.rejected_table()} WHERE sync = ? AND found_by = 'service' GROUP BY ALL""",
            [sync.name],
        )
        joins += " LEFT JOIN temp._refused r ON r.key = o.key AND r.hash = o.hash"
        refused = "r.reason"
    rejected = "o.reason IS NOT NULL"
    if known and sync.kind is Kind.MERGES and differs:
        # A merge that was done is done, even if its primary has been merged away since.
        rejected = "o.reason IS NOT NULL AND NOT (o.reason = 'merge_chain' AND s.key IS NOT NULL)"
        differs = ["o.reason IS NULL AND s.hash IS DISTINCT FROM o.hash"]
    condition = f" WHERE {rejected} OR ({' AND '.join(differs)})" if differs else ""
    # Neighbours share a request: people of one segment and kind of id.
    order = " ORDER BY o.key" if sync.kind is Kind.SEGMENT_MEMBERS else ""
    stream = con.execute(
        f"""SELECT coalesce(o.key, 'row:' || md5(o.source_row)) AS key, o.operation || ',' AS operation, o.lane,
                   o.reason, o.field, o.message, o.source_row, o.hash, {refused} AS refused
            FROM ({hashed}) o{joins}{condition}{order}"""
    ).to_arrow_reader(ROWS_AT_ONCE)
    seen = 0
    for batch in stream:
        seen += len(batch)
        _sort(batch, sync, prepared, outbox)
    prepared.unchanged = prepared.rows - seen


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
            outbox.add(Lane.STANDING, kept.column("key"), kept.column("hash"), kept.column("operation"))
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
        outbox.add(Lane(lane), part.column("key"), part.column("hash"), part.column("operation"))


def _rejected(bad: pa.RecordBatch) -> pa.RecordBatch:
    columns = {"row": "source_row"}
    arrays = {
        name: pa.repeat(pa.scalar("check"), len(bad)) if name == "found_by" else bad.column(columns.get(name, name))
        for name in REJECTED.names
    }
    return pa.record_batch([array.cast(REJECTED.field(name).type) for name, array in arrays.items()], schema=REJECTED)


def _gone(
    con: duckdb.DuckDBPyConnection,
    sync: Sync,
    rows: Rows,
    prepared: Prepared,
    outbox: Outbox | None,
    attributes: list[str],
) -> None:
    """Removals for the keys that were told and are in the source no more."""
    table = state.keys_table(sync.name)
    con.execute("CREATE OR REPLACE TEMP TABLE _here AS SELECT DISTINCT key FROM temp._operations WHERE key IS NOT NULL")
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE _gone AS SELECT key FROM {table} s "
        "WHERE NOT EXISTS (SELECT 1 FROM temp._here h WHERE h.key = s.key)"
    )
    counts = "SELECT (SELECT count(*) FROM temp._here), (SELECT count(*) FROM temp._gone)"
    here, gone = con.execute(counts).fetchall()[0]
    if gone and not here and not sync.allow_empty:
        raise PushError(
            f"{sync.name}: the source holds no row with a key, and mode {sync.mode} would {sync.gone} all {gone} that "
            "were pushed. If that is what you want, set allow_empty: true for this sync; else see what emptied it."
        )
    known_otherwise = identifier_keys_sql(sync, rows.columns, rows.relation)
    moved = f"key IN ({known_otherwise})" if known_otherwise and gone else "false"
    lane = Lane.GONE_SEGMENT if sync.kind is Kind.SEGMENT_MEMBERS else Lane.GONE
    operation = gone_sql(sync, "key", tuple(dict.fromkeys(attributes)))
    stream = con.execute(
        f"SELECT key, CASE WHEN moved THEN '' ELSE {operation} END || ',' AS operation, moved, 0::BIGINT AS hash "
        f"FROM (SELECT key, {moved} AS moved FROM temp._gone) ORDER BY key"
    ).to_arrow_reader(ROWS_AT_ONCE)
    for batch in stream:
        for forgotten in (False, True):
            part = batch.filter(pc.call_function("equal", [batch.column("moved"), pa.scalar(forgotten)]))
            if not len(part):
                continue
            prepared.to_remove += 0 if forgotten else len(part)
            if outbox:
                outbox.add(
                    Lane.FORGET if forgotten else lane,
                    part.column("key"),
                    part.column("hash"),
                    part.column("operation"),
                )


def shape(con: duckdb.DuckDBPyConnection, operation: str) -> Any:
    """The names and types of an operation, none of its values."""
    (text,) = con.execute("SELECT json_structure(?::JSON)::VARCHAR", [operation]).fetchall()[0]
    return json.loads(text)
