"""Reads metrics into staging: one request a parent and period, its arrays turned into rows with real instants."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from cio_assets.assets.extract import Extracted, believable, parent_rows
from cio_assets.catalog import Table, series
from cio_assets.catalog.buckets import (
    EASTERN,
    V1_STEPS,
    ceil,
    floor,
    parse_echo,
    shift,
    shift_from,
    version_1_starts,
    version_2_starts,
)
from cio_assets.customerio import Answer, AnswerInvalid, AppClient, Call, NotFound, overlap
from cio_assets.warehouse import Staging

_HOUR_MARGIN = 2.0
"""Seconds around a full hour in which no version 1 request is made: which hour its answer ends with is unsure."""


@dataclass(frozen=True)
class Span:
    """Buckets of one period that start in `[start, end)` (UTC)."""

    period: str
    start: datetime
    end: datetime


@dataclass(frozen=True)
class SeriesUnit:
    """One request: a parent's key, a period and, for version 2, the span to read."""

    parent: Mapping[str, Any]
    period: str
    span: Span | None


def extract_series(
    table: Table, client: AppClient, staging: Staging, units: Sequence[SeriesUnit], now: Callable[[], datetime]
) -> Extracted:
    """Read metrics: for version 2 the span of each unit, for version 1 its period as far as the API tells.

    Raises what the client raises; an answer that is no series raises `AnswerInvalid`.
    """
    reader = _Reader(table, client, staging, now)
    done = 0
    gone = []
    for unit, present in overlap(client, units, reader.read):
        done += 1
        if not present:
            gone.append(unit.parent)
    return believable(table, Extracted(done, gone))


def series_units(table: Table, parents: pa.Table, periods: Sequence[str] | Sequence[Span]) -> Iterator[SeriesUnit]:
    """What there is to ask of every parent; version 2 tells spans, version 1 periods."""
    if table.parent is None:
        raise ValueError(f"{table.name} has no parent to read metrics of")
    for period in periods:
        for values in parent_rows(parents, table.parent):
            yield (
                SeriesUnit(values, period, None)
                if isinstance(period, str)
                else SeriesUnit(values, period.period, period)
            )


def _into_the_hour(instant: datetime) -> float:
    return (instant - floor("hours", instant)).total_seconds()


class _Reader:
    def __init__(self, table: Table, client: AppClient, staging: Staging, now: Callable[[], datetime]) -> None:
        self._table = table
        self._client = client
        self._staging = staging
        self._now = now
        self._clock_stands = False  # a service (a sandbox) whose Date does not move

    def read(self, unit: SeriesUnit) -> bool:
        """Stage the unit; False where its parent has gone."""
        span = unit.span and (int(unit.span.start.timestamp()), int(unit.span.end.timestamp()))
        chain = self._staging.chain(repr((sorted(unit.parent.items()), unit.period, span)))
        if chain.finished:
            return not chain.gone
        try:
            answer, starts, covered = self._version_2(unit, unit.span) if unit.span else self._version_1(unit)
        except NotFound:
            self._staging.leave(chain)
            return False
        # Rows are made as they are staged: thousands of wide ones a request, and many requests are under way.
        rows = series.rows(self._table, answer.body, unit.period, starts, unit.parent)
        if span:
            # A bucket belongs to the span in which it starts, whatever the service put around it.
            rows = (row for row in rows if span[0] <= row["period_start"] < span[1])
        read = covered and {
            **unit.parent,
            "period": unit.period,
            "span_from": int(covered[0].timestamp()),
            "span_to": int(covered[1].timestamp()),
        }
        try:
            self._staging.page(chain, rows, span=read)
        except series.SeriesInvalid as error:
            raise AnswerInvalid(f"GET {self._path}: {error}") from None
        return True

    def _version_2(
        self, unit: SeriesUnit, span: Span
    ) -> tuple[Answer, list[datetime], tuple[datetime, datetime] | None]:
        first, end = ceil(span.period, span.start), ceil(span.period, span.end)
        answer = self._ask(
            unit,
            {
                "version": "2",
                "res": span.period,
                "start": int(first.timestamp()),
                "end": int(end.timestamp()),
                "tz": "UTC",
            },
        )
        count = self._length(answer)
        echoed = parse_echo(answer.body.get("start")) or first
        starts = version_2_starts(span.period, count, echoed)
        if not count:
            return answer, [], None
        # What the answer does not reach is not replaced.
        covered_to = min(span.end, shift_from(span.period, echoed, count))
        return answer, starts, (span.start if echoed <= first else echoed, covered_to)

    def _version_1(self, unit: SeriesUnit) -> tuple[Answer, list[datetime], tuple[datetime, datetime] | None]:
        earlier: datetime | None = None
        while True:
            self._stay_clear_of_the_hour()
            asked = self._now()
            answer = self._ask(unit, {"period": unit.period, "steps": V1_STEPS[unit.period]})
            # Every bucket ends with an hour: did one end while this was under way, by our clock or by the service's?
            crossed = floor("hours", asked) != floor("hours", self._now())
            just_after = answer.date is not None and _into_the_hour(answer.date) < _HOUR_MARGIN
            self._clock_stands = self._clock_stands or (just_after and answer.date == earlier)
            if not crossed and (self._clock_stands or not just_after):
                break
            earlier = answer.date
            time.sleep(_HOUR_MARGIN)
        starts = version_1_starts(unit.period, self._length(answer), answer.date or asked)
        if not starts:
            return answer, [], None
        return answer, starts, (starts[0], shift(unit.period, starts[-1], 1, EASTERN))

    def _stay_clear_of_the_hour(self) -> None:
        into = _into_the_hour(self._now())
        if into < _HOUR_MARGIN:
            time.sleep(_HOUR_MARGIN - into)
        elif into > 3600 - _HOUR_MARGIN:
            time.sleep(3600 - into + _HOUR_MARGIN)

    def _ask(self, unit: SeriesUnit, query: Mapping[str, str | int]) -> Answer:
        endpoint = self._table.endpoint
        if endpoint is None:
            raise ValueError(f"{self._table.name} is not read from the API")
        return self._client.send(Call("GET", endpoint.path, unit.parent, query))

    @property
    def _path(self) -> str:
        return self._table.endpoint.path if self._table.endpoint else ""

    def _length(self, answer: Answer) -> int:
        where = f"GET {self._path}"
        metric = answer.body.get("metric") if isinstance(answer.body, Mapping) else None
        if not isinstance(metric, Mapping) or "series" not in metric:
            raise AnswerInvalid(f"{where}: the answer has no metric.series")
        try:
            return series.length(metric["series"])
        except series.SeriesInvalid as error:
            raise AnswerInvalid(f"{where}: {error}") from None
