"""`make bench`: whole syncs of growing workspaces, as users run them; prints what they cost. It measures, tests do not.

The sandbox and the client run without a request budget here, so that our own cost shows; `limit` is what 10 requests a
second would take, the time that no client can beat. Peak memory is that of the sync's own process.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
from rich.console import Console
from rich.table import Table as Grid

from cio_assets import sandbox
from cio_assets_tests.conftest import environment

_REPORT_PEAK = (
    # Nothing of the tests' own in that process: it would count.
    "import sys; from cio_assets.cli import main; code = main(sys.argv[1:]); "
    "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM')); "
    "print('peak', int(peak.split()[1]) // 1024); sys.exit(code)"
)


MOST_MEGABYTES = 500
"""What a sync of 1 000 000 deliveries and 100 000 people may take at its peak."""


def measure(people: int, deliveries: int, latency_ms: int = 0, rps: float = 0) -> list[str]:
    """One sync; a row of figures."""
    with (
        tempfile.TemporaryDirectory() as folder,
        sandbox.launch(
            people=people, deliveries=deliveries, app_rps=rps, latency_ms=latency_ms, start_timeout=120
        ) as box,
    ):
        home = Path(folder) / "home"
        extra = {"CIO_APP_RPS": str(rps)} if rps else {}
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", _REPORT_PEAK, "sync"],
            env=environment(home, box, **extra),
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - started
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        peak = int(re.findall(r"^peak (\d+)$", done.stdout, re.MULTILINE)[-1])
        stats = box.stats()
        with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as con:
            tables = con.execute("SELECT schema_name, table_name FROM duckdb_tables()").fetchall()
            counts = [con.execute(f'SELECT count(*) FROM {schema}."{name}"').fetchall() for schema, name in tables]
        rows = sum(count[0][0] for count in counts)
    requests = stats["requests"]
    return [
        f"{people:,}",
        f"{deliveries:,}",
        f"{rows:,}",
        f"{requests:,}",
        f"{requests / 10:,.0f}",
        f"{seconds:.1f}",
        f"{rows / seconds:,.0f}",
        str(peak),
        str(stats["violation_count"]),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1000,10000,100000", help="people; ten deliveries each")
    options = parser.parse_args()
    names = ("people", "deliveries", "rows", "requests", "limit s", "seconds", "rows/s", "peak MB", "violations")
    grid = Grid(title="A full sync without a request budget", title_justify="left")
    for name in names:
        grid.add_column(name, justify="right")
    figures = [measure(size, 10 * size) for size in map(int, options.sizes.split(","))]
    for row in figures:
        grid.add_row(*row)
    Console(width=int(os.environ.get("COLUMNS", "110"))).print(grid)
    if any(int(row[names.index("peak MB")]) > MOST_MEGABYTES for row in figures):
        raise SystemExit(f"peak memory is above {MOST_MEGABYTES} MB")


if __name__ == "__main__":
    main()
