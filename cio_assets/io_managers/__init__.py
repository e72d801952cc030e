"""The doors of Dagster: the warehouse, in and out."""

from __future__ import annotations

from cio_assets.io_managers.warehouse import (
    StoredTable,
    ViewOver,
    WarehouseIOManager,
    WarehouseLoad,
    make_warehouse,
)

__all__ = ["StoredTable", "ViewOver", "WarehouseIOManager", "WarehouseLoad", "make_warehouse"]
