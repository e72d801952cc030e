"""Activities as numpy columns, sorted by timestamp; rows are rendered on demand.

What a push causes is only noted, and takes its place among the columns when somebody looks.
"""

import re
from array import array
from typing import Any

import numpy as np
import orjson

from cio_assets.sandbox.deliveries import Deliveries
from cio_assets.sandbox.people import People, as_text
from cio_assets.sandbox.seeds import delivery_id, mix, ulid

DAY = 86400
KINDS: tuple[tuple[str, str | None], ...] = (
    ("sent_email", None), ("opened_email", None), ("clicked_email", None), ("delivered_push", None),
    ("event", "purchase"), ("event", "café visited ☕"), ("page", None), ("screen", "Home"),
    ("attribute_change", "plan"), ("attribute_change", "first_name"), ("profile_create", None), ("device_change", None),
    ("_r:1:attribute_change", "role"), ("failed_attribute_change", "email"),
)  # fmt: skip
MESSAGE_KINDS = 4  # the first four of KINDS are about a delivery
COLUMNS = ("_key", "_person", "_kind", "_about", "_arrived")
NOBODY = -1

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
        self._key = np.zeros(0, np.int64)  # timestamp << 32 | uid
        self._person = np.zeros(0, np.int32)  # NOBODY where the person is not known
        self._kind = np.zeros(0, np.int32)
        self._about = np.zeros(0, np.int64)  # uid of a delivery, number of a detail, or noise
        self._arrived = np.zeros(0, np.int64)  # the ULID holds this moment, not the timestamp
        self._noted = tuple(array("q") for _ in COLUMNS)
        self.kinds: list[tuple[str, str | None, str]] = [(type_, name, "") for type_, name in KINDS]
        self._kind_numbers: dict[tuple[str, str | None, str], int] = {}
        self._details: list[bytes] = []  # what was pushed, as JSON
        self._strangers: dict[int, dict[str, Any]] = {}  # number of a detail -> identifiers that fit nobody
        self._moves: list[tuple[int, int, int]] = []
        self.next_uid = 1
        self._version = 0

    def __len__(self) -> int:
        return len(self.key)

    @property
    def key(self) -> np.ndarray:
        """Timestamp << 32 | uid of every activity, ascending."""
        self._settle()
        return self._key

    @property
    def version(self) -> int:
        """A number that is another one after every change."""
        self._settle()
        return self._version

    def kind_number(self, type_: str, name: str | None, form: str) -> int:
        """Return the number under which a pushed kind is noted; `form` says how its detail is to be read."""
        kind = type_, name, form
        number = self._kind_numbers.get(kind)
        if number is None:
            number = self._kind_numbers[kind] = len(self.kinds)
            self.kinds.append(kind)
        return number

    def note(self, person: int, kind: int, detail: bytes, stamp: int, now: int) -> None:
        """Note what a push did to somebody; the detail is kept as it is."""
        key, people, kinds, about, arrived = self._noted
        # The columns hold seconds in 31 bits; a timestamp in milliseconds must not break them.
        key.append(min(max(stamp, -(1 << 31)), (1 << 31) - 1) << 32 | self.next_uid)
        people.append(person)
        kinds.append(kind)
        about.append(len(self._details))
        arrived.append(now)
        self.next_uid += 1
        self._details.append(detail)

    def note_stranger(self, kind: int, who: dict[str, Any], detail: bytes, stamp: int, now: int) -> None:
        """Note what was pushed for identifiers that fit nobody."""
        self._strangers[len(self._details)] = who
        self.note(NOBODY, kind, detail, stamp, now)

    def move(self, person: int, to: int, since: int) -> None:
        """Give the activities since a moment of a person who is no more to another."""
        self._moves.append((person, to, since))

    def _settle(self) -> None:
        """Sort what was noted into the columns."""
        if len(self._noted[0]):
            noted = [np.frombuffer(values, np.int64) for values in self._noted]
            self._insert(*noted)
            self._noted = tuple(array("q") for _ in COLUMNS)
        if self._moves:
            owner, begin = np.arange(len(self.people.ids) + 1), np.zeros(len(self.people.ids) + 1, np.int64)
            owner[NOBODY] = NOBODY
            for person, to, since in reversed(self._moves):  # so that whoever merges twice moves twice
                owner[person], begin[person] = owner[to], since
            moving = self._key >> 32 >= begin[self._person]
            self._person = np.where(moving, owner[self._person], self._person).astype(np.int32)
            self._moves = []
            self._version += 1

    def _insert(self, *new: np.ndarray) -> None:
        order = np.argsort(np.append(self._key, new[0]), kind="stable")
        for name, values in zip(COLUMNS, new, strict=True):
            column = getattr(self, name)
            setattr(self, name, np.append(column, values.astype(column.dtype))[order])
        self._version += 1

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
        self._settle()
        uid = np.arange(self.next_uid, self.next_uid + count)
        self.next_uid += count
        self._insert(stamp << 32 | uid, person, kind, about, arrived)
        return uid

    def keep(self, mask: np.ndarray) -> None:
        """Forget every row outside the mask."""
        for name in COLUMNS:
            setattr(self, name, getattr(self, name)[mask])
        self._version += 1

    def mask(self, kind: str | None, name: str | None, deleted: bool, person: int | None) -> np.ndarray:
        """Tell which rows pass the filters of the activity lists."""
        # What belongs to nobody belongs to nobody deleted: NOBODY picks the value appended.
        mask = np.ones(len(self), bool) if deleted else np.append(self.people.alive, True)[self._person]
        if person is not None:
            mask &= self._person == person
        if kind is not None:
            mask &= np.isin(self._kind, [n for n, entry in enumerate(self.kinds) if entry[0] == kind])
        if name is not None:
            mask &= np.isin(self._kind, [n for n, entry in enumerate(self.kinds) if entry[1] == name])
        return mask

    def render(self, places: np.ndarray) -> list[dict[str, Any]]:
        """Return the API items of some places, in the order given."""
        columns = [getattr(self, name)[places].tolist() for name in COLUMNS]
        return [self._row(*values) for values in zip(*columns, strict=True)]

    def _row(self, key: int, person: int, kind: int, about: int, arrived: int) -> dict[str, Any]:
        people, (type_, name, form) = self.people, self.kinds[kind]
        h = mix(self.seed, key & 0xFFFFFFFF, 31)
        who = people.identifiers(person) if person != NOBODY else self._strangers[about]
        row: dict[str, Any] = {
            "id": ulid(arrived * 1000 + h % 1000, h), "type": type_, "timestamp": key >> 32,
            "customer_id": who["id"], "customer_identifiers": who,
        }  # fmt: skip
        if kind < MESSAGE_KINDS:
            identity = delivery_id(about)
            row["data"] = {"delivery_id": identity, "delivered": arrived + 60 if h & 1 else None,
                           "opened": (None, False, True)[h % 3]}  # fmt: skip
            row["delivery_id"] = identity
            row["delivery_type"] = ("ios", "android")[h & 1] if type_.endswith("push") else "email"
            return row
        if form:
            row["data"] = _pushed_data(orjson.loads(self._details[about]), form)
        elif type_ in ("event", "screen"):
            row["data"] = {"price": about % 10000 / 100, "sku": f"söckli-{about % 7}", "items": [{"n": about % 3}]}
        elif name is not None:
            row["data"] = {name: {"from": "free" if h & 1 else None, "to": f"v{about % 9}"}}
        else:
            row["data"] = {}
        if type_ in ("event", "screen"):
            row["name"] = name
        elif type_ == "page":
            row["url"] = row["data"].get("url", name) if form else f"https://example.com/p/{about % 50}?q=ä"
        return row


def _pushed_data(detail: Any, form: str) -> dict[str, Any]:
    """Read a detail: attributes of a new person, `[from, to]` by attribute, or data as they were sent."""
    if form == "created":
        return {name: {"from": None, "to": as_text(value)} for name, value in detail.items()}
    if form == "changed":
        return {name: {"from": past, "to": new} for name, (past, new) in detail.items()}
    return detail
