"""What leaves the Track client: the documented sizes to the byte, the operations as they were given, the headers."""

import base64
from collections.abc import Callable

import numpy as np
import orjson
import pytest

from cio_assets.customerio import CredentialsRefused, limits
from cio_assets.customerio.track_client import Batch, TrackClient

from .http_server import Server
from .track_server import BATCH, KEY, SITE_ID, batch_of, numbers_of, people, person

AROUND = len('{"batch":[]}')


def operation(size: int) -> bytes:
    """One operation whose JSON has exactly so many bytes."""
    empty = orjson.dumps({"type": "person", "note": ""})
    return empty[:-2] + b"x" * (size - len(empty)) + empty[-2:]


def filling(size: int) -> Batch:
    """A batch whose request body has exactly so many bytes."""
    whole, rest = divmod(size - AROUND, 20_000)
    parts = [operation(19_999)] * (whole - 1)
    # Each part has a comma but the last: 20 000 a part, and what is left over in two of half the length.
    left = 20_000 + rest
    parts += [operation(left // 2), operation(left - left // 2 - 1)]
    return batch_of(parts)


def test_a_body_at_the_limit_is_sent_and_one_byte_more_is_not(server: Server, track: TrackClient) -> None:
    assert track.send_batch(filling(limits.BATCH)) == []
    assert len(server.asked[0].body) == limits.BATCH
    with pytest.raises(ValueError, match="a batch of 500001 bytes"):
        track.send_batch(filling(limits.BATCH + 1))
    assert len(server.asked) == 1


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_operation_at_the_limit_is_sent_and_one_byte_more_is_not(
    place: int, server: Server, track: TrackClient
) -> None:
    parts = [operation(100), operation(100), operation(100)]
    parts[place] = operation(limits.OPERATION)
    assert track.send_batch(batch_of(parts)) == []
    assert [len(orjson.dumps(one)) for one in orjson.loads(server.asked[0].body)["batch"]][place] == limits.OPERATION
    parts[place] = operation(limits.OPERATION + 1)
    with pytest.raises(ValueError, match="an operation of 32769"):
        track.send_batch(batch_of(parts))
    assert len(server.asked) == 1


def test_nothing_to_send_is_no_request(server: Server, track: TrackClient) -> None:
    assert track.send_batch(Batch(b"", [])) == []
    assert track.send_batch(Batch(b"", np.array([], np.int64))) == []
    assert track.send_anonymous_events(Batch(b"", [])) == []
    assert server.asked == []


@pytest.mark.parametrize("integers", [np.int32, np.uint32, np.int64, np.uint64])
def test_offsets_of_any_integers_and_content_of_a_longer_buffer(
    integers: type, server: Server, track: TrackClient
) -> None:
    batch = people(7)
    longer = Batch(memoryview(bytes(batch.content) + b"rubbish"), np.array(batch.ends, integers))
    assert track.send_batch(longer) == []
    assert numbers_of(server.asked[0]) == list(range(7))


def test_what_is_sent(server: Server, track: TrackClient) -> None:
    assert track.send_batch(people(2)) == []
    (asked,) = server.asked
    assert (asked.method, asked.target) == ("POST", BATCH)
    assert orjson.loads(asked.body) == {"batch": [person(0), person(1)]}
    assert asked.headers["Content-Type"] == "application/json"
    assert asked.headers["Authorization"] == "Basic " + base64.b64encode(f"{SITE_ID}:{KEY}".encode()).decode()
    spent = track.usage.snapshot()
    assert (spent.requests, spent.retries, spent.bytes_sent) == (1, 0, len(asked.body))


@pytest.mark.parametrize("around", [" {}", "{}\n", "\t{} \r\n"])
def test_white_space_around_site_id_and_key_is_dropped(
    around: str, server: Server, make_track: Callable[..., TrackClient]
) -> None:
    make_track(site_id=around.format(SITE_ID), key=around.format(KEY)).send_batch(people(1))
    make_track().send_batch(people(1))
    assert server.asked[0].headers["Authorization"] == server.asked[1].headers["Authorization"]


@pytest.mark.parametrize("wrong", ["", "  ", "two words", "new\nline", "schlüssel", "nul\x00"])
@pytest.mark.parametrize(("name", "variable"), [("site_id", "CUSTOMERIO_SITE_ID"), ("key", "CUSTOMERIO_TRACK_API_KEY")])
def test_what_cannot_be_a_key_is_refused_at_once(
    name: str, variable: str, wrong: str, server: Server, make_track: Callable[..., TrackClient]
) -> None:
    with pytest.raises(CredentialsRefused, match=f"^{variable} (is empty|holds white space)") as caught:
        make_track(**{name: wrong})
    assert not wrong.strip() or wrong not in str(caught.value)
    assert server.asked == []


def test_a_site_id_with_a_colon_would_move_into_the_key(make_track: Callable[..., TrackClient]) -> None:
    with pytest.raises(CredentialsRefused, match=r"^CUSTOMERIO_SITE_ID"):
        make_track(site_id="site:id")
    make_track(key="with:colon")
