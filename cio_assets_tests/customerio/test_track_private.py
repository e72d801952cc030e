"""No identifier, no attribute's value and no key in what the Track client logs or raises."""

import logging
import traceback
from base64 import b64encode
from collections.abc import Callable

import pytest

from cio_assets.customerio import CustomerioError
from cio_assets.customerio.track_client import TrackClient

from .http_server import Say, Server
from .track_server import batch_of, error

SITE_ID, KEY = "onlyletterssite", "onlyletterskey"
HEADER = b64encode(f"{SITE_ID}:{KEY}".encode()).decode()
EMAIL = "ann.person+1@example.com"
PERSON = {
    "type": "person",
    "identifiers": {"email": EMAIL},
    "attributes": {"surname": "Quux", "age": 4711, "address": {"street": ["Elm Row"]}},
}
MEMBERS = ["Quux"] * 1000
SECRETS = [SITE_ID, KEY, HEADER, "ann.person", "example.com", "%40", "Quux", "quux", "4711", "Elm Row"]
WORDS = f"no {EMAIL} QUUX, quux (4711) of Elm Row for {SITE_ID}:{KEY}, {HEADER}"
SPOKEN = [
    {"errors": [{"message": WORDS, "reason": WORDS, "field": WORDS}]},
    {"errors": [WORDS]},
    {"meta": {"error": WORDS}},
    {"meta": {"errors": [WORDS]}},
]


@pytest.mark.parametrize("spoken", SPOKEN)
@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 405, 409, 413, 422, 429, 500])
def test_in_errors_and_logs(
    status: int,
    spoken: object,
    server: Server,
    make_track: Callable[..., TrackClient],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    location = {"Location": f"https://example.com/{EMAIL}"} if status == 302 else {}
    server.say(Say(status, spoken, location))
    track = make_track(site_id=SITE_ID, key=KEY, max_attempts=2)
    people = batch_of([PERSON] * 250)
    for call in (track.send_batch, track.send_anonymous_events):
        with pytest.raises(CustomerioError) as caught:
            call(people)
        assert_silent("".join(traceback.format_exception(caught.value)) + repr(caught.value.__dict__))
    assert_silent(caplog.text)


@pytest.mark.parametrize("status", [401, 429])
def test_in_errors_and_logs_of_segments(
    status: int, server: Server, make_track: Callable[..., TrackClient], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.say(Say(status, {"meta": {"error": f"no Quux ({EMAIL}) for {SITE_ID}:{KEY}, {HEADER}"}}))
    with pytest.raises(CustomerioError) as caught:
        make_track(site_id=SITE_ID, key=KEY, max_attempts=2).change_segment(7, "add_customers", "id", MEMBERS)
    assert_silent("".join(traceback.format_exception(caught.value)) + repr(caught.value.__dict__) + caplog.text)
    assert "/api/v1/segments/7/add_customers" in str(caught.value)


@pytest.mark.parametrize("answer", [Say(fault="reset"), Say(fault="truncated"), Say(200, WORDS.encode())])
def test_when_the_line_fails(
    answer: Say, server: Server, make_track: Callable[..., TrackClient], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.say(answer)
    with pytest.raises(CustomerioError) as caught:
        make_track(site_id=SITE_ID, key=KEY, max_attempts=2).send_batch(batch_of([PERSON]))
    said = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert "attempt 1 of 2" in said
    assert_silent(said)


def test_the_words_about_an_operation_are_for_the_warehouse_only(
    server: Server, track: TrackClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.say(Say(207, {"errors": [error(0, message=WORDS)]}))
    (refused,) = track.send_batch(batch_of([PERSON, PERSON]))
    assert refused.message == WORDS
    assert (refused.reason, refused.field) == ("invalid", "identifiers")
    assert_silent(caplog.text)


def test_a_wrong_size_is_told_without_content(track: TrackClient) -> None:
    with pytest.raises(ValueError, match="an operation of") as caught:
        track.send_batch(batch_of([{**PERSON, "more": "x" * 40_000}]))
    assert_silent(str(caught.value))
    assert "xxx" not in str(caught.value)


def test_the_client_does_not_show_its_keys(track: TrackClient) -> None:
    assert_silent(repr(track))


def assert_silent(said: str) -> None:
    assert not [secret for secret in SECRETS if secret in said]
