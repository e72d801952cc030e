"""Handlers of deliveries, activities and metrics: everything that is counted or listed newest first."""

from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from cio_assets.sandbox import buckets, paging, windows
from cio_assets.sandbox.api import Api, Request
from cio_assets.sandbox.deliveries import COLUMN
from cio_assets.sandbox.errors import ApiError, gone
from cio_assets.sandbox.read_lists import require
from cio_assets.sandbox.seeds import delivery_uid

Body = dict[str, Any]
NO_SUCH = -2  # the number of no person, and not that of activities without one
MAX_STEPS = {"hours": 24, "days": 45, "weeks": 12, "months": 121}
TEN_YEARS = 120  # months


def messages(api: Api, request: Request) -> Body:
    """GET /v1/messages."""
    query = request.query
    numbers = range(len(api.world.content.sources))
    sources = api.world.content.sources
    for name, kind in (("campaign_id", "campaign"), ("newsletter_id", "newsletter")):
        if query[name] is not None:
            numbers = [n for n in numbers if sources[n].kind == kind and sources[n].parent == query[name]]
    if query["action_id"] is not None:
        acts = ("campaign", "broadcast")
        numbers = [n for n in numbers if sources[n].kind in acts and sources[n].leaf == query["action_id"]]
    wanted = None if isinstance(numbers, range) else list(numbers)
    return _delivery_page(api, request, wanted, 6, "")


def message(api: Api, request: Request) -> Body:
    """GET /v1/messages/{message_id}."""
    uid = delivery_uid(request.path["message_id"])
    place = None if uid is None else api.world.deliveries.find(uid)
    if place is None:
        raise gone("message")
    return {"message": api.world.show("messages", api.world.deliveries.render(np.array([place])))[0]}


def campaign_messages(api: Api, request: Request) -> Body:
    """GET /v1/campaigns/{campaign_id}/messages."""
    return _delivery_page(api, request, _sources(api, request, "campaign"), 12, "absent")


def broadcast_messages(api: Api, request: Request) -> Body:
    """GET /v1/broadcasts/{broadcast_id}/messages: without times, the month after the first trigger."""
    numbers = _sources(api, request, "broadcast")
    return _delivery_page(api, request, numbers, 12, "null", first_months=1)


def newsletter_messages(api: Api, request: Request) -> Body:
    """GET /v1/newsletters/{newsletter_id}/messages: without times, 6 months from the first delivery on."""
    numbers = _sources(api, request, "newsletter")
    return _delivery_page(api, request, numbers, 12, "", first_months=6)


def transactional_messages(api: Api, request: Request) -> Body:
    """GET /v1/transactional/{transactional_id}/messages, with `identifiers` instead of `customer_identifiers`."""
    numbers = _sources(api, request, "transactional")
    return _delivery_page(api, request, numbers, 12, "absent", identifiers="identifiers")


def customer_messages(api: Api, request: Request) -> Body:
    """GET /v1/customers/{customer_id}/messages."""
    return _delivery_page(api, request, None, 6, "null", person=find_person(api, request))


def find_person(api: Api, request: Request) -> int:
    """Return the number of the person in the path, or answer 404."""
    kind = request.query["id_type"]
    if kind == "phone":
        raise ApiError(400, "phone is not enabled as an identifier")
    person = api.world.people.find(kind, request.path["customer_id"])
    if person is None:
        raise gone("customer")
    return person


def _sources(api: Api, request: Request, kind: str) -> list[int]:
    parent = request.path[f"{kind}_id"]
    require(api.world.parents(kind), parent, kind)
    return api.world.sources_of(kind, parent)


def _delivery_page(
    api: Api, request: Request, sources: list[int] | None, widest: int, end: str, first_months: int = 0,
    person: int | None = None, identifiers: str = "customer_identifiers",
) -> Body:  # fmt: skip
    """Answer one page of deliveries, newest first.

    Some queries (the same ones each time) get an empty page that carries `next`, or a `next` after the last row.
    """
    deliveries, mood, size = api.world.deliveries, request.mood, request.query["limit"]
    state = api.state(request)
    if state is None:
        first = None
        if first_months and sources:
            places = deliveries.of_sources(sources)
            first = int(deliveries.created[places[0]]) if len(places) else None
        query = request.query
        begin, stop = windows.resolve(query["start_ts"], query["end_ts"], request.now, widest, first, first_months)
        last, number = None, 0
    else:
        begin, stop, last, number = state

    def candidates() -> np.ndarray:
        return _candidates(api, request, sources, person, begin, stop)

    places = api.recent.get((request.scope, begin, stop, deliveries.version), candidates)
    high = len(places)
    if last is not None:
        high = deliveries.before(places, last)
    if mood % 3 == 0 and number == (mood >> 8) % 3:
        following = api.cursors.write(request.scope, [begin, stop, last, number + 1])
        return paging.finish({"messages": [] if mood >> 16 & 1 else None}, following, end)
    low = max(0, high - size)
    repeated = min(len(places), high + paging.OVERLAP) if request.overlap and last is not None else high
    rows = deliveries.render(places[low:repeated][::-1], identifiers, request.query.get("get_tracked_responses", False))
    following = None
    if low > 0 or (rows and mood % 5 == 1):
        following = api.cursors.write(request.scope, [begin, stop, int(deliveries.key[places[low]]), number + 1])
    return paging.finish({"messages": api.world.show("messages", rows) or None}, following, end)


def _candidates(
    api: Api, request: Request, sources: list[int] | None, person: int | None, begin: int, stop: int
) -> np.ndarray:
    """Return the places of every delivery that passes the filters and the window, oldest first."""
    deliveries, query = api.world.deliveries, request.query
    low, high = np.searchsorted(deliveries.key, [begin << 32, (stop + 1) << 32]).tolist()
    if sources is None:
        places = np.arange(low, high, dtype=np.int32)
    else:
        places = deliveries.of_sources(sources)
        places = places[deliveries.before(places, begin << 32) : deliveries.before(places, (stop + 1) << 32)]
    if person is not None:
        places = places[deliveries.person[places] == person]
    if (channel := query.get("type")) is not None:
        wanted = np.array([source.channel == channel for source in deliveries.sources], bool)
        places = places[wanted[deliveries.source[places]]]
    if (metric := query.get("metric")) is not None:
        places = places[deliveries.metrics[COLUMN[metric]][places] > 0]
    state = query.get("state")
    if state is not None and state != "drafted":
        places = places[deliveries.metrics[COLUMN[state]][places] > 0]
    drafts = query.get("drafts") is True or state == "drafted"
    return places[deliveries.drafts[places] == drafts]


def activities(api: Api, request: Request) -> Body:
    """GET /v1/activities."""
    query, person = request.query, None
    if query["customer_id"] is not None:
        if query["id_type"] == "phone":
            raise ApiError(400, "phone is not enabled as an identifier")
        person = api.world.people.find_ever(query["id_type"], query["customer_id"])
        person = NO_SUCH if person is None else person
    return _activity_page(api, request, person, query["deleted"], "")


def customer_activities(api: Api, request: Request) -> Body:
    """GET /v1/customers/{customer_id}/activities."""
    return _activity_page(api, request, find_person(api, request), True, "absent")


def _activity_page(api: Api, request: Request, person: int | None, deleted: bool, end: str) -> Body:
    """Answer one page of activities, newest first; the list ends with an empty page, which may carry `next`."""
    activities, query, last = api.world.activities, request.query, api.state(request)

    def candidates() -> np.ndarray:
        return np.flatnonzero(activities.mask(query["type"], query["name"], deleted, person))

    places = api.recent.get((request.scope, activities.version, api.world.people.version), candidates)
    high = len(places)
    if last is not None:
        high = int(np.searchsorted(places, np.searchsorted(activities.key, last)))
    low = max(0, high - query["limit"])
    repeated = min(len(places), high + paging.OVERLAP) if request.overlap and last is not None and high else high
    rows = activities.render(places[low:repeated][::-1])
    following = None
    if rows:
        following = api.cursors.write(request.scope, int(activities.key[places[low]]))
    elif request.mood & 1:
        following = api.cursors.write(request.scope, 0 if last is None else last)
    return paging.finish({"activities": api.world.show("activities", rows)}, following, end)


def campaign_metrics(api: Api, request: Request) -> Body:
    """GET /v1/campaigns/{campaign_id}/metrics, versions 1 and 2."""
    require(api.world.content.campaigns, request.path["campaign_id"], "campaign")
    return _metrics(api, request, "campaign", request.path["campaign_id"], None)


def broadcast_metrics(api: Api, request: Request) -> Body:
    """GET /v1/broadcasts/{broadcast_id}/metrics, version 1 only."""
    require(api.world.content.broadcasts, request.path["broadcast_id"], "broadcast")
    return _metrics(api, request, "broadcast", request.path["broadcast_id"], None)


def newsletter_metrics(api: Api, request: Request) -> Body:
    """GET /v1/newsletters/{newsletter_id}/metrics, version 1 only."""
    item = require(api.world.content.newsletters, request.path["newsletter_id"], "newsletter")
    body = _metrics(api, request, "newsletter", item["id"], None)
    body["metric"]["type"] = item["type"]
    return body


def campaign_action_metrics(api: Api, request: Request) -> Body:
    """GET /v1/campaigns/{campaign_id}/actions/{action_id}/metrics, versions 1 and 2."""
    return _action_metrics(api, request, "campaign")


def broadcast_action_metrics(api: Api, request: Request) -> Body:
    """GET /v1/broadcasts/{broadcast_id}/actions/{action_id}/metrics, version 1 only."""
    return _action_metrics(api, request, "broadcast")


def _action_metrics(api: Api, request: Request, kind: str) -> Body:
    content, parent, action = api.world.content, request.path[f"{kind}_id"], request.path["action_id"]
    require(api.world.parents(kind), parent, kind)
    if content.action(kind, parent, action) is None:
        raise gone("action")
    body = _metrics(api, request, kind, parent, action)
    if variants := content.variants.get((kind, parent, action)):
        body["metric"]["language_variants"] = {
            str(leaf): {
                "language": (content.action(kind, parent, leaf) or {}).get("language", ""),
                "default": leaf == action,
                "series": _metrics(api, request, kind, parent, leaf)["metric"]["series"],
            }
            for leaf in variants
        }
    return body


def _metrics(api: Api, request: Request, kind: str, parent: int, leaf: int | None) -> Body:
    query = request.query
    if query.get("version") == "2":
        edges, echo = _explicit_edges(api, request)
    else:
        edges, echo = _recent_edges(request), {}
    return {"metric": {"series": api.counter.series(kind, parent, leaf, query["type"], edges)}} | echo


def _recent_edges(request: Request) -> list[int]:
    """Return the buckets of version 1; its answers carry no dates."""
    period, steps = request.query["period"], request.query["steps"]
    if steps is not None and steps > MAX_STEPS[period]:
        raise ApiError(400, f"steps: at most {MAX_STEPS[period]} {period}")
    if steps is None:
        steps = 12 if period == "months" else MAX_STEPS[period]
    elif steps == 0:
        steps = MAX_STEPS[period]
    return buckets.recent_edges(request.now, max(2, steps), period)


def _explicit_edges(api: Api, request: Request) -> tuple[list[int], Body]:
    """Return the buckets of version 2 and the dates its answers echo."""
    start, end, resolution = request.query["start"], request.query["end"], request.query["res"]
    if start is None or end is None or resolution is None:
        raise ApiError(400, "version 2 needs res, start and end")
    if start >= end or end > windows.months_later(start, TEN_YEARS):
        raise ApiError(400, "end must be after start, by at most 10 years")
    try:
        zone = ZoneInfo(request.query["tz"])
    except (ValueError, OSError, KeyError):
        raise ApiError(400, "tz: unknown time zone") from None
    resolution = buckets.RESOLUTIONS[resolution]
    edges = buckets.edges(start, end, resolution, zone, api.world.options.week_start)
    texts = {"start": buckets.go_text(edges[0], zone), "end": buckets.go_text(edges[-1], zone), "res": resolution}
    return edges, texts
