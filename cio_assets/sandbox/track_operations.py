"""Which operations version 2 of the Track API knows, and what each may and must hold."""

from collections.abc import Callable
from typing import Any

from cio_assets.sandbox import track_checks as c
from cio_assets.sandbox.track_checks import Checked

Operation = dict[str, Any]
Check = Callable[[Operation, bytes | None], Checked]

COMMON = frozenset(("type", "action", "identifiers"))
RESERVED_PERSON = frozenset(("_update", "cio_subscription_preferences"))
MAIL_FIELDS = ("recipient", "from_address", "reply_to")
PAGE_FIELDS = ("path", "referrer", "search", "title", "url")
DELIVERY_EVENTS = ("opened", "converted", "delivered")


def check(operation: Any, text: bytes | None) -> Checked:
    """Refuse an operation that is not documented so; `text` is the JSON of its attributes.

    It is b"" without any, and None where they are nested too deep.
    """
    if type(operation) is not dict:
        return c.invalid("", "an operation must be an object")
    kind, action = operation.get("type"), operation.get("action")
    if type(kind) is not str or kind not in ("person", "object", "delivery"):
        return c.required("type") if kind is None else c.invalid("type", "type must be person, object or delivery")
    if type(action) is not str or (kind, action) not in CHECKS:
        return c.required("action") if action is None else c.invalid("action", f"action is not one of {kind}")
    known, specific = CHECKS[kind, action]
    if not operation.keys() <= known:
        return c.invalid("", "unknown keys of the operation")
    return specific(operation, text)


def _identify_person(operation: Operation, text: bytes | None) -> Checked:
    if refusal := c.check_identifiers(operation.get("identifiers")):
        return refusal
    if "timestamp" in operation and type(operation["timestamp"]) is not int:
        return c.invalid("timestamp", "timestamp must be an integer")
    if "attributes" in operation:
        attributes = operation["attributes"]
        if refusal := c.check_attributes(attributes, text):
            return refusal
        if not RESERVED_PERSON.isdisjoint(attributes) and (refusal := c.check_reserved(attributes)):
            return refusal
    if "cio_relationships" in operation:
        return c.check_relationships(operation["cio_relationships"], c.check_object)
    return None


def _person(operation: Operation, _text: bytes | None) -> Checked:
    return c.check_identifiers(operation.get("identifiers"))


def _person_event(operation: Operation, _text: bytes | None) -> Checked:
    if refusal := c.check_identifiers(operation.get("identifiers")):
        return refusal
    attributes = operation.get("attributes", ...)
    given = operation.get("id", ...), operation.get("timestamp", ...)
    if refusal := c.check_event(operation.get("name"), *given, attributes, "attributes"):
        return refusal
    if attributes is ...:
        return None
    fields = {"event": MAIL_FIELDS, "page": PAGE_FIELDS}.get(operation["action"], ())
    for name in fields:
        if name in attributes and type(attributes[name]) is not str:
            return c.invalid(f"attributes.{name}", f"{name} must be a string")
    if operation["action"] == "page" and "keywords" in attributes:
        keywords = attributes["keywords"]
        if type(keywords) is not list or any(type(word) is not str for word in keywords):
            return c.invalid("attributes.keywords", "keywords must be strings")
    return None


def _person_relationships(operation: Operation, _text: bytes | None) -> Checked:
    if refusal := c.check_identifiers(operation.get("identifiers")):
        return refusal
    if "cio_relationships" not in operation:
        return c.required("cio_relationships")
    return c.check_relationships(operation["cio_relationships"], c.check_object)


def _add_device(operation: Operation, _text: bytes | None) -> Checked:
    return c.check_identifiers(operation.get("identifiers")) or c.check_device(operation.get("device"))


def _delete_device(operation: Operation, _text: bytes | None) -> Checked:
    return c.check_identifiers(operation.get("identifiers")) or c.check_token(operation.get("device"))


def _merge(operation: Operation, _text: bytes | None) -> Checked:
    for side in ("primary", "secondary"):
        if refusal := c.check_identifiers(operation.get(side), c.LASTING_KINDS, side):
            return refusal
    return None


def _lasting(value: Any, field: str) -> Checked:
    return c.check_identifiers(value, c.LASTING_KINDS, field)


def _anonymous(value: Any, field: str) -> Checked:
    return c.check_identifiers(value, c.ANONYMOUS_KINDS, field)


def _object(check_identity: Callable[[Any, str], Checked] = _lasting, needed: bool = False) -> Check:
    def check_object(operation: Operation, text: bytes | None) -> Checked:
        if refusal := c.check_object(operation.get("identifiers")):
            return refusal
        if "attributes" in operation and (refusal := c.check_attributes(operation["attributes"], text)):
            return refusal
        if "cio_relationships" in operation:
            return c.check_relationships(operation["cio_relationships"], check_identity)
        return c.required("cio_relationships") if needed else None

    return check_object


def _delivery_event(operation: Operation, _text: bytes | None) -> Checked:
    identifiers, attributes = operation.get("identifiers"), operation.get("attributes")
    if type(identifiers) is not dict or identifiers.keys() != {"id"}:
        return c.invalid("identifiers", "identifiers must hold the id of a delivery")
    if refusal := c.check_token({"token": identifiers["id"]}):
        return c.invalid("identifiers.id", refusal[2])
    if operation.get("name") not in DELIVERY_EVENTS:
        return c.invalid("name", f"name must be one of {', '.join(DELIVERY_EVENTS)}")
    if type(attributes) is not dict or type(attributes.get("device_token")) is not str:
        return c.invalid("attributes.device_token", "device_token is required")
    return None


EVENT = COMMON | {"name", "id", "timestamp", "attributes"}
RELATED = COMMON | {"cio_relationships"}
CHECKS: dict[tuple[str, str], tuple[frozenset[str], Check]] = {
    ("person", "identify"): (RELATED | {"attributes", "timestamp"}, _identify_person),
    ("person", "delete"): (COMMON, _person),
    ("person", "event"): (EVENT, _person_event),
    ("person", "page"): (EVENT, _person_event),
    ("person", "screen"): (EVENT, _person_event),
    ("person", "add_relationships"): (RELATED, _person_relationships),
    ("person", "delete_relationships"): (RELATED, _person_relationships),
    ("person", "add_device"): (COMMON | {"device"}, _add_device),
    ("person", "delete_device"): (COMMON | {"device"}, _delete_device),
    ("person", "merge"): (frozenset(("type", "action", "primary", "secondary")), _merge),
    ("person", "suppress"): (COMMON, _person),
    ("person", "unsuppress"): (COMMON, _person),
    ("object", "identify"): (RELATED | {"attributes"}, _object()),
    ("object", "identify_anonymous"): (RELATED | {"attributes"}, _object(_anonymous)),
    ("object", "delete"): (COMMON, _object()),
    ("object", "add_relationships"): (RELATED, _object(needed=True)),
    ("object", "delete_relationships"): (RELATED, _object(needed=True)),
    ("delivery", "event"): (COMMON | {"name", "attributes"}, _delivery_event),
}
