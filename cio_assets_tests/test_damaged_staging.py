"""Staging that a bad disk has changed behind a dead run: the rows are right, and only what was lost is asked again."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from cio_assets import sandbox
from cio_assets_tests import forked
from cio_assets_tests.in_process import settings_of, sync, unequal

TABLE, BATCHES = "customer_attributes", 30
TODAY = datetime.now(UTC).date()


@pytest.fixture(scope="module")
def people() -> Iterator[sandbox.Sandbox]:
    with forked.launch(people=100 * BATCHES, deliveries=0, activities=0, app_rps=0) as running:
        yield running


@pytest.fixture(scope="module")
def ended(people: sandbox.Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a reading that ended in the middle: its key was refused."""
    home = tmp_path_factory.mktemp("ended")
    settings = settings_of(home, people, TODAY)
    assert sync(settings, ["customers"]) == []
    people.faults(rules=[{"kind": "401", "path": "attributes", "after": BATCHES * 2 // 3}])
    assert "401" in " ".join(sync(settings, [TABLE]))
    people.faults()
    return home


@pytest.fixture
def dead(people: sandbox.Sandbox, ended: Path, tmp_path: Path) -> Path:
    """What it has left in its staging folder."""
    shutil.copytree(ended, tmp_path, dirs_exist_ok=True)
    people.reset_stats()
    (folder,) = (path for path in (tmp_path / "staging").iterdir() if path.is_dir())
    return folder


def ends(folder: Path) -> list[tuple[int, int]]:
    """Of each page: where its line of the journal ends, and where its rows do."""
    found, place = [], 0
    for line in (folder / "journal.ndjson").read_bytes().splitlines(keepends=True):
        place += len(line)
        said = orjson.loads(line.rpartition(b"\t")[0])
        if said.get("end"):
            found.append((place, said["o"]))
    return found


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x20
    path.write_bytes(data)


def cut(path: Path, at: int) -> None:
    path.write_bytes(path.read_bytes()[:at])


def zero(path: Path, at: int) -> None:
    """As a file system does with a block that it did not get to write."""
    data = path.read_bytes()
    path.write_bytes(data[:at] + bytes(len(data) - at))


@pytest.mark.parametrize("damage", [flip, cut, zero])
@pytest.mark.parametrize("name", ["journal.ndjson", "rows.ndjson"])
def test_damaged_at_any_place(
    people: sandbox.Sandbox, dead: Path, tmp_path: Path, name: str, damage: Callable[[Path, int], None]
) -> None:
    whole = ends(dead)
    assert len(whole) >= BATCHES // 2
    at = random.Random(f"{name} {damage.__name__}").randrange((dead / name).stat().st_size)
    damage(dead / name, at)
    left = [page for page in whole if page[name == "rows.ndjson"] <= at]

    assert sync(settings_of(tmp_path, people, TODAY), [TABLE]) == []

    assert unequal(people, tmp_path / "warehouse.duckdb", [TABLE], TODAY) == []
    assert people.stats()["requests"] == BATCHES - len(left)


@pytest.mark.parametrize("name", ["journal.ndjson", "rows.ndjson"])
def test_a_file_that_is_gone(people: sandbox.Sandbox, dead: Path, tmp_path: Path, name: str) -> None:
    (dead / name).unlink()

    assert sync(settings_of(tmp_path, people, TODAY), [TABLE]) == []

    assert unequal(people, tmp_path / "warehouse.duckdb", [TABLE], TODAY) == []
    assert people.stats()["requests"] == BATCHES


def test_files_that_are_whole(people: sandbox.Sandbox, dead: Path, tmp_path: Path) -> None:
    read = len(ends(dead))

    assert sync(settings_of(tmp_path, people, TODAY), [TABLE]) == []

    assert unequal(people, tmp_path / "warehouse.duckdb", [TABLE], TODAY) == []
    assert people.stats()["requests"] == BATCHES - read
