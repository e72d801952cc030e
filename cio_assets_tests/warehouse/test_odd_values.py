"""What people and their tools write into fields survives the way into the warehouse."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cio_assets.catalog import TABLES
from cio_assets.catalog.shape import Shaper
from cio_assets.warehouse import Warehouse, WarehouseError
from cio_assets_tests.warehouse.stage import put

TEXTS = {
    "empty": "",
    "blank": " \t ",
    "umlaut": "Zoë Müller",
    "emoji": "👩‍👩‍👧‍👦 🇫🇷 ❤️",
    "right to left": "مرحبا\u202e world",
    "combining": "e\u0301\u0323",
    "astral": "\U0001f600\U00010348",
    "line ends": "a\nb\r\nc\u2028d\u2029e\x85f",
    "controls": "\x01\x07\x1b[31m\x7f",
    "quotes": "'\"`\\ {}[]; DROP TABLE customers; --",
    "json": '{"a": [1, 2]}',
    "null": "null",
    "byte order": "\ufeffx\ufffe",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=list(TEXTS))
def test_a_text_comes_back_as_it_was(duck: Warehouse, text: str) -> None:
    put(duck, "segments", [{"id": 1, "name": text, "tags": [text, {text: text}], "_extra": {"new": text}}])

    (row,) = duck.read("segments", ["name", "tags", "_extra"]).to_pylist()
    assert row["name"] == text
    assert json.loads(row["tags"]) == [text, {text: text}]
    assert json.loads(row["_extra"]) == {"new": text}


def test_texts_come_back_from_every_warehouse(warehouse: Warehouse) -> None:
    put(warehouse, "segments", [{"id": n, "name": t, "tags": [t]} for n, t in enumerate(TEXTS.values())])

    rows = sorted(warehouse.read("segments", ["id", "name", "tags"]).to_pylist(), key=lambda row: row["id"])
    assert [row["name"] for row in rows] == list(TEXTS.values())
    assert [json.loads(row["tags"]) for row in rows] == [[text] for text in TEXTS.values()]


def test_a_nul_character_survives(duck: Warehouse) -> None:
    put(duck, "segments", [{"id": 1, "name": "a\0b", "tags": ["c\0d"]}, {"id": 2, "name": "after"}])

    rows = sorted(duck.read("segments", ["id", "name", "tags"]).to_pylist(), key=lambda row: row["id"])
    assert [row["name"] for row in rows] == ["a\0b", "after"]
    assert json.loads(rows[0]["tags"]) == ["c\0d"]


def test_a_nul_character_does_not_stop_a_sync(warehouse: Warehouse) -> None:
    # Postgres has no place for it in a text: the other rows must arrive all the same.
    put(warehouse, "segments", [{"id": 1, "name": "a\0b"}, {"id": 2, "name": "after"}])

    assert sorted(warehouse.read("segments", ["id"]).to_pydict()["id"]) == [1, 2]


@pytest.mark.parametrize("megabytes", [1, 3, 8])
def test_a_huge_text(duck: Warehouse, megabytes: int) -> None:
    text = "é" * (megabytes << 19)

    put(duck, "snippets", [{"name": "small", "value": "x"}], [{"name": "huge", "value": text}])

    assert dict(duck.query("SELECT name, value FROM snippets")) == {"small": "x", "huge": text}


NUMBERS = [2**63 - 1, -(2**63), 2**63, 2**64 - 1, 2**64, 2**70, -(2**70), 10**40]


def test_integers_beyond_64_bits_keep_every_digit(duck: Warehouse) -> None:
    put(duck, "customer_attributes", [{"cio_id": str(n), "attributes": {"n": n, "deep": [{"n": n}]}} for n in NUMBERS])

    rows = duck.read("customer_attributes", ["cio_id", "attributes"]).to_pylist()
    assert {row["cio_id"]: json.loads(row["attributes"]) for row in rows} == {
        str(n): {"n": n, "deep": [{"n": n}]} for n in NUMBERS
    }


def test_ids_of_64_bits(warehouse: Warehouse) -> None:
    put(warehouse, "segments", [{"id": 2**63 - 1}, {"id": -(2**63)}, {"id": 0}])

    assert sorted(warehouse.read("segments", ["id"]).to_pydict()["id"]) == [-(2**63), 0, 2**63 - 1]


def test_times_to_the_end_of_the_calendar(warehouse: Warehouse) -> None:
    put(warehouse, "segments", [{"id": 1, "created_at": 0}, {"id": 2, "created_at": 253_402_300_799}])

    years = warehouse.query("SELECT id, year(created_at), epoch(created_at)::BIGINT FROM segments ORDER BY id")
    assert years == [(1, 1970, 0), (2, 9999, 253_402_300_799)]
    frame = warehouse.read("segments", ["created_at"]).to_pandas()
    assert isinstance(frame, pd.DataFrame)
    assert sorted(moment.year for moment in frame["created_at"]) == [1970, 9999]


def test_column_names_that_are_sql_words(duck: Warehouse) -> None:
    put(duck, "campaign_actions", [{"campaign_id": 5, "id": 1, "from": "ann@example.com", "type": "email"}])

    assert duck.read("campaign_actions", ["from", "type"]).to_pylist() == [{"from": "ann@example.com", "type": "email"}]


def test_deep_and_wide_json(duck: Warehouse) -> None:
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    wide = {f"attribute {n}": n for n in range(2000)}

    put(duck, "customer_attributes", [{"cio_id": "a", "attributes": wide, "timestamps": deep}])

    (row,) = duck.read("customer_attributes").to_pylist()
    assert json.loads(row["attributes"]) == wide
    assert json.loads(row["timestamps"]) == deep


@pytest.mark.parametrize("value", [None, True, False, 0, 1.5, "", "text", [], {}, [None]])
def test_json_of_any_kind(duck: Warehouse, value: Any) -> None:
    put(duck, "campaigns", [{"id": 1, "audience": value}])

    (stored,) = duck.read("campaigns", ["audience"]).to_pydict()["audience"]
    assert stored is None if value is None else json.loads(stored) == value


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = st.sampled_from(["name", "type", "tags", "progress", "created_at", "brand new"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(FIELDS, VALUES), min_size=1, max_size=8))
def test_whatever_the_api_sends_can_be_loaded_and_found(duck: Warehouse, items: list[dict[str, Any]]) -> None:
    shaper = Shaper(TABLES["segments"])

    put(duck, "segments", [shaper.row({"id": n, **item}, {}) for n, item in enumerate(items)])

    rows = sorted(duck.read("segments").to_pylist(), key=lambda row: row["id"])
    assert len(rows) == len(items)
    for item, row in zip(items, rows, strict=True):
        extra = json.loads(row["_extra"]) if row["_extra"] else {}
        if "brand new" in item:
            assert extra["brand new"] == item["brand new"]
        if isinstance(item.get("name"), str):
            assert row["name"] == item["name"]
        if item.get("tags") is not None:
            assert json.loads(row["tags"]) == item["tags"]


SECRET = "ann.example+secret@example.com"


@pytest.mark.parametrize(
    "rows",
    [
        [{"id": SECRET}],
        [{"id": 1, "created_at": SECRET}],
        [{"id": 1, "progress": {"a": SECRET}}],
        [{"id": 1, "progress": 10**30, "name": SECRET}],
        [{"id": 1, "created_at": 2**62, "name": SECRET}],
    ],
)
def test_an_error_tells_no_value(duck: Warehouse, rows: list[dict[str, Any]]) -> None:
    with pytest.raises(WarehouseError) as caught:
        put(duck, "segments", rows)

    error = caught.value
    assert SECRET not in f"{error!r} {error} {error.__cause__!r}"
    assert error.__suppress_context__  # else a traceback would print DuckDB's message
    assert "customerio.segments" in str(error)
