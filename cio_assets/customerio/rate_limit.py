"""One request budget for one API host and key, shared by all threads and processes of a machine.

A slot is waited for INSIDE a file lock, held while the request is written to the wire, and then stamped with the time
it really is: so no delay between grant and sending can push two requests together.
"""

import contextlib
import hashlib
import math
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Final

from .errors import ClientClosed
from .process_lock import LockedFile

UNLIMITED: Final = 10_000.0  # requests per second from which (and from 0 down) no slot is taken
# 3 % slower than the rate asks: with 10/s, any 11 requests span 1.03 s, so that 30 ms of network jitter still leave 10
# in any second. Measured with 3 processes of 2 threads: 9.6/s and more, 10 at most in any second.
MARGIN: Final = 1.03
WINDOW: Final = 10  # requests looked back on
LONGEST_PAUSE: Final = 600.0  # seconds; a stamp further ahead is a broken clock
SLOWDOWN: Final = 0.10  # each 429 widens the spacing by 10 % ...
SLOWEST: Final = 1.00  # ... to twice the spacing at most ...
RECOVERY: Final = SLOWDOWN / 60  # ... and a minute takes 10 % back (per second)
_NAP: Final = 0.25  # seconds; the longest sleep between two looks at the pause and at `stopped`


def _never() -> bool:
    return False


class RateLimiter:
    """At most `rate` requests in any second against one host with one key, evenly spaced.

    `directory` holds the two small state files (their names are a hash: neither host nor key can be read from them).
    `rate` is requests per second; 0 or less, or 10 000 and more, is unlimited. Pauses after a 429 hold for all.
    `clock` must be common to the processes of the machine and never go back: `time.monotonic` is both on Linux
    (seconds since boot). The state names its boot, and a stamp that cannot be true is not believed.
    """

    def __init__(
        self,
        directory: Path,
        host: str,
        key: str,
        rate: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        name = hashlib.sha256(f"{host.strip().lower()}\n{key.strip()}".encode()).hexdigest()[:24]
        self._turn = LockedFile(Path(directory) / f"{name}.turn")
        self._pause = LockedFile(Path(directory) / f"{name}.pause")
        self._limited = 0 < rate < UNLIMITED
        self._spacing = MARGIN / rate if self._limited else 0.0
        self._window = max(1, min(WINDOW, int(rate))) if self._limited else 1
        self._clock = clock
        self._sleep = sleep
        self._own = threading.Lock()  # one thread of a process queues for the file, so processes share evenly

    @contextlib.contextmanager
    def slot(self, stopped: Callable[[], bool] = _never) -> Generator[float, None, None]:
        """Send ONE request inside: `with limiter.slot(): connection.send(...)`. Yields the seconds waited.

        Connect before, read the answer after: only the writing belongs inside. Raises ClientClosed once `stopped()`
        is true, LimiterUnavailable if the state files cannot be used.
        """
        began = self._clock()
        while True:
            self._wait_for_pause(stopped)
            if not self._limited:
                yield max(0.0, self._clock() - began)
                return
            with self._own, self._turn.held() as state:
                history = self._history(state.read())
                if not self._wait_for_turn(history, stopped):
                    continue  # paused meanwhile: let go of the lock, wait for the pause outside
                now = self._clock()
                # A late start is made up for, by half a spacing at most: an idle time is no credit for a burst.
                due = max(history.due + self._spacing, now - self._spacing / 2)
                state.write(history.after(now, due))  # for the case that this process dies in the next line
                try:
                    yield max(0.0, now - began)
                finally:
                    state.write(history.after(self._clock(), due))
                return

    def pause(self, seconds: float) -> None:
        """After a 429: nobody sends for `seconds` (at most 600), and everybody sends a little slower for a while."""
        with self._pause.held() as state:
            now = self._clock()
            pause = _Pause(state.read() or {})
            slower = pause.slower(now)
            # Requests in flight together are told 429 together: that is one lesson.
            if not 0 <= now - pause.since < 1:
                slower = min(SLOWEST, slower + SLOWDOWN)
            until = max(pause.until(now), now + min(max(seconds, 0.0), LONGEST_PAUSE))
            state.write({"until": [until], "slower": [slower], "since": [now]})

    def _paused(self) -> "_Pause":
        with self._pause.held() as state:
            return _Pause(state.read() or {})

    def _wait_for_pause(self, stopped: Callable[[], bool]) -> None:
        while True:
            _go_on(stopped)
            now = self._clock()
            left = self._paused().until(now) - now
            if left <= 0:
                return
            self._sleep(min(left, _NAP))

    def _wait_for_turn(self, history: "_History", stopped: Callable[[], bool]) -> bool:
        """True when the slot is free; False when a pause was called while this slept."""
        while True:
            _go_on(stopped)
            now = self._clock()
            pause = self._paused()
            if pause.until(now) > now:
                return False
            left = history.next(self._spacing * (1 + pause.slower(now)), now) - now
            if left <= 0:
                return True
            self._sleep(min(left, _NAP))

    def _history(self, numbers: dict[str, list[float]] | None) -> "_History":
        if numbers is None:  # unreadable: as if others had spent the budget just now, the careful reading
            return _History([self._clock()] * self._window, -math.inf, self._window)
        due = numbers.get("due") or [-math.inf]
        return _History(numbers.get("sent", [])[-self._window :], due[0], self._window)


class _History:
    """When the last requests left (`sent`, ends of writing) and when the last one was due."""

    def __init__(self, sent: list[float], due: float, window: int) -> None:
        self._sent = sent
        self._window = window
        self.due = due

    def next(self, spacing: float, now: float) -> float:
        """The earliest start: a spacing after the last was due, half a one after it left, and the window kept."""
        # Nothing was sent in the future: where it seems so the clock went back, and all of it was just now.
        self._sent = [min(moment, now) for moment in self._sent]
        self.due = min(self.due, now)
        earliest = self.due + spacing
        if self._sent:
            earliest = max(earliest, self._sent[-1] + spacing / 2)
        if len(self._sent) == self._window:
            earliest = max(earliest, self._sent[0] + spacing * self._window)
        return earliest

    def after(self, moment: float, due: float) -> dict[str, list[float]]:
        """The numbers to keep once a request has left at `moment`."""
        return {"sent": [*self._sent, moment][-self._window :], "due": [due]}


class _Pause:
    """What 429s have taught: nobody sends before `until`, and the spacing is wider by `slower` for a while."""

    def __init__(self, numbers: dict[str, list[float]]) -> None:
        self._until = next(iter(numbers.get("until", [])), 0.0)
        self._slower = next(iter(numbers.get("slower", [])), 0.0)
        self.since = next(iter(numbers.get("since", [])), -math.inf)

    def until(self, now: float) -> float:
        return self._until if self._until - now <= LONGEST_PAUSE else 0.0

    def slower(self, now: float) -> float:
        """The widening of the spacing that is left of the last 429s, 0 to 1."""
        age = now - self.since
        return min(SLOWEST, max(0.0, self._slower - age * RECOVERY)) if 0 <= age < math.inf else 0.0


def _go_on(stopped: Callable[[], bool]) -> None:
    if stopped():
        raise ClientClosed("the client was closed while a request waited for its turn")
