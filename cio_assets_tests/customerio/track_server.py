"""What the tests of the Track client share: batches, a client whose clock stands still, a service with a mind."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import orjson

from cio_assets.customerio import RateLimiter
from cio_assets.customerio.track_client import Batch, TrackClient

from .http_server import Asked, Say

SITE_ID: Final = "5ite1d5ite1d5ite1d00"
KEY: Final = "7rackkey7rackkey7r00"
BATCH: Final = "/api/v2/batch"


def batch_of(operations: Sequence[Any]) -> Batch:
    parts = [one if isinstance(one, bytes) else orjson.dumps(one) for one in operations]
    return Batch(b"".join(part + b"," for part in parts), list(accumulate(len(part) + 1 for part in parts)))


def people(count: int, first: int = 0) -> Batch:
    return batch_of([person(number) for number in range(first, first + count)])


def person(number: int) -> dict[str, Any]:
    return {"type": "person", "action": "identify", "identifiers": {"id": f"u_{number}"}, "attributes": {"n": number}}


def numbers_of(asked: Asked) -> list[int]:
    """Which of `people` are in a request."""
    return [operation["attributes"]["n"] for operation in orjson.loads(asked.body)["batch"]]


@contextmanager
def track_client(directory: Path, slept: list[float], **options: Any) -> Iterator[TrackClient]:
    """A client whose waits are written into `slept` and take no time."""
    clock = {"now": 1000.0}

    def sleep(seconds: float) -> None:
        clock["now"] += seconds

    def retry_sleep(seconds: float) -> None:
        slept.append(seconds)
        sleep(seconds)

    limiter = RateLimiter(directory, "track", KEY, 0, clock=lambda: clock["now"], sleep=sleep)
    settings = {"site_id": SITE_ID, "key": KEY, "limiter": limiter, "sleep": retry_sleep, **options}
    with TrackClient(**settings) as client:
        yield client


class Service:
    """A Track API that refuses the people in `bad`: `answer` is told how many were sent, which places are bad."""

    def __init__(self, bad: set[int], answer: Callable[[int, list[int]], Say]) -> None:
        self.bad = bad
        self.answer = answer
        self.accepted: list[int] = []
        self._lock = threading.Lock()

    def __call__(self, asked: Asked) -> Say:
        numbers = numbers_of(asked)
        bad = [place for place, number in enumerate(numbers) if number in self.bad]
        say = self.answer(len(numbers), bad) if bad else Say()
        if say.status < 300:
            with self._lock:
                self.accepted += [number for number in numbers if number not in self.bad]
        return say


def error(place: Any, **more: Any) -> dict[str, Any]:
    return {"batch_index": place, "reason": "invalid", "field": "identifiers", "message": "bad identifiers", **more}
