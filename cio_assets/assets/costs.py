"""How many requests a reading costs, from its paging and the rows that are expected. Pure arithmetic, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from cio_assets.catalog import Endpoint, Table
from cio_assets.customerio.rate_limit import MOST_LATE, UNLIMITED

_FIXED_PAGE = 10
"""Rows of a page whose size the API does not let choose: actions (customerio-api.md, section 3)."""

_ENDS_WITH_AN_EMPTY_PAGE = frozenset({"sender_identities"})
"""A cursor comes even after the last row (observed-behaviour.md, Lists)."""


class Sure(IntEnum):
    """How well a number is known; of two that are added the worse counts."""

    EXACT = 0
    ABOUT = 1
    AT_LEAST = 2


@dataclass(frozen=True)
class Estimate:
    """A number of requests or rows, and how well it is known."""

    number: int
    sure: Sure = Sure.EXACT

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(self.number + other.number, max(self.sure, other.sure))

    def at_best(self, sure: Sure) -> Estimate:
        """The same number, known no better than that."""
        return Estimate(self.number, max(self.sure, sure))

    def __str__(self) -> str:
        """`12`, `~12`, `at least 12`, or `?` where nothing is known."""
        if self.sure is Sure.AT_LEAST:
            return f"at least {self.number:,}" if self.number else "?"
        return f"{'~' if self.sure else ''}{self.number:,}"


NOTHING = Estimate(0)
UNKNOWN = Estimate(0, Sure.AT_LEAST)


def total(estimates: Iterable[Estimate]) -> Estimate:
    """Their sum."""
    return sum(estimates, NOTHING)


def page_size(endpoint: Endpoint) -> int:
    """Rows a page holds at most, where the list is paged."""
    return endpoint.page_size or _FIXED_PAGE


def pages(table: Table, endpoint: Endpoint, rows: Estimate) -> Estimate:
    """Requests for one list of so many rows."""
    if endpoint.paging == "none":
        return Estimate(1)
    size = page_size(endpoint)
    # By offset, a full page is not known to be the last.
    number = rows.number // size + 1 if endpoint.paging == "offset" else max(1, -(-rows.number // size))
    if table.name in _ENDS_WITH_AN_EMPTY_PAGE and rows.number:
        number += 1
    return Estimate(number, rows.sure)


def newest_first(endpoint: Endpoint, rows: Estimate) -> Estimate:
    """Requests for activities: the pages, the one that shows the end, and one of the list that repeats them."""
    return Estimate(-(-rows.number // page_size(endpoint)) + 2, rows.sure)


def more_pages(rows: int, size: int) -> int:
    """Pages of so many rows beyond the first."""
    return max(0, -(-rows // size) - 1)


def of_parents(endpoint: Endpoint, parents: Estimate, more: Estimate, batch: int | None = None) -> Estimate:
    """Requests for a list a parent (or a batch of them), and `more` for those with more than a page."""
    first = Estimate(-(-parents.number // batch) if batch else parents.number, parents.sure)
    return first if endpoint.paging == "none" or not parents.number else first + more


def from_a_page(times: Sequence[int], first: int, now: int, *, ended: bool) -> Estimate:
    """Rows since `first`, from the times of one page, the newest (unix seconds): all where the list ended with it."""
    if ended or not times:
        return Estimate(len(times), Sure.ABOUT if ended else Sure.AT_LEAST)
    past = [time for time in times if time <= now] or times  # some are dated ahead
    number = round(len(past) * (now - first) / max(1, now - min(past)))
    return Estimate(max(len(times), number), Sure.ABOUT)


def minutes(requests: int, rate: float) -> float:
    """How long so many requests take at `rate` a second."""
    return requests * (1 + MOST_LATE) / rate / 60 if 0 < rate < UNLIMITED else 0.0


def largest(counts: Iterable[Mapping[str, int | None]]) -> Mapping[str, int | None]:
    """Of the workspaces of an account, which do not tell which is ours, the one with the most people."""
    return max(counts, key=lambda count: count.get("people") or 0, default={})
