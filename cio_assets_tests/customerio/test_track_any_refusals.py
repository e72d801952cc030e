"""Whoever is refused, and however the service says it: exactly these are reported, and everybody else arrives."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cio_assets.customerio import RateLimiter
from cio_assets.customerio.track_client import TrackClient

from .http_server import Say, Server
from .track_server import KEY, SITE_ID, Service, error, people, track_client


@pytest.fixture(scope="module")
def one_server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def named(_count: int, bad: list[int]) -> Say:
    return Say(207, {"errors": [error(place) for place in bad]})


def named_as_text(_count: int, bad: list[int]) -> Say:
    return Say(207, {"errors": [error(str(place)) for place in reversed(bad)]})


def named_twice_in_200(_count: int, bad: list[int]) -> Say:
    return Say(200, {"errors": [error(place) for place in bad + bad]})


def unnamed(_count: int, bad: list[int]) -> Say:
    return Say(207, {"errors": [{"reason": "invalid", "message": "no"} for _ in bad]})


def silent(_count: int, _bad: list[int]) -> Say:
    return Say(207, b"")


def some_named(count: int, bad: list[int]) -> Say:
    return Say(207, {"errors": [error(place) if place % 3 else error(count + place) for place in bad]})


def whole(_count: int, _bad: list[int]) -> Say:
    return Say(400, {"errors": [{"reason": "invalid"}]})


def whole_named(_count: int, bad: list[int]) -> Say:
    return Say(400, {"errors": [error(place) for place in bad]})


def whole_first(_count: int, bad: list[int]) -> Say:
    return Say(422, {"errors": [error(bad[0])]})


def too_large(count: int, _bad: list[int]) -> Say:
    return Say(413, b"<html>") if count > 1 else Say(400, {"meta": {"error": "no"}})


MANNERS: list[Callable[[int, list[int]], Say]] = [
    *(named, named_as_text, named_twice_in_200, unnamed, silent, some_named),
    *(whole, whole_named, whole_first, too_large),
]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), count=st.integers(1, 60))
def test_exactly_the_refused_ones_are_reported(one_server: Server, data: st.DataObject, count: int) -> None:
    bad = data.draw(st.sets(st.integers(0, count - 1)), label="bad")
    manners = data.draw(st.lists(st.sampled_from(MANNERS), min_size=1, max_size=6), label="manners")
    turn = iter(range(10**6))

    def answer(size: int, refused: list[int]) -> Say:
        return manners[next(turn) % len(manners)](size, refused)

    service = Service(bad, answer)
    one_server.asked.clear()
    one_server.decide = service
    with TemporaryDirectory() as directory, track_client(Path(directory), [], base_url=one_server.url) as client:
        refused = client.send_batch(people(count))
    assert [one.index for one in refused] == sorted(bad)
    assert set(service.accepted) == set(range(count)) - bad
    assert len(one_server.asked) <= max(1, 2 * count - 1)


def test_eight_threads(server: Server, tmp_path: Path) -> None:
    """Each thread is told of its own people only, whatever the others are told at the same time."""
    batches, size = 48, 20
    bad = {number for number in range(batches * size) if number % 7 == 0 or number // size == 5}
    turn = iter(range(10**6))

    def answer(count: int, refused: list[int]) -> Say:
        return MANNERS[next(turn) % len(MANNERS)](count, refused)

    service = Service(bad, answer)
    server.decide = service
    limiter = RateLimiter(tmp_path, "track", KEY, 0)
    with (
        TrackClient(base_url=server.url, site_id=SITE_ID, key=KEY, limiter=limiter, workers=8) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        firsts = range(0, batches * size, size)
        answers = list(pool.map(lambda first: client.send_batch(people(size, first)), firsts))
        spent = client.usage.snapshot()
    refused = {first + one.index for first, answer in zip(firsts, answers, strict=True) for one in answer}
    assert refused == bad
    assert set(service.accepted) == set(range(batches * size)) - bad
    assert spent.requests == len(server.asked) == spent.by_path["/api/v2/batch"]
    assert spent.bytes_sent == sum(len(asked.body) for asked in server.asked)
    assert server.connections <= 16
