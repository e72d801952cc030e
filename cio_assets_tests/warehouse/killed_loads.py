"""Loads one table again and again and kills itself in the middle; tells what a reader finds after each kill.

Run as `python -m cio_assets_tests.warehouse.killed_loads FOLDER ROUNDS`: one process to import everything, one fork a
round, because only a real SIGKILL shows what is left on disk.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from cio_assets.warehouse import Warehouse
from cio_assets_tests.warehouse.stage import MONDAY, put

ROWS = 20_000


def _warehouse(folder: Path) -> Warehouse:
    return Warehouse(str(folder / "w.duckdb"), "customerio", scratch=folder / "staging", busy_seconds=20)


def _load_for_ever(folder: Path, first: int, told: int) -> None:
    warehouse = _warehouse(folder)
    for generation in count(first):
        rows = [{"id": n, "name": f"generation {generation}", "progress": generation} for n in range(ROWS)]
        put(warehouse, "segments", rows[: ROWS // 2], rows[ROWS // 2 :], at=MONDAY)
        os.write(told, f"{generation}\n".encode())


def _look(folder: Path) -> list[tuple]:
    return _warehouse(folder).query(
        "SELECT progress, count(*), count(DISTINCT id), count(_deleted_at), min(name), max(name) "
        "FROM segments GROUP BY 1"
    )


def _in_a_fork(work: Callable[..., object], *arguments: object) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work(*arguments)
        finally:
            os._exit(1)
    return pid


def _report(folder: Path, answer: int) -> None:
    os.write(answer, json.dumps(_look(folder)).encode())
    os._exit(0)


def main(folder: Path, rounds: int) -> None:
    """One line of JSON a round: generations known to be loaded, and what stands in the table after the kill."""
    chance = random.Random(7)
    generation = 1
    for _ in range(rounds):
        reader, writer = os.pipe()
        loader = _in_a_fork(_load_for_ever, folder, generation, writer)
        os.close(writer)
        with os.fdopen(reader) as told:
            done = int(told.readline())  # the first load of this round is complete
            time.sleep(chance.uniform(0, 0.5))
            os.kill(loader, signal.SIGKILL)
            os.waitpid(loader, 0)
            done = max([done, *map(int, told)])
        reader, writer = os.pipe()
        looker = _in_a_fork(_report, folder, writer)
        os.close(writer)
        with os.fdopen(reader) as told:
            found = json.loads(told.read())
        os.waitpid(looker, 0)
        print(json.dumps({"done": done, "found": found}), flush=True)
        generation = done + 2


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
