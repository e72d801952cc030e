"""A sync that did not end is gone on with: what it had finished, or read of the rest, is not asked again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cio_assets import sandbox
from cio_assets_tests import forked
from cio_assets_tests.conftest import Finished, environment, run_cli
from cio_assets_tests.truth import differences, live, stored

Cli = Callable[..., Finished]
TABLES = ("segments", "segment_membership", "customers", "customer_attributes")
SELECT = ("sync", "--select", ",".join(TABLES))
ATTRIBUTES = "POST /v1/customers/attributes"


def equal(box: sandbox.Sandbox, home: Path) -> None:
    for table in TABLES:
        assert differences(table, live(stored(home / "warehouse.duckdb", table)), box.truth(table)) == [], table


@pytest.fixture
def many(tmp_path: Path) -> object:
    with forked.launch(people=2500, segments=4, deliveries=10, activities=10, app_rps=0) as box:
        yield box


def test_a_killed_sync_is_gone_on_with(many: sandbox.Sandbox, home: Path, tmp_path: Path) -> None:
    env = environment(home, many)
    many.faults(rates={"stall": 0.3}, stall_seconds=0.2)
    process = subprocess.Popen(
        [sys.executable, "-m", "cio_assets.cli", *SELECT],
        env=env,
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while many.stats()["by_endpoint"].get(ATTRIBUTES, 0) < 12:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    many.faults()
    before = many.stats()["by_endpoint"]
    done = run_cli(list(SELECT), env, tmp_path)
    assert done.code == 0, done.text
    assert "had been read by the last sync" in done.text
    after = many.stats()["by_endpoint"]
    assert after["POST /v1/customers"] == before["POST /v1/customers"] == 3
    assert 25 <= after[ATTRIBUTES] <= 25 + 10, "batches whose answers were under way, and they alone, are asked twice"
    equal(many, home)
    assert not (home / "unfinished-sync.json").exists()
    assert run_cli(list(SELECT), env, tmp_path).code == 0
    assert many.stats()["by_endpoint"]["GET /v1/segments"] == after["GET /v1/segments"] + 1, "a sync that ended is over"


def test_a_failed_sync_is_gone_on_with(many: sandbox.Sandbox, cli: Cli, home: Path) -> None:
    many.faults(rules=[{"kind": "401", "path": "/attributes", "after": 10}])
    done = cli(many, *SELECT)
    assert done.code == 1
    assert "Failed:" in done.text
    assert "customer_attributes" in done.text.partition("Failed:")[2]
    asked = many.stats()["by_endpoint"][ATTRIBUTES]
    many.faults()
    assert cli(many, *SELECT).code == 0
    again = many.stats()["by_endpoint"][ATTRIBUTES] - asked
    assert again <= 25 - 10
    equal(many, home)


def test_other_tables_or_options_are_another_sync(many: sandbox.Sandbox, cli: Cli, home: Path) -> None:
    many.faults(rules=[{"kind": "401", "path": "/attributes"}])
    assert cli(many, *SELECT).code == 1
    many.faults()
    done = cli(many, "sync", "--select", "segments")
    assert done.code == 0
    assert "had been read by the last sync" not in done.text
    many.reset_stats()
    assert cli(many, *SELECT, "--full").code == 0
    assert many.stats()["by_endpoint"]["POST /v1/customers"] == 3


@pytest.mark.parametrize("spoiled", ["", "{", '{"inputs": 1}', "old"])
def test_what_is_not_ours_or_too_old_is_not_believed(many: sandbox.Sandbox, cli: Cli, home: Path, spoiled: str) -> None:
    many.faults(rules=[{"kind": "401", "path": "/attributes"}])
    assert cli(many, *SELECT).code == 1
    many.faults()
    kept = home / "unfinished-sync.json"
    if spoiled == "old":
        kept.write_text(json.dumps(json.loads(kept.read_text()) | {"began": "2026-01-01T00:00:00+00:00"}))
    else:
        kept.write_text(spoiled)
    many.reset_stats()
    assert cli(many, *SELECT).code == 0
    assert many.stats()["by_endpoint"]["POST /v1/customers"] == 3
    equal(many, home)


def test_a_cursor_that_is_no_longer_accepted_begins_the_list_anew(many: sandbox.Sandbox, cli: Cli, home: Path) -> None:
    many.faults(rules=[{"kind": "401", "path": "/v1/customers$", "after": 1}])
    assert cli(many, *SELECT).code == 1
    many.faults(rules=[{"kind": "stale-cursor", "path": "/v1/customers$", "times": 1}])
    done = cli(many, *SELECT)
    assert done.code == 0, done.text
    assert many.stats()["injected"]["stale-cursor"] == 1
    equal(many, home)


def test_a_cursor_that_is_never_accepted_is_an_error(many: sandbox.Sandbox, cli: Cli) -> None:
    many.faults(rules=[{"kind": "stale-cursor", "path": "/v1/customers$"}])
    done = cli(many, "sync", "--select", "customers")
    assert done.code == 1
    assert "POST /v1/customers was refused with 400" in done.text


def test_a_table_that_always_fails_does_not_keep_the_others_old(many: sandbox.Sandbox, cli: Cli, home: Path) -> None:
    many.faults(rules=[{"kind": "403", "path": "/v1/collections"}])
    tables = ("sync", "--select", "segments,collections")
    for _ in range(2):
        assert cli(many, *tables).code == 1
    assert many.stats()["by_endpoint"]["GET /v1/segments"] == 1, "a few minutes later it is gone on with"
    kept = home / "unfinished-sync.json"
    told = json.loads(kept.read_text())
    kept.write_text(json.dumps(told | {"ended": (datetime.now(UTC) - timedelta(minutes=31)).isoformat()}))
    assert cli(many, *tables).code == 1
    assert many.stats()["by_endpoint"]["GET /v1/segments"] == 2, "after half an hour it is another one"
