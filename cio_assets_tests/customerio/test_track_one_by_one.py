"""The calls that version 2 does not have: events of anonymous people, members of manual segments."""

from collections.abc import Callable
from math import ceil, log2
from typing import Any

import orjson
import pytest

from cio_assets.customerio import RequestRefused, limits
from cio_assets.customerio.track_client import EverythingRefused, OperationRefusal, TrackClient

from .http_server import Asked, Say, Server
from .track_server import batch_of, error

WRONG = Say(400, {"meta": {"error": "event name must not be blank"}})


def event(number: int) -> dict[str, Any]:
    return {"name": "seen", "anonymous_id": f"a_{number}", "id": f"{number:026d}"}


def test_each_anonymous_event_is_a_request_of_its_own(server: Server, track: TrackClient) -> None:
    assert track.send_anonymous_events(batch_of([event(number) for number in range(5)])) == []
    assert [orjson.loads(asked.body) for asked in server.asked] == [event(number) for number in range(5)]
    assert {(asked.method, asked.target) for asked in server.asked} == {("POST", "/api/v1/events")}
    assert track.usage.snapshot().by_path == {"/api/v1/events": 5}


def test_one_of_them_is_refused_and_the_others_go(server: Server, track: TrackClient) -> None:
    server.say(Say(), Say(), WRONG, Say())
    refused = track.send_anonymous_events(batch_of([event(number) for number in range(5)]))
    assert refused == [OperationRefusal(2, "refused", "", "event name must not be blank")]
    assert len(server.asked) == 5


def test_a_service_that_refuses_every_event_is_given_up(server: Server, track: TrackClient) -> None:
    server.say(WRONG)
    with pytest.raises(RequestRefused, match="The service says: event name must not be blank"):
        track.send_anonymous_events(batch_of([event(number) for number in range(1000)]))
    assert len(server.asked) == 200


@pytest.mark.parametrize("action", ["add_customers", "remove_customers"])
@pytest.mark.parametrize("id_type", ["id", "email", "cio_id"])
def test_members_of_a_segment(action: Any, id_type: Any, server: Server, track: TrackClient) -> None:
    assert track.change_segment(7, action, id_type, ["a", "b"]) == []
    (asked,) = server.asked
    assert asked.target == f"/api/v1/segments/7/{action}?id_type={id_type}"
    assert orjson.loads(asked.body) == {"ids": ["a", "b"]}
    assert track.usage.snapshot().by_path == {f"/api/v1/segments/{{segment_id}}/{action}": 1}


def test_a_thousand_members_are_one_call_and_one_more_is_too_many(server: Server, track: TrackClient) -> None:
    ids = [f"u_{number}" for number in range(limits.SEGMENT_IDS + 1)]
    with pytest.raises(ValueError, match="1001 people in one call"):
        track.change_segment(7, "add_customers", "id", ids)
    assert server.asked == []
    assert track.change_segment(7, "add_customers", "id", ids[:-1]) == []
    assert len(server.asked) == 1


def test_nobody_is_no_request(server: Server, track: TrackClient) -> None:
    assert track.change_segment(7, "add_customers", "id", []) == []
    assert server.asked == []


def members(bad: set[str], refuse: Callable[[list[str]], Say], accepted: set[str]) -> Callable[[Asked], Say]:
    def decide(asked: Asked) -> Say:
        ids = orjson.loads(asked.body)["ids"]
        if bad.intersection(ids):
            return refuse(ids)
        accepted.update(ids)
        return Say()

    return decide


SHAPES: dict[str, Say] = {
    "400": Say(400, {"meta": {"error": "no"}}),
    "422": Say(422, {"meta": {"errors": ["no", "never"]}}),
    "200 with errors": Say(200, {"errors": [{"message": "no"}]}),
    "207": Say(207, {"errors": [error(0, reason=None, field=None, message="no")]}),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_person_on_whose_account_a_call_is_refused_is_found(shape: str, server: Server, track: TrackClient) -> None:
    accepted: set[str] = set()
    ids = [f"u_{number}" for number in range(1000)]
    server.decide = members({"u_321", "u_999"}, lambda _: SHAPES[shape], accepted)
    refused = track.change_segment(7, "add_customers", "id", ids)
    assert refused == [OperationRefusal(321, "refused", "", "no"), OperationRefusal(999, "refused", "", "no")]
    assert accepted == set(ids) - {"u_321", "u_999"}
    assert len(server.asked) <= 2 * (1 + 2 * ceil(log2(1000)))


def test_a_segment_that_takes_nobody_is_refused_to_everybody(server: Server, track: TrackClient) -> None:
    server.say(Say(400, {"meta": {"error": "segment does not exist"}}))
    refused = track.change_segment(7, "add_customers", "email", [f"u{number}@example.com" for number in range(1000)])
    assert refused == [OperationRefusal(place, "refused", "", "segment does not exist") for place in range(1000)]
    assert len(server.asked) < 40


def test_what_was_refused_before_it_was_given_up_is_told(server: Server, track: TrackClient) -> None:
    server.say(WRONG)
    with pytest.raises(EverythingRefused) as caught:
        track.send_anonymous_events(batch_of([event(number) for number in range(1000)]))
    assert [one.index for one in caught.value.refused] == list(range(199))
    assert {one.message for one in caught.value.refused} == {"event name must not be blank"}
