"""Rows on disk between the API and their load: private, complete, and gone afterwards."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cio_assets.catalog import TABLES
from cio_assets.warehouse import Staging, Warehouse, load
from cio_assets_tests.warehouse.stage import MONDAY, stage


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_staged_is_for_the_owner_s_eyes_only(tmp_path: Path) -> None:
    was = os.umask(0)
    try:
        staged = stage(tmp_path / "staging", [{"id": 1}], spans=[{"span_from": 1}])
    finally:
        os.umask(was)

    assert _mode(tmp_path / "staging") == 0o700
    assert _mode(staged.folder) == 0o700
    names = ("rows.ndjson", "spans.ndjson", "journal.ndjson")
    assert {path.name: _mode(path) for path in staged.folder.iterdir()} == dict.fromkeys(names, 0o600)


def test_the_folder_is_private_while_a_load_works_in_it(duck: Warehouse) -> None:
    staged = stage(duck.scratch, [{"id": 1}])

    load(duck, TABLES["segments"], staged, MONDAY)

    assert _mode(staged.folder) == 0o700
    staged.discard()
    assert list(duck.scratch.iterdir()) == []


def test_lines_hold_the_row_and_its_page(tmp_path: Path) -> None:
    staged = stage(tmp_path, [{"id": 1, "name": "é"}], [], [{"id": 2, "n": 2**70}, {"id": 3}])

    rows = [json.loads(line) for line in staged.rows_path.read_text().splitlines()]
    assert [(row["id"], row["_page"]) for row in rows] == [(1, 1), (2, 3), (3, 3)]
    assert rows[1]["n"] == 2**70
    assert staged.row_count == 3
    assert staged.longest_line == max(len(line) + 1 for line in staged.rows_path.read_bytes().splitlines())


def test_a_failed_read_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail() -> None:
        with Staging(tmp_path, "segments") as staging:
            staging.append([{"id": 1}])
            assert list(tmp_path.iterdir()) == [staging.folder]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()

    assert list(tmp_path.iterdir()) == []


def test_a_first_page_that_cannot_be_made_leaves_nothing_to_go_on_behind(tmp_path: Path) -> None:
    def rows() -> Iterator[dict[str, int]]:
        yield {"id": 1}
        raise ValueError("no row")

    began = datetime.now(UTC) - timedelta(hours=11)
    with pytest.raises(ValueError, match="no row"), Staging(tmp_path, "messages", "inputs", began=began) as staging:
        staging.page(staging.chain("a"), rows())
    with Staging(tmp_path, "messages", "inputs") as staging:
        assert staging.began > began + timedelta(hours=1), "nothing was read then"
        staging.finish().discard()


def test_half_a_page_is_no_page(tmp_path: Path) -> None:
    def page():
        yield {"id": 1}
        raise ConnectionError

    with Staging(tmp_path, "segments") as staging:
        with pytest.raises(ConnectionError):
            staging.append(page())
        staging.append([{"id": 2}])
        staged = staging.finish()

    assert staged.row_count == 1
    assert json.loads(staged.rows_path.read_text())["id"] == 2


def test_pages_of_many_threads_do_not_mix(tmp_path: Path) -> None:
    with Staging(tmp_path, "segments") as staging:

        def write(thread: int) -> None:
            for page in range(50):
                staging.append({"id": f"{thread}-{page}-{n}", "name": "x" * 500} for n in range(20))

        threads = [threading.Thread(target=write, args=[number]) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        staged = staging.finish()

    rows = [json.loads(line) for line in staged.rows_path.read_text().splitlines()]
    assert staged.row_count == len(rows) == len({row["id"] for row in rows}) == 8 * 50 * 20
    assert sorted({row["_page"] for row in rows}) == list(range(1, 401))
    pages: dict[int, set[str]] = {}
    for row in rows:
        pages.setdefault(row["_page"], set()).add(row["id"].rpartition("-")[0])
    assert all(len(origins) == 1 for origins in pages.values())


def test_what_killed_runs_left_is_swept_and_what_runs_is_not(tmp_path: Path) -> None:
    dead, alive = stage(tmp_path, [{"id": 1}]), stage(tmp_path, [{"id": 2}])
    long_ago = time.time() - 3 * 86_400
    for path in (*dead.folder.iterdir(), dead.folder):
        os.utime(path, (long_ago, long_ago))
    (tmp_path / "spill-x").mkdir()
    os.utime(tmp_path / "spill-x", (long_ago, long_ago))
    (tmp_path / "note.txt").write_text("not ours")
    os.utime(tmp_path / "note.txt", (long_ago, long_ago))

    newest = stage(tmp_path, [{"id": 3}])

    assert {path.name for path in tmp_path.iterdir()} == {
        alive.folder.name,
        newest.folder.name,
        "note.txt",
    }


def test_tables_staged_side_by_side_do_not_disturb_each_other(tmp_path: Path) -> None:
    failures: list[BaseException] = []
    stop = time.monotonic() + 2

    def come_and_go(number: int) -> None:
        try:
            while time.monotonic() < stop and not failures:
                stage(tmp_path, [{"id": number}], name=f"table_{number}").discard()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=come_and_go, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
