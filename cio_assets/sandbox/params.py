"""Strict validation of query parameters, path ids and bodies, from tables of what is documented."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import orjson

from cio_assets.sandbox.activities import known_type
from cio_assets.sandbox.errors import ApiError

INTEGER = re.compile(r"-?\d{1,15}")


@dataclass(frozen=True)
class Param:
    """One query parameter: its kind and, for integers, its bounds."""

    kind: str = "text"  # text | integer | boolean | choice | activity_type
    default: Any = None
    choices: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None  # above it: 400, where the maximum is documented
    clamp: int | None = None  # above it: cut down, where it is only observed

    def read(self, name: str, text: str) -> Any:
        """Turn the text of a parameter into its value, or refuse with 400."""
        if self.kind == "integer":
            if not INTEGER.fullmatch(text):
                raise ApiError(400, f"{name}: not an integer")
            value = int(text)
            if (self.least is not None and value < self.least) or (self.most is not None and value > self.most):
                raise ApiError(400, f"{name}: out of range")
            return value if self.clamp is None else min(value, self.clamp)
        if self.kind == "boolean":
            if text not in ("true", "false"):
                raise ApiError(400, f"{name}: not a boolean")
            return text == "true"
        known = {"choice": text in self.choices, "activity_type": self.kind != "activity_type" or known_type(text)}
        if not known.get(self.kind, True):
            raise ApiError(400, f"{name}: unknown value")
        return text


def limit(default: int, most: int | None = None, clamp: int | None = None) -> Param:
    """Describe a page size."""
    return Param("integer", default, least=1, most=most, clamp=clamp)


def choice(*choices: str, default: str | None = None) -> Param:
    """Describe an enum."""
    return Param("choice", default, choices)


TEXT, INT, BOOL, FLAG = Param(), Param("integer"), Param("boolean"), Param("boolean", False)
CHANNEL = choice("email", "webhook", "twilio", "whatsapp", "slack", "push", "in_app", "live_notification")
LETTER_CHANNEL = choice("email", "webhook", "twilio", "push", "in_app", "inbox")
METRIC = choice("attempted", "sent", "delivered", "opened", "clicked", "converted", "bounced", "spammed",
                "unsubscribed", "dropped", "failed", "undeliverable")  # fmt: skip
STATE = choice("failed", "sent", "drafted", "attempted")
ID_TYPE = choice("id", "email", "phone", "cio_id", default="id")
OBJECT_ID_TYPE = choice("object_id", "cio_object_id", default="object_id")
SORT = choice("asc", "desc")

CURSOR = {"start": TEXT}
WINDOW = {"start_ts": Param("integer", least=0), "end_ts": Param("integer", least=0)}
DELIVERIES = CURSOR | WINDOW | {"metric": METRIC, "get_tracked_responses": FLAG}
WHOLE_DELIVERIES = DELIVERIES | {"limit": limit(50, most=1000), "type": CHANNEL, "drafts": BOOL}
PARENT_DELIVERIES = DELIVERIES | {"limit": limit(50, clamp=1000)}  # no maximum is documented for these
V1 = {"period": choice("hours", "days", "weeks", "months", default="days"), "steps": Param("integer", least=0)}
V2 = {"version": TEXT, "res": choice("hours", "hourly", "days", "daily", "weeks", "weekly", "months", "monthly"),
      "start": Param("integer", least=0), "end": Param("integer", least=0), "tz": Param(default="UTC")}  # fmt: skip


def read_query(raw: bytes, params: Mapping[str, Param]) -> dict[str, Any]:
    """Validate a query string; every documented parameter is in the result, None or its default where absent."""
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, strict_parsing=bool(raw), errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise ApiError(400, "malformed query string") from None
    values = {name: param.default for name, param in params.items()}
    seen: set[str] = set()
    for name, text in pairs:
        if name not in params:
            raise ApiError(400, f"unknown parameter {name[:40]!r}")
        if name in seen:
            raise ApiError(400, f"{name}: given twice")
        seen.add(name)
        values[name] = params[name].read(name, text)
    return values


def read_body(
    content_type: str, raw: bytes, required: Mapping[str, type], optional: Mapping[str, type] | None = None
) -> dict[str, Any]:
    """Validate a JSON body: an object with the required keys, maybe optional ones, and no others."""
    optional = optional or {}
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise ApiError(400, "content type must be application/json")
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise ApiError(400, "body is not JSON") from None
    if not isinstance(body, dict):
        raise ApiError(400, "body is not an object")
    for name, kind in required.items():
        if not isinstance(body.get(name), kind):
            raise ApiError(400, f"{name}: required, must be {kind.__name__}")
    for name, kind in optional.items():
        if name in body and not isinstance(body[name], kind):
            raise ApiError(400, f"{name}: must be {kind.__name__}")
    if unknown := set(body) - set(required) - set(optional):
        raise ApiError(400, f"unknown body keys {sorted(unknown)}")
    return body


def check_filter(node: Any, leaf: str, depth: int = 0) -> None:
    """Refuse a filter that does not follow the documented grammar; `leaf` is attribute or object_attribute."""
    if not isinstance(node, dict) or len(node) != 1 or depth > 10:
        raise ApiError(400, "filter: exactly one key expected")
    (key, value), *_ = node.items()
    if key in ("and", "or"):
        if not isinstance(value, list) or not value:
            raise ApiError(400, f"filter: {key} takes a list of filters")
        for item in value:
            check_filter(item, leaf, depth + 1)
    elif key == "not":
        check_filter(value, leaf, depth + 1)
    elif key == leaf:
        _check_attribute(value, leaf)
    elif key == "segment" and leaf == "attribute":
        if not isinstance(value, dict) or set(value) != {"id"} or type(value["id"]) is not int:
            raise ApiError(400, "filter: segment takes an integer id")
    else:
        raise ApiError(400, "filter: unknown key")


def _check_attribute(value: Any, leaf: str) -> None:
    required = {"field", "operator"} | ({"type_id"} if leaf == "object_attribute" else set())
    if not isinstance(value, dict) or not required <= set(value) <= required | {"value"}:
        raise ApiError(400, f"filter: {leaf} takes {sorted(required)} and value")
    if not all(isinstance(value[name], str) for name in required):
        raise ApiError(400, f"filter: {leaf} takes strings")
    if value["operator"] not in ("eq", "exists"):
        raise ApiError(400, "filter: operator must be eq or exists")
    if value["operator"] == "eq" and not isinstance(value.get("value"), str):
        raise ApiError(400, "filter: eq needs a value")
