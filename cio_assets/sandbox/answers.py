"""A request as it arrived and a response before it is sent; both sides of the sandbox speak in these."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers


@dataclass
class Answer:
    """A response before it is sent; `cut` leaves so many bytes of the announced body unsent."""

    status: int
    body: bytes
    content_type: str = "application/json; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0


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
    overlap: bool = False
    late_fault: Callable[[], str | None] = lambda: None
    """Asks for the fault of an answer that is about to tell of refused operations."""
