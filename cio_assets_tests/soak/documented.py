"""What the documentation says a reading costs (README, Tables and "What is not asked again"), for a sandbox as it is
now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

from cio_assets import sandbox

WHOLE_LISTS = (
    "broadcasts",
    "campaigns",
    "collections",
    "exports",
    "info_ip_addresses",
    "object_types",
    "reporting_webhooks",
    "segments",
    "snippets",
    "subscription_topics",
    "transactional_messages",
    "workspaces",
)
"""Answered in one piece: a request each."""

HOUR, DAY = 3600, 86_400
TELL_OF_PEOPLE = {
    "anon_merge": 1,
    "attribute_change": 1,
    "device_change": 1,
    "profile_create": 1,
    "profile_delete": 2,
    "profile_merge": 2,
    "topic_unsubscribed_email": 1,
    "unsubscribed_action": 1,
    "unsubscribed_email": 1,
}
"""Types of activities that tell whose row may have changed, and the lists of each: what is told of people who are gone
is a list of its own."""


@dataclass
class Passes:
    """When a list was read: whole every so many days, between that as far back as what is known."""

    every: int
    whole: int | None = None
    deep: int = 0
    last: int = 0

    def people(self, now: int) -> int | None:
        """Since when changes are looked for: an hour before the last reading; None where everybody is read."""
        return self._note(now, self.last - HOUR, self.deep)

    def activities(self, now: int) -> int | None:
        """How far back the list is read: once a day to three days before it last was so; else as of people."""
        if now // DAY > self.deep // DAY:
            return self._note(now, self.deep - 3 * DAY, now)
        return self._note(now, self.last - HOUR, self.deep)

    def _note(self, now: int, since: int, deep: int) -> int | None:
        self.last, self.deep = now, deep
        if self.whole is None or now - self.whole >= self.every * DAY:
            self.whole = self.deep = now
            return None
        return since


def pages(rows: Iterable[Any], size: int, parents: Iterable[Any]) -> int:
    """Σ parents ⌈rows ÷ size⌉, at least 1 each; `rows` names the parent of each."""
    counts = Counter(rows)
    return sum(max(1, ceil(counts[parent] / size)) for parent in parents)


def snapshots(box: sandbox.Sandbox) -> dict[str, int]:
    """A full reading of each list."""

    def of(table: str, column: str) -> list[Any]:
        return [row[column] for row in box.truth(table)]

    people = len(box.truth("customers"))
    hidden = Counter(bool(row.get("hidden")) for row in box.truth("sender_identities"))
    suppressions = Counter(of("esp_suppressions", "type"))
    newsletters, segments = of("newsletters", "id"), of("segments", "id")
    return dict.fromkeys(WHOLE_LISTS, 1) | {
        "broadcast_actions": pages(of("broadcast_actions", "broadcast_id"), 10, of("broadcasts", "id")),
        "campaign_actions": pages(of("campaign_actions", "campaign_id"), 10, of("campaigns", "id")),
        "customers": max(1, ceil(people / 1000)),
        "customer_attributes": ceil(people / 100),
        "customer_relationships": len(box.truth("objects")),
        # Four kinds; an offset ends with a page that is not full.
        "esp_suppressions": 4 + sum(count // 1000 for count in suppressions.values()),
        "newsletters": max(1, ceil(len(newsletters) / 100)),
        "newsletter_contents": len(newsletters),
        "newsletter_test_groups": len(newsletters),
        "objects": pages(of("objects", "object_type_id"), 1000, of("object_types", "id")),
        "segment_membership": pages(of("segment_membership", "segment_id"), 30_000, segments),
        "segment_usage": len(segments),
        # Each list ends with an empty page.
        "sender_identities": ceil(hidden[False] / 100) + ceil(hidden[True] / 100) + 2,
    }


def changed_people(activities: Iterable[Mapping[str, Any]], since: int) -> dict[str, int]:
    """Those of whom an activity tells: of each list ⌈those since ÷ 100⌉ + 1, a page that is older or empty, and a
    request for each 100 people: once for their identifiers, once for their attributes."""
    told = [row for row in activities if row["type"] in TELL_OF_PEOPLE and row["timestamp"] >= since]
    counts = Counter(row["type"] for row in told)
    lists = sum(number * (ceil(counts[name] / 100) + 1) for name, number in TELL_OF_PEOPLE.items())
    merged = {row["data"]["merged"]["cio_id"] for row in told if row["type"] == "profile_merge"}
    batches = ceil(len({row["customer_identifiers"]["cio_id"] for row in told} | merged) / 100)
    return {"customers": lists + batches, "customer_attributes": batches}


def activities(rows: Iterable[Mapping[str, Any]], since: int | None) -> dict[str, int]:
    """⌈activities ÷ 100⌉ + 2: a page that ends the list, and one that proves that the second list is the first."""
    return {"activities": ceil(sum(since is None or row["timestamp"] >= since for row in rows) / 100) + 2}


def deliveries(box: sandbox.Sandbox, since: int) -> dict[str, int]:
    """A range of days, newest first, a window of 180 days at most; and the drafts of thirty days, which metrics count.

    ⌈deliveries ÷ 1000⌉ and for each window 1 that the service may leave empty, and ⌈drafts ÷ 1000⌉ + 1 for the same.
    """
    # A long stretch is cut in up to three, so that its pages come side by side: each cut may cost a request.
    cuts = 2
    # To the end of today.
    windows = ceil(((box.clock(advance_seconds=0) - since) / 86_400 + 1) / 180)
    return {
        "messages": ceil(len(box.truth("messages", start=since)) / 1000) + windows + cuts
        + ceil(len(box.truth("messages", start=since, drafts="true")) / 1000) + 1
    }  # fmt: skip


def metrics(box: sandbox.Sandbox) -> dict[str, int]:
    """A request for each parent and period."""
    of = {
        "campaign_metrics": "campaigns",
        "campaign_action_metrics": "campaign_actions",
        "broadcast_metrics": "broadcasts",
        "broadcast_action_metrics": "broadcast_actions",
        "newsletter_metrics": "newsletters",
    }
    return {table: len(box.truth(parent)) for table, parent in of.items()}


def checks(box: sandbox.Sandbox) -> dict[str, int]:
    """The daily checks: a request for each of at most ten segments."""
    return {"checks_daily": min(10, len(box.truth("segments")))}
