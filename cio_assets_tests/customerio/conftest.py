from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from cio_assets.customerio import AppClient, RateLimiter
from cio_assets.customerio.track_client import TrackClient

from .http_server import Server
from .track_server import track_client

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture
def slept() -> list[float]:
    """The waits before retries, in seconds: recorded, not slept."""
    return []


@pytest.fixture
def make_client(server: Server, tmp_path: Path, slept: list[float]) -> Iterator[Callable[..., AppClient]]:
    """Clients of the server. Their clock stands still but for what they sleep, which takes no time."""
    clock = {"now": 1000.0}

    def sleep(seconds: float) -> None:
        clock["now"] += seconds

    def retry_sleep(seconds: float) -> None:
        slept.append(seconds)
        sleep(seconds)

    with ExitStack() as stack:

        def make(**options: Any) -> AppClient:
            limiter = RateLimiter(tmp_path, "test", KEY, 0, clock=lambda: clock["now"], sleep=sleep)
            settings = {"base_url": server.url, "key": KEY, "limiter": limiter, "sleep": retry_sleep, **options}
            return stack.enter_context(AppClient(**settings))

        yield make


@pytest.fixture
def client(make_client: Callable[..., AppClient]) -> AppClient:
    return make_client()


@pytest.fixture
def make_track(server: Server, tmp_path: Path, slept: list[float]) -> Iterator[Callable[..., TrackClient]]:
    """Track clients of the server, with a clock as that of `make_client`."""
    with ExitStack() as stack:

        def make(**options: Any) -> TrackClient:
            return stack.enter_context(track_client(tmp_path, slept, **{"base_url": server.url, **options}))

        yield make


@pytest.fixture
def track(make_track: Callable[..., TrackClient]) -> TrackClient:
    return make_track()
