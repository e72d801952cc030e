"""The list of rejected rows: what stands in it, what leaves it, what is asked again, and what the folder is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cio_assets.reverse_etl.rejects_sink import make_sink
from cio_assets.settings import load_settings
from cio_assets_tests.reverse_etl.pushing import EVENTS, PERSONS, Pushing, sync, whole
from cio_assets_tests.reverse_etl.test_push_events import TABLE, add

UNKNOWN_TYPE = "99"
"""Of objects: only the service knows that it has none such."""


def objects(*rows: tuple[str, str, int]) -> pa.Table:
    """Objects of a type and a name, with seats."""
    types, names, seats = zip(*rows, strict=True)
    return pa.table({"object_type_id": list(types), "object_id": list(names), "seats": list(seats)})


def truth(pushing: Pushing, table: str) -> list[dict[str, Any]]:
    """What the workspace holds."""
    assert pushing.box
    return pushing.box.truth(table)


def test_a_refused_row_with_a_duplicate_is_kept_and_not_asked_again(pushing: Pushing) -> None:
    rows = objects((UNKNOWN_TYPE, "acme", 1), (UNKNOWN_TYPE, "acme", 1))
    first = pushing.push(sync("objects"), rows)
    assert whole(first)
    assert first.rejected.total() == 2
    kept = pushing.rejected()
    assert sorted(found_by for _, _, found_by in kept) == ["check", "service"]
    for _ in range(3):
        again = pushing.push(sync("objects"), rows)
        assert (again.requests, again.rejected) == (0, first.rejected)
        assert pushing.rejected() == kept


def test_a_refused_row_is_asked_again_once_it_has_changed(pushing: Pushing) -> None:
    pushing.push(sync("objects"), objects((UNKNOWN_TYPE, "acme", 1)))
    assert pushing.push(sync("objects"), objects((UNKNOWN_TYPE, "acme", 1))).requests == 0
    changed = pushing.push(sync("objects"), objects((UNKNOWN_TYPE, "acme", 2)))
    assert (changed.sent, changed.rejected.total()) == (1, 1)
    assert changed.requests > 0
    assert len(pushing.rejected()) == 1


def test_a_refused_row_is_asked_again_when_it_is_wished(pushing: Pushing) -> None:
    rows = objects((UNKNOWN_TYPE, "acme", 1), ("1", "zeta", 1))
    pushing.push(sync("objects"), rows)
    retried = pushing.push(sync("objects"), rows, retry_rejected=True)
    assert (retried.sent, retried.unchanged) == (1, 1)
    assert retried.requests > 0


def test_a_refused_row_that_left_the_source_leaves_the_list(pushing: Pushing) -> None:
    pushing.push(sync("objects"), objects((UNKNOWN_TYPE, "acme", 1), ("1", "zeta", 1)))
    assert len(pushing.rejected()) == 1
    pushing.push(sync("objects"), objects(("1", "zeta", 1)))
    assert pushing.rejected() == []


def test_a_row_without_a_key_leaves_the_list_when_it_is_mended(pushing: Pushing) -> None:
    pushing.sql(TABLE)
    add(pushing, timestamp="2026-10-01 00:00:00")
    add(pushing, person_id=None, event_name="seen")
    assert pushing.push(EVENTS).rejected == {"identifier_missing": 1}
    assert len(pushing.rejected()) == 1
    pushing.sql("UPDATE reverse_etl.events SET person_id = 'u_9' WHERE event_name = 'seen'")
    result = pushing.push(EVENTS)
    assert (result.accepted, result.rejected) == (1, {})
    assert pushing.rejected() == []


def test_a_refused_removal_is_not_repeated_and_no_row(pushing: Pushing) -> None:
    pushing.push(PERSONS, pa.table({"id": ["u_1", "u_2"]}))
    segment = next(row["id"] for row in truth(pushing, "segments") if row["type"] == "manual")
    rows = pa.table({"segment_id": [segment, segment], "person_id": ["u_1", "u_2"]})
    pushing.push(sync("segment_members"), rows)
    assert pushing.box
    pushing.box.mutate("delete_segment", id=segment)
    left = rows.slice(1)
    first = pushing.push(sync("segment_members"), left)
    assert first.removed == 0
    assert first.requests > 0
    assert whole(first)
    assert len(pushing.rejected()) == 1
    for _ in range(2):
        again = pushing.push(sync("segment_members"), left)
        assert (again.requests, again.removed, again.unchanged) == (0, 0, 1)
        assert whole(again)
    assert len(pushing.rejected()) == 1
    retried = pushing.push(sync("segment_members"), left, retry_rejected=True)
    assert retried.requests > 0
    assert whole(retried)


def test_a_fine_row_is_sent_before_its_rejected_duplicate(pushing: Pushing) -> None:
    what = sync("persons", cursor="updated_at")
    rows = pa.table({"id": ["a", "a"], "note": ["x" * 1001, "fine"], "updated_at": [2, 1]})
    result = pushing.push(what, rows)
    assert result.accepted == 1
    assert truth(pushing, "customer_attributes")[0]["attributes"]["note"] == "fine"


@pytest.mark.parametrize("latest", ["free", "pro"])
def test_the_latest_of_duplicates_is_sent(pushing: Pushing, latest: str) -> None:
    plans = ["free", "pro"]
    rows = pa.table({"id": ["a", "a"], "plan": plans, "updated_at": [2 if plan == latest else 1 for plan in plans]})
    pushing.push(sync("persons", cursor="updated_at"), rows)
    assert truth(pushing, "customer_attributes")[0]["attributes"]["plan"] == latest


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
@pytest.mark.parametrize(("newest", "there"), [("suppress", False), ("unsuppress", True)])
def test_the_newest_request_about_a_person_wins(pushing: Pushing, order: list[int], newest: str, there: bool) -> None:
    days = {"suppress": "2026-01-01", "unsuppress": "2026-01-01", newest: "2026-01-02"}
    rows = pa.table({"id": ["u_1", "u_1"], "action": list(days), "requested_at": list(days.values())}).take(order)
    result = pushing.push(sync("removals"), rows)
    assert whole(result)
    pushing.push(PERSONS, pa.table({"id": ["u_1"]}))
    assert [row["id"] for row in truth(pushing, "customers")] == (["u_1"] if there else [])
    assert pushing.push(sync("removals"), rows).requests == 0


def test_the_folder_is_told_of_a_rejected_row_once(
    pushing: Pushing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "rejects"
    for name, value in {
        "DAGSTER_HOME": tmp_path / "home",
        "CIO_REJECTS_URI": folder,
        "CIO_ENV_FILE": "/dev/null",
    }.items():
        monkeypatch.setenv(name, str(value))
    sink = make_sink(load_settings())

    def told() -> list[tuple[str, str]]:
        lines = [json.loads(line) for file in folder.rglob("*.jsonl") for line in file.read_text().splitlines()]
        return sorted((line["sync"], line["reason"]) for line in lines)

    long = pa.table({"id": ["a" * 151, "fine"], "note": ["1", "1"]})
    for _ in range(3):
        result = pushing.push(PERSONS, long, sink=sink)
        assert result.rejected == {"identifier_too_long": 1}
        assert told() == [("persons", "identifier_too_long")]
    changed = pa.table({"id": ["a" * 151, "fine"], "note": ["2", "1"]})
    for _ in range(2):
        pushing.push(PERSONS, changed, sink=sink)
        assert len(told()) == 2, "it is another row now"
    for _ in range(2):
        pushing.push(sync("objects"), objects((UNKNOWN_TYPE, "acme", 1)), sink=sink)
        assert len(told()) == 3, "one that the service refused"


def test_the_shape_of_a_payload_has_no_keys_of_values(pushing: Pushing) -> None:
    rows = pa.table(
        {
            "id": ["u_1"],
            "scores": pa.array([[("ann@example.com", 1)]], pa.map_(pa.string(), pa.int64())),
            "nested": pa.array([[[("ben@example.com", 1)]]], pa.list_(pa.map_(pa.string(), pa.int64()))),
            "plan": ["pro"],
        }
    )
    shape = pushing.push(PERSONS, rows, dry_run=True).shape
    assert set(shape["attributes"]) == {"scores", "nested", "plan"}
    assert shape["attributes"]["plan"] == "VARCHAR"
    assert "example.com" not in json.dumps(shape)
    pushing.sql(
        """CREATE TABLE reverse_etl.persons AS
           SELECT 'u_1' AS id, '{"cid@example.com": {"dora@example.com": 1}}'::JSON AS profile"""
    )
    shape = pushing.push(PERSONS, dry_run=True).shape
    assert set(shape["attributes"]) == {"profile"}
    assert "example.com" not in json.dumps(shape)


def test_attributes_of_a_column_that_is_no_more_are_unset_too(pushing: Pushing) -> None:
    what = sync("persons", gone="unset")
    pushing.push(what, pa.table({"id": ["a", "b"], "plan": ["pro", "pro"], "city": ["Bern", "Bonn"]}))
    # In the same push the column goes and the row leaves.
    assert pushing.push(what, pa.table({"id": ["b"], "city": ["Bonn"]})).removed == 1
    left = {row["attributes"]["id"]: row["attributes"] for row in truth(pushing, "customer_attributes")}
    assert not {"plan", "city"} & set(left["a"])
    assert left["b"]["city"] == "Bonn"
