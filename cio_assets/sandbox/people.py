"""People: what the world made up about each, and over it what was pushed; attributes are rendered on demand.

What is pushed is one JSON text per person. Over a person of the world it is an overlay, where null hides an attribute.
"""

import json
from array import array
from typing import Any

import numpy as np
import orjson

from cio_assets.sandbox.roster import Roster, fold
from cio_assets.sandbox.seeds import NAMES, mix

PLANS = ("free", "pro", "business", "")
LONG_TEXT = "Lorem ipsum dolor sit amet, ünïcödé. " * 25
IDENTITY = frozenset(("id", "email", "cio_id", "_update"))
"""What is sent among the attributes and is none: identifiers, which the roster knows, and an instruction."""
NEVER = -(1 << 62)

Changes = dict[str, tuple[str | None, str | None]]


class People(Roster):
    """Everybody who ever was in the workspace, with attributes and devices."""

    def __init__(self, seed: int, count: int, ghosts: int, now: int) -> None:
        super().__init__()
        self.seed = seed
        self.made_up = bytearray()  # 1 = of the world, 0 = pushed
        self.overlay: list[bytes | None] = []
        self.since = array("q")  # when what was pushed at first was true
        self.stamps: dict[int, dict[str, int]] = {}  # person -> attribute -> when, where it is not `since`
        self.devices: dict[int, dict[str, dict[str, Any] | None]] = {}  # person -> token -> device, None = removed
        self.add(count, now, spread_days=900)
        if count:
            self.delete(self.add(ghosts, now, spread_days=900))

    def add(self, count: int, now: int, spread_days: int = 0) -> np.ndarray:
        """Make up `count` new people and return their numbers."""
        first = len(self.ids)
        for number in range(first, first + count):
            identifier, email = self._identify(number)
            self.ids.append(identifier)
            self.emails.append(email)
            if identifier is not None:
                self.by_id[identifier] = number
            if email is not None:
                self.by_email[fold(email)] = number
        ages = np.random.default_rng([self.seed, 11, first]).integers(0, spread_days * 86400 + 1, count)
        self._created.extend(now - ages)
        self._alive.extend(np.ones(count, bool))
        self.made_up.extend(b"\1" * count)
        self.overlay.extend([None] * count)
        self.since.extend((now - ages).tolist())
        self.version += 1
        return np.arange(first, first + count)

    def create(self, identifier: str | None, email: str | None, text: bytes, stamp: int, now: int) -> int:
        """Add a pushed person with the JSON text of attributes, none of which is empty; returns the number."""
        number = self.enter(identifier, email, now)
        self.made_up.append(0)
        self.overlay.append(text)
        self.since.append(stamp)
        return number

    def change(
        self, number: int, values: dict[str, Any], stamp: int, text: bytes | None = None, ordered: bool = False
    ) -> Changes:
        """Set attributes of one person, remove those that are None or "" and return what changed.

        An attribute that was set at a later `stamp` stays; `ordered` says that the sender gave the stamp, which is
        then remembered even for what stays the same. `text` is the JSON of `values` where the caller has it.
        """
        before, since = self.overlay[number], self.since[number]
        if text is not None and text == before and not ordered and number not in self.stamps and stamp >= since:
            return {}
        kept: dict[str, Any] = orjson.loads(before) if before else {}
        shown = self.attributes(number) if self.made_up[number] else kept
        stamps = self.stamps.get(number) or {}
        changes: Changes = {}
        moved: list[str] = []
        for name, value in values.items():
            if name in IDENTITY or stamp < stamps.get(name, since if name in shown else NEVER):
                continue
            old = shown.get(name)
            if ordered:
                moved.append(name)
            if value is None or value == "":
                if old is not None:
                    changes[name] = (as_text(old), None)
                    kept[name] = None
            elif old is None or type(old) is not type(value) or old != value:
                past, kept[name] = None if old is None else as_text(old), value
                if (new := as_text(value)) != past:
                    changes[name] = (past, new)
        if changes or moved:
            self.stamps.setdefault(number, {}).update(dict.fromkeys([*changes, *moved], stamp))
        if changes:
            hidden = self.made_up[number]
            left = {name: value for name, value in kept.items() if hidden or value is not None}
            self.overlay[number] = to_keep(orjson.dumps(left))
            if "phone" in changes:
                if self.by_phone.get(changes["phone"][0] or "") == number:
                    del self.by_phone[changes["phone"][0] or ""]
                self.index_phone(number, changes["phone"][1])
        return changes

    def pushed(self, number: int, name: str) -> Any:
        """Return an attribute as it was pushed, else as it was made up, None where it is neither."""
        values = orjson.loads(self.overlay[number] or b"{}")
        return values[name] if name in values else self.attributes(number).get(name)

    def index_phone(self, number: int, phone: Any) -> None:
        """Let a person be found by a phone number, where nobody else is yet."""
        if isinstance(phone, str):
            self.by_phone.setdefault(phone, number)

    def leave(self, number: int) -> None:
        """Delete one person and forget what was pushed."""
        phone = (orjson.loads(self.overlay[number] or b"{}")).get("phone")
        if isinstance(phone, str) and self.by_phone.get(phone) == number:
            del self.by_phone[phone]
        self.stamps.pop(number, None)
        self.devices.pop(number, None)
        super().leave(number)

    def attributes(self, number: int) -> dict[str, str]:
        """Return one person's attributes: strings, all of them, as the service reads them back."""
        values = self._made_up(number) if self.made_up[number] else {}
        values["cio_id"] = self.cio_ids[number]
        values["_created_in_customerio_at"] = str(self.created[number])
        if (text := self.overlay[number]) is not None:
            for name, value in orjson.loads(text).items():
                if value is None:
                    values.pop(name, None)
                elif name not in IDENTITY:
                    values[name] = as_text(value)
        names = {"id": self.ids[number], "email": self.emails[number]}
        values.update({name: value for name, value in names.items() if value is not None})
        return values

    def customer(self, number: int) -> dict[str, Any]:
        """Return the API's customer object of one person."""
        attributes, made_up = self.attributes(number), self.made_up[number]
        since, created, stamps = self.since[number], int(self.created[number]), self.stamps.get(number, {})
        item: dict[str, Any] = {
            "id": self.ids[number] or "", "attributes": attributes,
            "timestamps": {name: 0 if name.endswith("_computed") else
                           stamps.get(name, created if name in IDENTITY or name.startswith("_") else since)
                           for name in attributes},
        }  # fmt: skip
        if number % 4:  # otherwise cio_id stands only in the attributes
            item["identifiers"] = self.identifiers(number)
        unsubscribed = attributes.get("unsubscribed")
        item["unsubscribed"] = number % 17 == 2 if made_up and unsubscribed is None else unsubscribed == "true"
        item["devices"] = self.devices_of(number)
        if number % 53 == 6 and made_up:
            item["merged_profiles"] = [f"old-{number}"]  # a field that no reference knows
        return item

    def devices_of(self, number: int) -> list[dict[str, Any]]:
        """Return the devices of one person, made up and pushed."""
        devices: dict[str, dict[str, Any] | None] = {}
        if self.made_up[number] and number % 3 == 0:
            made = [self._device(number, turn) for turn in range(1 + number % 2)]
            devices = {device["id"]: device for device in made}
        devices.update(self.devices.get(number, {}))
        return [device for device in devices.values() if device is not None]

    def _made_up(self, number: int) -> dict[str, str]:
        h = mix(self.seed, number, 3)
        values = {
            "created_at": str(self.created[number]),
            "first_name": NAMES[h % len(NAMES)],
            "plan": PLANS[h >> 8 & 3],
            "score": str((h >> 16) % 1000 / 10),
            "vip": "true" if h >> 32 & 7 == 0 else "false",
            "address": json.dumps({"city": "Zürich", "zip": f"{h >> 20 & 8191:04d}"}, ensure_ascii=False),
            "cio_subscription_preferences": json.dumps({"topics": {"topic_1": bool(h & 2)}}),
            "_cio_subscription_preferences_computed": json.dumps({"topics": {"topic_1": bool(h & 2), "topic_2": True}}),
        }
        if number % 89 == 8:
            values['größe "EU", cm'] = 'first line\nsecond, "quoted" line\r\n'
        if number % 97 == 5:
            values["bio"] = LONG_TEXT
        if number % 11 == 3:
            values["nickname"] = ""
        if h >> 40 & 1:
            values["_last_emailed"] = str(int(self.created[number]) + 3600)
        return values

    def _device(self, number: int, turn: int) -> dict[str, Any]:
        h = mix(self.seed, number, turn, 5)
        return {
            "id": f"{h:016x}:APA91b{turn}",
            "platform": ("ios", "android")[turn],
            "last_used": int(self.created[number]) + 60 + turn,
            "attributes": {"device_os": "17.4", "device_model": "Pixel ✓", "push_enabled": "true"},
        }

    def _identify(self, number: int) -> tuple[str | None, str | None]:
        odd: dict[int, str | None] = {
            7: f"team/{number}",
            13: f"a+b {number}",
            19: f"50%{number}",
            23: f"ann{number}@corp.example",
            29: f"ключ-{number}🔑",
            31: None,
            37: None,
            41: f"q?{number}&x=1#y",
        }
        place = number % 50
        identifier = odd.get(place, f"u_{1000 + number}")
        email: str | None = f"user+{number}@example.com" if number % 9 == 4 else f"user{number}@example.com"
        if number % 20 == 11 or place == 37:
            email = None
        return identifier, email


def to_keep(text: bytes) -> bytes:
    """Copy a text that is to be kept: what orjson wrote sits in a buffer of at least 1024 bytes."""
    return bytes(memoryview(text))


def as_text(value: Any) -> str:
    """Write an attribute as the App API reads it back: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
