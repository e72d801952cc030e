"""The sandbox's own clock: anchored at a chosen moment, running in real time or frozen, movable by control."""

import time


class Clock:
    """Tells the world's time in unix seconds."""

    def __init__(self, now: float, freeze: bool = False) -> None:
        self.freeze = freeze
        self.set(now)

    def set(self, now: float) -> None:
        """Jump to a moment; the clock runs (or stands) from there."""
        self._base = now
        self._mark = time.monotonic()

    def time(self) -> float:
        """Return the current moment."""
        return self._base if self.freeze else self._base + time.monotonic() - self._mark

    def passing(self) -> float:
        """Return seconds that pass even while the clock is frozen, and jump with it; only their difference counts."""
        return self._base + time.monotonic() if self.freeze else self.time()

    def now(self) -> int:
        """Return the current moment in whole seconds."""
        return int(self.time())
