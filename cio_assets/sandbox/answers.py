"""A request as it arrived and a response before it is sent; all sides of the sandbox speak in these."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers

PIECE = 1 << 16  # bytes of a file that are read at a time


@dataclass
class Answer:
    """A response before it is sent: a body, or so many bytes of an open file.

    `length` is what is announced; `cut` leaves so many bytes of it unsent.
    """

    status: int
    body: bytes = b""
    content_type: str = "application/json; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    file: int | None = None
    length: int = -1

    def __post_init__(self) -> None:
        """Announce the whole body, where nothing else is said."""
        if self.length < 0:
            self.length = len(self.body)

    def pieces(self) -> Iterator[bytes]:
        """Return what is sent, at least one piece of it."""
        size = self.length - self.cut
        if self.file is None:
            yield self.body[:size]
            return
        for start in range(0, max(1, size), PIECE):
            yield os.pread(self.file, min(PIECE, size - start), start)


@dataclass
class Call:
    """One request with its route, None where no endpoint fits."""

    method: str
    path: str
    query: bytes
    headers: Headers
    route: Any
    texts: dict[str, str]
    body: bytes = b""
    fault: str | None = None
    """The fault that the answer itself must take into account: overlap or export_failed."""
    late_fault: Callable[[], str | None] = lambda: None
    """Asks for the fault of an answer that is about to tell of refused operations."""
