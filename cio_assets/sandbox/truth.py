"""What a correct reader must end up with, per table, straight from the world and not through the page code."""

from collections.abc import Callable, Iterator
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from cio_assets.sandbox import buckets
from cio_assets.sandbox.content import Item
from cio_assets.sandbox.deliveries import METRICS
from cio_assets.sandbox.world import World

Params = dict[str, str]
Rows = Iterator[Item]
V1_STEPS = {"hours": 24, "days": 45, "weeks": 12, "months": 121}


def rows(world: World, table: str, params: Params) -> Rows:
    """Return the expected rows of a table; KeyError for an unknown table."""
    make = TABLES[table]
    return make(world, params)


def _listed(table: str, pick: Callable[[World], Any]) -> Callable[[World, Params], Rows]:
    return lambda world, _params: iter(world.show(table, list(pick(world))))


def _children(table: str, parent_key: str, pick: Callable[[World], Any]) -> Callable[[World, Params], Rows]:
    """Rows of children by parent, with the parent's key where the item lacks it."""

    def make(world: World, _params: Params) -> Rows:
        for parent, items in pick(world):
            for item in world.show(table, list(items)):
                yield {parent_key: parent} | item

    return make


def _actions(kind: str) -> Callable[[World, Params], Rows]:
    def pick(world: World) -> Any:
        return [(parent, world.content.actions[kind, parent]) for parent in world.parents(kind)]

    return _children(f"{kind}_actions", f"{kind}_id", pick)


def _activities(world: World, _params: Params) -> Rows:
    for first in range(0, len(world.activities), 1000):
        places = np.arange(first, min(first + 1000, len(world.activities)))
        yield from world.show("activities", world.activities.render(places))


def _messages(kind: str | None = None) -> Callable[[World, Params], Rows]:
    """Deliveries, of all or of the parents of one kind that are still there; drafts only with drafts=true."""

    def make(world: World, params: Params) -> Rows:
        deliveries, sources = world.deliveries, world.deliveries.sources
        wanted = deliveries.drafts == (params.get("drafts") == "true")
        wanted &= deliveries.created >= int(params.get("start", 0))
        wanted &= deliveries.created < int(params.get("end", 1 << 40))
        if kind is not None:
            listed = world.parents(kind)
            of_kind = np.array([source.kind == kind and source.parent in listed for source in sources], bool)
            wanted &= of_kind[deliveries.source]
        places = np.flatnonzero(wanted)
        name = "identifiers" if kind == "transactional" else "customer_identifiers"
        for first in range(0, len(places), 500):
            part = places[first : first + 500]
            items = world.show("messages", deliveries.render(part, name))
            if kind != "transactional":
                yield from items
                continue
            for number, item in zip(deliveries.source[part].tolist(), items, strict=True):
                yield item | {"transactional_id": sources[number].parent}

    return make


def _metrics(kind: str, by_leaf: bool, version: int) -> Callable[[World, Params], Rows]:
    """Buckets in which something happened, counted over all deliveries at once."""

    def make(world: World, params: Params) -> Rows:
        for period in [params["period"]] if "period" in params else list(V1_STEPS):
            if version == 1:
                edges = buckets.recent_edges(world.clock.now(), V1_STEPS[period], period)
            else:
                start, end, zone = int(params["start"]), int(params["end"]), ZoneInfo(params.get("tz", "UTC"))
                edges = buckets.edges(start, end, period, zone, world.options.week_start)
                edges = edges[edges[0] < start :]
            if len(edges) > 1:
                yield from _count(world, kind, by_leaf, period, edges)

    return make


def _count(world: World, kind: str, by_leaf: bool, period: str, edges: list[int]) -> Rows:
    sources, listed = world.content.sources, world.parents(kind)
    parents = sorted({(s.parent, s.leaf if by_leaf else 0) for s in sources if s.kind == kind and s.parent in listed})
    numbers = {parent: number for number, parent in enumerate(parents)}
    owner = np.array([numbers.get((s.parent, s.leaf if by_leaf else 0), -1) if s.kind == kind else -1 for s in sources])
    owners = owner[world.deliveries.source] if len(sources) else np.zeros(0, np.int64)
    found: dict[tuple[int, int], dict[str, int]] = {}
    width = len(edges) - 1
    for name, times in zip(METRICS, world.deliveries.metrics, strict=True):
        mask = (times > 0) & (owners >= 0) & (times >= edges[0]) & (times < edges[-1])
        bucket = np.searchsorted(edges, times[mask], side="right") - 1
        cells, counts = np.unique(owners[mask] * width + bucket, return_counts=True)
        for cell, count in zip(cells.tolist(), counts.tolist(), strict=True):
            found.setdefault(divmod(cell, width), {})[name] = count
    for (number, bucket), counts in sorted(found.items()):
        parent, leaf = parents[number]
        keys = {f"{kind}_id": parent} | ({"action_id": leaf} if by_leaf else {})
        yield keys | {"period": period, "period_start": edges[bucket]} | counts


def _relationships(world: World, _params: Params) -> Rows:
    for person in sorted(world.objects.of_person):
        if world.people.alive[person]:
            for item in world.show("customer_relationships", world.objects.relationships(person)):
                yield {"cio_id": world.people.cio_ids[person]} | item


def _customers(world: World, _params: Params) -> Rows:
    for number in world.people.living().tolist():
        yield from world.show("customers", [world.people.identifiers(number)])


def _customer_attributes(world: World, _params: Params) -> Rows:
    for number in world.people.living().tolist():
        yield from world.show("customer_attributes", [world.people.customer(number)])


def _devices(world: World, _params: Params) -> Rows:
    for number in world.people.living().tolist():
        for device in world.people.devices_of(number):
            token = {"cio_id": world.people.cio_ids[number], "token": device["id"]}
            yield token | {name: device[name] for name in ("platform", "last_used", "attributes")}


def _track_events(world: World, _params: Params) -> Rows:
    return world.events.rows(world.people.cio_ids)


def _suppressed(world: World, _params: Params) -> Rows:
    return iter(world.suppressed.rows())


def _membership(world: World) -> Any:
    for identity in world.segments.items:
        yield identity, [world.people.identifiers(n) for n in world.segments.current(identity).tolist()]


def _usage(world: World) -> Any:
    return [(identity, [world.segments.used_by(identity, world.content)]) for identity in world.segments.items]


def _objects(world: World) -> Any:
    return [(key[0], [world.objects.identifiers(key)]) for key in world.objects.items]


TABLES: dict[str, Callable[[World, Params], Rows]] = {
    "activities": _activities,
    "broadcasts": _listed("broadcasts", lambda w: w.content.broadcasts.values()),
    "broadcast_actions": _actions("broadcast"),
    "broadcast_action_metrics": _metrics("broadcast", True, 1),
    "broadcast_messages": _messages("broadcast"),
    "broadcast_metrics": _metrics("broadcast", False, 1),
    "campaigns": _listed("campaigns", lambda w: w.content.campaigns.values()),
    "campaign_actions": _actions("campaign"),
    "campaign_action_metrics": _metrics("campaign", True, 2),
    "campaign_messages": _messages("campaign"),
    "campaign_metrics": _metrics("campaign", False, 2),
    "collections": _listed("collections", lambda w: w.lists.collections),
    "customers": _customers,
    "customer_attributes": _customer_attributes,
    "customer_relationships": _relationships,
    "devices": _devices,
    "esp_suppressions": _children("esp_suppressions", "type", lambda w: w.lists.suppressions.items()),
    "exports": _listed("exports", lambda w: w.exports.listed()),
    "info_ip_addresses": _listed("info_ip_addresses", lambda w: [{"ip": ip} for ip in w.lists.ip_addresses]),
    "messages": _messages(),
    "newsletters": _listed("newsletters", lambda w: w.content.newsletters.values()),
    "newsletter_contents": _children(
        "newsletter_contents", "newsletter_id", lambda w: [(n, w.content.contents[n]) for n in w.content.newsletters]
    ),
    "newsletter_messages": _messages("newsletter"),
    "newsletter_metrics": _metrics("newsletter", False, 1),
    "newsletter_test_groups": _children(
        "newsletter_test_groups", "newsletter_id",
        lambda w: [(n, w.content.test_groups[n]) for n in w.content.newsletters],
    ),
    "object_types": _listed("object_types", lambda w: w.objects.types),
    "objects": _children("objects", "object_type_id", _objects),
    "reporting_webhooks": _listed("reporting_webhooks", lambda w: w.lists.webhooks),
    "segments": _listed("segments", lambda w: w.segments.items.values()),
    "segment_membership": _children("segment_membership", "segment_id", _membership),
    "segment_usage": _children("segment_usage", "segment_id", _usage),
    "sender_identities": _listed("sender_identities", lambda w: w.lists.senders),
    "snippets": _listed("snippets", lambda w: w.lists.snippets),
    "suppressed": _suppressed,
    "subscription_topics": _listed("subscription_topics", lambda w: w.lists.topics),
    "track_events": _track_events,
    "transactional_deliveries": _messages("transactional"),
    "transactional_messages": _listed("transactional_messages", lambda w: w.content.transactional.values()),
    "workspaces": _listed("workspaces", lambda w: w.lists.workspaces),
}  # fmt: skip
