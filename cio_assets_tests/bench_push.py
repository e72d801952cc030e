"""Part of `make bench`: pushes beside the official Python client, against the same sandbox, without a request budget.

Each measurement is a process of its own; CPU is that process's, peak its resident set.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
from rich.console import Console
from rich.table import Table as Grid

from cio_assets import sandbox
from cio_assets.reverse_etl.operations import operations_sql
from cio_assets.warehouse import Warehouse
from cio_assets_tests.conftest import peak_megabytes
from cio_assets_tests.reverse_etl.pushing import PERSONS, Pushing

PEOPLE = """
    CREATE TABLE reverse_etl.persons AS
    SELECT 'u_' || i AS id, 'user' || i || '@example.com' AS email, to_timestamp(1700000000 + i) AS created_at,
           'First' || (i % 100) AS first_name, 'Läst ' || (i % 1000) AS last_name,
           ['free', 'pro', NULL][1 + i % 3] AS plan, (i * 0.37)::DECIMAL(12, 2) AS score, i % 2 = 0 AS vip,
           i AS visits, i * 1.5 AS ltv, CASE WHEN i % 5 = 0 THEN NULL ELSE 'Zürich' END AS city,
           DATE '2026-01-01' + (i % 300)::INT AS last_seen, 'A somewhat longer text ' || i AS note
    FROM range({}) t(i)"""
LIMITS = {"payloads a second": 300_000, "microseconds a person": 6.0, "unchanged seconds": 15.0, "megabytes": 600}
OPERATIONS_OF_A_BATCH = 1200
"""For the official client, which cuts nothing itself: just under 500 kB."""


def payloads(folder: Path, _box: dict[str, str]) -> dict[str, Any]:
    """Only build the operations."""
    warehouse = Warehouse(str(folder / "warehouse.duckdb"), "customerio", scratch=folder / "scratch")
    with warehouse.scratch_connection("256MB") as con, warehouse.attached(con):
        described = con.execute("DESCRIBE wh.reverse_etl.persons").fetchall()
        columns = {name: type_ for name, type_, *_ in described}
        sql = f"SELECT key, operation, reason FROM ({operations_sql(PERSONS, columns, 'wh.reverse_etl.persons')})"
        began = time.perf_counter()
        rows = sum(len(batch) for batch in con.execute(sql).to_arrow_reader(4096))
        return {"rows": rows, "wall": time.perf_counter() - began, "requests": 0}


def ours(folder: Path, box: dict[str, str]) -> dict[str, Any]:
    """A push with comparison, checks and state."""
    pushing = Pushing(_handle(box), folder, workers=4)
    result = pushing.push(PERSONS)
    return {"rows": result.rows, "wall": result.seconds, "requests": result.requests, "accepted": result.accepted}


def official_batch(folder: Path, box: dict[str, str]) -> dict[str, Any]:
    """The official client's batch(): no comparison, no checks, no state."""
    client = _official(box)
    rows = accepted = requests = 0
    began = time.perf_counter()
    with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as con:
        cursor = con.execute("SELECT * EXCLUDE (id), id FROM reverse_etl.persons LIMIT 200000")
        names = [column[0] for column in cursor.description][:-1]
        while some := cursor.fetchmany(OPERATIONS_OF_A_BATCH):
            operations = [
                {
                    "type": "person",
                    "identifiers": {"id": identifier},
                    "action": "identify",
                    "attributes": {name: _plain(value) for name, value in zip(names, values, strict=True)},
                }
                for *values, identifier in some
            ]
            accepted += len(operations) if client.batch(operations).status_code == 200 else 0
            rows += len(operations)
            requests += 1
    return {"rows": rows, "wall": time.perf_counter() - began, "requests": requests, "accepted": accepted}


def official_identify(folder: Path, box: dict[str, str]) -> dict[str, Any]:
    """The official client's identify(), one person after the other."""
    client = _official(box)
    rows = 0
    began = time.perf_counter()
    with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as con:
        cursor = con.execute("SELECT * FROM reverse_etl.persons LIMIT 3000")
        names = [column[0] for column in cursor.description][1:]
        for identifier, *values in cursor.fetchall():
            client.identify(identifier, **{name: _plain(value) for name, value in zip(names, values, strict=True)})
            rows += 1
    return {"rows": rows, "wall": time.perf_counter() - began, "requests": rows, "accepted": rows}


def _plain(value: Any) -> Any:
    """What the client can put into JSON; it turns datetimes into seconds itself, at the top only."""
    if hasattr(value, "isoformat"):
        return int(time.mktime(value.timetuple()))
    return value if isinstance(value, (str, int, float, bool)) or value is None else float(value)


def _official(box: dict[str, str]) -> Any:
    client: Any = importlib.import_module("customerio")  # here: only the processes that measure it

    class Plain(client.CustomerIO):
        """It insists on https, and the sandbox speaks http."""

        def send_request(self, method: str, url: str, data: Any) -> Any:
            return super().send_request(method, url.replace("https://", "http://", 1), data)

    host, port = box["url"].removeprefix("http://").split(":")
    return Plain(box["site_id"], box["track_key"], host=host, port=int(port), timeout=60)


def _handle(box: dict[str, str]) -> Any:
    return type("Box", (), box)


MEASUREMENTS: dict[str, Callable[[Path, dict[str, str]], dict[str, Any]]] = {
    "payloads alone": payloads,
    "first push": ours,
    "second push, unchanged": ours,
    "official batch()": official_batch,
    "official identify()": official_identify,
}


def measure(name: str, folder: Path, box: sandbox.Sandbox) -> dict[str, Any]:
    """Run one measurement in a process of its own."""
    known = json.dumps({"url": box.url, "site_id": box.site_id, "track_key": box.track_key})
    command = [sys.executable, "-m", "cio_assets_tests.bench_push", "--run", name, str(folder), known]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def _workspaces() -> Iterator[tuple[str, sandbox.Sandbox]]:
    """Each measurement with a fresh workspace, but the second push, which needs the first one's."""
    for names in (
        ["payloads alone"],
        ["first push", "second push, unchanged"],
        ["official batch()"],
        ["official identify()"],
    ):
        with sandbox.launch(people=0, campaigns=0, objects=0, app_rps=0, track_rps=0) as box:
            yield from ((name, box) for name in names)


def main() -> None:
    """Measure and print; exits with 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        name, folder, box = options.run
        cpu = time.process_time()
        figures = MEASUREMENTS[name](Path(folder), json.loads(box))
        print(json.dumps(figures | {"cpu": time.process_time() - cpu, "peak": peak_megabytes()}))
        return
    grid = Grid(title=f"{options.people:,} people of 12 attributes into the sandbox", title_justify="left")
    grid.add_column("what")
    for title in ("rows", "seconds", "rows/s", "requests", "µs CPU/row", "peak MB"):
        grid.add_column(title, justify="right")
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        pushing = Pushing(None, Path(folder))
        pushing.sql(PEOPLE.format(options.people))
        for name, box in _workspaces():
            figures = found[name] = measure(name, Path(folder), box)
            rate = figures["rows"] / figures["wall"]
            micro = 1e6 * figures["cpu"] / figures["rows"]
            grid.add_row(
                name, f"{figures['rows']:,}", f"{figures['wall']:.1f}", f"{rate:,.0f}", f"{figures['requests']:,}",
                f"{micro:.1f}", f"{figures['peak']:.0f}",
            )  # fmt: skip
    Console(width=110).print(grid)
    missed = list(_missed(found))
    if missed:
        raise SystemExit("\n".join(missed))


def _missed(found: dict[str, dict[str, Any]]) -> Any:
    rate = {name: figures["rows"] / figures["wall"] for name, figures in found.items()}
    first, second = found["first push"], found["second push, unchanged"]
    if rate["payloads alone"] < LIMITS["payloads a second"]:
        yield "payloads are built too slowly"
    if rate["first push"] < rate["official batch()"]:
        yield "the first push is slower than the official client's batch()"
    if rate["first push"] < 20 * rate["official identify()"]:
        yield "the first push is slower than 20 times the official client's identify()"
    if 1e6 * first["cpu"] / first["rows"] > LIMITS["microseconds a person"]:
        yield "the first push takes too much CPU"
    if second["wall"] > LIMITS["unchanged seconds"] or second["requests"]:
        yield "the unchanged push is too slow, or sent something"
    if max(first["peak"], second["peak"]) > LIMITS["megabytes"]:
        yield "a push takes too much memory"


if __name__ == "__main__":
    main()
