"""What was read when, kept beside the tables: so that a later sync knows what it need not ask for again.

Schema `_cio_sync_<schema of the tables>`: `version` (of this schema), `readings` (per table and mode when it was last
read), `units` (per table and parent when it was last read, and the parent's change marker then), `touched` (per
campaign, broadcast, newsletter and action when deliveries of it were last found new or changed), `drafts` (those of
late). Written in the transaction of the load.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import duckdb
import pyarrow as pa

from cio_assets.warehouse.database import ATTACHED, Warehouse, WarehouseError
from cio_assets.warehouse.sql import literal, quoted

FULL, CHANGED, RECENT = "full", "changed", "recent"
"""Modes of a reading: all of a table, what changed of it, deliveries up to now."""

NEVER_BELIEVED = timedelta(days=90)
"""Age at which what is known of a unit is forgotten, whatever CIO_FULL_EVERY_DAYS says."""

TOUCHED_BY = ("campaign_id", "broadcast_id", "newsletter_id", "action_id")
DRAFTS_OF = (*TOUCHED_BY, "parent_action_id")

_VERSION_1: Mapping[str, Mapping[str, str]] = {
    "readings": {
        "table_name": "VARCHAR",
        "mode": "VARCHAR",
        "source": "VARCHAR",
        "read_at": "TIMESTAMPTZ",
        "since": "TIMESTAMPTZ",
        "alone_since": "TIMESTAMPTZ",
    },
    "units": {
        "table_name": "VARCHAR",
        "unit": "VARCHAR",
        "source": "VARCHAR",
        "marker": "VARCHAR",
        "read_at": "TIMESTAMPTZ",
    },
    "drafts": {"id": "VARCHAR", "created": "TIMESTAMPTZ"},
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

    `mode` as above; `source` names the workspace and the version that read; `since` is the earliest creation that a
    reading of deliveries covers, `ended_at` when its last page was read; `units` were read now, with their markers.
    """

    mode: str = FULL
    source: str = ""
    since: datetime | None = None
    ended_at: datetime | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    kept: Collection[str] | None = None
    """Where all units of the table are told: those that stand as they were; the rest is forgotten."""
    forgotten: Collection[str] = ()
    """Units that are to be read again whatever was known of them."""
    drafts: pa.Table | None = None
    """The drafts created since `drafts_since`: columns `id`, `created` (unix seconds) and `DRAFTS_OF`."""
    drafts_since: datetime | None = None


@dataclass(frozen=True)
class Last:
    """The last reading of a mode: when it began and, of deliveries, from which creation on all were read by then.

    `alone_since` is from which creation on they were read in this very reading.
    """

    read_at: datetime
    since: datetime | None
    alone_since: datetime | None = None


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
    _write_reading(warehouse, con, table, reading, read_at)
    units = _table(warehouse, "units")
    con.execute(f"DELETE FROM {units} WHERE table_name = ? AND read_at < ?", [table, read_at - NEVER_BELIEVED])
    if reading.kept is not None:
        _register(con, "_units", unit=reading.kept)
        con.execute(f"DELETE FROM {units} WHERE table_name = ? AND unit NOT IN (SELECT unit FROM _units)", [table])
    _register(con, "_units", unit=[*reading.units, *reading.forgotten])
    con.execute(f"DELETE FROM {units} WHERE table_name = ? AND unit IN (SELECT unit FROM _units)", [table])
    _register(con, "_units", unit=list(reading.units), marker=list(reading.units.values()))
    con.execute(
        f"INSERT INTO {units} SELECT ?, unit, ?, marker, ?::TIMESTAMPTZ FROM _units", [table, reading.source, read_at]
    )
    con.unregister("_units")


def _register(con: duckdb.DuckDBPyConnection, name: str, **columns: Collection[str]) -> None:
    con.register(name, pa.table({column: pa.array(list(values), pa.string()) for column, values in columns.items()}))


def _write_reading(
    warehouse: Warehouse, con: duckdb.DuckDBPyConnection, table: str, reading: Reading, read_at: datetime
) -> None:
    readings, same = _table(warehouse, "readings"), [table, reading.mode]
    found = con.execute(
        f"""SELECT since, read_at >= ?, read_at > ? AND read_at <= now() FROM {readings}
            WHERE table_name = ? AND mode = ? AND source = ?""",
        [reading.since, read_at, *same, reading.source],
    ).fetchall()
    since = reading.since
    if found:
        before, meets, is_later = found[0]
        if is_later:  # a run that took long, or went on with an old one, comes behind one that began after it
            return
        # One that begins where the one before had come to covers what that covered as well.
        since = before if since and before and before < since and meets else since
    con.execute(f"DELETE FROM {readings} WHERE table_name = ? AND mode = ?", same)
    con.execute(
        f"INSERT INTO {readings} VALUES (?, ?, ?, ?, ?, ?)", [*same, reading.source, read_at, since, reading.since]
    )


def touch(warehouse: Warehouse, con: duckdb.DuckDBPyConnection, changed: str, at: datetime) -> None:
    """Note whose deliveries have changed: the rows of the relation `changed`, with the columns `TOUCHED_BY`.

    `at` is when the last of them was read: whatever was read of theirs before may not know of it.
    """
    table = _table(warehouse, "touched")
    same = " AND ".join(f"t.{name} IS NOT DISTINCT FROM c.{name}" for name in TOUCHED_BY)
    mine = ", ".join(f"c.{name}" for name in TOUCHED_BY)
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE touched_now AS
            SELECT {mine}, greatest(?::TIMESTAMPTZ, max(t.touched_at)) AS touched_at
            FROM {changed} AS c LEFT JOIN {table} AS t ON {same} GROUP BY {mine}""",
        [at],
    )
    con.execute(f"DELETE FROM {table} AS t WHERE EXISTS (SELECT 1 FROM touched_now AS c WHERE {same})")
    con.execute(f"INSERT INTO {table} SELECT * FROM touched_now")


def add_new_drafts(
    warehouse: Warehouse, con: duckdb.DuckDBPyConnection, drafts: pa.Table, since: datetime, moved: str
) -> None:
    """Add the drafts that were not there at the last look to the relation `moved`; remember those there are now."""
    table, names = _table(warehouse, "drafts"), ", ".join(DRAFTS_OF)
    con.register("_drafts", drafts)
    con.execute(f"INSERT INTO {moved} BY NAME SELECT {names} FROM _drafts ANTI JOIN {table} USING (id)")
    con.execute(f"DELETE FROM {table} WHERE created >= ? OR created < ?", [since, since - NEVER_BELIEVED])
    con.execute(f"INSERT INTO {table} SELECT DISTINCT id, to_timestamp(created) FROM _drafts")
    con.unregister("_drafts")


class Ledger:
    """Reads what was noted; of readings and units what `sources`, given a table, names as theirs, else all."""

    def __init__(self, warehouse: Warehouse, sources: Callable[[str], str] | None = None) -> None:
        self._warehouse = warehouse
        self._sources = sources

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
        sql = "SELECT mode, read_at, since, alone_since FROM {} WHERE table_name = ?"
        return {mode: Last(*rest) for mode, *rest in self._of_source(table, sql, "readings")}

    def units(self, table: str, periods: Collection[str] = ()) -> dict[str, Known]:
        """The units of a table that were read; of metrics those of some periods."""
        sql = "SELECT unit, marker, read_at FROM {} WHERE table_name = ?"
        if periods:
            sql += f" AND split_part(unit, ' ', 2) IN ({', '.join(map(literal, sorted(periods)))})"
        return {unit: Known(marker, read_at) for unit, marker, read_at in self._of_source(table, sql, "units")}

    def _of_source(self, table: str, sql: str, of: str) -> list[tuple]:
        """What was noted by the source that is asked for, if one is."""
        source = self._sources(table) if self._sources else None
        by_source = "" if source is None else f" AND source = {literal(source)}"
        return self._rows(table, sql + by_source, of, [table])

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
