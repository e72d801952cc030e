"""Handlers of exports: create, list, poll, and the link to the file."""

from typing import Any

from cio_assets.sandbox.api import Api, Request
from cio_assets.sandbox.errors import ApiError, gone
from cio_assets.sandbox.params import check_filter
from cio_assets.sandbox.read_lists import require
from cio_assets.sandbox.read_people import select_people

Body = dict[str, Any]


def exports(api: Api, _request: Request) -> Body:
    """GET /v1/exports."""
    return {"exports": api.world.show("exports", api.world.exports.listed())}


def export(api: Api, request: Request) -> Body:
    """GET /v1/exports/{export_id}."""
    items = {item["id"]: item for item in api.world.exports.listed()}
    return {"export": api.world.show("exports", [require(items, request.path["export_id"], "export")])[0]}


def create(api: Api, request: Request) -> Body:
    """POST /v1/exports/customers."""
    filters, attributes = request.body["filters"], request.body.get("attributes")
    check_filter(filters, "attribute")
    if attributes is not None and not all(isinstance(name, str) and name for name in attributes):
        raise ApiError(400, "attributes: must be names")
    if attributes is None and api.world.options.export_columns == "named":
        attributes = []
    numbers = select_people(api, filters).tolist()
    item = api.world.exports.start(numbers, attributes, request.fault == "export_failed", api.submit)
    return {"export": api.world.show("exports", [item])[0]}


def download(api: Api, request: Request) -> Body:
    """GET /v1/exports/{export_id}/download: a link, and not the file."""
    item = export(api, request)["export"]
    link = api.world.exports.link(item["id"])
    if link is None and item["status"] == "done":
        raise gone("file of the export")
    if link is None:
        raise ApiError(400, f"the export is {item['status']}")
    return {"url": request.origin + link}
