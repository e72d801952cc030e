"""One small frozen sandbox for the tests that only read."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from cio_assets.sandbox import Sandbox
from cio_assets_tests import forked

from .client import NOW, Client
from .track_client import Track

SMALL = {"people": 300, "deliveries": 6000, "now": NOW, "freeze": True, "app_rps": 0, "newsletters": 12}


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with forked.launch(**SMALL) as running:
        yield running


@pytest.fixture(scope="session")
def api(sandbox: Sandbox) -> Iterator[Client]:
    client = Client(sandbox.url)
    yield client
    client.session.close()


@pytest.fixture
def start() -> Iterator[Callable[..., tuple[Sandbox, Client]]]:
    """Start a sandbox of one's own, for tests that change it."""
    with ExitStack() as stack:

        def run(**options: Any) -> tuple[Sandbox, Client]:
            running = stack.enter_context(forked.launch(**(SMALL | {"deliveries": 2000} | options)))
            client = Client(running.url)
            stack.callback(client.session.close)
            return running, client

        yield run


EMPTY = {"people": 0, "deliveries": 0, "activities": 0, "now": NOW, "freeze": True, "app_rps": 0, "track_rps": 0}


@pytest.fixture
def track() -> Iterator[Track]:
    """A workspace without people, and its Track client."""
    with forked.launch(**EMPTY) as running:
        client = Track(running)
        yield client
        client.session.close()


@pytest.fixture(scope="module")
def shared_track() -> Iterator[Track]:
    """The same, for the tests of a module that do not mind each other."""
    with forked.launch(**EMPTY) as running:
        client = Track(running)
        yield client
        client.session.close()
