"""Reads deliveries of a span of time into staging, several stretches side by side so that latency costs nothing.

A cursor is a chain: a page names the next. So while a chain runs, its unread older part is cut in two when threads
would otherwise idle and enough pages are left to be worth the one more request that a cut may cost.
"""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from cio_assets.assets.extract import Extracted
from cio_assets.catalog import Table
from cio_assets.catalog.shape import Shaper
from cio_assets.catalog.windows import Window, windows
from cio_assets.customerio import AppClient, Call, Page, Paging
from cio_assets.warehouse import Staging

_WORTH_CUTTING = 6
"""Pages that must be left of a chain to cut it."""

_PAGES_PER_CUT = 20
"""Pages that must be left in all for each cut: a cut costs at most one request, five in a hundred here."""


@dataclass
class _Chain:
    """Pages of one window from the newest delivery on; `stop` is the second before which another chain takes over."""

    window: Window
    stop: int
    resume: dict | None = None
    oldest: int | None = None
    page_top: int | None = None
    ordered: bool = True
    rows_per_second: float = 0.0

    def pages_left(self, page_size: int) -> float:
        """Estimate, from the density of what was read."""
        if self.oldest is None or not self.ordered or self.oldest - self.stop < 2:
            return 0.0
        return max(0, self.oldest - self.stop) * self.rows_per_second / page_size


def extract_window(table: Table, client: AppClient, staging: Staging, start: datetime, end: datetime) -> Extracted:
    """Stage every delivery created in `[start, end)`. Raises what the client raises, and `RowInvalid`."""
    endpoint = table.endpoint
    if endpoint is None or endpoint.page_size is None:
        raise ValueError(f"{table.name} is not read by windows")
    page_size = endpoint.page_size
    shaper = Shaper(table)
    base = {**endpoint.query, "limit": page_size}
    waiting = [_Chain(window, window.first) for window in reversed(windows(start, end))]
    running: dict[Future[Page], _Chain] = {}
    chains = len(waiting)
    cuts_left: float | None = None

    def fetch(chain: _Chain) -> Page:
        call = Call(endpoint.method, endpoint.path, {}, {**base, **chain.window.query})
        return next(iter(client.pages(call, Paging(endpoint.paging), endpoint.items, chain.resume)))

    with ThreadPoolExecutor(client.workers, thread_name_prefix="deliveries") as pool:
        try:
            while waiting or running:
                while waiting and len(running) < client.workers:
                    chain = waiting.pop(0)
                    running[pool.submit(fetch, chain)] = chain
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    chain = running.pop(done)
                    page = done.result()
                    rows = [shaper.row(item, {}) for item in page.items]
                    _observe(chain, [row["created"] for row in rows if row["created"] is not None])
                    staging.append(row for row in rows if row["created"] is None or row["created"] >= chain.stop)
                    finished = chain.ordered and chain.oldest is not None and chain.oldest < chain.stop
                    if page.next is not None and not finished:
                        chain.resume = dict(page.next)
                        waiting.append(chain)
                if len(running) + len(waiting) < client.workers:
                    alive = [*running.values(), *waiting]
                    left = sum(chain.pages_left(page_size) for chain in alive)
                    if cuts_left is None and all(chain.oldest is not None for chain in alive):
                        cuts_left = left / _PAGES_PER_CUT
                    longest = max(alive, key=lambda chain: chain.pages_left(page_size), default=None)
                    if longest and (cuts_left or 0) >= 1 and longest.pages_left(page_size) >= _WORTH_CUTTING:
                        waiting.append(_cut(longest))
                        chains += 1
                        cuts_left = (cuts_left or 0) - 1
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return Extracted(chains, 0)


def _observe(chain: _Chain, created: list[int]) -> None:
    """Learn from a page how far the chain has come and how dense the deliveries lie."""
    if not created:
        return
    descending = all(later >= earlier for later, earlier in pairwise(created))
    if not descending or (chain.page_top is not None and created[0] > chain.page_top):
        chain.ordered = False  # only newest first allows to stop early
    chain.page_top = created[0]
    reached = min(created)
    span = max(1, (created[0] if chain.oldest is None else chain.oldest) - reached)
    density = len(created) / span
    chain.rows_per_second = density if chain.oldest is None else (chain.rows_per_second + density) / 2
    chain.oldest = reached if chain.oldest is None else min(chain.oldest, reached)


def _cut(chain: _Chain) -> _Chain:
    """The older half of what is left of a chain, as a chain of its own; no second belongs to both."""
    oldest = chain.oldest if chain.oldest is not None else chain.window.last
    middle = (oldest + chain.stop) // 2
    older = _Chain(Window(chain.stop, middle - 1), chain.stop)
    chain.stop = middle
    return older
