"""Rows that come to be identified otherwise: nobody is removed who is still in the source, whatever identifies them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from cio_assets_tests.reverse_etl.pushing import PERSONS, Pushing, sync

DIRECTIONS = pytest.mark.parametrize("gained", [True, False], ids=["gains an identifier", "loses an identifier"])


def texts(*values: str | None) -> pa.Array:
    """A column that may hold nothing but NULL."""
    return pa.array(values, pa.string())


def truth(pushing: Pushing, table: str) -> list[dict[str, Any]]:
    """What the workspace holds."""
    assert pushing.box
    return pushing.box.truth(table)


def emails(pushing: Pushing) -> list[str]:
    """The addresses of everybody in the workspace."""
    return sorted(row["email"] for row in truth(pushing, "customers"))


def ann_and_ben(ann_id: str | None) -> pa.Table:
    """Two persons, the first with or without an id."""
    return pa.table({"id": texts(ann_id, "u_2"), "email": ["ann@x.org", "ben@x.org"], "plan": ["free", "pro"]})


@DIRECTIONS
@pytest.mark.parametrize("gone", ["delete", "suppress", "unset"])
def test_a_person_known_by_another_identifier_stays(pushing: Pushing, gone: str, gained: bool) -> None:
    what = sync("persons", gone=gone)
    before, after = (None, "u_1") if gained else ("u_1", None)
    pushing.push(what, ann_and_ben(before))
    result = pushing.push(what, ann_and_ben(after))
    assert (result.removed, result.unchanged) == (0, 1)
    assert emails(pushing) == ["ann@x.org", "ben@x.org"]
    plans = {row["attributes"]["email"]: row["attributes"]["plan"] for row in truth(pushing, "customer_attributes")}
    assert plans == {"ann@x.org": "free", "ben@x.org": "pro"}
    assert pushing.push(what, ann_and_ben(after)).requests == 0
    # Gone for good: removed once, under whatever identifier.
    assert pushing.push(what, ann_and_ben(after).slice(1)).removed == 1
    assert pushing.push(what, ann_and_ben(after).slice(1)).requests == 0
    if gone != "unset":
        assert emails(pushing) == ["ben@x.org"]


def test_whoever_leaves_while_another_changes_is_removed(pushing: Pushing) -> None:
    mirror = sync("persons", mode="mirror")
    pushing.push(mirror, ann_and_ben("u_1"))
    pushing.push(mirror, ann_and_ben("u_1"))
    result = pushing.push(mirror, ann_and_ben(None).slice(0, 1))
    assert result.removed == 1
    assert emails(pushing) == ["ann@x.org"]


@pytest.mark.parametrize(("before", "after"), [("email", "id"), ("id", "email")])
@pytest.mark.parametrize("shared", [True, False], ids=["columns stay", "column is replaced"])
def test_other_identifiers_in_the_sync_remove_nobody(pushing: Pushing, before: str, after: str, shared: bool) -> None:
    everybody = {"id": ["1", "2", "3"], "email": ["a@x.org", "b@x.org", "c@x.org"], "plan": ["x"] * 3}
    # As two systems may hold them: the people are told apart by their address first, by their id then, or the reverse.
    pushing.push(PERSONS, pa.table(everybody))
    for identifier in (before, after):
        rows = pa.table(everybody if shared else {identifier: everybody[identifier], "plan": ["x"] * 3})
        result = pushing.push(sync("persons", mode="mirror", identifiers=[identifier], columns=["plan"]), rows)
        assert result.removed == 0
    assert emails(pushing) == everybody["email"]


@DIRECTIONS
def test_a_member_known_by_another_identifier_stays_in_the_segment(pushing: Pushing, gained: bool) -> None:
    segment = next(row["id"] for row in truth(pushing, "segments") if row["type"] == "manual")
    pushing.push(PERSONS, pa.table({"id": ["u_1"], "email": ["ann@x.org"]}))
    before, after = (None, "u_1") if gained else ("u_1", None)

    def rows(ann_id: str | None) -> pa.Table:
        return pa.table({"segment_id": [segment], "person_id": texts(ann_id), "person_email": ["ann@x.org"]})

    pushing.push(sync("segment_members"), rows(before))
    for _ in range(2):
        assert pushing.push(sync("segment_members"), rows(after)).removed == 0
    assert [row["id"] for row in truth(pushing, "segment_membership") if row["segment_id"] == segment] == ["u_1"]


def related(ann_id: str | None, *objects: str) -> pa.Table:
    """One person's relationships to objects."""
    many = len(objects)
    return pa.table(
        {
            "person_id": texts(*[ann_id] * many),
            "person_email": ["ann@x.org"] * many,
            "object_type_id": ["1"] * many,
            "object_id": list(objects),
        }
    )


@DIRECTIONS
def test_a_relationship_of_a_person_known_otherwise_stays(pushing: Pushing, gained: bool) -> None:
    pushing.push(PERSONS, pa.table({"id": ["u_1"], "email": ["ann@x.org"]}))
    pushing.push(sync("objects"), pa.table({"object_type_id": ["1", "1"], "object_id": ["acme", "zeta"]}))
    before, after = (None, "u_1") if gained else ("u_1", None)
    mirror = sync("relationships", mode="mirror")
    pushing.push(mirror, related(before, "acme", "zeta"))
    assert pushing.push(mirror, related(after, "acme", "zeta")).removed == 0
    assert len(truth(pushing, "customer_relationships")) == 2


@DIRECTIONS
def test_only_the_relationship_that_left_ends(pushing: Pushing, gained: bool) -> None:
    pushing.push(PERSONS, pa.table({"id": ["u_1"], "email": ["ann@x.org"]}))
    pushing.push(sync("objects"), pa.table({"object_type_id": ["1", "1"], "object_id": ["acme", "zeta"]}))
    before, after = (None, "u_1") if gained else ("u_1", None)
    mirror = sync("relationships", mode="mirror")
    pushing.push(mirror, related(before, "acme"))
    # The person is still there, but related to something else.
    assert pushing.push(mirror, related(after, "zeta")).removed == 1
    assert len(truth(pushing, "customer_relationships")) == 1


@DIRECTIONS
def test_a_device_of_a_person_known_otherwise_stays(pushing: Pushing, gained: bool) -> None:
    pushing.push(PERSONS, pa.table({"id": ["u_1"], "email": ["ann@x.org"]}))
    before, after = (None, "u_1") if gained else ("u_1", None)

    def rows(ann_id: str | None) -> pa.Table:
        who = {"person_id": texts(ann_id), "person_email": ["ann@x.org"]}
        return pa.table(who | {"token": ["t1"], "platform": ["ios"]})

    mirror = sync("devices", mode="mirror")
    pushing.push(mirror, rows(before))
    assert pushing.push(mirror, rows(after)).removed == 0
    assert [row["token"] for row in truth(pushing, "devices")] == ["t1"]


@DIRECTIONS
@pytest.mark.parametrize("gone", ["delete", "unset"])
def test_an_object_known_by_another_identifier_stays(pushing: Pushing, gone: str, gained: bool) -> None:
    pushing.push(sync("objects"), pa.table({"object_type_id": ["1", "1"], "object_id": ["acme", "zeta"]}))
    own = next(row["cio_object_id"] for row in truth(pushing, "objects") if row["object_id"] == "acme")

    def rows(kind: str | None) -> pa.Table:
        types, names = texts(kind, "1"), texts(kind and "acme", "zeta")
        return pa.table(
            {"object_type_id": types, "object_id": names, "cio_object_id": texts(own, None), "seats": [5, 7]}
        )

    what = sync("objects", name="seats", gone=gone)
    before, after = (None, "1") if gained else ("1", None)
    pushing.push(what, rows(before))
    assert pushing.push(what, rows(after)).removed == 0
    assert sorted(row["object_id"] for row in truth(pushing, "objects")) == ["acme", "zeta"]
    assert pushing.push(what, rows(after)).requests == 0


def test_who_left_is_removed_though_another_person_has_the_same_email(pushing: Pushing) -> None:
    mirror = sync("persons", mode="mirror")
    pushing.push(mirror, pa.table({"id": ["u_1", "u_5"], "email": ["a@x.io", "b@x.io"]}))
    result = pushing.push(mirror, pa.table({"id": ["u_2", "u_5"], "email": ["a@x.io", "b@x.io"]}))
    assert (result.accepted, result.removed, result.unchanged) == (1, 1, 1)
