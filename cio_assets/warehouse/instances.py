"""DuckDB instances to work in, kept for the next use: to make and end one takes longer than a small table's load."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, Full, LifoQueue
from typing import Any

import duckdb

from cio_assets.warehouse.sql import literal

_KEPT = 2
"""So many idle ones are kept: who reads and who loads."""

_idle: defaultdict[int, LifoQueue[duckdb.DuckDBPyConnection]] = defaultdict(lambda: LifoQueue(_KEPT))
"""By process: what was made before a fork is not used behind it."""

_LEFT = """SELECT (SELECT count(*) FROM duckdb_databases() WHERE NOT internal AND database_name <> 'memory')
                + (SELECT count(*) FROM duckdb_tables())
                + (SELECT count(*) FROM duckdb_views() WHERE NOT internal)"""


@contextmanager
def instance(scratch: Path, memory_limit: str, *, keep: bool) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to an instance of its own, with nothing but memory and a folder in `scratch` for what does not fit.

    `keep`: it may serve again, unless it met an error, spilled, or something is left in it.
    """
    # Of its own: DuckDB names its temporary files alike in every process.
    spill = tempfile.mkdtemp(prefix="spill-", dir=scratch)
    made = None
    try:
        made = _take(spill, memory_limit)
        with made.cursor() as con:  # what is temporary, and whatever is set for a session, ends with it
            con.execute("SET TimeZone = 'UTC'")
            con.execute("SET enable_progress_bar = false")
            yield con
        if keep:
            made = _put_back(made)
    finally:
        if made is not None:
            made.close()
        shutil.rmtree(spill, ignore_errors=True)


def _take(spill: str, memory_limit: str) -> duckdb.DuckDBPyConnection:
    config: dict[str, Any] = {
        "memory_limit": memory_limit,
        "temp_directory": spill,
        # One: as fast for our loads as two, at half the buffers.
        "threads": 1,
        "preserve_insertion_order": False,
        # Wide tables hold whole row groups in memory: one at a time, and given back at once.
        "write_buffer_row_group_count": 1,
        "allocator_flush_threshold": "16MB",
        # Parquet in a bucket would stay in memory for as long as the instance is kept.
        "enable_external_file_cache": False,
    }
    with suppress(Empty):
        idle = _idle[os.getpid()].get_nowait()
        try:
            for name, value in config.items():
                idle.execute(f"SET {name} = {literal(str(value))}")  # DuckDB loads pandas to look at a parameter
        except duckdb.Error:
            idle.close()
        else:
            return idle
    return duckdb.connect(config=config)


def _put_back(used: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection | None:
    """Keep it if it is as good as new; answers it if it is not."""
    try:
        ((left,),) = used.execute(_LEFT).fetchall()
        used.execute("SET temp_directory = ''")
        if left:
            return used
        _idle[os.getpid()].put_nowait(used)
    except (duckdb.Error, Full):  # it spilled, and holds on to its folder; or there are enough
        return used
    return None


def forget() -> None:
    """End the idle ones of this process."""
    idle = _idle[os.getpid()]
    while not idle.empty():
        idle.get().close()
