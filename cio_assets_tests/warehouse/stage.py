"""What tests of the warehouse share: staged rows, and programs run as a user who is not root."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cio_assets.catalog import TABLES, Table
from cio_assets.warehouse import LoadResult, Staged, Staging, Warehouse, load
from cio_assets.warehouse.load import Replace

MONDAY = datetime(2026, 2, 2, 6, 0, tzinfo=UTC)
TUESDAY = datetime(2026, 2, 3, 6, 0, tzinfo=UTC)
WEDNESDAY = datetime(2026, 2, 4, 6, 0, tzinfo=UTC)

NOBODY = 65534


def stage(
    folder: Path, *pages: Iterable[Mapping[str, Any]], spans: Sequence[Mapping[str, Any]] = (), name: str = "test"
) -> Staged:
    """Rows as if they had come in these pages."""
    with Staging(folder, name) as staging:
        for page in pages:
            staging.append(page)
        for span in spans:
            staging.add_span(span)
        return staging.finish()


def put(
    warehouse: Warehouse,
    table: str | Table,
    *pages: Iterable[Mapping[str, Any]],
    at: datetime = MONDAY,
    spans: Sequence[Mapping[str, Any]] = (),
    replace: Replace | None = None,
) -> LoadResult:
    """Stage and load."""
    staged = stage(warehouse.scratch, *pages, spans=spans)
    try:
        return load(warehouse, TABLES[table] if isinstance(table, str) else table, staged, at, replace)
    finally:
        staged.discard()


def unix(text: str) -> int:
    """Unix seconds of a time in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def python(code: str, *arguments: str, ordinary_user: bool = False) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, on request as a user whom file permissions bind (root they do not)."""
    code = textwrap.dedent(code)
    if ordinary_user:
        imports, _, rest = code.partition("# as an ordinary user\n")
        drop = f"import os\nif os.getuid() == 0:\n    os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        code = imports + drop + rest
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120, check=False, env=clean()
    )


def clean() -> dict[str, str]:
    """The environment without this project's variables."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("CIO_", "CUSTOMERIO_", "DAGSTER_"))}
