"""How many requests it costs to find who is refused, and when the Track client gives up on a service."""

from collections.abc import Callable
from math import ceil, log2

import pytest

from cio_assets.customerio import RequestRefused
from cio_assets.customerio.track_client import TrackClient

from .http_server import Say, Server
from .track_server import Service, batch_of, error, numbers_of, people, person

MUTE = {"400": Say(400, {"errors": [{"reason": "invalid"}]}), "207": Say(207, {}), "413": Say(413, b"<html>")}


@pytest.mark.parametrize("mute", MUTE)
@pytest.mark.parametrize("count", [2, 3, 100, 1000, 1024])
def test_one_culprit_costs_two_requests_for_each_halving(
    mute: str, count: int, server: Server, track: TrackClient
) -> None:
    for culprit in {0, 1, count // 3, count - 1}:
        server.asked.clear()
        server.decide = Service({culprit}, lambda _count, _bad: MUTE[mute])
        assert [one.index for one in track.send_batch(people(count))] == [culprit]
        assert len(server.asked) <= 1 + 2 * ceil(log2(count))


@pytest.mark.parametrize("mute", MUTE)
def test_several_culprits_never_cost_more_than_two_requests_an_operation(
    mute: str, server: Server, track: TrackClient
) -> None:
    track.send_batch(people(1))
    server.asked.clear()
    bad = set(range(0, 300, 2)) | {299}
    server.decide = service = Service(bad, lambda _count, _bad: MUTE[mute])
    assert {one.index for one in track.send_batch(people(300))} == bad
    assert len(server.asked) <= 2 * 300 - 1
    assert set(service.accepted) == set(range(300)) - bad


def test_a_service_that_names_one_culprit_at_a_time(server: Server, track: TrackClient) -> None:
    """As many refusals as there are culprits: neither a stack of that depth nor the whole batch each time."""
    count = 2500
    track.send_batch(people(1))
    server.asked.clear()
    server.decide = Service(set(range(count)), lambda _count, bad: Say(400, {"errors": [error(bad[0])]}))
    batch = people(count)
    assert [one.index for one in track.send_batch(batch)] == list(range(count))
    assert len(server.asked) == count
    assert sum(len(asked.body) for asked in server.asked) < len(batch.content) * 2 * log2(count)


def test_the_order_of_the_operations_is_kept(server: Server, track: TrackClient) -> None:
    server.decide = Service({3}, lambda _count, _bad: Say(400))
    track.send_batch(people(8))
    for asked in server.asked:
        assert numbers_of(asked) == sorted(numbers_of(asked))
    assert [numbers_of(asked)[0] for asked in server.asked] == [0, 0, 4, 0, 2, 2, 3]


@pytest.mark.parametrize("mute", MUTE)
def test_a_service_that_refuses_everything_is_given_up(mute: str, server: Server, track: TrackClient) -> None:
    server.say(MUTE[mute])
    with pytest.raises(RequestRefused, match=r"refused 200 operations one by one and accepted none") as caught:
        track.send_batch(people(1000))
    assert "CUSTOMERIO_TRACK_URL" in str(caught.value)
    assert caught.value.status == MUTE[mute].status
    assert 200 < len(server.asked) <= 2 * 200 + 32 + log2(1000)


def test_the_refusals_of_several_batches_count_together(server: Server, track: TrackClient) -> None:
    server.say(Say(400, {"meta": {"error": "unknown workspace of ann@example.com, see u_7"}}))
    for number in range(199):
        assert len(track.send_batch(people(1, number))) == 1
    with pytest.raises(RequestRefused, match=r"The service says: unknown workspace of <email>, see <value>$"):
        track.send_batch(batch_of([person(7)]))


def test_naming_one_at_a_time_and_accepting_none_is_given_up_too(server: Server, track: TrackClient) -> None:
    server.decide = lambda _: Say(400, {"errors": [error(0)]})
    with pytest.raises(RequestRefused, match="accepted none"):
        track.send_batch(people(1000))
    assert len(server.asked) == 200


@pytest.mark.parametrize("accepting", [Say(200), Say(207, {"errors": [error(0)]})])
def test_once_something_was_accepted_each_refusal_is_the_operations_own(
    accepting: Say, server: Server, track: TrackClient
) -> None:
    server.say(accepting, Say(400))
    track.send_batch(people(2))
    assert len(track.send_batch(people(300))) == 300


def test_refusals_that_a_207_explains_are_no_reason_to_give_up(server: Server, track: TrackClient) -> None:
    server.decide = lambda asked: Say(207, {"errors": [error(place) for place in range(len(numbers_of(asked)))]})
    assert len(track.send_batch(people(1000))) == 1000
    for number in range(250):
        assert len(track.send_batch(people(1, number))) == 1


def test_a_207_that_refuses_everybody_accepted_nobody(server: Server, track: TrackClient) -> None:
    server.say(Say(207, {"errors": [error(0), error(1)]}), Say(400))
    assert len(track.send_batch(people(2))) == 2
    with pytest.raises(RequestRefused, match="accepted none"):
        track.send_batch(people(300))


def test_each_client_counts_for_itself(server: Server, make_track: Callable[..., TrackClient]) -> None:
    server.say(Say(400))
    for _ in range(3):
        assert len(make_track().send_batch(people(100))) == 100
