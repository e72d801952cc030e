"""Many loads at once: nothing is lost, nobody fails."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cio_assets.warehouse import Warehouse
from cio_assets_tests.warehouse.stage import clean, put

LOADER = """
import sys
from pathlib import Path
from cio_assets.warehouse import Warehouse
from cio_assets_tests.warehouse.stage import put
uri, scratch, name = sys.argv[1:]
warehouse = Warehouse(uri, "customerio", scratch=Path(scratch))
print("ready", flush=True)
sys.stdin.readline()
for n in range(8):
    put(warehouse, "activities", [{"id": f"{name}-{n}-{i}"} for i in range(50)])
    put(warehouse, "segments" if name == "a" else "snippets", [{"id": n, "name": f"{n}"}])
"""


@pytest.mark.parametrize("kind", ["duckdb", "ducklake"])
def test_loads_of_two_processes_all_arrive(tmp_path: Path, kind: str) -> None:
    uri = str(tmp_path / "w.duckdb") if kind == "duckdb" else f"ducklake:{tmp_path / 'w.ducklake'}"
    scratch = tmp_path / "staging"
    loaders = [
        subprocess.Popen(
            [sys.executable, "-c", LOADER, uri, str(scratch), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=clean(),
            cwd=Path(__file__).parents[2],
        )
        for name in ("a", "b")
    ]
    for loader in loaders:
        assert loader.stdout is not None
        assert loader.stdout.readline() == "ready\n"
    for loader in loaders:
        _, stderr = loader.communicate("go\n", timeout=100)
        assert loader.returncode == 0, stderr[-2000:]

    warehouse = Warehouse(uri, "customerio", scratch=scratch)
    assert warehouse.query(
        "SELECT left(id, 1), count(*), count(DISTINCT id) FROM activities GROUP BY 1 ORDER BY 1"
    ) == [
        ("a", 400, 400),
        ("b", 400, 400),
    ]
    assert warehouse.read("segments", ["id"]).to_pylist() == [{"id": 7}]
    assert warehouse.read("snippets", ["name"]).to_pylist() == [{"name": "7"}]


def test_loads_of_many_threads_all_arrive(duck: Warehouse) -> None:
    failures: list[BaseException] = []

    def run(name: str) -> None:
        try:
            for n in range(4):
                put(duck, "activities", [{"id": f"{name}-{n}"}])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=[f"t{number}"]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert duck.query("SELECT count(DISTINCT id) FROM activities") == [(16,)]
