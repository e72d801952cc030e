"""Refused rows as files in a folder: whole or not at all, their owner's alone, and a sentence where that fails."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from cio_assets.reverse_etl.rejects_sink import make_sink
from cio_assets.settings import SettingsError, load_settings
from cio_assets_tests.conftest import PROJECT
from cio_assets_tests.reverse_etl.rejects import MANY_LINES, RUN, STORED, clean_environment, failure, sink_to, write
from cio_assets_tests.warehouse.stage import python


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(tmp_path, monkeypatch)


def test_there_is_no_sink_without_a_place() -> None:
    assert make_sink(load_settings()) is None


def test_lines_stand_in_a_file_by_sync_day_and_run(tmp_path: Path) -> None:
    location = write(sink_to(tmp_path / "rejects"))

    assert location == str(tmp_path / "rejects" / "persons" / "2026-02-03" / f"123005-{RUN}.jsonl")
    assert Path(location).read_bytes() == STORED


def test_the_time_is_told_in_utc(tmp_path: Path) -> None:
    moment = datetime(2026, 2, 4, 1, 0, tzinfo=timezone(timedelta(hours=5)))

    assert write(sink_to(tmp_path), moment=moment).endswith(f"/2026-02-03/200000-{RUN}.jsonl")
    with pytest.raises(ValueError, match="time zone"):
        write(sink_to(tmp_path), moment=moment.replace(tzinfo=None))


def test_a_folder_may_be_written_with_any_letters(tmp_path: Path) -> None:
    assert Path(write(sink_to(tmp_path / "abgewiesen ü 🎉"))).read_bytes() == STORED


def test_nothing_is_written_for_no_lines(tmp_path: Path) -> None:
    assert write(sink_to(tmp_path / "rejects"), lines=iter(())) == ""
    assert list(tmp_path.iterdir()) == []


def test_files_are_their_owner_s_alone(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        location = Path(write(sink_to(tmp_path / "a" / "b")))
    finally:
        os.umask(before)

    assert stat.S_IMODE(location.stat().st_mode) == 0o600
    for folder in (tmp_path / "a", tmp_path / "a" / "b", location.parent, location.parent.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    seen: list[list[Path]] = []

    def lines() -> Iterator[bytes]:
        yield b"{}"
        seen.append(list(tmp_path.rglob("*.jsonl")))
        raise KeyError("the caller's own")

    with pytest.raises(KeyError, match="the caller's own"):
        write(sink_to(tmp_path), lines=lines())

    assert seen == [[]]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_second_file_of_the_same_second_replaces_nothing(tmp_path: Path) -> None:
    locations = [write(sink_to(tmp_path), lines=[b"%d" % number]) for number in range(3)]

    assert [Path(each).read_bytes() for each in locations] == [b"0\n", b"1\n", b"2\n"]
    assert locations[2].endswith(f"123005-{RUN}-3.jsonl")


@pytest.mark.parametrize("name", ["../../out", "/etc/passwd", "..", ".hidden", "a/b", "", "ü" * 300])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    location = Path(write(sink_to(tmp_path / "rejects"), sync=name, run_id=name)).resolve()

    assert len(location.relative_to(tmp_path / "rejects").parts) == 3
    assert not any(part.startswith(".") for part in location.relative_to(tmp_path).parts)


AS_AN_ORDINARY_USER = """
    import sys
    from datetime import UTC, datetime
    from cio_assets.reverse_etl.rejects_sink import RejectsSinkError, make_sink
    from cio_assets.settings import load_settings
    # as an ordinary user
    sink = make_sink(load_settings(rejects_uri=sys.argv[1]))
    for attempt in (sink.check, lambda: sink.write("persons", "run", datetime.now(UTC), [b"{}"])):
        try:
            attempt()
            print("written")
        except RejectsSinkError as error:
            print(error)
"""


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, below: str) -> None:
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o500)
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(parent.stat().st_mode | 0o055)

    done = python(AS_AN_ORDINARY_USER, str(folder / below), ordinary_user=True)

    said = done.stdout.splitlines()
    assert len(said) == 2, done.stderr
    assert all(
        each.startswith(f"CIO_REJECTS_URI: the folder {folder / below} cannot be written (Perm") for each in said
    )


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    sink = sink_to(tmp_path / "rejects" / "x")
    (tmp_path / "rejects").write_text("")

    assert "cannot be written (Not a directory)" in failure(sink)


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    code = """
        import resource, signal, sys
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        from datetime import UTC, datetime
        from cio_assets.reverse_etl.rejects_sink import RejectsSinkError, make_sink
        from cio_assets.settings import load_settings
        try:
            lines = (b"x" * 1000 for _ in range(5000))
            make_sink(load_settings(rejects_uri=sys.argv[1])).write("persons", "run", datetime.now(UTC), lines)
        except RejectsSinkError as error:
            print(error)
    """
    done = python(code, str(tmp_path / "rejects"))

    assert "cannot be written (File too large)" in done.stdout, done.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_checking_a_folder_leaves_it_empty(tmp_path: Path) -> None:
    sink_to(tmp_path / "rejects").check()

    assert list((tmp_path / "rejects").iterdir()) == []


def test_a_folder_needs_no_boto3(tmp_path: Path) -> None:
    code = """
        import sys
        from datetime import UTC, datetime
        from cio_assets.reverse_etl.rejects_sink import make_sink
        from cio_assets.settings import load_settings
        make_sink(load_settings(rejects_uri=sys.argv[1])).write("persons", "run", datetime.now(UTC), [b"{}"])
        print([name for name in sys.modules if name.startswith(("boto3", "botocore"))])
    """
    assert python(code, str(tmp_path)).stdout == "[]\n"


def test_s3_without_boto3_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)  # as if it were not installed

    with pytest.raises(SettingsError, match=r"pip install 'cio-assets\[s3\]'\.$"):
        make_sink(load_settings(rejects_uri="s3://rejects"))


def test_fifty_megabytes_pass_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))

    done = python(MANY_LINES, str(tmp_path / "rejects"), str(tmp_path / "home"))

    assert done.returncode == 0, done.stderr
    grown, location = done.stdout.split()
    assert Path(location).stat().st_size == 50_000_000
    assert float(grown) < 30
