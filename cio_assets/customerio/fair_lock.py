"""A lock that is shared evenly, whoever has more threads."""

import contextlib
import threading
from collections import deque
from collections.abc import Generator, Hashable


class FairLock:
    """A mutual exclusion for which sharers queue: of those who wait, each comes once before one comes twice.

    So a chain of pages, which asks one at a time, is not kept waiting behind a table that asks eight at a time.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held = False
        self._waiting: dict[Hashable, deque[threading.Lock]] = {}
        """By sharer, in the order of their turns: what each waiting thread waits for."""

    @contextlib.contextmanager
    def held(self, sharer: Hashable) -> Generator[None, None, None]:
        """Hold the lock for the block. Not reentrant."""
        mine = threading.Lock()
        with self._guard:
            if self._held:
                mine.acquire()
                self._waiting.setdefault(sharer, deque()).append(mine)
            self._held = True
        try:
            mine.acquire()
        except BaseException:  # KeyboardInterrupt: the others would wait for ever
            self._give_up(sharer, mine)
            raise
        try:
            yield
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        with self._guard:
            self._held = bool(self._waiting)
            if not self._waiting:
                return
            sharer = next(iter(self._waiting))
            queue = self._waiting.pop(sharer)
            first = queue.popleft()
            if queue:
                self._waiting[sharer] = queue  # behind the others
        first.release()

    def _give_up(self, sharer: Hashable, mine: threading.Lock) -> None:
        with self._guard:
            queue = self._waiting.get(sharer, deque())
            waits = mine in queue
            if waits:
                queue.remove(mine)
                if not queue:
                    del self._waiting[sharer]
        if not waits:  # it was given the turn meanwhile
            self._pass_on()
