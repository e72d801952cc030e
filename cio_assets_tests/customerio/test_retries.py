"""Faults of the line and of the service, over real HTTP: asked again, bounded, with the same request."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cio_assets.customerio import (
    AppClient,
    Call,
    ClientClosed,
    QuotaExhausted,
    RateLimiter,
    RequestRefused,
    ServiceUnavailable,
)

from .conftest import KEY
from .http_server import Say, Server

GOOD = Say(body={"ok": True})
FAULTS = {
    "500": Say(500, {"errors": []}),
    "503 page": Say(503, b"<html>busy</html>"),
    "408": Say(408),
    "429": Say(429),
    "reset": Say(fault="reset"),
    "truncated": Say(body={"rows": list(range(50))}, fault="truncated"),
    "html": Say(body=b"<html>maintenance</html>", headers={"Content-Type": "text/html"}),
    "empty": Say(body=b""),
    "half json": Say(body=b'{"rows": [1, 2'),
    "not gzip": Say(body=b"{}", headers={"Content-Encoding": "gzip"}),
    "timeout": Say(delay=1.2),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    "call", [Call("GET", "/v1/messages"), Call("POST", "/v1/customers", json={"filter": {"a": 1}})]
)
def test_faults_are_asked_again(
    fault: str, call: Call, server: Server, make_client: Callable[..., AppClient], slept: list[float]
) -> None:
    server.say(FAULTS[fault], GOOD)
    client = make_client(timeout=(2, 0.4))
    assert client.send(call).body == {"ok": True}
    assert len(server.asked) == 2
    assert len({(asked.method, asked.target, asked.body) for asked in server.asked}) == 1
    assert len(slept) == 1
    assert slept[0] <= 0.5
    assert client.usage.snapshot().retries == 1


def test_retries_are_bounded_and_the_error_says_what_happened(
    server: Server, make_client: Callable[..., AppClient], slept: list[float]
) -> None:
    server.say(FAULTS["500"])
    with pytest.raises(
        ServiceUnavailable,
        match=r"^GET /v1/messages failed in 8 attempts; the last one: HTTP 500. Run it again later\.$",
    ) as e:
        make_client().send(Call("GET", "/v1/messages"))
    assert len(server.asked) == e.value.attempts == 8
    assert len(slept) == 7
    assert all(wait <= 0.5 * 2**step for step, wait in enumerate(slept))


def test_a_server_that_is_not_there(make_client: Callable[..., AppClient]) -> None:
    client = make_client(base_url="http://127.0.0.1:9", max_attempts=2)
    with pytest.raises(ServiceUnavailable, match=r"the connection failed \(.*[Rr]efused\)"):
        client.send(Call("GET", "/v1/messages"))


def test_429_waits_as_long_as_it_is_told(server: Server, client: AppClient, slept: list[float]) -> None:
    server.say(Say(429, headers={"Retry-After": "7"}), Say(429, headers={"Retry-After": "2"}), GOOD)
    client.send(Call("GET", "/v1/messages"))
    assert slept == [7.0, 2.0]
    assert client.usage.snapshot().backoff_seconds == 9.0


def test_429_without_end_and_without_retry_after_is_a_quota(server: Server, client: AppClient) -> None:
    server.say(Say(429))
    with pytest.raises(QuotaExhausted, match="quota of the day"):
        client.send(Call("GET", "/v1/messages/{message_id}/archived_message", {"message_id": "m1"}))
    assert len(server.asked) == 8
    server.say(Say(429, headers={"Retry-After": "1"}))
    with pytest.raises(ServiceUnavailable, match="HTTP 429"):
        client.send(Call("GET", "/v1/messages"))


def test_refusals_are_not_asked_again(server: Server, client: AppClient, slept: list[float]) -> None:
    for status in (400, 409, 413, 422):
        server.say(Say(status))
        with pytest.raises(RequestRefused):
            client.send(Call("GET", "/v1/messages"))
    assert len(server.asked) == 4
    assert not slept


def test_a_429_makes_other_clients_of_the_key_wait(server: Server, tmp_path: Path) -> None:
    def client() -> AppClient:
        return AppClient(base_url=server.url, key=KEY, limiter=RateLimiter(tmp_path, "h", KEY, 0))

    server.say(Say(429, headers={"Retry-After": "1"}), GOOD)
    with client() as one, client() as other:
        told = threading.Thread(target=one.send, args=[Call("GET", "/v1/messages")])
        told.start()
        time.sleep(0.3)
        other.send(Call("GET", "/v1/segments"))
        told.join()
        assert other.usage.snapshot().waited_seconds > 0.4
    assert min(asked.at for asked in server.asked[1:]) - server.asked[0].at >= 1.0


def test_closing_wakes_what_waits(server: Server, tmp_path: Path) -> None:
    server.say(Say(503, headers={"Retry-After": "60"}))
    client = AppClient(base_url=server.url, key=KEY, limiter=RateLimiter(tmp_path, "h", KEY, 0))
    ended: list[BaseException] = []

    def send() -> None:
        try:
            client.send(Call("GET", "/v1/messages"))
        except ClientClosed as error:
            ended.append(error)

    waiting = threading.Thread(target=send)
    waiting.start()
    time.sleep(0.3)
    client.close()
    waiting.join(5)
    assert len(ended) == 1


def test_a_connection_that_died_in_the_pool_costs_at_most_a_retry(server: Server, client: AppClient) -> None:
    server.say(GOOD, GOOD)
    client.send(Call("GET", "/v1/messages"))
    server.say(Say(body={"ok": True}, headers={"Connection": "close"}), GOOD)
    client.send(Call("GET", "/v1/messages"))
    client.send(Call("GET", "/v1/messages"))
    assert len(server.asked) == 3
