"""Who read: the workspace, and the version of what is asked and stored. What another source has read is not known."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from cio_assets.assets.api import AppApi
from cio_assets.catalog import TABLES, Table


def code_version(table: Table) -> str:
    """Changes when what is asked or stored changes."""
    said = repr([value for name, value in vars(table).items() if name not in ("clean", "description", "docs")])
    said += repr(sorted(table.clean))
    return hashlib.sha256(said.encode()).hexdigest()[:12]


def sources_of(api: AppApi) -> Callable[[str], str]:
    """The source of a table's rows, for the ledger."""
    workspace = api.workspace[:16]
    return lambda table: f"{workspace} {code_version(TABLES[table])}"
