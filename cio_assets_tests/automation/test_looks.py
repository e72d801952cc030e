"""How a push sensor looks: reading only, at once or later, in nobody's way; what it cannot read is a reason."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from cio_assets.warehouse.database import Warehouse
from cio_assets_tests.automation.ticks import ANNA, TABLE, Ticks, score, settle


def test_a_file_that_nobody_wrote_is_not_opened(ticks: Ticks) -> None:
    settle(ticks)
    ticks.tick()
    holder = hold(ticks)  # would be busy
    assert not ticks.tick()
    assert ticks.skipped == "Nothing was written to the warehouse since the last look."
    holder.communicate("\n", timeout=20)
    ticks.sql(score(2))
    assert ticks.tick()


def test_a_view_is_looked_at_though_nobody_wrote(ticks: Ticks) -> None:
    file = ticks.folder / "persons.csv"
    file.write_text("email\na@example.com\n")
    ticks.sql("DROP TABLE reverse_etl.persons", f"CREATE VIEW reverse_etl.persons AS FROM read_csv('{file}')")
    settle(ticks)
    assert [ticks.tick(), ticks.tick()] == [True, False]
    file.write_text("email\nb@example.com\n")
    assert [ticks.tick(), ticks.tick()] == [True, False]


def hold(ticks: Ticks) -> subprocess.Popen[str]:
    """Another program that has the warehouse open until a line is sent to it."""
    program = "import sys, duckdb; con = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.readline()"
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(ticks.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    return holder


def test_a_locked_file_is_skipped_at_once_and_looked_at_later(ticks: Ticks) -> None:
    ticks.tick()
    ticks.sql(score(2))
    before, holder = ticks.cursor, hold(ticks)
    started = time.monotonic()
    assert not ticks.tick()
    assert time.monotonic() - started < 5
    assert "is open in another program" in ticks.skipped
    assert "looked at again" in ticks.skipped
    assert ticks.cursor == before
    holder.communicate("\n", timeout=20)
    assert [ticks.tick(), ticks.tick()] == [True, False]


def test_our_own_writer_is_not_waited_for(ticks: Ticks) -> None:
    with Warehouse(str(ticks.path), "customerio", scratch=ticks.folder / "staging").attached():
        assert not ticks.tick()
        assert "is being written" in ticks.skipped
    assert ticks.tick()


def test_without_a_warehouse_or_a_source_it_is_inactive(ticks: Ticks) -> None:
    ticks.sql("ALTER TABLE reverse_etl.persons RENAME TO elsewhere")
    assert not ticks.tick()
    assert ticks.skipped == "Inactive: reverse_etl.persons is not in the warehouse."
    ticks.path.unlink()
    assert not ticks.tick()
    assert "no warehouse" in ticks.skipped
    assert not ticks.path.exists()
    ticks.sql(TABLE)
    assert ticks.tick()


@pytest.mark.parametrize(
    ("view", "error"),
    [
        ("SELECT score, email::INTEGER AS number FROM reverse_etl.stored", "ConversionException"),
        ("SELECT score, error(email) AS number FROM reverse_etl.stored", "InvalidInputException"),
        ("SELECT * FROM reverse_etl.dropped", "CatalogException"),
    ],
    ids=["conversion", "error", "dropped"],
)
def test_a_broken_view_is_a_reason_without_a_value(ticks: Ticks, view: str, error: str) -> None:
    ticks.sql("ALTER TABLE reverse_etl.persons RENAME TO stored", "CREATE TABLE reverse_etl.dropped (i INTEGER)")
    ticks.sql(f"CREATE VIEW reverse_etl.persons AS {view}", "DROP TABLE reverse_etl.dropped")
    assert not ticks.tick()
    assert error in ticks.skipped
    assert "SELECT * FROM reverse_etl.persons" in ticks.skipped
    assert ANNA not in ticks.skipped
    ticks.sql("DROP VIEW reverse_etl.persons", "ALTER TABLE reverse_etl.stored RENAME TO persons")
    assert ticks.tick()


def test_a_look_that_takes_too_long_ends_and_frees_the_file(ticks: Ticks) -> None:
    ticks.look_seconds = 0.3
    ticks.sql(
        "DROP TABLE reverse_etl.persons",
        "CREATE VIEW reverse_etl.persons AS SELECT sum(a.range * b.range) AS i "
        "FROM range(10_000_000) a, range(1_000_000) b",
    )
    started = time.monotonic()
    assert not ticks.tick()
    assert time.monotonic() - started < 10
    assert "longer than 0.3 s" in ticks.skipped
    assert "cursor" in ticks.skipped
    ticks.sql("SELECT 1")


def test_a_file_that_is_no_database_is_a_reason(ticks: Ticks) -> None:
    ticks.path.write_bytes(b"no database" * 1000)
    assert not ticks.tick()
    assert "cannot be opened as a DuckDB database" in ticks.skipped


WRITER = """
import sys
from pathlib import Path
from cio_assets.warehouse.database import Warehouse
warehouse = Warehouse(sys.argv[1], "customerio", scratch=Path(sys.argv[2]), busy_seconds=1)
print("ready", flush=True)
with warehouse.transaction() as con:
    con.execute("UPDATE wh.reverse_etl.persons SET score = 3")
"""


def test_our_writers_queue_while_a_sensor_looks_however_long(ticks: Ticks) -> None:
    warehouse = Warehouse(str(ticks.path), "customerio", scratch=ticks.folder / "staging")
    with warehouse.attached_for_reading():
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(ticks.path), str(ticks.folder / "staging")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(timeout=3)  # longer than it would wait for a program that is not ours
    _, problem = writer.communicate(timeout=30)
    assert writer.returncode == 0, problem
    assert warehouse.query("SELECT score FROM wh.reverse_etl.persons") == [(3,)]
