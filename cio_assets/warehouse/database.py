"""One warehouse, whatever it is made of: a DuckDB file, MotherDuck, DuckLake or Postgres, attached as `wh`."""

from __future__ import annotations

import errno
import hashlib
import importlib
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from tenacity import Retrying, retry_if_exception_message, stop_after_delay, wait_random_exponential

from cio_assets.turns import turn, turn_if_free
from cio_assets.warehouse.instances import instance
from cio_assets.warehouse.sql import literal, quoted

ATTACHED = "wh"
_BUSY = (
    "(?i).*(could not set lock on file|conflicting lock|used by another process|database is locked|"
    # The same file, opened by other code of this process.
    "unique file handle conflict|same database file with a different configuration).*"
)

_mine = threading.local()
"""By place: what this thread has attached, through whichever `Warehouse`."""

_READING_LIMIT = "1GB"
"""Memory that a query over the stored tables may use: texts of a table may be large."""


class WarehouseError(Exception):
    """The warehouse cannot be used; says which and what to do, without credentials."""


class WarehouseBusy(WarehouseError):
    """Somebody else holds the warehouse."""


class WarehouseAbsent(WarehouseError):
    """There is no warehouse yet: nothing was written so far."""


def kind_of(uri: str) -> str:
    """What a warehouse URI names: `duckdb` (a file path), `md`, `ducklake` or `postgres`."""
    scheme = re.match(r"(md|ducklake|postgres|postgresql):", uri, re.IGNORECASE)
    return scheme[1].lower().replace("postgresql", "postgres") if scheme else "duckdb"


class Warehouse:
    """Opens the warehouse for as long as a block runs, one block at a time on this machine.

    `uri` is a file path, `md:…`, `ducklake:…` or `postgres:…`; `schema` holds the synced tables. `scratch` is a folder
    for spilled and temporary data; `memory_limit` bounds what DuckDB keeps in memory; `busy_seconds` is how long to
    wait for other programs that hold the file; `data_path` is where a new DuckLake keeps its Parquet files.
    """

    def __init__(
        self,
        uri: str,
        schema: str,
        *,
        scratch: Path,
        memory_limit: str = "128MB",
        busy_seconds: float = 120,
        data_path: str | None = None,
    ) -> None:
        self.uri = uri
        self.schema = schema
        self.scratch = scratch
        self._memory_limit = memory_limit
        self._busy_seconds = busy_seconds
        self.kind = kind_of(uri)
        self._data_path = data_path
        self.label = uri if self.kind == "duckdb" else f"{self.kind}:…"
        # Writers queue here, fairly and briefly: DuckDB's own lock has no queue (dagster-facts.md).
        if self.kind == "duckdb":
            self._lock = Path(uri).with_name(Path(uri).name + ".lock")
        else:
            self._lock = scratch / f"warehouse-{hashlib.sha256(uri.encode()).hexdigest()[:16]}.lock"

    @contextmanager
    def scratch_connection(self, memory_limit: str | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection to nothing but memory and a folder of its own for what does not fit into it."""
        self._make(self.scratch)
        # What MotherDuck's extension keeps in an instance could not be tried.
        with instance(self.scratch, memory_limit or self._memory_limit, keep=self.kind != "md") as con:
            yield con

    @contextmanager
    def attached(self, connection: duckdb.DuckDBPyConnection | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """The warehouse attached as `wh`, its schema made if it is not there; raises `WarehouseError`.

        Holds the machine-wide lock, so fetch nothing over the network inside. A block within a block of the same
        thread is of the same connection.
        """
        mine, place = _mine.__dict__, f"{self.uri} {self.schema}"
        outer = mine.get(place)
        if outer is not None and connection in (None, outer):
            yield outer
            return
        with ExitStack() as stack:
            con = connection or stack.enter_context(self.scratch_connection(_READING_LIMIT))
            stack.enter_context(self._locked())
            try:
                self._attach(con)
                mine[place] = con
                yield con
            finally:
                mine.pop(place, None)
                _detach(con)

    @contextmanager
    def attached_for_reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The warehouse attached as `wh` for reading only, at once or not at all: nothing is made, nobody waited for.

        Raises `WarehouseBusy`, `WarehouseAbsent` and `WarehouseError`. Our own writers queue until the block ends, so
        be brief; other programs cannot open a DuckDB file for writing meanwhile.
        """
        if self.kind == "duckdb" and not Path(self.uri).exists():
            raise WarehouseAbsent(f"There is no warehouse {self.label} yet.")
        with ExitStack() as stack:
            con = stack.enter_context(self.scratch_connection())
            # Readers of one process take turns too: the first that closes the file would free it for writers, under
            # the others (the system's locks belong to a process, not to a connection).
            stack.enter_context(self._locked(wait=False))
            try:
                self._attach_for_reading(con)
                yield con
            finally:
                _detach(con)

    @contextmanager
    def transaction(self, connection: duckdb.DuckDBPyConnection | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """As `attached`, in one transaction: committed at the end, rolled back on any exception."""
        with self.attached(connection) as con:
            con.execute("BEGIN TRANSACTION")
            try:
                yield con
            except BaseException:
                with suppress(duckdb.Error):
                    con.execute("ROLLBACK")
                raise
            con.execute("COMMIT")

    def qualified(self, table: str, schema: str | None = None) -> str:
        """The table's full name in SQL, while attached."""
        return f"{ATTACHED}.{quoted(schema or self.schema)}.{quoted(table)}"

    def columns(self, con: duckdb.DuckDBPyConnection, table: str, schema: str | None = None) -> dict[str, str]:
        """Columns of a stored table and their SQL types; empty where there is no such table."""
        named = [ATTACHED, schema or self.schema, table]
        here = "database_name = ? AND lower(schema_name) = lower(?) AND lower(table_name) = lower(?)"
        # To describe is quicker than to look through the list of all columns. Only what is there: for a name that is
        # not, DuckDB looks among Python's variables and files, and a failure of that, or of a view, ends a transaction.
        if con.execute(f"SELECT 1 FROM duckdb_tables() WHERE {here}", named).fetchall():
            described = con.execute(f"DESCRIBE {self.qualified(table, schema)}").fetchall()
            return {name: kind for name, kind, *_ in described}
        listed = con.execute(
            f"SELECT column_name, data_type FROM duckdb_columns() WHERE {here} ORDER BY column_index", named
        )
        return dict(listed.fetchall())

    def read(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        schema: str | None = None,
    ) -> pa.Table:
        """Live rows of a table as Arrow, only the asked columns; raises `WarehouseError` where there is no table."""
        schema = schema or self.schema
        with self.attached() as con:
            stored = self.columns(con, table, schema)
            if not stored:
                raise WarehouseError(
                    f"{schema}.{table} is not in the warehouse {self.label} yet: materialize the asset {table} first."
                )
            conditions = [where] if where else []
            if "_deleted_at" in stored:
                conditions.append("_deleted_at IS NULL")
            asked = ", ".join(map(quoted, columns)) if columns else "*"
            filtered = f" WHERE {' AND '.join(conditions)}" if conditions else ""
            return con.execute(f"SELECT {asked} FROM {self.qualified(table, schema)}{filtered}").to_arrow_table()

    def count(self, table: str) -> int:
        """Number of rows of a synced table, 0 where there is none."""
        with self.attached() as con:
            if not self.columns(con, table):
                return 0
            return con.execute(f"SELECT count(*) FROM {self.qualified(table)}").fetchall()[0][0]

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple]:
        """Rows of any SQL over the warehouse, its schema being the current one."""
        with self.attached() as con:
            return con.execute(sql, parameters).fetchall()

    @contextmanager
    def _locked(self, *, wait: bool = True) -> Iterator[None]:
        self._make(self._lock.parent)
        with ExitStack() as held:
            try:
                held.enter_context(turn(self._lock) if wait else turn_if_free(self._lock))
            except BlockingIOError:
                raise WarehouseBusy(f"The warehouse {self.label} is being written.") from None
            except OSError as error:
                raise self._unwritable(self._lock.parent, error) from None
            yield

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700 if folder == self.scratch else 0o777)
            if not os.access(folder, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise self._unwritable(folder, error) from None

    def _unwritable(self, folder: Path, error: OSError) -> WarehouseError:
        what = f"DAGSTER_HOME: {folder}" if folder == self.scratch else f"CIO_WAREHOUSE: the folder of {self.label}"
        return WarehouseError(f"{what} cannot be written ({error.strerror}): give one that can.")

    def _statement(self, con: duckdb.DuckDBPyConnection, *options: str) -> str:
        """The statement that attaches the warehouse, its extensions loaded."""
        uri, given = self.uri, list(options)
        if self.kind == "ducklake":
            _extension(con, "ducklake")
            if "postgres" in self.uri:
                _extension(con, "postgres_scanner")
            if self._data_path:
                given.append(f"DATA_PATH {literal(self._data_path)}")
        elif self.kind == "postgres":
            _extension(con, "postgres_scanner")
            uri = uri if "//" in uri else uri.partition(":")[2]
            given.append("TYPE postgres")
        return f"ATTACH {literal(uri)} AS {ATTACHED}" + (f" ({', '.join(given)})" if given else "")

    def _attach_for_reading(self, con: duckdb.DuckDBPyConnection) -> None:
        # Whether MotherDuck knows the option could not be tried; nothing is written either way.
        statement = self._statement(con, *(["READ_ONLY"] if self.kind != "md" else []))
        try:
            con.execute(statement)
            con.execute(f"USE {ATTACHED}")
            with suppress(duckdb.CatalogException):  # a warehouse of others may lack it
                con.execute(f"USE {ATTACHED}.{quoted(self.schema)}")
        except duckdb.Error as error:
            text = str(error)
            busy = re.match(_BUSY, text, re.DOTALL)
            absent = self.kind == "ducklake" and "read-only mode: database does not exist" in text
            kind = WarehouseBusy if busy else WarehouseAbsent if absent else WarehouseError
            raise kind(self._unusable(error)) from None

    def _attach(self, con: duckdb.DuckDBPyConnection) -> None:
        # A row group of texts is held in memory while it is written: half of the usual one takes 50 MB less.
        statement = self._statement(con, *(["ROW_GROUP_SIZE 61440"] if self.kind == "duckdb" else []))
        try:
            for attempt in Retrying(
                retry=retry_if_exception_message(match=_BUSY),
                stop=stop_after_delay(self._busy_seconds),
                wait=wait_random_exponential(multiplier=0.05, max=2),
                reraise=True,
            ):
                with attempt:
                    con.execute(statement)
            con.execute(f"CREATE SCHEMA IF NOT EXISTS {ATTACHED}.{quoted(self.schema)}")
            con.execute(f"USE {ATTACHED}.{quoted(self.schema)}")
        except duckdb.Error as error:
            raise WarehouseError(self._unusable(error)) from None

    def _unusable(self, error: duckdb.Error) -> str:
        # DuckDB quotes the connection string in its messages: only what is known to be harmless is repeated.
        text = str(error)
        if re.match(_BUSY, text, re.DOTALL):
            holder = re.search(r"\(PID \d+\)", text)
            return (
                f"The warehouse {self.label} is open in another program {holder[0] if holder else ''}: close it there "
                "(or open it read-only while no sync runs)."
            )
        if self.kind == "duckdb":
            reason = text.splitlines()[0]
            return f"CIO_WAREHOUSE: {self.label} cannot be opened as a DuckDB database: {reason}"
        if "DATA_PATH" in text:
            return "CIO_DATA_PATH is not set: a new DuckLake needs a folder or bucket for its Parquet files."
        return (
            f"CIO_WAREHOUSE: the {self.kind} warehouse cannot be attached ({type(error).__name__}): check host, "
            "database, user and password, and that it can be reached from here."
        )


def _detach(con: duckdb.DuckDBPyConnection) -> None:
    with suppress(duckdb.Error):
        con.execute("USE memory.main")
        con.execute(f"DETACH {ATTACHED}")


def _extension(con: duckdb.DuckDBPyConnection, name: str) -> None:
    """Load an extension from its wheel where that is installed, else let DuckDB find it."""
    with suppress(ImportError):
        importlib.import_module("duckdb_extensions").import_extension(name, con=con)
    try:
        con.execute(f"LOAD {name}")
    except duckdb.Error:
        extra = "ducklake" if name == "ducklake" else "postgres"
        raise WarehouseError(
            f"CIO_WAREHOUSE needs DuckDB's extension {name}: install cio-assets[{extra}], or run INSTALL {name} in "
            "DuckDB."
        ) from None
