"""DuckDB instances serve again only where they are as good as new."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import pytest

from cio_assets.warehouse import Warehouse, instances
from cio_assets.warehouse.instances import instance
from cio_assets_tests.warehouse.stage import put


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[duckdb.DuckDBPyConnection]]:
    """The instances that were made while the test ran; none is there before it."""
    fresh: list[duckdb.DuckDBPyConnection] = []
    connect = duckdb.connect

    def counted(**options: Any) -> duckdb.DuckDBPyConnection:
        fresh.append(connect(**options))
        return fresh[-1]

    monkeypatch.setattr(duckdb, "connect", counted)
    instances.forget()
    yield fresh
    instances.forget()


def test_one_after_the_other_uses_one(tmp_path: Path, made: list) -> None:
    for limit in ("128MB", "1GB", "128MB"):
        with instance(tmp_path, limit, keep=True) as con:
            con.execute("CREATE TEMP TABLE mine AS SELECT 1 AS one")
            con.execute("SET TimeZone = 'Asia/Tokyo'")
        with instance(tmp_path, limit, keep=True) as con:
            assert con.execute("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]
            ((memory,),) = con.execute("SELECT current_setting('memory_limit')").fetchall()
            assert memory == {"128MB": "122.0 MiB", "1GB": "953.6 MiB"}[limit]
            assert con.execute("SELECT table_name FROM duckdb_tables()").fetchall() == []
    assert len(made) == 1
    assert list(tmp_path.iterdir()) == []


def test_two_at_once_are_two(tmp_path: Path, made: list) -> None:
    for _ in range(2):
        with instance(tmp_path, "1GB", keep=True) as one, instance(tmp_path, "1GB", keep=True) as other:
            one.execute("CREATE TABLE memory.main.apart AS SELECT 1")
            assert other.execute("SELECT * FROM duckdb_tables()").fetchall() == []
            one.execute("DROP TABLE memory.main.apart")
    assert len(made) == 2


def test_no_more_are_kept_than_are_of_use(tmp_path: Path, made: list) -> None:
    barrier = threading.Barrier(5)

    def use() -> None:
        with instance(tmp_path, "1GB", keep=True):
            barrier.wait(20)

    for _ in range(2):
        threads = [threading.Thread(target=use) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(made) == 5 + 3


def _fail(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("SELECT error('no')")


def _spill(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "CREATE TEMP TABLE big AS SELECT range AS n, range::VARCHAR || repeat('x', 30) AS t FROM range(2000000)"
    )


def _attach(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("ATTACH ':memory:' AS left_here")


def _leave(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("CREATE TABLE memory.main.left_here AS SELECT 1")


def _leave_a_view(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("CREATE VIEW memory.main.left_here AS SELECT 1")


@pytest.mark.parametrize("use", [_fail, _spill, _attach, _leave, _leave_a_view])
def test_what_is_not_as_good_as_new_is_not_used_again(tmp_path: Path, made: list, use: Callable[[Any], None]) -> None:
    with suppress(duckdb.InvalidInputException), instance(tmp_path, "32MB", keep=True) as con:
        use(con)
    with instance(tmp_path, "32MB", keep=True) as con:
        con.execute("SELECT 1")
    assert len(made) == 2
    assert list(tmp_path.iterdir()) == []


def test_what_is_set_for_all_of_an_instance_is_set_back(tmp_path: Path, made: list) -> None:
    for _ in range(2):
        with instance(tmp_path, "32MB", keep=True) as con:
            found = con.execute("SELECT current_setting('threads'), current_setting('preserve_insertion_order')")
            assert found.fetchall() == [(1, False)]
            con.execute("SET threads = 2; SET preserve_insertion_order = true")
    assert len(made) == 1


def test_one_that_died_idle_is_replaced(tmp_path: Path, made: list) -> None:
    for _ in range(2):
        with instance(tmp_path, "32MB", keep=True) as con:
            con.execute("SELECT 1")
        made[0].close()
    assert len(made) == 2


def test_what_may_not_be_kept_is_not(tmp_path: Path, made: list) -> None:
    for _ in range(2):
        with instance(tmp_path, "32MB", keep=False):
            pass
    assert len(made) == 2


def test_a_forked_process_makes_its_own(tmp_path: Path) -> None:
    with instance(tmp_path, "32MB", keep=True):
        pass
    forked = multiprocessing.get_context("fork").Process(target=_use, args=[tmp_path])
    forked.start()
    forked.join(30)
    assert forked.exitcode == 0


def _use(folder: Path) -> None:
    with instance(folder, "32MB", keep=True) as con:
        assert con.execute("SELECT sum(range) FROM range(100000)").fetchall() == [(4999950000,)]


def test_an_asset_s_load_and_what_it_asks_before_take_one_instance(tmp_path: Path, made: list) -> None:
    warehouse = Warehouse(str(tmp_path / "w.duckdb"), "customerio", scratch=tmp_path / "staging")
    for number in range(3):
        put(warehouse, "segments", [{"id": number}])
        assert warehouse.count("segments") == number + 1
    assert len(made) == 1


def test_a_failed_load_leaves_the_file_free(tmp_path: Path) -> None:
    warehouse = Warehouse(str(tmp_path / "w.duckdb"), "customerio", scratch=tmp_path / "staging")
    put(warehouse, "segments", [{"id": 1}])
    with pytest.raises(duckdb.InvalidInputException), warehouse.transaction() as con:
        con.execute("SELECT error('no')")
    with duckdb.connect(database=warehouse.uri) as other:  # as another program does
        assert other.execute("SELECT count(*) FROM customerio.segments").fetchall() == [(1,)]
