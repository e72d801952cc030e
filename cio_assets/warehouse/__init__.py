"""The warehouse: attach it, stage pages on disk, load them in one transaction, read them back. SQL only, no HTTP."""

from __future__ import annotations

from cio_assets.warehouse.database import Warehouse, WarehouseError
from cio_assets.warehouse.load import LoadResult, load
from cio_assets.warehouse.staging import Chain, Staged, Staging

__all__ = ["Chain", "LoadResult", "Staged", "Staging", "Warehouse", "WarehouseError", "load"]
