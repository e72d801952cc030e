"""How a span of deliveries is asked for: windows that share no second, never wider than the API truncates. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

WIDEST = 180 * 86_400
"""Seconds of the widest window of `GET /v1/messages`: six months, silently truncated beyond (section 5)."""


@dataclass(frozen=True)
class Window:
    """Seconds of creation, both ends included, as `start_ts` and `end_ts` are."""

    first: int
    last: int

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise ValueError("a window needs at least one second")

    @property
    def query(self) -> dict[str, int]:
        """The request's parameters."""
        return {"start_ts": self.first, "end_ts": self.last}


def windows(start: datetime, end: datetime) -> list[Window]:
    """Windows that cover `[start, end)`, oldest first, as few as the API allows and of equal width."""
    first, stop = int(start.timestamp()), int(end.timestamp())
    if first >= stop:
        return []
    count = -(-(stop - first) // WIDEST)
    edges = [first + (stop - first) * i // count for i in range(count + 1)]
    return [Window(low, high - 1) for low, high in pairwise(edges)]
