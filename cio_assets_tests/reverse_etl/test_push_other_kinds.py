"""Objects, relationships, devices, members of segments, removals and merges, end to end."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from cio_assets_tests.reverse_etl.pushing import PERSONS, Pushing, sync, whole


def people(pushing: Pushing, *identifiers: str) -> None:
    """Some people to begin with."""
    assert pushing.push(PERSONS, pa.table({"id": list(identifiers)})).accepted == len(identifiers)


def truth(pushing: Pushing, table: str) -> list[dict[str, Any]]:
    """What the workspace holds."""
    assert pushing.box
    return pushing.box.truth(table)


def test_objects(pushing: Pushing) -> None:
    rows = pa.table({"object_type_id": [1, 1], "object_id": ["acme", "zeta"], "seats": [50, 7]})
    mirror = sync("objects", mode="mirror")
    assert pushing.push(mirror, rows).accepted == 2
    assert {row["object_id"] for row in truth(pushing, "objects")} >= {"acme", "zeta"}
    assert pushing.push(mirror, rows).requests == 0
    result = pushing.push(mirror, rows.slice(0, 1))
    assert (result.removed, result.unchanged) == (1, 1)
    assert "zeta" not in {row["object_id"] for row in truth(pushing, "objects")}


def test_relationships(pushing: Pushing) -> None:
    people(pushing, "u_1", "u_2")
    pushing.push(sync("objects"), pa.table({"object_type_id": ["1"], "object_id": ["acme"]}))
    rows = pa.table(
        {
            "person_id": ["u_1", "u_2"],
            "object_type_id": ["1", "1"],
            "object_id": ["acme", "acme"],
            "role": ["admin", "user"],
        }
    )
    mirror = sync("relationships", mode="mirror")
    assert pushing.push(mirror, rows).accepted == 2
    assert len(truth(pushing, "customer_relationships")) == 2
    result = pushing.push(mirror, rows.slice(1, 1))
    assert (result.removed, result.unchanged) == (1, 1)
    assert len(truth(pushing, "customer_relationships")) == 1


def test_devices(pushing: Pushing) -> None:
    people(pushing, "u_1")
    rows = pa.table(
        {
            "person_id": ["u_1", "u_1"],
            "token": ["t1", "t2"],
            "platform": ["ios", "Android"],
            "last_used": [1790812800, None],
            "build": [7, 8],
        }
    )
    mirror = sync("devices", mode="mirror")
    assert pushing.push(mirror, rows).accepted == 2
    found = {row["token"]: row for row in truth(pushing, "devices")}
    assert found["t1"]["attributes"]["build"] == "7"
    assert found["t2"]["platform"] == "android"
    assert pushing.push(mirror, rows.slice(0, 1)).removed == 1
    assert {row["token"] for row in truth(pushing, "devices")} == {"t1"}


def manual_segment(pushing: Pushing) -> int:
    """A manual segment of the workspace."""
    return next(row["id"] for row in truth(pushing, "segments") if row["type"] == "manual")


def members(pushing: Pushing, segment: int) -> list[str]:
    """The ids of its members."""
    return sorted(row["id"] for row in truth(pushing, "segment_membership") if row["segment_id"] == segment)


def test_only_the_difference_of_a_segment_is_sent(pushing: Pushing) -> None:
    segment = manual_segment(pushing)
    everybody = [f"u_{number:04}" for number in range(1500)]
    people(pushing, *everybody)
    rows = pa.table({"segment_id": [segment] * 1500, "person_id": everybody})
    result = pushing.push(sync("segment_members"), rows)
    assert (result.accepted, result.requests) == (1500, 2)
    assert members(pushing, segment) == everybody
    changed = pa.concat_tables([rows.slice(3), pa.table({"segment_id": [segment], "person_id": ["u_new"]})])
    people(pushing, "u_new")
    result = pushing.push(sync("segment_members"), changed)
    assert (result.accepted, result.removed, result.requests) == (1, 3, 2)
    assert members(pushing, segment) == [*everybody[3:], "u_new"]
    assert pushing.push(sync("segment_members"), changed).requests == 0


def test_people_of_a_segment_that_is_not_manual_are_rejected(pushing: Pushing) -> None:
    people(pushing, "u_1", "u_2")
    good = manual_segment(pushing)
    bad = next(row["id"] for row in truth(pushing, "segments") if row["type"] != "manual")
    rows = pa.table({"segment_id": [good, bad, bad], "person_id": ["u_1", "u_1", "u_2"]})
    result = pushing.push(sync("segment_members"), rows)
    assert (result.accepted, result.rejected.total()) == (1, 2)
    assert whole(result)
    assert members(pushing, good) == ["u_1"]
    assert pushing.push(sync("segment_members"), rows).requests == 0, "refused and unchanged: not asked again"


@pytest.mark.parametrize("action", ["delete", "suppress"])
def test_removals_happen_once(pushing: Pushing, action: str) -> None:
    people(pushing, "u_1", "u_2")
    rows = pa.table({"id": ["u_1"], "action": [action]})
    assert pushing.push(sync("removals"), rows).accepted == 1
    assert [row["id"] for row in truth(pushing, "customers")] == ["u_2"]
    assert pushing.push(sync("removals"), rows).requests == 0
    asked_again = rows.append_column("requested_at", pa.array(["2026-11-02"]))
    assert pushing.push(sync("removals"), asked_again).accepted == 1


def test_merges(pushing: Pushing) -> None:
    people(pushing, "u_1", "u_2", "u_3")
    rows = pa.table({"primary_id": ["u_1", "u_2"], "secondary_id": ["u_2", "u_3"]})
    result = pushing.push(sync("merges"), rows)
    assert (result.accepted, result.rejected) == (1, {"merge_chain": 1})
    assert sorted(row["id"] for row in truth(pushing, "customers")) == ["u_1", "u_3"]
    assert pushing.push(sync("merges"), rows).requests == 0


def test_a_merge_that_was_done_stays_done(pushing: Pushing) -> None:
    people(pushing, "u_1", "u_2", "u_3")
    done = pa.table({"primary_id": ["u_1"], "secondary_id": ["u_2"]})
    assert pushing.push(sync("merges"), done).accepted == 1
    later = pa.table({"primary_id": ["u_1", "u_3"], "secondary_id": ["u_2", "u_1"]})
    result = pushing.push(sync("merges"), later)
    assert (result.accepted, result.unchanged, result.rejected) == (1, 1, {})
    assert [row["id"] for row in truth(pushing, "customers")] == ["u_3"]
