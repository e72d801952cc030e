"""The partitions of deliveries and metrics as a tick sees them: which there are, when each ends, which still move."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from cio_assets.assets.factory import asset_key
from cio_assets.assets.partitions import daily, monthly
from cio_assets.automation.attempts import History, history
from cio_assets.automation.catch_up import Partition, Plan, plan
from cio_assets.automation.jobs import DELIVERIES, METRICS
from cio_assets.catalog import TABLES, Refresh
from cio_assets.catalog.buckets import shift
from cio_assets.catalog.windows import WIDEST

TRAILING_MONTHS = 7
"""Months, the running one included, whose buckets are read again: opens and clicks come up to six months after a
delivery. All of them are one request."""
RECENT_MONTHS = 2
"""The same for hours, which are asked for every hour, but once a day."""

DELIVERIES_REACH = timedelta(seconds=WIDEST)
"""Older deliveries can be asked for (`end_ts`), but whether they are told is not promised (customerio-api.md, 11)."""
_METRICS_REACH = timedelta(days=3652)
"""Ten years."""
_WEEK = timedelta(days=7)


def plan_days(instance: dg.DagsterInstance, start: date, trailing: int, now: datetime) -> Plan:
    """Which days of deliveries to read: the last `trailing` and whatever was missed since `start`."""
    (table,) = [name for name, row in TABLES.items() if row.refresh is Refresh.WINDOW]
    past = history(instance, asset_key(table), DELIVERIES)
    keys = daily(start).get_partition_keys(current_time=now)
    days = [(key, _midnight(key) + timedelta(days=1)) for key in keys]
    return plan(_partitions(days, [past], ""), trailing, now, DELIVERIES_REACH)


def plan_months(instance: dg.DagsterInstance, start: date, period: str, trailing: int, now: datetime) -> Plan:
    """Which months of version 2 metrics to read for a period: the last `trailing` and whatever was missed."""
    tables = [name for name, row in TABLES.items() if row.series == 2]
    past = [history(instance, asset_key(table), METRICS) for table in tables]
    keys = monthly(start).get_partition_keys(current_time=now)
    # A month's last week may end in the next one.
    after = _WEEK if period == "weeks" else timedelta()
    months = [(key, shift("months", _midnight(key), 1) + after) for key in keys]
    return plan(_partitions(months, past, f"|{period}"), trailing, now, _METRICS_REACH)


def _partitions(ends: Sequence[tuple[str, datetime]], past: Sequence[History], suffix: str) -> list[Partition]:
    """Partitions of several tables that are read together: one is read when all are, and failed when one did."""
    partitions = []
    for key, end in ends:
        full = f"{key}{suffix}"
        reads = [of.read.get(full) for of in past]
        attempts = [of.attempts[full] for of in past if full in of.attempts]
        read = None if None in reads else min(read for read in reads if read)
        latest = max(attempts, key=lambda attempt: attempt.at, default=None)
        partitions.append(Partition(key, end, read, latest))
    return partitions


def _midnight(key: str) -> datetime:
    return datetime.fromisoformat(key).replace(tzinfo=UTC)
