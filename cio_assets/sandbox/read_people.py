"""Handlers of people, objects, memberships and relationships."""

from collections.abc import Callable
from typing import Any

import numpy as np

from cio_assets.sandbox import paging
from cio_assets.sandbox.api import Api, Request
from cio_assets.sandbox.content import Item
from cio_assets.sandbox.errors import ApiError, gone
from cio_assets.sandbox.params import check_filter
from cio_assets.sandbox.read_deliveries import find_person
from cio_assets.sandbox.read_lists import require

Body = dict[str, Any]


def search_customers(api: Api, request: Request) -> Body:
    """POST /v1/customers."""
    people, wanted = api.world.people, request.body["filter"]
    check_filter(wanted, "attribute")
    found = api.recent.get((request.scope, people.version), lambda: select_people(api, wanted))
    return _identifier_page(api, request, found, "customers", {})


def segment_membership(api: Api, request: Request) -> Body:
    """GET /v1/segments/{segment_id}/membership."""
    identity = request.path["segment_id"]
    require(api.world.segments.items, identity, "segment")
    members = api.world.segments.current(identity)
    return _identifier_page(api, request, members, "segment_membership", {"segment_id": identity})


def _identifier_page(api: Api, request: Request, numbers: np.ndarray, table: str, siblings: Body) -> Body:
    """Answer one page of identifiers with the sibling `ids`, in which a person without an id is ""."""
    last, size, people = api.state(request), request.query["limit"], api.world.people
    first = 0 if last is None else int(np.searchsorted(numbers, last, side="right"))
    begin = max(0, first - paging.OVERLAP) if request.overlap and last is not None else first
    page = numbers[begin : first + size].tolist()
    following = api.cursors.write(request.scope, page[-1]) if first + size < len(numbers) else None
    rows = api.world.show(table, [people.identifiers(number) for number in page])
    ids = [people.ids[number] or "" for number in page]
    return siblings | paging.finish({"identifiers": rows or None, "ids": ids or None}, following, "")


def select_people(api: Api, wanted: Item) -> np.ndarray:
    """Return the numbers of the living people who pass a filter that was checked."""
    return np.flatnonzero(api.world.people.alive & _people_mask(api, wanted))


def _people_mask(api: Api, node: Item) -> np.ndarray:
    people = api.world.people
    (key, value), *_ = node.items()
    if key == "and":
        return np.logical_and.reduce([_people_mask(api, item) for item in value])
    if key == "or":
        return np.logical_or.reduce([_people_mask(api, item) for item in value])
    if key == "not":
        return ~_people_mask(api, value)
    if key == "segment":
        if value["id"] not in api.world.segments.items:
            raise ApiError(400, "filter: unknown segment")
        mask = np.zeros(len(people.ids), bool)
        mask[api.world.segments.members[value["id"]]] = True
        return mask
    columns = {"id": people.ids, "email": people.emails, "cio_id": people.cio_ids}
    name = value["field"]
    values = columns[name] if name in columns else [people.attributes(n).get(name) for n in range(len(people.ids))]
    if value["operator"] == "exists":
        return np.fromiter((found is not None for found in values), bool, len(values))
    return np.fromiter((found == value["value"] for found in values), bool, len(values))


def customers_attributes(api: Api, request: Request) -> Body:
    """POST /v1/customers/attributes: unknown ids are left out."""
    ids, kind, people = request.body["ids"], request.query["id_type"], api.world.people
    if not 1 <= len(ids) <= 100 or not all(isinstance(value, str) for value in ids):
        raise ApiError(400, "ids: 1 to 100 strings")
    if kind == "phone":
        raise ApiError(400, "phone is not enabled as an identifier")
    found = dict.fromkeys(people.find(kind, value) for value in ids)
    shape = api.world.options.attributes_shape
    customers = [
        {"customer": item} if shape == "wrapped" or (shape == "mixed" and number % 2) else item
        for number in found
        if number is not None
        for item in api.world.show("customer_attributes", [people.customer(number)])
    ]
    return {"customers": customers}


def customer_attributes(api: Api, request: Request) -> Body:
    """GET /v1/customers/{customer_id}/attributes."""
    item = api.world.people.customer(find_person(api, request))
    return {"customer": api.world.show("customer_attributes", [item])[0]}


def customer_segments(api: Api, request: Request) -> Body:
    """GET /v1/customers/{customer_id}/segments."""
    items = api.world.segments.of(find_person(api, request))
    return {"segments": [{name: item[name] for name in ("id", "name", "description")} for item in items]}


def customer_relationships(api: Api, request: Request) -> Body:
    """GET /v1/customers/{customer_id}/relationships."""
    items = sorted(api.world.objects.relationships(find_person(api, request)), key=_relationship_key)
    page, finish = api.page(request, items, _relationship_key, request.query["limit"], "null")
    return finish({"cio_relationships": api.world.show("customer_relationships", page)})


def _relationship_key(item: Item) -> list[Any]:
    return [item["object_type_id"], item["identifiers"]["object_id"]]


def search_objects(api: Api, request: Request) -> Body:
    """POST /v1/objects."""
    objects, kind = api.world.objects, request.body["object_type_id"]
    if objects.type_item(kind) is None:
        raise gone("object type")
    check_filter(request.body["filter"], "object_attribute")
    matches = _object_test(request.body["filter"], kind)
    items = [item for key, item in objects.items.items() if key[0] == kind and matches(item)]
    page, finish = api.page(request, items, lambda item: item["number"], request.query["limit"], "")
    rows = [{name: item[name] for name in ("object_id", "cio_object_id")} for item in page]
    ids = [item["object_id"] for item in page]
    return finish({"identifiers": api.world.show("objects", rows) or None, "ids": ids or None})


def _object_test(node: Item, kind: str) -> Callable[[Item], bool]:
    (key, value), *_ = node.items()
    if key in ("and", "or"):
        tests = [_object_test(item, kind) for item in value]
        combine = all if key == "and" else any
        return lambda item: combine(test(item) for test in tests)
    if key == "not":
        test = _object_test(value, kind)
        return lambda item: not test(item)
    if value["type_id"] != kind:
        raise ApiError(400, "filter: type_id must equal object_type_id")
    name, wanted = value["field"], value.get("value")

    def leaf(item: Item) -> bool:
        found = item[name] if name in ("object_id", "cio_object_id") else item["attributes"].get(name)
        return found is not None if value["operator"] == "exists" else found == wanted

    return leaf


def object_relationships(api: Api, request: Request) -> Body:
    """GET /v1/objects/{object_type_id}/{object_id}/relationships."""
    items = api.world.objects.people_of(_find_object(api, request))
    page, finish = api.page(request, items, lambda pair: pair[0], request.query["limit"], "")
    return finish({"cio_relationships": api.world.show("object_relationships", [item for _, item in page])})


def object_attributes(api: Api, request: Request) -> Body:
    """GET /v1/objects/{object_type_id}/{object_id}/attributes."""
    item = api.world.objects.attributes(_find_object(api, request))
    return {"object": api.world.show("object_attributes", [item])[0]}


def _find_object(api: Api, request: Request) -> tuple[str, str]:
    kind = str(request.path["object_type_id"])
    key = api.world.objects.find(kind, request.query["id_type"], request.path["object_id"])
    if key is None:
        raise gone("object")
    return key
