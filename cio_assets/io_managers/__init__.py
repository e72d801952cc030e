"""The doors of Dagster: the warehouse, in and out."""

from __future__ import annotations

from cio_assets.io_managers.warehouse import ViewOver, WarehouseIOManager, WarehouseLoad, make_warehouse

__all__ = ["ViewOver", "WarehouseIOManager", "WarehouseLoad", "make_warehouse"]
