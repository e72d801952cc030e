"""The lock that is shared evenly."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cio_assets.customerio.fair_lock import FairLock


class Crowd:
    """Threads that take turns while the lock is held, so that all of them wait in a known order."""

    def __init__(self, lock: FairLock) -> None:
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
        with self.lock.held(sharer):
            self.order.append(sharer)

    def end(self) -> None:
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()


@contextmanager
def crowd() -> Iterator[Crowd]:
    lock = FairLock()
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
    lock, inside, most = FairLock(), [0], [0]

    def work(sharer: int) -> None:
        for _ in range(300):
            with lock.held(sharer):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=work, args=(number % 3,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert most == [1]


def test_an_error_inside_passes_the_turn_on() -> None:
    lock = FairLock()
    with pytest.raises(ValueError, match="inside"), lock.held("a"):
        raise ValueError("inside")
    with lock.held("b"):
        pass


@pytest.mark.parametrize("given", [False, True], ids=["while it waits", "as it was given the turn"])
def test_an_interrupted_wait_does_not_lose_the_turn(monkeypatch: pytest.MonkeyPatch, *, given: bool) -> None:
    lock = FairLock()
    real = threading.Lock

    class Interrupted:
        """A lock whose second acquisition is interrupted, before or after the turn was passed to it."""

        def __init__(self) -> None:
            self.times = 0

        def acquire(self) -> None:
            self.times += 1
            if self.times == 2:
                if given:
                    lock._pass_on()  # as the holder does at this very moment
                raise KeyboardInterrupt

        def release(self) -> None:
            pass

    if not given:
        with lock.held("holder"):
            monkeypatch.setattr("cio_assets.customerio.fair_lock.threading.Lock", Interrupted)
            with pytest.raises(KeyboardInterrupt), lock.held("a"):
                pass
            monkeypatch.setattr("cio_assets.customerio.fair_lock.threading.Lock", real)
    else:
        held = lock.held("holder")
        held.__enter__()
        monkeypatch.setattr("cio_assets.customerio.fair_lock.threading.Lock", Interrupted)
        with pytest.raises(KeyboardInterrupt), lock.held("a"):
            pass
        monkeypatch.setattr("cio_assets.customerio.fair_lock.threading.Lock", real)
    done = threading.Event()

    def take() -> None:
        with lock.held("b"):
            done.set()

    threading.Thread(target=take, daemon=True).start()
    assert done.wait(10)
