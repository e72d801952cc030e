"""A lock that is shared evenly, whoever has more threads."""

import contextlib
import threading
from collections import deque
from collections.abc import Generator, Hashable
from typing import Generic, TypeVar

Lent = TypeVar("Lent")


class FairLock(Generic[Lent]):
    """A mutual exclusion for which sharers queue: of those who wait, each comes once before one comes twice.

    So a chain of pages, which asks one at a time, is not kept waiting behind tables that ask eight at a time. Who holds
    the lock only to wait for something can lend it, with that, to a sharer who came meanwhile, and has it again then.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held = False
        self._waiting: dict[Hashable, deque[_Waiter[Lent]]] = {}
        """By sharer, in the order of their turns."""
        self._last: Hashable = None

    @contextlib.contextmanager
    def held(self, sharer: Hashable) -> Generator[Lent | None, None, None]:
        """Hold the lock for the block, which is told what is lent with it, if it is. Not reentrant."""
        me: _Waiter[Lent] = _Waiter()
        with self._guard:
            if self._held:
                me.turn.acquire()
                self._waiting.setdefault(sharer, deque()).append(me)
            self._held = True
        try:
            me.turn.acquire()
        except BaseException:  # KeyboardInterrupt: the others would wait for ever
            if not self._leaves(sharer, me):
                self._pass_on(me)
            raise
        try:
            yield me.lent
        finally:
            self._pass_on(me)

    @property
    def taken(self) -> bool:
        """Whether somebody holds it."""
        return self._held

    def used(self, sharer: Hashable) -> None:
        """What is shared was used, by the holder."""
        self._last = sharer

    def lend(self, sharer: Hashable, what: Lent) -> bool:
        """Let another sharer have the lock, and `what` for good, if this one was the last; returns when it is back.

        False where nobody else waits; for the holder only.
        """
        with self._guard:
            others = [other for other in self._waiting if other != sharer]
            if not others or self._last != sharer:
                return False
            borrower = self._next(others[0])
            borrower.lent, borrower.back = what, threading.Lock()
            borrower.back.acquire()
        borrower.turn.release()
        borrower.back.acquire()
        return True

    def _pass_on(self, me: "_Waiter[Lent]") -> None:
        if me.back:
            me.back.release()
            return
        with self._guard:
            self._held = bool(self._waiting)
            if not self._waiting:
                return
            following = self._next(next(iter(self._waiting)))
        following.turn.release()

    def _next(self, sharer: Hashable) -> "_Waiter[Lent]":
        queue = self._waiting.pop(sharer)
        first = queue.popleft()
        if queue:
            self._waiting[sharer] = queue  # behind the others
        return first

    def _leaves(self, sharer: Hashable, me: "_Waiter[Lent]") -> bool:
        """Take one out who waits; False if it was given the turn meanwhile."""
        with self._guard:
            queue = self._waiting.get(sharer, deque())
            if me not in queue:
                return False
            queue.remove(me)
            if not queue:
                del self._waiting[sharer]
            return True


class _Waiter(Generic[Lent]):
    """One thread's place: `turn` is free when it has the lock, which is lent where it is to be passed `back`."""

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.lent: Lent | None = None
        self.back: threading.Lock | None = None
