"""A disk without room: the tables stay as they were, the message says what to do, and with room the sync goes on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cio_assets import sandbox
from cio_assets_tests import forked
from cio_assets_tests.conftest import Finished, environment
from cio_assets_tests.small_disk import SmallDisk, small_disk
from cio_assets_tests.truth import differences, live, stored

pytestmark = [pytest.mark.soak, pytest.mark.timeout(200)]

TABLES = ("customers", "customer_attributes")
ROOM, NO_ROOM = "size=64m", "size={}k"


@pytest.fixture(scope="module")
def people() -> Iterator[sandbox.Sandbox]:
    """Fifty requests of attributes, 7 MB of them."""
    with forked.launch(people=5000, deliveries=0, activities=0, app_rps=0) as box:
        yield box


def sync(disk: SmallDisk, box: sandbox.Sandbox, home: Path, **extra: str) -> Finished:
    command = [sys.executable, "-m", "cio_assets.cli", "sync", "--select", ",".join(TABLES)]
    return disk.run(command, environment(home, box, CIO_PEOPLE="full", **extra), home.parent)


def equal(box: sandbox.Sandbox, warehouse: Path) -> bool:
    return not any(differences(table, live(stored(warehouse, table)), box.truth(table)) for table in TABLES)


def requests_of(box: sandbox.Sandbox) -> int:
    spent = box.stats()["requests"]
    box.reset_stats()
    return spent


def told(done: Finished) -> str:
    assert done.code == 1, done.text
    assert "Traceback" not in done.text
    assert "@" not in done.text  # no address of anybody
    return done.text


def test_while_rows_are_staged(people: sandbox.Sandbox, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with small_disk(home / "staging", "64m") as disk:
        assert sync(disk, people, home).code == 0
        clean = requests_of(people)
        people.mutate("change_people", count=2000)
        old = stored(home / "warehouse.duckdb", "customer_attributes")

        disk.remount(NO_ROOM.format(2000))
        done = sync(disk, people, home)

        assert "make room" in told(done)
        assert stored(home / "warehouse.duckdb", "customer_attributes") == old
        spent = requests_of(people)
        disk.remount(ROOM)
        assert sync(disk, people, home).code == 0
        # Eight requests are under way at once and eight more may begin meanwhile: their answers found no room.
        assert spent + requests_of(people) <= clean + 16
        assert equal(people, home / "warehouse.duckdb")


def test_while_rows_are_loaded(people: sandbox.Sandbox, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with small_disk(tmp_path / "disk", "64m") as disk:
        extra = {"CIO_WAREHOUSE": str(disk.path / "w.duckdb")}
        assert sync(disk, people, home, **extra).code == 0
        clean = requests_of(people)
        size = (disk.seen / "w.duckdb").stat().st_size
        people.mutate("change_people", count=2000)
        old = stored(disk.copy("w.duckdb"), "customer_attributes")

        disk.remount(NO_ROOM.format(size // 1024 + 100))
        done = sync(disk, people, home, **extra)

        assert "disk has room" in told(done)
        spent = requests_of(people)
        assert stored(disk.copy("w.duckdb"), "customer_attributes") == old
        disk.remount(ROOM)
        assert sync(disk, people, home, **extra).code == 0
        assert spent + requests_of(people) == clean, "what was staged is loaded without a request"
        assert equal(people, disk.copy("w.duckdb"))


def test_of_dagster_s_own_home(people: sandbox.Sandbox, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with small_disk(home, "64m") as disk:
        assert sync(disk, people, home).code == 0
        used = sum(path.stat().st_size for path in disk.seen.rglob("*") if path.is_file())
        people.mutate("change_people", count=2000)
        old = stored(disk.copy("warehouse.duckdb"), "customer_attributes")

        for room in (20, 300, 2000):
            disk.remount(NO_ROOM.format(used // 1024 + room))
            told(sync(disk, people, home))
            assert stored(disk.copy("warehouse.duckdb"), "customer_attributes") == old

        disk.remount(ROOM)
        done = sync(disk, people, home)
        assert done.code == 0, done.text
        assert equal(people, disk.copy("warehouse.duckdb"))


def test_a_warehouse_that_cannot_be_written_costs_no_request(people: sandbox.Sandbox, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with small_disk(tmp_path / "disk", "64m") as disk:
        extra = {"CIO_WAREHOUSE": str(disk.path / "w.duckdb")}
        assert sync(disk, people, home, **extra).code == 0
        requests_of(people)

        disk.remount("ro")
        done = sync(disk, people, home, **extra)

        assert done.code != 0
        assert "CIO_WAREHOUSE" in done.text
        assert "Traceback" not in done.text
        assert requests_of(people) == 0
        assert equal(people, disk.copy("w.duckdb"))
        disk.remount("rw")
        assert sync(disk, people, home, **extra).code == 0
