"""Every endpoint that is read, as data: path, envelope, paging, key, columns, parent, refresh. No I/O.

To add an endpoint is to add one row: table, asset, description, checks and documentation follow from it.
"""

from __future__ import annotations

from cio_assets.catalog import messaging, metrics, people, workspace
from cio_assets.catalog.model import Column, Endpoint, Parent, Refresh, Table, Type, View

TABLES: dict[str, Table] = {
    table.name: table
    for table in sorted(
        (*messaging.TABLES, *people.TABLES, *workspace.TABLES, *metrics.TABLES), key=lambda table: table.name
    )
}
"""All tables by name."""

__all__ = ["TABLES", "Column", "Endpoint", "Parent", "Refresh", "Table", "Type", "View"]
