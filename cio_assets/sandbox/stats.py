"""What the clients did: requests by endpoint and status, violations, arrival times, and the rate limit over them."""

from collections import Counter, deque
from typing import Any


class Stats:
    """Counts App API requests; control requests never come here."""

    def __init__(self, rps: int) -> None:
        self._rps = rps
        self._window: deque[float] = deque()
        self.reset()

    def reset(self) -> None:
        """Forget everything counted so far; the rate limit keeps its memory."""
        self.arrivals: list[tuple[float, str]] = []
        self.by_endpoint: Counter[str] = Counter()
        self.by_status: Counter[str] = Counter()
        self.injected: Counter[str] = Counter()
        self.violations: list[dict[str, str]] = []
        self.rate_limited = 0
        self.times: tuple[float | None, float | None] = (None, None)

    def arrive(self, monotonic: float, wall: float, endpoint: str) -> bool:
        """Count a request; False where it is one too many in the sliding second that ends with it."""
        self.arrivals.append((monotonic, endpoint))
        self.by_endpoint[endpoint] += 1
        self.times = (self.times[0] or wall, wall)
        self._window.append(monotonic)
        while self._window[0] <= monotonic - 1:
            self._window.popleft()
        return not self._rps or len(self._window) <= self._rps

    def violation(self, method: str, path: str, reason: str) -> None:
        """Record that a client broke the rules."""
        self.violations.append({"method": method, "path": path, "reason": reason})

    def as_dict(self, arrivals: bool) -> dict[str, Any]:
        """Return everything counted."""
        out: dict[str, Any] = {
            "requests": len(self.arrivals), "by_endpoint": dict(self.by_endpoint), "by_status": dict(self.by_status),
            "violations": self.violations, "violation_count": len(self.violations),
            "rate_limited": self.rate_limited, "busiest_second": self._busiest_second(),
            "injected": dict(self.injected), "first_request": self.times[0], "last_request": self.times[1],
        }  # fmt: skip
        return out | {"arrivals": self.arrivals} if arrivals else out

    def _busiest_second(self) -> int:
        window: deque[float] = deque()
        most = 0
        for moment, _ in self.arrivals:
            window.append(moment)
            while window[0] <= moment - 1:
                window.popleft()
            most = max(most, len(window))
        return most
