"""People: compact identifier lists plus overlays for what changed; attributes are rendered on demand."""

import json
from typing import Any

import numpy as np

from cio_assets.sandbox.seeds import NAMES, mix

PLANS = ("free", "pro", "business", "")
LONG_TEXT = "Lorem ipsum dolor sit amet, ünïcödé. " * 25


class People:
    """Everybody who ever was in the workspace; `alive` tells who still is."""

    def __init__(self, seed: int, count: int, ghosts: int, now: int) -> None:
        self.seed = seed
        self.ids: list[str | None] = []
        self.emails: list[str | None] = []
        self.cio_ids: list[str] = []
        self.by_id: dict[str, int] = {}
        self.by_email: dict[str, int] = {}
        self.by_cio_id: dict[str, int] = {}
        self.created = np.zeros(0, np.int64)
        self.alive = np.zeros(0, bool)
        self.changes: dict[int, dict[str, tuple[str, int]]] = {}  # person -> attribute -> (value, when)
        self.version = 0
        self.add(count, now, spread_days=900)
        if count:
            self.delete(self.add(ghosts, now, spread_days=900))

    def add(self, count: int, now: int, spread_days: int = 0) -> np.ndarray:
        """Append `count` new people and return their numbers."""
        first = len(self.ids)
        for number in range(first, first + count):
            identifier, email, cio_id = self._identify(number)
            self.ids.append(identifier)
            self.emails.append(email)
            self.cio_ids.append(cio_id)
            self.by_cio_id[cio_id] = number
            if identifier is not None:
                self.by_id[identifier] = number
            if email is not None:
                self.by_email[email.lower()] = number
        ages = np.random.default_rng([self.seed, 11, first]).integers(0, spread_days * 86400 + 1, count)
        self.created = np.append(self.created, now - ages)
        self.alive = np.append(self.alive, np.ones(count, bool))
        self.version += 1
        return np.arange(first, first + count)

    def delete(self, numbers: np.ndarray) -> None:
        """Delete people; their activities stay as those of deleted people."""
        self.alive[numbers] = False
        for number in numbers.tolist():
            if (identifier := self.ids[number]) is not None:
                self.by_id.pop(identifier, None)
            if (email := self.emails[number]) is not None:
                self.by_email.pop(email.lower(), None)
            self.by_cio_id.pop(self.cio_ids[number], None)
        self.version += 1

    def change(self, number: int, values: dict[str, str], now: int) -> None:
        """Set attributes of one person."""
        self.changes.setdefault(number, {}).update({name: (value, now) for name, value in values.items()})

    def living(self) -> np.ndarray:
        """Return the numbers of everybody who is still there, oldest first."""
        return np.flatnonzero(self.alive)

    def find(self, kind: str, value: str) -> int | None:
        """Find a living person by `id`, `email` or `cio_id` (bare or with the `cio_` of paths)."""
        if kind == "email":
            return self.by_email.get(value.lower())
        if kind == "cio_id":
            return self.by_cio_id.get(value.removeprefix("cio_"))
        return self.by_id.get(value)

    def find_ever(self, kind: str, value: str) -> int | None:
        """Find a person by the same identifiers, living or deleted since."""
        number = self.find(kind, value)
        if number is None:
            values = {"id": self.ids, "email": self.emails, "cio_id": self.cio_ids}[kind]
            wanted = value.removeprefix("cio_") if kind == "cio_id" else value
            number = values.index(wanted) if wanted in values else None
        return number

    def identifiers(self, number: int) -> dict[str, Any]:
        """Return `{email, id, cio_id}` of one person."""
        return {"email": self.emails[number], "id": self.ids[number], "cio_id": self.cio_ids[number]}

    def attributes(self, number: int) -> dict[str, str]:
        """Return one person's attributes: strings, all of them, as the service reads them back."""
        h = mix(self.seed, number, 3)
        created = str(self.created[number])
        values = {
            "cio_id": self.cio_ids[number],
            "created_at": created,
            "_created_in_customerio_at": created,
            "first_name": NAMES[h % len(NAMES)],
            "plan": PLANS[h >> 8 & 3],
            "score": str((h >> 16) % 1000 / 10),
            "vip": "true" if h >> 32 & 7 == 0 else "false",
            "address": json.dumps({"city": "Zürich", "zip": f"{h >> 20 & 8191:04d}"}, ensure_ascii=False),
            "cio_subscription_preferences": json.dumps({"topics": {"topic_1": bool(h & 2)}}),
            "_cio_subscription_preferences_computed": json.dumps({"topics": {"topic_1": bool(h & 2), "topic_2": True}}),
        }
        names = {"id": self.ids[number], "email": self.emails[number]}
        values.update({name: value for name, value in names.items() if value is not None})
        if number % 97 == 5:
            values["bio"] = LONG_TEXT
        if number % 11 == 3:
            values["nickname"] = ""
        if h >> 40 & 1:
            values["_last_emailed"] = str(int(self.created[number]) + 3600)
        values.update({name: value for name, (value, _) in self.changes.get(number, {}).items()})
        return values

    def customer(self, number: int) -> dict[str, Any]:
        """Return the API's customer object of one person."""
        attributes = self.attributes(number)
        created = int(self.created[number])
        stamps = {name: 0 if name.endswith("_computed") else created for name in attributes}
        stamps.update({name: when for name, (_, when) in self.changes.get(number, {}).items()})
        item: dict[str, Any] = {"id": self.ids[number] or "", "attributes": attributes, "timestamps": stamps}
        if number % 4:  # otherwise cio_id stands only in the attributes
            item["identifiers"] = self.identifiers(number)
        item["unsubscribed"] = number % 17 == 2
        item["devices"] = [self._device(number, turn) for turn in range(1 + number % 2)] if number % 3 == 0 else []
        if number % 53 == 6:
            item["merged_profiles"] = [f"old-{number}"]  # a field that no reference knows
        return item

    def _device(self, number: int, turn: int) -> dict[str, Any]:
        h = mix(self.seed, number, turn, 5)
        return {
            "id": f"{h:016x}:APA91b{turn}",
            "platform": ("ios", "android")[turn],
            "last_used": int(self.created[number]) + 60 + turn,
            "attributes": {"device_os": "17.4", "device_model": "Pixel ✓", "push_enabled": "true"},
        }

    def _identify(self, number: int) -> tuple[str | None, str | None, str]:
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
        return identifier, email, f"a3{number + 1:06x}"
