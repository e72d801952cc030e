"""What the checks of a table need to know, measured inside the transaction of its load: counts and names of fields,
never a value. Whether that is right or wrong is `assets.checks`'s to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from cio_assets.catalog import TABLES, Parent, Refresh, Table
from cio_assets.warehouse.database import Warehouse
from cio_assets.warehouse.sql import quoted

MOST_NAMES = 20
"""So many unknown fields are named, those of most rows."""

_ROWS_LOOKED_INTO = 100_000
"""Of so many rows with `_extra` the names are read: a field that is new comes with many."""


@dataclass(frozen=True)
class Facts:
    """Of a table after its load: what it has, and what it should not have."""

    live_before: int = 0
    live: int = 0
    rows_without_key: int = 0
    """Rows in which a column of the key is NULL."""
    rows_of_known_key: int = 0
    """Rows beyond the first of each key."""
    rows_without_parent: Mapping[str, int] = field(default_factory=dict)
    """By the parent's table, where that is there: live rows whose parent it does not have."""
    rows_with_unknown_fields: int = 0
    """Of the rows that this load brought."""
    unknown_fields: Mapping[str, int] = field(default_factory=dict)
    """Top-level names in `_extra`, with their rows."""


def live_rows(warehouse: Warehouse, con: duckdb.DuckDBPyConnection, table: Table) -> int:
    """Rows that are not marked as deleted."""
    return _one(con, f"SELECT count(*) FROM {warehouse.qualified(table.name)} AS t{_where(_live(table))}")[0]


def measure(warehouse: Warehouse, con: duckdb.DuckDBPyConnection, table: Table, staged: str, live_before: int) -> Facts:
    """Measure the loaded table in the caller's transaction; `staged` is the relation of the rows that came.

    One pass over the columns of the key, and one for each parent. Keys are told apart by 64 bits of each: that one
    hides behind another among a hundred million happens once in four thousand tables, and the memory does not grow
    with the length of the keys.
    """
    target = warehouse.qualified(table.name)
    key = [f"t.{quoted(name)}" for name in table.key]
    missing = " OR ".join(f"{name} IS NULL" for name in key)
    rows, without, distinct, live = _one(
        con,
        f"""SELECT count(*), count(*) FILTER (WHERE {missing}),
                   count(DISTINCT CASE WHEN {missing} THEN NULL ELSE hash({", ".join(key)}) END),
                   count(*) FILTER (WHERE {_live(table) or "TRUE"})
            FROM {target} AS t""",
    )
    (unknown,) = _one(con, f"SELECT count(_extra) FROM {staged}")
    return Facts(
        live_before=live_before,
        live=live,
        rows_without_key=without,
        rows_of_known_key=rows - without - distinct,
        rows_without_parent={
            parent.table: _without_parent(warehouse, con, table, parent)
            for parent in table.parents
            if {*TABLES[parent.table].key, "_deleted_at"} <= warehouse.columns(con, parent.table).keys()
        },
        rows_with_unknown_fields=unknown,
        unknown_fields=_unknown_fields(con, staged) if unknown else {},
    )


def _without_parent(warehouse: Warehouse, con: duckdb.DuckDBPyConnection, table: Table, parent: Parent) -> int:
    above = TABLES[parent.table]
    columns = {name: parent.columns[name] for name in above.key}
    # Metrics are history: those of a campaign that was deleted stay, as does its row.
    lives = "" if table.refresh is Refresh.SERIES else _live(above)
    children = (
        f"SELECT {_hash(columns.values())} AS k FROM {warehouse.qualified(table.name)} AS t{_where(_live(table))}"
    )
    known = f"SELECT {_hash(columns)} AS k FROM {warehouse.qualified(above.name)} AS t{_where(lives)}"
    return _one(con, f"SELECT count(*) FROM ({children}) ANTI JOIN ({known}) USING (k)")[0]


def _unknown_fields(con: duckdb.DuckDBPyConnection, staged: str) -> dict[str, int]:
    found = con.execute(
        f"""SELECT name, count(*) AS rows
            FROM (SELECT unnest(json_keys(_extra)) AS name
                  FROM (SELECT _extra FROM {staged} WHERE _extra IS NOT NULL LIMIT {_ROWS_LOOKED_INTO}))
            GROUP BY name ORDER BY rows DESC, name LIMIT {MOST_NAMES}"""
    )
    return dict(found.fetchall())


def _hash(columns: Any) -> str:
    return f"hash({', '.join(f't.{quoted(name)}' for name in columns)})"


def _live(table: Table) -> str:
    return "t._deleted_at IS NULL" if table.tombstones else ""


def _where(condition: str) -> str:
    return f" WHERE {condition}" if condition else ""


def _one(con: duckdb.DuckDBPyConnection, sql: str) -> Sequence[Any]:
    return con.execute(sql).fetchall()[0]
