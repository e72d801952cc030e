"""Partitions: deliveries by day, version 2 metrics by month and period, version 1 metrics by period."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from itertools import groupby

import dagster as dg

from cio_assets.assets.extract_series import Span
from cio_assets.catalog import Refresh, Table
from cio_assets.catalog.metrics import PERIODS

MOST_MONTHS = {"hours": 12, "days": 119, "weeks": 119, "months": 119}
"""Months in one request: the API tells ten years at most, and an answer of ten years of hours would fill the memory."""


def daily(start: date) -> dg.DailyPartitionsDefinition:
    """UTC days from `start` to today, today included: its deliveries so far are wanted as well."""
    return dg.DailyPartitionsDefinition(start_date=start.isoformat(), end_offset=1)


def monthly(start: date) -> dg.MonthlyPartitionsDefinition:
    """UTC months from that of `start` to the running one."""
    return dg.MonthlyPartitionsDefinition(start_date=start.replace(day=1).isoformat(), end_offset=1)


def by_period() -> dg.StaticPartitionsDefinition:
    """One partition for each period of metrics."""
    return dg.StaticPartitionsDefinition(list(PERIODS))


def by_month_and_period(start: date) -> dg.MultiPartitionsDefinition:
    """The grid of months and periods; keys look like `2026-01-01|hours`."""
    return dg.MultiPartitionsDefinition({"month": monthly(start), "period": by_period()})


def partitions_of(table: Table, start: date) -> dg.PartitionsDefinition | None:
    """The partitions of a table's asset; None for tables that are read whole."""
    if table.refresh is Refresh.WINDOW:
        return daily(start)
    if table.series == 2:
        return by_month_and_period(start)
    return by_period() if table.series == 1 else None


def spans(keys: Sequence[str], start: date) -> list[Span]:
    """Spans to read for keys of `by_month_and_period`: as few requests as can be for each period and run of months."""
    months = monthly(start)
    windows = {key: months.time_window_for_partition_key(key) for key in {key.split("|")[0] for key in keys}}
    wanted: dict[str, list[tuple[datetime, datetime]]] = {period: [] for period in PERIODS}
    for key in keys:
        month, period = key.split("|")
        wanted[period].append((windows[month].start, windows[month].end))
    return [
        Span(period, piece[0][0], piece[-1][1])
        for period, found in wanted.items()
        for run in _unbroken(sorted(found))
        for piece in _pieces(run, MOST_MONTHS[period])
    ]


def _pieces(run: list[tuple[datetime, datetime]], most: int) -> Iterator[list[tuple[datetime, datetime]]]:
    for first in range(0, len(run), most):
        yield run[first : first + most]


def _unbroken(windows: list[tuple[datetime, datetime]]) -> list[list[tuple[datetime, datetime]]]:
    breaks = 0
    numbered = []
    for index, window in enumerate(windows):
        breaks += index > 0 and windows[index - 1][1] != window[0]
        numbered.append((breaks, window))
    return [[window for _, window in run] for _, run in groupby(numbered, key=lambda pair: pair[0])]
