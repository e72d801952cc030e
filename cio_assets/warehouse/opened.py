"""A warehouse that is opened for reading once, for many questions: nothing is made, and nobody is waited for long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import duckdb

from cio_assets.warehouse.database import ATTACHED, Warehouse, WarehouseAbsent, WarehouseBusy


class Opened(Warehouse):
    """A warehouse that is open already, for reading."""

    def __init__(self, of: Warehouse, con: duckdb.DuckDBPyConnection) -> None:
        super().__init__(of.uri, of.schema, scratch=of.scratch)
        self.connection = con

    @contextmanager
    def attached(self, connection: duckdb.DuckDBPyConnection | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """The connection that is there."""
        yield connection or self.connection


@contextmanager
def opened(warehouse: Warehouse, patience: float) -> Iterator[Opened]:
    """The warehouse open for reading while the block runs; an empty one where there is none.

    Raises `WarehouseBusy` where somebody else holds it for longer than `patience` seconds,
    and `WarehouseError`.
    """
    until = time.monotonic() + patience
    with ExitStack() as stack:
        while True:
            try:
                con = stack.enter_context(warehouse.attached_for_reading())
                break
            except WarehouseAbsent:
                con = stack.enter_context(warehouse.scratch_connection())
                con.execute(f"ATTACH ':memory:' AS {ATTACHED}")
                break
            except WarehouseBusy:
                if time.monotonic() >= until:
                    raise
                time.sleep(0.1)
        yield Opened(warehouse, con)
