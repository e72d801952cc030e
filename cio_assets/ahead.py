"""Reads tables of a sync beside the run that loads them, so that there is always something to ask.

A run reads, loads and notes one table after the other, and while it loads and notes nobody would ask. Meanwhile other
tables are read here, those whose parents are loaded: only requests and staging. Their assets find the rows staged, as
those of an earlier run, and load them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping
from contextlib import suppress

from cio_assets.assets.api import AppApi, Observer
from cio_assets.assets.factory import parent_columns
from cio_assets.assets.read_rows import read_rows
from cio_assets.assets.reading import DELIVERIES, Plan, Wanted, plan_stored
from cio_assets.catalog import TABLES, Table
from cio_assets.customerio import CustomerioError
from cio_assets.io_managers import StoredTable, make_warehouse
from cio_assets.warehouse import WarehouseError

STILL_SO = 300
"""Seconds for which an error that a reading met is that of its asset too: the service is not asked in vain twice."""

READERS = 2
"""Threads: activities are one long chain of pages, which the others shall not wait for."""


class ReadAhead:
    """Reads `wanted`, the first that it can first: one table alone, so that a key that does not work is tried once.

    Its threads do not outlive the process: what they have read by then is staged.
    """

    def __init__(self, api: AppApi, wanted: Mapping[str, Wanted], observer: Observer | None) -> None:
        self._api = api
        self._wanted = wanted
        self._observer = observer or (lambda *_: None)
        self._todo = [name for name in wanted if not TABLES[name].view]
        self._reading: set[str] = set()
        self._taken: set[str] = set()
        self._loaded: set[str] = set()
        self._plans: dict[str, Plan] = {}
        self._met: dict[str, tuple[float, CustomerioError | WarehouseError]] = {}
        self._moved = threading.Condition()
        first = self._choose()
        self._tried = first is None
        api.before_reading, api.after_reading, api.after_loading = self._take, self._note_read, self._note_loaded
        threading.Thread(target=self._begin, args=[first], name="read-ahead", daemon=True).start()

    def close(self) -> None:
        """Begin no other table."""
        with self._moved:
            self._todo.clear()
            self._moved.notify_all()

    def leave(self, tables: Collection[str]) -> None:
        """The assets of these have run, whatever came of it."""
        with self._moved:
            self._todo = [name for name in self._todo if name not in tables]
            self._taken.difference_update(tables)
            for name in tables:
                self._plans.pop(name, None)
            self._moved.notify_all()

    def _take(self, table: str) -> Plan | None:
        """Leave a table to its asset: at once, or when it is read. Answers how it was asked; raises what was met."""
        with self._moved:
            if table in self._todo:
                self._todo.remove(table)
            self._moved.wait_for(lambda: self._tried and table not in self._reading)
            when, met = self._met.pop(table, (0.0, None))
            if met and time.monotonic() - when < STILL_SO:
                raise met
            self._taken.add(table)
            return self._plans.pop(table, None)

    def _note_read(self, table: str) -> None:
        with self._moved:
            self._taken.discard(table)
            self._moved.notify_all()

    def _note_loaded(self, table: str) -> None:
        with self._moved:
            self._loaded.add(table)
            self._moved.notify_all()

    def _begin(self, first: str | None) -> None:
        try:
            if first:
                self._read_one(first)
        finally:
            with self._moved:
                self._tried = True
                self._moved.notify_all()
        for number in range(1, READERS):
            threading.Thread(target=self._work, name=f"read-ahead-{number}", daemon=True).start()
        self._work()

    def _work(self) -> None:
        while table := self._next():
            self._read_one(table)

    def _read_one(self, table: str) -> None:
        try:
            with suppress(Exception):  # whatever it is, the asset meets it again, and tells it in its own way
                self._read(TABLES[table])
        finally:
            with self._moved:
                self._reading.remove(table)
                self._moved.notify_all()

    def _next(self) -> str | None:
        """A table that can be read now; waits for one, None when there will be no other."""
        with self._moved:
            while self._todo:
                if table := self._choose():
                    return table
                self._moved.wait()
            return None

    def _choose(self) -> str | None:
        """The first table that can be read now is being read from here on."""
        table = next((name for name in self._todo if self._is_due(TABLES[name])), None)
        if table:
            self._todo.remove(table)
            self._reading.add(table)
        return table

    def _is_due(self, table: Table) -> bool:
        # Nobody asks during the last load: it shall be a short one, so the longest of the metrics are read before.
        unread = (*self._todo, *self._reading, *self._taken)
        longer = table.series == 1 and any(TABLES[name].series == 2 for name in unread)
        return not longer and self._needs(table) <= self._loaded

    def _needs(self, table: Table) -> set[str]:
        """What this very sync has to load before: parents, and of metrics the deliveries that tell whose moved."""
        needed = {parent.table for parent in table.parents} | ({DELIVERIES} if table.series else set())
        return needed & self._wanted.keys()

    def _read(self, table: Table) -> None:
        warehouse, wanted = make_warehouse(self._api.settings), self._wanted[table.name]
        parents = {
            parent.table: StoredTable(warehouse, parent.table, parent_columns(parent)) for parent in table.parents
        }
        plan = self._plans[table.name] = plan_stored(table, wanted, self._api, warehouse, parents)
        try:
            read_rows(plan, wanted, self._api, self._observer, ahead=True).staged.keep()
        except (CustomerioError, WarehouseError) as error:  # not to be paid for twice
            self._met[table.name] = time.monotonic(), error
