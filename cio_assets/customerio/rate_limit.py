"""One request budget for one API host and key, shared by all threads and processes of a machine.

A slot is waited for INSIDE a file lock, held while the request is written to the wire, and then stamped with the time
it really is: so no delay between grant and sending can push two requests together. How late a request may have arrived
is told by its answer, long before the request ten later is sent: that one keeps this distance too.
"""

import contextlib
import hashlib
import math
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Hashable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from .errors import ClientClosed
from .fair_lock import FairLock
from .process_lock import LockedFile, State

UNLIMITED: Final = 10_000.0  # requests per second from which (and from 0 down) no slot is taken
# A request that left at 0 s and arrived 20 ms late shares a second with one that leaves at 1 s and arrives in time.
# The answer bounds this: where it came 5 ms later than the quickest ever did, of its kind or of all, the request was
# hardly more than 5 ms late. Until an answer has told, and where answers take now this long, now that, 3 % of the
# window (30 ms), which is also the most that is kept: a request that is later still breaks the second.
MOST_LATE: Final = 0.03
ENOUGH: Final = 50  # answers of which the quickest is hardly late itself, unless the line was slow all the while
RECENT: Final = 20  # answers, most of which took about as long as the quickest: then answers can tell
BARELY: Final = 0.001  # seconds that are always taken for late
SURE: Final = 0.001  # of the spacing; stamps are taken after writing
_ALL: Final = ""  # the kind of every request
WINDOW: Final = 10  # requests looked back on
LONGEST_PAUSE: Final = 600.0  # seconds; a stamp further ahead is a broken clock
SLOWDOWN: Final = 0.10  # each 429 widens the spacing by 10 % ...
SLOWEST: Final = 1.00  # ... to twice the spacing at most ...
RECOVERY: Final = SLOWDOWN / 60  # ... and a minute takes 10 % back (per second)
_NAP: Final = 0.25  # seconds; the longest sleep between two looks at the pause and at `stopped`


def _never() -> bool:
    return False


@dataclass
class Sent:
    """A slot of the budget: the seconds it was waited for, when its request could be written, and when it had left."""

    waited: float
    ready: float = math.inf
    moment: float = math.inf


@dataclass(frozen=True)
class _Free:
    """A slot that can be used now: the file is held until `held` is closed, by whoever uses it."""

    held: contextlib.ExitStack
    state: State
    history: "_History"


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
        self._rate = rate
        self._spacing = (1 + SURE) / rate if self._limited else 0.0
        self._window = max(1, min(WINDOW, int(rate))) if self._limited else 1
        self._most_late = MOST_LATE * self._window / rate if self._limited else 0.0
        self._answers: defaultdict[str, _Answers] = defaultdict(_Answers)
        self._telling = threading.Lock()
        self._clock = clock
        self._sleep = sleep
        # One thread of a process queues for the file, so processes share evenly.
        self._own: FairLock[_Free] = FairLock()

    @property
    def used_up(self) -> bool:
        """Whether a request of this process waits for its turn: one more thread would not make it faster."""
        return self._own.taken

    @contextlib.contextmanager
    def slot(self, stopped: Callable[[], bool] = _never, sharer: Hashable = None) -> Generator[Sent, None, None]:
        """Send ONE request inside: `with limiter.slot() as sent: connection.send(...)`.

        Sharers of a process take turns, however many threads each has; who is next is decided when the slot is free.
        Connect before, read the answer after (and tell `answered`): only the writing belongs inside. Raises
        ClientClosed once `stopped()` is true, LimiterUnavailable if the state files cannot be used.
        """
        began = self._clock()
        while True:
            self._wait_for_pause(stopped)
            if not self._limited:
                yield Sent(max(0.0, self._clock() - began))
                return
            with self._own.held(sharer) as lent:
                free = lent or self._free_slot(stopped)
                while free and not lent and self._own.lend(sharer, free):
                    free = self._free_slot(stopped)  # this one is ours
                if free is None:
                    continue  # paused meanwhile: let go of the lock, wait for the pause outside
                with free.held:
                    _go_on(stopped)
                    self._own.used(sharer)
                    now = self._clock()
                    # A late start is made up for, by half a spacing at most: an idle time is no credit for a burst.
                    due = max(free.history.due + self._spacing, now - self._spacing / 2)
                    # Before, too: this process may die in the next line.
                    free.state.write(free.history.after(now, due))
                    sent = Sent(max(0.0, now - began), now)
                    try:
                        yield sent
                    finally:
                        sent.moment = self._clock()
                        free.state.write(free.history.after(sent.moment, due))
                    return

    def _free_slot(self, stopped: Callable[[], bool]) -> _Free | None:
        """Wait for a slot, and hold the file; None where a pause was called meanwhile."""
        with contextlib.ExitStack() as held:
            state = held.enter_context(self._turn.held())
            history = self._history(state.read())
            return _Free(held.pop_all(), state, history) if self._wait_for_turn(history, stopped) else None

    def answered(self, sent: Sent, kind: str) -> None:
        """The answer to a request begins to arrive; those of one `kind` (endpoint, size) take about equally long."""
        now = self._clock()
        if not self._limited or self._window < self._rate or now < sent.moment:  # a second is not told by its parts
            return
        # From before the writing: a thread that is interrupted behind it makes an answer that only seems quick.
        took = now - sent.ready
        with self._telling:
            known = self._answers[_ALL], self._answers[kind]
            for answers in known:
                answers.add(took)
            late = BARELY + min(answers.late(took, self._most_late / 2) for answers in known)
        if late < self._most_late:
            with self._pause.held() as state:
                numbers = state.read() or {}
                state.write(numbers | _Pause(numbers).heard(sent.moment, late))

    def pause(self, seconds: float) -> None:
        """After a 429: nobody sends for `seconds` (at most 600), and everybody sends a little slower for a while."""
        with self._pause.held() as state:
            now = self._clock()
            numbers = state.read() or {}
            pause = _Pause(numbers)
            slower = pause.slower(now)
            # Requests in flight together are told 429 together: that is one lesson.
            if not 0 <= now - pause.since < 1:
                slower = min(SLOWEST, slower + SLOWDOWN)
            until = max(pause.until(now), now + min(max(seconds, 0.0), LONGEST_PAUSE))
            state.write(numbers | {"until": [until], "slower": [slower], "since": [now]})

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
            late = pause.late(history.first, self._most_late)
            left = history.next(self._spacing * (1 + pause.slower(now)), late, now) - now
            if left <= 0:
                return True
            self._sleep(min(left, _NAP))

    def _history(self, numbers: dict[str, list[float]] | None) -> "_History":
        if numbers is None:  # unreadable: as if others had spent the budget just now, the careful reading
            return _History([self._clock()] * self._window, -math.inf, self._window)
        due = numbers.get("due") or [-math.inf]
        return _History(numbers.get("sent", [])[-self._window :], due[0], self._window)


class _Answers:
    """How long requests of a kind took, in seconds."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._quickest = math.inf
        self._known = 0

    def add(self, took: float) -> None:
        self._recent.append(took)
        self._quickest = min(self._quickest, took)
        self._known += 1

    def late(self, took: float, most: float) -> float:
        """How late a request was that took so long; infinite if these cannot tell, `most` apart from the quickest."""
        distance = median(self._recent) - self._quickest
        if self._known < ENOUGH or distance > most:
            return math.inf
        # As late as it seems; and the quickest may have been late itself, of more and more less and less.
        return took - self._quickest + distance * ENOUGH / self._known


class _History:
    """When the last requests left (`sent`, ends of writing) and when the last one was due."""

    def __init__(self, sent: list[float], due: float, window: int) -> None:
        self._sent = sent
        self._window = window
        self.due = due

    @property
    def first(self) -> float:
        """When the first of the window's requests left."""
        return self._sent[0] if self._sent else -math.inf

    def next(self, spacing: float, late: float, now: float) -> float:
        """The earliest start: a spacing after the last was due, half a one after it left, and the window kept.

        `late`: seconds that the first of the window may have arrived after it left, longer than others do.
        """
        # Nothing was sent in the future: where it seems so the clock went back, and all of it was just now.
        self._sent = [min(moment, now) for moment in self._sent]
        self.due = min(self.due, now)
        earliest = self.due + spacing
        if self._sent:
            earliest = max(earliest, self._sent[-1] + spacing / 2)
        if len(self._sent) == self._window:
            earliest = max(earliest, self._sent[0] + spacing * self._window + late)
        return earliest

    def after(self, moment: float, due: float) -> dict[str, list[float]]:
        """The numbers to keep once a request has left at `moment`."""
        return {"sent": [*self._sent, moment][-self._window :], "due": [due]}


class _Pause:
    """What answers have taught. 429s: nobody sends before `until`, and the spacing is wider by `slower` for a while.

    And of the last requests by the moment they left, how late they may have arrived.
    """

    def __init__(self, numbers: dict[str, list[float]]) -> None:
        self._late = list(zip(numbers.get("heard", []), numbers.get("late", []), strict=False))
        self._until = next(iter(numbers.get("until", [])), 0.0)
        self._slower = next(iter(numbers.get("slower", [])), 0.0)
        self.since = next(iter(numbers.get("since", [])), -math.inf)

    def until(self, now: float) -> float:
        return self._until if self._until - now <= LONGEST_PAUSE else 0.0

    def late(self, moment: float, unknown: float) -> float:
        """Seconds that the request which left at `moment` may have been late."""
        return min(unknown, dict(self._late).get(_micro(moment), unknown))

    def heard(self, moment: float, late: float) -> dict[str, list[float]]:
        """The numbers to keep of one more answer."""
        known = [*self._late, (_micro(moment), _micro(late))][-2 * WINDOW :]
        return {"heard": [moment for moment, _ in known], "late": [late for _, late in known]}

    def slower(self, now: float) -> float:
        """The widening of the spacing that is left of the last 429s, 0 to 1."""
        age = now - self.since
        return min(SLOWEST, max(0.0, self._slower - age * RECOVERY)) if 0 <= age < math.inf else 0.0


def _micro(seconds: float) -> float:
    return round(seconds, 6)


def _go_on(stopped: Callable[[], bool]) -> None:
    if stopped():
        raise ClientClosed("the client was closed while a request waited for its turn")
