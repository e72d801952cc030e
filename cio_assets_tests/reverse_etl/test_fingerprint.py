"""Fingerprints of a source: equal for equal rows, different after each change, cheap where a watermark tells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cio_assets.reverse_etl import fingerprint
from cio_assets.reverse_etl.model import Kind, Sync
from cio_assets.warehouse.database import Warehouse, WarehouseAbsent, WarehouseBusy, WarehouseError
from cio_assets_tests.warehouse import conftest as kinds

duck, postgres_dsn, warehouse = kinds.duck, kinds.postgres_dsn, kinds.warehouse  # fixtures

PLAIN = Sync(name="persons", kind=Kind.PERSONS, source="reverse_etl.persons")
MARKED = Sync(name="marked", kind=Kind.PERSONS, source="reverse_etl.persons", cursor="Updated_At")


def write(warehouse: Warehouse, *statements: str) -> None:
    with warehouse.attached() as con:
        con.execute("CREATE SCHEMA IF NOT EXISTS wh.reverse_etl")
        for statement in statements:
            con.execute(statement)


def content(warehouse: Warehouse, about: str = "") -> str:
    with warehouse.attached_for_reading() as con:
        source = fingerprint.find_source(con, PLAIN)
        assert source is not None
        return fingerprint.by_content(con, source, about)


def watermark(warehouse: Warehouse, sync: Sync = MARKED) -> str | None:
    with warehouse.attached_for_reading() as con:
        source = fingerprint.find_source(con, sync)
        assert source is not None
        return fingerprint.by_watermark(con, warehouse, source, sync, "")


def persons(*rows: tuple[str, int, str]) -> str:
    values = ", ".join(f"('{email}', {score}, TIMESTAMP '{updated}')" for email, score, updated in rows)
    return f"INSERT INTO wh.reverse_etl.persons VALUES {values}"


TABLE = "CREATE TABLE wh.reverse_etl.persons (email VARCHAR, score INTEGER, updated_at TIMESTAMP)"
ANNA, BERT = ("anna@example.com", 1, "2026-01-01"), ("bert@example.com", 2, "2026-01-02")


def test_each_kind_of_warehouse_tells_changes_by_content_and_by_watermark(
    warehouse: Warehouse,
) -> None:
    write(warehouse, "DROP TABLE IF EXISTS wh.reverse_etl.persons", TABLE, persons(ANNA, BERT))
    all_rows, mark = content(warehouse), watermark(warehouse)
    assert mark is not None
    assert (content(warehouse), watermark(warehouse)) == (all_rows, mark)
    # The watermark does not see this.
    write(warehouse, "UPDATE wh.reverse_etl.persons SET score = 9 WHERE email LIKE 'anna%'")
    assert content(warehouse) != all_rows
    assert watermark(warehouse) == mark
    write(warehouse, "UPDATE wh.reverse_etl.persons SET score = 1 WHERE email LIKE 'anna%'")
    assert content(warehouse) == all_rows
    # But this, and a row that is gone.
    write(warehouse, "UPDATE wh.reverse_etl.persons SET updated_at = '2026-01-03' WHERE email LIKE 'anna%'")
    moved = watermark(warehouse)
    write(warehouse, "DELETE FROM wh.reverse_etl.persons WHERE email LIKE 'bert%'")
    assert len({mark, moved, watermark(warehouse)}) == 3


def test_reading_makes_nothing_and_cannot_write(warehouse: Warehouse) -> None:
    write(warehouse, "DROP TABLE IF EXISTS wh.reverse_etl.persons", TABLE)
    other = Warehouse(warehouse.uri, "never_made", scratch=warehouse.scratch, busy_seconds=5)
    with other.attached_for_reading() as con:
        assert fingerprint.find_source(con, PLAIN) is not None
        schemas = con.execute("SELECT schema_name FROM duckdb_schemas() WHERE database_name = 'wh'").fetchall()
        assert ("never_made",) not in schemas
        with pytest.raises(duckdb.Error, match=r"(?i)read-only"):
            con.execute("INSERT INTO wh.reverse_etl.persons VALUES (NULL, 1, NULL)")


@pytest.mark.parametrize("uri", ["{}/none.duckdb", "ducklake:{}/none.ducklake"])
def test_a_warehouse_that_is_not_there_is_not_made(tmp_path: Path, uri: str) -> None:
    absent = Warehouse(uri.format(tmp_path), "customerio", scratch=tmp_path / "staging")
    with pytest.raises(WarehouseAbsent), absent.attached_for_reading():
        pass
    assert not list(tmp_path.glob("none*"))


def test_a_file_that_is_no_database_says_so(duck: Warehouse) -> None:
    Path(duck.uri).write_text("not a database, and long enough to be read as one " * 100)
    with pytest.raises(WarehouseError, match="cannot be opened as a DuckDB database"), duck.attached_for_reading():
        pass


ROW = st.tuples(st.one_of(st.none(), st.sampled_from(["", "a", "b", "ab"])), st.integers(0, 3))


@settings(max_examples=30)
@given(rows=st.lists(ROW, max_size=6), others=st.lists(ROW, max_size=6), shuffled=st.randoms())
def test_equal_rows_in_any_order_and_only_these_are_equal(
    rows: list[tuple], others: list[tuple], shuffled: object
) -> None:
    def checksum(listed: list[tuple]) -> str:
        with duckdb.connect() as con:
            con.execute("ATTACH ':memory:' AS wh; CREATE SCHEMA wh.reverse_etl")
            con.execute("CREATE TABLE wh.reverse_etl.persons (a VARCHAR, b INTEGER)")
            if listed:
                con.executemany("INSERT INTO wh.reverse_etl.persons VALUES (?, ?)", listed)
            source = fingerprint.find_source(con, PLAIN)
            assert source is not None
            return fingerprint.by_content(con, source, "")

    mixed = list(rows)
    shuffled.shuffle(mixed)  # pyright: ignore[reportAttributeAccessIssue]  # hypothesis' random.Random
    assert checksum(mixed) == checksum(rows)
    multiset = [sorted(map(repr, listed)) for listed in (rows, others)]
    assert (checksum(rows) == checksum(others)) == (multiset[0] == multiset[1])


def test_pairs_of_equal_rows_do_not_cancel(duck: Warehouse) -> None:
    write(duck, TABLE, persons(ANNA, ANNA))
    twice_anna = content(duck)
    write(duck, "DELETE FROM wh.reverse_etl.persons", persons(BERT, BERT))
    assert content(duck) != twice_anna


def test_columns_count_but_not_their_order(duck: Warehouse) -> None:
    write(duck, TABLE, persons(ANNA))
    before = content(duck)
    write(
        duck,
        "CREATE OR REPLACE TABLE wh.reverse_etl.persons AS SELECT updated_at, score, email FROM wh.reverse_etl.persons",
    )
    assert content(duck) == before
    write(duck, "ALTER TABLE wh.reverse_etl.persons RENAME score TO points")
    renamed = content(duck)
    write(duck, "ALTER TABLE wh.reverse_etl.persons ALTER points TYPE BIGINT")
    assert len({before, renamed, content(duck)}) == 3


def test_what_the_fingerprint_is_about_is_part_of_it(duck: Warehouse) -> None:
    write(duck, TABLE, persons(ANNA))
    assert content(duck, "this sync") != content(duck, "that sync")


def test_a_column_may_be_called_anything(duck: Warehouse) -> None:
    write(duck, 'CREATE TABLE wh.reverse_etl.persons ("a ""b""; --" INTEGER, "hash" INTEGER, h INTEGER, "ä" INTEGER)')
    before = content(duck)
    write(duck, "INSERT INTO wh.reverse_etl.persons VALUES (1, 2, 3, 4)")
    assert content(duck) != before


def test_the_watermark_reads_no_other_column(duck: Warehouse) -> None:
    write(
        duck,
        "CREATE TABLE wh.reverse_etl.stored AS SELECT range AS n, to_timestamp(range) AS updated_at FROM range(1000)",
        "CREATE VIEW wh.reverse_etl.persons AS SELECT updated_at, error(n::VARCHAR) AS email FROM reverse_etl.stored",
    )
    assert watermark(duck) is not None
    with pytest.raises(duckdb.InvalidInputException):
        content(duck)


def test_of_a_plain_table_the_watermark_comes_from_statistics(duck: Warehouse) -> None:
    write(
        duck,
        "CREATE TABLE wh.reverse_etl.persons AS "
        "SELECT 'p' || range AS email, to_timestamp(range) AS updated_at FROM range(1_000_000)",
    )
    with duck.attached_for_reading() as con:
        (_, plan), *_ = con.execute(
            "EXPLAIN SELECT count(*), max(updated_at)::VARCHAR FROM wh.reverse_etl.persons"
        ).fetchall()
    assert "SCAN" in plan
    assert "TABLE_SCAN" not in plan.replace(" ", "_").replace("COLUMN_DATA_SCAN", "")


@pytest.mark.parametrize("sync", [PLAIN, MARKED.model_copy(update={"cursor": "not_there"})])
def test_without_its_column_there_is_no_watermark(duck: Warehouse, sync: Sync) -> None:
    write(duck, TABLE)
    assert watermark(duck, sync) is None


def test_a_view_is_no_stored_table_and_names_are_found_in_any_case(duck: Warehouse) -> None:
    write(duck, 'CREATE TABLE wh.reverse_etl."Stored" AS SELECT 1 AS i')
    write(duck, 'CREATE VIEW wh.reverse_etl.persons AS SELECT i FROM reverse_etl."Stored"')
    with duck.attached_for_reading() as con:
        view = fingerprint.find_source(con, PLAIN)
        table = fingerprint.find_source(con, PLAIN.model_copy(update={"source": "Reverse_ETL.stored"}))
        none = fingerprint.find_source(con, PLAIN.model_copy(update={"source": "reverse_etl.none"}))
    assert view is not None
    assert table is not None
    assert (view.stored, table.stored, none) == (False, True, None)


def test_rows_that_a_killed_writer_left_in_the_log_are_seen(duck: Warehouse) -> None:
    write(duck, TABLE, persons(ANNA))
    before = content(duck)
    program = (
        f"import duckdb, os; con = duckdb.connect({duck.uri!r}); con.execute('PRAGMA disable_checkpoint_on_shutdown'); "
        'con.execute("INSERT INTO reverse_etl.persons VALUES (NULL, 1, NULL)"); os._exit(1)'
    )
    subprocess.run([sys.executable, "-c", program], check=False)
    assert Path(f"{duck.uri}.wal").exists()
    assert content(duck) != before


def test_the_files_time_tells_of_writing_once_it_has_settled(duck: Warehouse) -> None:
    def settled(seconds_ago: float) -> None:
        moment = time.time() - seconds_ago
        os.utime(duck.uri, (moment, moment))

    write(duck, TABLE)
    assert fingerprint.of_file(duck, "") is None  # just written
    settled(30)
    before = fingerprint.of_file(duck, "")
    content(duck)
    assert fingerprint.of_file(duck, "") == before  # reading is no writing
    assert fingerprint.of_file(duck, "another sync") != before
    write(duck, persons(ANNA))
    settled(20)
    assert fingerprint.of_file(duck, "") not in (before, None)


def test_a_warehouse_that_is_no_file_has_no_file(tmp_path: Path) -> None:
    assert fingerprint.of_file(Warehouse("md:sales", "customerio", scratch=tmp_path), "") is None


def test_a_fingerprint_shows_no_value(duck: Warehouse) -> None:
    write(duck, TABLE, persons(ANNA, BERT))
    shown = json.dumps([content(duck), watermark(duck)])
    assert not [value for value in ("anna", "bert", "2026") if value in shown.replace('"', "")]


HOLDER = """
import sys, duckdb
con = duckdb.connect(sys.argv[1])
print("open", flush=True)
sys.stdin.readline()
"""


def test_a_file_that_another_program_writes_is_busy_at_once(duck: Warehouse) -> None:
    write(duck, TABLE)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, duck.uri], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    started = time.monotonic()
    with pytest.raises(WarehouseBusy, match=rf"open in another program \(PID {holder.pid}\)"):
        content(duck)
    assert time.monotonic() - started < 2
    holder.communicate("\n", timeout=20)
    assert content(duck)


def test_our_own_writer_or_reader_is_busy_at_once(duck: Warehouse) -> None:
    write(duck, TABLE)
    for holding in (duck.attached, duck.attached_for_reading):
        with holding(), pytest.raises(WarehouseBusy), duck.attached_for_reading():
            pass
    assert content(duck)


def test_a_file_open_in_this_process_otherwise_is_busy(duck: Warehouse) -> None:
    write(duck, TABLE)
    with duckdb.connect(duck.uri), pytest.raises(WarehouseBusy):
        content(duck)
