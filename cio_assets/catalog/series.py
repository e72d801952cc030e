"""From an answer of a metrics endpoint to rows, one a bucket. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from cio_assets.catalog.model import Table


class SeriesInvalid(Exception):
    """The answer is not the documented object of equally long arrays."""


def length(series: Any) -> int:
    """Number of buckets in `metric.series`; raises `SeriesInvalid` where it is not an object of equally long arrays."""
    lengths = {len(array) for array in _arrays({"series": series}, "metric.series").values()}
    if len(lengths) > 1:
        raise SeriesInvalid(f"the arrays of metric.series differ in length: {sorted(lengths)}")
    return lengths.pop() if lengths else 0


def rows(
    table: Table, body: Mapping[str, Any], period: str, starts: Sequence[datetime], parent: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Rows of the buckets in which anything happened.

    `body` is the whole answer, `starts` the instant of each bucket. Metrics without a column, language variants and
    other fields beside the series go to `_extra`.
    """
    metric = body.get("metric") or {}
    series = _arrays(metric, "metric.series")
    names = {column.name for column in table.columns}
    beside = {key: value for key, value in metric.items() if key not in ("series", "language_variants")}
    columns = {key: value for key, value in beside.items() if key in names}
    unknown = {key: value for key, value in beside.items() if key not in names}
    variants = metric.get("language_variants") or body.get("language_variants") or {}
    blank = dict.fromkeys(names) | columns | dict(parent) | {"period": period}
    if not isinstance(variants, Mapping) or not all(isinstance(variant, Mapping) for variant in variants.values()):
        raise SeriesInvalid("language_variants is not an object of objects")
    # The action's own series decides what happened: it counts all of its language variants.
    for index in sorted({i for array in series.values() for i, value in enumerate(array) if value}):
        values = {name: array[index] for name, array in series.items()}
        counts = {name: value for name, value in values.items() if name in names and _is_count(value)}
        extra = unknown | {name: value for name, value in values.items() if name not in counts and value is not None}
        spoken = {key: _variant(variant, index) for key, variant in variants.items()}
        if spoken:
            extra["language_variants"] = spoken
        row = blank | counts
        row["period_start"] = int(starts[index].timestamp())
        row["_extra"] = extra or None
        yield row


def _is_count(value: Any) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def _variant(variant: Mapping[str, Any], index: int) -> dict[str, Any]:
    kept = {key: value for key, value in variant.items() if key != "series"}
    counts = {name: array[index] for name, array in _arrays(variant).items() if index < len(array)}
    return kept | {name: count for name, count in counts.items() if count}


def _arrays(holder: Mapping[str, Any], what: str = "the series of a language variant") -> dict[str, list]:
    """The arrays under `series`; null stands for none, as it does for the API's empty lists."""
    series = holder.get("series")
    if series is None:
        return {}
    if not isinstance(series, Mapping):
        raise SeriesInvalid(f"{what} is not an object of arrays")
    arrays = {name: array for name, array in series.items() if array is not None}
    if not all(isinstance(array, list) for array in arrays.values()):
        raise SeriesInvalid(f"{what} is not an object of arrays")
    return arrays
