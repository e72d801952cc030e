"""A reading that died goes on where it was, and nothing that a kill or a bad disk left is believed wrongly."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cio_assets.warehouse import Staged, Staging, WarehouseError, staging

NOW = datetime(2026, 2, 2, 6, 0, tzinfo=UTC)


class Died(Exception):
    """Stands for whatever ends a run."""


def rows(page: int, count: int = 3) -> list[dict[str, Any]]:
    return [{"id": f"{page}-{number}", "name": "é" * page} for number in range(count)]


def die(folder: Path, pages: int, inputs: str = "a", unit: str = "list", began: datetime = NOW) -> None:
    """Read some pages of a list, and die before the next."""
    with suppress(Died), Staging(folder, "segments", inputs, began=began) as staging:
        chain = staging.chain(unit)
        for page in range(1, pages + 1):
            staging.page(chain, rows(page), {"start": f"after {page}"})
        raise Died


def staged_ids(staged: Staged) -> list[str]:
    lines = [json.loads(line) for line in staged.rows_path.read_text().splitlines()]
    return [line["id"] for line in lines if line["_chain"] not in staged.abandoned]


def go_on(folder: Path, pages: int, inputs: str = "a") -> tuple[Staged, list[int]]:
    """Read the list to its end; which pages that took."""
    asked = []
    with Staging(folder, "segments", inputs, began=NOW + timedelta(minutes=5)) as staging:
        chain = staging.chain("list")
        while not chain.finished:
            page = 1 if chain.resume is None else int(chain.resume["start"].removeprefix("after ")) + 1
            asked.append(page)
            staging.page(chain, rows(page), {"start": f"after {page}"} if page < pages else None)
        return staging.finish(), asked


ALL = [f"{page}-{number}" for page in range(1, 7) for number in range(3)]


@pytest.mark.parametrize("pages", range(7))
def test_only_the_rest_is_asked(tmp_path: Path, pages: int) -> None:
    die(tmp_path, pages)
    staged, asked = go_on(tmp_path, 6 if pages < 6 else 7)
    assert asked == list(range(pages + 1, 7 if pages < 6 else 8))
    assert staged_ids(staged)[:18] == ALL
    assert staged.row_count == len(staged_ids(staged))
    assert staged.longest_line == max(len(line) + 1 for line in staged.rows_path.read_bytes().splitlines())
    staged.discard()
    assert not staged.folder.exists()


def test_it_is_of_the_time_when_it_began(tmp_path: Path) -> None:
    die(tmp_path, 2)
    with Staging(tmp_path, "segments", "a", began=NOW + timedelta(hours=2)) as staging:
        assert (staging.began, staging.resumed_pages) == (NOW, 2)
        staging.finish().discard()


@pytest.mark.parametrize(
    ("inputs", "later"),
    [("b", timedelta(minutes=1)), ("a", timedelta(hours=13)), ("a", timedelta(hours=-13))],
    ids=["other inputs", "too long ago", "a clock that was wrong by half a day"],
)
def test_what_is_not_the_same_reading_is_begun_anew(tmp_path: Path, inputs: str, later: timedelta) -> None:
    die(tmp_path, 2)
    with Staging(tmp_path, "segments", inputs, began=NOW + later) as staging:
        assert staging.chain("list").resume is None
        assert staging.row_count == staging.resumed_pages == 0
        staging.finish().discard()


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1)])
def test_a_clock_that_jumps_an_hour_loses_nothing(tmp_path: Path, jump: timedelta) -> None:
    die(tmp_path, 2)
    with Staging(tmp_path, "segments", "a", began=NOW + jump) as staging:
        assert staging.chain("list").resume == {"start": "after 2"}
        assert staging.began == min(NOW, NOW + jump)
        staging.finish().discard()


def test_another_slot_is_another_reading(tmp_path: Path) -> None:
    die(tmp_path, 2)
    with Staging(tmp_path, "segments", "a", slot="2026-01-01", began=NOW) as staging:
        assert staging.chain("list").resume is None
        staging.finish().discard()
    assert go_on(tmp_path, 6)[1] == [3, 4, 5, 6]


def test_two_at_once_do_not_meet(tmp_path: Path) -> None:
    with Staging(tmp_path, "segments", "a", began=NOW) as one, Staging(tmp_path, "segments", "a", began=NOW) as other:
        assert one.folder != other.folder
        assert (one.durable, other.durable) == (True, False)
        for staging in (one, other):
            staging.page(staging.chain("list"), rows(1))
        assert staged_ids(one.finish()) == staged_ids(other.finish()) == ALL[:3]


def test_what_could_not_be_loaded_waits_complete(tmp_path: Path) -> None:
    staged, _ = go_on(tmp_path, 6)
    (staged.folder / "stage.duckdb").write_bytes(b"half")
    staged.keep()
    assert {path.name for path in staged.folder.iterdir()} == {"rows.ndjson", "journal.ndjson", "spans.ndjson"}
    again, asked = go_on(tmp_path, 6)
    assert asked == []
    assert staged_ids(again) == ALL


def test_spans_notes_and_facts_come_back(tmp_path: Path) -> None:
    with suppress(Died), Staging(tmp_path, "metrics", "a", began=NOW) as staging:
        chain = staging.chain("campaign 1")
        staging.page(chain, rows(1), {"start": 2}, note=["x"], noted={"chains": [1]})
        staging.page(staging.chain("campaign 2"), rows(2), span={"span_from": 1, "span_to": 2})
        staging.note(export=110)
        raise Died
    with Staging(tmp_path, "metrics", "a", began=NOW) as staging:
        chain = staging.chain("campaign 1")
        assert (chain.resume, chain.notes, chain.finished) == ({"start": 2}, [["x"]], False)
        assert staging.chain("campaign 2").finished
        assert staging.noted == {"chains": [1], "export": 110}
        staged = staging.finish()
    assert [json.loads(line) for line in staged.spans_path.read_text().splitlines()] == [{"span_from": 1, "span_to": 2}]
    assert staged.span_count == 1


def test_what_was_gone_or_begun_anew_stays_left_out(tmp_path: Path) -> None:
    with suppress(Died), Staging(tmp_path, "segments", "a", began=NOW) as staging:
        gone = staging.chain("gone")
        staging.page(gone, rows(1), {"start": 2})
        staging.leave(gone)
        refused = staging.chain("list")
        staging.page(refused, rows(2), {"start": 3})
        again = staging.restart(refused)
        staging.page(again, rows(3), {"start": "after 3"})
        raise Died
    with Staging(tmp_path, "segments", "a", began=NOW) as staging:
        assert (staging.chain("gone").finished, staging.chain("gone").gone) == (True, True)
        chain = staging.chain("list")
        assert chain.resume == {"start": "after 3"}
        staging.page(chain, rows(4))
        staged = staging.finish()
    assert staged_ids(staged) == ALL[6:12]


def damage(file: Path, seed: int) -> None:
    """Cut it short, or turn a byte."""
    chance = random.Random(seed)
    content = bytearray(file.read_bytes())
    place = chance.randrange(len(content))
    if seed % 2:
        content = content[:place]
    else:
        content[place] ^= 1 << chance.randrange(8)
    file.write_bytes(content)


@pytest.mark.parametrize("name", ["rows.ndjson", "journal.ndjson"])
@pytest.mark.parametrize("seed", range(30))
def test_damage_costs_what_stands_behind_it_and_nothing_else(tmp_path: Path, name: str, seed: int) -> None:
    die(tmp_path, 5)
    (folder,) = tmp_path.glob("*.resume")
    damage(folder / name, seed)
    staged, asked = go_on(tmp_path, 6)
    assert asked == list(range(asked[0], 7))
    assert staged_ids(staged) == ALL


def test_a_missing_file_is_a_new_beginning(tmp_path: Path) -> None:
    for name in ("rows.ndjson", "journal.ndjson"):
        die(tmp_path, 5)
        (folder,) = tmp_path.glob("*.resume")
        (folder / name).unlink()
        staged, asked = go_on(tmp_path, 6)
        assert asked == [1, 2, 3, 4, 5, 6]
        assert staged_ids(staged) == ALL
        staged.discard()


def test_a_full_disk_is_told_and_what_was_read_before_stays(tmp_path: Path) -> None:
    def read() -> None:
        with Staging(tmp_path, "segments", "a", began=NOW) as staging:
            chain = staging.chain("list")
            staging.page(chain, rows(1), {"start": "after 1"})
            os.dup2(os.open("/dev/full", os.O_RDWR), staging._rows.fileno())
            staging.page(chain, rows(2), {"start": "after 2"})

    with pytest.raises(WarehouseError, match=r"could not be kept in .*No space left on device.*make room") as caught:
        read()
    assert "é" not in str(caught.value)
    staged, asked = go_on(tmp_path, 6)
    assert asked == [2, 3, 4, 5, 6]
    assert staged_ids(staged) == ALL


def test_a_power_failure_costs_five_seconds_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step, pages, now = 0.5, 60, 0.0
    safe = {"rows.ndjson": 0, "journal.ndjson": 0}  # bytes that are on the disk for sure
    times = {name: [now] for name in safe}

    def fsync(file: int) -> None:
        path = Path(f"/proc/self/fd/{file}").readlink()
        safe[path.name] = path.stat().st_size
        times[path.name].append(now)

    with monkeypatch.context() as patched, suppress(Died):
        patched.setattr(os, "fsync", fsync)
        patched.setattr(staging, "time", SimpleNamespace(monotonic=lambda: now, time=time.time))
        with Staging(tmp_path, "segments", "a", began=NOW) as reading:
            chain = reading.chain("list")
            for page in range(1, pages + 1):
                now += step
                reading.page(chain, rows(page), {"start": f"after {page}"})
            raise Died
    for synced in times.values():
        assert max(later - earlier for earlier, later in pairwise([*synced, now])) <= 5
        assert len(synced) < pages / 2, "a disk takes its time: not for every page"
    (folder,) = tmp_path.glob("*.resume")
    for name, size in safe.items():
        os.truncate(folder / name, size)
    staged, asked = go_on(tmp_path, pages + 1)
    assert asked[0] > pages - 5 / step
    assert staged.row_count == 3 * (pages + 1)


KILLED = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from cio_assets.warehouse import Staging
with Staging(Path(sys.argv[1]), "segments", "a", began=datetime(2026, 2, 2, 6, tzinfo=UTC)) as staging:
    chain = staging.chain("list")
    page = int(chain.resume["start"].removeprefix("after ")) if chain.resume else 0
    while True:
        page += 1
        rows = [{"id": f"{page}-{number}", "name": "x" * 2000} for number in range(50)]
        staging.page(chain, rows, {"start": f"after {page}"})
        print(page, flush=True)
"""


def read_until_killed(folder: Path, seconds: float) -> int:
    """The last page of which the killed process said that it is staged."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    process.stdout.readline()
    time.sleep(seconds)
    process.kill()
    said = process.stdout.read().split("\n")
    process.stdout.close()
    process.wait()
    return int(said[-2] if len(said) > 1 else 1)


def test_a_killed_process_loses_no_page_that_it_had(tmp_path: Path) -> None:
    last = 0
    for seconds in (0.0, 0.05, 0.2):
        last = read_until_killed(tmp_path, seconds)
    with Staging(tmp_path, "segments", "a", began=NOW) as staging:
        chain = staging.chain("list")
        assert chain.resume
        reached = int(chain.resume["start"].removeprefix("after "))
        assert reached >= last
        staging.page(chain, ())
        staged = staging.finish()
    assert staged_ids(staged) == [f"{page}-{number}" for page in range(1, reached + 1) for number in range(50)]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A staging folder that nobody came back for."""
    die(tmp_path, 2, unit="other")
    long_ago = time.time() - 3 * 86_400
    for path in (*tmp_path.glob("*/*"), *tmp_path.glob("*")):
        os.utime(path, (long_ago, long_ago))
    return tmp_path


def test_nothing_stays_for_ever(old: Path) -> None:
    with Staging(old, "messages", "a", slot="x", began=NOW) as staging:
        staging.finish().discard()
    assert [path.name for path in old.iterdir() if path.name.startswith("segments")] == []


def test_a_lock_that_is_held_is_not_swept(tmp_path: Path) -> None:
    with Staging(tmp_path, "segments", "a", began=NOW) as staging:
        (lock,) = tmp_path.glob("*.lock")
        long_ago = time.time() - 3 * 86_400
        os.utime(lock, (long_ago, long_ago))
        with Staging(tmp_path, "messages", "a", began=NOW) as other:
            other.finish().discard()
        assert lock.exists()
        staging.finish().discard()
