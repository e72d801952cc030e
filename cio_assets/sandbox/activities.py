"""Activities as numpy columns, sorted by timestamp; rows are rendered on demand."""

import re
from typing import Any

import numpy as np

from cio_assets.sandbox.deliveries import Deliveries
from cio_assets.sandbox.people import People
from cio_assets.sandbox.seeds import delivery_id, mix, ulid

DAY = 86400
KINDS: tuple[tuple[str, str | None], ...] = (
    ("sent_email", None), ("opened_email", None), ("clicked_email", None), ("delivered_push", None),
    ("event", "purchase"), ("event", "café visited ☕"), ("page", None), ("screen", "Home"),
    ("attribute_change", "plan"), ("attribute_change", "first_name"), ("profile_create", None), ("device_change", None),
    ("_r:1:attribute_change", "role"), ("failed_attribute_change", "email"),
)  # fmt: skip
MESSAGE_KINDS = 4  # the first four of KINDS are about a delivery

VERBS = (
    "attempted|bounced|clicked|converted|deferred|delivered|drafted|dropped|failed|opened|sent|undeliverable|"
    "spammed|suppressed|unsubscribed|topic_unsubscribed"
)
CHANNELS = "action|email|in_app|push|slack|twilio|webhook|whatsapp"
OTHER_TYPES = (
    "add_relationship|delete_relationship|relationship_attribute_change|relationship_failed_attribute_change|"
    "anon_merge|attribute_change|failed_attribute_change|device_change|event|failed_event|page|screen|profile_create|"
    "profile_delete|profile_merge|skipped_update|failed_batch_update|failed_object_journeys|failed_query_collection|"
    "clicked_content|converted_content|viewed_content|webhook_event|stripe_event"
)
OBJECT_TYPES = (
    r"_o:\d+:(add_relationship|attribute_change|create|delete|delete_relationship|failed_attribute_change)|"
    r"_r:\d+:(attribute_change|failed_attribute_change)"
)
TYPES = re.compile(f"({VERBS})_({CHANNELS})|{OTHER_TYPES}|{OBJECT_TYPES}")


def known_type(text: str) -> bool:
    """Tell whether an activity type is documented."""
    return TYPES.fullmatch(text) is not None


class Activities:
    """All activities, oldest first by (timestamp, uid)."""

    def __init__(self, seed: int, people: People, deliveries: Deliveries) -> None:
        self.seed = seed
        self.people = people
        self.deliveries = deliveries
        self.key = np.zeros(0, np.int64)  # timestamp << 32 | uid
        self.person = np.zeros(0, np.int32)
        self.kind = np.zeros(0, np.int8)
        self.about = np.zeros(0, np.int64)  # uid of a delivery, or noise
        self.arrived = np.zeros(0, np.int64)  # the ULID holds this moment, not the timestamp
        self.next_uid = 1
        self.version = 0

    def __len__(self) -> int:
        return len(self.key)

    def add(
        self, count: int, now: int, rng: np.random.Generator, days: float = 45, backdated: float = 0.02,
        future: float = 0.003,
    ) -> np.ndarray:  # fmt: skip
        """Add random activities; a share of them is backdated, a few are future-dated. Returns their uids."""
        everybody = len(self.people.ids)
        if not count or not everybody:
            return np.zeros(0, np.int64)
        arrived = now - (rng.random(count) * days * DAY).astype(np.int64)
        person = rng.integers(0, everybody, count)
        kind = rng.integers(MESSAGE_KINDS, len(KINDS), count).astype(np.int8)
        about = rng.integers(0, 1 << 40, count)
        first = int(np.searchsorted(self.deliveries.key, (now - int(days * DAY)) << 32))
        if first < len(self.deliveries):
            place = rng.integers(first, len(self.deliveries), count)
            message = rng.random(count) < 0.4
            kind[message] = rng.integers(0, MESSAGE_KINDS, int(message.sum()))
            person = np.where(message, self.deliveries.person[place], person)
            about = np.where(message, self.deliveries.key[place] & 0xFFFFFFFF, about)
            arrived = np.where(message, self.deliveries.created[place], arrived)
        stamp = arrived.copy()
        late = rng.random(count) < backdated
        stamp[late] -= rng.integers(DAY, 120 * DAY, int(late.sum()))
        stamp[rng.random(count) < future] = now + 3 * DAY
        uid = np.arange(self.next_uid, self.next_uid + count)
        self.next_uid += count
        key = np.append(self.key, stamp << 32 | uid)
        order = np.argsort(key, kind="stable")
        self.key = key[order]
        self.person = np.append(self.person, person.astype(np.int32))[order]
        self.kind = np.append(self.kind, kind)[order]
        self.about = np.append(self.about, about)[order]
        self.arrived = np.append(self.arrived, arrived)[order]
        self.version += 1
        return uid

    def keep(self, mask: np.ndarray) -> None:
        """Forget every row outside the mask."""
        for name in ("key", "person", "kind", "about", "arrived"):
            setattr(self, name, getattr(self, name)[mask])
        self.version += 1

    def mask(self, kind: str | None, name: str | None, deleted: bool, person: int | None) -> np.ndarray:
        """Tell which rows pass the filters of the activity lists."""
        mask = np.ones(len(self), bool) if deleted else self.people.alive[self.person]
        if person is not None:
            mask &= self.person == person
        if kind is not None:
            mask &= np.isin(self.kind, [n for n, entry in enumerate(KINDS) if entry[0] == kind])
        if name is not None:
            mask &= np.isin(self.kind, [n for n, entry in enumerate(KINDS) if entry[1] == name])
        return mask

    def render(self, places: np.ndarray) -> list[dict[str, Any]]:
        """Return the API items of some places, in the order given."""
        columns = (self.key, self.person, self.kind, self.about, self.arrived)
        return [self._row(*values) for values in zip(*(column[places].tolist() for column in columns), strict=True)]

    def _row(self, key: int, person: int, kind: int, about: int, arrived: int) -> dict[str, Any]:
        people, (type_, name) = self.people, KINDS[kind]
        h = mix(self.seed, key & 0xFFFFFFFF, 31)
        row: dict[str, Any] = {
            "id": ulid(arrived * 1000 + h % 1000, h), "type": type_, "timestamp": key >> 32,
            "customer_id": people.ids[person], "customer_identifiers": people.identifiers(person),
        }  # fmt: skip
        if kind < MESSAGE_KINDS:
            identity = delivery_id(about)
            row["data"] = {"delivery_id": identity, "delivered": arrived + 60 if h & 1 else None,
                           "opened": (None, False, True)[h % 3]}  # fmt: skip
            row["delivery_id"] = identity
            row["delivery_type"] = ("ios", "android")[h & 1] if type_.endswith("push") else "email"
        elif type_ in ("event", "screen"):
            row["name"] = name
            row["data"] = {"price": about % 10000 / 100, "sku": f"söckli-{about % 7}", "items": [{"n": about % 3}]}
        elif type_ == "page":
            row["url"] = f"https://example.com/p/{about % 50}?q=ä"
            row["data"] = {}
        elif name is not None:
            row["data"] = {name: {"from": "free" if h & 1 else None, "to": f"v{about % 9}"}}
        else:
            row["data"] = {}
        return row
