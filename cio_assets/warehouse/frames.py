"""What users' own assets return as warehouse tables: Arrow tables, pandas frames, SQL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from cio_assets.warehouse.database import ATTACHED, Warehouse, WarehouseError
from cio_assets.warehouse.sql import quoted

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Relation:
    """Rows by SQL over the warehouse: `schema.table`, or a SELECT, for which the synced tables need no schema."""

    sql: str

    @property
    def query(self) -> str:
        """The SELECT, without a semicolon at its end."""
        sql = self.sql.strip().rstrip(";").rstrip()
        return f"SELECT * FROM {sql}" if re.fullmatch(r'("[^"]+"|\w+)(\.("[^"]+"|\w+))*', sql) else sql


def replace_table(warehouse: Warehouse, schema: str, name: str, rows: Relation | pa.Table | pd.DataFrame) -> int:
    """Replace a table by `rows`, columns and types as they come, in one transaction; answers the number of rows."""
    target = f"{ATTACHED}.{quoted(schema)}.{quoted(name)}"
    try:
        frame: Any = rows
        if not isinstance(rows, (Relation, pa.Table)):
            frame = pa.Table.from_pandas(rows, preserve_index=False)
        with warehouse.transaction() as con:
            if isinstance(rows, Relation):
                # First beside it: the SQL may read the table that it replaces.
                con.execute(f"CREATE TEMP TABLE frame AS {rows.query}")
            else:
                con.register("frame", frame)
            source = "temp.main.frame" if isinstance(rows, Relation) else "memory.main.frame"
            (count,) = con.execute(f"SELECT count(*) FROM {source}").fetchall()[0]
            con.execute(f"CREATE SCHEMA IF NOT EXISTS {ATTACHED}.{quoted(schema)}")
            con.execute(f"DROP TABLE IF EXISTS {target}")
            con.execute(f"CREATE TABLE {target} AS SELECT * FROM {source}")
            return count
    except (pa.ArrowException, duckdb.Error, ValueError) as error:  # ValueError: two columns of one name
        fault = sql_fault(error) if isinstance(rows, Relation) else frame_fault(error)
        raise WarehouseError(f"{schema}.{name} could not be written, it is as it was: {fault}.") from None


def sql_fault(error: Exception) -> str:
    """What was wrong with somebody's SQL, without the values that some of DuckDB's messages quote."""
    safe = isinstance(error, (duckdb.CatalogException, duckdb.BinderException, duckdb.ParserException))
    told = f": {str(error).splitlines()[0]}" if safe else ""
    return f"its SQL failed with {type(error).__name__}{told}"


def frame_fault(error: Exception) -> str:
    """Why a frame could not be read, and what to do; the messages themselves quote values."""
    column = re.search(r"Conversion failed for column (\S+)", str(error))
    where = f" in column {column[1]}" if column else ""
    return f"{type(error).__name__}{where}: give every column one type and a name of its own"
