"""Counts what a client spent: requests, retries, waiting, bytes. Thread-safe; holds no personal value."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class UsageSnapshot:
    """The counters at one moment; `later - earlier` is what was spent between.

    `requests` counts every attempt, retries included; `waited_seconds` is the time spent waiting for the budget and
    `backoff_seconds` before retries, both summed over threads; `bytes` are those of the unpacked answers, `bytes_sent`
    those of the request bodies, repeats included; `by_path` counts requests per path template.
    """

    requests: int = 0
    retries: int = 0
    waited_seconds: float = 0.0
    backoff_seconds: float = 0.0
    bytes: int = 0
    by_path: Mapping[str, int] = field(default_factory=dict)
    bytes_sent: int = 0

    def __sub__(self, earlier: "UsageSnapshot") -> "UsageSnapshot":
        paths = {path: count - earlier.by_path.get(path, 0) for path, count in self.by_path.items()}
        return UsageSnapshot(
            requests=self.requests - earlier.requests,
            retries=self.retries - earlier.retries,
            waited_seconds=self.waited_seconds - earlier.waited_seconds,
            backoff_seconds=self.backoff_seconds - earlier.backoff_seconds,
            bytes=self.bytes - earlier.bytes,
            by_path={path: count for path, count in paths.items() if count},
            bytes_sent=self.bytes_sent - earlier.bytes_sent,
        )


class Usage:
    """Counters of one client, added to by its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests = 0
        self._retries = 0
        self._waited = 0.0
        self._backoff = 0.0
        self._bytes = 0
        self._bytes_sent = 0
        self._by_path: Counter[str] = Counter()

    def request(self, path: str, size: int) -> None:
        with self._lock:
            self._requests += 1
            self._bytes_sent += size
            self._by_path[path] += 1

    def waited(self, seconds: float) -> None:
        with self._lock:
            self._waited += seconds

    def retry(self, backoff_seconds: float) -> None:
        with self._lock:
            self._retries += 1
            self._backoff += backoff_seconds

    def received(self, size: int) -> None:
        with self._lock:
            self._bytes += size

    def snapshot(self) -> UsageSnapshot:
        with self._lock:
            return UsageSnapshot(
                requests=self._requests,
                retries=self._retries,
                waited_seconds=self._waited,
                backoff_seconds=self._backoff,
                bytes=self._bytes,
                by_path=dict(self._by_path),
                bytes_sent=self._bytes_sent,
            )
