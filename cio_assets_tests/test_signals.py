"""An interrupt that Dagster has noted and forgotten stops a sync all the same."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cio_assets import sync
from cio_assets.runs import watching_for_signals


@contextmanager
def noted_and_forgotten() -> Iterator[None]:
    """As Dagster does while it runs a job."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def test_signals_are_told_once() -> None:
    with watching_for_signals() as came, noted_and_forgotten():
        assert not came()
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert came()
        assert not came()


def test_who_watched_before_watches_again() -> None:
    with watching_for_signals() as outer, noted_and_forgotten():
        with watching_for_signals():
            signal.raise_signal(signal.SIGINT)
        assert not outer()
        signal.raise_signal(signal.SIGINT)
        assert outer()


def test_another_thread_than_the_main_one_is_told_nothing() -> None:
    told: list[bool] = []

    def watch() -> None:
        with watching_for_signals() as came:
            told.append(came())

    thread = threading.Thread(target=watch)
    thread.start()
    thread.join()
    assert told == [False]


class Job:
    """Ends well, and somebody presses Ctrl-C as it does."""

    def resolve_job_def(self, _: str) -> Job:
        return self

    def execute_in_process(self, **_: Any) -> Any:
        with noted_and_forgotten():
            signal.raise_signal(signal.SIGINT)
        return self

    all_events = ()


def test_a_sync_does_not_go_on_with_the_next_run() -> None:
    definitions: Any = Job()
    instance: Any = None
    with pytest.raises(KeyboardInterrupt):
        list(sync._run(definitions, instance, "sync_snapshots", ["segments"], None, {}))
