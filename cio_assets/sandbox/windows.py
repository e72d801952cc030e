"""Which span of creation times a delivery list covers: default windows, silent truncation of too wide ones."""

from calendar import monthrange
from datetime import UTC, datetime

from cio_assets.sandbox.errors import ApiError


def months_later(stamp: int, months: int) -> int:
    """Move a moment by calendar months in UTC; the day is clipped to the month's length."""
    moment = datetime.fromtimestamp(stamp, UTC)
    count = moment.year * 12 + moment.month - 1 + months
    year, month = count // 12, count % 12 + 1
    return int(moment.replace(year=year, month=month, day=min(moment.day, monthrange(year, month)[1])).timestamp())


def resolve(
    start: int | None, end: int | None, now: int, widest: int, first: int | None = None, first_months: int = 0
) -> tuple[int, int]:
    """Return the window, both ends inclusive.

    `widest` is in months. Where `first_months` is set, a request without any time covers that many months from
    the `first` delivery or trigger on; otherwise it covers the last 6 months.
    """
    if start is None and end is None:
        if first_months:
            return (first, months_later(first, first_months)) if first is not None else (now, now)
        return months_later(now, -6), now
    if end is None:
        end = now
    if start is None:
        return months_later(end, -6), end
    if start > end:
        raise ApiError(400, "start_ts must not be after end_ts")
    return max(start, months_later(end, -widest)), end
