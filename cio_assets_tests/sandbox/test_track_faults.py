"""Faults of the Track side: lost answers, batches refused without a word why, and 207s that say too little."""

import pytest
import requests

from cio_assets_tests import forked

from .conftest import EMPTY
from .track_client import Track, identify, person

BATCH = "/api/v2/batch"


def rule(kind: str, **rest: object) -> dict[str, object]:
    return {"kind": kind, "path": BATCH, **rest}


@pytest.mark.parametrize("kind", ["429", "500", "502", "503", "401"])
def test_statuses_come_in_the_shape_of_the_track_api(track: Track, kind: str) -> None:
    track.box.faults(rules=[rule(kind, times=1)])
    response = track.batch(identify("u1"))
    assert response.status_code == int(kind)
    assert isinstance(response.json()["meta"]["error"], str)
    assert track.box.person("id", "u1") is None
    track.send(identify("u1"))
    assert track.box.stats()["injected"] == {kind: 1}
    assert track.box.stats()["violation_count"] == 0


def test_a_reset_comes_before_the_work_and_a_loss_after_it(track: Track) -> None:
    event = person("event", name="buy")
    for kind, events in (("reset", 0), ("lost", 1)):
        track.box.faults(rules=[rule(kind, times=1)])
        with pytest.raises(requests.ConnectionError):
            track.batch(event)
        assert len(track.box.truth("track_events")) == events
    track.send(event)
    assert len(track.box.truth("track_events")) == 2  # the classic: sent twice, counted twice
    assert track.box.stats()["by_status"] == {"reset": 2, "200": 1}


def test_answers_can_be_cut_stalled_or_html(track: Track) -> None:
    track.box.faults(rules=[rule("truncated-length", times=1)])
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        track.batch(identify("u1"))
    assert track.box.person("id", "u1")
    track.box.faults(rules=[rule("html", times=1)])
    assert track.batch(identify("u2")).text.startswith("<!DOCTYPE")
    track.box.faults(rules=[rule("stall", times=1)], stall_seconds=0.3)
    assert track.batch(identify("u3")).elapsed.total_seconds() > 0.25


def test_batch400_refuses_all_and_says_not_whom(track: Track) -> None:
    track.box.faults(rules=[rule("batch400")])
    track.send(identify("u1"))  # nothing is wrong with it
    response = track.batch(identify("u2"), identify(""), identify("u3"))
    assert response.status_code == 400
    (error,) = response.json()["errors"]
    assert set(error) == {"reason", "field", "message"}
    assert [row["id"] for row in track.box.truth("customers")] == ["u1"]
    assert track.box.stats()["injected"] == {"batch400": 1}
    track.send(identify("u2"), identify("u3"))


def test_bare207_leaves_out_one_key_after_the_other(track: Track) -> None:
    track.box.faults(rates={"bare207": 1.0})
    response = track.batch(identify("u1"), *[identify("")] * 3)
    assert response.status_code == 207
    errors = response.json()["errors"] + track.batch(identify(""), identify("u2")).json()["errors"]
    keys = {"batch_index", "reason", "field", "message"}
    assert [keys - set(error) for error in errors] == [{"batch_index"}, {"reason"}, {"field"}, {"message"}]
    assert [row["id"] for row in track.box.truth("customers")] == ["u1", "u2"]


def test_late_faults_wait_for_a_batch_that_has_something_wrong(track: Track) -> None:
    track.box.faults(rules=[rule("batch400", times=1), rule("bare207", after=1)])
    for _ in range(3):
        track.send(identify("u1"))
    assert [track.batch(identify("")).status_code for _ in range(3)] == [400, 207, 207]


def test_faults_can_be_told_on_the_command_line() -> None:
    with forked.launch(**EMPTY, faults="500=1.0") as box:
        track = Track(box)
        assert track.batch(identify("u1")).status_code == 500
        track.session.close()
