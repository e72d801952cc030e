"""The journal of a staging folder: after each page a line that says where the rows end and what is to be asked next.

A line is believed if the bytes of the rows up to its place are those that were written: a checksum tells. So whatever a
kill, a power failure or a bad disk leaves behind, the pages before the damage are good, and those after it are asked
again.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import orjson

FORMAT = 1
NAME = "journal.ndjson"
ROWS = "rows.ndjson"
_BLOCK = 1 << 20


@dataclass
class Found:
    """What a run that died has left: when it began, where rows and journal end that can be believed."""

    began: datetime
    journal_offset: int
    offset: int = 0
    checksum: int = 0


def read(
    folder: Path,
    begin: Mapping[str, Any],
    recent: Callable[[datetime], bool],
    take: Callable[[Mapping[str, Any]], None],
) -> Found | None:
    """Give every believable line to `take`; None where the journal does not begin like `begin`, or not recently."""
    try:
        with (folder / NAME).open("rb") as journal, (folder / ROWS).open("rb") as rows:
            found = _head(journal.readline(), begin)
            if found is None or not recent(found.began):
                return None
            for text in journal:
                line = _parse(text)
                if line is None or not _is_true(line, rows, found):
                    break
                take(line)
                found.journal_offset += len(text)
            return found
    except FileNotFoundError:
        return None


def _head(text: bytes, begin: Mapping[str, Any]) -> Found | None:
    head = _parse(text)
    if head is None or any(head.get(name) != value for name, value in begin.items()):
        return None
    try:
        return Found(datetime.fromisoformat(head["began"]), len(text))
    except (KeyError, TypeError, ValueError):
        return None


def _parse(text: bytes) -> dict[str, Any] | None:
    """A line whose own checksum is right."""
    body, _, checksum = text.rstrip(b"\n").rpartition(b"\t")
    if not text.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(body):
        return None
    return orjson.loads(body)


def _is_true(line: Mapping[str, Any], rows: IO[bytes], found: Found) -> bool:
    """Whether the rows up to the line's place are those that were written; moves `found` there."""
    checksum, left = found.checksum, line["o"] - found.offset
    while left > 0:
        block = rows.read(min(left, _BLOCK))
        if not block:
            return False
        checksum = zlib.crc32(block, checksum)
        left -= len(block)
    if left or checksum != line["k"]:
        return False
    found.offset, found.checksum = line["o"], checksum
    return True


class Writer:
    """Appends lines; the caller has written the rows they speak of. Not thread-safe."""

    def __init__(self, folder: Path, begin: Mapping[str, Any], found: Found | None) -> None:
        flags = os.O_RDWR | (0 if found else os.O_CREAT | os.O_EXCL)
        self._file = os.fdopen(os.open(folder / NAME, flags, 0o600), "r+b", buffering=0)
        self._offset = found.offset if found else 0
        self._checksum = found.checksum if found else 0
        if found:
            self._file.truncate(found.journal_offset)
            self._file.seek(found.journal_offset)
        else:
            self._put(begin)

    def write(self, line: Mapping[str, Any], rows: bytes | bytearray) -> None:
        """Add a line about `rows`, which now stand at the end of the file of rows."""
        self._offset += len(rows)
        self._checksum = zlib.crc32(rows, self._checksum)
        self._put({**line, "o": self._offset, "k": self._checksum})

    def sync(self) -> None:
        """Survive a power failure from here on."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _put(self, line: Mapping[str, Any]) -> None:
        body = orjson.dumps(line)
        self._file.write(body + b"\t%08x\n" % zlib.crc32(body))
