"""What was read when, kept beside the tables: so that a later sync knows what it need not ask for again.

Schema `_cio_sync_<schema of the tables>`: `version` (of this schema), `readings` (per table and mode when it was last
read), `units` (per table and parent when it was last read, and the parent's change marker then), `touched` (per
campaign, broadcast, newsletter and action when deliveries of it were last found new or changed), `drafts` (those of
late). Written in the transaction of the load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import duckdb
import pyarrow as pa

from cio_assets.warehouse.database import ATTACHED, Warehouse, WarehouseError, quoted

FULL, CHANGED, RECENT = "full", "changed", "recent"
"""Modes of a reading: all of a table, what changed of it, deliveries up to now."""

TOUCHED_BY = ("campaign_id", "broadcast_id", "newsletter_id", "action_id")
DRAFTS_OF = (*TOUCHED_BY, "parent_action_id")

_VERSION_1: Mapping[str, Mapping[str, str]] = {
    "readings": {
        "table_name": "VARCHAR",
        "mode": "VARCHAR",
        "read_at": "TIMESTAMPTZ",
        "since": "TIMESTAMPTZ",
    },
    "units": {"table_name": "VARCHAR", "unit": "VARCHAR", "marker": "VARCHAR", "read_at": "TIMESTAMPTZ"},
    "drafts": {"id": "VARCHAR"},
    "touched": {**dict.fromkeys(TOUCHED_BY, "BIGINT"), "touched_at": "TIMESTAMPTZ"},
}


@dataclass(frozen=True)
class Known:
    """When a unit (a parent, or a parent and a period) was last read, and the parent's change marker then."""

    marker: str
    read_at: datetime


@dataclass(frozen=True)
class Reading:
    """What a load notes of how its rows were read.

    `mode` as above; `since` is the earliest creation that a reading of deliveries covers; `units` were read now, with
    their markers.
    """

    mode: str = FULL
    since: datetime | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    drafts: pa.Table | None = None
    """The drafts of late: columns `id` and `DRAFTS_OF`."""


@dataclass(frozen=True)
class Last:
    """The last reading of a mode: when it began and, of deliveries, from which creation on."""

    read_at: datetime
    since: datetime | None


def _to_version_1(warehouse: Warehouse, con: duckdb.DuckDBPyConnection) -> None:
    for table, columns in _VERSION_1.items():
        declared = ", ".join(f"{quoted(name)} {type_}" for name, type_ in columns.items())
        con.execute(f"CREATE TABLE {_table(warehouse, table)} ({declared})")


_MIGRATIONS: tuple[Callable[[Warehouse, duckdb.DuckDBPyConnection], None], ...] = (_to_version_1,)
"""The n-th brings a warehouse of version n to version n + 1. Never change one that was released: add another."""

VERSION = len(_MIGRATIONS)


def migrate(warehouse: Warehouse, con: duckdb.DuckDBPyConnection) -> None:
    """Bring the schema to this version, in the caller's transaction; `WarehouseError` where it is a newer one."""
    version = stored_version(warehouse, con)
    if version == VERSION:
        return
    con.execute(f"CREATE SCHEMA IF NOT EXISTS {ATTACHED}.{quoted(_schema(warehouse))}")
    con.execute(f"CREATE TABLE IF NOT EXISTS {_table(warehouse, 'version')} (version BIGINT)")
    for step in _MIGRATIONS[version:]:
        step(warehouse, con)
    con.execute(f"DELETE FROM {_table(warehouse, 'version')}")
    con.execute(f"INSERT INTO {_table(warehouse, 'version')} VALUES (?)", [VERSION])


def stored_version(warehouse: Warehouse, con: duckdb.DuckDBPyConnection) -> int:
    """The schema's version, 0 where there is none; `WarehouseError` where it is newer than this program."""
    if not warehouse.columns(con, "version", _schema(warehouse)):
        return 0
    version = max(
        (row[0] for row in con.execute(f"SELECT version FROM {_table(warehouse, 'version')}").fetchall()), default=0
    )
    if version > VERSION:
        raise WarehouseError(
            f"The warehouse {warehouse.label} was written by a newer cio-assets (its schema has version {version}, "
            f"this program knows {VERSION}): update cio-assets, or give another CIO_WAREHOUSE. Nothing was changed."
        )
    return version


def write(
    warehouse: Warehouse, con: duckdb.DuckDBPyConnection, table: str, reading: Reading, read_at: datetime
) -> None:
    """Note a reading, inside the transaction of its load."""
    readings, units = _table(warehouse, "readings"), _table(warehouse, "units")
    # A reading that begins where the one before had come to covers what that covered as well.
    before = f"SELECT since FROM {readings} WHERE table_name = ? AND mode = ? AND since < ? AND read_at >= ?"
    wider = con.execute(before, [table, reading.mode, reading.since, reading.since]).fetchall()
    since = wider[0][0] if wider else reading.since
    con.execute(f"DELETE FROM {readings} WHERE table_name = ? AND mode = ?", [table, reading.mode])
    con.execute(f"INSERT INTO {readings} VALUES (?, ?, ?, ?)", [table, reading.mode, read_at, since])
    if reading.units:
        arrow = pa.table({"unit": list(reading.units), "marker": list(reading.units.values())})
        con.register("_units_read", arrow)
        con.execute(f"DELETE FROM {units} WHERE table_name = ? AND unit IN (SELECT unit FROM _units_read)", [table])
        con.execute(f"INSERT INTO {units} SELECT ?, unit, marker, ?::TIMESTAMPTZ FROM _units_read", [table, read_at])
        con.unregister("_units_read")


def touch(warehouse: Warehouse, con: duckdb.DuckDBPyConnection, changed: str, at: datetime) -> None:
    """Note whose deliveries have changed: the rows of the relation `changed`, with the columns `TOUCHED_BY`."""
    table, names = _table(warehouse, "touched"), ", ".join(TOUCHED_BY)
    same = " AND ".join(f"t.{name} IS NOT DISTINCT FROM c.{name}" for name in TOUCHED_BY)
    con.execute(f"DELETE FROM {table} AS t WHERE EXISTS (SELECT 1 FROM {changed} AS c WHERE {same})")
    con.execute(f"INSERT INTO {table} SELECT DISTINCT {names}, ?::TIMESTAMPTZ FROM {changed}", [at])


def add_new_drafts(warehouse: Warehouse, con: duckdb.DuckDBPyConnection, drafts: pa.Table, moved: str) -> None:
    """Add the drafts that were not there at the last reading to the relation `moved`; remember those there are now."""
    table = _table(warehouse, "drafts")
    con.register("_drafts", drafts)
    con.execute(
        f"INSERT INTO {moved} BY NAME SELECT {', '.join(DRAFTS_OF)} FROM _drafts AS d ANTI JOIN {table} USING (id)"
    )
    con.execute(f"DELETE FROM {table}")
    con.execute(f"INSERT INTO {table} SELECT DISTINCT id FROM _drafts")
    con.unregister("_drafts")


class Ledger:
    """Reads what was noted."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def check(self) -> None:
        """Raise `WarehouseError` where a load would: the warehouse cannot be attached, or is of a newer version.

        Before requests are spent, not after.
        """
        with self._warehouse.attached() as con:
            stored_version(self._warehouse, con)

    @property
    def warehouse(self) -> Warehouse:
        """The warehouse that it is of."""
        return self._warehouse

    def last(self, table: str) -> dict[str, Last]:
        """The last reading of a table by mode."""
        rows = self._rows(table, "SELECT mode, read_at, since FROM {} WHERE table_name = ?", "readings", [table])
        return {mode: Last(read_at, since) for mode, read_at, since in rows}

    def units(self, table: str) -> dict[str, Known]:
        """The units of a table that were read."""
        rows = self._rows(table, "SELECT unit, marker, read_at FROM {} WHERE table_name = ?", "units", [table])
        return {unit: Known(marker, read_at) for unit, marker, read_at in rows}

    def touched(self, columns: Iterable[str]) -> dict[tuple[int, ...], datetime]:
        """When deliveries were last found changed, by the values of these columns."""
        names = ", ".join(map(quoted, columns))
        rows = self._rows("messages", f"SELECT max(touched_at), {names} FROM {{}} GROUP BY {names}", "touched", [])
        return {tuple(values): at for at, *values in rows}

    def _rows(self, about: str, sql: str, table: str, parameters: list[str]) -> list[tuple]:
        """Rows of a table of the ledger; none where the table they are about was dropped."""
        warehouse = self._warehouse
        with warehouse.attached() as con:
            if not stored_version(warehouse, con) or not warehouse.columns(con, about):
                return []
            return con.execute(sql.format(_table(warehouse, table)), parameters).fetchall()


def _schema(warehouse: Warehouse) -> str:
    """Of its own for each schema of tables: there may be many workspaces in a warehouse."""
    return f"_cio_sync_{warehouse.schema}"


def _table(warehouse: Warehouse, name: str) -> str:
    return f"{ATTACHED}.{quoted(_schema(warehouse))}.{quoted(name)}"
