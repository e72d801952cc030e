"""What can come of a fault, in the words of the fault matrix, and the matrix as `docs/fault-matrix.md` shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cio_assets.customerio.retry import MAX_ATTEMPTS

ATTEMPTS = 3
"""Requests that a client of the matrix makes before it gives up."""

PATIENCE, STALL = 0.4, 1.0
"""Seconds that it waits for an answer that stalls, and that it stalls."""

RIGHT, OLD, GONE, REST, REJECTED, NONE = "right", "old + error", "gone", "rest + error", "rejected", "n/a"

FAULTS = {
    "401": "which key is not valid, where to find it, the region",
    "403": "which key lacks which permission",
    "404": "the path; of a push, and where no parent is left: is the URL right",
    "429": "the path, HTTP 429",
    "429-bare": "the quota is spent: tomorrow, or slower",
    "500": "the path, HTTP 500",
    "502": "the path, HTTP 502",
    "503": "the path, HTTP 503",
    "reset": "the path, the connection failed",
    "lost": "the path, the connection failed",
    "truncated": "the path, cut short or not JSON",
    "truncated-length": "the path, cut short",
    "truncated-json": "the path, not JSON",
    "html": "the path, not JSON",
    "stall": "the path, no answer in time",
    "overlap": "the path, the list would never end",
    "vanish": "as 404",
    "stale-cursor": "the path, the service's words",
    "export_failed": "the export's number: run it again, or set CIO_PEOPLE",
    "bare207": "",
    "batch400": "",
}
"""Every fault of the sandbox, and what the error says where there is one."""

MEANING = {
    "401": "the key is refused",
    "403": "the permission is refused",
    "404": "not found",
    "429": "too many requests, with Retry-After",
    "429-bare": "too many requests, without",
    "reset": "the connection ends before the request was processed",
    "lost": "the connection ends after it was",
    "truncated": "one of the next two",
    "truncated-length": "less comes than was announced",
    "truncated-json": "half a document",
    "html": "a page that says 200",
    "stall": "no answer in time",
    "overlap": "a page repeats the end of the one before",
    "vanish": "what the path names is no more (404)",
    "stale-cursor": "the cursor is refused (400)",
    "export_failed": "the export that is made fails",
    "bare207": "a 207 that does not name all that it refused",
    "batch400": "a batch refused as a whole for one row",
}


@dataclass(frozen=True)
class Case:
    """When a fault comes: for ever, or once, at one of the column's places."""

    place: int | None

    def limits(self, spared: int | None) -> dict[str, int]:
        """What a rule of the sandbox says of it."""
        return {} if spared is None else {"after": spared, "times": 1}


EVER = Case(None)


@dataclass(frozen=True)
class Seen:
    """What came of a case, how many requests met the fault, and what the failure said."""

    outcome: str
    met: int
    said: str = ""


@dataclass(frozen=True)
class Cell:
    """What comes of a fault that one request meets, as it differs from the first to the last, and of one that all meet.

    Empty where none can meet it.
    """

    once: tuple[str, ...] = ()
    ever: str = ""

    def __str__(self) -> str:
        if not self.ever:
            return NONE
        once = ", later ".join(self.once)
        return once if once == self.ever else f"{once} / {self.ever}"


class Clock:
    """A clock that only goes when somebody sleeps."""

    def __init__(self) -> None:
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds


Titles = Mapping[str, str]
Cells = Mapping[tuple[str, str], Cell]


def page(reads: Titles, pushes: Titles, cells: Cells) -> str:
    """The page, from the columns' titles by their names, and the cells by column and fault."""
    meaning = "\n".join(f"- `{fault}`: {text}" for fault, text in MEANING.items())
    return f"""# Fault matrix

Every fault of the sandbox against every way to read and to push. Written by the tests that try it
(`python -m cio_assets_tests.test_fault_matrix --write`; `make soak` tries all of it, `make test` a part).

A cell says what becomes of a run that meets the fault: **once** (one request meets it, then the service is well) /
**for ever** (every request meets it until the run has ended), or one word where both are the same. "A, later B": A
where the first request meets it, B where the last does. After the fault has gone, the next run ends right in every
case: no row is lost or there twice, and each event arrived once.

- **{RIGHT}**: the run succeeds, and every row is what the service holds; pushed rows have all arrived.
- **{OLD}**: the run fails and says why; the table is exactly as it was.
- **{GONE}**: the run succeeds; of the one parent that is said to be no more the rows are marked as deleted (of metrics:
  left as they were), all others are right. The next run asks for it again.
- **{REST}**: the push fails and says why and how many rows were accepted; the next push sends the rest, and only
  that.
- **{REJECTED}**: the push succeeds; rows that the service refused stand in `reverse_etl.rejected`, the next push with
  `retry_rejected` sends them.
- **{NONE}**: no request of this kind can meet the fault.

Requests are tried {ATTEMPTS} times here, {MAX_ATTEMPTS} times in earnest.

## Reading

{_table(reads, cells)}

## Pushing

{_table(pushes, cells)}

## The faults

{meaning}
"""


def _table(titles: Titles, cells: Cells) -> str:
    lines = [f"| | {' | '.join(titles.values())} | the error says |", "| --- |" + " --- |" * (len(titles) + 1)]
    for fault, says in FAULTS.items():
        row = [cells[column, fault] for column in titles]
        if any(cell.ever for cell in row):
            told = says if any({OLD, REST} & {*cell.once, cell.ever} for cell in row) else ""
            lines.append(f"| `{fault}` | {' | '.join(map(str, row))} | {told} |")
    return "\n".join(lines)
