"""The lock that is shared evenly."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cio_assets.customerio.fair_lock import FairLock


class Crowd:
    """Threads that take turns while the lock is held, so that all of them wait in a known order."""

    def __init__(self, lock: FairLock[str]) -> None:
        self.lock = lock
        self.order: list[str] = []
        self._threads: list[threading.Thread] = []

    def wait(self, sharer: str) -> None:
        before = self._waiting()
        thread = threading.Thread(target=self._take, args=(sharer,), daemon=True)
        thread.start()
        self._threads.append(thread)
        while self._waiting() == before:
            pass

    def _waiting(self) -> int:
        return sum(map(len, self.lock._waiting.values()))  # nothing else tells that a thread waits

    def _take(self, sharer: str) -> None:
        with self.lock.held(sharer) as lent:
            self.order.append(sharer + (lent or ""))

    def end(self) -> None:
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()


@contextmanager
def crowd() -> Iterator[Crowd]:
    lock: FairLock[str] = FairLock()
    some = Crowd(lock)
    with lock.held("first"):
        yield some
    some.end()


def test_each_sharer_comes_once_before_one_comes_twice() -> None:
    with crowd() as some:
        for sharer in "aaaabbc":
            some.wait(sharer)
    assert "".join(some.order) == "abcabaa"


def test_who_comes_later_does_not_wait_for_all_of_another() -> None:
    with crowd() as some:
        for sharer in "aaaaaab":
            some.wait(sharer)
    assert some.order.index("b") == 1


def test_one_at_a_time() -> None:
    lock: FairLock[str] = FairLock()
    inside, most, lent = [0], [0], [0]

    def work(sharer: int) -> None:
        for _ in range(300):
            with lock.held(sharer) as borrowed:
                if not borrowed:
                    time.sleep(0.0001)  # as a holder who waits for what it will use
                if not borrowed and lock.lend(sharer, "this"):
                    lent[0] += 1
                lock.used(sharer)
                inside[0] += 1
                time.sleep(0.0001)
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=work, args=(number // 3,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert most == [1]
    assert lent[0] > 0


def test_it_is_lent_to_who_came_while_it_was_held_and_comes_back() -> None:
    with crowd() as some:
        some.lock.used("first")
        for sharer in ("first", "a", "b"):
            some.wait(sharer)
        assert some.lock.lend("first", "+")
        assert some.order == ["a+"], "the holder has it again, and nobody else"
    assert some.order == ["a+", "first", "b"]


def test_it_is_not_lent_to_ones_own_nor_by_who_has_not_had_it() -> None:
    with crowd() as some:
        some.lock.used("first")
        some.wait("first")
        assert not some.lock.lend("first", "+")
        some.lock.used("a")
        some.wait("a")
        assert not some.lock.lend("first", "+")


def test_an_error_inside_passes_the_turn_on() -> None:
    lock: FairLock[None] = FairLock()
    with pytest.raises(ValueError, match="inside"), lock.held("a"):
        raise ValueError("inside")
    with lock.held("b"):
        pass


@pytest.mark.parametrize("given", [False, True], ids=["while it waits", "as it was given the turn"])
def test_an_interrupted_wait_does_not_lose_the_turn(monkeypatch: pytest.MonkeyPatch, *, given: bool) -> None:
    lock: FairLock[None] = FairLock()
    holder = lock.held("holder")
    real = threading.Lock

    class Interrupted:
        """A lock whose second acquisition is interrupted, before or after the turn was passed to it."""

        def __init__(self) -> None:
            self.times = 0

        def acquire(self) -> None:
            self.times += 1
            if self.times == 2:
                if given:
                    holder.__exit__(None, None, None)  # at this very moment
                raise KeyboardInterrupt

        def release(self) -> None:
            pass

    holder.__enter__()
    monkeypatch.setattr("cio_assets.customerio.fair_lock.threading.Lock", Interrupted)
    with pytest.raises(KeyboardInterrupt), lock.held("a"):
        pass
    monkeypatch.setattr("cio_assets.customerio.fair_lock.threading.Lock", real)
    if not given:
        holder.__exit__(None, None, None)
    done = threading.Event()

    def take() -> None:
        with lock.held("b"):
            done.set()

    threading.Thread(target=take, daemon=True).start()
    assert done.wait(10)
