"""The look-up of a workspace's region: what it says of good keys, bad keys, bad lines and of another region's host."""

import base64
import logging
import traceback
from pathlib import Path

import pytest

from cio_assets.check import check
from cio_assets.customerio import AnswerInvalid, CredentialsRefused, CustomerioError, ServiceUnavailable
from cio_assets.customerio.region import PATH, Region, look_up_region
from cio_assets.settings import load_settings

from .http_server import Say, Server

SITE_ID, KEY = "onlyletterssite", "onlyletterskey"
EU = {"url": "https://track-eu.customer.io", "region": "eu", "environment_id": 12345}


def look_up(server: Server, slept: list[float], timeout: float = 5) -> Region:
    return look_up_region(server.url, SITE_ID, KEY, timeout, slept.append)


def test_the_region(server: Server, slept: list[float]) -> None:
    server.say(Say(body=EU))
    assert look_up(server, slept) == Region("eu", 12345)
    (asked,) = server.asked
    assert (asked.method, asked.target, asked.body) == ("GET", "/api/v1/accounts/region", b"")
    assert asked.headers["Authorization"] == "Basic " + base64.b64encode(f"{SITE_ID}:{KEY}".encode()).decode()
    assert slept == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"region": " US "}, Region("us", None)),
        ({"region": "eu", "environment_id": None}, Region("eu", None)),
        ({"region": "eu", "environment_id": "12"}, Region("eu", None)),
    ],
)
def test_what_may_be_missing(body: object, expected: Region, server: Server, slept: list[float]) -> None:
    server.say(Say(body=body))
    assert look_up(server, slept) == expected


@pytest.mark.parametrize("body", [{}, [], None, "eu", 7, {"region": None}, {"region": 1}, {"region": "mars"}])
def test_an_answer_without_a_region(body: object, server: Server, slept: list[float]) -> None:
    server.say(Say(body=body))
    with pytest.raises(AnswerInvalid, match=f"^GET {PATH} was answered 200 without a region"):
        look_up(server, slept)


def test_white_space_around_the_keys_and_a_slash_behind_the_host(server: Server) -> None:
    server.say(Say(body=EU))
    look_up_region(f"{server.url}/", f" {SITE_ID}\n", f"\t{KEY} ")
    look_up_region(server.url, SITE_ID, KEY)
    one, other = server.asked
    assert (one.target, one.headers["Authorization"]) == (other.target, other.headers["Authorization"])


def test_what_cannot_be_a_key_is_not_sent(server: Server) -> None:
    with pytest.raises(CredentialsRefused, match=r"^CUSTOMERIO_TRACK_API_KEY holds white space"):
        look_up_region(server.url, SITE_ID, "two words")
    assert server.asked == []


@pytest.mark.parametrize("status", [401, 403])
def test_refused_keys(status: int, server: Server, slept: list[float]) -> None:
    server.say(Say(status, {"meta": {"error": f"no account for {SITE_ID}"}}))
    with pytest.raises(CredentialsRefused) as caught:
        look_up(server, slept)
    text = str(caught.value)
    assert text.startswith(
        "CUSTOMERIO_SITE_ID and CUSTOMERIO_TRACK_API_KEY were refused: copy both from Customer.io > "
    )
    for word in (str(status), "127.0.0.1", "CUSTOMERIO_REGION", "IP allowlist", "no account for <value>"):
        assert word in text
    assert len(server.asked) == 1
    assert slept == []


@pytest.mark.parametrize("status", [400, 404, 405, 422])
def test_other_refusals(status: int, server: Server, slept: list[float]) -> None:
    server.say(Say(status, b"<html>"))
    with pytest.raises(AnswerInvalid, match=f"^GET {PATH}.*{status}"):
        look_up(server, slept)
    assert len(server.asked) == 1


@pytest.mark.parametrize("fault", [Say(500), Say(503, b"<html>"), Say(fault="reset"), Say(429), Say(408)])
def test_faults_are_asked_again_and_bounded(fault: Say, server: Server, slept: list[float]) -> None:
    server.say(fault, Say(body=EU))
    assert look_up(server, slept).region == "eu"
    server.asked.clear()
    server.say(fault)
    with pytest.raises(
        ServiceUnavailable, match=rf"^GET {PATH} .* 3 attempts.*\(host 127\.0\.0\.1\): try again later$"
    ):
        look_up(server, slept)
    assert len(server.asked) == 3


def test_a_wait_that_is_asked_for_is_cut_short(server: Server, slept: list[float]) -> None:
    server.say(Say(429, headers={"Retry-After": "300"}), Say(body=EU))
    assert look_up(server, slept).region == "eu"
    assert slept == [5.0]


def test_no_answer_in_time(server: Server, slept: list[float]) -> None:
    server.say(Say(delay=1.0))
    with pytest.raises(ServiceUnavailable, match="no answer in time"):
        look_up(server, slept, timeout=0.2)


def test_nobody_listens() -> None:
    with pytest.raises(ServiceUnavailable, match=r"the connection failed \(.*[Rr]efused\)"):
        look_up_region("http://127.0.0.1:9", SITE_ID, KEY, sleep=lambda _: None)


@pytest.mark.parametrize("page", [b"<html>log in</html>", b""])
def test_a_page_in_place_of_an_answer(page: bytes, server: Server, slept: list[float]) -> None:
    server.say(Say(body=page))
    with pytest.raises(AnswerInvalid, match=r"not JSON.*CUSTOMERIO_TRACK_URL right"):
        look_up(server, slept)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_to_another_host_gets_no_credentials(status: int, server: Server, slept: list[float]) -> None:
    other = Server()
    try:
        server.say(Say(status, headers={"Location": f"{other.url.replace('127.0.0.1', 'localhost')}{PATH}"}))
        with pytest.raises(AnswerInvalid, match=f"was answered with {status}, a redirect"):
            look_up(server, slept)
        assert other.asked == []
    finally:
        other.close()
    assert len(server.asked) == 1


def test_a_redirect_to_the_eu_host_says_which_region_to_set(server: Server, slept: list[float]) -> None:
    server.say(Say(307, headers={"Location": f"https://track-eu.customer.io{PATH}"}))
    with pytest.raises(AnswerInvalid, match=r"lives in region eu, so set CUSTOMERIO_REGION=eu\.$"):
        look_up(server, slept)


@pytest.mark.parametrize("answer", [Say(401), Say(500), Say(404), Say(302), Say(200, b"x"), Say(fault="reset")])
def test_no_key_in_errors_and_logs(
    answer: Say, server: Server, slept: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    body = {"meta": {"error": f"{SITE_ID}:{KEY}"}} if answer.status in (401, 404, 500) else answer.body
    server.say(Say(answer.status, body, fault=answer.fault))
    with pytest.raises(CustomerioError) as caught:
        look_up(server, slept)
    said = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__dict__) + caplog.text
    assert SITE_ID not in said
    assert KEY not in said


@pytest.mark.parametrize(
    ("answer", "state", "words"),
    [
        (Say(body={**EU, "region": "us"}), "ok", "(region us, workspace 12345)"),
        (Say(body=EU), "bad", "the workspace lives in region eu: set CUSTOMERIO_REGION=eu."),
        (Say(307, headers={"Location": f"https://track-eu.customer.io{PATH}"}), "bad", "set CUSTOMERIO_REGION=eu."),
        (Say(401), "bad", "CUSTOMERIO_SITE_ID and CUSTOMERIO_TRACK_API_KEY were refused"),
    ],
)
def test_the_check_of_track_credentials(
    answer: Say, state: str, words: str, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))  # a check makes a warehouse
    monkeypatch.setenv("CUSTOMERIO_APP_URL", server.url)
    monkeypatch.setenv("CUSTOMERIO_TRACK_URL", server.url)
    monkeypatch.setenv("CUSTOMERIO_SITE_ID", SITE_ID)
    monkeypatch.setenv("CUSTOMERIO_TRACK_API_KEY", KEY)
    server.say(answer)
    findings = {finding.what: finding for finding in check(load_settings())}
    found = findings["Track API (into Customer.io)"]
    assert found.state == state
    assert words in found.said
