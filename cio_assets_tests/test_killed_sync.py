"""SIGKILL in the middle of a sync: every table is as it was or as it is to be, and the next sync completes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cio_assets import sandbox
from cio_assets_tests.conftest import environment, run_cli
from cio_assets_tests.truth import differences, live, stored

TABLES = ("campaigns", "campaign_actions", "customers", "customer_attributes", "messages", "segment_membership")
SELECT = ",".join((*TABLES, "segments"))


@pytest.mark.parametrize("seed", range(1))
@pytest.mark.soak
def test_a_killed_sync_leaves_every_table_whole(box: sandbox.Sandbox, home: Path, tmp_path: Path, seed: int) -> None:
    env = environment(home, box)
    assert run_cli(["sync", "--select", SELECT], env, tmp_path).code == 0
    warehouse = home / "warehouse.duckdb"
    old = {table: stored(warehouse, table) for table in TABLES}
    old_truth = {table: box.truth(table) for table in TABLES}
    box.mutate("change_people", count=20)
    box.mutate("delete_people", count=7)
    box.mutate("delete_campaign", id=1)
    new_truth = {table: box.truth(table) for table in TABLES}

    moments, killed = random.Random(seed), 0
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-m", "cio_assets.cli", "sync", "--select", SELECT],
            env=env,
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        asked = box.stats()["requests"]
        while box.stats()["requests"] == asked and process.poll() is None:  # it has not begun to read
            time.sleep(0.02)
        time.sleep(moments.uniform(0, 1.2))
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        for table in TABLES:
            rows = live(stored(warehouse, table))
            before = differences(table, rows, old_truth[table])
            after = differences(table, rows, new_truth[table])
            assert not before or not after, (table, before[:3], after[:3])

    assert killed, "too late: nothing was killed"
    assert run_cli(["sync", "--select", SELECT], env, tmp_path).code == 0
    for table in TABLES:
        rows = stored(warehouse, table)
        assert differences(table, live(rows), new_truth[table]) == []
        assert len(rows) >= len(old[table]), "rows are marked, not removed"
