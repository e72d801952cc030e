"""SIGKILL at twenty random moments of a full sync: what was read is not asked for again, and the tables are right."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cio_assets import sandbox
from cio_assets_tests import forked
from cio_assets_tests.conftest import environment, run_cli
from cio_assets_tests.soak.whole import Truth, start_cli, wait_for_requests

pytestmark = [pytest.mark.soak, pytest.mark.timeout(500)]

KILLS = 20
NOW = datetime.now(UTC)
START = (NOW - timedelta(days=150)).date()
MOST = 1.15
"""Requests of a sync with all its kills over those of a clean one."""


@dataclass(frozen=True)
class Workspace:
    """A sandbox that stands still, its truth, and what a sync costs that nobody kills."""

    box: sandbox.Sandbox
    truth: Truth
    clean: Mapping[str, int]
    """Requests by endpoint."""

    @property
    def requests(self) -> int:
        return sum(self.clean.values())


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    folder = tmp_path_factory.mktemp("clean")
    with forked.launch(
        people=20_000,
        deliveries=50_000,
        activities=6_000,
        campaigns=10,
        broadcasts=3,
        newsletters=4,
        segments=10,
        objects=50,
        days=120,
        now=NOW.timestamp(),
        freeze=True,
        app_rps=0,
        latency_ms=20,
        jitter_ms=40,
    ) as box:
        done = run_cli(["sync"], env_of(box, folder), folder)
        assert done.code == 0, done.text
        yield Workspace(box, Truth(box, START, NOW), box.stats()["by_endpoint"])


def env_of(box: sandbox.Sandbox, folder: Path) -> dict[str, str]:
    return environment(folder / "home", box, CIO_START_DATE=START.isoformat())


def kill_once(workspace: Workspace, folder: Path, chance: random.Random, after: float, linger: float) -> None:
    """A sync that is killed after so many requests of its own, and up to `linger` seconds."""
    began = workspace.box.stats()["requests"]
    process = start_cli(["sync"], env_of(workspace.box, folder), folder)
    wait_for_requests(workspace.box, began + max(1, int(after)), process)
    with suppress(subprocess.TimeoutExpired):
        process.wait(chance.uniform(0, linger))
    assert process.poll() is None, "it ended before it could be killed: " + (folder / "said").read_text()[-2000:]
    process.kill()
    process.wait()


def run_to_the_end(workspace: Workspace, folder: Path) -> None:
    done = run_cli(["sync"], env_of(workspace.box, folder), folder)
    assert done.code == 0, done.text
    assert workspace.truth.differences(folder / "home" / "warehouse.duckdb") == []


def few_enough(workspace: Workspace, kills: int) -> None:
    """What was asked twice is what was under way when a kill came."""
    stats = workspace.box.stats()
    share = stats["requests"] / workspace.requests
    print(f"kills: {kills}; {stats['requests']:,} requests, {workspace.requests:,} in one go: {share:.3f}")
    for endpoint, asked in stats["by_endpoint"].items():
        print(f"  {asked - workspace.clean[endpoint]:4} more of {workspace.clean[endpoint]:4} {endpoint}")
    assert share <= MOST
    assert stats["violations"] == []


def test_one_sync_killed_twenty_times(workspace: Workspace, tmp_path: Path) -> None:
    """Each re-run is killed again, so a life reads about a twentieth of it."""
    box, chance = workspace.box, random.Random(4)
    box.reset_stats()
    for number in range(KILLS):
        left = workspace.requests - box.stats()["requests"]
        share = 2 * left / (KILLS - number + 1)
        kill_once(workspace, tmp_path, chance, chance.uniform(0, share), 0.2 if left > 200 else 0.02)
    run_to_the_end(workspace, tmp_path)
    few_enough(workspace, KILLS)


def test_a_sync_killed_once(workspace: Workspace, tmp_path: Path) -> None:
    """At any moment of it."""
    box, chance = workspace.box, random.Random(5)
    box.reset_stats()
    kill_once(workspace, tmp_path, chance, chance.uniform(0, 0.9 * workspace.requests), 0.3)
    run_to_the_end(workspace, tmp_path)
    few_enough(workspace, 1)
