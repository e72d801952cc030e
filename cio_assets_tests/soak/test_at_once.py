"""A backfill, a sync of lists and a push on one DuckDB file, while somebody reads it with a DuckDB of their own, and
somebody looks at the web server.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import dagster as dg
import duckdb
import pytest

from cio_assets_tests import forked
from cio_assets_tests.automation.test_daemon import WORKSPACE, Daemon
from cio_assets_tests.automation.test_daemon_schedules import webserver
from cio_assets_tests.conftest import PROJECT, environment
from cio_assets_tests.soak.watched import RUNS, VERSION, Queue, Reader, Visitor, loads, watching
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


LONGEST = 10
"""Seconds without an answer that nobody who looks has to bear, on a machine where four tests run at once."""


def test_each_ends_right_and_nobody_is_locked_out(tmp_path: Path) -> None:
    home, path = tmp_path / "home", tmp_path / "home" / "warehouse.duckdb"
    home.mkdir()
    for name, text in {
        "dagster.yaml": (PROJECT / "dagster.yaml").read_text(),
        "workspace.yaml": WORKSPACE,
        "daemon.log": "no daemon runs here",
    }.items():
        (home / name).write_text(text)
    with duckdb.connect(str(path)) as con:
        con.execute("CREATE SCHEMA reverse_etl")
        con.execute(
            f"CREATE TABLE reverse_etl.persons AS SELECT 'pushed-' || i AS id, i AS score FROM range({PEOPLE}) t(i)"
        )
    with (
        forked.launch(
            people=2000, deliveries=30_000, days=90, campaigns=4, segments=12, app_rps=0, track_rps=0, latency_ms=25
        ) as box,
        dg.DagsterInstance.from_config(str(home)) as instance,
    ):
        env = environment(home, box, CIO_START_DATE=START.isoformat())
        started: dict[int, str] = {}
        with webserver(Daemon(home, env, instance, home / "daemon.log")) as ui:
            reader, queue = Reader(path=path), Queue(lock=path.with_name(f"{path.name}.lock"))
            visitor = Visitor(0.1, ui=ui)
            with watching(reader, queue, visitor):
                for _ in range(2):
                    processes = {
                        "backfill": start_cli(["sync", "--select", "messages,campaign_messages"], env, tmp_path),
                        "lists": start_cli(["sync", "--select", ",".join(LISTS)], env, tmp_path),
                        "push": start_cli(["push", "persons"], env, tmp_path),
                    }
                    started |= {process.pid: what for what, process in processes.items()}
                    codes = {what: process.wait(100) for what, process in processes.items()}
                    assert set(codes.values()) == {0}, (codes, (tmp_path / "said").read_text()[-3000:])
                    box.mutate("late_opens", count=100)
        said = (tmp_path / "said").read_text()
        assert "lock" not in said, said
        waits = {f"{what} ({pid})": queue.waits.get(pid, 0.0) for pid, what in started.items()}
        loaded = loads(instance)
        print(f"{reader.looks} looks, {reader.refused} refused, at most {reader.longest:.2f} s without one")
        for query, seconds in visitor.seconds.items():
            print(f"{len(seconds)} × {query[:15]}…: {median(seconds):.3f} s each, at most {max(seconds):.2f} s")
        print("waited to write, at most:", ", ".join(f"{what} {seconds:.2f} s" for what, seconds in waits.items()))
        print(f"the longest load, with its wait: {max(max(seconds) for seconds in loaded.values()):.2f} s")
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
    assert reader.longest < LONGEST
    assert loaded.keys() >= {f"customerio__{table}" for table in (*LISTS, "messages", "campaign_messages")}
    assert max(max(seconds) for seconds in loaded.values()) < LONGEST
    assert max(waits.values()) < LONGEST
    for query in (VERSION, RUNS):
        assert len(visitor.seconds[query]) > 20
        assert median(visitor.seconds[query]) < 1
        assert max(visitor.seconds[query]) < LONGEST
    # It is the runs of just these processes that were looked at, while they ran.
    assert len({run for run, status in visitor.seen if status == "STARTED"}) >= len(started)
