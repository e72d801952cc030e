"""Rows on disk between the API and their load, so that memory stays flat and no request runs inside a transaction."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import orjson

PAGE = "_page"
"""Number of the page a row came with: of two rows with one key the later page's is kept."""

CHAIN = "_chain"
"""Number of the chain of pages a row came with."""

_STALE_SECONDS = 2 * 86_400


@dataclass(frozen=True)
class Staged:
    """Rows (and, for series, the spans that were read), complete and ready to load."""

    folder: Path
    row_count: int
    longest_line: int
    span_count: int
    abandoned: frozenset[int] = frozenset()
    """Chains whose rows are not to be loaded."""

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


class Staging:
    """Writes pages of rows from many threads into a folder of its own below `directory`."""

    def __init__(self, directory: Path, name: str) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        _sweep(directory)
        self.folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=directory))
        self._rows = _private(self.folder / "rows.ndjson")
        self._spans = _private(self.folder / "spans.ndjson")
        self._lock = threading.Lock()
        self._pages = self._row_count = self._longest = self._span_count = self._chains = 0
        self._abandoned: set[int] = set()

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        self._rows.close()
        self._spans.close()
        if kind is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def row_count(self) -> int:
        """Rows so far."""
        return self._row_count

    def begin(self) -> int:
        """Number of a new chain of pages, for `append` and `abandon`. Thread-safe."""
        with self._lock:
            self._chains += 1
            return self._chains

    def abandon(self, chain: int) -> None:
        """Leave out every row of a chain that turned out not to be there. Thread-safe."""
        with self._lock:
            self._abandoned.add(chain)

    def append(self, rows: Iterable[Mapping[str, Any]], chain: int = 0) -> None:
        """Add the rows of one page. Thread-safe."""
        with self._lock:
            self._pages += 1
            page = self._pages
        remaining = iter(rows)
        # In pieces: a page may have 30 000 rows.
        while lines := [_line({**row, PAGE: page, CHAIN: chain}) for row in islice(remaining, 1000)]:
            with self._lock:
                self._rows.write(b"".join(lines))
                self._row_count += len(lines)
                self._longest = max(self._longest, *map(len, lines))

    def add_span(self, span: Mapping[str, Any]) -> None:
        """Add a span of a series that was read whole: its stored rows are replaced. Thread-safe."""
        with self._lock:
            self._spans.write(_line(span))
            self._span_count += 1

    def finish(self) -> Staged:
        """Close the files; the folder now belongs to whoever loads it."""
        self._rows.close()
        self._spans.close()
        return Staged(self.folder, self._row_count, self._longest, self._span_count, frozenset(self._abandoned))


def _line(row: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # an integer beyond 64 bits, deep in a JSON value
        return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _private(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=1 << 20)


def _sweep(directory: Path) -> None:
    """Remove what killed runs left behind."""
    for folder in directory.iterdir():
        with suppress(FileNotFoundError):  # loaded and removed by its own run meanwhile
            if folder.is_dir():
                newest = max((path.stat().st_mtime for path in folder.glob("*")), default=folder.stat().st_mtime)
                if newest < time.time() - _STALE_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)
