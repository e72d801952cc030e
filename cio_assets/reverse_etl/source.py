"""The rows of a push as something that SQL can read: a table of the warehouse, or a staged copy of anything else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from cio_assets.warehouse.database import ATTACHED, Warehouse
from cio_assets.warehouse.frames import Relation, frame_fault, sql_fault
from cio_assets.warehouse.sql import quoted

_STAGED = "temp.main.pushed_rows"


class PushError(Exception):
    """A push cannot begin or go on; says why and what to do, without a value of any row."""


@dataclass(frozen=True)
class Rows:
    """What `operations_sql` reads: something for a FROM, its columns with their types, and how many rows it has."""

    relation: str
    columns: Mapping[str, str]
    count: int


def stage_frame(con: duckdb.DuckDBPyConnection, rows: Any) -> Relation | None:
    """Copy a frame (Arrow table or reader, pandas, DuckDB relation) to where SQL reads it; None if `rows` is SQL.

    Before the warehouse is attached: a reader may take its time. Raises PushError.
    """
    if isinstance(rows, (str, Relation)):
        return None
    try:
        with _registered(con, _arrow(rows)):
            con.execute("CREATE OR REPLACE TEMP TABLE pushed_rows AS SELECT * FROM temp.main.frame")
    # ValueError: text that is no Unicode, columns of the same name.
    except (pa.ArrowException, duckdb.Error, ValueError) as error:
        raise PushError(f"The rows cannot be read ({frame_fault(error)}).") from None
    return Relation(_STAGED)


def open_rows(con: duckdb.DuckDBPyConnection, warehouse: Warehouse, source: Relation) -> Rows | None:
    """The rows of a relation, while the warehouse is attached; None where the table that it names is not there.

    A view or a SELECT is read once, into a temporary table: what is checked is then what is sent.
    """
    sql = source.sql.strip()
    if sql != _STAGED:
        named = re.fullmatch(r'(\w+|"[^"]+")\s*\.\s*(\w+|"[^"]+")', sql)
        if named:
            schema, name = (part.strip('"') for part in named.groups())
            if not warehouse.columns(con, name, schema):
                return None
            sql = f"{ATTACHED}.{quoted(schema)}.{quoted(name)}"
            if not _is_table(con, schema, name):
                _stage_query(con, f"SELECT * FROM {sql}")
                sql = _STAGED
        else:
            _stage_query(con, source.query)
            sql = _STAGED
    columns = {name: type_ for name, type_, *_ in con.execute(f"DESCRIBE SELECT * FROM {sql}").fetchall()}
    (count,) = con.execute(f"SELECT count(*) FROM {sql}").fetchall()[0]
    return Rows(sql, columns, count)


def _stage_query(con: duckdb.DuckDBPyConnection, sql: str) -> None:
    try:
        statements = con.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise PushError("The rows cannot be read: their SQL must be one SELECT.")
        con.execute(f"CREATE OR REPLACE TEMP TABLE pushed_rows AS {statements[0].query}")
    except duckdb.Error as error:
        raise PushError(f"The rows cannot be read: {sql_fault(error)}") from None


def _is_table(con: duckdb.DuckDBPyConnection, schema: str, name: str) -> bool:
    found = con.execute(
        "SELECT count(*) FROM duckdb_tables() "
        "WHERE database_name = ? AND lower(schema_name) = lower(?) AND lower(table_name) = lower(?)",
        [ATTACHED, schema, name],
    ).fetchall()
    return bool(found[0][0])


def _arrow(rows: Any) -> pa.Table | pa.RecordBatchReader:
    if isinstance(rows, (pa.Table, pa.RecordBatchReader)):
        return rows
    if isinstance(rows, pa.RecordBatch):
        return pa.Table.from_batches([rows])
    if isinstance(rows, duckdb.DuckDBPyRelation):
        return rows.to_arrow_reader()
    if hasattr(rows, "columns") and type(rows).__module__.split(".")[0] == "pandas":
        return pa.Table.from_pandas(rows, preserve_index=False)
    if hasattr(rows, "__arrow_c_stream__"):  # polars and others
        return pa.RecordBatchReader.from_stream(rows)
    raise PushError(
        f"{type(rows).__name__} cannot be pushed: return a Relation (SQL), an Arrow table or reader, or a DataFrame."
    )


@contextmanager
def _registered(con: duckdb.DuckDBPyConnection, frame: Any) -> Iterator[None]:
    con.register("frame", frame)
    try:
        yield
    finally:
        con.unregister("frame")
