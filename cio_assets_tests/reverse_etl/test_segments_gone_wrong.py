"""Segments that take nobody: their own members are refused, and everybody else is added and removed as usual."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cio_assets_tests import forked
from cio_assets_tests.reverse_etl.pushing import PERSONS, Pushing, sync, whole

MEMBERS = sync("segment_members")
PEOPLE = ["u_1", "u_2"]


@pytest.fixture
def pushing(tmp_path: Path) -> Iterator[Pushing]:
    """A workspace with some people and more than one manual segment."""
    with forked.launch(people=0, campaigns=0, objects=0, segments=24, app_rps=0, track_rps=0) as box:
        made = Pushing(box, tmp_path)
        made.push(PERSONS, pa.table({"id": PEOPLE}))
        yield made


def manual(pushing: Pushing) -> tuple[int, int, int]:
    """Three manual segments."""
    assert pushing.box
    first, second, third, *_ = (row["id"] for row in pushing.box.truth("segments") if row["type"] == "manual")
    return first, second, third


def memberships(pushing: Pushing) -> set[tuple[int, str]]:
    """Who is in which of the manual segments."""
    assert pushing.box
    rows: list[dict[str, Any]] = pushing.box.truth("segment_membership")
    return {(row["segment_id"], row["id"]) for row in rows if row["segment_id"] in manual(pushing)}


def rows(*segments: int) -> pa.Table:
    """Everybody in each of these segments."""
    everywhere = [(segment, person) for segment in segments for person in PEOPLE]
    return pa.table({"segment_id": [one for one, _ in everywhere], "person_id": [who for _, who in everywhere]})


def test_a_segment_that_is_not_found_refuses_its_own_members_only(pushing: Pushing) -> None:
    first, second, third = manual(pushing)
    assert pushing.box
    pushing.box.faults(rules=[{"kind": "404", "path": f"/segments/{second}/"}])
    result = pushing.push(MEMBERS, rows(first, second, third))
    assert (result.accepted, result.rejected.total()) == (4, 2)
    assert whole(result)
    assert memberships(pushing) == {(segment, who) for segment in (first, third) for who in PEOPLE}
    assert all(f'"segment_id":{second},' in key for key, _, _ in pushing.rejected())
    assert pushing.push(MEMBERS, rows(first, second, third)).requests == 0, "refused and unchanged: not asked again"
    pushing.box.faults()
    assert pushing.push(MEMBERS, rows(first, second, third), retry_rejected=True).accepted == 2
    assert pushing.rejected() == []


def test_a_segment_that_never_was_refuses_its_own_members_only(pushing: Pushing) -> None:
    first, _, third = manual(pushing)
    result = pushing.push(MEMBERS, rows(first, 99_999, third))
    assert (result.accepted, result.rejected.total()) == (4, 2)
    assert whole(result)
    assert len(memberships(pushing)) == 4


def test_removals_from_a_segment_that_is_not_found_do_not_stop_the_others(pushing: Pushing) -> None:
    first, second, third = manual(pushing)
    pushing.push(MEMBERS, rows(first, second, third))
    assert pushing.box
    pushing.box.faults(rules=[{"kind": "404", "path": f"/segments/{second}/"}])
    result = pushing.push(MEMBERS, rows(first))
    assert (result.removed, result.unchanged) == (2, 2)
    assert whole(result)
    assert memberships(pushing) == {(segment, who) for segment in (first, second) for who in PEOPLE}
