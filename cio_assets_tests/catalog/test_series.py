"""From an answer of a metrics endpoint to one row a bucket."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cio_assets.catalog import TABLES
from cio_assets.catalog.buckets import version_2_starts
from cio_assets.catalog.metrics import METRICS
from cio_assets.catalog.series import SeriesInvalid, length, rows

TABLE = TABLES["campaign_metrics"]
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
DAY = 86_400


def _rows(body: dict[str, Any], table: str = "campaign_metrics", **parent: Any) -> list[dict[str, Any]]:
    count = length((body.get("metric") or {}).get("series"))
    parent = parent or {"campaign_id": 5}
    return list(rows(TABLES[table], body, "days", version_2_starts("days", count, FIRST), parent))


def _told(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}


def test_a_row_for_each_bucket_in_which_something_happened() -> None:
    found = _rows({"metric": {"series": {"sent": [4, 0, 0, 2], "opened": [1, 0, 3, 0]}}})

    at = int(FIRST.timestamp())
    assert [_told(row) for row in found] == [
        {"campaign_id": 5, "period": "days", "period_start": at, "sent": 4, "opened": 1},
        {"campaign_id": 5, "period": "days", "period_start": at + 2 * DAY, "sent": 0, "opened": 3},
        {"campaign_id": 5, "period": "days", "period_start": at + 3 * DAY, "sent": 2, "opened": 0},
    ]
    assert set(found[0]) == {*(column.name for column in TABLE.columns), "_extra"}


@pytest.mark.parametrize(
    "series", [None, {}, {"sent": []}, {"sent": [0, 0], "opened": [0, 0]}, {"sent": [None, 0]}, {"sent": None}]
)
def test_nothing_happened(series: Any) -> None:
    assert _rows({"metric": {"series": series}}) == []


@pytest.mark.parametrize(
    "series",
    [
        {"sent": [1, 2], "opened": [1]},
        {"sent": [], "opened": [1]},
        {"series": [{"sent": 1}], "sent": [1, 2]},
        {"sent": 5},
        [{"sent": 1}],
        "none",
        5,
        False,
    ],
)
def test_an_answer_of_another_shape_is_refused(series: Any) -> None:
    with pytest.raises(SeriesInvalid, match=r"metric\.series"):
        length(series)


@pytest.mark.parametrize(("series", "count"), [(None, 0), ({}, 0), ({"sent": [1, 2, 3]}, 3), ({"a": [], "b": []}, 0)])
def test_the_number_of_buckets(series: Any, count: int) -> None:
    assert length(series) == count


def test_unknown_metrics_are_kept() -> None:
    (row,) = _rows({"metric": {"series": {"sent": [1], "teleported": [7]}}})

    assert row["sent"] == 1
    assert row["_extra"] == {"teleported": 7}


def test_a_bucket_with_unknown_metrics_only_is_stored() -> None:
    assert [row["_extra"] for row in _rows({"metric": {"series": {"sent": [0, 0], "teleported": [0, 7]}}})] == [
        {"teleported": 7}
    ]


def test_webhook_metrics_have_columns() -> None:
    (row,) = _rows({"metric": {"series": {"2xx": [3], "5xx": [1]}}})

    assert (row["2xx"], row["5xx"], row["_extra"]) == (3, 1, None)


def test_a_metric_that_was_not_told_is_null_not_zero() -> None:
    (row,) = _rows({"metric": {"series": {"sent": [1]}}})

    assert row["opened"] is None


@pytest.mark.parametrize("place", ["metric", "body"])
def test_language_variants_stand_beside(place: str) -> None:
    variants = {
        "fr": {"name": "Français", "series": {"sent": [1, 0], "opened": [0, 2]}},
        "de": {"series": {"sent": [3]}},
    }
    metric: dict[str, Any] = {"series": {"sent": [4, 2], "opened": [0, 2]}}
    body: dict[str, Any] = {"metric": metric}
    (metric if place == "metric" else body)["language_variants"] = variants

    first, second = _rows(body, "campaign_action_metrics", campaign_id=5, action_id=96)

    assert first["_extra"] == {"language_variants": {"fr": {"name": "Français", "sent": 1}, "de": {"sent": 3}}}
    assert second["_extra"] == {"language_variants": {"fr": {"name": "Français", "opened": 2}, "de": {}}}


@pytest.mark.parametrize("variants", [None, {}])
def test_no_language_variants(variants: Any) -> None:
    (row,) = _rows({"metric": {"series": {"sent": [1]}, "language_variants": variants}})

    assert row["_extra"] is None


def test_the_channel_of_a_newsletter_has_a_column() -> None:
    (row,) = _rows({"metric": {"series": {"sent": [1]}, "type": "email"}}, "newsletter_metrics", newsletter_id=128)

    assert row["type"] == "email"
    assert row["_extra"] is None


def test_other_fields_beside_the_series_are_kept() -> None:
    (row,) = _rows({"metric": {"series": {"sent": [1]}, "unit": "count"}})

    assert row["_extra"] == {"unit": "count"}


ARRAYS = st.integers(0, 40).flatmap(
    lambda count: st.dictionaries(
        st.sampled_from([*METRICS, "new_1", "new_2"]),
        st.lists(st.integers(0, 3), min_size=count, max_size=count),
        max_size=6,
    )
)


@given(ARRAYS)
def test_no_count_is_lost_and_none_is_invented(series: dict[str, list[int]]) -> None:
    found = _rows({"metric": {"series": series}})

    starts = [int(start.timestamp()) for start in version_2_starts("days", 40, FIRST)]
    counted = {
        (row["period_start"], name): count
        for row in found
        for name, count in {**row, **(row["_extra"] or {})}.items()
        if name in series and count
    }
    assert counted == {(starts[i], name): n for name, array in series.items() for i, n in enumerate(array) if n}
    assert len({row["period_start"] for row in found}) == len(found)


def test_a_null_array_is_no_array() -> None:
    (row,) = _rows({"metric": {"series": {"sent": [2], "4xx": None}}})
    assert (row["sent"], row["4xx"], row["_extra"]) == (2, None, None)


@pytest.mark.parametrize("value", [1.5, "2", [3], 2**70, True])
def test_what_is_no_count_is_kept_as_it_came(value: Any) -> None:
    (row,) = _rows({"metric": {"series": {"sent": [value], "opened": [1]}}})
    assert (row["sent"], row["opened"], row["_extra"]) == (None, 1, {"sent": value})


@pytest.mark.parametrize("variants", [[1], "fr", {"77": 5}, {"77": {"series": [1]}}])
def test_language_variants_of_another_shape_are_refused(variants: Any) -> None:
    with pytest.raises(SeriesInvalid):
        _rows({"metric": {"series": {"sent": [1]}, "language_variants": variants}}, "campaign_action_metrics")
