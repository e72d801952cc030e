"""Pushes to a wrong workspace, or to another one: what was told to one is neither forgotten nor taken for the other."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from cio_assets import sandbox
from cio_assets.reverse_etl.source import PushError
from cio_assets_tests.reverse_etl.pushing import Pushing, sync

MIRROR = sync("persons", mode="mirror")


def people(*ids: str) -> pa.Table:
    """Persons with an attribute."""
    return pa.table({"id": list(ids), "plan": ["free"] * len(ids)})


def present(box: sandbox.Sandbox) -> list[str]:
    """The ids of everybody in the workspace."""
    return sorted(row["id"] for row in box.truth("customers"))


@pytest.mark.parametrize("changed", [False, True], ids=["same rows", "other rows"])
def test_a_wrong_site_id_that_is_refused_forgets_nothing(
    empty_box: sandbox.Sandbox, tmp_path: Path, changed: bool
) -> None:
    right = Pushing(empty_box, tmp_path)
    assert right.push(MIRROR, people("a", "b", "c")).accepted == 3
    wrong = Pushing(empty_box, tmp_path, site_id="a typo", key="wrong")
    for _ in range(2):
        with pytest.raises(PushError, match="401"):
            wrong.push(MIRROR, people("a", "b", "d") if changed else people("a", "b", "c"))
    assert right.push(MIRROR, people("a", "b", "c")).requests == 0
    result = right.push(MIRROR, people("b", "c"))
    assert (result.accepted, result.removed, result.unchanged) == (0, 1, 2)
    assert present(empty_box) == ["b", "c"]


def test_a_wrong_site_id_keeps_the_rejected_rows(empty_box: sandbox.Sandbox, tmp_path: Path) -> None:
    objects = pa.table({"object_type_id": ["1", "99"], "object_id": ["acme", "zeta"]})
    right = Pushing(empty_box, tmp_path)
    right.push(sync("objects"), objects)
    kept = right.rejected()
    assert len(kept) == 1
    with pytest.raises(PushError, match="401"):
        Pushing(empty_box, tmp_path, site_id="a typo", key="wrong").push(sync("objects"), objects)
    assert right.rejected() == kept
    assert right.push(sync("objects"), objects).requests == 0


def test_what_another_workspace_was_told_is_not_removed_from_this_one(
    empty_box: sandbox.Sandbox, tmp_path: Path
) -> None:
    first, second = Pushing(empty_box, tmp_path), Pushing(empty_box, tmp_path, site_id="another")
    first.push(MIRROR, people("a", "b"))
    assert second.push(MIRROR, people("a", "c")).removed == 0
    result = second.push(MIRROR, people("a"))
    assert (result.removed, result.unchanged) == (1, 1), "only c was told to this workspace"
    assert present(empty_box) == ["a", "b"]


def test_a_sync_of_another_kind_begins_anew(pushing: Pushing) -> None:
    pushing.push(MIRROR, people("a", "b"))
    objects = sync("objects", name=MIRROR.name, mode="mirror")
    result = pushing.push(objects, pa.table({"object_type_id": ["1"], "object_id": ["acme"]}))
    assert (result.accepted, result.removed, result.rejected) == (1, 0, {})
    assert pushing.box
    assert present(pushing.box) == ["a", "b"]


def test_a_window_removes_nobody(pushing: Pushing) -> None:
    mirror = sync("persons", mode="mirror", allow_empty=True)
    everybody = people("a", "b").append_column("timestamp", pa.array(["2026-10-01", "2026-10-05"]))
    pushing.push(mirror, everybody)
    with suppress(PushError):  # that persons have no window may be said, too
        assert pushing.push(mirror, everybody, window=day(1)).removed == 0
    assert pushing.box
    assert present(pushing.box) == ["a", "b"]


def day(number: int) -> tuple[datetime, datetime]:
    """A day of October."""
    return datetime(2026, 10, number, tzinfo=UTC), datetime(2026, 10, number + 1, tzinfo=UTC)


def test_good_rows_behind_hundreds_of_bad_ones_arrive_where_whole_batches_are_refused(
    empty_box: sandbox.Sandbox, tmp_path: Path
) -> None:
    bad, good = 450, 100
    objects = pa.table(
        {
            "object_type_id": ["99"] * bad + ["1"] * good,
            "object_id": [f"o_{number}" for number in range(bad + good)],
        }
    )
    empty_box.faults(rules=[{"kind": "batch400"}])
    pushing = Pushing(empty_box, tmp_path)
    result = pushing.push(sync("objects"), objects)
    assert (result.accepted, len(pushing.rejected())) == (good, bad)
    assert len(empty_box.truth("objects")) == good


def test_bad_rows_alone_end_the_push_and_the_next_begins_behind_them(
    empty_box: sandbox.Sandbox, tmp_path: Path
) -> None:
    objects = pa.table({"object_type_id": ["99"] * 450, "object_id": [f"o_{number}" for number in range(450)]})
    empty_box.faults(rules=[{"kind": "batch400"}])
    pushing = Pushing(empty_box, tmp_path)
    known = 0
    for _ in range(2):
        with pytest.raises(PushError, match="refused 200 operations one by one"):
            pushing.push(sync("objects"), objects)
        before, known = known, len(pushing.rejected())
        assert known > before
    pushing.push(sync("objects"), objects)
    assert len(pushing.rejected()) == 450
