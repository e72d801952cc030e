"""What the Track API says about operations, in every shape that it may take: who was refused, and why."""

from typing import Any

import pytest

from cio_assets.customerio.track_answers import LONGEST_MESSAGE, UNEXPLAINED
from cio_assets.customerio.track_client import OperationRefusal, TrackClient

from .http_server import Say, Server
from .track_server import Service, batch_of, error, numbers_of, people

REFUSED = OperationRefusal(2, "invalid", "identifiers", "bad identifiers")


@pytest.mark.parametrize(
    "answer",
    [
        Say(200, {}),
        Say(200, b""),
        Say(200, b" \r\n"),
        Say(204, b""),
        Say(202, {"ok": True}),
        Say(200, {"errors": []}),
        Say(200, {"errors": None}),
        Say(200, b"[]"),
        Say(200, b"null"),
    ],
)
@pytest.mark.parametrize("count", [1, 5])
def test_all_accepted(answer: Say, count: int, server: Server, track: TrackClient) -> None:
    server.say(answer)
    assert track.send_batch(people(count)) == []
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [200, 202, 207])
@pytest.mark.parametrize("place", [2, "2", "02"])
def test_named_by_index(place: Any, status: int, server: Server, track: TrackClient) -> None:
    server.say(Say(status, {"errors": [error(place)]}))
    assert track.send_batch(people(5)) == [REFUSED]
    assert len(server.asked) == 1, "the answer says everything"


def test_the_first_of_several_errors_of_one_operation_counts(server: Server, track: TrackClient) -> None:
    server.say(Say(207, {"errors": [error(2), error(0, reason="first"), error("2", reason="second"), error(0)]}))
    first = OperationRefusal(0, "first", "identifiers", "bad identifiers")
    assert track.send_batch(people(5)) == [first, REFUSED]
    assert len(server.asked) == 1


def test_an_object_in_place_of_the_list(server: Server, track: TrackClient) -> None:
    server.say(Say(207, {"errors": error(2)}))
    assert track.send_batch(people(5)) == [REFUSED]


def test_everything_refused(server: Server, track: TrackClient) -> None:
    server.say(Say(207, {"errors": [error(place) for place in range(300)]}))
    assert [one.index for one in track.send_batch(people(300))] == list(range(300))
    assert len(server.asked) == 1


USELESS = [-1, 5, 10**12, "5", "-2", "", "two", "²", "9" * 5000, True, False, 2.0, 2.5, None, [2], {"2": 2}]


@pytest.mark.parametrize("place", USELESS, ids=repr)
def test_an_index_that_names_nobody_is_narrowed_down(place: Any, server: Server, track: TrackClient) -> None:
    service = Service({2}, lambda count, _: Say(207, {"errors": [error(place)] if count > 1 else [error(0)]}))
    server.decide = service
    assert track.send_batch(people(5)) == [REFUSED]
    assert set(service.accepted) == {0, 1, 3, 4}


NOT_SAID = OperationRefusal(2, "refused", "", "")
ENTRIES: list[tuple[Any, OperationRefusal]] = [
    ({"batch_index": 2}, NOT_SAID),
    ({"batch_index": 2, "reason": "invalid"}, OperationRefusal(2, "invalid", "", "")),
    ({"batch_index": 2, "field": "name"}, OperationRefusal(2, "refused", "name", "")),
    ({"batch_index": 2, "message": "no"}, OperationRefusal(2, "refused", "", "no")),
    ({"batch_index": 2, "detail": "no"}, OperationRefusal(2, "refused", "", "no")),
    ({"batch_index": 2, "message": {"a": 1}, "detail": "no"}, OperationRefusal(2, "refused", "", "no")),
    ({"batch_index": 2, "reason": None, "field": None, "message": None}, NOT_SAID),
    ({"batch_index": 2, "reason": 7, "field": ["a"], "message": 1.5}, NOT_SAID),
    ({"batch_index": 2, "reason": " invalid ", "field": "a[0].b"}, OperationRefusal(2, "invalid", "a[0].b", "")),
    # What could be somebody's data is no reason and no field, for these are counted and logged.
    (
        {"batch_index": 2, "reason": "ann@example.com", "field": "u_4711000"},
        OperationRefusal(2, "refused", "", "ann@example.com: u_4711000"),
    ),
    (
        {"batch_index": 2, "reason": "r" * 101, "field": "+49 170 1234567", "message": "no"},
        OperationRefusal(2, "refused", "", f"{'r' * 101}: +49 170 1234567: no"),
    ),
    ({"batch_index": 2, "reason": "Ann is taken"}, OperationRefusal(2, "refused", "", "Ann is taken")),
    ("just words", OperationRefusal(2, "refused", "", "just words")),
    (None, NOT_SAID),
    (7, NOT_SAID),
    (["a"], NOT_SAID),
    ({"message": "half \ud83d"}, OperationRefusal(2, "refused", "", "half \ufffd")),
]


@pytest.mark.parametrize(("entry", "expected"), ENTRIES)
@pytest.mark.parametrize("status", [207, 400])
def test_entries_that_lack_something(
    entry: Any, expected: OperationRefusal, status: int, server: Server, track: TrackClient
) -> None:
    server.decide = service = Service({2}, lambda count, bad: Say(status, {"errors": [_placed(entry, count, bad)]}))
    assert track.send_batch(people(5)) == [expected]
    assert set(service.accepted) == {0, 1, 3, 4}


def _placed(entry: Any, count: int, bad: list[int]) -> Any:
    """The entry with the index that it has in this request; in a request of its own it is as it is."""
    known = isinstance(entry, dict) and "batch_index" in entry and count > 1
    return {**entry, "batch_index": bad[0]} if known else entry


@pytest.mark.parametrize("body", [{}, {"errors": None}, {"errors": []}, {"error": "x"}, [1], None, b"", 7, "text"])
def test_a_207_that_says_nothing_is_narrowed_down(body: Any, server: Server, track: TrackClient) -> None:
    server.decide = service = Service({2}, lambda _count, _bad: Say(207, body))
    assert track.send_batch(people(5)) == [OperationRefusal(2, UNEXPLAINED, "", "")]
    assert set(service.accepted) == {0, 1, 3, 4}


def test_a_207_that_names_some_is_narrowed_down_without_these(server: Server, track: TrackClient) -> None:
    server.decide = service = Service(
        {1, 6}, lambda count, bad: Say(207, {"errors": [error(bad[0]), *([{}] if len(bad) > 1 else [])]})
    )
    assert [one.index for one in track.send_batch(people(8))] == [1, 6]
    assert set(service.accepted) == {0, 2, 3, 4, 5, 7}
    assert all(1 not in numbers_of(asked) for asked in server.asked[1:])


WHOLE: dict[str, tuple[Any, OperationRefusal]] = {
    "v2": (
        {"errors": [{"reason": "invalid", "field": "name", "message": "no"}]},
        OperationRefusal(2, "invalid", "name", "no"),
    ),
    "meta.error": ({"meta": {"error": "no"}}, OperationRefusal(2, "refused", "", "no")),
    "meta.errors": ({"meta": {"errors": ["no", "never"]}}, OperationRefusal(2, "refused", "", "no")),
    "meta text": ({"meta": "no"}, NOT_SAID),
    "html": (b"<html><h1>Bad Request</h1></html>", NOT_SAID),
    "empty": (b"", NOT_SAID),
    "nested": (b"[" * 100_000, NOT_SAID),
    "latin": (b'{"errors": ["\xff"]}', NOT_SAID),
}


@pytest.mark.parametrize("shape", WHOLE)
@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_whole_batch_refused_on_account_of_one(status: int, shape: str, server: Server, track: TrackClient) -> None:
    body, expected = WHOLE[shape]
    server.decide = service = Service({2}, lambda _count, _bad: Say(status, body))
    assert track.send_batch(people(5)) == [expected]
    assert set(service.accepted) == {0, 1, 3, 4}


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_whole_batch_refused_with_the_culprits_named(status: int, server: Server, track: TrackClient) -> None:
    server.decide = service = Service({2, 4}, lambda _count, bad: Say(status, {"errors": [error(one) for one in bad]}))
    assert [one.index for one in track.send_batch(people(100))] == [2, 4]
    assert sorted(service.accepted) == sorted(set(range(100)) - {2, 4})
    assert len(server.asked) == 3


def test_a_body_too_large_for_a_proxy_is_sent_in_parts(server: Server, track: TrackClient) -> None:
    server.decide = lambda asked: Say(413, b"<html>too large</html>") if len(asked.body) > 2000 else Say()
    assert track.send_batch(people(100)) == []
    accepted = [number for asked in server.asked if len(asked.body) <= 2000 for number in numbers_of(asked)]
    assert sorted(accepted) == list(range(100))


def test_the_services_words_are_kept_and_cut(server: Server, track: TrackClient) -> None:
    words = "identifiers of ann@example.com are ünknown " * 50
    server.say(Say(207, {"errors": [error(0, message=words), error(1, message="kept: ann@example.com")]}))
    long, short = track.send_batch(people(2))
    assert long.message == words[:LONGEST_MESSAGE]
    assert len(long.message) == LONGEST_MESSAGE == 500
    assert short.message == "kept: ann@example.com"


def test_only_one_operation_and_an_index_that_makes_no_sense(server: Server, track: TrackClient) -> None:
    server.say(Say(207, {"errors": [error(17)]}))
    assert track.send_batch(batch_of([{"a": 1}])) == [OperationRefusal(0, "invalid", "identifiers", "bad identifiers")]
    assert len(server.asked) == 1
