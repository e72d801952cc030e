"""What a load tells of its table, on each kind of warehouse: nothing of a right one, all that others have broken."""

from __future__ import annotations

from cio_assets.warehouse import Warehouse
from cio_assets.warehouse.facts import MOST_NAMES
from cio_assets_tests.warehouse.stage import MONDAY, TUESDAY, WEDNESDAY, put, unix


def sql(warehouse: Warehouse, *statements: str) -> None:
    """What another program does to the warehouse."""
    with warehouse.transaction() as con:
        for statement in statements:
            con.execute(statement)


def test_a_right_table_has_nothing_that_it_should_not_have(warehouse: Warehouse) -> None:
    put(warehouse, "segments", [{"id": 7}, {"id": 8}])
    facts = put(warehouse, "segment_membership", [{"segment_id": 7, "cio_id": "a"}, {"segment_id": 8, "cio_id": "a"}])

    assert facts.facts.live_before == 0
    assert facts.facts.live == facts.rows_in_table == 2
    assert facts.facts.rows_without_key == facts.facts.rows_of_known_key == 0
    assert facts.facts.rows_without_parent == {"segments": 0}
    assert facts.facts.unknown_fields == {}


def test_rows_of_one_key_and_rows_without_one_are_counted(warehouse: Warehouse) -> None:
    put(warehouse, "activities", [{"id": "a"}, {"id": "b"}])
    sql(
        warehouse,
        "INSERT INTO activities BY NAME SELECT * FROM activities WHERE id = 'a'",
        "INSERT INTO activities BY NAME SELECT * FROM activities WHERE id = 'a' LIMIT 1",
        "INSERT INTO activities BY NAME SELECT * REPLACE (NULL AS id) FROM activities WHERE id = 'b'",
    )

    facts = put(warehouse, "activities", [{"id": "c"}], at=TUESDAY).facts

    assert facts.rows_of_known_key == 2
    assert facts.rows_without_key == 1
    assert (facts.live_before, facts.live) == (5, 6)


def test_a_key_of_many_columns_is_compared_as_a_whole(warehouse: Warehouse) -> None:
    rows = [{"segment_id": segment, "cio_id": person} for segment in (1, 2) for person in ("1", "2")]
    assert put(warehouse, "segment_membership", rows).facts.rows_of_known_key == 0

    sql(warehouse, "UPDATE segment_membership SET segment_id = NULL WHERE segment_id = 2 AND cio_id = '2'")
    later = put(warehouse, "segment_membership", rows[:2], at=TUESDAY).facts

    assert (later.rows_of_known_key, later.rows_without_key) == (0, 1)


def test_rows_without_a_parent_are_those_whose_parent_is_not_live(warehouse: Warehouse) -> None:
    members = [{"segment_id": segment, "cio_id": "a"} for segment in (7, 8, 9)]
    assert put(warehouse, "segment_membership", members).facts.rows_without_parent == {}, "there is no such table yet"

    put(warehouse, "segments", [{"id": 7}, {"id": 8}])
    assert put(warehouse, "segment_membership", members, at=TUESDAY).facts.rows_without_parent == {"segments": 1}

    put(warehouse, "segments", [{"id": 7}], at=TUESDAY)
    assert put(warehouse, "segment_membership", members, at=WEDNESDAY).facts.rows_without_parent == {"segments": 2}
    # Marked as deleted, they are no orphans.
    assert put(warehouse, "segment_membership", members[:1], at=WEDNESDAY).facts.rows_without_parent == {"segments": 0}


def test_a_relationship_has_two_parents(warehouse: Warehouse) -> None:
    put(warehouse, "customers", [{"cio_id": "a"}])
    put(warehouse, "objects", [{"object_type_id": "1", "object_id": "acme", "cio_object_id": "x"}])
    rows = [
        {"cio_id": "a", "object_type_id": "1", "object_id": "acme"},
        {"cio_id": "b", "object_type_id": "1", "object_id": "acme"},
        {"cio_id": "a", "object_type_id": "2", "object_id": "acme"},
    ]
    found = put(warehouse, "customer_relationships", rows).facts.rows_without_parent
    assert found == {"objects": 1, "customers": 1}


def test_the_metrics_of_a_deleted_campaign_are_history_and_no_orphans(warehouse: Warehouse) -> None:
    put(warehouse, "campaigns", [{"id": 1}, {"id": 2}])
    put(warehouse, "campaigns", [{"id": 1}], at=TUESDAY)
    rows = [
        {"campaign_id": number, "period": "days", "period_start": unix("2026-02-01"), "sent": 1} for number in (1, 2, 3)
    ]
    assert put(warehouse, "campaign_metrics", rows, at=TUESDAY).facts.rows_without_parent == {"campaigns": 1}


def test_fields_without_a_column_are_named_and_counted(warehouse: Warehouse) -> None:
    rows = [{"id": number, "_extra": {"brand_new": "secret", "a.b": number}} for number in (1, 2)]
    facts = put(warehouse, "segments", [*rows, {"id": 3, "_extra": {"brand_new": None}}, {"id": 4}]).facts

    assert facts.rows_with_unknown_fields == 3
    assert facts.unknown_fields == {"brand_new": 3, "a.b": 2}

    many = {f"field {number}": 1 for number in range(10 * MOST_NAMES)}
    facts = put(warehouse, "segments", [{"id": 1, "_extra": many}], at=TUESDAY).facts
    assert len(facts.unknown_fields) == MOST_NAMES


def test_live_rows_are_counted_before_and_after(warehouse: Warehouse) -> None:
    put(warehouse, "segments", [{"id": number} for number in range(30)], at=MONDAY)
    facts = put(warehouse, "segments", [{"id": 1}], at=TUESDAY).facts
    assert (facts.live_before, facts.live) == (30, 1)
    facts = put(warehouse, "segments", [{"id": 1}, {"id": 2}], at=WEDNESDAY).facts
    assert (facts.live_before, facts.live) == (1, 2)
