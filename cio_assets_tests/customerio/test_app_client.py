"""What goes over the wire, what comes back, and which error an answer becomes."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from cio_assets.customerio import (
    AnswerInvalid,
    AppClient,
    Call,
    ClientClosed,
    CredentialsRefused,
    CustomerioError,
    NotFound,
    Paging,
    RateLimiter,
    RequestRefused,
)

from .conftest import KEY
from .http_server import Asked, Say, Server

ODD = ["a/b", "a+b", "50%", "%2F", "a b", "ann@example.com", "zoë ☃", "a?b#c&d=e", "..x", "~-._", "cio_0300"]


def test_key_is_trimmed_and_sent_as_bearer(server: Server, make_client: Callable[..., AppClient]) -> None:
    make_client(key=f"  {KEY}\n").send(Call("GET", "/v1/workspaces"))
    assert server.asked[0].headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("key", ["", "  ", "a b", "a\nb", "schlüssel"])
def test_a_key_that_cannot_be_one_is_refused_without_saying_it(key: str, make_client: Callable[..., AppClient]) -> None:
    with pytest.raises(CredentialsRefused, match="CUSTOMERIO_APP_API_KEY") as caught:
        make_client(key=key)
    assert not key.strip() or key not in str(caught.value)


@pytest.mark.parametrize("value", ODD)
def test_path_and_query_values_arrive_as_they_are(value: str, server: Server, client: AppClient) -> None:
    client.send(Call("GET", "/v1/customers/{customer_id}/attributes", {"customer_id": value}, {"q": value, "n": 7}))
    path, _, query = server.targets[0].partition("?")
    parts = path.split("/")
    assert len(parts) == 5
    assert unquote(parts[3]) == value
    assert "+" not in query
    assert parse_qsl(query) == [("q", value), ("n", "7")]


@pytest.mark.parametrize("value", ["", ".", ".."])
def test_a_value_that_no_path_can_carry_is_refused(value: str, server: Server, client: AppClient) -> None:
    with pytest.raises(RequestRefused, match="customer_id"):
        client.send(Call("GET", "/v1/customers/{customer_id}/attributes", {"customer_id": value}))
    assert not server.asked


def test_a_template_without_its_value_is_an_error(client: AppClient) -> None:
    with pytest.raises(CustomerioError, match="campaign_id"):
        client.send(Call("GET", "/v1/campaigns/{campaign_id}"))


def test_query_forms_and_post_body(server: Server, client: AppClient) -> None:
    client.send(Call("POST", "/v1/customers", query={"deleted": True, "none": None, "id": [1, 2]}, json={"ids": ["a"]}))
    asked = server.asked[0]
    assert (asked.method, asked.target) == ("POST", "/v1/customers?deleted=true&id=1&id=2")
    assert asked.body == b'{"ids":["a"]}'
    assert asked.headers["Content-Type"] == "application/json"


def test_answer_carries_the_services_clock(server: Server, client: AppClient) -> None:
    server.say(Say(body={"odd": 1}))
    answer = client.send(Call("GET", "/v1/workspaces"))
    assert answer.body == {"odd": 1}
    assert answer.date is not None
    assert abs((answer.date - datetime.now(UTC)).total_seconds()) < 5


@pytest.mark.parametrize(
    ("region", "expected"),
    [("us", "in region us (host 127.0.0.1)"), ("eu", "in region eu (host 127.0.0.1)")],
)
def test_401_says_key_region_and_place(
    region: str, expected: str, server: Server, make_client: Callable[..., AppClient]
) -> None:
    server.say(Say(401, {"errors": [{"detail": "unauthorized", "status": "401"}]}))
    with pytest.raises(CredentialsRefused) as caught:
        make_client(region=region).send(Call("GET", "/v1/campaigns"))
    text = str(caught.value)
    assert text.startswith("GET /v1/campaigns was refused with 401: CUSTOMERIO_APP_API_KEY is not valid")
    assert expected in text
    assert "App API keys" in text
    needs = "an EU workspace needs eu" if region == "us" else "a US workspace needs us"
    assert f"CUSTOMERIO_REGION: {needs}." in text
    assert "unauthorized" in text
    assert (caught.value.method, caught.value.path, caught.value.status) == ("GET", "/v1/campaigns", 401)
    assert len(server.asked) == 1, "never retried"


def test_403_names_the_permission(server: Server, client: AppClient) -> None:
    server.say(Say(403, {"errors": [{"detail": "feature not enabled"}]}))
    with pytest.raises(CredentialsRefused, match=r"permission for 'design_studio'.*feature not enabled"):
        client.send(Call("GET", "/v1/design_studio/emails"))


def test_404_and_other_refusals_name_template_and_the_apis_words(server: Server, client: AppClient) -> None:
    server.say(Say(404, b"not even JSON"))
    with pytest.raises(NotFound, match=r"^GET /v1/campaigns/7: not found"):
        client.send(Call("GET", "/v1/campaigns/{campaign_id}", {"campaign_id": 7}))
    server.say(Say(422, {"meta": {"error": "limit is too large"}}))
    with pytest.raises(RequestRefused, match=r"refused with 422. The service says: limit is too large") as caught:
        client.send(Call("GET", "/v1/messages"))
    assert caught.value.detail == "limit is too large"
    assert len(server.asked) == 2


def test_redirects_are_not_followed(server: Server, client: AppClient) -> None:
    server.say(Say(302, headers={"Location": f"{server.url}/v1/elsewhere?token=secret"}))
    with pytest.raises(AnswerInvalid, match="redirect") as caught:
        client.send(Call("GET", "/v1/messages"))
    assert len(server.asked) == 1
    assert "secret" not in str(caught.value)


def listing(total: int, size: int) -> Callable[[Asked], Say]:
    def decide(asked: Asked) -> Say:
        start = int(dict(parse_qsl(urlsplit(asked.target).query)).get("start", 0))
        ids = [{"id": number} for number in range(start, min(start + size, total))]
        return Say(body={"messages": ids, "next": str(start + size) if start + size < total else "", "extra": 1})

    return decide


def test_pages_resume_where_they_stopped(server: Server, client: AppClient) -> None:
    server.decide = listing(25, 10)
    call = Call("GET", "/v1/messages", query={"limit": 10, "start_ts": 5})
    first = next(iter(client.pages(call, Paging.CURSOR, "messages")))
    assert len(server.asked) == 1, "a page is fetched when it is asked for"
    assert first.body["extra"] == 1
    assert first.next == {"limit": 10, "start_ts": 5, "start": "10"}
    rest = list(client.pages(call, Paging.CURSOR, "messages", resume=first.next))
    assert [row["id"] for page in [first, *rest] for row in page.items] == list(range(25))
    assert rest[-1].next is None
    assert all("start_ts=5" in target and "limit=10" in target for target in server.targets)


def test_cursor_of_a_post_goes_into_the_query_and_the_body_stays(server: Server, client: AppClient) -> None:
    server.decide = listing(25, 10)
    rows = [
        r
        for page in client.pages(Call("POST", "/v1/customers", json={"filter": {}}), Paging.CURSOR, "messages")
        for r in page.items
    ]
    assert len(rows) == 25
    assert {asked.body for asked in server.asked} == {b'{"filter":{}}'}


def test_missing_envelope_names_request_and_envelope(server: Server, client: AppClient) -> None:
    server.say(Say(body={"msgs": []}))
    with pytest.raises(AnswerInvalid, match=r"^GET /v1/messages: the answer has no 'messages'"):
        list(client.pages(Call("GET", "/v1/messages"), Paging.CURSOR, "messages"))


def test_cursors_in_a_circle_end_in_an_error(server: Server, client: AppClient) -> None:
    circle = {"0": "a", "a": "b", "b": "c", "c": "a"}

    def decide(asked: Asked) -> Say:
        start = dict(parse_qsl(urlsplit(asked.target).query)).get("start", "0")
        return Say(body={"messages": [], "next": circle[start]})

    server.decide = decide
    with pytest.raises(AnswerInvalid, match="never end"):
        list(client.pages(Call("GET", "/v1/messages"), Paging.CURSOR, "messages"))


def test_usage_counts_and_subtracts(server: Server, client: AppClient) -> None:
    client.send(Call("GET", "/v1/workspaces"))
    before = client.usage.snapshot()
    server.say(Say(500), Say(body={"rows": [1]}))
    client.send(Call("GET", "/v1/customers/{id}/segments", {"id": "ann@example.com"}))
    spent = client.usage.snapshot() - before
    assert (spent.requests, spent.retries) == (2, 1)
    assert spent.by_path == {"/v1/customers/{id}/segments": 2}
    assert spent.bytes == len(b"{}") + len(b'{"rows": [1]}')


def test_a_closed_client_sends_nothing(server: Server, make_client: Callable[..., AppClient]) -> None:
    client = make_client()
    client.close()
    with pytest.raises(ClientClosed):
        client.send(Call("GET", "/v1/workspaces"))
    assert not server.asked


def test_netrc_and_proxies_do_not_disturb_a_local_server(
    server: Server, make_client: Callable[..., AppClient], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password other\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    make_client().send(Call("GET", "/v1/workspaces"))
    assert server.asked[0].headers["Authorization"] == f"Bearer {KEY}"


def test_a_proxy_of_the_environment_is_used(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    limiter = RateLimiter(tmp_path, "h", KEY, 10)
    with AppClient(base_url="http://cio.invalid", key=KEY, limiter=limiter) as client:
        client.send(Call("GET", "/v1/workspaces"))
        client.send(Call("GET", "/v1/workspaces"))
    assert server.targets == ["http://cio.invalid/v1/workspaces"] * 2
    assert server.asked[1].at - server.asked[0].at > 0.02, "through a proxy the budget holds too"


def test_connections_are_kept(server: Server, client: AppClient) -> None:
    for _ in range(5):
        client.send(Call("GET", "/v1/workspaces"))
    assert server.connections == 1


@pytest.mark.parametrize("size", [10, 100_000, 3_000_000])
def test_bodies_of_any_size_arrive(size: int, server: Server, tmp_path: Path) -> None:
    limiter = RateLimiter(tmp_path, "h", KEY, 1000)
    with AppClient(base_url=server.url, key=KEY, limiter=limiter) as client:
        client.send(Call("POST", "/v1/customers", json={"ids": "x" * size}))
    assert server.asked[0].body == b'{"ids":"' + b"x" * size + b'"}'
