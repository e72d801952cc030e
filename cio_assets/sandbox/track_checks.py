"""What one value of a Track API operation may be: identifiers, attributes, times, devices, relationships.

A check returns None, or a Refusal of reason, field and message; no message holds a value that was sent.
"""

import re
from collections.abc import Callable, Collection
from typing import Any

import orjson

Refusal = tuple[str, str, str]
Checked = Refusal | None

IDENTIFIER_BYTES, NAME_BYTES, VALUE_BYTES, ATTRIBUTES, EVENT_NAME_BYTES = 150, 150, 1000, 300, 100
ATTRIBUTES_BYTES = 100_000
WIDEST = 4  # bytes of one character in UTF-8
ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", re.IGNORECASE | re.ASCII)
PHONE = re.compile(r"\+[1-9][0-9]{1,14}")
TYPE_ID = re.compile(r"[0-9]{1,9}")
PERSON_KINDS = frozenset(("id", "email", "phone", "cio_id"))
LASTING_KINDS = PERSON_KINDS - {"phone"}
ANONYMOUS_KINDS = frozenset(("anonymous_id",))


def invalid(field: str, message: str) -> Refusal:
    """Refuse a value."""
    return "invalid", field, message


def required(field: str) -> Refusal:
    """Refuse what lacks a value."""
    return "required", field, f"{field} is required"


def as_json(value: Any) -> bytes | None:
    """Write a value as JSON, None where it is nested too deep for that."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return None


def longer(text: str, most: int) -> bool:
    """Tell whether a text has more than so many bytes."""
    return len(text) * WIDEST > most and len(text.encode()) > most


def check_keys(value: dict[str, Any], known: Collection[str], field: str) -> Checked:
    """Refuse keys that are not documented."""
    if value.keys() <= known:  # pyright: ignore[reportOperatorIssue]  # known is a set, which Collection does not say
        return None
    return invalid(field, f"{field}: unknown keys" if field else "unknown keys of the operation")


def check_identifiers(value: Any, kinds: frozenset[str] = PERSON_KINDS, field: str = "identifiers") -> Checked:
    """Refuse anything but exactly one identifier of a person."""
    if type(value) is not dict:
        return required(field) if value is None else invalid(field, f"{field} must be an object")
    if len(value) != 1:
        return invalid(field, f"{field} must hold exactly one of {', '.join(sorted(kinds))}")
    ((kind, text),) = value.items()
    if kind not in kinds:
        return invalid(field, f"{field} must hold exactly one of {', '.join(sorted(kinds))}")
    return check_identifier(text, kind, f"{field}.{kind}")


def check_identifier(text: Any, kind: str, field: str) -> Checked:
    """Refuse an identifier that is no text, empty, too long or, for a phone, not E.164."""
    if type(text) is not str:
        return invalid(field, f"{kind} must be a string value")
    if not text:
        return invalid(field, f"{kind} cannot be an empty string")
    if kind in ("id", "cio_id", "object_id", "cio_object_id") and longer(text, IDENTIFIER_BYTES):
        return invalid(field, f"{kind} cannot be longer than {IDENTIFIER_BYTES} bytes")
    if kind == "phone" and not PHONE.fullmatch(text):
        return invalid(field, "phone must be in E.164 format")
    return None


def check_object(value: Any, field: str = "identifiers") -> Checked:
    """Refuse anything but {object_type_id, object_id} or {cio_object_id}."""
    if type(value) is not dict:
        return required(field) if value is None else invalid(field, f"{field} must be an object")
    if value.keys() == {"cio_object_id"}:
        return check_identifier(value["cio_object_id"], "cio_object_id", f"{field}.cio_object_id")
    if value.keys() != {"object_type_id", "object_id"}:
        return invalid(field, f"{field} must hold object_type_id and object_id, or cio_object_id")
    kind = value["object_type_id"]
    if type(kind) is not str or not TYPE_ID.fullmatch(kind):
        return invalid(f"{field}.object_type_id", "object_type_id must be an integer as a string")
    return check_identifier(value["object_id"], "object_id", f"{field}.object_id")


def check_attributes(value: Any, text: bytes | None, field: str = "attributes") -> Checked:
    """Refuse attributes that are too many, too deep, or whose names or values are too long; `text` is their JSON."""
    if type(value) is not dict:
        return invalid(field, f"{field} must be an object")
    if text is None:
        return invalid(field, f"{field} are nested too deep")
    if len(value) > ATTRIBUTES:
        return invalid(field, f"cannot identify more than {ATTRIBUTES} attributes in one request")
    # Most attributes are too short as a whole to hold one that is too long.
    if len(text) > NAME_BYTES and any(longer(name, NAME_BYTES) for name in value):
        return invalid(field, f"attribute name cannot be longer than {NAME_BYTES} bytes")
    if len(text) <= VALUE_BYTES:
        return None
    if len(text) > ATTRIBUTES_BYTES:
        return invalid(field, f"{field} cannot be longer than {ATTRIBUTES_BYTES} bytes")
    for name, item in value.items():
        if longer(item, VALUE_BYTES) if type(item) is str else len(orjson.dumps(item)) > VALUE_BYTES:
            shown = name[:NAME_BYTES]
            return invalid(field, f"value for attribute '{shown}' cannot be longer than {VALUE_BYTES} bytes")
    return None


def check_reserved(value: dict[str, Any]) -> Checked:
    """Refuse reserved attributes of a person that are not of their documented type."""
    if type(value.get("_update", False)) is not bool:
        return invalid("attributes._update", "_update must be a boolean")
    return check_preferences(value.get("cio_subscription_preferences", {}), "attributes.cio_subscription_preferences")


def check_preferences(value: Any, field: str) -> Checked:
    """Refuse subscription preferences other than {topics: {name: boolean}}."""
    if type(value) is not dict or type(value.get("topics", {})) is not dict:
        return invalid(field, "cio_subscription_preferences must be an object with topics")
    if any(type(choice) is not bool for choice in value.get("topics", {}).values()):
        return invalid(field, "topics take booleans")
    return None


def check_relationships(value: Any, check_identity: Callable[[Any, str], Checked]) -> Checked:
    """Refuse anything but a list of {identifiers, relationship_attributes}."""
    field = "cio_relationships"
    if type(value) is not list:
        return invalid(field, f"{field} must be an array")
    for item in value:
        if type(item) is not dict:
            return invalid(field, f"{field} takes objects")
        if refusal := check_keys(item, {"identifiers", "relationship_attributes"}, field):
            return refusal
        if refusal := check_identity(item.get("identifiers"), f"{field}.identifiers"):
            return refusal
        if "relationship_attributes" in item:
            attributes = item["relationship_attributes"]
            if refusal := check_attributes(attributes, as_json(attributes), f"{field}.relationship_attributes"):
                return refusal
    return None


def check_device(value: Any, key: str = "token") -> Checked:
    """Refuse anything but a device of a token and a platform; version 1 has the token under the `key` "id"."""
    if type(value) is not dict:
        return invalid("device", "device must be an object")
    if refusal := check_keys(value, {key, "platform", "last_used", "attributes"}, "device"):
        return refusal
    if refusal := check_token(value, key):
        return refusal
    if value.get("platform") not in ("ios", "android"):
        return invalid("device.platform", "platform must be ios or android")
    if "last_used" in value and type(value["last_used"]) is not int:
        return invalid("device.last_used", "last_used must be an integer")
    attributes = value.get("attributes", {})
    if type(attributes) is not dict or any(type(text) is not str for text in attributes.values()):
        return invalid("device.attributes", "device attributes must be strings")
    if attributes.get("push_enabled", "true") not in ("true", "false"):
        return invalid("device.attributes.push_enabled", "push_enabled must be true or false")
    if attributes.get("_last_status", "") not in ("", "bounced", "sent", "suppressed"):
        return invalid("device.attributes._last_status", "unknown _last_status")
    return None


def check_token(device: Any, key: str = "token") -> Checked:
    """Refuse a device without a token under `key`."""
    if type(device) is not dict:
        return invalid("device", "device must be an object")
    if type(device.get(key)) is not str or not device[key]:
        return invalid(f"device.{key}", f"device {key} must be a string")
    return None


def check_event(name: Any, identity: Any, stamp: Any, data: Any, field: str) -> Checked:
    """Refuse an event without a proper name, id, time or data (called `field`)."""
    if type(name) is not str:
        return required("name") if name is None else invalid("name", "event name must be a string")
    if not name.strip():
        return invalid("name", "event name must not be blank")
    if longer(name, EVENT_NAME_BYTES):
        return invalid("name", f"event name cannot be longer than {EVENT_NAME_BYTES} bytes")
    if identity is not ... and (type(identity) is not str or not ULID.fullmatch(identity)):
        return invalid("id", "id must be a valid ULID")
    if stamp is not ... and type(stamp) is not int:
        return invalid("timestamp", "timestamp must be an integer")
    if data is ...:
        return None
    if type(data) is not dict:
        return invalid(field, "event data must be a hash")
    text = as_json(data)
    if text is None:
        return invalid(field, f"{field} are nested too deep")
    if len(text) > ATTRIBUTES_BYTES:
        return invalid(field, f"event data cannot be longer than {ATTRIBUTES_BYTES} bytes")
    return None
