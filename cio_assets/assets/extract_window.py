"""Reads deliveries of a span of time into staging, several stretches side by side so that latency costs nothing.

A cursor is a chain: a page names the next. So while a chain runs, its unread older part is cut in two when threads
and the budget would otherwise idle and enough pages are left to be worth the one more request that a cut may cost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from cio_assets.assets.extract import Extracted, Reader, Unit, cursor_refused
from cio_assets.catalog import Endpoint, Table
from cio_assets.catalog.shape import RowInvalid, Shaper
from cio_assets.catalog.windows import Window, windows
from cio_assets.customerio import AnswerInvalid, AppClient, Call, NotFound, Page, Paging, RequestRefused
from cio_assets.warehouse import Staging

_WORTH_CUTTING = 4
"""Pages that must be left of a chain to cut it."""

_PAGES_PER_CUT = 32
"""Pages read for each further cut: a cut costs about a request, three in a hundred here."""

_CHAINS = "chains"

_FIRST_CUTS = 2
"""Cuts at the start, where the first pages promise at least half as many pages for each."""


@dataclass
class _Chain:
    """Pages of one window from the newest delivery on; `stop` is the second before which another chain takes over."""

    window: Window
    stop: int
    resume: Mapping[str, Any] | None = None
    oldest: int | None = None
    page_top: int | None = None
    ordered: bool = True
    rows_per_second: float = 0.0
    restarted: bool = False
    cursors: set[Any] = field(default_factory=set)

    def place(self) -> dict[str, Any]:
        """What another run needs to go on, for the journal."""
        return {
            "first": self.window.first,
            "last": self.window.last,
            "stop": self.stop,
            "resume": self.resume,
            "oldest": self.oldest,
            "page_top": self.page_top,
            "ordered": self.ordered,
            "rows_per_second": self.rows_per_second,
        }

    @staticmethod
    def at(place: Mapping[str, Any]) -> _Chain:
        """The chain at such a place."""
        rest = {name: value for name, value in place.items() if name not in ("first", "last")}
        return _Chain(Window(place["first"], place["last"]), **rest)

    def pages_left(self, page_size: int) -> float:
        """Estimate, from the density of what was read."""
        if self.oldest is None or not self.ordered or self.oldest - self.stop < 2:
            return 0.0
        return max(0, self.oldest - self.stop) * self.rows_per_second / page_size


def extract_window(table: Table, client: AppClient, staging: Staging, start: datetime, end: datetime) -> Extracted:
    """Stage every delivery created in `[start, end)`, behind what an earlier run left in the staging.

    Raises what the client raises, and `RowInvalid`.
    """
    if table.endpoint is None or table.endpoint.page_size is None:
        raise ValueError(f"{table.name} is not read by windows")
    reader = _Reader(table, table.endpoint, table.endpoint.page_size, client, staging)
    return Extracted(reader.read(windows(start, end)))


def extract_drafts(
    table: Table, client: AppClient, staging: Staging, start: datetime, end: datetime, columns: Sequence[str]
) -> list[list[Any]]:
    """The `columns` of drafts created in `[start, end)`: the list of deliveries leaves them out, metrics count them."""
    if table.endpoint is None:
        raise ValueError(f"{table.name} is not read by windows")
    reader = Reader(table, table.endpoint, client, staging)
    found: list[list[Any]] = []
    for window in windows(start, end):
        query = {"drafts": True, "limit": table.endpoint.page_size, **window.query}
        unit = Unit(Call(table.endpoint.method, table.endpoint.path, {}, query), {})
        chain = reader.walk(unit, only_note=lambda rows: [[row[name] for name in columns] for row in rows])
        found += [values for page in chain.notes for values in page]
    return found


class _Reader:
    """Keeps up to `client.workers` chains under way; pages are taken in by the thread that calls `read`."""

    def __init__(self, table: Table, endpoint: Endpoint, page_size: int, client: AppClient, staging: Staging) -> None:
        self._endpoint = endpoint
        self._page_size = page_size
        self._client = client
        self._staging = staging
        self._shaper = Shaper(table)
        self._waiting: deque[_Chain] = deque()
        self._running: dict[Future[Page], _Chain] = {}
        self._cuts = 0
        self._pages = 0
        self._promised: float | None = None

    def read(self, spans: Iterable[Window]) -> int:
        """Stage the deliveries of the windows; answers the number of chains it took."""
        left = self._staging.noted.get(_CHAINS)
        if left is None:
            self._waiting.extend(_Chain(window, window.first) for window in spans)
        else:
            self._waiting.extend(map(_Chain.at, left))
        chains = len(self._waiting)
        pool = ThreadPoolExecutor(self._client.workers, thread_name_prefix="deliveries")
        try:
            while self._waiting or self._running:
                while self._waiting and len(self._running) < self._client.workers:
                    chain = self._waiting.popleft()
                    self._running[pool.submit(self._fetch, chain, chain.resume)] = chain
                for done in wait(self._running, return_when=FIRST_COMPLETED).done:
                    chain = self._running.pop(done)
                    try:
                        page = done.result()
                    except (NotFound, RequestRefused) as error:
                        self._begin_anew(chain, error)
                    else:
                        self._take(chain, page)
                chains += self._cut_the_longest()
        finally:
            # The threads only fetch: after an error the client's close ends what they still wait for.
            pool.shutdown(wait=False, cancel_futures=True)
        return chains

    def _fetch(self, chain: _Chain, resume: Mapping[str, Any] | None) -> Page:
        query = {**self._endpoint.query, "limit": self._page_size, **chain.window.query}
        call = Call(self._endpoint.method, self._endpoint.path, {}, query)
        return next(self._client.pages(call, Paging(self._endpoint.paging), self._endpoint.items, resume))

    def _take(self, chain: _Chain, page: Page) -> None:
        try:
            rows = [self._shaper.row(item, {}) for item in page.items]
        except RowInvalid as error:
            raise RowInvalid(f"{self._endpoint.method} {self._endpoint.path}: {error}") from None
        self._pages += 1
        _observe(chain, [row["created"] for row in rows if row["created"] is not None])
        # What is older than the chain's stop comes with the chain that was cut off.
        wanted = [row for row in rows if row["created"] is None or row["created"] >= chain.stop]
        finished = chain.ordered and chain.oldest is not None and chain.oldest < chain.stop
        if page.next is not None and not finished:
            if page.next.get("start") in chain.cursors:
                where = f"{self._endpoint.method} {self._endpoint.path}"
                raise AnswerInvalid(f"{where}: the answer's 'next' came before: the list would never end")
            chain.cursors.add(page.next.get("start"))
            chain.resume = page.next
            self._waiting.append(chain)
        # With the rows, where every chain now is: a run that dies goes on there.
        alive = [*self._running.values(), *self._waiting]
        self._staging.append(wanted, noted={_CHAINS: [one.place() for one in alive]})

    def _begin_anew(self, chain: _Chain, error: NotFound | RequestRefused) -> None:
        """The chain's cursor is refused: ask anew for what it has not brought yet."""
        if chain.restarted or not cursor_refused(chain.resume, error):
            raise error
        last = chain.oldest if chain.ordered and chain.oldest is not None else chain.window.last
        anew = _Chain(Window(chain.stop, max(chain.stop, last)), chain.stop, restarted=True)
        self._waiting.append(anew)

    def _cut_the_longest(self) -> int:
        """Cut a chain in two if the budget would idle and it is worth a request; answers the number of cuts."""
        alive = [*self._running.values(), *self._waiting]
        if not alive or len(alive) >= self._client.workers:
            return 0
        if self._promised is None and all(chain.oldest is not None for chain in alive):
            self._promised = sum(chain.pages_left(self._page_size) for chain in alive)
        if self._client.budget_used_up:
            return 0
        longest = max(alive, key=lambda chain: chain.pages_left(self._page_size))
        # The promise supposes that deliveries lie evenly; pages that were read are sure.
        earned = min(_FIRST_CUTS, (self._promised or 0) // (_PAGES_PER_CUT / 2)) + self._pages // _PAGES_PER_CUT
        if self._cuts >= earned or longest.pages_left(self._page_size) < _WORTH_CUTTING:
            return 0
        self._cuts += 1
        self._waiting.append(_cut(longest))
        return 1


def _observe(chain: _Chain, created: list[int]) -> None:
    """Learn from a page how far the chain has come and how dense the deliveries lie."""
    if not created:
        return
    descending = all(later >= earlier for later, earlier in pairwise(created))
    if not descending or (chain.page_top is not None and created[0] > chain.page_top):
        chain.ordered = False  # only newest first allows to stop early
    chain.page_top = created[0]
    # The mean of all that was read: one newsletter, sent within minutes, says little of the rest.
    read = chain.rows_per_second * _seconds_read(chain) + len(created)
    chain.oldest = min(created) if chain.oldest is None else min(chain.oldest, *created)
    chain.rows_per_second = read / _seconds_read(chain)


def _seconds_read(chain: _Chain) -> int:
    oldest = chain.window.last if chain.oldest is None else chain.oldest
    return max(1, chain.window.last + 1 - oldest)


def _cut(chain: _Chain) -> _Chain:
    """The older half of what is left of a chain, as a chain of its own; no second belongs to both."""
    oldest = chain.oldest if chain.oldest is not None else chain.window.last
    middle = (oldest + chain.stop) // 2
    older = _Chain(Window(chain.stop, middle - 1), chain.stop)
    chain.stop = middle
    return older
