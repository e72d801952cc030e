"""Work side by side: results as they come, memory flat, and a clean end whatever happens."""

import threading
import time
from collections.abc import Iterator

import pytest

from cio_assets.customerio import AppClient, overlap


def test_all_results_in_order_of_completion() -> None:
    gate = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            gate.wait(5)
        return item * 10

    seen = []
    for item, result in overlap(3, range(6), work):
        assert result == item * 10
        seen.append(item)
        if len(seen) == 5:
            gate.set()
    assert sorted(seen) == list(range(6))
    assert seen[-1] == 0


def test_it_takes_the_clients_number_of_workers(client: AppClient) -> None:
    together = threading.Barrier(client.workers)
    assert len(list(overlap(client, range(client.workers), lambda _: together.wait(5)))) == 8


def test_no_work_is_no_result() -> None:
    assert list(overlap(4, [], str)) == []


def test_items_are_taken_no_more_than_twice_the_workers_ahead() -> None:
    taken = 0
    done = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(200):
            taken += 1
            assert taken - done <= 2 * 4 + 1
            yield number

    for _ in overlap(4, items(), lambda item: time.sleep(0.001)):
        done += 1
    assert done == 200


def test_first_exception_stops_the_rest_and_is_raised() -> None:
    started: list[int] = []

    def work(item: int) -> int:
        started.append(item)
        if item == 3:
            raise LookupError("three")
        time.sleep(0.01)
        return item

    with pytest.raises(LookupError, match="three"):
        list(overlap(2, range(1000), work))
    count = len(started)
    assert count < 12
    time.sleep(0.05)
    assert len(started) == count, "nothing runs on"


def test_results_that_were_ready_come_before_the_exception() -> None:
    both = threading.Barrier(2)

    def work(item: int) -> int:
        both.wait(5)
        if item:
            time.sleep(0.1)
            raise LookupError
        return item

    results = overlap(2, [0, 1], work)
    time.sleep(0.1)
    assert next(results) == (0, 0)
    with pytest.raises(LookupError):
        next(results)


def test_an_exception_of_the_items_is_raised() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise LookupError("items")

    with pytest.raises(LookupError, match="items"):
        list(overlap(2, items(), str))


def test_closed_early_it_stops() -> None:
    started: list[int] = []

    def work(item: int) -> None:
        started.append(item)
        time.sleep(0.01)

    results = overlap(2, range(1000), work)
    next(results)
    results.close()
    count = len(started)
    time.sleep(0.05)
    assert len(started) == count < 12


def test_an_interrupt_does_not_wait_for_what_runs() -> None:
    release = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(overlap(2, items(), lambda _: release.wait(5)))
    assert time.monotonic() - began < 2
    release.set()
