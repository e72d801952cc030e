"""Operations that were sent and whose answers were lost may have been applied: they are not taken for unsent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cio_assets import sandbox
from cio_assets.reverse_etl.model import Sync
from cio_assets.reverse_etl.source import PushError
from cio_assets_tests.reverse_etl.pushing import EVENTS, PERSONS, Pushing, sync

MIRROR = sync("persons", mode="mirror")
Lose = Callable[[Sync, pa.Table], None]


@pytest.fixture
def hasty(empty_box: sandbox.Sandbox, tmp_path: Path) -> Pushing:
    """Pushes that try everything once."""
    return Pushing(empty_box, tmp_path, max_attempts=1)


@pytest.fixture
def lose(hasty: Pushing) -> Lose:
    """A push that the service applies and whose answers never arrive."""

    def losing(what: Sync, rows: pa.Table) -> None:
        assert hasty.box
        hasty.box.faults({"lost": 1.0})
        with pytest.raises(PushError, match="the next push"):
            hasty.push(what, rows)
        hasty.box.faults()

    return losing


def people(**plans: str) -> pa.Table:
    """Persons by id with their plans."""
    return pa.table({"id": list(plans), "plan": list(plans.values())})


def plans(pushing: Pushing) -> dict[str, Any]:
    """The plans of everybody in the workspace."""
    assert pushing.box
    rows = [row["attributes"] for row in pushing.box.truth("customer_attributes")]
    return {row["id"]: row["plan"] for row in rows}


@pytest.mark.parametrize("what", [PERSONS, MIRROR], ids=["upsert", "mirror"])
def test_a_change_that_is_taken_back_is_told_again(hasty: Pushing, lose: Lose, what: Sync) -> None:
    hasty.push(what, people(a="free", b="free"))
    lose(what, people(a="pro", b="free"))
    assert plans(hasty)["a"] == "pro", "the service has applied it"
    result = hasty.push(what, people(a="free", b="free"))
    assert (result.accepted, result.unchanged) == (1, 1)
    assert plans(hasty) == {"a": "free", "b": "free"}
    assert hasty.push(what, people(a="free", b="free")).requests == 0


def test_somebody_who_comes_back_after_a_lost_removal_is_there(hasty: Pushing, lose: Lose) -> None:
    hasty.push(MIRROR, people(a="free", b="free"))
    lose(MIRROR, people(b="free"))
    assert plans(hasty) == {"b": "free"}, "the service has applied it"
    result = hasty.push(MIRROR, people(a="free", b="free"))
    assert (result.accepted, result.unchanged) == (1, 1)
    assert plans(hasty) == {"a": "free", "b": "free"}
    assert hasty.push(MIRROR, people(a="free", b="free")).requests == 0


def test_somebody_new_who_leaves_after_a_lost_answer_is_removed(hasty: Pushing, lose: Lose) -> None:
    hasty.push(MIRROR, people(a="free"))
    lose(MIRROR, people(a="free", b="free"))
    assert set(plans(hasty)) == {"a", "b"}, "the service has applied it"
    hasty.push(MIRROR, people(a="free"))
    assert plans(hasty) == {"a": "free"}
    assert hasty.push(MIRROR, people(a="free")).requests == 0


def test_a_lost_removal_is_repeated(hasty: Pushing, lose: Lose) -> None:
    hasty.push(MIRROR, people(a="free", b="free"))
    lose(MIRROR, people(b="free"))
    hasty.push(MIRROR, people(b="free"))
    assert plans(hasty) == {"b": "free"}
    assert hasty.push(MIRROR, people(b="free")).requests == 0


def test_what_was_not_sent_yet_is_not_lost_behind_a_cursor(empty_box: sandbox.Sandbox, tmp_path: Path) -> None:
    rows = 3000
    pushing = Pushing(empty_box, tmp_path, max_attempts=1, workers=1)
    pushing.sql(
        f"""CREATE TABLE reverse_etl.events AS SELECT 'u_1' AS person_id, 'x' AS event_name, repeat('x', 500) AS note,
            TIMESTAMP '2026-10-01' + INTERVAL (i) SECOND AS timestamp FROM range({rows}) t(i)"""
    )
    empty_box.faults(rules=[{"kind": "503", "path": "/api/v2/batch", "after": 1}])
    with pytest.raises(PushError, match="503"):
        pushing.push(EVENTS)
    sent = len(empty_box.truth("track_events"))
    assert 0 < sent < rows
    empty_box.faults()
    assert pushing.push(EVENTS).accepted == rows - sent
    assert len(empty_box.truth("track_events")) == rows
