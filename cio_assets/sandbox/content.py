"""Campaigns, broadcasts, newsletters and transactional messages with their actions and contents, and the places
deliveries come from. Items are kept in the shape in which the API gives them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cio_assets.sandbox.seeds import NAMES, mix

DAY = 86400
MESSAGE_TYPES = ("email", "push", "twilio", "in_app", "slack", "webhook", "whatsapp")
ACTION_MIX = ("email", "email", "push", "email", "twilio", "in_app", "attribute_update", "webhook", "slack", "whatsapp")
NEWSLETTER_TYPES = ("email", "email", "email", "push", "twilio", "in_app", "email", "inbox", "webhook")
CAMPAIGN_KINDS = ("segment", "event", "date", "seg_attr", "object", "webhook", "form", "relationship")
Item = dict[str, Any]


@dataclass
class Source:
    """One place deliveries come from: an action, a newsletter's content or a transactional message."""

    kind: str  # campaign | broadcast | newsletter | transactional
    parent: int
    leaf: int  # action id or content id
    channel: str
    template: int
    subject: str | None
    since: int  # when it began to send
    parent_action: int | None = None
    active: bool = True  # False once its parent is deleted


@dataclass
class Content:
    """Every parent of deliveries, each kind by its id in ascending order."""

    campaigns: dict[int, Item] = field(default_factory=dict)
    broadcasts: dict[int, Item] = field(default_factory=dict)
    newsletters: dict[int, Item] = field(default_factory=dict)
    transactional: dict[int, Item] = field(default_factory=dict)
    actions: dict[tuple[str, int], list[Item]] = field(default_factory=dict)
    contents: dict[int, list[Item]] = field(default_factory=dict)
    test_groups: dict[int, list[Item]] = field(default_factory=dict)
    variants: dict[tuple[str, int, int], list[int]] = field(default_factory=dict)  # action -> its language variants
    sources: list[Source] = field(default_factory=list)

    def action(self, kind: str, parent: int, action: int) -> Item | None:
        """Find an action under its parent."""
        return next((item for item in self.actions.get((kind, parent), ()) if int(item["id"]) == action), None)


def touch(item: Item, now: int, key: str = "updated") -> None:
    """Move an item's change markers to `now`."""
    item[key] = now
    item["deduplicate_id"] = f"{item['id']}:{now}"


def build(seed: int, campaigns: int, broadcasts: int, newsletters: int, days: int, segments: int, now: int) -> Content:
    """Make the content of a new world."""
    content = Content()
    action_id = 96
    for number in range(campaigns):
        action_id = add_campaign(content, seed, 1 + number + number // 7, number, action_id, days, segments, now)
    shared = [int(item["id"]) for item in next(iter(content.actions.values()), [])[:3]]
    for number in range(broadcasts):
        action_id = _add_broadcast(content, seed, 2 + number * 2, number, action_id, shared, days, now)
    for number in range(newsletters):
        _add_newsletter(content, seed, 128 + number, number, days, segments, now)
    for number in range(5):
        created = now - (300 - number) * DAY
        name = ("password reset", "receipt 🧾", "login code", "invoice", "goodbye")[number]
        identity = number + 2
        content.transactional[identity] = {
            "id": identity, "name": name, "description": "", "send_to_unsubscribed": True, "link_tracking": True,
            "open_tracking": number % 2 == 0, "hide_message_body": False, "queue_drafts": False,
            "created_at": created, "updated_at": created + number * DAY,
        }  # fmt: skip
        if number < 4:  # the last one was never used
            channel = ("email", "email", "twilio", "push")[number]
            source = Source("transactional", identity, 589 + number, channel, 589 + number, name, now - days * DAY)
            content.sources.append(source)
    return content


def add_campaign(
    content: Content, seed: int, identity: int, number: int, action_id: int, days: int, segments: int, now: int
) -> int:
    """Add a campaign with 12 to 25 actions; returns the next free action id."""
    h = mix(seed, number, 21)
    created = now - days * DAY - h % (200 * DAY) - DAY
    updated = created + (now - created) * (h >> 9 & 63) // 64
    draft, stopped = number % 5 == 3, number % 7 == 6
    started = 0 if draft else max(created + DAY, now - days * DAY - DAY)
    kind = CAMPAIGN_KINDS[number % len(CAMPAIGN_KINDS)]
    actions = []
    for place in range(12 + h % 14):
        # Action ids are unique under one parent only: the second campaign reuses an id of the first.
        own = 96 if (number, place) == (1, 0) else action_id
        action_id += own == action_id
        item = _action(seed, "campaign", identity, own, place, created, now)
        if (number, place) == (0, 4):  # a language variant of the action before it
            item |= {"type": "email", "language": "fr", "parent_action_id": own - 1}
            content.variants["campaign", identity, own - 1] = [own - 1, own]
        actions.append(item)
    content.actions["campaign", identity] = sorted(actions, key=lambda item: int(item["id"]))
    item = {
        "id": identity, "deduplicate_id": f"{identity}:{updated}", "name": f"Campaign {identity} {NAMES[number % 12]}",
        "type": kind, "created": created, "updated": updated, "active": not (draft or stopped),
        "state": "draft" if draft else "stopped" if stopped else "running",
        "actions": [{"id": int(action["id"]), "type": action["type"]} for action in actions],
        "first_started": started, "tags": None if number % 3 == 0 else ["onboarding", "größe"][: number % 3],
        "msg_templates": [{"id": 40 + number, "type": "email"}],
    }  # fmt: skip
    if segments:
        item["filter_segment_ids"] = [1 + h % segments]
    if segments and kind in ("segment", "seg_attr"):
        item["trigger_segment_ids"] = [1 + (h >> 5) % segments]
    if number % 3 == 0:
        item["description"] = "Für neue Leute ✨"
    if kind == "event":
        item["event_name"] = "purchase"
    if kind == "webhook":
        item["webhook_id"] = 7
    if kind in ("object", "relationship"):
        item[f"{kind}_attribute_triggers"] = '{"and":[]}'
    if kind == "date":
        item |= {"date_attribute": "created_at", "frequency": "yearly", "timezone": "Europe/Zurich", "start_hour": 9,
                 "start_minutes": 0, "use_customer_timezone": False}  # fmt: skip
    if kind in ("object", "relationship"):
        item |= {"object_type_id": 1, "audience": {"type": 0, "person_filters": None, "relationship_filters": None},
                 "filter_object_attributes": '{"and":[]}'}  # fmt: skip
    if number % 2 == 0:
        item |= {"scheduled_start": 0, "scheduled_start_should_backfill": False, "scheduled_stop": 0,
                 "scheduled_stop_should_sunset": False}  # fmt: skip
    if number % 6 == 2:
        item["journey_settings"] = {"max_entries": number, "unit": "day"}  # a field that no reference knows
    content.campaigns[identity] = item
    if not draft:
        content.sources.extend(_sources("campaign", identity, actions, started))
    return action_id


def add_action(content: Content, seed: int, parent: int, now: int) -> Item:
    """Add one more action to a campaign, whose change markers and embedded actions move with it."""
    campaign, actions = content.campaigns[parent], content.actions["campaign", parent]
    identity = 1 + max(int(item["id"]) for items in content.actions.values() for item in items)
    place = len(actions)
    item = _action(seed, "campaign", parent, identity, place, now - place * 60, now)
    actions.append(item)
    campaign["actions"].append({"id": identity, "type": item["type"]})
    touch(campaign, now)
    if campaign["state"] != "draft" and item["type"] in MESSAGE_TYPES:
        template = 3000 + parent * 40 + place
        content.sources.append(Source("campaign", parent, identity, item["type"], template, item.get("subject"), now))
    return item


def _add_broadcast(
    content: Content, seed: int, identity: int, number: int, action_id: int, shared: list[int], days: int, now: int
) -> int:
    h = mix(seed, number, 22)
    created = now - days * DAY - h % (100 * DAY) - DAY
    updated = created + (h >> 20) % (now - created)
    actions = []
    for place in range(11 + number if number < 2 else 2 + h % 5):
        borrowed = number == 0 and place < len(shared)
        own = shared[place] if borrowed else action_id
        action_id += not borrowed
        actions.append(_action(seed, "broadcast", identity, own, place, created, now))
    content.actions["broadcast", identity] = sorted(actions, key=lambda item: int(item["id"]))
    draft = number % 5 == 4
    content.broadcasts[identity] = {
        "id": identity, "deduplicate_id": f"{identity}:{updated}", "name": f"Broadcast {identity} 📣",
        "type": "triggered_broadcast", "created": created, "updated": updated, "active": not draft,
        "state": "draft" if draft else "running",
        "actions": [{"id": int(action["id"]), "type": action["type"]} for action in actions],
        "msg_template_ids": [{"id": 900 + number, "type": "email"}],
        "first_started": 0 if draft else now - days * DAY, "tags": None if number % 2 else ["promo"],
    }  # fmt: skip
    if not draft:
        content.sources.extend(_sources("broadcast", identity, actions, now - days * DAY))
    return action_id


def _action(seed: int, kind: str, parent: int, identity: int, place: int, created: int, now: int) -> Item:
    h = mix(seed, identity, place, 23)
    channel = ACTION_MIX[place % len(ACTION_MIX)]
    made = created + place * 60
    updated = made + (h >> 12) % max(1, now - made)
    item: Item = {
        "id": str(identity), f"{kind}_id": parent, "deduplicate_id": f"{identity}:{updated}",
        "name": f"Step {place} {NAMES[h % 12]}", "layout": "<html>{{content}}</html>", "created": made,
        "updated": updated, "body": f"<p>Grüezi {identity} 👋</p>" * (1 + h % 5), "type": channel, "language": "",
        "sending_state": ("automatic", "automatic", "draft", "off")[h & 3], "recipient": "{{customer.email}}",
        "headers": '[{"name":"X-Tag","value":"a"}]' if h & 8 else "[]",
    }  # fmt: skip
    if channel == "email":
        item |= {"from": "Team <hi@example.com>", "from_id": 1, "reply_to": "", "reply_to_id": None, "cc": "",
                 "preprocessor": "premailer", "subject": f"Subject {identity} ✉", "bcc": "", "fake_bcc": False,
                 "preheader_text": "", "body_amp": ""}  # fmt: skip
    if channel == "webhook":
        item |= {"url": "https://example.com/hook", "method": "post"}
    if identity % 29 == 5:
        item["quiet_hours"] = {"from": 22, "to": 7}  # a field that no reference knows
    return item


def _sources(kind: str, parent: int, actions: list[Item], since: int) -> list[Source]:
    return [
        Source(kind, parent, int(item["id"]), item["type"], 3000 + parent * 40 + place, item.get("subject"), since,
               item.get("parent_action_id"))
        for place, item in enumerate(actions)
        if item["type"] in MESSAGE_TYPES
    ]  # fmt: skip


def _add_newsletter(
    content: Content, seed: int, identity: int, number: int, days: int, segments: int, now: int
) -> None:
    h = mix(seed, number, 24)
    channel = NEWSLETTER_TYPES[number % len(NEWSLETTER_TYPES)]
    unsent = number % 10 == 3
    sent_at = now - (1 + (number * 7919 + h % 7) % max(1, days)) * DAY + h % 40000
    created = sent_at - 2 * DAY
    updated = min(now, sent_at + 3600)
    item: Item = {
        "id": identity, "deduplicate_id": f"{identity}:{updated}", "type": channel, "name": f"Digest {identity} ☀",
        "content_ids": [45 + number * 4 + place for place in range(1 + number % 3)], "created": created,
        "updated": updated, "sent_at": None if unsent else sent_at, "tags": None if number % 2 else ["digest"],
        "recipient_segment_ids": [1 + h % segments] if segments and number % 4 else None,
    }  # fmt: skip
    if number % 3 == 1:
        item["subscription_topic_id"] = 2
    content.newsletters[identity] = item
    content.contents[identity] = [
        {
            "id": leaf, "newsletter_id": identity, "deduplicate_id": f"{leaf}:{updated}", "name": f"variant {place}",
            "layout": "", "body": f"<p>News {leaf} ☕</p>", "language": "", "type": channel, "recipient":
            "{{customer.email}}", "subject": f"News {leaf}", "from": "Team <hi@example.com>", "from_id": 1,
            "reply_to": "", "reply_to_id": None, "preprocessor": "premailer", "cc": "", "bcc": "", "fake_bcc": False,
            "preheader_text": "", "headers": "[]",
        }
        for place, leaf in enumerate(item["content_ids"])
    ]  # fmt: skip
    content.test_groups[identity] = [
        {"id": place, "name": "ABC"[place], "label": f"test {place}", "winner": place == 1, "content_ids": [leaf]}
        for place, leaf in enumerate(item["content_ids"])
        if len(item["content_ids"]) > 1
    ]
    if not unsent:
        content.sources.extend(
            Source("newsletter", identity, leaf, channel, leaf, f"News {leaf}", sent_at) for leaf in item["content_ids"]
        )


def source_groups(sources: list[Source]) -> dict[str, np.ndarray]:
    """Return the numbers of the sources per kind that still send."""
    kinds = ("campaign", "broadcast", "newsletter", "transactional")
    return {
        kind: np.array([n for n, s in enumerate(sources) if s.active and s.kind == kind], np.int32) for kind in kinds
    }
