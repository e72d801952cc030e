"""A push through a bad network and a bad service: nothing lost, nothing double, a clear error."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from cio_assets import sandbox
from cio_assets.reverse_etl.source import PushError
from cio_assets_tests import forked
from cio_assets_tests.reverse_etl.pushing import EVENTS, PERSONS, Pushing, sync, whole

ROWS = 6000


def rows(kind: str) -> pa.Table:
    """Rows with a long attribute, so that they take several batches."""
    note = ["x" * 300] * ROWS
    if kind == "persons":
        return pa.table({"id": [f"u_{number}" for number in range(ROWS)], "note": note, "visits": list(range(ROWS))})
    times = [1_790_000_000 + number for number in range(ROWS)]
    return pa.table({"person_id": ["u_1"] * ROWS, "event_name": ["x"] * ROWS, "timestamp": times, "note": note})


def arrived(box: sandbox.Sandbox, kind: str) -> int:
    """People or events of the workspace."""
    if kind == "persons":
        return sum(row["attributes"].get("visits") is not None for row in box.truth("customer_attributes"))
    return len(box.truth("track_events"))


@pytest.mark.parametrize("kind", ["persons", "events"])
@pytest.mark.parametrize("fault", ["429", "500", "503", "reset", "lost", "truncated", "html"])
def test_faults_that_pass_are_survived(pushing: Pushing, fault: str, kind: str) -> None:
    box, what = pushing.box, {"persons": PERSONS, "events": EVENTS}[kind]
    assert box
    box.faults({fault: 0.4})
    result = pushing.push(what, rows(kind))
    assert (result.accepted, result.rejected) == (ROWS, {})
    box.faults()
    assert arrived(box, kind) == ROWS
    assert pushing.push(what, rows(kind)).requests == 0


def of_an_object(kind: str, types: list[str]) -> pa.Table:
    """Objects of these types, or one person's relationships to them, long enough for several batches."""
    names = [f"o_{number}" for number in range(len(types))]
    note = ["x" * 300] * len(types)
    person = {"person_id": ["u_1"] * len(types)} if kind == "relationships" else {}
    return pa.table({**person, "object_type_id": types, "object_id": names, "note": note})


@pytest.mark.parametrize("kind", ["objects", "relationships"])
@pytest.mark.parametrize("fault", ["batch400", "bare207"])
def test_awkward_refusals_reject_the_right_rows(pushing: Pushing, fault: str, kind: str) -> None:
    assert pushing.box
    pushing.box.faults({fault: 1.0})
    # Refused by the service only, for nobody else knows which types of objects it has.
    bad = {5, 700, 701, ROWS - 1}
    table = of_an_object(kind, ["99" if number in bad else "1" for number in range(ROWS)])
    result = pushing.push(sync(kind), table)
    assert whole(result)
    assert (result.accepted, result.rejected.total()) == (ROWS - len(bad), len(bad))
    assert pushing.box.stats()["injected"][fault] > 0
    rejected = pushing.rejected()
    assert {found_by for _, _, found_by in rejected} == {"service"}
    named = {int(re.findall(r'"object_id":"o_(\d+)"', key)[0]) for key, _, _ in rejected}
    assert named == bad
    arrived_too = {row["object_id"] for row in pushing.box.truth("objects")}
    assert arrived_too == {f"o_{number}" for number in range(ROWS) if number not in bad}
    assert pushing.push(sync(kind), table).requests == 0


def test_a_service_that_stays_away_fails_the_push_and_keeps_what_was_accepted(tmp_path: Path) -> None:
    with forked.launch(people=0, campaigns=0, objects=0, app_rps=0, track_rps=0) as box:
        pushing = Pushing(box, tmp_path, max_attempts=2, workers=1)
        box.faults(rules=[{"kind": "503", "path": "/api/v2/batch", "after": 2}])
        with pytest.raises(PushError, match=r"503.*the next push sends the rest") as caught:
            pushing.push(PERSONS, rows("persons"))
        assert "u_1" not in str(caught.value)
        before = arrived(box, "persons")
        assert 0 < before < ROWS
        box.faults()
        result = pushing.push(PERSONS, rows("persons"))
        assert (result.unchanged, result.accepted) == (before, ROWS - before)
        assert arrived(box, "persons") == ROWS


def test_a_wrong_key_stops_at_once_and_says_what_to_do(empty_box: sandbox.Sandbox, tmp_path: Path) -> None:
    pushing = Pushing(empty_box, tmp_path, key="wrong")
    with pytest.raises(PushError, match="CUSTOMERIO_TRACK_API_KEY") as caught:
        pushing.push(PERSONS, rows("persons"))
    assert "wrong" not in str(caught.value).replace("wrong region", "")
    assert empty_box.stats()["track_requests"] <= 8, "no retries"
    right = Pushing(empty_box, tmp_path)
    assert right.push(PERSONS, rows("persons")).accepted == ROWS


def test_requests_over_the_budget_are_not_made(tmp_path: Path) -> None:
    with forked.launch(people=0, campaigns=0, objects=0, app_rps=0, track_rps=0) as box:
        pushing: Any = Pushing(box, tmp_path)
        assert pushing.push(PERSONS, rows("persons")).requests <= 6, "500 kB a request"
