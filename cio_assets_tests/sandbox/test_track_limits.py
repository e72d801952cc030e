"""Every documented limit of version 2: what breaks it is refused by place, field and words; its neighbours arrive."""

import json
from itertools import count
from typing import Any

import orjson
import pytest

from cio_assets_tests import forked

from .conftest import EMPTY
from .track_client import ULID, Track, identify, person, thing

EMOJI = "🦊"  # four bytes
TURN = count()
RELATED = [{"identifiers": {"object_type_id": "1", "object_id": "acme"}}]
LIMITS: list[tuple[Any, str, str]] = [
    (identify("x" * 151), "identifiers.id", "id cannot be longer than 150 bytes"),
    (identify(EMOJI * 38), "identifiers.id", "id cannot be longer than 150 bytes"),
    (identify({"cio_id": "x" * 151}), "identifiers.cio_id", "cio_id cannot be longer than 150 bytes"),
    (identify(""), "identifiers.id", "id cannot be an empty string"),
    (identify({"id": None}), "identifiers.id", "id must be a string value"),
    (identify({"id": 5}), "identifiers.id", "id must be a string value"),
    (identify({}), "identifiers", "exactly one"),
    (identify({"id": "a", "email": "a@b.example"}), "identifiers", "exactly one"),
    (identify({"name": "a"}), "identifiers", "exactly one"),
    (identify({"anonymous_id": "a"}), "identifiers", "exactly one"),
    (identify({"phone": "0151 1234567"}), "identifiers.phone", "E.164"),
    (identify({"phone": "+0151234567"}), "identifiers.phone", "E.164"),
    (person("identify", attributes={"n" * 151: 1}), "attributes", "attribute name cannot be longer than 150 bytes"),
    (person("identify", attributes={EMOJI * 38: 1}), "attributes", "attribute name cannot be longer than 150 bytes"),
    (identify(bio="x" * 1001), "attributes", "value for attribute 'bio' cannot be longer than 1000 bytes"),
    (identify(bio=EMOJI * 251), "attributes", "value for attribute 'bio' cannot be longer than 1000 bytes"),
    (identify(tags=["x" * 1000]), "attributes", "value for attribute 'tags' cannot be longer than 1000 bytes"),
    (person("identify", attributes={f"a{n}": n for n in range(301)}), "attributes", "more than 300 attributes"),
    (identify(_update="yes"), "attributes._update", "boolean"),
    (identify(cio_subscription_preferences={"topics": {"topic_1": 1}}), "attributes.cio_subscription_preferences",
     "booleans"),
    (person("identify", timestamp=1.5), "timestamp", "integer"),
    (person("identify", timestamp="1767225600"), "timestamp", "integer"),
    (person("identify", timestamp=True), "timestamp", "integer"),
    (person("identify", attributes=[1]), "attributes", "object"),
    (person("identify", attributes=None), "attributes", "object"),
    (person("identify", cio_relationships={}), "cio_relationships", "array"),
    (person("identify", cio_relationships=[{}]), "cio_relationships.identifiers", "required"),
    (person("identify", cio_relationships=[{**RELATED[0], "role": "x"}]), "cio_relationships", "unknown keys"),
    (person("identify", cio_relationships=[{**RELATED[0], "relationship_attributes": {"a": "x" * 1001}}]),
     "cio_relationships.relationship_attributes", "1000 bytes"),
    (person("identify", surprise=1), "", "unknown keys"),
    (person("event"), "name", "name is required"),
    (person("event", name="  "), "name", "event name must not be blank"),
    (person("event", name="n" * 101), "name", "event name cannot be longer than 100 bytes"),
    (person("event", name=EMOJI * 26), "name", "event name cannot be longer than 100 bytes"),
    (person("event", name="buy", id="order-17"), "id", "ULID"),
    (person("event", name="buy", id="8" + ULID[1:]), "id", "ULID"),
    (person("event", name="buy", id=ULID[:-1] + "U"), "id", "ULID"),
    (person("event", name="buy", id=None), "id", "ULID"),
    (person("event", name="buy", timestamp=17.5), "timestamp", "integer"),
    (person("event", name="buy", attributes=[]), "attributes", "event data must be a hash"),
    (person("event", name="buy", attributes={"recipient": 5}), "attributes.recipient", "string"),
    (person("page", name="home", attributes={"url": 5}), "attributes.url", "string"),
    (person("page", name="home", attributes={"keywords": "a"}), "attributes.keywords", "strings"),
    (person("add_relationships"), "cio_relationships", "required"),
    (person("add_relationships", cio_relationships=[{"identifiers": {"object_id": "a"}}]),
     "cio_relationships.identifiers", "object_type_id"),
    (person("add_relationships", cio_relationships=[{"identifiers": {"object_type_id": 1, "object_id": "a"}}]),
     "cio_relationships.identifiers.object_type_id", "integer as a string"),
    (person("add_relationships", cio_relationships=[{"identifiers": {"object_type_id": "99", "object_id": "a"}}]),
     "identifiers.object_type_id", "does not exist"),
    (person("add_device"), "device", "object"),
    (person("add_device", device={"platform": "ios"}), "device.token", "string"),
    (person("add_device", device={"token": "t", "platform": "windows"}), "device.platform", "ios or android"),
    (person("add_device", device={"token": "t", "platform": "ios", "last_used": "now"}), "device.last_used", "integer"),
    (person("add_device", device={"token": "t", "platform": "ios", "attributes": {"a": 1}}), "device.attributes",
     "strings"),
    (person("add_device", device={"token": "t", "platform": "ios", "model": "x"}), "device", "unknown keys"),
    (person("delete_device", device={"token": ""}), "device.token", "string"),
    ({"type": "person", "action": "merge", "primary": {"id": "a"}}, "secondary", "required"),
    ({"type": "person", "action": "merge", "primary": {"phone": "+49151234567"}, "secondary": {"id": "a"}}, "primary",
     "exactly one"),
    (thing("identify", "x" * 151), "identifiers.object_id", "object_id cannot be longer than 150 bytes"),
    (thing("identify", attributes={"bio": "x" * 1001}), "attributes", "1000 bytes"),
    (thing("identify", attributes={"n" * 151: 1}), "attributes", "150 bytes"),
    (thing("identify", attributes={f"a{n}": n for n in range(301)}), "attributes", "300 attributes"),
    (thing("identify", cio_relationships=[{"identifiers": {"phone": "+49151234567"}}]),
     "cio_relationships.identifiers", "exactly one"),
    (thing("identify", timestamp=5), "", "unknown keys"),
    (thing("identify") | {"identifiers": {"object_type_id": "99", "object_id": "a"}}, "identifiers.object_type_id",
     "does not exist"),
    (thing("event", name="x"), "action", "object"),
    ({"type": "delivery", "action": "event", "identifiers": {"id": "d"}, "name": "sent",
      "attributes": {"device_token": "t"}}, "name", "opened"),
    ({"type": "delivery", "action": "event", "identifiers": {"id": "d"}, "name": "opened"}, "attributes.device_token",
     "required"),
    ({"type": "place", "action": "identify"}, "type", "person, object or delivery"),
    ({"action": "identify", "identifiers": {"id": "a"}}, "type", "required"),
    (person("dance"), "action", "person"),
    ([], "", "object"),
    ("identify", "", "object"),
]  # fmt: skip
WITHIN = [
    identify("x" * 150),
    identify(EMOJI * 37),
    identify({"phone": "+4915112345678"}),
    identify("ok", **{"n" * 150: "x" * 1000}),
    identify("ok", **{f"a{n}": n for n in range(300)}),
    identify("ok", bio=EMOJI * 250, nested={"a": [1, None, {"b": 1.5}]}),
    person("event", "ok", name="n" * 100, id=ULID.lower(), timestamp=-5),
    person("event", "ok", name=EMOJI * 25, attributes={"text": "x" * 30_000}),
    person("identify", "ok", timestamp=1767225600),
    thing("identify", EMOJI * 37, attributes={"bio": "x" * 1000}),
]


@pytest.mark.parametrize(("operation", "field", "words"), LIMITS)
def test_a_broken_limit_is_named_and_its_neighbours_arrive(shared_track: Track, operation, field, words) -> None:
    turn = next(TURN)
    shared_track.box.reset_stats()
    response = shared_track.batch(identify(f"before-{turn}"), operation, identify(f"after-{turn}"))
    assert response.status_code == 207
    (error,) = response.json()["errors"]
    assert set(error) == {"batch_index", "reason", "field", "message"}
    assert (error["batch_index"], error["field"]) == (1, field)
    assert words in error["message"]
    assert shared_track.box.person("id", f"before-{turn}")
    assert shared_track.box.person("id", f"after-{turn}")
    stats = shared_track.box.stats()
    assert (stats["operations_refused"], stats["operations"]) == (1, {"person.identify": 2})
    assert stats["violation_count"] == 1


@pytest.mark.parametrize(("operation", "field", "words"), LIMITS)
def test_entity_refuses_the_same_with_400(shared_track: Track, operation, field, words) -> None:
    response = shared_track.ask("POST", "/api/v2/entity", operation)
    assert response.status_code == 400
    (error,) = response.json()["errors"]
    assert set(error) == {"reason", "field", "message"}
    assert error["field"] == field
    assert words in error["message"]


@pytest.mark.parametrize("operation", WITHIN)
def test_what_just_fits_is_accepted(shared_track: Track, operation) -> None:
    shared_track.send(operation)
    assert shared_track.ask("POST", "/api/v2/entity", operation).json() == {}


def test_errors_come_with_the_place_of_each_operation(shared_track: Track) -> None:
    wrong = {3, 4, 17, 59}
    operations = [identify("" if n in wrong else f"place-{n}") for n in range(60)]
    response = shared_track.batch(*operations)
    assert [error["batch_index"] for error in response.json()["errors"]] == sorted(wrong)
    assert all((shared_track.box.person("id", f"place-{n}") is None) == (n in wrong) for n in range(60))


@pytest.mark.parametrize(
    "write",
    [
        orjson.dumps,
        lambda value: json.dumps(value, indent=1).encode(),
        lambda value: json.dumps(value, ensure_ascii=False).encode(),
    ],
    ids=["compact", "spaced", "raw"],
)
def test_an_operation_has_32_kb_as_it_is_sent(shared_track: Track, write: Any) -> None:
    """Blanks and escapes count, but not those around the operation."""
    small = [identify(f"small-{n}", text="ü" * 99) for n in range(99)]
    for size in (32_768, 32_769):
        large = person("event", "large", name="é", attributes={"text": ""})
        element = write({"batch": [large]})
        bare = element[element.index(b"[") + 1 : element.rindex(b"]")].strip()
        large["attributes"]["text"] = "x" * (size - len(bare))
        body = write({"batch": [*small, large, *small]})
        response = shared_track.raw(body)
        if size == 32_768:
            assert response.status_code == 200, response.text
        else:
            errors = response.json()["errors"]
            assert [(e["batch_index"], e["message"]) for e in errors] == [
                (99, "operation must be smaller than 32768 bytes")
            ]


def test_an_entity_has_32_kb(shared_track: Track) -> None:
    frame = len(orjson.dumps(person("event", name="x", attributes={"text": ""})))
    for size, status in ((32_768, 200), (32_769, 400)):
        body = orjson.dumps(person("event", name="x", attributes={"text": "x" * (size - frame)}))
        assert shared_track.raw(body, "entity").status_code == status


def test_a_batch_has_500_000_bytes(shared_track: Track) -> None:
    operations = [person("event", name="x", attributes={"text": "x" * 30_000}) for _ in range(16)]
    rest = 500_000 - len(orjson.dumps({"batch": operations}))
    operations += [person("event", name="x", attributes={"text": ""})]
    frame = len(orjson.dumps(operations[-1])) + 1
    operations[-1]["attributes"]["text"] = "x" * (rest - frame)
    body = orjson.dumps({"batch": operations})
    assert len(body) == 500_000
    assert shared_track.raw(body).status_code == 200
    before = shared_track.box.stats()["operations"]
    response = shared_track.raw(body + b" ")
    assert response.status_code == 400
    assert "500000 bytes" in response.json()["errors"][0]["message"]
    assert shared_track.box.stats()["operations"] == before


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{}", b"null", b'{"batch":{}}', b'{"batch":null}', b'{"batch":[],"mode":1}', b'{"batch":[',
        b'{"batch":[{"type":"person","action":"identify","identifiers":{"id":"a"},"attributes":{"x":NaN}}]}',
        b'{"batch":[{"type":"person","action":"identify","identifiers":{"id":"a"},"attributes":{"x":Infinity}}]}',
        b'{"batch":[{"type":"person","action":"identify","identifiers":{"id":"a"},"attributes":{"x":1e999}}]}',
        b'{"batch":[{"type":"person","action":"identify","identifiers":{"id":"\xff"}}]}',
        b'{"batch":[{"type":"person","action":"identify","identifiers":{"id":"\\ud800"}}]}',
    ],
)  # fmt: skip
def test_a_bad_body_is_refused_as_a_whole(shared_track: Track, body: bytes) -> None:
    response = shared_track.raw(body)
    assert response.status_code == 400
    (error,) = response.json()["errors"]
    assert set(error) == {"reason", "field", "message"}


def test_an_empty_batch_is_fine(shared_track: Track) -> None:
    shared_track.send()


def test_what_is_nested_too_deep_is_refused_alone(shared_track: Track) -> None:
    deep = b"[" * 500 + b"]" * 500
    texts = [orjson.dumps(identify(f"deep-{n}", a=n)) for n in range(2)]
    body = b'{"batch":[' + b",".join([texts[0], texts[0].replace(b'"a":0', b'"a":' + deep), texts[1]]) + b"]}"
    response = shared_track.raw(body)
    assert [error["batch_index"] for error in response.json()["errors"]] == [1]
    assert shared_track.box.person("id", "deep-1")


def test_needs_json_and_knows_no_parameters(shared_track: Track) -> None:
    url = f"{shared_track.box.url}/api/v2/batch"
    assert shared_track.session.post(url, data=b'{"batch":[]}', timeout=10).status_code == 400
    assert shared_track.ask("POST", "/api/v2/batch", {"batch": []}, mode="x").status_code == 400


def test_more_requests_than_the_budget_get_429() -> None:
    with forked.launch(**EMPTY | {"track_rps": 5, "app_rps": 2}) as box:
        track = Track(box)
        statuses = [track.batch(identify(f"p{n}")).status_code for n in range(7)]
        assert statuses == [200] * 5 + [429] * 2
        response = track.batch(identify("p9"))
        assert response.headers["Retry-After"] == "1"
        stats = box.stats()
        assert (stats["rate_limited"], stats["violation_count"], stats["track_requests"]) == (3, 3, 8)
        assert (stats["requests"], stats["track_busiest_second"]) == (0, 8)
        assert stats["operations"] == {"person.identify": 5}
        assert len(box.truth("customers")) == 5
        track.session.close()
