"""A warehouse that an older or a newer cio-assets has written."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import duckdb

from cio_assets import sandbox
from cio_assets.warehouse.ledger import VERSION
from cio_assets_tests.in_process import settings_of, sync, unequal

LEDGER = "_cio_sync_customerio"
START = datetime.now(UTC).date()
READ = ("campaigns", "campaign_actions", "segments", "messages", "newsletters", "newsletter_metrics", "activities")


def versions(path: Path) -> list[tuple]:
    with duckdb.connect(str(path), read_only=True) as con:
        return con.execute(f"SELECT version FROM {LEDGER}.version").fetchall()


def everything(path: Path) -> dict[str, list[tuple]]:
    """Every table and view of the file, and what it holds."""
    with duckdb.connect(str(path), read_only=True) as con:
        names = con.execute("SELECT table_schema || '.' || table_name FROM information_schema.tables").fetchall()
        return {name: sorted(con.execute(f"FROM {name}").fetchall(), key=str) for (name,) in names}


def test_a_newer_one_is_left_alone_and_nothing_is_asked(box: sandbox.Sandbox, tmp_path: Path) -> None:
    settings, path = settings_of(tmp_path, box, START), tmp_path / "warehouse.duckdb"
    assert sync(settings, READ) == []
    with duckdb.connect(str(path)) as con:
        con.execute(f"UPDATE {LEDGER}.version SET version = {VERSION + 1}")
        con.execute(f"ALTER TABLE {LEDGER}.units ADD COLUMN whatever_it_is_for INTEGER")
    before = everything(path)
    box.reset_stats()

    failures = [text for name in (*READ, "snippets", "campaign_messages") for text in sync(settings, [name])]

    assert len(failures) == len(READ) + 2
    assert {f"schema has version {VERSION + 1}" in text and "update cio-assets" in text for text in failures} == {True}
    assert box.stats()["requests"] == 0
    assert everything(path) == before


def test_an_older_one_is_brought_up_to_date(box: sandbox.Sandbox, tmp_path: Path) -> None:
    """One that the program wrote before there was a ledger: the tables alone."""
    settings, path = settings_of(tmp_path, box, START), tmp_path / "warehouse.duckdb"
    assert sync(settings, READ) == []
    with duckdb.connect(str(path)) as con:
        con.execute(f"DROP SCHEMA {LEDGER} CASCADE")
    box.mutate("delete_campaign")
    box.mutate("delete_segment")

    assert sync(settings, READ) == []

    assert versions(path) == [(VERSION,)]
    gone = {"campaigns": 1, "segments": 1}
    with duckdb.connect(str(path), read_only=True) as con:
        for table, count in gone.items():
            marked = con.execute(f"SELECT count(*) FROM customerio.{table} WHERE _deleted_at IS NOT NULL").fetchall()
            assert marked == [(count,)], "what was stored before is known as history"
    assert unequal(box, path, ["campaigns", "campaign_actions", "segments", "activities"], START) == []
