"""Handlers of version 1 of the Track API: each checks its body, says what is wrong in the documented words, applies."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from cio_assets.sandbox import track_checks as c
from cio_assets.sandbox.errors import ApiError
from cio_assets.sandbox.options import SandboxOptions
from cio_assets.sandbox.stats import Stats
from cio_assets.sandbox.track_checks import Checked
from cio_assets.sandbox.track_events import Event
from cio_assets.sandbox.track_writer import Writer
from cio_assets.sandbox.world import World

Body = dict[str, Any]
Identity = tuple[str, str]
EVENT_TYPES = ("event", "page", "screen")
METRICS = ("bounced", "clicked", "converted", "deferred", "delivered", "dropped", "opened", "spammed")
FORM_KEYS = frozenset(("form_id", "form_name", "form_type", "form_url", "form_url_param"))
INTEGERS = ("created_at", "_timestamp")
HOSTS = {"us": "https://track.customer.io", "eu": "https://track-eu.customer.io"}


@dataclass
class TrackCall:
    """One request after its body was read; `now` in unix seconds."""

    texts: dict[str, str]
    query: dict[str, str]
    body: Any
    now: int


@dataclass
class V1:
    """What the handlers work with."""

    world: World
    writer: Writer
    stats: Stats
    options: SandboxOptions

    def count(self, operation: str) -> None:
        """Count an accepted operation under the name that it has in version 2."""
        self.stats.operations[operation] += 1


def region(v1: V1, _call: TrackCall) -> Body:
    """GET /api/v1/accounts/region: works with either region's host."""
    name = v1.options.region
    return {"url": HOSTS[name], "region": name, "environment_id": v1.options.environment_id}


def identify(v1: V1, call: TrackCall) -> None:
    """PUT /api/v1/customers/{identifier}."""
    attributes = _object(call.body)
    kind, value = _identity(v1, call)
    _check_identify(attributes)
    attributes = dict(attributes)
    related = attributes.pop("cio_relationships", None)
    stamp = attributes.pop("_timestamp", None)
    text = orjson.dumps(attributes)
    _refuse(c.check_attributes(attributes, text))
    person = v1.writer.people.identify(kind, value, attributes, text, call.now, stamp)
    if related is not None and person is not None:
        adding = related["action"] == "add_relationships"
        write = v1.writer.objects.relate_objects if adding else v1.writer.objects.unrelate_objects
        write(person, related["relationships"], call.now)
    v1.count("person.identify")


def delete(v1: V1, call: TrackCall) -> None:
    """DELETE /api/v1/customers/{identifier}."""
    _leave(v1, call, "delete")


def suppress(v1: V1, call: TrackCall) -> None:
    """POST /api/v1/customers/{identifier}/suppress."""
    _leave(v1, call, "suppress")


def unsuppress(v1: V1, call: TrackCall) -> None:
    """POST /api/v1/customers/{identifier}/unsuppress."""
    _leave(v1, call, "unsuppress")


def _leave(v1: V1, call: TrackCall, action: str) -> None:
    v1.writer.leave(action, *_identity(v1, call), call.now)
    v1.count(f"person.{action}")


def add_device(v1: V1, call: TrackCall) -> None:
    """PUT /api/v1/customers/{identifier}/devices."""
    body = _object(call.body, {"device"})
    device: Any = body.get("device")
    _refuse(c.check_device(device, "id"))
    v1.writer.people.add_device(*_identity(v1, call), device | {"token": device["id"]}, call.now)
    v1.count("person.add_device")


def delete_device(v1: V1, call: TrackCall) -> None:
    """DELETE /api/v1/customers/{identifier}/devices/{device_id}."""
    v1.writer.people.delete_device(*_identity(v1, call), call.texts["device_id"], call.now)
    v1.count("person.delete_device")


def event(v1: V1, call: TrackCall) -> None:
    """POST /api/v1/customers/{identifier}/events."""
    _event(v1, call, *_identity(v1, call))


def anonymous_event(v1: V1, call: TrackCall) -> None:
    """POST /api/v1/events: without an anonymous_id nobody can ever be found for it."""
    body = _object(call.body)
    anonymous_id = body.get("anonymous_id", "")
    if type(anonymous_id) is not str:
        raise ApiError(400, "anonymous_id must be a string value")
    _event(v1, call, "anonymous_id", anonymous_id)


def _event(v1: V1, call: TrackCall, kind: str, value: str) -> None:
    body = _object(call.body, {"name", "type", "id", "timestamp", "data", "anonymous_id"})
    if body.get("name") is None:
        raise ApiError(400, "name cannot be blank")
    data = body.get("data", ...)
    _refuse(c.check_event(body["name"], body.get("id", ...), body.get("timestamp", ...), data, "data"))
    if body.get("type", "event") not in EVENT_TYPES:
        raise ApiError(400, f"event type must be one of {', '.join(EVENT_TYPES)}")
    text = b"" if data is ... else orjson.dumps(data)
    name, type_, stamp = body["name"].strip(), body.get("type", "event"), body.get("timestamp", call.now)
    v1.writer.event(Event(body.get("id"), name, type_, kind, value, None, stamp, text), call.now)
    v1.count(f"person.{type_}" if kind != "anonymous_id" else f"anonymous.{type_}")


def merge(v1: V1, call: TrackCall) -> None:
    """POST /api/v1/merge_customers."""
    body = _object(call.body, {"primary", "secondary"})
    for side in ("primary", "secondary"):
        _refuse(c.check_identifiers(body.get(side), c.LASTING_KINDS, side))
    (primary,), (secondary,) = body["primary"].items(), body["secondary"].items()
    v1.writer.merge(primary, secondary, call.now)
    v1.count("person.merge")


def add_to_segment(v1: V1, call: TrackCall) -> None:
    """POST /api/v1/segments/{segment_id}/add_customers; ids that nobody has are ignored."""
    identity, people = _members(v1, call)
    v1.world.segments.enter(identity, people)
    v1.count("segment.add_customers")


def remove_from_segment(v1: V1, call: TrackCall) -> None:
    """POST /api/v1/segments/{segment_id}/remove_customers; only people with an `id` can be removed."""
    identity, people = _members(v1, call)
    with_id = [number for number in people.tolist() if v1.world.people.ids[number] is not None]
    v1.world.segments.exit(identity, np.array(with_id, np.int32))
    v1.count("segment.remove_customers")


def _members(v1: V1, call: TrackCall) -> tuple[int, np.ndarray]:
    """Return the manual segment and the numbers of the people who are meant."""
    body, kind = _object(call.body, {"ids"}), call.query.get("id_type", "id")
    if kind not in ("id", "email", "cio_id"):
        raise ApiError(400, "id_type must be id, email or cio_id")
    ids = body.get("ids")
    if type(ids) is not list or not 1 <= len(ids) <= 1000 or any(type(value) is not str for value in ids):
        raise ApiError(400, "ids must be an array of 1 to 1000 strings")
    text = call.texts["segment_id"]
    item = v1.world.segments.items.get(int(text)) if text.isascii() and text.isdigit() and len(text) < 16 else None
    if item is None:
        raise ApiError(400, "segment does not exist")
    if item["type"] != "manual":
        raise ApiError(400, "segment is data-driven: only manual segments can be changed")
    found = {v1.world.people.find(kind, value) for value in ids}
    return item["id"], np.array(sorted(number for number in found if number is not None), np.int32)


def submit_form(v1: V1, call: TrackCall) -> None:
    """POST /api/v1/forms/{form_id}/submit: identifies whoever submitted it."""
    data = _object(call.body, {"data"}).get("data")
    if type(data) is not dict:
        raise ApiError(400, "data must be an object")
    kind = next((name for name in ("id", "email") if type(data.get(name)) is str and data[name]), None)
    if kind is None:
        raise ApiError(400, "data must contain id or email")
    if any(type(value) is not str for name, value in data.items() if name not in ("id", "email")):
        raise ApiError(400, "form fields must be strings")
    attributes = {name: value for name, value in data.items() if name not in FORM_KEYS and name != kind}
    text = orjson.dumps(attributes)
    _refuse(c.check_attributes(attributes, text))
    v1.writer.people.identify(kind, data[kind], attributes, text, call.now)
    v1.count("form.submit")


def metric(v1: V1, call: TrackCall) -> None:
    """POST /api/v1/metrics."""
    body = _object(call.body, {"delivery_id", "metric", "timestamp", "recipient", "reason", "href"})
    _require_text(body, "delivery_id", "reason", "href")
    if body.get("metric") not in METRICS:
        raise ApiError(400, f"metric must be one of {', '.join(METRICS)}")
    if type(body.get("recipient", "")) not in (str, int):
        raise ApiError(400, "recipient must be a string value")
    v1.writer.metric(body["delivery_id"], body["metric"], _stamp(body, call))
    v1.count("delivery.event")


def push_event(v1: V1, call: TrackCall) -> None:
    """POST /api/v1/push/events."""
    body = _object(call.body, {"delivery_id", "event", "device_id", "timestamp"})
    _require_text(body, "delivery_id", "device_id")
    if body.get("event") not in ("opened", "converted", "delivered"):
        raise ApiError(400, "event must be opened, converted or delivered")
    v1.writer.metric(body["delivery_id"], body["event"], _stamp(body, call))
    v1.count("delivery.event")


def unsubscribe(v1: V1, call: TrackCall) -> None:
    """POST /unsubscribe/{delivery_id}."""
    body = _object(call.body, {"unsubscribe"})
    if type(body.get("unsubscribe", True)) is not bool:
        raise ApiError(400, "unsubscribe must be a boolean")
    person = v1.writer.recipient(call.texts["delivery_id"])
    if person is None:
        raise ApiError(400, "delivery does not exist", fault_of_client=False)
    if body.get("unsubscribe", True):
        cio_id = v1.world.people.cio_ids[person]
        v1.writer.people.identify("cio_id", cio_id, {"unsubscribed": True}, b'{"unsubscribed":true}', call.now)
    v1.count("delivery.unsubscribe")


def _identity(v1: V1, call: TrackCall) -> Identity:
    """Read `{identifier}`: cio_<cio_id>, else an id, else an email; a phone is taken for an id."""
    text = call.texts["identifier"]
    if text.startswith("cio_"):
        return "cio_id", text.removeprefix("cio_")
    kind = "email" if "@" in text and v1.world.people.find("id", text) is None else "id"
    _refuse(c.check_identifier(text, kind, "identifier"))
    return kind, text


def _check_identify(attributes: Body) -> None:
    """Refuse what the documentation does not allow in the flat body of identify."""
    if "id" in attributes:
        if attributes["id"] is None:
            raise ApiError(400, "id attribute must be present")
        if type(attributes["id"]) is not str:
            raise ApiError(400, "id attribute must be a string value")
        if not attributes["id"]:
            raise ApiError(400, "id attribute cannot be an empty string")
    for names, kind, word in (
        (("email", "anonymous_id"), str, "a string value"), (INTEGERS, int, "an integer"),
        (("unsubscribed", "_update"), bool, "a boolean"),
    ):  # fmt: skip
        for name in names:
            if name in attributes and type(attributes[name]) is not kind:
                raise ApiError(400, f"{name} attribute must be {word}")
    _refuse(c.check_reserved(attributes))
    if "cio_relationships" in attributes:
        _check_relationships(attributes["cio_relationships"])
    for name, value in attributes.items():
        # The specification says string, integer, boolean; the official clients also send floats, and null for NaN.
        if type(value) in (dict, list) and name not in ("cio_relationships", "cio_subscription_preferences"):
            raise ApiError(400, f"value for attribute '{name[:150]}' must be a string, a number or a boolean")


def _check_relationships(value: Any) -> None:
    if type(value) is not dict or value.keys() != {"action", "relationships"}:
        raise ApiError(400, "cio_relationships must be an object of action and relationships")
    if value["action"] not in ("add_relationships", "delete_relationships"):
        raise ApiError(400, "cio_relationships.action must be add_relationships or delete_relationships")
    _refuse(c.check_relationships(value["relationships"], c.check_object))


def _object(body: Any, known: Collection[str] | None = None) -> Body:
    if type(body) is not dict:
        raise ApiError(400, "the body must be an object")
    if known is not None:
        _refuse(c.check_keys(body, known, "body"))
    return body


def _refuse(refusal: Checked) -> None:
    if refusal is not None:
        raise ApiError(400, refusal[2])


def _require_text(body: Body, name: str, *optional: str) -> None:
    for key in (name, *optional):
        if type(body.get(key, "" if key in optional else None)) is not str:
            raise ApiError(400, f"{key} must be a string value")


def _stamp(body: Body, call: TrackCall) -> int:
    stamp = body.get("timestamp", call.now)
    if type(stamp) is not int:
        raise ApiError(400, "timestamp must be an integer")
    return stamp
