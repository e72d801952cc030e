"""A reader sees the old table or the new one, whatever happens to a load."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cio_assets.catalog import TABLES
from cio_assets.warehouse import Warehouse, WarehouseError, load
from cio_assets_tests.warehouse.killed_loads import ROWS
from cio_assets_tests.warehouse.stage import MONDAY, TUESDAY, clean, put, python, stage

OLD = [{"id": 1, "name": "one"}, {"id": 2, "name": "two"}]
NEW = [{"id": 1, "name": "ONE"}, {"id": 3, "name": "three"}]


def _all(warehouse: Warehouse) -> list[tuple]:
    return warehouse.query("SELECT id, name, _synced_at, _deleted_at FROM segments ORDER BY id")


def test_a_row_that_the_table_refuses_leaves_the_old_rows(duck: Warehouse) -> None:
    # Fails on INSERT, when the old rows have been deleted and marked.
    with duck.transaction() as con:
        con.execute(
            "CREATE TABLE segments (id BIGINT, name VARCHAR CHECK (name <> 'three'), _synced_at TIMESTAMPTZ, "
            "_deleted_at TIMESTAMPTZ)"
        )
    put(duck, "segments", OLD)
    before = _all(duck)

    with pytest.raises(WarehouseError, match=r"customerio\.segments failed .*; the table is as it was"):
        put(duck, "segments", NEW, at=TUESDAY)

    assert _all(duck) == before == [(1, "one", MONDAY, None), (2, "two", MONDAY, None)]


def test_a_column_of_a_wrong_type_leaves_the_old_rows(warehouse: Warehouse) -> None:
    with warehouse.transaction() as con:
        con.execute("CREATE TABLE segments (id BIGINT, name BIGINT)")
        con.execute("INSERT INTO segments VALUES (1, 5)")

    with pytest.raises(WarehouseError, match="column name is BIGINT"):
        put(warehouse, "segments", NEW)

    assert warehouse.query("SELECT * FROM segments") == [(1, 5)]  # nor was a column added


def test_a_row_that_cannot_be_typed_leaves_the_old_rows(duck: Warehouse) -> None:
    put(duck, "segments", OLD)
    before = _all(duck)

    with pytest.raises(WarehouseError):
        put(duck, "segments", NEW, [{"id": "no number", "name": "x"}], at=TUESDAY)

    assert _all(duck) == before


def test_a_file_cut_short_leaves_the_old_rows(duck: Warehouse) -> None:
    put(duck, "segments", OLD)
    before = _all(duck)
    staged = stage(duck.scratch, NEW)
    whole = staged.rows_path.read_bytes()
    staged.rows_path.write_bytes(whole[: len(whole) - 9])

    with pytest.raises(WarehouseError):
        load(duck, TABLES["segments"], staged, TUESDAY)

    assert _all(duck) == before


def test_an_exception_in_a_transaction_undoes_everything(warehouse: Warehouse) -> None:
    put(warehouse, "segments", OLD)

    def fail() -> None:
        with warehouse.transaction() as con:
            con.execute("DELETE FROM segments")
            con.execute("CREATE TABLE other (a INTEGER)")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()

    assert len(_all(warehouse)) == 2
    with pytest.raises(WarehouseError, match="not in the warehouse"):
        warehouse.read("other")


def test_the_warehouse_can_be_used_after_a_failure(duck: Warehouse) -> None:
    with pytest.raises(WarehouseError):
        put(duck, "segments", [{"id": "no number"}])

    put(duck, "segments", OLD)

    assert len(_all(duck)) == 2


def test_a_reader_beside_a_writer_sees_one_state(duck: Warehouse) -> None:
    def rows(generation: int) -> Iterator[dict[str, Any]]:
        return ({"id": n, "name": f"{generation}"} for n in range(500))

    put(duck, "segments", rows(0))
    stop = threading.Event()
    seen: list[list[tuple]] = []

    def look() -> None:
        while not stop.is_set():
            seen.append(duck.query("SELECT name, count(*) FROM segments WHERE _deleted_at IS NULL GROUP BY 1"))
            stop.wait(0.05)  # the lock is no queue: a reader without a pause would starve the writer

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for generation in range(1, 6):
            put(duck, "segments", rows(generation))
    finally:
        stop.set()
        reader.join()

    assert seen
    assert all(len(state) == 1 and state[0][1] == 500 for state in seen)


FULL_BEHIND_THE_COMMIT = """
    import importlib, resource, signal, sys
    from pathlib import Path
    from cio_assets.warehouse import Warehouse
    from cio_assets_tests.warehouse.stage import MONDAY, TUESDAY, put

    loading = importlib.import_module("cio_assets.warehouse.load")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    folder, ask = Path(sys.argv[1]), loading._one
    warehouse = Warehouse(str(folder / "w.duckdb"), "customerio", scratch=folder / "staging")

    def no_file_may_grow(con, sql, *parameters):
        answer = ask(con, sql, *parameters)
        if sql.endswith("_cio_stage.staged"):  # the last question of a load, behind its commit
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        return answer

    put(warehouse, "segments", [{"id": 1}], at=MONDAY)
    loading._one = no_file_may_grow
    print(put(warehouse, "segments", [{"id": 1}, {"id": 2}], at=TUESDAY).rows_in_table)
"""


def test_a_disk_that_is_full_behind_the_commit_fails_nothing(tmp_path: Path) -> None:
    done = python(FULL_BEHIND_THE_COMMIT, str(tmp_path))

    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr[-2000:]


def test_a_killed_load_leaves_a_complete_state(tmp_path: Path) -> None:
    rounds = 12
    done = subprocess.run(
        [sys.executable, "-m", "cio_assets_tests.warehouse.killed_loads", str(tmp_path), str(rounds)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env=clean(),
        cwd=Path(__file__).parents[2],
    )

    states = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(states) == rounds, done.stderr
    for state in states:
        ((generation, count, ids, marked, first, last),) = state["found"]
        # The last load that was reported, or the one that was under way.
        assert generation in (state["done"], state["done"] + 1)
        assert (count, ids, marked) == (ROWS, ROWS, 0)
        assert first == last == f"generation {generation}"
