"""Reads activities while a sync reads everything else: a list without parents or a time filter is one chain of pages.

Only requests and staging: the asset finds the rows staged, as those of an earlier run, and loads them.
"""

from __future__ import annotations

import threading
from contextlib import suppress

from cio_assets.assets.api import AppApi, Observer
from cio_assets.assets.read_rows import read_rows
from cio_assets.assets.reading import Wanted, plan_reading
from cio_assets.assets.sources import sources_of
from cio_assets.catalog import TABLES
from cio_assets.io_managers import make_warehouse
from cio_assets.warehouse.ledger import Ledger

ACTIVITIES = "activities"


class ReadAhead:
    """Reads in a thread that does not outlive the process: what it has read by then is staged."""

    def __init__(self, api: AppApi, wanted: Wanted, observer: Observer) -> None:
        self._api = api
        self._wanted = wanted
        self._observer = observer
        self._thread = threading.Thread(target=self._read, name="read-ahead", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wait(self) -> None:
        """Wait for its end. What went wrong is met again, and told, by the asset itself."""
        if self._thread.ident:
            self._thread.join()

    def _read(self) -> None:
        warehouse = make_warehouse(self._api.settings)
        with suppress(Exception):  # whatever it is, the asset meets it again, and tells it in its own way
            ledger = Ledger(warehouse, sources_of(self._api))
            ledger.check()
            table = TABLES[ACTIVITIES]
            plan = plan_reading(table, self._wanted, self._api, ledger, {}, warehouse.count(table.name))
            read_rows(plan, self._wanted, self._api, self._observer, ahead=True).staged.keep()
