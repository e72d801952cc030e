"""When metrics buckets start: hours, days, weeks (from Sunday), months in a zone, daylight saving included. Pure."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

EASTERN = ZoneInfo("America/New_York")
"""Zone of version 1 buckets (customerio-api.md, section 5)."""

V1_STEPS = {"hours": 24, "days": 45, "weeks": 12, "months": 121}
"""The most steps version 1 tells."""

_LENGTHS = {"hours": timedelta(hours=1), "days": timedelta(days=1), "weeks": timedelta(weeks=1)}

_ECHO = re.compile(r"(\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2}:\d{2})(?:\.\d+)?\s*(Z|[+-]\d{2}:?\d{2})?")


def floor(period: str, instant: datetime, zone: ZoneInfo | None = None) -> datetime:
    """Start (UTC) of the bucket that holds `instant`."""
    if period == "hours":  # every zone we meet is whole hours from UTC
        return instant.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    day = instant.astimezone(zone or UTC).date()
    if period == "weeks":
        day -= timedelta(days=(day.weekday() + 1) % 7)
    elif period == "months":
        day = day.replace(day=1)
    return _midnight(day, zone)


def shift(period: str, start: datetime, steps: int, zone: ZoneInfo | None = None) -> datetime:
    """Start (UTC) of the bucket `steps` after (or before) the one that starts at `start`."""
    if period == "hours":
        return start + timedelta(hours=steps)
    day = start.astimezone(zone or UTC).date()
    if period == "months":
        month = day.year * 12 + day.month - 1 + steps
        day = date(month // 12, month % 12 + 1, 1)
    else:
        day += timedelta(days=steps * (7 if period == "weeks" else 1))
    return _midnight(day, zone)


def ceil(period: str, instant: datetime) -> datetime:
    """Start (UTC) of the first bucket at or after `instant`, in UTC."""
    start = floor(period, instant)
    return start if start == instant else shift(period, start, 1)


def version_1_starts(period: str, count: int, now: datetime) -> list[datetime]:
    """Starts (UTC) of the `count` buckets that end with the one holding `now`, oldest first, US Eastern."""
    last = floor(period, now, EASTERN)
    return [shift(period, last, step, EASTERN) for step in range(1 - count, 1)]


def version_2_starts(period: str, count: int, first: datetime) -> list[datetime]:
    """Starts (UTC) of `count` buckets from `first` on."""
    return [shift_from(period, first, step) for step in range(count)]


def shift_from(period: str, first: datetime, steps: int) -> datetime:
    """`first` moved by whole buckets, its time of day (and weekday) kept."""
    if period != "months":
        return first + steps * _LENGTHS[period]
    month = first.year * 12 + first.month - 1 + steps
    year, number = month // 12, month % 12 + 1
    return first.replace(year=year, month=number, day=min(first.day, monthrange(year, number)[1]))


def parse_echo(text: object) -> datetime | None:
    """The instant (UTC) in `start` of an answer, such as `2025-01-01 00:00:00 +0000 UTC`; None where there is none."""
    found = _ECHO.match(text) if isinstance(text, str) else None
    if not found:
        return None
    zone = "+00:00" if found[3] in (None, "Z") else found[3]
    try:
        return datetime.fromisoformat(f"{found[1]}T{found[2]}{zone}").astimezone(UTC)
    except ValueError:
        return None


def _midnight(day: date, zone: ZoneInfo | None) -> datetime:
    return datetime.combine(day, time(), tzinfo=zone or UTC).astimezone(UTC)
