"""Which partitions a tick asks for: those that can still move, and those that were missed or failed. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import groupby

MOST_RUNS = 10
"""Catch-up runs that one tick asks for; the rest, which is newer, comes with the next ticks."""
RETRY_AFTER = timedelta(hours=20)
"""Between two attempts at partitions that fail by themselves: a day's tick tries, the hour's do not."""


class Fault(StrEnum):
    """What is known of why the last attempt at a partition brought nothing."""

    RUNNING = "running"
    """It has not ended."""
    UNKNOWN = "unknown"
    """The run also read what can still move, or nothing else went well either: nothing is said about the partition."""
    OWN = "own"
    """It was read apart from others, and others were read since: it fails by itself."""
    CANCELED = "canceled"
    """Somebody cancelled a run that was for such partitions alone, and meant it."""


@dataclass(frozen=True)
class Attempt:
    """The last attempt at a partition that came after its last materialization."""

    fault: Fault
    at: datetime


@dataclass(frozen=True)
class Partition:
    """A partition of time and what became of it: when it was last read and what was tried since."""

    key: str
    end: datetime
    """When nothing more begins in it: read before, it is unfinished."""
    read: datetime | None = None
    attempt: Attempt | None = None


@dataclass(frozen=True)
class Stretch:
    """Partitions side by side, both ends included."""

    first: str
    last: str

    def __str__(self) -> str:
        return self.first if self.first == self.last else f"{self.first} to {self.last}"


@dataclass(frozen=True)
class Plan:
    """What a tick does: `catch_up` (oldest first) and then `trailing`, a run each; the rest is only told."""

    trailing: Stretch
    catch_up: tuple[Stretch, ...] = ()
    later: tuple[Stretch, ...] = ()
    """To be caught up by the next ticks."""
    left: tuple[Stretch, ...] = ()
    """Tried and left alone, until somebody materializes them."""


class _Need(StrEnum):
    NOTHING = "nothing"
    FRESH = "fresh"
    APART = "apart"
    LATER = "later"
    LEFT = "left"


def plan(partitions: Sequence[Partition], trailing: int, now: datetime, reach: timedelta) -> Plan:
    """What to ask for of `partitions` (all, oldest first, the running one at the end).

    The last `trailing` of them are always read again. Before them are asked for: what was never read, what was last
    read before it ended, and what failed. A stretch that meets the trailing ones becomes one run with them, but not
    one that failed already: what cannot be read must not keep the rest from being read. What fails by itself is tried
    once a day while the API reaches back to it (`reach`), and left alone where it does not.
    """
    older, recent = partitions[:-trailing], partitions[-trailing:]
    found: list[tuple[_Need, Stretch]] = [
        (need, Stretch(group[0].key, group[-1].key))
        for need, run in groupby(older, key=lambda partition: _need(partition, now, reach))
        for group in [list(run)]
    ]
    first = recent[0].key
    if found and found[-1][0] is _Need.FRESH:
        first = found.pop()[1].first
    wanted = [stretch for need, stretch in found if need in (_Need.FRESH, _Need.APART)]
    later = wanted[MOST_RUNS:] + [stretch for need, stretch in found if need is _Need.LATER]
    return Plan(
        trailing=Stretch(first, recent[-1].key),
        catch_up=tuple(wanted[:MOST_RUNS]),
        later=tuple(sorted(later, key=lambda stretch: stretch.first)),
        left=tuple(stretch for need, stretch in found if need is _Need.LEFT),
    )


def _need(partition: Partition, now: datetime, reach: timedelta) -> _Need:
    attempt = partition.attempt
    if attempt is None:
        finished = partition.read is not None and partition.read >= partition.end
        return _Need.NOTHING if finished else _Need.FRESH
    if attempt.fault is Fault.RUNNING:
        return _Need.NOTHING
    if attempt.fault is Fault.UNKNOWN:
        return _Need.APART
    if attempt.fault is Fault.CANCELED or partition.end < now - reach:
        return _Need.LEFT
    return _Need.APART if now - attempt.at >= RETRY_AFTER else _Need.LATER


@dataclass(frozen=True)
class Lost:
    """A span that nobody can read any more: the API told it after `since` and tells now only what is after `until`."""

    since: datetime
    until: datetime

    def __str__(self) -> str:
        return f"{self.since:%Y-%m-%d %H:%M} to {self.until:%Y-%m-%d %H:%M} UTC"


def lost(last_read: datetime | None, now: datetime, reach: timedelta) -> Lost | None:
    """What was lost because the last reading was longer ago than the API tells; None before the first reading."""
    return Lost(last_read, now - reach) if last_read is not None and last_read < now - reach else None
