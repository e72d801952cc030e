"""How the readings of one process share its slots: a chain of pages beside busy tables."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from cio_assets.customerio import ClientClosed, RateLimiter

ROOT = Path(__file__).parents[2]


class Shares:
    """Threads that ask again and again for a few seconds: `others` of them for one reading, and a chain of pages."""

    def __init__(self, one: RateLimiter, others: int, seconds: float, rounds: tuple[float, float]) -> None:
        self.counts: Counter[str] = Counter()
        self.longest = 0.0
        self._one = one
        self._end = time.monotonic() + seconds
        names = [(f"{number}", "others", rounds[0]) for number in range(others)] + [("chain", "chain", rounds[1])]
        threads = [threading.Thread(target=self._ask, args=who) for who in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _ask(self, name: str, sharer: str, took: float) -> None:
        while time.monotonic() < self._end:
            with self._one.slot(sharer=sharer) as sent:
                self.counts[name] += 1
            self.longest = max(self.longest, sent.waited)
            time.sleep(took)


@pytest.mark.alone
@pytest.mark.parametrize(("others", "rounds"), [(2, (0.006, 0.03)), (8, (0.012, 0.012)), (8, (0.02, 0.036))])
def test_a_chain_has_half_and_nobody_waits_for_long(others: int, rounds: tuple[float, float], tmp_path: Path) -> None:
    shares = Shares(RateLimiter(tmp_path, "h", "k", 50), others, 4, rounds)
    chain = shares.counts.pop("chain")
    total = chain + shares.counts.total()
    assert 0.4 < chain / total < 0.6  # one in three or four where it cannot be lent what another waits for
    assert min(shares.counts.values()) > 0.5 * max(shares.counts.values())
    assert shares.longest < 1.5


INTERRUPTED = """
import os, signal, sys, threading, time
from pathlib import Path
from cio_assets.customerio import RateLimiter

one, other, inside = RateLimiter(Path(sys.argv[1]), "h", "k", 1), Path(sys.argv[1]) / "other", []

def borrow():
    with one.slot(sharer="chain"):
        inside.append("borrower")
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)
        inside.append("borrower")

def third():
    with one.slot():
        inside.append("third")

threads = [threading.Thread(target=borrow), threading.Thread(target=third)]
with one.slot():
    pass
threading.Timer(0.03, threads[0].start).start()  # while the main thread waits for the next slot
try:
    with one.slot():
        sys.exit("it was not lent")
except KeyboardInterrupt:
    file = os.open(other, os.O_RDWR | os.O_CREAT)  # perhaps by the number that the limiter's file had
    os.write(file, b"x" * 9999)
    threads[1].start()
for thread in threads:
    thread.join()
assert inside == ["borrower", "borrower", "third"], inside
assert other.read_bytes() == b"x" * 9999
"""


def test_an_interrupted_lender_takes_nothing_from_the_borrower(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_who_was_closed_while_it_waited_sends_nothing_that_it_is_lent(tmp_path: Path) -> None:
    one, closed, sent = RateLimiter(tmp_path, "h", "k", 10), threading.Event(), []

    def chain() -> None:
        with contextlib.suppress(ClientClosed), one.slot(closed.is_set, "chain"):
            sent.append("chain")

    with one.slot():
        pass
    waiting = threading.Thread(target=chain)
    with one._own.held(None):  # nobody comes first
        waiting.start()
        while not one._own._waiting:
            time.sleep(0.001)
        closed.set()
        free = one._free_slot(lambda: False)
        assert free is not None
        assert one._own.lend(None, free)
    waiting.join()
    assert sent == []
    with one.slot():  # the file is free
        pass
