"""Cursors: opaque, bound to the query they were issued for, and resumed by key so that they survive changes."""

import base64
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from cio_assets.sandbox.errors import ApiError

INVALID = "start: invalid cursor"
OVERLAP = 3  # rows of the page before that the fault "overlap" repeats


class Cursors:
    """Writes and reads cursors, signed with a secret of the world."""

    def __init__(self, seed: int) -> None:
        self._secret = hashlib.blake2b(f"cursor {seed}".encode()).digest()

    def write(self, scope: str, state: Any) -> str:
        """Write a cursor that is only good for the query `scope`."""
        body = orjson.dumps([scope, state])
        return base64.b64encode(self._sign(body) + body).decode()

    def read(self, scope: str, text: str) -> Any:
        """Read a cursor's state, or refuse with 400."""
        try:
            raw = base64.b64decode(text, validate=True)
        except ValueError:
            raw = b""
        if len(raw) < 8 or self._sign(raw[6:]) != raw[:6]:
            raise ApiError(400, INVALID)
        issued_for, state = orjson.loads(raw[6:])
        if issued_for != scope:
            raise ApiError(400, "start: cursor belongs to another query")
        return state

    def _sign(self, body: bytes) -> bytes:
        return hashlib.blake2b(body, key=self._secret, digest_size=6).digest()


def finish(body: dict[str, Any], following: str | None, end: str) -> dict[str, Any]:
    """Put `next` into an answer; at the end it is "", null or absent, as the endpoint likes it."""
    if following is not None:
        body["next"] = following
    elif end != "absent":
        body["next"] = None if end == "null" else ""
    return body


def slice_after(keys: Sequence[Any], last: Any, limit: int, overlap: bool) -> tuple[int, int]:
    """Return the slice of a list in ascending `keys` that follows the key `last` (None = from the start)."""
    first = 0 if last is None else next((n for n, key in enumerate(keys) if key > last), len(keys))
    begin = max(0, first - OVERLAP) if overlap and last is not None else first
    return begin, min(len(keys), first + limit)


class Recent:
    """Keeps the last few computed results, so that the pages of one walk do not filter everything again."""

    def __init__(self, size: int = 12) -> None:
        self._size = size
        self._kept: OrderedDict[Any, Any] = OrderedDict()

    def get(self, key: Any, make: Callable[[], Any]) -> Any:
        """Return the result for a key, making it where it is not kept."""
        if key not in self._kept:
            self._kept[key] = make()
            if len(self._kept) > self._size:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]
