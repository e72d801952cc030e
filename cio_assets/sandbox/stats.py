"""What the clients did: requests by endpoint and status, violations, arrival times, and the rate limits over them."""

from collections import Counter, deque
from typing import Any


class Window:
    """Arrivals at one side, and the budget of any sliding second."""

    def __init__(self, rps: int) -> None:
        self._rps = rps
        self._recent: deque[float] = deque()
        self.arrivals: list[tuple[float, str]] = []

    def arrive(self, monotonic: float, endpoint: str) -> bool:
        """Count a request; False where it is one too many in the sliding second that ends with it."""
        self.arrivals.append((monotonic, endpoint))
        self._recent.append(monotonic)
        while self._recent[0] <= monotonic - 1:
            self._recent.popleft()
        return not self._rps or len(self._recent) <= self._rps

    def busiest_second(self) -> int:
        """Return how many requests the fullest second held."""
        window: deque[float] = deque()
        most = 0
        for moment, _ in self.arrivals:
            window.append(moment)
            while window[0] <= moment - 1:
                window.popleft()
            most = max(most, len(window))
        return most


class Stats:
    """Counts requests of both APIs; control requests never come here."""

    def __init__(self, app_rps: int, track_rps: int) -> None:
        self.app, self.track, self.storage = Window(app_rps), Window(track_rps), Window(0)
        self.reset()

    def reset(self) -> None:
        """Forget everything counted so far; the rate limits keep their memory."""
        self.app.arrivals, self.track.arrivals, self.storage.arrivals = [], [], []
        self.by_endpoint: Counter[str] = Counter()
        self.by_status: Counter[str] = Counter()
        self.injected: Counter[str] = Counter()
        self.violations: list[dict[str, str]] = []
        self.rate_limited = 0
        self.operations: Counter[str] = Counter()
        self.operations_refused = 0
        self.bytes = 0
        self.times: tuple[float | None, float | None] = (None, None)

    def arrive(self, side: str, monotonic: float, wall: float, endpoint: str) -> bool:
        """Count a request at the `app`, `track` or `storage` side; False where it breaks that side's rate limit."""
        self.by_endpoint[endpoint] += 1
        self.times = (self.times[0] or wall, wall)
        windows = {"app": self.app, "track": self.track, "storage": self.storage}
        return windows[side].arrive(monotonic, endpoint)

    def violation(self, method: str, path: str, reason: str) -> None:
        """Record that a client broke the rules."""
        self.violations.append({"method": method, "path": path, "reason": reason})

    def as_dict(self, arrivals: bool) -> dict[str, Any]:
        """Return everything counted.

        `requests` are those of the App API, `downloads` the fetched links of exports, `bytes` the bodies of the
        Track API.
        """
        out: dict[str, Any] = {
            "requests": len(self.app.arrivals), "track_requests": len(self.track.arrivals),
            "downloads": len(self.storage.arrivals),
            "by_endpoint": dict(self.by_endpoint), "by_status": dict(self.by_status),
            "violations": self.violations, "violation_count": len(self.violations),
            "rate_limited": self.rate_limited, "busiest_second": self.app.busiest_second(),
            "track_busiest_second": self.track.busiest_second(), "operations": dict(self.operations),
            "operations_refused": self.operations_refused, "bytes": self.bytes,
            "injected": dict(self.injected), "first_request": self.times[0], "last_request": self.times[1],
        }  # fmt: skip
        return out | {"arrivals": self.app.arrivals, "track_arrivals": self.track.arrivals} if arrivals else out
