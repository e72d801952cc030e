"""One warehouse, whatever it is made of: a DuckDB file, MotherDuck, DuckLake or Postgres, attached as `wh`."""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from tenacity import Retrying, retry_if_exception_message, stop_after_delay, wait_random_exponential

from cio_assets.turns import turn

ATTACHED = "wh"
_BUSY = r"(?i).*(could not set lock on file|conflicting lock|used by another process|database is locked).*"


class WarehouseError(Exception):
    """The warehouse cannot be used; says which and what to do, without credentials."""


def quoted(identifier: str) -> str:
    """An SQL identifier."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    """An SQL text literal."""
    return "'" + text.replace("'", "''") + "'"


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
        scheme = (re.match(r"(md|ducklake|postgres|postgresql):", uri, re.IGNORECASE) or ["", "duckdb"])[1].lower()
        self.kind = "postgres" if scheme == "postgresql" else scheme
        self._data_path = data_path
        self.label = uri if self.kind == "duckdb" else f"{self.kind}:…"
        # Writers queue here, fairly and briefly: DuckDB's own lock has no queue (dagster-facts.md).
        if self.kind == "duckdb":
            self._lock = Path(uri).with_name(Path(uri).name + ".lock")
        else:
            self._lock = scratch / f"warehouse-{hashlib.sha256(uri.encode()).hexdigest()[:16]}.lock"

    def scratch_connection(self) -> duckdb.DuckDBPyConnection:
        """A connection to nothing but memory and the scratch folder."""
        con = duckdb.connect(
            config={
                "memory_limit": self._memory_limit,
                # One: as fast for our loads as two, at half the buffers (README, Benchmarks).
                "threads": 1,
                "temp_directory": str(self.scratch / "spill"),
                "preserve_insertion_order": False,
                # Wide tables hold row groups of 122 880 rows in memory: one at a time, and given back at once.
                "write_buffer_row_group_count": 1,
                "allocator_flush_threshold": "16MB",
            }
        )
        con.execute("SET TimeZone = 'UTC'")
        con.execute("SET enable_progress_bar = false")
        return con

    @contextmanager
    def attached(self, connection: duckdb.DuckDBPyConnection | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """The warehouse attached as `wh`, its schema made if it is not there; raises `WarehouseError`.

        Holds the machine-wide lock, so fetch nothing over the network inside.
        """
        own = connection is None
        with self._locked():
            con = connection or self.scratch_connection()
            try:
                self._attach(con)
                yield con
            finally:
                with suppress(duckdb.Error):
                    con.execute("USE memory.main")
                    con.execute(f"DETACH {ATTACHED}")
                if own:
                    con.close()

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
        found = con.execute(
            "SELECT column_name, data_type FROM duckdb_columns() "
            "WHERE database_name = ? AND schema_name = ? AND table_name = ? ORDER BY column_index",
            [ATTACHED, schema or self.schema, table],
        ).fetchall()
        return dict(found)

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

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple]:
        """Rows of any SQL over the warehouse, its schema being the current one."""
        with self.attached() as con:
            return con.execute(sql, parameters).fetchall()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with ExitStack() as held:
            try:
                for folder in (self.scratch, self._lock.parent):
                    folder.mkdir(parents=True, exist_ok=True, mode=0o700 if folder == self.scratch else 0o777)
                held.enter_context(turn(self._lock))
            except OSError as error:
                ours = str(error.filename).startswith(str(self.scratch))
                what = f"DAGSTER_HOME: {self.scratch}" if ours else f"CIO_WAREHOUSE: the folder of {self.label}"
                raise WarehouseError(f"{what} cannot be written ({error.strerror}): give one that can.") from None
            yield

    def _attach(self, con: duckdb.DuckDBPyConnection) -> None:
        statement = f"ATTACH {literal(self.uri)} AS {ATTACHED}"
        if self.kind == "ducklake":
            _extension(con, "ducklake")
            if "postgres" in self.uri:
                _extension(con, "postgres_scanner")
        elif self.kind == "postgres":
            _extension(con, "postgres_scanner")
            dsn = self.uri if "//" in self.uri else self.uri.partition(":")[2]
            statement = f"ATTACH {literal(dsn)} AS {ATTACHED} (TYPE postgres)"
        if self.kind == "ducklake" and self._data_path:
            statement += f" (DATA_PATH {literal(self._data_path)})"
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
