"""Version 1 of the Track API: auth, routes, and what each refuses, in the documented words."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
import requests

from cio_assets.sandbox import Sandbox
from cio_assets_tests import forked

from .client import NOW, Client
from .conftest import EMPTY
from .track_client import ULID, Track

REGION = "/api/v1/accounts/region"
ROUTES = [
    ("PUT", "/api/v1/customers/u1"), ("DELETE", "/api/v1/customers/u1"), ("POST", "/api/v1/customers/u1/suppress"),
    ("POST", "/api/v1/customers/u1/unsuppress"), ("PUT", "/api/v1/customers/u1/devices"),
    ("DELETE", "/api/v1/customers/u1/devices/t"), ("POST", "/api/v1/customers/u1/events"), ("POST", "/api/v1/events"),
    ("POST", "/api/v1/merge_customers"), ("POST", "/api/v1/segments/3/add_customers"),
    ("POST", "/api/v1/segments/3/remove_customers"), ("POST", "/api/v1/forms/f/submit"), ("GET", REGION),
    ("POST", "/api/v2/entity"), ("POST", "/api/v2/batch"),
]  # fmt: skip


@pytest.mark.parametrize("auth", [None, ("sandbox-site-id", "wrong"), ("wrong", "sandbox-track-key"), ("", "")])
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_needs_site_id_and_key(shared_track: Track, method: str, path: str, auth: Any) -> None:
    with requests.Session() as session:
        session.trust_env = False
        response = session.request(method, shared_track.box.url + path, json={}, auth=auth, timeout=10)
    assert response.status_code == 401
    assert response.json() == {"meta": {"error": "Unauthorized request"}}


def test_the_key_of_one_api_opens_only_that(shared_track: Track) -> None:
    url, box = shared_track.box.url, shared_track.box
    bearer = {"Authorization": f"Bearer {box.app_key}"}
    assert requests.get(url + REGION, headers=bearer, timeout=10).status_code == 401
    auth = (box.site_id, box.track_key)
    assert requests.get(f"{url}/v1/campaigns", auth=auth, timeout=10).status_code == 401
    assert requests.get(url + REGION, headers={"Authorization": "Basic !"}, timeout=10).status_code == 401


@pytest.mark.parametrize(
    ("region", "url"), [("us", "https://track.customer.io"), ("eu", "https://track-eu.customer.io")]
)
def test_tells_the_region(region: str, url: str) -> None:
    with forked.launch(**EMPTY, region=region, environment_id=77, site_id="site", track_key="key:with:colons") as box:
        track = Track(box)
        assert track.ask("GET", REGION).json() == {"url": url, "region": region, "environment_id": 77}
        track.session.close()


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/v1/customers/u1"), ("POST", REGION), ("POST", "/api/v3/batch"), ("PUT", "/api/v1/customers/"),
     ("GET", "/api/v2/batch"), ("POST", "/api/v1/customers/u1/dance")],
)  # fmt: skip
def test_unknown_paths_are_404(shared_track: Track, method: str, path: str) -> None:
    response = shared_track.ask(method, path)
    assert response.status_code == 404
    assert response.json()["meta"]["error"]


IDENTIFY, EVENT = ("PUT", "customers/u1"), ("POST", "customers/u1/events")
DEVICE, MERGE, FORM = ("PUT", "customers/u1/devices"), ("POST", "merge_customers"), ("POST", "forms/f/submit")
METRIC, PUSH = ("POST", "metrics"), ("POST", "push/events")
RELATED = {"identifiers": {"object_type_id": "1", "object_id": "a"}}
REFUSED: list[tuple[tuple[str, str], Any, str]] = [
    (IDENTIFY, [], "object"),
    (IDENTIFY, {"id": None}, "id attribute must be present"),
    (IDENTIFY, {"id": 5}, "id attribute must be a string value"),
    (IDENTIFY, {"id": ""}, "id attribute cannot be an empty string"),
    (IDENTIFY, {f"a{n}": n for n in range(301)}, "cannot identify more than 300 attributes in one request"),
    (IDENTIFY, {"n" * 151: 1}, "attribute name cannot be longer than 150 bytes"),
    (IDENTIFY, {"bio": "x" * 1001}, "value for attribute 'bio' cannot be longer than 1000 bytes"),
    (IDENTIFY, {"email": 5}, "email"),
    (IDENTIFY, {"created_at": "today"}, "created_at"),
    (IDENTIFY, {"_timestamp": 1.5}, "_timestamp"),
    (IDENTIFY, {"_update": 1}, "_update"),
    (IDENTIFY, {"unsubscribed": "true"}, "unsubscribed"),
    (IDENTIFY, {"nested": {"a": 1}}, "value for attribute 'nested'"),
    (IDENTIFY, {"cio_subscription_preferences": []}, "cio_subscription_preferences"),
    (IDENTIFY, {"cio_relationships": [RELATED]}, "cio_relationships"),
    (IDENTIFY, {"cio_relationships": {"action": "add", "relationships": []}}, "action"),
    (IDENTIFY, {"cio_relationships": {"action": "add_relationships", "relationships": [{}]}}, "required"),
    (("PUT", "customers/" + "x" * 151), {}, "id cannot be longer than 150 bytes"),
    (EVENT, {}, "name cannot be blank"),
    (EVENT, {"name": " "}, "event name must not be blank"),
    (EVENT, {"name": "n" * 101}, "event name cannot be longer than 100 bytes"),
    (EVENT, {"name": "x", "data": []}, "event data must be a hash"),
    (EVENT, {"name": "x", "data": {"a": "x" * 100_000}}, "event data cannot be longer than 100000 bytes"),
    (EVENT, {"name": "x", "id": "1"}, "ULID"),
    (EVENT, {"name": "x", "timestamp": "now"}, "timestamp"),
    (EVENT, {"name": "x", "type": "click"}, "type"),
    (EVENT, {"name": "x", "attributes": {}}, "unknown keys"),
    (("POST", "events"), {"name": "x", "anonymous_id": 5}, "anonymous_id"),
    (DEVICE, {}, "device"),
    (DEVICE, {"device": {"id": "t"}}, "platform"),
    (DEVICE, {"device": {"token": "t", "platform": "ios"}}, "unknown keys"),
    (MERGE, {"primary": {"id": "a"}}, "secondary"),
    (MERGE, {"primary": {"id": "a", "email": "b"}, "secondary": {"id": "b"}}, "primary"),
    (MERGE, {"primary": {"id": "a"}, "secondary": {"id": ""}}, "empty"),
    (FORM, {}, "data"),
    (FORM, {"data": {"email_address": "a@x.example"}}, "id or email"),
    (FORM, {"data": {"email": "a@x.example", "age": 5}}, "strings"),
    (METRIC, {"metric": "opened"}, "delivery_id"),
    (METRIC, {"delivery_id": "d", "metric": "seen"}, "metric"),
    (PUSH, {"delivery_id": "d", "event": "clicked"}, "event"),
    (PUSH, {"delivery_id": "d", "event": "opened", "timestamp": "x"}, "timestamp"),
]  # fmt: skip
LISTED = (DEVICE, FORM)  # these answer meta.errors


@pytest.mark.parametrize(("route", "body", "words"), REFUSED)
def test_refuses_in_the_documented_words(shared_track: Track, route, body, words) -> None:
    shared_track.box.reset_stats()
    response = shared_track.ask(route[0], f"/api/v1/{route[1]}", body)
    assert response.status_code == 400
    meta = response.json()["meta"]
    assert words in (meta["errors"][0] if route in LISTED else meta["error"])
    stats = shared_track.box.stats()
    assert (stats["violation_count"], stats["operations_refused"], stats["operations"]) == (1, 1, {})


def test_identify_takes_every_kind_of_identifier(track: Track) -> None:
    track.v1("PUT", "customers/u%2F1", {"email": "Ann@x.example", "n": 1.5, "t": True, "none": None})
    assert track.v1("PUT", "customers/ANN%40x.example", {"a": 1}).json() == {}
    track.v1("PUT", "customers/cio_a3000001", {"b": 2, "created_at": 1700000000})
    track.v1("PUT", "customers/cio_a30000ff", {"lost": 1})
    track.v1("PUT", "customers/bob%40x.example", {})
    attributes = track.box.person("id", "u/1") or {}
    assert {name: attributes.get(name) for name in ("email", "n", "t", "a", "b", "created_at", "none")} == {
        "email": "Ann@x.example", "n": "1.5", "t": "true", "a": "1", "b": "2", "created_at": "1700000000", "none": None,
    }  # fmt: skip
    assert [(row["id"], row["email"]) for row in track.box.truth("customers")] == [
        ("u/1", "Ann@x.example"), (None, "bob@x.example"),
    ]  # fmt: skip


def test_identify_orders_updates_and_relates_objects(track: Track) -> None:
    track.v1("PUT", "customers/u1", {"plan": "new", "_timestamp": NOW - 5})
    related = {"action": "add_relationships", "relationships": [RELATED | {"relationship_attributes": {"role": "x"}}]}
    track.v1("PUT", "customers/u1", {"plan": "old", "_timestamp": NOW - 9, "cio_relationships": related})
    attributes = track.box.person("id", "u1") or {}
    assert attributes["plan"] == "new"
    assert not attributes.keys() & {"_timestamp", "cio_relationships", "_update"}
    assert [row["attributes"] for row in track.box.truth("customer_relationships")] == [{"role": "x"}]
    track.v1("PUT", "customers/u1", {"cio_relationships": related | {"action": "delete_relationships"}})
    assert track.box.truth("customer_relationships") == []


def test_what_was_sent_is_counted_apart_from_the_app_api(track: Track) -> None:
    client = Client(track.box.url)
    client.get("segments")
    client.session.close()
    track.raw(b'{"batch":[]}')
    track.v1("GET", "accounts/region")
    stats = track.box.stats(arrivals=True)
    assert (stats["requests"], stats["track_requests"], stats["bytes"]) == (1, 2, len(b'{"batch":[]}'))
    assert [name for _, name in stats["track_arrivals"]] == ["POST /api/v2/batch", "GET /api/v1/accounts/region"]
    assert stats["by_status"] == {"200": 3}


def test_every_other_route_has_its_effect(track: Track) -> None:
    event = {"name": " buy ", "type": "event", "id": ULID, "timestamp": NOW - 5, "data": {"recipient": "a@x.example"}}
    track.v1("POST", "customers/u1/events", event)
    track.v1("POST", "customers/a%40x.example/events", {"name": "home", "type": "page"})
    device = {"id": "t/1", "platform": "ios", "last_used": 7, "attributes": {"push_enabled": "true"}}
    track.v1("PUT", "customers/u1/devices", {"device": device})
    assert [(row["name"], row["type"]) for row in track.box.truth("track_events")] == [
        ("buy", "event"),
        ("home", "page"),
    ]
    assert [row["token"] for row in track.box.truth("devices")] == ["t/1"]
    track.v1("DELETE", "customers/u1/devices/t%2F1")
    assert track.box.truth("devices") == []
    track.v1("POST", "merge_customers", {"primary": {"id": "u1"}, "secondary": {"email": "a@x.example"}})
    assert track.box.truth("customers") == [{"email": "a@x.example", "id": "u1", "cio_id": "a3000001"}]
    submitted = track.v1(
        "POST", "forms/contact/submit", {"data": {"email": "f@x.example", "city": "Ulm", "form_id": "x"}}
    )
    assert (submitted.status_code, submitted.content) == (204, b"")
    assert (track.box.person("email", "f@x.example") or {})["city"] == "Ulm"
    assert "form_id" not in (track.box.person("email", "f@x.example") or {})
    track.v1("POST", "customers/u1/suppress")
    track.v1("PUT", "customers/u1", {"a": 1})
    assert [row["id"] for row in track.box.truth("customers")] == [None]
    track.v1("POST", "customers/u1/unsuppress")
    track.v1("PUT", "customers/u1", {"a": 1})
    track.v1("DELETE", "customers/u1")
    assert [row["email"] for row in track.box.truth("customers")] == ["f@x.example"]
    assert track.box.stats()["violation_count"] == 0
    assert track.box.stats()["operations"] == {
        "person.event": 1, "person.page": 1, "person.add_device": 1, "person.delete_device": 1, "person.merge": 1,
        "form.submit": 1, "person.suppress": 1, "person.identify": 2, "person.unsuppress": 1, "person.delete": 1,
    }  # fmt: skip


def test_deliveries_learn_metrics_and_unsubscribe_without_a_key(start: Callable[..., tuple[Sandbox, Client]]) -> None:
    box, api = start(track_rps=0, people=50, deliveries=500)
    rows = [row for row in box.truth("messages") if not row["metrics"].get("clicked")]
    with requests.Session() as session:
        session.trust_env = False

        def post(path: str, body: Any) -> requests.Response:
            return session.post(box.url + path, json=body, timeout=10)

        for row, path, name in ((rows[0], "metrics", "metric"), (rows[1], "push/events", "event")):
            metric = {"metric": "clicked", "event": "opened"}[name]
            before = {item["id"]: item for item in box.truth("messages")}[row["id"]]["metrics"].get(metric)
            assert post(f"/api/v1/{path}", {"delivery_id": row["id"], name: metric, "timestamp": 17}).status_code == 200
            after = api.get(f"messages/{quote(row['id'], safe='')}")["message"]["metrics"]
            assert after[metric] == (before or 17)
        living = {item["cio_id"] for item in box.truth("customers")}
        reader = next(row for row in rows if row["customer_identifiers"]["cio_id"] in living)
        quoted = quote(reader["id"], safe="")
        assert post(f"/unsubscribe/{quoted}", {"unsubscribe": True}).status_code == 200
        cio_id = reader["customer_identifiers"]["cio_id"]
        assert (box.person("cio_id", cio_id) or {})["unsubscribed"] == "true"
        assert api.get(f"customers/cio_{cio_id}/attributes", id_type="cio_id")["customer"]["unsubscribed"] is True
        assert post("/unsubscribe/nothing", {"unsubscribe": True}).status_code == 400
