"""What Customer.io was last told, kept in the warehouse: per sync its keys and hashes, its definition, its cursor.

Tables `_cio_push.<sync>` (key, hash, other keys of the row) and `_cio_push._syncs`; refused rows stand in
`reverse_etl.rejected`. SQL only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import duckdb

from cio_assets.warehouse.database import ATTACHED, Warehouse
from cio_assets.warehouse.sql import quoted

SCHEMA = "_cio_push"
SYNCS = "_syncs"
REJECTED_SCHEMA, REJECTED = "reverse_etl", "rejected"
_REJECTED_COLUMNS: Mapping[str, str] = {
    "sync": "VARCHAR",
    "key": "VARCHAR",
    "row": "VARCHAR",
    "reason": "VARCHAR",
    "field": "VARCHAR",
    "message": "VARCHAR",
    "found_by": "VARCHAR",
    "hash": "BIGINT",
    "run": "VARCHAR",
    "time": "TIMESTAMPTZ",
}
_SYNCS_COLUMNS: Mapping[str, str] = {
    "sync": "VARCHAR",
    "target": "VARCHAR",
    "definition": "VARCHAR",
    "cursor": "VARCHAR",
    "pushed_at": "TIMESTAMPTZ",
}


@dataclass(frozen=True)
class Told:
    """The last state of a sync. `target` tells workspaces apart; `cursor` is `{column, upto, rows, check}` or empty."""

    target: str = ""
    definition: Mapping[str, Any] = field(default_factory=dict)
    cursor: Mapping[str, Any] = field(default_factory=dict)


def keys_table(sync: str) -> str:
    """Qualified name of the sync's keys and hashes."""
    return f"{ATTACHED}.{quoted(SCHEMA)}.{quoted(sync)}"


def rejected_table() -> str:
    """Qualified name of the refused rows of all syncs."""
    return f"{ATTACHED}.{quoted(REJECTED_SCHEMA)}.{quoted(REJECTED)}"


def exists(warehouse: Warehouse, con: duckdb.DuckDBPyConnection, sync: str) -> bool:
    """Whether the sync has ever been told anything."""
    return bool(warehouse.columns(con, sync, SCHEMA))


def read(warehouse: Warehouse, con: duckdb.DuckDBPyConnection, sync: str) -> Told:
    """The sync's state; empty before its first push."""
    if not warehouse.columns(con, SYNCS, SCHEMA):
        return Told()
    rows = con.execute(f"SELECT target, definition, cursor FROM {_syncs()} WHERE sync = ?", [sync]).fetchall()
    if not rows:
        return Told()
    target, definition, cursor = rows[0]
    return Told(target, json.loads(definition), json.loads(cursor))


def write(con: duckdb.DuckDBPyConnection, sync: str, told: Told, moment: datetime) -> None:
    """Replace the sync's state, inside the caller's transaction."""
    con.execute(f"DELETE FROM {_syncs()} WHERE sync = ?", [sync])
    con.execute(
        f"INSERT INTO {_syncs()} VALUES (?, ?, ?, ?, ?)",
        [sync, told.target, json.dumps(told.definition), json.dumps(told.cursor), moment],
    )


def create(con: duckdb.DuckDBPyConnection, sync: str) -> None:
    """Make the tables that are not there yet."""
    con.execute(f"CREATE SCHEMA IF NOT EXISTS {ATTACHED}.{quoted(SCHEMA)}")
    con.execute(f"CREATE SCHEMA IF NOT EXISTS {ATTACHED}.{quoted(REJECTED_SCHEMA)}")
    con.execute(f"CREATE TABLE IF NOT EXISTS {_syncs()} ({_declared(_SYNCS_COLUMNS)})")
    con.execute(f"CREATE TABLE IF NOT EXISTS {rejected_table()} ({_declared(_REJECTED_COLUMNS)})")
    con.execute(f"CREATE TABLE IF NOT EXISTS {keys_table(sync)} (key VARCHAR, hash BIGINT, also VARCHAR)")


def rejected_exists(warehouse: Warehouse, con: duckdb.DuckDBPyConnection) -> bool:
    """Whether any push has ended yet."""
    return bool(warehouse.columns(con, REJECTED, REJECTED_SCHEMA))


def has_rejected(warehouse: Warehouse, con: duckdb.DuckDBPyConnection, sync: str) -> bool:
    """Whether rows of the sync are rejected at present."""
    if not rejected_exists(warehouse, con):
        return False
    found = con.execute(f"SELECT count(*) FROM {rejected_table()} WHERE sync = ?", [sync]).fetchall()
    return found[0][0] > 0


def _syncs() -> str:
    return f"{ATTACHED}.{quoted(SCHEMA)}.{quoted(SYNCS)}"


def _declared(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{quoted(name)} {type_}" for name, type_ in columns.items())
