"""What is not documented is refused, and every refusal is on record."""

import pytest
import requests

from cio_assets.sandbox import Sandbox

from .client import EVERYBODY, Client

ATTRIBUTE = {"field": "plan", "operator": "exists"}
REFUSED = [
    (400, "campaigns", {"limit": "10"}, None),
    (400, "campaigns/1/actions", {"limit": "10"}, None),
    (400, "campaigns/x/actions", {}, None),
    (400, "activities", {"limit": "101"}, None),
    (400, "activities", {"limit": "0"}, None),
    (400, "activities", {"limit": "ten"}, None),
    (400, "activities", {"type": "no_such_type"}, None),
    (400, "activities", {"deleted": "yes"}, None),
    (400, "activities", {"customer_id": "1", "id_type": "phone"}, None),
    (400, "messages", {"limit": "1001"}, None),
    (400, "messages", {"metric": "unknown"}, None),
    (400, "messages", {"type": "fax"}, None),
    (400, "messages", {"start_ts": "2026-01-01"}, None),
    (400, "messages", {"start": "bm90IGEgY3Vyc29y"}, None),
    (400, "messages", {"start": "not base64!"}, None),
    (400, "newsletters", {"sort": "up"}, None),
    (400, "newsletters/128/messages", {"type": "email"}, None),
    (400, "segments/1/membership", {"limit": "30001"}, None),
    (400, "esp/suppression/everything", {}, None),
    (400, "esp/suppression/bounces", {"offset": "-1"}, None),
    (400, "campaigns/1/metrics", {"version": "2", "res": "days", "start": "1"}, None),
    (400, "campaigns/1/metrics", {"version": "2", "res": "days", "start": "1", "end": "400000000"}, None),
    (400, "campaigns/1/metrics", {"version": "2", "res": "years", "start": "1", "end": "90000"}, None),
    (400, "campaigns/1/metrics", {"version": "2", "res": "days", "start": "1", "end": "90000", "tz": "Mars"}, None),
    (400, "campaigns/1/metrics", {"steps": "46"}, None),
    (400, "campaigns/1/metrics", {"period": "years"}, None),
    (400, "broadcasts/2/metrics", {"version": "2"}, None),
    (400, "newsletters/128/metrics", {"type": "whatsapp"}, None),
    (400, "customers", {}, {}),
    (400, "customers", {}, {"filter": {}}),
    (400, "customers", {}, {"filter": {"and": [], "or": []}}),
    (400, "customers", {}, {"filter": {"and": []}}),
    (400, "customers", {}, {"filter": {"attribute": {"field": "plan", "operator": "like"}}}),
    (400, "customers", {}, {"filter": {"attribute": {"field": "plan", "operator": "eq"}}}),
    (400, "customers", {}, {"filter": {"segment": {"id": "1"}}}),
    (400, "customers", {}, {"filter": {"not": [{"attribute": ATTRIBUTE}]}}),
    (400, "customers", {}, [1]),
    (400, "customers", {}, EVERYBODY | {"limit": 10}),
    (400, "customers", {"limit": "1001"}, EVERYBODY),
    (400, "customers/attributes", {}, {"ids": []}),
    (400, "customers/attributes", {}, {"ids": ["1"] * 101}),
    (400, "customers/attributes", {}, {"ids": [1]}),
    (400, "customers/attributes", {"id_type": "name"}, {"ids": ["1"]}),
    (400, "objects", {}, {"filter": {"object_attribute": ATTRIBUTE | {"type_id": "1"}}}),
    (400, "objects", {}, {"object_type_id": 1, "filter": {"object_attribute": ATTRIBUTE | {"type_id": "1"}}}),
    (400, "objects", {}, {"object_type_id": "1", "filter": {"object_attribute": ATTRIBUTE | {"type_id": "3"}}}),
    (404, "nothing", {}, None),
    (404, "campaigns/", {}, None),
    (404, "campaigns/1/triggers", {}, None),
    (404, "messages", {}, {}),
]
GONE = [
    "campaigns/9999/actions",
    "campaigns/9999/metrics",
    "campaigns/1/actions/1/metrics",
    "broadcasts/9999/messages",
    "newsletters/9999/contents",
    "transactional/9999/messages",
    "segments/9999/membership",
    "exports/9999",
    "segments/9999/customer_count",
    "messages/abc",
    "customers/nobody/messages",
    "objects/1/nothing/relationships",
]


@pytest.mark.parametrize(("status", "path", "params", "body"), REFUSED)
def test_refuses_what_is_not_documented(sandbox: Sandbox, api: Client, status, path, params, body) -> None:
    sandbox.reset_stats()
    response = api.ask(path, body, **params)
    assert response.status_code == status
    (error,) = response.json()["errors"]
    assert error["status"] == str(status)
    assert isinstance(error["detail"], str)
    stats = sandbox.stats()
    assert stats["violation_count"] == 1
    assert stats["violations"][0]["path"] == f"/v1/{path}"


@pytest.mark.parametrize("path", GONE)
def test_an_unknown_parent_is_a_404_and_nobodys_fault(sandbox: Sandbox, api: Client, path: str) -> None:
    sandbox.reset_stats()
    response = api.ask(path)
    assert response.status_code == 404
    assert response.json()["errors"][0]["status"] == "404"
    assert sandbox.stats()["violation_count"] == 0


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic c2FuZGJveC1hcHAta2V5", "Bearer"])
def test_needs_the_key(sandbox: Sandbox, header: str | None) -> None:
    headers = {"Authorization": header} if header else {}
    response = requests.get(f"{sandbox.url}/v1/campaigns", headers=headers, timeout=10)
    assert response.status_code == 401
    assert response.json() == {"errors": [{"detail": "unauthorized", "status": "401"}]}
    assert requests.get(f"{sandbox.url}/v1/info/ip_addresses", headers=headers, timeout=10).status_code == 200


def test_post_needs_json(api: Client) -> None:
    for data, kind in ((b"{}", "text/plain"), (b"{", "application/json"), (b'{"filter":{}}', "")):
        response = api.session.post(api.url + "customers", data=data, headers={"Content-Type": kind}, timeout=10)
        assert response.status_code == 400


def test_cursor_is_bound_to_its_query(api: Client) -> None:
    cursor = api.get("customers", EVERYBODY, limit=100)["next"]
    assert api.ask("customers", EVERYBODY, limit=100, start=cursor).status_code == 200
    assert api.ask("customers", EVERYBODY, limit=99, start=cursor).status_code == 400
    other = {"filter": {"attribute": {"field": "cio_id", "operator": "exists"}}}
    assert api.ask("customers", other, limit=100, start=cursor).status_code == 400
    assert api.ask("customers", EVERYBODY, limit=100, start=cursor.swapcase()).status_code == 400


def test_limits_that_are_only_observed_are_clamped(api: Client) -> None:
    assert len(api.get("sender_identities", limit=500)["sender_identities"]) == 100
    assert api.ask("newsletters", limit=500).status_code == 200
    assert api.ask("newsletters/128/messages", limit=5000).status_code == 200
