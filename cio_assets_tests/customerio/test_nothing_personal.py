"""No key, no identifier and no link in an exception or a log line."""

import logging
import traceback
from collections.abc import Callable

import pytest

from cio_assets.customerio import AppClient, Call, CustomerioError
from cio_assets.customerio.masking import masked

from .conftest import KEY
from .http_server import Say, Server

PERSON = "ann.person+1@example.com"
SECRETS = [KEY, "ann.person", "example.com", "bob", "u_4711", "secretcursor", "%40", "hunter2"]
CALL = Call(
    "POST",
    "/v1/customers/{customer_id}/x/{campaign_id}",
    {"customer_id": PERSON, "campaign_id": 12},
    {"email": PERSON, "start": "secretcursor", "who": "u_4711"},
    {"ids": ["bob"], "filter": {"attribute": {"field": "plan", "operator": "eq", "value": "hunter2"}}},
)
WORDS = f"no plan for {PERSON} (u_4711, bob, hunter2) at secretcursor with {KEY}, operator eq (reference a1b2c3)"


def everything(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error.__dict__)


@pytest.mark.parametrize(
    "answer",
    [
        Say(400, {"errors": [{"detail": WORDS}]}),
        Say(401, {"errors": [{"detail": WORDS}]}),
        Say(403, {"meta": {"error": WORDS}}),
        Say(404, {"meta": {"errors": [WORDS]}}),
        Say(302, headers={"Location": f"https://example.com/{PERSON}"}),
        Say(500, {"errors": [{"detail": WORDS}]}),
        Say(200, WORDS.encode()),
        Say(fault="reset"),
        Say(body={"a": 1}, fault="truncated"),
        Say(delay=1.0),
    ],
)
def test_in_errors_and_logs(
    answer: Say, server: Server, make_client: Callable[..., AppClient], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.say(answer)
    with pytest.raises(CustomerioError) as caught:
        make_client(max_attempts=2, timeout=(2, 0.3)).send(CALL)
    said = everything(caught.value) + caplog.text
    assert "POST /v1/customers/{customer_id}/x/12" in str(caught.value)
    for secret in SECRETS:
        assert secret not in said.replace("Authorization", ""), secret


def test_the_line_that_cannot_be_reached_is_not_quoted(
    make_client: Callable[..., AppClient], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(CustomerioError) as caught:
        make_client(base_url="http://127.0.0.1:9", max_attempts=2).send(CALL)
    assert not [secret for secret in SECRETS if secret in everything(caught.value) + caplog.text]


def test_each_retry_is_one_line_with_template_reason_and_wait(
    server: Server, client: AppClient, caplog: pytest.LogCaptureFixture
) -> None:
    server.say(Say(429, headers={"Retry-After": "3"}), Say(fault="reset"), Say())
    client.send(CALL)
    lines = [record.getMessage() for record in caplog.records if record.name == "cio_assets.customerio"]
    assert len(lines) == 2
    shown = "POST /v1/customers/{customer_id}/x/12"
    assert lines[0] == f"{shown}: attempt 1 of 8: HTTP 429, Retry-After 3 s; again in 3.0 s"
    assert lines[1].startswith(f"{shown}: attempt 2 of 8: the connection failed (")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("invalid value for limit (reference a1b2c3)", "invalid value for limit (reference a1b2c3)"),
        ("customer ann@example.com unknown", "customer <email> unknown"),
        ("customer ann%40example.com unknown", "customer <email> unknown"),
        ("key 0123456789abcdef0123456789abcdef bad", "key <token> bad"),
        ("delivery_subscription_preferences_of_customers", "delivery_subscription_preferences_of_customers"),
        ("see https://x.test/a?sig=1 now", "see <link> now"),
        ("call +49 170 1234567 now", "call <number> now"),
        ("start_ts 1700000000 is after end_ts", "start_ts 1700000000 is after end_ts"),
        ("two\nlines", "two lines"),
    ],
)
def test_masking(text: str, expected: str) -> None:
    assert masked(text) == expected


def test_masking_cuts_and_takes_out_given_values() -> None:
    assert len(masked("word " * 200)) == 300
    assert masked("no Bob here, bobby stays", ["bob"]) == "no <value> here, bobby stays"
