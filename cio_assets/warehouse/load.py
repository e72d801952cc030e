"""Staged rows into their table in one transaction, by the table's refresh rule (section 3 of the design)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa

from cio_assets.catalog import Column, Refresh, Table, Type
from cio_assets.warehouse import facts, ledger
from cio_assets.warehouse.database import Warehouse, WarehouseError
from cio_assets.warehouse.facts import Facts
from cio_assets.warehouse.ledger import Reading
from cio_assets.warehouse.sql import literal, quoted
from cio_assets.warehouse.staging import CHAIN, PAGE, Staged

STAGE = "_cio_stage"
"""Name under which the staged rows are attached; no schema may be called so."""


@dataclass(frozen=True)
class LoadResult:
    """What a load did: live rows in the table now, rows that came, rows newly marked as deleted, rows with `_extra`."""

    rows_in_table: int
    rows_in_slice: int
    rows_marked_deleted: int
    rows_with_unknown_fields: int
    facts: Facts
    """What the checks of the table need to know."""


@dataclass(frozen=True)
class Scope:
    """Which stored rows a reading speaks of: those (or, `inside` False, all but those) with one of the `keys`.

    What it does not speak of is left as it is. `keys` has some of the table's columns.
    """

    keys: pa.Table
    inside: bool


@dataclass(frozen=True)
class Replace:
    """The window of a load: `[start, end)` is replaced by whole days, except days before `horizon` (only upserted)."""

    start: datetime
    end: datetime
    horizon: datetime


def create_table(warehouse: Warehouse, con: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Make the table as declared, or add the columns it lacks; raises `WarehouseError` where a type differs."""
    declared = declared_columns(table)
    stored = warehouse.columns(con, table.name)
    if not stored:
        body = ", ".join(f"{quoted(name)} {type_}" for name, type_ in declared.items())
        con.execute(f"CREATE TABLE {warehouse.qualified(table.name)} ({body})")
        return
    for name, type_ in declared.items():
        if name not in stored:
            con.execute(f"ALTER TABLE {warehouse.qualified(table.name)} ADD COLUMN {quoted(name)} {type_}")
        elif _family(stored[name]) != _family(type_):
            raise WarehouseError(
                f"{warehouse.schema}.{table.name}: column {name} is {stored[name]}, but {type_} is declared. "
                "Another tool made this table: set CIO_SCHEMA to a schema of our own, or rename the table."
            )


def declared_columns(table: Table) -> dict[str, str]:
    """Every column of the stored table and its SQL type."""
    declared = {column.name: column.type.value for column in table.columns}
    declared |= {"_extra": "JSON", "_synced_at": "TIMESTAMPTZ"}
    return declared | ({"_deleted_at": "TIMESTAMPTZ"} if table.tombstones else {})


def load(
    warehouse: Warehouse,
    table: Table,
    staged: Staged,
    synced_at: datetime,
    replace: Replace | None = None,
    *,
    scope: Scope | None = None,
    reading: Reading | None = None,
) -> LoadResult:
    """Load the staged rows; a reader sees the old table or the new one, a failure leaves the old one.

    Reads and types the rows first, without the warehouse; then holds it for one short transaction. `synced_at` is when
    the reading began: what another run has read later, and loaded already, is left as it is. `scope` is what the
    reading of a snapshot speaks of, by default everything; `reading` is noted in the ledger.
    """
    how = _How(synced_at, replace, scope, reading)
    for limit in MEMORY_LIMITS:
        try:
            return _load(warehouse, table, staged, how, limit)
        except duckdb.Error as error:
            if limit != MEMORY_LIMITS[-1] and _short_of_memory(error):
                continue
            # DuckDB's messages quote values.
            raise WarehouseError(
                f"Loading {warehouse.schema}.{table.name} failed with {type(error).__name__}; the table is as it was. "
                + _hint(error)
            ) from None
    raise AssertionError("unreachable: the last limit raises")


MEMORY_LIMITS = (None, "512MB", "2GB")
"""Limits to try in turn: the warehouse's own fits all but tables of very large texts (bodies of 50 kB and more)."""


@dataclass(frozen=True)
class _How:
    synced_at: datetime
    replace: Replace | None
    scope: Scope | None
    reading: Reading | None


def _load(warehouse: Warehouse, table: Table, staged: Staged, how: _How, memory_limit: str | None) -> LoadResult:
    with warehouse.scratch_connection(memory_limit) as con:
        # On disk, not in memory: a million deliveries must not count against the memory limit.
        stage_file = staged.folder / "stage.duckdb"
        stage_file.unlink(missing_ok=True)
        con.execute(f"ATTACH {literal(str(stage_file))} AS {STAGE} (ROW_GROUP_SIZE 20480)")
        _stage(con, table, staged)
        with warehouse.transaction(con):
            ledger.migrate(warehouse, con)
            create_table(warehouse, con, table)
            target = warehouse.qualified(table.name)
            live_before = facts.live_rows(warehouse, con, table)
            if table.told_by_one_side:
                _remember(con, table, target)
            if table.refresh is Refresh.WINDOW:
                _note_changed(warehouse, con, target, how)
            marked = _APPLY[table.refresh](con, table, target, how)
            _insert(con, table, warehouse, how.synced_at)
            if how.reading:
                ledger.write(warehouse, con, table.name, how.reading, how.synced_at)
            found = facts.measure(warehouse, con, table, f"{STAGE}.staged", live_before)
        (slice_rows,) = _one(con, f"SELECT count(*) FROM {STAGE}.staged")
        with suppress(duckdb.Error):  # it is written to its file once more, for nobody: the disk may be full
            con.execute(f"DETACH {STAGE}")
    return LoadResult(found.live, slice_rows, marked, found.rows_with_unknown_fields, found)


def _remember(con: duckdb.DuckDBPyConnection, table: Table, target: str) -> None:
    """Set aside what this reading may not have been told, for `_insert`."""
    names = ", ".join(map(quoted, (*table.key, *table.told_by_one_side)))
    told = " OR ".join(f"{quoted(name)} IS NOT NULL" for name in table.told_by_one_side)
    con.execute(f"CREATE OR REPLACE TEMP TABLE remembered AS SELECT {names} FROM {target} WHERE {told}")


def create_view(warehouse: Warehouse, view: Table, of: Table) -> int:
    """Make or replace a view over the table `of` (made too where it is not there yet); answers its number of rows."""
    if view.view is None:
        raise ValueError(f"{view.name} is not a view")
    # Unqualified on purpose: it must work under whatever name a reader attaches the database. Postgres itself must
    # be told the schema.
    source = f"{quoted(warehouse.schema)}.{quoted(of.name)}" if warehouse.kind == "postgres" else quoted(of.name)
    try:
        with warehouse.attached() as con:
            with warehouse.transaction(con):
                ledger.stored_version(warehouse, con)  # raises where a newer program made the tables
                create_table(warehouse, con, of)
            with warehouse.transaction(con):
                con.execute(
                    f"CREATE OR REPLACE VIEW {quoted(view.name)} AS SELECT * FROM {source} WHERE {view.view.where}"
                )
                (count,) = _one(con, f"SELECT count(*) FROM {quoted(view.name)}")
    except duckdb.Error as error:
        raise WarehouseError(
            f"The view {warehouse.schema}.{view.name} could not be made ({type(error).__name__}). If a table of that "
            "name is there, another tool made it: rename it, or set CIO_SCHEMA to a schema of our own."
        ) from None
    return count


def _stage(con: duckdb.DuckDBPyConnection, table: Table, staged: Staged) -> None:
    wire = {column.name: "BIGINT" if column.type is Type.TIME else column.type.value for column in table.columns}
    wire |= {"_extra": "JSON", PAGE: "BIGINT", CHAIN: "BIGINT"}
    times = [column.name for column in table.columns if column.type is Type.TIME]
    typed = "".join(f", to_timestamp({quoted(name)}) AS {quoted(name)}" for name in times).removeprefix(", ")
    source = _ndjson(str(staged.rows_path), wire, staged.longest_line)
    wanted = f" WHERE {CHAIN} NOT IN ({', '.join(map(str, staged.abandoned))})" if staged.abandoned else ""
    con.execute(
        f"CREATE TABLE {STAGE}.staged AS SELECT *{f' REPLACE ({typed})' if typed else ''} FROM {source}{wanted}"
    )
    # Rows move between pages while a list is read: the later page knows better.
    key = ", ".join(map(quoted, table.key))
    con.execute(
        f"""CREATE TABLE {STAGE}.repeated AS SELECT {key}, max_by(rowid, {PAGE}) AS kept
            FROM {STAGE}.staged GROUP BY {key} HAVING count(*) > 1"""
    )
    con.execute(
        f"""DELETE FROM {STAGE}.staged AS s USING {STAGE}.repeated AS r
            WHERE {_same(table.key, "s", "r")} AND s.rowid <> r.kept"""
    )
    if staged.span_count:
        spans = {name: wire[name] for name in table.key if name != "period_start"}
        spans |= {"span_from": "BIGINT", "span_to": "BIGINT"}
        con.execute(f"CREATE TABLE {STAGE}.spans AS SELECT * FROM {_ndjson(str(staged.spans_path), spans, 4096)}")


def _ndjson(path: str, columns: dict[str, str], longest_line: int) -> str:
    declared = ", ".join(f"{quoted(name)}: {literal(type_)}" for name, type_ in columns.items())
    # DuckDB reserves buffers of twice this size for each thread.
    size = max(1 << 20, 2 * longest_line)
    return (
        f"read_json({literal(path)}, format = 'newline_delimited', columns = {{{declared}}}, "
        f"maximum_object_size = {size})"
    )


def _snapshot(con: duckdb.DuckDBPyConnection, table: Table, target: str, how: _How) -> int:
    _delete_staged_keys(con, table, target, how.synced_at)
    spoken_of = ""
    if how.scope:
        names = how.scope.keys.column_names
        con.register("_scope", how.scope.keys)
        con.execute("CREATE OR REPLACE TEMP TABLE spoken_of AS SELECT DISTINCT * FROM _scope")
        con.unregister("_scope")
        is_in = f"EXISTS (SELECT 1 FROM spoken_of AS s WHERE {_same(names, 's', 't')})"
        spoken_of = f"AND {is_in}" if how.scope.inside else f"AND NOT {is_in}"
    # Whatever is left was not listed.
    return _count(
        con,
        f"UPDATE {target} AS t SET _deleted_at = ? WHERE _deleted_at IS NULL AND {_OLDER} {spoken_of}",
        [how.synced_at, how.synced_at],
    )


def _window(con: duckdb.DuckDBPyConnection, table: Table, target: str, how: _How) -> int:
    con.execute(f"DELETE FROM {target} AS t WHERE {_IN_WINDOW} AND {_OLDER}", _window_of(how))
    _delete_staged_keys(con, table, target, how.synced_at)
    return 0


# The stored rows that a window's load replaces.
_IN_WINDOW = f"""created >= ? AND created < ? AND date_trunc('day', created) >= ?
    AND date_trunc('day', created) IN (SELECT DISTINCT date_trunc('day', created) FROM {STAGE}.staged)"""


def _window_of(how: _How) -> list[Any]:
    if how.replace is None:
        raise ValueError("a window load needs its window")
    return [how.replace.start, how.replace.end, how.replace.horizon, how.synced_at]


def _note_changed(warehouse: Warehouse, con: duckdb.DuckDBPyConnection, target: str, how: _How) -> None:
    """Note whose deliveries this load brings, changes or takes away: the metrics of all others stand."""
    names = ", ".join(ledger.TOUCHED_BY)
    of_parent = names.replace("action_id", "parent_action_id")
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE moved AS
            SELECT {_of("s")} FROM {STAGE}.staged AS s LEFT JOIN {target} AS t ON s.id = t.id
            WHERE t.id IS NULL OR (s.metrics::VARCHAR IS DISTINCT FROM t.metrics::VARCHAR AND {_OLDER})
            UNION SELECT {_of("t")} FROM {target} AS t
            WHERE {_IN_WINDOW} AND {_OLDER} AND NOT EXISTS (SELECT 1 FROM {STAGE}.staged AS s WHERE s.id = t.id)""",
        [how.synced_at, *_window_of(how)],
    )
    reading = how.reading or Reading()
    if reading.drafts is not None and reading.drafts_since is not None:
        ledger.add_new_drafts(warehouse, con, reading.drafts, reading.drafts_since, "moved")
    # Of a variant its parent action may count too.
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE changed AS SELECT {names} FROM moved
            UNION SELECT {of_parent} FROM moved WHERE parent_action_id IS NOT NULL"""
    )
    ledger.touch(warehouse, con, "changed", reading.ended_at or how.synced_at)


def _of(alias: str) -> str:
    return ", ".join(f"{alias}.{name}" for name in ledger.DRAFTS_OF)


def _series(con: duckdb.DuckDBPyConnection, table: Table, target: str, how: _How) -> int:
    key = [name for name in table.key if name != "period_start"]
    if _one(con, f"SELECT count(*) FROM duckdb_tables() WHERE database_name = '{STAGE}' AND table_name = 'spans'")[0]:
        con.execute(
            f"""DELETE FROM {target} AS t WHERE EXISTS (SELECT 1 FROM {STAGE}.spans AS s WHERE {_same(key, "s", "t")}
                AND t.period_start >= to_timestamp(s.span_from) AND t.period_start < to_timestamp(s.span_to))
                AND {_OLDER}""",
            [how.synced_at],
        )
    _delete_staged_keys(con, table, target, how.synced_at)
    return 0


def _merge(con: duckdb.DuckDBPyConnection, table: Table, target: str, how: _How) -> int:
    _delete_staged_keys(con, table, target, how.synced_at)
    return 0


_APPLY = {Refresh.SNAPSHOT: _snapshot, Refresh.WINDOW: _window, Refresh.SERIES: _series, Refresh.MERGE: _merge}


# Rows that this load may replace: not those that another run read after this one began. (A time that lies ahead of
# now is a clock that was set back, not a later read.)
_OLDER = "NOT (t._synced_at > ?::TIMESTAMPTZ AND t._synced_at <= now())"


def _delete_staged_keys(con: duckdb.DuckDBPyConnection, table: Table, target: str, synced_at: datetime) -> None:
    con.execute(
        f"""DELETE FROM {target} AS t
            WHERE EXISTS (SELECT 1 FROM {STAGE}.staged AS s WHERE {_same(table.key, "s", "t")}) AND {_OLDER}""",
        [synced_at],
    )


def _insert(con: duckdb.DuckDBPyConnection, table: Table, warehouse: Warehouse, synced_at: datetime) -> None:
    def value(column: Column) -> str:
        name = f"s.{quoted(column.name)}"
        if column.name in table.told_by_one_side:
            return f"coalesce({name}, remembered.{quoted(column.name)}) AS {quoted(column.name)}"
        if warehouse.kind == "postgres" and column.type is Type.TEXT:
            return f"replace({name}, chr(0), '') AS {quoted(column.name)}"  # Postgres has no text with NUL
        return name

    values = ", ".join(map(value, table.columns))
    target = warehouse.qualified(table.name)
    told = f"LEFT JOIN remembered ON {_same(table.key, 's', 'remembered')}" if table.told_by_one_side else ""
    con.execute(
        f"""INSERT INTO {target} BY NAME SELECT {values}, s._extra, ?::TIMESTAMPTZ AS _synced_at
            FROM {STAGE}.staged AS s {told}
            WHERE NOT EXISTS (SELECT 1 FROM {target} AS t WHERE {_same(table.key, "s", "t")})""",
        [synced_at],
    )


def _same(key: tuple[str, ...] | list[str], left: str, right: str) -> str:
    return " AND ".join(f"{left}.{quoted(name)} = {right}.{quoted(name)}" for name in key)


def _one(con: duckdb.DuckDBPyConnection, sql: str, parameters: list[Any] | None = None) -> tuple:
    row = con.execute(sql, parameters or []).fetchall()
    return row[0]


def _count(con: duckdb.DuckDBPyConnection, sql: str, parameters: list[Any]) -> int:
    return int(_one(con, sql, parameters)[0])


def _family(sql_type: str) -> str:
    aliases = {
        "TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ",
        "TEXT": "VARCHAR",
        "JSON": "VARCHAR",  # JSON is text to the databases that lack it
        "BOOL": "BOOLEAN",
        "INT8": "BIGINT",
    }
    return aliases.get(sql_type.upper(), sql_type.upper())


def _short_of_memory(error: duckdb.Error) -> bool:
    # A commit that lacks memory is a TransactionException: "failed to pin block".
    text = str(error).lower()
    return isinstance(error, duckdb.OutOfMemoryException) or "failed to pin" in text or "out of memory" in text


def _hint(error: duckdb.Error) -> str:
    text = str(error).lower()
    if _short_of_memory(error):
        return "DuckDB ran out of memory or of room for its temporary files: make room in the folder of DAGSTER_HOME."
    if isinstance(error, duckdb.IOException) or "no space" in text or "could not write" in text or "i/o error" in text:
        return "See that the disk has room and that the folders of the warehouse and of DAGSTER_HOME can be written."
    return "This is a bug or a table that another tool has changed: compare its columns with the catalog."
