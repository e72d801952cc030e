"""Rows on disk between the API and their load, with the place that was reached, so that a run that died goes on there.

Memory stays flat, no request runs inside a transaction, and nothing that was answered is asked again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from cio_assets.turns import turn_if_free
from cio_assets.warehouse import journal
from cio_assets.warehouse.database import WarehouseError

PAGE = "_page"
"""Number of the page a row came with: of two rows with one key the later page's is kept."""

CHAIN = "_chain"
"""Number of the chain of pages a row came with."""

LONGEST_PAUSE = timedelta(hours=12)
"""Age from which what a dead run has read is no longer believed to be the present."""

RESUMABLE, LOCK = ".resume", ".lock"
_STALE_SECONDS = 2 * 86_400
_SYNC_SECONDS = 2.0
"""How much work a power failure may cost; a killed process loses none."""


@dataclass(frozen=True)
class Staged:
    """Rows (and, for series, the spans that were read), complete and ready to load."""

    folder: Path
    row_count: int
    longest_line: int
    span_count: int
    abandoned: frozenset[int] = frozenset()
    """Chains whose rows are not to be loaded."""
    durable: bool = False
    """Whether another run may find the folder."""
    held: ExitStack = field(default_factory=ExitStack, repr=False, compare=False)
    """The folder's lock."""

    @property
    def rows_path(self) -> Path:
        """One JSON object a line: the declared columns, `_extra` and `_page`."""
        return self.folder / "rows.ndjson"

    @property
    def spans_path(self) -> Path:
        """One JSON object a line: key columns and `span_from`, `span_to` in unix seconds."""
        return self.folder / "spans.ndjson"

    def discard(self) -> None:
        """Remove the files (they hold personal data)."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.held.close()

    def keep(self) -> None:
        """Leave the files to the next run of the same inputs, if there can be one: it loads them without a request."""
        if not self.durable:
            self.discard()
            return
        for path in self.folder.glob("stage.duckdb*"):
            path.unlink()
        self.held.close()


@dataclass
class Chain:
    """Pages that follow one another. `resume` are the parameters of the next one, None before the first."""

    number: int
    unit: str
    resume: Mapping[str, Any] | None = None
    finished: bool = False
    gone: bool = False
    notes: list[Any] = field(default_factory=list)
    """What `page` was given to remember, of all pages so far."""


class Staging:
    """Writes pages of rows from many threads into a folder of its own below `directory`.

    `inputs` says all that decides what is read (what is asked, of which workspace, by which version). A run that died
    left its folder behind: one of the same `name`, `slot` and `inputs` goes on where it was, any other begins anew.
    Without `inputs`, or while another run has the folder, it is a temporary one. `began` is now, by the caller's clock.
    """

    def __init__(
        self, directory: Path, name: str, inputs: str | None = None, *, slot: str = "", began: datetime | None = None
    ) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._held = ExitStack()
        self.began = began or datetime.now(UTC)
        self._done: dict[int, bool] = {}  # hash of a unit -> whether it was gone; only of earlier runs
        self._open: dict[str, Chain] = {}
        self.noted: dict[str, Any] = {}
        """What `note` was given, by name; of earlier runs too."""
        self._pages = self._row_count = self._longest = self._chains = 0
        self._holds = False  # anything that another run can go on behind
        self._spans: list[Mapping[str, Any]] = []
        self._abandoned: set[int] = set()
        self._synced = time.monotonic()
        self.resumed_pages = 0
        """Pages that an earlier run had read."""
        with self._kept():
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            _sweep(directory)
            folder = self._of_its_own(directory, name, slot) if inputs is not None else None
            self.durable = folder is not None
            self.folder = folder or Path(tempfile.mkdtemp(prefix=f"{name}-", dir=directory))
        begin = {"format": journal.FORMAT, "inputs": hashlib.sha256((inputs or "").encode()).hexdigest()}
        found = journal.read(self.folder, begin, self._recent, self._restore) if self.durable else None
        self.began = min(self.began, found.began) if found else self.began
        try:
            with self._kept():
                if not found:
                    _empty(self.folder)
                self._rows = _private(self.folder / "rows.ndjson", found.offset if found else None)
                self._journal = journal.Writer(self.folder, begin | {"began": self.began.isoformat()}, found)
        except BaseException:
            self._held.close()
            raise

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        with suppress(OSError):  # a full disk: what was written before stands
            self._rows.close()
        self._journal.close()
        if kind is not None:
            if not self.durable or not self._holds:
                shutil.rmtree(self.folder, ignore_errors=True)
            self._held.close()

    @property
    def row_count(self) -> int:
        """Rows so far."""
        return self._row_count

    def chain(self, unit: str) -> Chain:
        """The chain of pages of a unit (whatever names it for ever): a new one, or as far as an earlier run came."""
        gone = self._done.get(_hash(unit))
        if gone is not None:
            return Chain(0, unit, finished=True, gone=gone)
        with self._lock:
            known = self._open.pop(unit, None)
            return known or self._new_chain(unit)

    def restart(self, chain: Chain) -> Chain:
        """Leave out what was read of a chain, and begin it anew: its cursor is refused. Thread-safe."""
        with self._lock:
            again = self._new_chain(chain.unit)
            self._abandoned.add(chain.number)
            self._note({"u": chain.unit, "c": again.number, "left": chain.number})
        return again

    def leave(self, chain: Chain) -> None:
        """The unit is not there (404): its rows, if any came, are left out. Thread-safe."""
        chain.finished = chain.gone = True
        with self._lock:
            self._abandoned.add(chain.number)
            self._note({"u": chain.unit, "c": chain.number, "left": chain.number, "end": 1, "gone": 1})

    def page(
        self,
        chain: Chain,
        rows: Iterable[Mapping[str, Any]],
        resume: Mapping[str, Any] | None = None,
        *,
        span: Mapping[str, Any] | None = None,
        note: Any = None,
        noted: Mapping[str, Any] | None = None,
    ) -> None:
        """Add the rows of one page and remember, with them, what follows; None ends the chain. Thread-safe.

        `span` is a stretch of a series that was read whole: its stored rows are replaced. `note` is kept in
        `chain.notes`, `noted` in `Staging.noted`.
        """
        chain.resume, chain.finished = resume, resume is None
        line: dict[str, Any] = {"u": chain.unit, "c": chain.number}
        line |= {"end": 1} if resume is None else {"next": resume}
        if span is not None:
            line["span"] = span
        if note is not None:
            chain.notes.append(note)
            line["note"] = note
        if noted:
            line["noted"] = noted
        self._write(chain.number, rows, line, span)

    def append(self, rows: Iterable[Mapping[str, Any]], noted: Mapping[str, Any] | None = None) -> None:
        """Add the rows of one page that belongs to no chain; `noted` as in `note`. Thread-safe."""
        self._write(0, rows, {"noted": noted} if noted else {}, None)

    def note(self, **facts: Any) -> None:
        """Remember facts for the run that may have to go on. Thread-safe."""
        with self._lock:
            self.noted |= facts
            self._note({"noted": facts})

    def add_span(self, span: Mapping[str, Any]) -> None:
        """Add a stretch of a series that was read whole."""
        self._write(0, (), {"span": span}, span)

    def finish(self) -> Staged:
        """Close the files; the folder now belongs to whoever loads it."""
        spans = self.folder / "spans.ndjson"
        with self._kept():
            self._rows.close()
            self._journal.close()
            spans.unlink(missing_ok=True)
            with _private(spans) as file:
                file.writelines(map(_line, self._spans))
        return Staged(
            self.folder,
            self._row_count,
            self._longest,
            len(self._spans),
            frozenset(self._abandoned),
            self.durable,
            self._held,
        )

    def _write(
        self,
        chain: int,
        rows: Iterable[Mapping[str, Any]],
        line: dict[str, Any],
        span: Mapping[str, Any] | None,
    ) -> None:
        with self._lock:
            self._pages += 1
            page = self._pages
        # One text: tens of thousands of small ones would scatter over the memory that they leave.
        text, count, longest = bytearray(), 0, 0
        for row in rows:
            one = _line({**row, PAGE: page, CHAIN: chain})
            text += one
            count, longest = count + 1, max(longest, len(one))
        with self._lock:
            with self._kept():
                self._rows.write(text)
            self._row_count += count
            self._longest = max(self._longest, longest)
            if span is not None:
                self._spans.append(span)
            self.noted |= line.get("noted", {})
            self._note(line | {"p": page, "n": count, "w": longest}, text)
            self._holds = True

    def _note(self, line: Mapping[str, Any], rows: bytes | bytearray = b"") -> None:
        """Write a line of the journal, after the rows it speaks of."""
        with self._kept():
            self._rows.flush()
            self._journal.write(line, rows)
            if time.monotonic() - self._synced > _SYNC_SECONDS:
                os.fsync(self._rows.fileno())
                self._journal.sync()
                self._synced = time.monotonic()

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise WarehouseError(
                f"What was read could not be kept in {self._directory} ({error.strerror}): make room there, or give "
                "another DAGSTER_HOME. What was read before is there, and the next run goes on behind it."
            ) from None

    def _new_chain(self, unit: str) -> Chain:
        self._chains += 1
        return Chain(self._chains, unit)

    def _restore(self, line: Mapping[str, Any]) -> None:
        """Take in a line of an earlier run's journal."""
        self._pages = self.resumed_pages = max(self._pages, line.get("p", 0))
        self._holds = self._holds or self._pages > 0
        self._row_count += line.get("n", 0)
        self._longest = max(self._longest, line.get("w", 0))
        self._spans += [line["span"]] if "span" in line else []
        self.noted |= line.get("noted", {})
        if "left" in line:
            self._abandoned.add(line["left"])
            self._open.pop(line["u"], None)
        if "c" not in line:
            return
        self._chains = max(self._chains, line["c"])
        chain = self._open.pop(line["u"], None) or Chain(line["c"], line["u"])
        chain.resume = line.get("next")
        chain.notes += [line["note"]] if "note" in line else []
        if "end" in line and not chain.notes:
            self._done[_hash(line["u"])] = "gone" in line
        else:  # what it noted is still asked for
            chain.finished = "end" in line
            self._open[line["u"]] = chain

    def _recent(self, began: datetime) -> bool:
        # A clock that was set back makes an earlier run seem to begin later.
        return -LONGEST_PAUSE < self.began - began < LONGEST_PAUSE

    def _of_its_own(self, directory: Path, name: str, slot: str) -> Path | None:
        folder = directory / f"{name}-{hashlib.sha256(slot.encode()).hexdigest()[:16]}{RESUMABLE}"
        try:
            lock = directory / (folder.name + LOCK)
            self._held.enter_context(turn_if_free(lock))
            os.utime(lock)  # in use: not to be swept
        except (BlockingIOError, FileNotFoundError):  # another run reads the same, or sweeps, at the same time
            return None
        folder.mkdir(exist_ok=True, mode=0o700)
        return folder


def _line(row: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # an integer beyond 64 bits, deep in a JSON value
        return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _hash(unit: str) -> int:
    """Sixty-three bits: a hundred thousand units are remembered in a few megabytes."""
    return int.from_bytes(hashlib.blake2b(unit.encode(), digest_size=8).digest()) >> 1


def _private(path: Path, keep: int | None = None) -> Any:
    """A file for the owner's eyes only, opened behind its first `keep` bytes; a new one for None."""
    flags = os.O_RDWR | (os.O_CREAT | os.O_EXCL if keep is None else 0)
    file = os.fdopen(os.open(path, flags, 0o600), "r+b", buffering=1 << 20)
    if keep is not None:
        file.truncate(keep)
        file.seek(keep)
    return file


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def _sweep(directory: Path) -> None:
    """Remove what killed runs left behind and nobody came back for."""
    for path in directory.iterdir():
        with suppress(FileNotFoundError, BlockingIOError):  # loaded and removed by its own run meanwhile; in use
            if path.name.endswith(RESUMABLE + LOCK) and path.stat().st_mtime < time.time() - _STALE_SECONDS:
                with turn_if_free(path):
                    path.unlink()
            if path.is_dir():
                newest = max((file.stat().st_mtime for file in path.glob("*")), default=path.stat().st_mtime)
                # Nobody goes on with what is older; a run under way writes more often.
                stale = LONGEST_PAUSE.total_seconds() if path.name.endswith(RESUMABLE) else _STALE_SECONDS
                if newest < time.time() - stale:
                    shutil.rmtree(path, ignore_errors=True)
