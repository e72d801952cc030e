"""Answers that are not about the content: a wrong key, a wrong place, a bad line. Each ends in what to do about it."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cio_assets.customerio import (
    AnswerInvalid,
    ClientClosed,
    CredentialsRefused,
    CustomerioError,
    NotFound,
    RateLimiter,
    RequestRefused,
    ServiceUnavailable,
)
from cio_assets.customerio.track_client import TrackClient

from .http_server import Say, Server
from .track_server import BATCH, KEY, SITE_ID, people

VARIABLES = ("CUSTOMERIO_SITE_ID", "CUSTOMERIO_TRACK_API_KEY")


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(("region", "other"), [("us", "eu"), ("eu", "us")])
def test_credentials(
    status: int, region: str, other: str, server: Server, make_track: Callable[..., TrackClient], slept: list[float]
) -> None:
    server.say(Say(status, {"meta": {"error": "not with this key"}}))
    with pytest.raises(CredentialsRefused) as caught:
        make_track(region=region).send_batch(people(10))
    text = str(caught.value)
    assert text.startswith(f"POST {BATCH} was refused with {status}: ")
    for word in (*VARIABLES, f"region {region}", "127.0.0.1", "Tracking API keys", "IP allowlist", "not with this key"):
        assert word in text
    assert f" {other}" in text
    assert "''" not in text
    assert (caught.value.status, caught.value.path, caught.value.attempts) == (status, BATCH, 1)
    assert len(server.asked) == 1
    assert slept == []


@pytest.mark.parametrize(("status", "kind"), [(404, NotFound), (405, RequestRefused)])
def test_a_path_that_is_not_there(
    status: int, kind: type[CustomerioError], server: Server, track: TrackClient, slept: list[float]
) -> None:
    server.say(Say(status, b"<html>nothing here</html>"))
    calls: dict[str, Callable[[], object]] = {
        BATCH: lambda: track.send_batch(people(10)),
        "/api/v1/events": lambda: track.send_anonymous_events(people(10)),
        "/api/v1/segments/12/add_customers": lambda: track.change_segment(12, "add_customers", "id", ["a", "b"]),
    }
    for path, call in calls.items():
        with pytest.raises(kind, match=f"^POST {path}.*{status}.*CUSTOMERIO_TRACK_URL"):
            call()
    assert server.targets == [BATCH, "/api/v1/events", "/api/v1/segments/12/add_customers?id_type=id"]
    assert slept == []


@pytest.mark.parametrize("status", [402, 406, 409, 410, 415, 451])
def test_other_refusals_are_final(status: int, server: Server, track: TrackClient, slept: list[float]) -> None:
    server.say(Say(status, {"errors": [{"message": "the plan has ended"}]}))
    with pytest.raises(RequestRefused, match=f"^POST {BATCH} was refused with {status}. The service says: the plan"):
        track.send_batch(people(10))
    assert len(server.asked) == 1
    assert slept == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status: int, server: Server, track: TrackClient, slept: list[float]) -> None:
    server.say(Say(status, headers={"Location": f"{server.url}/login"}))
    with pytest.raises(AnswerInvalid, match=f"^POST {BATCH} was answered with {status}, a redirect.*base URL right"):
        track.send_batch(people(10))
    assert len(server.asked) == 1
    assert slept == []


def test_a_redirect_to_the_other_region_names_it(server: Server, track: TrackClient) -> None:
    server.say(Say(307, headers={"Location": f"https://track-eu.customer.io{BATCH}"}))
    with pytest.raises(AnswerInvalid, match=r"lives in region eu, so set CUSTOMERIO_REGION=eu\.$"):
        track.send_batch(people(10))


@pytest.mark.parametrize("target", ["", "https://track-eu.customer.io.example.com/", "//", "http://[::1"])
def test_a_redirect_to_anywhere_else_does_not(target: str, server: Server, track: TrackClient) -> None:
    server.say(Say(307, headers={"Location": target}))
    with pytest.raises(AnswerInvalid, match="does a proxy ask for a login"):
        track.send_batch(people(10))


PASSING = {
    "408": Say(408),
    "429": Say(429),
    "500": Say(500, {"errors": [{"batch_index": 0}]}),
    "502": Say(502, b"<html>bad gateway</html>"),
    "reset": Say(fault="reset"),
    "truncated": Say(body={"errors": []}, fault="truncated"),
    "html": Say(body=b"<html>maintenance</html>", headers={"Content-Type": "text/html"}),
    "html 207": Say(207, b"<html>maintenance</html>"),
    "half json": Say(207, b'{"errors": [{"batch_ind'),
    "timeout": Say(delay=1.0),
}


@pytest.mark.parametrize("fault", PASSING)
def test_faults_are_asked_again(
    fault: str, server: Server, make_track: Callable[..., TrackClient], slept: list[float]
) -> None:
    track = make_track(timeout=(2, 0.4))
    for call in (
        lambda: track.send_batch(people(3)),
        lambda: track.send_anonymous_events(people(1)),
        lambda: track.change_segment(1, "remove_customers", "id", ["a", "b"]),
    ):
        server.asked.clear()
        slept.clear()
        server.say(PASSING[fault], Say())
        assert call() == []
        assert len({(asked.target, asked.body) for asked in server.asked}) == 1
        assert len(server.asked) == 2
        assert len(slept) == 1
        assert slept[0] <= 0.5


@pytest.mark.parametrize("fault", ["408", "429", "500", "reset", "truncated", "html"])
def test_retries_are_bounded(fault: str, server: Server, track: TrackClient, slept: list[float]) -> None:
    server.say(PASSING[fault])
    with pytest.raises(ServiceUnavailable, match=f"^POST {BATCH} .* 8 attempts") as caught:
        track.send_batch(people(3))
    assert len(server.asked) == caught.value.attempts == 8
    assert len(slept) == 7


def test_a_429_without_end_says_which_setting_helps(server: Server, track: TrackClient) -> None:
    server.say(Say(429))
    with pytest.raises(ServiceUnavailable, match=r"429 .*CIO_TRACK_RPS") as caught:
        track.send_batch(people(3))
    assert "tomorrow" not in str(caught.value)
    assert caught.value.status == 429


def test_a_429_waits_as_long_as_it_is_told(server: Server, track: TrackClient, slept: list[float]) -> None:
    server.say(Say(429, headers={"Retry-After": "7"}), Say(429, headers={"Retry-After": "2"}), Say())
    assert track.send_batch(people(3)) == []
    assert slept == [7.0, 2.0]
    assert track.usage.snapshot().retries == 2


@pytest.mark.parametrize(("headers", "pause"), [({}, 1.0), ({"Retry-After": "40"}, 40.0)])
def test_a_429_pauses_everybody_with_the_same_key(
    headers: dict[str, str], pause: float, server: Server, make_track: Callable[..., TrackClient], tmp_path: Path
) -> None:
    clock = {"now": 5000.0}

    def sleep(seconds: float) -> None:
        clock["now"] += seconds

    def client(sleep_before_retry: Callable[[float], object]) -> TrackClient:
        limiter = RateLimiter(tmp_path, "shared", KEY, 0, clock=lambda: clock["now"], sleep=sleep)
        return make_track(limiter=limiter, sleep=sleep_before_retry, max_attempts=2)

    server.say(Say(429, headers=headers), Say())
    one, other = client(lambda _: None), client(sleep)
    one.send_batch(people(1))
    assert clock["now"] - 5000.0 == pytest.approx(pause), "the retry waited for the limiter, not only for its own sake"
    server.say(Say(429, headers=headers))
    with pytest.raises(ServiceUnavailable):
        one.send_batch(people(1))
    before = clock["now"]
    server.say(Say())
    other.send_batch(people(1))
    assert clock["now"] - before == pytest.approx(pause)
    assert other.usage.snapshot().waited_seconds == pytest.approx(pause)


def test_nobody_listens(make_track: Callable[..., TrackClient]) -> None:
    with pytest.raises(ServiceUnavailable, match=r"the connection failed \(.*[Rr]efused\)"):
        make_track(base_url="http://127.0.0.1:9", max_attempts=2).send_batch(people(1))


def test_a_failure_while_narrowing_is_no_refusal(server: Server, make_track: Callable[..., TrackClient]) -> None:
    server.say(Say(400), Say(), Say(503))
    with pytest.raises(ServiceUnavailable):
        make_track(max_attempts=2).send_batch(people(4))


def test_closing_wakes_what_waits(server: Server, tmp_path: Path) -> None:
    server.say(Say(503, headers={"Retry-After": "60"}))
    limiter = RateLimiter(tmp_path, "track", KEY, 0)
    client = TrackClient(base_url=server.url, site_id=SITE_ID, key=KEY, limiter=limiter)
    ended: list[BaseException] = []

    def send() -> None:
        try:
            client.send_batch(people(1))
        except ClientClosed as error:
            ended.append(error)

    waiting = threading.Thread(target=send)
    waiting.start()
    deadline = time.monotonic() + 10
    while not client.usage.snapshot().retries and time.monotonic() < deadline:
        time.sleep(0.01)
    client.close()
    waiting.join(10)
    assert len(ended) == 1
    with pytest.raises(ClientClosed):
        client.send_batch(people(1))
