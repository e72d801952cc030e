"""Buckets of time in a zone: hours, days, weeks and months as edges in unix seconds, right over DST changes."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

EASTERN = ZoneInfo("America/New_York")
RESOLUTIONS = {"hours": "hours", "hourly": "hours", "days": "days", "daily": "days", "weeks": "weeks",
               "weekly": "weeks", "months": "months", "monthly": "months"}  # fmt: skip


def floor(stamp: int, resolution: str, zone: ZoneInfo, week_start: str = "sunday") -> int:
    """Return the start of the bucket that holds a moment."""
    local = datetime.fromtimestamp(stamp, zone)
    if resolution == "hours":
        return stamp - local.minute * 60 - local.second
    day = local.date()
    if resolution == "weeks":
        day -= timedelta(days=(day.weekday() + 1) % 7 if week_start == "sunday" else day.weekday())
    elif resolution == "months":
        day = day.replace(day=1)
    return _midnight(day, zone)


def step(start: int, resolution: str, zone: ZoneInfo, count: int = 1) -> int:
    """Return the start of the bucket `count` after (or before) the one that begins at `start`."""
    if resolution == "hours":
        return start + 3600 * count
    day = datetime.fromtimestamp(start, zone).date()
    if resolution == "months":
        months = day.year * 12 + day.month - 1 + count
        return _midnight(date(months // 12, months % 12 + 1, 1), zone)
    return _midnight(day + timedelta(days=count * (7 if resolution == "weeks" else 1)), zone)


def edges(start: int, end: int, resolution: str, zone: ZoneInfo, week_start: str = "sunday") -> list[int]:
    """Return all bucket starts from the one holding `start`, and last the first start at or after `end`."""
    first = floor(start, resolution, zone, week_start)
    if resolution == "hours":
        last = floor(end - 1, "hours", zone) + 3600
        return list(range(first, last + 1, 3600))
    out, count = [first], 0
    while out[-1] < end:
        count += 1
        out.append(step(first, resolution, zone, count))
    return out


def recent_edges(now: int, steps: int, period: str) -> list[int]:
    """Return the edges of the last `steps` Eastern buckets; the last bucket holds `now`."""
    last = floor(now, period, EASTERN)
    return [step(last, period, EASTERN, count) for count in range(1 - steps, 2)]


def go_text(stamp: int, zone: ZoneInfo) -> str:
    """Write a moment in the odd format of metrics version 2."""
    return datetime.fromtimestamp(stamp, zone).strftime("%Y-%m-%d %H:%M:%S %z %Z")


def _midnight(day: date, zone: ZoneInfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())
