"""A backfill, a sync of lists and a push on one DuckDB file, while somebody reads it with a DuckDB of their own."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from cio_assets_tests import forked
from cio_assets_tests.conftest import environment
from cio_assets_tests.soak.whole import Truth, start_cli

pytestmark = [pytest.mark.soak, pytest.mark.timeout(240)]

NOW = datetime.now(UTC)
START = (NOW - timedelta(days=100)).date()
LISTS = (
    "campaigns",
    "campaign_actions",
    "campaign_metrics",
    "newsletters",
    "newsletter_metrics",
    "segments",
    "segment_membership",
    "segment_usage",
    "esp_suppressions",
    "sender_identities",
    "snippets",
)
PEOPLE = 4000


@dataclass
class Reader:
    """Looks again and again, a few milliseconds each, as a dashboard does."""

    path: Path
    over: threading.Event = field(default_factory=threading.Event)
    looks: int = 0
    refused: int = 0
    longest: float = 0.0
    counts: dict[str, set[int]] = field(default_factory=dict)
    failures: list[BaseException] = field(default_factory=list)

    def run(self) -> None:
        seen = time.monotonic()
        try:
            while not self.over.wait(0.02):
                try:
                    self._look()
                except duckdb.IOException as error:
                    if "lock" not in str(error):
                        raise
                    self.refused += 1
                    continue
                finally:
                    self.longest = max(self.longest, time.monotonic() - seen)
                self.looks += 1
                seen = time.monotonic()
        except BaseException as error:
            self.failures.append(error)

    def _look(self) -> None:
        with duckdb.connect(str(self.path), read_only=True) as con:
            for table in ("messages", "segment_membership"):
                if con.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = ?", [table]).fetchall():
                    found = con.execute(f"SELECT count(*) FROM customerio.{table}").fetchall()
                    self.counts.setdefault(table, set()).add(found[0][0])


def test_each_ends_right_and_nobody_is_locked_out(tmp_path: Path) -> None:
    home, path = tmp_path / "home", tmp_path / "home" / "warehouse.duckdb"
    home.mkdir()
    with duckdb.connect(str(path)) as con:
        con.execute("CREATE SCHEMA reverse_etl")
        con.execute(
            f"CREATE TABLE reverse_etl.persons AS SELECT 'pushed-' || i AS id, i AS score FROM range({PEOPLE}) t(i)"
        )
    with forked.launch(
        people=2000, deliveries=30_000, days=90, campaigns=4, segments=12, app_rps=0, track_rps=0, latency_ms=25
    ) as box:
        env = environment(home, box, CIO_START_DATE=START.isoformat())
        reader = Reader(path)
        looking = threading.Thread(target=reader.run)
        looking.start()
        try:
            for _ in range(2):
                processes = {
                    "backfill": start_cli(["sync", "--select", "messages,campaign_messages"], env, tmp_path),
                    "lists": start_cli(["sync", "--select", ",".join(LISTS)], env, tmp_path),
                    "push": start_cli(["push", "persons"], env, tmp_path),
                }
                codes = {what: process.wait(100) for what, process in processes.items()}
                assert set(codes.values()) == {0}, (codes, (tmp_path / "said").read_text()[-3000:])
                box.mutate("late_opens", count=100)
        finally:
            reader.over.set()
            looking.join()
        said = (tmp_path / "said").read_text()
        assert "lock" not in said, said
        assert reader.failures == []
        print(f"{reader.looks} looks, {reader.refused} refused, at most {reader.longest:.2f} s without one")
        truth = Truth(box, START, datetime.now(UTC))
        assert truth.differences(path, [table for table in LISTS if not table.endswith("metrics")]) == []
        ids = {row["id"] for row in truth.of("messages")}
        with duckdb.connect(str(path), read_only=True) as con:
            assert {row[0] for row in con.execute("SELECT id FROM customerio.messages").fetchall()} == ids
        pushed = {row["attributes"].get("score") for row in box.truth("customer_attributes")} - {None}
        assert pushed >= {str(score) for score in range(PEOPLE)}
        # A table appears whole or not at all: first empty (its view is made), then with everything.
        assert reader.counts["messages"] <= {0, len(ids)}
        assert reader.counts["segment_membership"] == {len(truth.of("segment_membership"))}
    assert reader.looks > 100
    assert reader.longest < 10
