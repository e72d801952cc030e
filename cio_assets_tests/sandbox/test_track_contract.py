"""The hand-written checks of version 2 against the official specification, over generated operations."""

import json
import re
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cio_assets.sandbox.track_operations import CHECKS, check

from .track_client import ULID

# Where we know better than the specification: each is documented in words, or is what "strict" means here.
STRICTER = re.compile(
    r"unknown keys|is required|identifiers must|primary must hold|secondary must hold|cannot be an empty string"
    r"|must be a valid ULID|E\.164|must not be blank|must be an integer( as a string)?$|device token must be a string"
)


@cache
def official() -> jsonschema.Draft202012Validator:
    """Return a validator of one operation of a batch; the file is the specification's own text.

    One repair: people related to an object are a `oneOf` of which none requires its key, so that the documented
    example itself fits all three and is refused.
    """
    schema = json.loads((Path(__file__).parent / "track_operation.schema.json").read_text())
    for choice in schema["$defs"]["v2_cio_relationships"]["items"]["properties"]["identifiers"]["oneOf"]:
        choice["required"] = list(choice["properties"])
    return jsonschema.Draft202012Validator(schema)


junk = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5),
    st.lists(st.integers(-9, 2**62), max_size=2), st.dictionaries(st.text(max_size=3), st.booleans(), max_size=2),
)  # fmt: skip
words = st.text(min_size=1, max_size=12).filter(lambda text: text.strip())
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(-1e9, 1e9), st.text(max_size=20)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
plain = st.dictionaries(words.filter(lambda name: name != "_update"), values, max_size=5)
texts = st.dictionaries(words, st.text(max_size=9), max_size=3)
person_ids = st.one_of(
    st.fixed_dictionaries({"id": words}), st.fixed_dictionaries({"email": words}),
    st.just({"phone": "+4915112345678"}), st.fixed_dictionaries({"cio_id": words}),
)  # fmt: skip
lasting_ids = st.one_of(*(st.fixed_dictionaries({name: words}) for name in ("id", "email", "cio_id")))
object_ids = st.one_of(
    st.fixed_dictionaries({"object_type_id": st.sampled_from(["1", "23"]), "object_id": words}),
    st.fixed_dictionaries({"cio_object_id": words}),
)


def relationships(identities: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(st.fixed_dictionaries({"identifiers": identities}, optional={"relationship_attributes": plain}))


preferences = st.fixed_dictionaries({}, optional={"topics": st.dictionaries(words, st.booleans(), max_size=2)})
reserved = st.fixed_dictionaries(
    {}, optional={"_update": st.booleans(), "cio_subscription_preferences": preferences, "email": words}
)
device = st.fixed_dictionaries(
    {"token": words, "platform": st.sampled_from(["ios", "android"])},
    optional={
        "last_used": st.integers(0, 2**33),
        "attributes": st.tuples(texts, st.fixed_dictionaries({}, optional={"push_enabled": st.just("true")})).map(
            lambda pair: pair[0] | pair[1]
        ),
    },
)
page_fields = st.fixed_dictionaries({}, optional={"url": words, "title": words, "keywords": st.lists(words)})
SPECIFIC: dict[str, st.SearchStrategy[Any]] = {
    "attributes": st.tuples(plain, reserved).map(lambda pair: pair[0] | pair[1]),
    "timestamp": st.integers(-10, 2**40), "device": device, "primary": lasting_ids, "secondary": lasting_ids,
    "name": words, "id": st.just(ULID),
}  # fmt: skip


@st.composite
def operations(draw: st.DrawFn) -> dict[str, Any]:
    """Draw an operation as documented, then spoil it in at most two places."""
    (kind, action), (known, _) = draw(st.sampled_from(sorted(CHECKS.items(), key=lambda item: item[0])))
    operation: dict[str, Any] = {"type": kind, "action": action}
    needed = {"name", "cio_relationships", "device", "primary", "secondary"} - (
        {"cio_relationships"} if action.startswith("identify") else set()
    )
    for name in sorted(known - {"type", "action"}):
        if name not in needed | {"identifiers"} and kind != "delivery" and draw(st.booleans()):
            continue
        operation[name] = draw(_part(kind, action, name))
    operation = deepcopy(operation)  # some strategies hand out the same object each time
    for _ in range(draw(st.integers(0, 2))):
        _spoil(draw, operation)
    return operation


def _part(kind: str, action: str, name: str) -> st.SearchStrategy[Any]:
    if name == "identifiers":
        return {"person": person_ids, "object": object_ids}.get(kind, st.fixed_dictionaries({"id": words}))
    if name == "cio_relationships" and action == "identify_anonymous":
        return relationships(st.fixed_dictionaries({"anonymous_id": words}))
    if name == "cio_relationships":
        return relationships(object_ids if kind == "person" else lasting_ids)
    if kind == "delivery" and name == "attributes":
        return st.fixed_dictionaries({"device_token": st.text(max_size=9)})
    if kind == "delivery" and name == "name":
        return st.sampled_from(["opened", "converted", "delivered"])
    if name == "attributes" and action == "page":
        return st.tuples(plain, page_fields).map(lambda pair: pair[0] | pair[1])
    return SPECIFIC[name]


def _spoil(draw: st.DrawFn, operation: dict[str, Any]) -> None:
    """Drop, add or replace something at any depth."""
    target: Any = operation
    while True:
        inner = [value for value in (target.values() if isinstance(target, dict) else target) if _holds(value)]
        if not inner or draw(st.booleans()):
            break
        target = draw(st.sampled_from(inner))
    if isinstance(target, list):
        target[draw(st.integers(0, len(target) - 1))] = draw(junk)
        return
    name = draw(st.sampled_from([*target, "id", "email", "attributes", "timestamp", "topics", "keywords", "recipient"]))
    if name in target and draw(st.booleans()):
        del target[name]
    else:
        target[name] = draw(junk)


def _holds(value: Any) -> bool:
    return isinstance(value, (dict, list)) and bool(value)


def compare(operation: dict[str, Any]) -> None:
    """Let both judge an operation as it arrives: never laxer than the specification, stricter only where named."""
    operation = orjson.loads(orjson.dumps(operation))
    attributes = operation.get("attributes")
    refusal = check(operation, orjson.dumps(attributes) if attributes else b"")
    if refusal is None:
        assert list(official().iter_errors(operation)) == []
    elif official().is_valid(operation):
        assert STRICTER.search(refusal[2]), refusal


@given(operations())
@settings(max_examples=500, deadline=None)
def test_agrees_with_the_specification(operation: dict[str, Any]) -> None:
    compare(operation)


FULL_DEVICE = {"token": "t", "platform": "ios", "last_used": 5,
               "attributes": {"app_version": "1", "push_enabled": "true", "_last_status": "sent"}}  # fmt: skip
TO_OBJECT = [{"identifiers": {"object_type_id": "1", "object_id": "a"}, "relationship_attributes": {"role": "x"}}]
TO_PERSON = [{"identifiers": {"email": "a@x.example"}, "relationship_attributes": {"role": "x"}}]
TO_NOBODY = [{"identifiers": {"anonymous_id": "a"}, "relationship_attributes": {"role": "x"}}]
FULL: dict[str, Any] = {
    "timestamp": 5, "name": "x", "id": ULID, "device": FULL_DEVICE, "primary": {"id": "a"}, "secondary": {"id": "b"},
}  # fmt: skip
FULL_ATTRIBUTES: dict[str, Any] = {
    "identify": {"a": 1, "_update": True, "cio_subscription_preferences": {"topics": {"topic_1": True}}},
    "event": {"recipient": "a@x.example", "from_address": "a@x.example", "reply_to": "a@x.example"},
    "page": {"path": "/", "referrer": "/", "search": "?", "title": "t", "url": "u", "keywords": ["k"]},
}
JUNK = (None, True, 5, 1.5, "", "junk", [], ["junk"], [5], {}, {"junk": 5})


def full(kind: str, action: str) -> dict[str, Any]:
    """Write an operation with everything that it may hold."""
    known, _ = CHECKS[kind, action]
    values = FULL | {"type": kind, "action": action, "attributes": FULL_ATTRIBUTES.get(action, {"a": 1})}
    values["identifiers"] = {"object_type_id": "1", "object_id": "a"} if kind == "object" else {"id": "a"}
    values["cio_relationships"] = TO_OBJECT if kind == "person" else TO_PERSON
    if action == "identify_anonymous":
        values["cio_relationships"] = TO_NOBODY
    if kind == "delivery":
        values |= {"name": "opened", "attributes": {"device_token": "t"}}
    return deepcopy({name: values[name] for name in known})


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of everything inside a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [deeper for key, inner in items for deeper in ((*path, key), *paths(inner, (*path, key)))]


@pytest.mark.parametrize(("kind", "action"), sorted(CHECKS))
def test_agrees_wherever_one_thing_is_missing_or_wrong(kind: str, action: str) -> None:
    whole = full(kind, action)
    assert official().is_valid(whole)
    assert check(whole, orjson.dumps(whole.get("attributes", {}))) is None
    for path in paths(whole):
        for junk_value in (..., *JUNK):
            operation = deepcopy(whole)
            target: Any = operation
            for key in path[:-1]:
                target = target[key]
            if junk_value is ...:
                del target[path[-1]]
            else:
                target[path[-1]] = deepcopy(junk_value)
            compare(operation)


EXAMPLES = [
    {"type": "person", "identifiers": {"id": "u_1001"}, "action": "identify", "timestamp": 1767225600,
     "attributes": {"plan": "pro", "none": None, "list": [1, {"a": 1.5}]}},
    {"type": "person", "identifiers": {"email": "a@b.example"}, "action": "event", "name": "purchase", "id": ULID,
     "timestamp": 1767225600, "attributes": {"price": 23.45}},
    {"type": "object", "identifiers": {"object_type_id": "1", "object_id": "acme"}, "action": "identify",
     "attributes": {"name": "Acme"},
     "cio_relationships": [{"identifiers": {"id": "u_1001"}, "relationship_attributes": {"role": "admin"}}]},
]  # fmt: skip


@pytest.mark.parametrize("operation", EXAMPLES)
def test_accepts_the_documented_examples(operation: dict[str, Any]) -> None:
    assert official().is_valid(operation)
    assert check(operation, orjson.dumps(operation["attributes"])) is None
