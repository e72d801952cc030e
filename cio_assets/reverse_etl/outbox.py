"""Operations on their way: a folder of files that says, whenever the process dies, what was to be sent and what was.

A lane is a list of operations that are sent alike. Per lane: the operations' bytes, their lengths, and their keys with
hashes. The journal takes one line for each answer. The manifest is written last: without it nothing was sent.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cio_assets.customerio import limits
from cio_assets.customerio.track_client import Batch, OperationRefusal

FORMAT = 2
"""Of the files; an outbox of another format is left alone."""
ROWS_AT_ONCE = 4096
"""Rows of one Arrow batch: with the longest operations 130 MB."""
KEYS = pa.schema([("key", pa.string()), ("hash", pa.int64()), ("also", pa.string())])
REJECTED = pa.schema(
    [("key", pa.string()), ("row", pa.string()), ("reason", pa.string()), ("field", pa.string()),
     ("message", pa.string()), ("found_by", pa.string()), ("hash", pa.int64())]
)  # fmt: skip
_FRAME = len(b'{"batch":[') + len(b"]}") - 1  # the last operation's comma is not sent
_SYNC_SECONDS = 1.0


class Lane(StrEnum):
    """How operations are sent, in this order: removals wait until everything else has been answered."""

    BATCH = "batch"
    ANONYMOUS = "anonymous"
    SEGMENT = "segment"
    GONE = "gone"
    GONE_SEGMENT = "gone_segment"
    FORGET = "forget"
    """Nothing is sent: keys whose rows are now known under another identifier."""
    STANDING = "standing"
    """Nothing is sent: what the service refused before and is as it was."""

    @property
    def sends(self) -> bool:
        """Whether there are requests to be made."""
        return self not in (Lane.FORGET, Lane.STANDING)

    @property
    def removes(self) -> bool:
        """Whether what is accepted here is no longer in Customer.io."""
        return self in (Lane.GONE, Lane.GONE_SEGMENT, Lane.FORGET)


@dataclass(frozen=True)
class Parcel:
    """Neighbouring operations of one lane; `first` is the place of its first in the lane."""

    lane: Lane
    first: int
    batch: Batch

    def part(self, begin: int, end: int) -> Parcel:
        """Operations `begin` to `end` of this parcel."""
        ends = np.asarray(self.batch.ends)
        offset = int(ends[begin - 1]) if begin else 0
        content = memoryview(self.batch.content)[offset : int(ends[end - 1])]
        return Parcel(self.lane, self.first + begin, Batch(content, ends[begin:end] - offset))


@dataclass(frozen=True)
class Answered:
    """What the journal knows of a lane: which operations were accepted, which refused and why."""

    accepted: np.ndarray
    refused: Mapping[int, OperationRefusal]


class _LaneWriter:
    def __init__(self, folder: Path, lane: Lane) -> None:
        self._operations = (folder / f"{lane}.operations").open("wb")
        self._lengths = (folder / f"{lane}.lengths").open("wb")
        self._keys = pa.ipc.new_stream(str(folder / f"{lane}.keys"), KEYS)
        self.count = 0
        self.bytes = 0

    def add(self, rows: pa.RecordBatch) -> None:
        lengths, data = _texts(rows.column("operation"))
        self._operations.write(data)
        self._lengths.write(lengths.tobytes())
        columns = [rows.column(field.name).cast(field.type) for field in KEYS]
        self._keys.write(pa.record_batch(columns, schema=KEYS))
        self.count += len(lengths)
        self.bytes += len(data)

    def close(self) -> None:
        for file in (self._operations, self._lengths, self._keys):
            file.close()


def _texts(array: pa.Array) -> tuple[np.ndarray, memoryview]:
    """Lengths of an array's texts, and the texts' bytes one after another, without a copy."""
    texts = array if pa.types.is_string(array.type) else array.cast(pa.string())
    _, offsets_buffer, data = texts.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    if not len(texts) or data is None:
        return np.zeros(len(texts), np.int32), memoryview(b"")
    return np.diff(offsets).astype(np.int32), memoryview(data)[int(offsets[0]) : int(offsets[-1])]


class Outbox:
    """One push's operations. Write with `add` and `add_rejected`, then `seal`; then `parcels` and `answered`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writers: dict[Lane, _LaneWriter] = {}
        self._rejected: pa.ipc.RecordBatchStreamWriter | None = None
        self._journal = -1
        self._journal_lock = threading.Lock()
        self._synced_at = 0.0

    @classmethod
    def create(cls, folder: Path) -> Outbox:
        """An empty one; what stood there is removed."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        return cls(folder)

    def add(self, lane: Lane, rows: pa.RecordBatch) -> None:
        """Append operations: rows with `operation` (text that ends with a comma) and the columns of KEYS."""
        if lane not in self._writers:
            self._writers[lane] = _LaneWriter(self.folder, lane)
        self._writers[lane].add(rows)

    def add_rejected(self, rows: pa.RecordBatch) -> None:
        """Append rows of the schema REJECTED."""
        if self._rejected is None:
            self._rejected = pa.ipc.new_stream(str(self.folder / "rejected"), REJECTED)
        self._rejected.write(rows)

    def seal(self, manifest: Mapping[str, Any]) -> None:
        """End the writing; `manifest` is kept beside it."""
        for writer in self._writers.values():
            writer.close()
        if self._rejected is not None:
            self._rejected.close()
        text = json.dumps({"format": FORMAT, **manifest})
        unfinished = self.folder / "manifest.part"
        unfinished.write_text(text)
        unfinished.rename(self.folder / "manifest")

    def manifest(self) -> dict[str, Any] | None:
        """What `seal` was given; None where it was never reached. Raises ValueError for files of another format."""
        try:
            manifest = json.loads((self.folder / "manifest").read_text())
        except (OSError, ValueError):
            return None
        if manifest.get("format") != FORMAT:
            raise ValueError(f"an outbox of format {manifest.get('format')}")
        return manifest

    def lanes(self) -> list[Lane]:
        """The lanes that hold anything, in the order of sending."""
        return [lane for lane in Lane if (self.folder / f"{lane}.lengths").exists()]

    def count(self, lane: Lane) -> int:
        """Operations in a lane."""
        path = self.folder / f"{lane}.lengths"
        return path.stat().st_size // 4 if path.exists() else 0

    def parcels(self, lane: Lane) -> Iterator[Parcel]:
        """The lane's operations in batches that are as large as the API allows."""
        lengths = self._lengths(lane)
        most = limits.BATCH - _FRAME
        first, offset = 0, 0
        with (self.folder / f"{lane}.operations").open("rb") as file:
            while first < len(lengths):
                ends = np.cumsum(lengths[first : first + most // 30], dtype=np.int64)
                count = max(1, int(np.searchsorted(ends, most, side="right")))
                ends = ends[:count]
                content = os.pread(file.fileno(), int(ends[-1]), offset)
                yield Parcel(lane, first, Batch(content, ends))
                first += count
                offset += int(ends[-1])

    def operations(self, lane: Lane, places: Sequence[int]) -> list[str]:
        """Some operations' texts, without their commas."""
        if not places:
            return []
        starts = np.concatenate(([0], np.cumsum(self._lengths(lane), dtype=np.int64)))
        with (self.folder / f"{lane}.operations").open("rb") as file:
            return [
                os.pread(file.fileno(), int(starts[i + 1] - starts[i]) - 1, int(starts[i])).decode() for i in places
            ]

    def answered(self, lane: Lane, first: int, count: int, refusals: Sequence[OperationRefusal]) -> None:
        """Note the answer to operations: those refused (their index counts from `first`), all others accepted.

        On disk at most a second later; thread-safe.
        """
        refused = [[first + one.index, one.reason, one.field, one.message] for one in refusals]
        # The first line break ends what a full disk may have cut.
        line = b"\n" + json.dumps([lane, first, first + count, refused]).encode() + b"\n"
        with self._journal_lock:
            if self._journal < 0:
                self._journal = os.open(self.folder / "journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.write(self._journal, line)
            if time.monotonic() - self._synced_at > _SYNC_SECONDS:
                os.fsync(self._journal)
                self._synced_at = time.monotonic()

    def read_answers(self) -> dict[Lane, Answered]:
        """What was answered so far, per lane. A line that was cut off counts as not answered."""
        answers = {lane: Answered(np.zeros(self.count(lane), bool), {}) for lane in self.lanes()}
        if Lane.FORGET in answers:
            answers[Lane.FORGET].accepted[:] = True
        path = self.folder / "journal"
        for line in path.read_bytes().split(b"\n") if path.exists() else []:
            try:
                lane, first, end, refused = json.loads(line)
                answer = answers[Lane(lane)]
            except (ValueError, TypeError, KeyError):  # cut by a kill or a full disk: as if it had not been answered
                continue
            answer.accepted[first:end] = True
            for place, reason, field, message in refused:
                answer.accepted[place] = False
                answer.refused[place] = OperationRefusal(place, reason, field, message)  # pyright: ignore[reportIndexIssue]  # ours, a dict
        return answers

    def keys(self, lane: Lane, wanted: np.ndarray | None = None) -> Iterator[pa.RecordBatch]:
        """Keys and hashes of the lane's operations, or of those that the mask `wanted` tells."""
        first = 0
        with pa.ipc.open_stream(str(self.folder / f"{lane}.keys")) as reader:
            for rows in reader:
                yield rows if wanted is None else rows.filter(pa.array(wanted[first : first + len(rows)]))
                first += len(rows)

    def rejected(self) -> Iterator[pa.RecordBatch]:
        """What `add_rejected` was given."""
        if (self.folder / "rejected").exists():
            with pa.ipc.open_stream(str(self.folder / "rejected")) as reader:
                yield from reader

    def remove(self) -> None:
        """Remove the folder: what it says stands in the warehouse now."""
        if self._journal >= 0:
            os.close(self._journal)
            self._journal = -1
        shutil.rmtree(self.folder, ignore_errors=True)

    def _lengths(self, lane: Lane) -> np.ndarray:
        return np.fromfile(self.folder / f"{lane}.lengths", np.int32)
