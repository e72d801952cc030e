"""`make bench`: whole syncs of growing workspaces, as users run them; prints what they cost. It measures, tests do not.

First at the real rate and 100 ms away, beside the arithmetic (the documented minimum of requests, and the time that
they take at 10 a second, which no client can beat); `--fast` leaves that out, it takes twenty minutes. Then without a
request budget, so that our own cost shows. Peak memory is that of the sync's own process.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
from rich.console import Console
from rich.table import Table as Grid

from cio_assets import sandbox
from cio_assets_tests.conftest import environment

_REPORT_PEAK = (
    # Nothing of the tests' own in that process: it would count.
    "import atexit; from cio_assets.cli import command; "
    "peak = lambda: next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1]; "
    "atexit.register(lambda: print('peak', int(peak()) // 1024)); command()"
)


MOST_MEGABYTES = 500
"""What a sync of 1 000 000 deliveries and 100 000 people may take at its peak."""


RATE = 10.0
LATENCY_MS = 100
MOST_SECONDS_OVER = 10.0
"""What a sync at the real rate may take beyond its requests ÷ rate."""


@dataclass(frozen=True)
class Cost:
    """What one sync cost."""

    people: int
    deliveries: int
    rows: int
    requests: int
    arithmetic: int
    seconds: float
    peak: int
    violations: int
    busiest_second: int

    @property
    def limit(self) -> float:
        """Seconds that its requests take at the real rate."""
        return self.requests / RATE


def measure(people: int, deliveries: int, latency_ms: int = 0, rps: float = 0) -> Cost:
    """One full sync into an empty warehouse; `rps` 0 is without a budget."""
    with (
        tempfile.TemporaryDirectory() as folder,
        sandbox.launch(
            people=people, deliveries=deliveries, app_rps=int(rps), latency_ms=latency_ms, start_timeout=120
        ) as box,
    ):
        home = Path(folder) / "home"
        env = environment(home, box, **({"CIO_APP_RPS": str(rps)} if rps else {}))
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", _REPORT_PEAK, "sync"],
            env=env,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - started
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        stats = box.stats()
        told = subprocess.run(
            [sys.executable, "-m", "cio_assets.cli", "plan", "--full"],
            env=env,
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
        with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as con:
            tables = con.execute("SELECT schema_name, table_name FROM duckdb_tables()").fetchall()
            counts = [con.execute(f'SELECT count(*) FROM {schema}."{name}"').fetchall() for schema, name in tables]
    return Cost(
        people,
        deliveries,
        sum(count[0][0] for count in counts),
        stats["requests"],
        int(re.findall(r"total\D*([\d,]+)", told.stdout)[-1].replace(",", "")),
        seconds,
        int(re.findall(r"^peak (\d+)$", done.stdout, re.MULTILINE)[-1]),
        stats["violation_count"],
        stats["busiest_second"],
    )


def _show(title: str, columns: Mapping[str, Callable[[Cost], str]], costs: Sequence[Cost]) -> None:
    grid = Grid(title=title, title_justify="left")
    for name in columns:
        grid.add_column(name, justify="right")
    for cost in costs:
        grid.add_row(*(text(cost) for text in columns.values()))
    Console(width=int(os.environ.get("COLUMNS", "130"))).print(grid)


_COMMON: Mapping[str, Callable[[Cost], str]] = {
    "people": lambda cost: f"{cost.people:,}",
    "deliveries": lambda cost: f"{cost.deliveries:,}",
    "rows": lambda cost: f"{cost.rows:,}",
    "requests": lambda cost: f"{cost.requests:,}",
    "arithmetic": lambda cost: f"{cost.arithmetic:,}",
    "limit s": lambda cost: f"{cost.limit:,.1f}",
    "seconds": lambda cost: f"{cost.seconds:.1f}",
}
_SPEED: Mapping[str, Callable[[Cost], str]] = {
    "rows/s": lambda cost: f"{cost.rows / cost.seconds:,.0f}",
    "peak MB": lambda cost: str(cost.peak),
    "violations": lambda cost: str(cost.violations),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1000,10000,100000", help="people; ten deliveries each")
    parser.add_argument("--fast", action="store_true", help="not at the real rate")
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    slow = [] if options.fast else [measure(size, 10 * size, LATENCY_MS, RATE) for size in sizes]
    if slow:
        over = {
            "over s": lambda cost: f"{cost.seconds - cost.limit:.1f}",
            "budget used": lambda cost: f"{cost.limit / cost.seconds:.1%}",
            "busiest second": lambda cost: str(cost.busiest_second),
        }
        _show(f"A full sync at {RATE:g} requests/s, {LATENCY_MS} ms away", {**_COMMON, **over, **_SPEED}, slow)
    figures = [measure(size, 10 * size) for size in sizes]
    _show("A full sync without a request budget", {**_COMMON, **_SPEED}, figures)
    if any(cost.peak > MOST_MEGABYTES for cost in figures):
        raise SystemExit(f"peak memory is above {MOST_MEGABYTES} MB")
    if any(cost.seconds - cost.limit > MOST_SECONDS_OVER for cost in slow):
        raise SystemExit(f"a sync took more than {MOST_SECONDS_OVER:g} s beyond its requests ÷ rate")


if __name__ == "__main__":
    main()
