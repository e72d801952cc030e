"""Handlers of the lists that describe the workspace: campaigns, newsletters, segments, senders and so on."""

from collections.abc import Callable, Iterable
from typing import Any

from cio_assets.sandbox.api import Api, Request
from cio_assets.sandbox.content import Item
from cio_assets.sandbox.errors import gone
from cio_assets.sandbox.lists import CATEGORIES
from cio_assets.sandbox.world import World

Body = dict[str, Any]


def require(items: dict[int, Item], identity: int, what: str) -> Item:
    """Return an item of a dict by id, or answer 404."""
    if identity not in items:
        raise gone(what)
    return items[identity]


def whole(envelope: str, table: str, pick: Callable[[World], Iterable[Item]]) -> Callable[[Api, Request], Body]:
    """Make the handler of a list that comes complete in one answer."""

    def handler(api: Api, _request: Request) -> Body:
        return {envelope: api.world.show(table, list(pick(api.world)))}

    return handler


campaigns = whole("campaigns", "campaigns", lambda world: world.content.campaigns.values())
broadcasts = whole("broadcasts", "broadcasts", lambda world: world.content.broadcasts.values())
transactional = whole("messages", "transactional_messages", lambda world: world.content.transactional.values())
segments = whole("segments", "segments", lambda world: world.segments.items.values())
collections = whole("collections", "collections", lambda world: world.lists.collections)
snippets = whole("snippets", "snippets", lambda world: world.lists.snippets)
subscription_topics = whole("topics", "subscription_topics", lambda world: world.lists.topics)
object_types = whole("types", "object_types", lambda world: world.objects.types)
reporting_webhooks = whole("reporting_webhooks", "reporting_webhooks", lambda world: world.lists.webhooks)
workspaces = whole("workspaces", "workspaces", lambda world: world.lists.workspaces)


def ip_addresses(api: Api, _request: Request) -> Body:
    """GET /v1/info/ip_addresses, plain strings."""
    return {"ip_addresses": api.world.lists.ip_addresses}


def campaign_actions(api: Api, request: Request) -> Body:
    """GET /v1/campaigns/{campaign_id}/actions."""
    return _actions(api, request, "campaign", "")


def broadcast_actions(api: Api, request: Request) -> Body:
    """GET /v1/broadcasts/{broadcast_id}/actions."""
    return _actions(api, request, "broadcast", "absent")


def _actions(api: Api, request: Request, kind: str, end: str) -> Body:
    parent = request.path[f"{kind}_id"]
    require(api.world.parents(kind), parent, kind)
    items = api.world.content.actions[kind, parent]
    page, finish = api.page(request, items, lambda item: int(item["id"]), 10, end)
    return finish({"actions": api.world.show(f"{kind}_actions", page)})


def newsletters(api: Api, request: Request) -> Body:
    """GET /v1/newsletters: newest first unless sort=asc."""
    sign = 1 if request.query["sort"] == "asc" else -1
    items = sorted(api.world.content.newsletters.values(), key=lambda item: sign * item["id"])
    page, finish = api.page(request, items, lambda item: sign * item["id"], request.query["limit"], "absent")
    return finish({"newsletters": api.world.show("newsletters", page)})


def newsletter_contents(api: Api, request: Request) -> Body:
    """GET /v1/newsletters/{newsletter_id}/contents."""
    identity = request.path["newsletter_id"]
    require(api.world.content.newsletters, identity, "newsletter")
    return {"contents": api.world.show("newsletter_contents", api.world.content.contents[identity])}


def newsletter_test_groups(api: Api, request: Request) -> Body:
    """GET /v1/newsletters/{newsletter_id}/test_groups."""
    identity = request.path["newsletter_id"]
    require(api.world.content.newsletters, identity, "newsletter")
    return {"test_groups": api.world.show("newsletter_test_groups", api.world.content.test_groups[identity])}


def segment(api: Api, request: Request) -> Body:
    """GET /v1/segments/{segment_id}."""
    item = require(api.world.segments.items, request.path["segment_id"], "segment")
    return {"segment": api.world.show("segments", [item])[0]}


def segment_customer_count(api: Api, request: Request) -> Body:
    """GET /v1/segments/{segment_id}/customer_count, a bare body."""
    identity = request.path["segment_id"]
    require(api.world.segments.items, identity, "segment")
    return {"segment_id": identity, "count": len(api.world.segments.current(identity))}


def segment_used_by(api: Api, request: Request) -> Body:
    """GET /v1/segments/{segment_id}/used_by."""
    identity = request.path["segment_id"]
    require(api.world.segments.items, identity, "segment")
    return {"segment_id": identity, "used_by": api.world.segments.used_by(identity, api.world.content)}


def sender_identities(api: Api, request: Request) -> Body:
    """GET /v1/sender_identities: hidden=true gives only the hidden ones, and the last item is followed by a cursor."""
    hidden = request.query["hidden"] is True
    sign = -1 if request.query["sort"] == "desc" else 1
    items = [item for item in api.world.lists.senders if item["hidden"] is hidden]
    items.sort(key=lambda item: sign * item["id"])
    page, finish = api.page(request, items, lambda item: sign * item["id"], request.query["limit"], "", trailing=True)
    return finish({"sender_identities": api.world.show("sender_identities", page)})


def esp_suppressions(api: Api, request: Request) -> Body:
    """GET /v1/esp/suppression/{suppression_type}, by limit and offset; null where nothing is left."""
    kind = request.path["suppression_type"]
    items = api.world.lists.suppressions[kind]
    if request.query["domain"]:
        items = [item for item in items if item["email"].endswith("@" + request.query["domain"])]
    offset = request.query["offset"]
    page = items[offset : offset + request.query["limit"]]
    return {"category": CATEGORIES[kind], "suppressions": api.world.show("esp_suppressions", page) or None}
