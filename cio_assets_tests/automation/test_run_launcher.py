"""Whether a run's process is still there: asked of its code server, or told by the run's tag."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus

from cio_assets.automation.process_tag import PROCESS, process_is_gone, process_tag
from cio_assets.automation.run_launcher import WatchfulRunLauncher
from cio_assets_tests.automation.ticks import push_persons
from cio_assets_tests.conftest import PROJECT


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster.yaml").write_text((PROJECT / "dagster.yaml").read_text())
    with dg.DagsterInstance.from_config(str(tmp_path)) as made:
        yield made


def looks(instance: dg.DagsterInstance, tags: dict[str, str], number: int = 3) -> list[str]:
    """What looks one after the other say of a run with these tags."""
    run = instance.create_run_for_job(job_def=push_persons, status=dg.DagsterRunStatus.STARTED, tags=tags)
    launcher = instance.run_launcher
    assert isinstance(launcher, WatchfulRunLauncher)
    return [launcher.check_run_worker_health(run).status.value for _ in range(number)]


def test_a_run_whose_code_server_is_gone_is_dead_at_the_second_look(instance: dg.DagsterInstance) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    tag = {".dagster/grpc_info": json.dumps({"host": "127.0.0.1", "port": port})}
    assert looks(instance, tag, 2) == [WorkerStatus.RUNNING.value, WorkerStatus.FAILED.value]
    gone = {".dagster/grpc_info": json.dumps({"host": "localhost", "socket": "/nowhere/at/all"})}
    assert looks(instance, gone, 2) == [WorkerStatus.RUNNING.value, WorkerStatus.FAILED.value]


def test_a_code_server_that_does_not_answer_in_time_is_no_dead_run(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cio_assets.automation.run_launcher._SECONDS", 1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        tag = {".dagster/grpc_info": json.dumps({"host": "127.0.0.1", "port": silent.getsockname()[1]})}
        assert looks(instance, tag) == [WorkerStatus.RUNNING.value] * 3


def test_a_run_of_the_command_line_is_as_dead_as_its_process(instance: dg.DagsterInstance) -> None:
    assert looks(instance, process_tag()) == [WorkerStatus.RUNNING.value] * 3
    assert looks(instance, {}) == [WorkerStatus.RUNNING.value] * 3
    code = "from cio_assets.automation.process_tag import *; print(process_tag()[PROCESS])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT)
    assert looks(instance, {PROCESS: done.stdout.strip()}, 2) == [WorkerStatus.RUNNING.value, WorkerStatus.FAILED.value]


def test_another_process_with_the_number_is_not_the_runs() -> None:
    host = socket.gethostname()
    assert not process_is_gone(process_tag())
    assert process_is_gone({PROCESS: f"{host}/{os.getpid()}/1"})
    assert not process_is_gone({PROCESS: f"{host}/{os.getpid()}/0"})  # a system that does not tell


@pytest.mark.parametrize("value", ["", "another-machine/1/1", "nonsense", "a/b/c", "//", f"{socket.gethostname()}/x/y"])
def test_what_cannot_be_told_is_not_dead(value: str) -> None:
    assert not process_is_gone({PROCESS: value})
    assert not process_is_gone({})
