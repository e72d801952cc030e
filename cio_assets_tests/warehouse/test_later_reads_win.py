"""Two runs of one table at once: what was read later stays, whichever is loaded last."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cio_assets.warehouse import Warehouse
from cio_assets_tests.warehouse.stage import MONDAY, TUESDAY, clean, put


def test_an_older_read_loaded_later_changes_nothing_that_is_newer(tmp_path: Path) -> None:
    warehouse = Warehouse(str(tmp_path / "w.duckdb"), "customerio", scratch=tmp_path / "staging")
    put(warehouse, "segments", [{"id": 1, "name": "new"}, {"id": 2, "name": "only the later read saw it"}], at=TUESDAY)
    put(warehouse, "segments", [{"id": 1, "name": "old"}, {"id": 3, "name": "gone since"}], at=MONDAY)
    rows = warehouse.query("SELECT id, name, _deleted_at IS NULL FROM segments ORDER BY id")
    assert rows[:2] == [(1, "new", True), (2, "only the later read saw it", True)]


def test_rows_from_a_clock_that_was_set_back_are_replaced(tmp_path: Path) -> None:
    warehouse = Warehouse(str(tmp_path / "w.duckdb"), "customerio", scratch=tmp_path / "staging")
    now = datetime.now(UTC)
    put(warehouse, "segments", [{"id": 1, "name": "stamped by a clock an hour fast"}], at=now + timedelta(hours=1))
    put(warehouse, "segments", [{"id": 1, "name": "now"}], at=now)
    assert warehouse.query("SELECT name FROM segments") == [("now",)]


SPILLING = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from cio_assets.catalog import TABLES
from cio_assets.warehouse import Staging, Warehouse, load
folder, name = Path(sys.argv[1]), sys.argv[2]
warehouse = Warehouse(str(folder / "w.duckdb"), "customerio", scratch=folder / "staging", memory_limit="64MB")
with Staging(folder / "staging", name) as staging:
    for page in range(150):
        staging.append({"id": f"{name}-{page}-{n}", "data": {"x": "y" * 200}} for n in range(1000))
    staged = staging.finish()
print("ready", flush=True)
sys.stdin.readline()
for _ in range(2):
    load(warehouse, TABLES["activities"], staged, datetime.now(UTC))
"""


def test_two_processes_short_of_memory_do_not_touch_each_other_s_files(tmp_path: Path) -> None:
    loaders = [
        subprocess.Popen(
            [sys.executable, "-c", SPILLING, str(tmp_path), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=clean(),
        )
        for name in "ab"
    ]
    for loader in loaders:
        assert loader.stdout is not None
        assert loader.stdout.readline() == "ready\n"
    for loader in loaders:
        assert loader.stdin is not None
        loader.stdin.write("go\n")
        loader.stdin.flush()
    for loader in loaders:
        _, stderr = loader.communicate(timeout=120)
        assert loader.returncode == 0, stderr[-1500:]
    warehouse = Warehouse(str(tmp_path / "w.duckdb"), "customerio", scratch=tmp_path / "staging")
    assert warehouse.query("SELECT count(*), count(DISTINCT id), count(data->>'x') FROM activities") == [
        (300_000, 300_000, 300_000)
    ]
    assert not list((tmp_path / "staging").glob("spill-*"))
