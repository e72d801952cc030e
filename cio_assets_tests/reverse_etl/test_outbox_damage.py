"""Outboxes as a full disk, a crash or another release leaves them: the sync goes on, or says why it does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from cio_assets import sandbox
from cio_assets.reverse_etl.rejects_sink import RejectsSink, RejectsSinkError, make_sink
from cio_assets.reverse_etl.source import PushError
from cio_assets.settings import load_settings
from cio_assets_tests.reverse_etl.pushing import PERSONS, Pushing, whole

ROWS = 3000


def rows() -> pa.Table:
    """Persons for several batches, and one that is rejected."""
    ids = [f"u_{number}" for number in range(ROWS)] + ["x" * 151]
    return pa.table({"id": ids, "note": ["x" * 500] * (ROWS + 1)})


@pytest.fixture
def broken_sink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RejectsSink:
    """A sink that cannot be written, so that what was sent stays in the outbox."""
    variables = {
        "DAGSTER_HOME": tmp_path / "home",
        "CIO_REJECTS_URI": tmp_path / "rejects",
        "CIO_ENV_FILE": "/dev/null",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    sink = make_sink(load_settings())
    assert sink
    (tmp_path / "rejects").write_text("no folder any more")
    return sink


@pytest.fixture
def interrupted(empty_box: sandbox.Sandbox, tmp_path: Path, broken_sink: RejectsSink) -> Pushing:
    """Everything was sent and nothing of it noted in the warehouse."""
    pushing = Pushing(empty_box, tmp_path, workers=1)
    with pytest.raises((RejectsSinkError, PushError)):
        pushing.push(PERSONS, rows(), sink=broken_sink)
    assert journal(pushing).read_bytes().count(b"\n") >= 3, "several batches were answered"
    return pushing


def journal(pushing: Pushing) -> Path:
    """What was answered."""
    return pushing.outbox / "persons" / "journal"


def test_what_was_answered_is_noted_by_the_next_push(interrupted: Pushing) -> None:
    result = interrupted.push(PERSONS, rows())
    assert (result.recovered, result.unchanged, result.requests) == (ROWS, ROWS, 0)


def test_nobody_else_may_read_an_outbox(interrupted: Pushing) -> None:
    for folder in (interrupted.outbox, interrupted.outbox / "persons"):
        assert folder.stat().st_mode & 0o077 == 0, "it holds personal data"


DAMAGES: dict[str, Callable[[list[bytes]], bytes]] = {
    "torn and glued": lambda lines: lines[0][:10] + b"".join(lines[1:]),
    "torn before its line end": lambda lines: lines[0][:-1] + b"".join(lines[1:]),
    "torn at the end": lambda lines: b"".join(lines)[:-7],
    "only a beginning": lambda lines: lines[0][:5],
    "zeros after a crash": lambda lines: lines[0] + b"\0" * 64 + b"\n" + b"".join(lines[2:]),
    "zeros at the end": lambda lines: b"".join(lines[:-1]) + b"\0" * 512,
    "an empty line": lambda lines: lines[0] + b"\n" + b"".join(lines[1:]),
    "no text": lambda lines: lines[0] + b"\xff\xfe\n" + b"".join(lines[1:]),
    "something else": lambda lines: lines[0] + b"[1]\n{}\n" + b"".join(lines[1:]),
    "emptied": lambda _: b"",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_journal_does_not_stop_the_sync(interrupted: Pushing, damage: str) -> None:
    path = journal(interrupted)
    path.write_bytes(DAMAGES[damage](path.read_bytes().splitlines(keepends=True)))
    result = interrupted.push(PERSONS, rows())
    assert whole(result)
    assert result.unchanged + result.accepted == ROWS
    assert result.recovered == result.unchanged, "what the journal does not tell is sent again"
    assert interrupted.box
    assert len(interrupted.box.truth("customers")) == ROWS
    assert interrupted.push(PERSONS, rows()).requests == 0


def test_an_outbox_of_an_unknown_format_is_left_alone(pushing: Pushing) -> None:
    table = pa.table({"id": ["a", "b"], "plan": ["free", "pro"]})
    pushing.push(PERSONS, table)
    folder = pushing.outbox / "persons"
    folder.mkdir()
    (folder / "manifest").write_text(json.dumps({"format": 1_000_000, "sync": "persons"}))
    (folder / "journal").write_text("in another way")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for _ in range(2):
        with pytest.raises(PushError, match=r"outbox.*\.") as caught:
            pushing.push(PERSONS, table.slice(0, 1))
        assert "persons" in str(caught.value)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
