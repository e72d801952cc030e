"""Exports of people as a job makes them: a list of jobs, and a CSV file per job, which a signed link opens.

What a job exports is what the people were when it began, as far as they did not change while it was written.
"""

import csv
import hmac
import io
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from hashlib import blake2b
from typing import IO, Any

import orjson

from cio_assets.sandbox.clock import Clock
from cio_assets.sandbox.content import Item
from cio_assets.sandbox.errors import ApiError
from cio_assets.sandbox.people import People

PIECE = 500  # people who are written before other requests get their turn
LINK_SECONDS = 15 * 60
COLUMNS = ("cio_id", "id", "email", "created_at")
Submit = Callable[..., Future[Any]]


@dataclass
class Job:
    """One export that was asked for; `file` is its CSV once it is written."""

    item: Item
    begun: float
    fails: bool
    file: IO[bytes] | None = None
    total: int = 0


class Exports:
    """Every export of the workspace: those it had at the start are only listed, their files are no more."""

    def __init__(self, people: People, items: list[Item], clock: Clock, seconds: float, seed: int) -> None:
        self._people = people
        self._items = items
        self._clock = clock
        self._seconds = seconds
        self._secret = blake2b(f"link {seed}".encode()).digest()
        self._jobs: dict[int, Job] = {}

    def listed(self) -> list[Item]:
        """Return every export with its status of now."""
        for job in self._jobs.values():
            self._settle(job)
        return self._items

    def start(self, numbers: Iterable[int], attributes: list[str] | None, fails: bool, submit: Submit) -> Item:
        """Begin to export some people; without a list of attributes each that one of them has becomes a column."""
        now = self._clock.now()
        identity = max((item["id"] for item in self._items), default=109) + 1
        item = {
            "id": identity, "deduplicate_id": f"{identity}:{now}", "type": "customers", "failed": False,
            "description": "Customers", "downloads": 0, "created_at": now, "updated_at": now, "user_id": 0,
            "user_email": "ops@example.com", "total": 0, "status": "pending",
        }  # fmt: skip
        self._items.append(item)
        job = self._jobs[identity] = Job(item, self._clock.passing(), fails)
        _in_pieces(self._write(job, list(numbers), attributes), submit)
        return item

    def link(self, identity: int) -> str | None:
        """Return path and query under which a finished export can be fetched, None where there is no file."""
        job = self._jobs.get(identity)
        if job is None or job.file is None or job.item["status"] != "done":
            return None
        job.item["downloads"] += 1
        expires = self._clock.now() + LINK_SECONDS
        return f"/downloads/export-{identity}.csv?expires={expires}&sig={self._sign(identity, expires)}"

    def open(self, identity: int, expires: int, signature: str) -> tuple[int, int]:
        """Return descriptor and size of a file; 403 where the link is not ours or expired."""
        job = self._jobs.get(identity)
        if not hmac.compare_digest(self._sign(identity, expires).encode(), signature.encode()):
            raise ApiError(403, "access denied")
        if expires < self._clock.now() or job is None or job.file is None:
            raise ApiError(403, "request has expired", fault_of_client=False)
        return job.file.fileno(), job.file.seek(0, io.SEEK_END)

    def _sign(self, identity: int, expires: int) -> str:
        return blake2b(f"{identity} {expires}".encode(), key=self._secret, digest_size=16).hexdigest()

    def _settle(self, job: Job) -> None:
        """Finish a job whose file is written and whose time has passed."""
        item = job.item
        passed = self._clock.passing() - job.begun
        if item["status"] != "pending" or passed < self._seconds or not (job.fails or job.file):
            return
        ended = min(self._clock.now(), item["created_at"] + math.ceil(self._seconds))
        item |= {"status": "failed" if job.fails else "done", "failed": job.fails, "updated_at": ended,
                 "deduplicate_id": f"{item['id']}:{ended}", "total": 0 if job.fails else job.total}  # fmt: skip

    def _write(self, job: Job, numbers: list[int], attributes: list[str] | None) -> Iterator[None]:
        """Write a job's file piece by piece: first who people are, and when all columns are known, the CSV."""
        people, names = self._people, dict.fromkeys(attributes or ())
        with tempfile.TemporaryFile() as known:
            for number in numbers:
                values = people.attributes(number)
                base = [values.get(name, "") for name in COLUMNS]
                if attributes is None:
                    names.update(dict.fromkeys(values))
                known.write(orjson.dumps([base, values]) + b"\n")
                job.total += 1
                if job.total % PIECE == 0:
                    yield
            columns = [name for name in (names if attributes else sorted(names)) if name not in COLUMNS]
            file = _file()
            known.seek(0)
            file.write(_csv_line([*COLUMNS, *columns]))
            for place, line in enumerate(known, 1):
                base, values = orjson.loads(line)
                file.write(_csv_line([*base, *(values.get(name, "") for name in columns)]))
                if place % PIECE == 0:
                    yield
            file.flush()
            job.file = file


def _file() -> IO[bytes]:
    """A file without a name, open as long as the sandbox runs: links lead to it."""
    return tempfile.TemporaryFile()


def _csv_line(values: list[str]) -> bytes:
    """Write a line as RFC 4180 asks for."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(values)
    return text.getvalue().encode()


def _in_pieces(steps: Iterator[None], submit: Submit) -> None:
    """Let the worker take step after step, with whatever else it has to do between them."""

    def step() -> None:
        for _ in steps:
            submit(step)
            return

    submit(step)
