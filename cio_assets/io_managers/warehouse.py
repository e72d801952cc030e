"""The warehouse as Dagster's IO manager: loads what an asset staged, hands upstream tables to downstream assets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow as pa

from cio_assets.catalog import TABLES, Refresh, Table
from cio_assets.settings import Settings
from cio_assets.warehouse import LoadResult, Staged, Warehouse, load
from cio_assets.warehouse.frames import Relation, replace_table
from cio_assets.warehouse.ledger import Reading
from cio_assets.warehouse.load import Replace, Scope, create_view

if TYPE_CHECKING:  # pandas is loaded where it is used: a sync does without its 45 MB
    import pandas as pd


def make_warehouse(settings: Settings) -> Warehouse:
    """The warehouse of the settings."""
    return Warehouse(
        settings.warehouse, settings.warehouse_schema, scratch=settings.staging_dir, data_path=settings.data_path
    )


@dataclass
class WarehouseLoad:
    """Output of an asset that read the API: rows in staging, to be loaded by the table's refresh rule."""

    table: Table
    staged: Staged
    read_at: datetime
    """When the reading began."""
    replace: Replace | None = None
    scope: Scope | None = None
    reading: Reading | None = None
    loaded: LoadResult | None = None
    """What the load did: set by the IO manager, for the checks that the asset makes afterwards."""


@dataclass(frozen=True)
class ViewOver:
    """Output of an asset that is a view of another table."""

    view: Table
    of: Table


@dataclass(frozen=True)
class StoredTable:
    """Input of an asset that reads it when it wants to.

    Within `warehouse.attached()` it is read in one opening with what else is asked there.
    """

    warehouse: Warehouse
    name: str
    columns: Sequence[str] | None = None
    where: str | None = None
    schema: str | None = None

    def read(self) -> pa.Table:
        """The asked columns of the live rows; raises `WarehouseError` where there is no table."""
        return self.warehouse.read(self.name, self.columns, self.where, self.schema)


class WarehouseIOManager(dg.IOManager):
    """Writes in one transaction and reads back as pandas or Arrow.

    Accepts `WarehouseLoad`, `ViewOver`, and from users' own assets an Arrow table, a pandas DataFrame or a `Relation`
    (SQL over the warehouse), which replaces the table of the asset's name. An input annotated `pd.DataFrame` arrives
    as pandas, one annotated `StoredTable` unread, else as `pyarrow.Table`; the input's metadata `columns` (a list of
    names) says which columns are wanted. Rows marked as deleted are left out.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Load `obj` into the table of the asset's key; adds row counts to the materialization's metadata."""
        if isinstance(obj, WarehouseLoad):
            try:
                result = load(
                    self.warehouse,
                    obj.table,
                    obj.staged,
                    obj.read_at,
                    obj.replace,
                    scope=obj.scope,
                    reading=obj.reading,
                )
            except BaseException:
                obj.staged.keep()  # what was read is loaded by the next run
                raise
            obj.staged.discard()
            obj.loaded = result
            metadata: dict[str, Any] = {
                "dagster/row_count": result.rows_in_table,
                "rows_in_slice": result.rows_in_slice,
                "rows_with_unknown_fields": result.rows_with_unknown_fields,
            }
            if obj.table.refresh is Refresh.SNAPSHOT:
                metadata["rows_marked_deleted"] = result.rows_marked_deleted
            if context.has_asset_partitions and len(context.asset_partition_keys) == 1:
                metadata["dagster/partition_row_count"] = result.rows_in_slice
        elif isinstance(obj, ViewOver):
            metadata = {"dagster/row_count": create_view(self.warehouse, obj.view, obj.of)}
        elif isinstance(obj, (pa.Table, Relation)) or _is_frame(type(obj)):
            if context.has_asset_partitions:
                raise dg.Failure(
                    f"{context.asset_key.to_user_string()} is partitioned, and a frame replaces the whole table: write "
                    "partitions with SQL (dagster-duckdb's DuckDBResource), or leave the partitions out."
                )
            schema, name = _schema_and_table(context.asset_key, self.warehouse)
            if schema == self.warehouse.schema and name in TABLES:
                raise dg.Failure(
                    f"{context.asset_key.to_user_string()} would replace the synced table {schema}.{name}: give the "
                    "asset another name or key prefix."
                )
            metadata = {"dagster/row_count": replace_table(self.warehouse, schema, name, obj)}
        else:
            raise dg.Failure(
                f"{context.asset_key.to_user_string()} returned {type(obj).__name__}: the warehouse takes a pandas "
                "DataFrame, a pyarrow Table or a Relation (SQL)."
            )
        context.add_output_metadata(metadata)

    def load_input(self, context: dg.InputContext) -> pa.Table | pd.DataFrame | StoredTable:
        """The upstream table: the asked columns, live rows, and of a partitioned table the asked days."""
        schema, name = _schema_and_table(context.asset_key, self.warehouse)
        metadata: Mapping[str, Any] = context.definition_metadata or {}
        columns = metadata.get("columns")
        table = TABLES.get(name) if schema == self.warehouse.schema else None
        where = None
        # A reader without partitions wants the history too, which may begin before the first partition.
        days = any(context.step_context.has_asset_partitions_for_output(out.name) for out in _outputs(context))
        if table and table.refresh is Refresh.WINDOW and context.has_asset_partitions and days:
            window = context.asset_partitions_time_window
            where = f"created >= '{window.start.isoformat()}' AND created < '{window.end.isoformat()}'"
        stored = StoredTable(self.warehouse, name, list(columns) if columns else None, where, schema)
        asked = context.dagster_type.typing_type
        if asked is StoredTable:
            return stored
        return stored.read().to_pandas() if _is_frame(asked) else stored.read()


def _outputs(context: dg.InputContext) -> Sequence[Any]:
    return context.step_context.step.step_outputs


def _is_frame(type_: Any) -> bool:
    """Whether this is `pandas.DataFrame`, told without loading pandas."""
    return getattr(type_, "__name__", "") == "DataFrame" and type_.__module__.split(".")[0] == "pandas"


def _schema_and_table(key: dg.AssetKey, warehouse: Warehouse) -> tuple[str, str]:
    """Our tables stand in the settings' schema, others in one of their prefix; without prefix in `public`."""
    *prefix, name = key.path
    return (warehouse.schema if prefix == ["customerio"] else "__".join(prefix) or "public"), name
