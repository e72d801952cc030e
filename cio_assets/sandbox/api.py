"""What a handler works with: the world, one validated request, and the helpers that build a page."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cio_assets.sandbox import paging
from cio_assets.sandbox.metrics import Counter
from cio_assets.sandbox.world import World


@dataclass
class Request:
    """One request after validation. `scope` stands for everything but the cursor."""

    path: dict[str, Any]
    query: dict[str, Any]
    body: dict[str, Any]
    scope: str
    now: int
    fault: str | None = None
    origin: str = ""
    """Scheme and host by which the client reached the sandbox."""

    @property
    def overlap(self) -> bool:
        """Tell whether this page is to repeat the end of the one before."""
        return self.fault == "overlap"

    @property
    def mood(self) -> int:
        """Return a number that decides, the same way each time, how awkward the answers to this query are."""
        return int(self.scope, 16)


class Api:
    """The world with what is needed to answer from it."""

    def __init__(self, world: World, submit: Callable[..., Any]) -> None:
        self.world = world
        self.submit = submit  # lets the worker do something later
        self.counter = Counter(world)
        self.cursors = paging.Cursors(world.options.seed)
        self.recent = paging.Recent()

    def state(self, request: Request) -> Any:
        """Read the state in the request's cursor, None on the first page."""
        text = request.query.get("start")
        return self.cursors.read(request.scope, text) if text else None

    def page(
        self, request: Request, items: list[Any], key: Callable[[Any], Any], size: int, end: str, trailing: bool = False
    ) -> tuple[list[Any], Callable[[dict[str, Any]], dict[str, Any]]]:
        """Cut one page from a whole list in ascending `key` order.

        Returns the items and a function that puts `next` into the answer. With `trailing` a cursor comes even
        after the last item, and leads to an empty page.
        """
        last = self.state(request)
        keys = [key(item) for item in items]
        begin, stop = paging.slice_after(keys, last, size, request.overlap)
        more = stop < len(items) or (trailing and begin < stop)
        following = self.cursors.write(request.scope, keys[stop - 1]) if more else None
        return items[begin:stop], lambda body: paging.finish(body, following, end)
