"""Fixtures: a sandbox over real HTTP, a DAGSTER_HOME of its own, and the CLI as users run it."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from cio_assets import sandbox
from cio_assets_tests import forked

PROJECT = Path(__file__).parents[1]

# Tests do not time: a busy machine is no failure.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

# A shell has its background jobs ignore Ctrl-C, and so would the programs that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class LongTests(LoadScopeScheduling):
    """Tests that share what is made once go to one worker: those of a module, those of a column of the matrix."""

    def _split_scope(self, nodeid: str) -> str:
        column = re.search(r"test_fault_matrix.*\[(\w+)", nodeid)
        return column[1] if column else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LongTests | None:
    """`--dist loadscope` is how `make soak` shares its tests out."""
    return LongTests(config, log) if config.getvalue("dist") == "loadscope" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First what takes longest, or makes what takes longest: in the middle two workers would make it."""
    first = ("soak/", "test_sync_equals_truth")
    items.sort(key=lambda item: (not any(name in item.nodeid for name in first), "test_fault_matrix" in item.nodeid))


@dataclass(frozen=True)
class Finished:
    """What a command printed and its exit code."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Everything that was printed."""
        return self.out + self.err


def peak_megabytes() -> float:
    """Peak memory of this process since its program started (`ru_maxrss` also counts the parent it was forked from)."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024


def environment(home: Path, box: sandbox.Sandbox | None = None, **extra: str) -> dict[str, str]:
    """A clean environment: nothing of the developer's own settings, rates that do not slow a test."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CIO_", "CUSTOMERIO_"))}
    kept |= {"DAGSTER_HOME": str(home), "CIO_APP_RPS": "100000", "COLUMNS": "160", "PYTHONUNBUFFERED": "1"}
    kept |= {"CIO_ENV_FILE": os.devnull}
    if box:
        kept |= {"CUSTOMERIO_APP_URL": box.url, "CUSTOMERIO_APP_API_KEY": box.app_key, "CIO_TRACK_RPS": "100000"}
        kept |= {
            "CUSTOMERIO_TRACK_URL": box.url,
            "CUSTOMERIO_SITE_ID": box.site_id,
            "CUSTOMERIO_TRACK_API_KEY": box.track_key,
        }
    return kept | extra


def clear_of_the_hour(seconds: float) -> None:
    """Wait for the full hour if it is less than `seconds` away: with it, version 1 of metrics tells other hours."""
    left = 3600 - time.time() % 3600
    if left < seconds:
        time.sleep(left + 1)


def run_cli(arguments: list[str], env: Mapping[str, str], cwd: Path, timeout: float = 280) -> Finished:
    """Run `cio-assets` in a process of its own."""
    return Finished(*forked.run(arguments, env, cwd, timeout))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty DAGSTER_HOME."""
    return tmp_path / "home"


@pytest.fixture
def cli(tmp_path: Path, home: Path) -> Callable[..., Finished]:
    """Run `cio-assets` on the home, against a sandbox: `cli(box, "sync", "--select", "campaigns", CIO_…="…")`."""

    def run(box: sandbox.Sandbox | None, *arguments: str, **extra: str) -> Finished:
        return run_cli(list(arguments), environment(home, box, **extra), tmp_path)

    return run


@pytest.fixture
def box() -> Iterator[sandbox.Sandbox]:
    """A small sandbox of the test's own, without a request limit."""
    with forked.launch(
        people=200, campaigns=4, broadcasts=3, newsletters=4, segments=6, objects=20, app_rps=0
    ) as running:
        yield running
