"""A few requests before a sync that tell how much there is to ask: the lists of parents, the first page of long lists.

They are read as a sync reads them, into a warehouse that is thrown away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cio_assets.assets.api import AppApi
from cio_assets.assets.costs import Estimate, from_a_page, largest
from cio_assets.assets.extract import Reader, Unit, units_of
from cio_assets.catalog import TABLES, Table
from cio_assets.catalog.windows import Window
from cio_assets.customerio import AppClient, Call
from cio_assets.warehouse import Staging, Warehouse, load

_MOST_PAGES = 2
"""Pages of a list of parents that are asked at most."""

_PAGES_TO_ROWS = 3
"""Pages of a long list that are asked until one holds rows: an empty page may carry on."""

_MOST_WINDOWS = 2
"""Windows of deliveries of which a page is asked."""

_ATTEMPTS = 3
_ACTIVITY_SECONDS = 30 * 86_400
"""How long the API keeps activities for sure (customerio-api.md, section 6)."""


@dataclass
class Looked:
    """What was found: lists of parents (their rows are in `warehouse`), counts of the workspace, rows of long lists."""

    warehouse: Warehouse | None = None
    pages: dict[str, int] = field(default_factory=dict)
    """Of each list that was read to its end, the requests that it took."""
    counts: Mapping[str, int | None] = field(default_factory=dict)
    rows: dict[str, Estimate] = field(default_factory=dict)
    requests: int = 0


@dataclass(frozen=True)
class Wish:
    """What is to be looked at: lists, a workspace's counts, windows of deliveries, activities."""

    lists: Iterable[str] = ()
    counts: bool = False
    windows: Iterable[Window] = ()
    activities: bool = False


def look(api: AppApi, wish: Wish, folder: Path) -> Looked:
    """Ask; `folder` is a temporary one. Raises what the client raises, and `RowInvalid`."""
    looked = Looked(Warehouse(str(folder / "lists.duckdb"), "lists", scratch=folder / "staging"))
    with api.client(max_attempts=_ATTEMPTS) as client:
        lists = _Lists(client, looked, folder / "staging", api.now())
        for name in wish.lists:
            lists.read(TABLES[name])
        if wish.counts:
            looked.counts = lists.counts()
        windows = list(wish.windows)
        if windows:
            looked.rows["messages"] = lists.deliveries(windows)
        if wish.activities:
            looked.rows["activities"] = lists.activities()
        looked.requests = client.usage.snapshot().requests
    return looked


class _Lists:
    def __init__(self, client: AppClient, looked: Looked, staging: Path, now: datetime) -> None:
        self._client = client
        self._looked = looked
        self._staging = staging
        self._now = now

    def read(self, table: Table) -> None:
        """Load the list, unless it is longer than a few pages."""
        with Staging(self._staging, table.name) as staging:
            pages, ended = 0, False
            reader, (unit,) = self._reader(table, staging)
            chain = staging.chain(table.name)
            for page, rows in reader.pages(unit, chain):
                staging.page(chain, rows, page.next)
                pages, ended = pages + 1, page.next is None
                if pages == _MOST_PAGES:
                    break
            staged = staging.finish()
        if ended and self._looked.warehouse:
            load(self._looked.warehouse, table, staged, self._now)
            self._looked.pages[table.name] = pages
        staged.discard()

    def counts(self) -> Mapping[str, int | None]:
        table = TABLES["workspaces"]
        with Staging(self._staging, table.name) as staging:
            reader, (unit,) = self._reader(table, staging)
            found = [row for _, rows in reader.pages(unit, staging.chain(table.name)) for row in rows]
            staging.finish().discard()
        return largest(found)

    def deliveries(self, windows: list[Window]) -> Estimate:
        """Rows in all windows, from a page of each of the latest."""
        table = TABLES["messages"]
        found = [self._first_rows(table, "created", window) for window in windows[-_MOST_WINDOWS:]]
        each = sum(one.number for one in found) / len(found)
        return Estimate(round(each * len(windows)), max(one.sure for one in found))

    def activities(self) -> Estimate:
        """Rows that the list holds, roughly, from one page."""
        now = int(self._now.timestamp())
        return self._first_rows(TABLES["activities"], "timestamp", Window(now - _ACTIVITY_SECONDS, now), by_time=False)

    def _first_rows(self, table: Table, time: str, window: Window, *, by_time: bool = True) -> Estimate:
        with Staging(self._staging, table.name) as staging:
            reader, (unit, *_) = self._reader(table, staging)
            call = unit.call
            query = {**call.query, **(window.query if by_time else {})}
            asked = Unit(Call(call.method, call.path, call.path_params, query), unit.given)
            times: list[int] = []
            ended = False
            for number, (page, rows) in enumerate(reader.pages(asked, staging.chain(table.name)), 1):
                times += [row[time] for row in rows if row[time] is not None]
                ended = page.next is None
                if times or number == _PAGES_TO_ROWS:
                    break
            staging.finish().discard()
        if table.endpoint and table.endpoint.page_size and len(times) < table.endpoint.page_size:
            ended = True
        return from_a_page(times, window.first, min(window.last, int(self._now.timestamp())), ended=ended)

    def _reader(self, table: Table, staging: Staging) -> tuple[Reader, list[Unit]]:
        if table.endpoint is None:
            raise ValueError(f"{table.name} is not read from the API")
        units = list(units_of(table, table.endpoint, None, None))
        return Reader(table, table.endpoint, self._client, staging), units
