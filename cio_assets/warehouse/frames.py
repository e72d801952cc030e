"""Arrow tables and pandas frames of users' own assets as warehouse tables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from cio_assets.warehouse.database import ATTACHED, Warehouse, WarehouseError, quoted

if TYPE_CHECKING:
    import pandas as pd


def replace_table(warehouse: Warehouse, schema: str, name: str, rows: pa.Table | pd.DataFrame) -> int:
    """Replace a table by `rows`, columns and types as they come, in one transaction; answers the number of rows."""
    target = f"{ATTACHED}.{quoted(schema)}.{quoted(name)}"
    try:
        frame: Any = rows if isinstance(rows, pa.Table) else pa.Table.from_pandas(rows, preserve_index=False)
        with warehouse.transaction() as con:
            con.register("frame", frame)
            con.execute(f"CREATE SCHEMA IF NOT EXISTS {ATTACHED}.{quoted(schema)}")
            con.execute(f"DROP TABLE IF EXISTS {target}")
            con.execute(f"CREATE TABLE {target} AS SELECT * FROM memory.main.frame")
            con.unregister("frame")
        return len(frame)
    except (pa.ArrowException, duckdb.Error) as error:
        # Both quote values.
        column = re.search(r"Conversion failed for column (\S+)", str(error))
        raise WarehouseError(
            f"{schema}.{name} could not be written ({type(error).__name__}"
            f"{f' in column {column[1]}' if column else ''}); it is as it was. Give every column one type."
        ) from None
