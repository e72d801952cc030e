"""`dagster dev` by `make dev`: loads without a warning, materializes what its users click."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cio_assets import sandbox
from cio_assets.catalog import TABLES
from cio_assets_tests.conftest import PROJECT, environment
from cio_assets_tests.truth import differences, live, stored

MONTH = (datetime.now(UTC) - timedelta(days=32)).date().replace(day=1)

LAUNCH = """
mutation($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }
"""
STATUS = "query($id: ID!) { runOrError(runId: $id) { __typename ... on Run { status } } }"
ASSETS = """{ assetNodes { assetKey { path } } repositoriesOrError { __typename ... on PythonError { message } }
  workspaceOrError { ... on Workspace { locationEntries { name loadStatus locationOrLoadError { __typename } } } } }"""


class Ui:
    """The web server's GraphQL, which is all that its pages use."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)["data"]

    def materialize(self, table: str, **tags: str) -> str:
        """Materialize one asset as the page does; answers the run's final status."""
        params = {
            "selector": {
                "repositoryLocationName": "cio_assets",
                "repositoryName": "__repository__",
                "pipelineName": "__ASSET_JOB",
                "assetSelection": [{"path": ["customerio", table]}],
            },
            "mode": "default",
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        }
        launched = self.ask(LAUNCH, params=params)["launchPipelineExecution"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        for _ in range(240):
            status = self.ask(STATUS, id=launched["run"]["runId"])["runOrError"]["status"]
            if status in ("SUCCESS", "FAILURE", "CANCELED"):
                return status
            time.sleep(0.5)
        return "still running"


@contextmanager
def dagster_dev(env: dict[str, str], log: Path) -> Iterator[Ui]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["make", "dev", f"PORT={port}"],
            env=env,
            cwd=PROJECT,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        ui = Ui(f"http://127.0.0.1:{port}")
        for _ in range(240):
            try:
                ui.ask("{ version }")
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                time.sleep(0.25)
        yield ui
    finally:
        # As Ctrl-C does; what still runs then (dagster dev outlives its make) must not outlive the test.
        os.killpg(process.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)
        for _ in range(40):
            if not group_runs(process.pid):
                break
            time.sleep(0.25)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def group_runs(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_the_ui_loads_without_a_warning_and_materializes(box: sandbox.Sandbox, home: Path, tmp_path: Path) -> None:
    home.mkdir()
    (home / "dagster.yaml").write_text((PROJECT / "dagster.yaml").read_text())
    env = environment(home, box, CIO_START_DATE=f"{MONTH}")
    log = tmp_path / "dev.log"
    with dagster_dev(env, log) as ui:
        loaded = ui.ask(ASSETS)
        assert {node["assetKey"]["path"][-1] for node in loaded["assetNodes"]} >= TABLES.keys()
        (location,) = loaded["workspaceOrError"]["locationEntries"]
        assert location["loadStatus"] == "LOADED"
        assert location["locationOrLoadError"]["__typename"] == "RepositoryLocation"
        assert ui.materialize("segments") == "SUCCESS"
        assert ui.materialize("segment_membership") == "SUCCESS"
        assert ui.materialize("messages", **{"dagster/partition": f"{MONTH}"}) == "SUCCESS"
        text = log.read_text()
    assert "Warning" not in text, text
    assert " - ERROR - " not in text, text
    for table in ("segments", "segment_membership"):
        assert differences(table, live(stored(home / "warehouse.duckdb", table)), box.truth(table)) == []
    assert stored(home / "warehouse.duckdb", "messages")
