"""Arrow tables and pandas frames of users' own assets as warehouse tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from cio_assets.warehouse.database import ATTACHED, Warehouse, quoted

if TYPE_CHECKING:
    import pandas as pd


def replace_table(warehouse: Warehouse, schema: str, name: str, rows: pa.Table | pd.DataFrame) -> int:
    """Replace a table by `rows`, columns and types as they come, in one transaction; answers the number of rows."""
    frame = rows if isinstance(rows, pa.Table) else pa.Table.from_pandas(rows, preserve_index=False)
    target = f"{ATTACHED}.{quoted(schema)}.{quoted(name)}"
    with warehouse.transaction() as con:
        con.register("frame", frame)
        con.execute(f"CREATE SCHEMA IF NOT EXISTS {ATTACHED}.{quoted(schema)}")
        con.execute(f"DROP TABLE IF EXISTS {target}")
        con.execute(f"CREATE TABLE {target} AS SELECT * FROM memory.main.frame")
        con.unregister("frame")
    return frame.num_rows
