"""Every fault of the sandbox × every way to read and to push: the right rows, or the old rows and a clear error.

`python -m cio_assets_tests.test_fault_matrix --write` tries it all and writes what it sees to `docs/fault-matrix.md`.
"""

from __future__ import annotations

import logging
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from cio_assets.sandbox.faults import KINDS
from cio_assets_tests import fault_pushes, fault_reads, forked
from cio_assets_tests.conftest import PROJECT
from cio_assets_tests.fault_outcomes import EVER, FAULTS, GONE, OLD, REJECTED, REST, RIGHT, Case, Cell, page
from cio_assets_tests.fault_pushes import Pushes
from cio_assets_tests.fault_reads import Reads

PAGE = PROJECT / "docs" / "fault-matrix.md"
RENEW = "run: python -m cio_assets_tests.test_fault_matrix --write"
READS, PUSHES = fault_reads.COLUMNS, fault_pushes.COLUMNS
COLUMNS = [*READS, *PUSHES]

REFUSED = ("401", "403")
PASSING = ("429", "429-bare", "500", "502", "503", "reset", "lost", "html", "stall")
PASSING += ("truncated", "truncated-length", "truncated-json")


def expected(column: str, fault: str) -> Cell:
    """What is to come of a fault: the one rule of the matrix, and its exceptions."""
    if column in READS:
        return _expected_of_reading(column, fault)
    if column == "dry-run" or fault in ("vanish", "overlap", "stale-cursor", "export_failed"):
        return Cell()
    if fault in ("bare207", "batch400"):  # only where the service refuses a row
        return Cell((RIGHT,), RIGHT) if column == "objects" else Cell()
    if (column, fault) == ("members", "404"):  # it is the segment that is not found; one request is halved and repeated
        return Cell((RIGHT,), REJECTED)
    return Cell((RIGHT if fault in PASSING else REST,), REST)


def _expected_of_reading(column: str, fault: str) -> Cell:
    if fault in ("404", "vanish"):
        exceptions = {
            "list": (OLD, RIGHT),  # a cursor that is not found begins anew
            "children": (GONE, RIGHT),
            "window": (OLD, RIGHT, OLD),  # the last is the list of drafts
            "merge": (OLD, RIGHT),
            "changed": (OLD, RIGHT, OLD),
            "export": (OLD, RIGHT),  # of a link that leads nowhere another is asked
            "series-1": (GONE,),
            "series-2": (GONE,),
        }
        return Cell(exceptions.get(column, (OLD,)), OLD)
    if fault in REFUSED:
        return Cell((OLD, RIGHT) if column == "export" else (OLD,), OLD)
    if fault in PASSING:
        return Cell((RIGHT,), OLD)
    if fault == "export_failed":
        return Cell((OLD,), OLD) if column == "export" else Cell()
    if fault in ("bare207", "batch400") or column not in ("list", "children", "changed", "window", "merge"):
        return Cell()
    if fault == "stale-cursor":
        return Cell((RIGHT,), OLD)
    # The list of senders ends with an empty page: when that repeats rows, it is not empty and goes on with itself.
    return Cell((RIGHT, OLD), OLD) if column == "list" else Cell((RIGHT,), RIGHT)


def said(column: str, fault: str) -> str:
    """A pattern for what the failure says: where it happened, what, and what to do."""
    reads = column in READS
    key = "CUSTOMERIO_APP_API_KEY" if reads else "CUSTOMERIO_TRACK_API_KEY"
    what = {
        "401": rf"401: .*{key} is not valid.*Check .* in Customer\.io > Settings.*CUSTOMERIO_REGION",
        "403": rf"403: .*{key}.*Give the key this scope" if reads else rf"403: .*{key}.*IP allowlist",
        "404": r"not found \(404\)|each of 3 parents.*CUSTOMERIO_APP_URL" if reads else "CUSTOMERIO_TRACK_URL right",
        "429-bare": "quota of the day is spent. Run it again tomorrow" if reads else "Lower CIO_TRACK_RPS",
        "reset": "the connection failed",
        "lost": "the connection failed",
        "truncated": "not JSON|cut short",
        "truncated-length": "cut short",
        "truncated-json": "not JSON",
        "html": "not JSON",
        "stall": "no answer in time",
        "overlap": "would never end",
        "stale-cursor": "invalid cursor",
        "export_failed": r"export \d+ failed in Customer\.io: run it again, or set CIO_PEOPLE",
    }
    what["vanish"] = what["404"]
    where = "" if fault == "export_failed" else "(GET|POST) /(v1|api)/.*"
    return f"{where}({what.get(fault, f'HTTP {fault}')})" + ("" if reads else ".*the next push sends the rest")


class Matrix:
    """Columns as they are needed, each with a sandbox of its own: so what happens does not depend on other columns."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self._columns: dict[str, Reads | Pushes] = {}

    def cell(self, column: str, fault: str) -> Cell:
        """Try a fault on a column, for ever and once at each place; one that passes at one of them, in turn."""
        tried = self._columns.get(column) or self._column(column)
        ever = tried.meet(fault, EVER)
        if not ever.met:
            assert ever.outcome == RIGHT
            return Cell()
        places = range(len(tried.column.places))
        chosen = [places[PASSING.index(fault) % len(places)]] if fault in PASSING else places
        once = [tried.meet(fault, Case(place)) for place in chosen]
        met = [seen for seen in once if seen.met]
        for seen in (ever, *met):
            failed = seen.outcome in (OLD, REST)
            assert bool(seen.said) == failed
            assert not failed or re.search(said(column, fault), seen.said), seen.said
            assert "<html" not in seen.said
        return Cell(tuple(outcome for outcome, _ in groupby(seen.outcome for seen in met)), ever.outcome)

    def _column(self, name: str) -> Reads | Pushes:
        options = fault_reads.SANDBOX if name in READS else fault_pushes.SANDBOX
        box = self._stack.enter_context(forked.launch(**options))
        folder = self._folder / name
        column = Reads(box, folder, READS[name]) if name in READS else Pushes(box, folder, PUSHES[name])
        self._columns[name] = self._stack.enter_context(closing(column))
        return column


def titled(cells: dict[tuple[str, str], Cell]) -> str:
    """The page of these cells."""
    reads = {name: column.title for name, column in READS.items()}
    return page(reads, {name: column.title for name, column in PUSHES.items()}, cells)


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    with ExitStack() as stack:
        yield Matrix(stack, tmp_path_factory.mktemp("matrix"))


def _quick() -> set[tuple[str, str]]:
    """So much of it that each fault is read and pushed through once, and each column is met by several."""
    chosen = {("dry-run", "500")}
    for number, fault in enumerate(FAULTS):
        for columns in (READS, PUSHES):
            able = [column for column in columns if expected(column, fault).ever]
            chosen |= {(able[number % len(able)], fault)} if able else set()
    return chosen


def _cases() -> list[Any]:
    quick = _quick()
    return [
        pytest.param(column, fault, id=f"{column}-{fault}", marks=() if (column, fault) in quick else pytest.mark.soak)
        for column in COLUMNS
        for fault in FAULTS
    ]


@pytest.mark.parametrize(("column", "fault"), _cases())
def test_right_rows_or_old_rows_and_a_clear_error(matrix: Matrix, column: str, fault: str) -> None:
    assert matrix.cell(column, fault) == expected(column, fault)


def test_the_page_shows_what_is_tried() -> None:
    cells = {(column, fault): expected(column, fault) for column in COLUMNS for fault in FAULTS}
    assert PAGE.read_text() == titled(cells), RENEW


def test_every_fault_of_the_sandbox_is_in_the_matrix() -> None:
    assert FAULTS.keys() == KINDS


def write() -> None:
    """Try everything and write the page."""
    logging.disable(logging.CRITICAL)
    with ExitStack() as stack:
        matrix = Matrix(stack, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        cells = {}
        for column in COLUMNS:
            for fault in FAULTS:
                cells[column, fault] = matrix.cell(column, fault)
                print(f"{column}, {fault}: {cells[column, fault]}", flush=True)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(titled(cells))


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(RENEW)
    write()
