"""Which rows of a source a push has to look at: those of a time, those behind which nothing has changed, or all."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import duckdb

from cio_assets.reverse_etl import state
from cio_assets.reverse_etl.model import Kind, Sync
from cio_assets.reverse_etl.operations import has_time, window_sql
from cio_assets.reverse_etl.source import PushError, Rows
from cio_assets.warehouse.sql import literal, quoted


def narrowed(
    con: duckdb.DuckDBPyConnection,
    sync: Sync,
    rows: Rows,
    before: state.Told,
    window: tuple[datetime, datetime] | None,
    *,
    everything: bool,
) -> tuple[Rows, dict[str, Any], bool]:
    """Only the rows that can be new, the cursor to remember once they were sent, and whether these are all rows.

    Behind the cursor nothing is compared, unless the rows there are others than they were, or `everything`
    is asked for.
    """
    if window is not None:
        if not has_time(sync, rows.columns):
            raise PushError(f"{sync.name}: its source has no column timestamp, by which partitions are cut: add it.")
        condition = window_sql(sync, rows.columns, *window)
        return _where(con, rows, condition), dict(before.cursor), False
    column = next((name for name in rows.columns if sync.cursor and name.lower() == sync.cursor.lower()), None)
    if column is None or sync.kind is not Kind.EVENTS:
        return rows, {}, True
    name, type_, last = quoted(column), rows.columns[column], before.cursor
    (upto,) = con.execute(f"SELECT max({name})::VARCHAR FROM {rows.relation}").fetchall()[0]
    narrowed = rows
    usable = (last.get("column"), last.get("type")) == (column, type_) and last.get("upto") is not None
    if usable and not everything:
        behind = f"{name} <= TRY_CAST({literal(last['upto'])} AS {type_})"
        if [last["rows"], last["check"]] == _check(con, sync, rows, behind):
            # Events without id and time are told apart by counting them, so all of them are needed.
            absent = [
                f"coalesce(trim({quoted(found)}::VARCHAR), '') = ''" for found in named(rows, "event_id", "timestamp")
            ]
            narrowed = _where(con, rows, f"({behind}) IS NOT TRUE OR ({' AND '.join(absent) or 'true'})")
    if upto is None:
        return narrowed, {}, True
    count, check = _check(con, sync, rows, f"{name} IS NOT NULL")
    cursor = {"column": column, "type": type_, "upto": upto, "rows": count, "check": check}
    return narrowed, cursor, narrowed is rows


def named(rows: Rows, *names: str) -> list[str]:
    return [found for found in rows.columns if found.lower() in names]


def _check(con: duckdb.DuckDBPyConnection, sync: Sync, rows: Rows, condition: str) -> list[Any]:
    """Count and hash of who did what when, whatever the order of the rows; data of past events are not looked at."""
    names = [sync.cursor or "", "event_id", "event_name", "event_type", "timestamp", *sync.identifiers.values()]
    told = ", ".join(map(quoted, named(rows, *(name.lower() for name in names))))
    found = con.execute(
        f"SELECT count(*), concat_ws('-', bit_xor(hash({told})), sum(hash({told}))) FROM {rows.relation} "
        f"WHERE {condition}"
    )
    return list(found.fetchall()[0])


def _where(con: duckdb.DuckDBPyConnection, rows: Rows, condition: str) -> Rows:
    relation = f"(SELECT * FROM {rows.relation} WHERE {condition})"
    (count,) = con.execute(f"SELECT count(*) FROM {relation}").fetchall()[0]
    return Rows(relation, rows.columns, count)
