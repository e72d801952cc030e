"""Tells whether a sync's source has changed, by hashes: of its watermark, or of all its rows. Reads only; no value of
a row can be told from what it returns."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from cio_assets.reverse_etl.model import Sync
from cio_assets.warehouse.database import ATTACHED, Warehouse
from cio_assets.warehouse.sql import literal, quoted

_SETTLED_SECONDS = 2.0
"""A file changed so lately could change again within the resolution of its time."""


@dataclass(frozen=True)
class Source:
    """A sync's source as it stands in the warehouse."""

    schema: str
    name: str
    columns: Mapping[str, str]
    stored: bool
    """Whether its rows stand in the warehouse itself: a table, not a view, which may read anything."""

    @property
    def relation(self) -> str:
        """For a FROM."""
        return f"{ATTACHED}.{quoted(self.schema)}.{quoted(self.name)}"

    def column(self, name: str) -> str | None:
        """A column as its table spells it."""
        return next((column for column in self.columns if column.lower() == name.lower()), None)


def find_source(con: duckdb.DuckDBPyConnection, sync: Sync) -> Source | None:
    """The sync's source, while the warehouse is attached; None where it is not there."""
    schema, name = sync.source.split(".")
    found = con.execute(
        "SELECT schema_name, table_name, column_name, data_type FROM duckdb_columns() "
        "WHERE database_name = ? AND lower(schema_name) = lower(?) AND lower(table_name) = lower(?) "
        "ORDER BY column_index",
        [ATTACHED, schema, name],
    ).fetchall()
    if not found:
        return None
    schema, name = found[0][:2]
    tables = "SELECT count(*) FROM duckdb_tables() WHERE database_name = ? AND schema_name = ? AND table_name = ?"
    ((stored,),) = con.execute(tables, [ATTACHED, schema, name]).fetchall()
    return Source(schema, name, {column: type_ for _, _, column, type_ in found}, bool(stored))


def by_watermark(
    con: duckdb.DuckDBPyConnection, warehouse: Warehouse, source: Source, sync: Sync, about: str
) -> str | None:
    """Fingerprint of `count(*)` and `max(cursor)`; None where the sync has no cursor or the source no such column.

    Of a table DuckDB and DuckLake answer both from its statistics where these are exact, as they are after plain
    inserts; else DuckDB reads this one column. Postgres answers by itself, with an index on the column at once.
    It misses rows that changed without the column: `by_content` does not.
    """
    column = source.column(sync.cursor) if sync.cursor else None
    if column is None:
        return None
    sql = f"SELECT count(*), max({quoted(column)})::VARCHAR FROM {source.relation}"
    if warehouse.kind == "postgres":
        # The scanner would fetch the column of every row.
        own = f"{quoted(source.schema)}.{quoted(source.name)}"
        inner = f"SELECT count(*) AS n, max({quoted(column)})::text AS upto FROM {own}"
        sql = f"SELECT n, upto FROM postgres_query({literal(ATTACHED)}, {literal(inner)})"
    return _digest(about, source, con.execute(sql).fetchall())


def by_content(con: duckdb.DuckDBPyConnection, source: Source, about: str) -> str:
    """Fingerprint of all rows, whatever their order; a repeated row counts.

    Reads everything: 0.3 s for a million rows of 13 columns. DuckDB's hash may change with its release, which
    then looks like a change of the source.
    """
    row = f"hash({', '.join(map(quoted, sorted(source.columns)))})"
    # Two equal rows cancel each other in the xor, and two changes may in the sum: hardly in both.
    sql = f"SELECT count(*), bit_xor(h)::VARCHAR, sum(h)::VARCHAR FROM (SELECT {row} AS h FROM {source.relation})"
    return _digest(about, source, con.execute(sql).fetchall())


def of_file(warehouse: Warehouse, about: str) -> str | None:
    """Fingerprint of the warehouse's file by size and time, without opening it: equal ones tell that nothing was
    written. None where it was written just now, and of a warehouse that is no file."""
    if warehouse.kind != "duckdb":
        return None
    seen = []
    for path in (Path(warehouse.uri), Path(f"{warehouse.uri}.wal")):
        try:
            stat = path.stat()
        except OSError:
            seen.append(None)
            continue
        if stat.st_mtime > time.time() - _SETTLED_SECONDS:
            return None
        seen.append([stat.st_ino, stat.st_size, stat.st_mtime_ns])
    return _hash([about, seen])


def _digest(about: str, source: Source, rows: object) -> str:
    return _hash([about, sorted(source.columns.items()), rows])


def _hash(values: object) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:32]
