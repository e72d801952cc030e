"""Segments with their members, and custom objects with their relationships to people."""

from typing import Any

import numpy as np

from cio_assets.sandbox.content import Content, Item
from cio_assets.sandbox.people import People
from cio_assets.sandbox.seeds import NAMES, mix

DAY = 86400
TYPE_NAMES = (("Companies", "Company", True), ("Empty things", "Empty thing", True), ("Old projects", "Project", False))


class Segments:
    """Segments by id; members are sorted arrays of person numbers."""

    def __init__(self, seed: int, count: int, people: People, now: int) -> None:
        self.people = people
        self.items: dict[int, Item] = {}
        self.members: dict[int, np.ndarray] = {}
        everybody = people.living()
        for identity in range(1, count + 1):
            h = mix(seed, identity, 41)
            created = now - (1 + h % 700) * DAY
            updated = created + (now - created) * (h >> 12 & 255) // 256
            building = identity % 13 == 5
            self.items[identity] = {
                "id": identity, "deduplicate_id": f"{identity}:{updated}",
                "name": f"Segment {identity} {NAMES[h % 12]}",
                "description": "" if identity % 2 else "Leute 🙂", "state": "build" if building else "finished",
                "progress": 40 if building else None, "type": "manual" if identity % 7 == 3 else "dynamic",
                "tags": None if identity % 3 else ["vip", "größe"], "created_at": created, "updated_at": updated,
            }  # fmt: skip
            share = {1: 0.99, 2: 0.0}.get(identity, (h >> 30 & 255) / 512)
            chosen = np.random.default_rng([seed, 42, identity]).random(len(everybody)) < share
            self.members[identity] = everybody[chosen].astype(np.int32)

    def enter(self, identity: int, people: np.ndarray) -> None:
        """Add people to a segment."""
        self.members[identity] = np.union1d(self.members[identity], people).astype(np.int32)

    def exit(self, identity: int, people: np.ndarray) -> None:
        """Remove people from a segment."""
        self.members[identity] = np.setdiff1d(self.members[identity], people).astype(np.int32)

    def current(self, identity: int) -> np.ndarray:
        """Return the members who are still there, by person number."""
        members = self.members[identity]
        return members[self.people.alive[members]]

    def of(self, person: int) -> list[Item]:
        """Return the segments of one person."""
        return [item for identity, item in self.items.items() if person in self.members[identity]]

    def used_by(self, identity: int, content: Content) -> dict[str, list[int]]:
        """Return which campaigns and newsletters use a segment."""
        letters = [n for n in content.newsletters.values() if identity in (n["recipient_segment_ids"] or ())]
        fields = ("filter_segment_ids", "trigger_segment_ids")
        return {
            "campaigns": [c["id"] for c in content.campaigns.values() if any(identity in c.get(f, ()) for f in fields)],
            "sent_newsletters": [n["id"] for n in letters if n["sent_at"]],
            "draft_newsletters": [n["id"] for n in letters if not n["sent_at"]],
        }


class Objects:
    """Objects by (type, object id), and the people each is related to."""

    def __init__(self, seed: int, count: int, people: People, now: int) -> None:
        self.people = people
        self.types: list[Item] = [
            {"id": str(n), "name": name, "slug": name.lower().replace(" ", "_"), "singular_name": one, "singular_slug":
             one.lower().replace(" ", "_"), "icon": "building", "enabled": enabled}
            for n, (name, one, enabled) in enumerate(TYPE_NAMES, 1)
        ]  # fmt: skip
        self.items: dict[tuple[str, str], Item] = {}
        self.related: dict[tuple[str, str], dict[int, Item]] = {}  # object -> person -> relationship
        self.of_person: dict[int, list[tuple[str, str]]] = {}
        everybody = people.living()
        self._by_cio: dict[str, tuple[str, str]] = {}
        self._next = 0
        rng = np.random.default_rng([seed, 43])
        for number in range(count):
            kind = "3" if number % 3 == 2 else "1"
            object_id = (f"acme-{number}", f"Böse & Söhne/{number}", f"100% {number}+1")[number // 3 % 3]
            key = kind, object_id
            values = {"name": f"{NAMES[number % 12]} Ltd", "seats": str(number), "meta": '{"a":[1]}'}
            self.create(key, now - (number + 1) * 3600, values)
            size = min(len(everybody), 130 if number == 0 else number % 6)
            for person in sorted(rng.choice(everybody, size, replace=False).tolist()) if size else ():
                role = ("admin", "member", "Übersetzer")[person % 3]
                self.relate(key, person, {"attributes": {"role": role}, "timestamps": {"role": now - number * 60}})

    def create(self, key: tuple[str, str], now: int, attributes: dict[str, str]) -> None:
        """Add an object that nobody is related to."""
        cio_object_id = f"ob{self._next + 0x20101:06x}"
        self.items[key] = {
            "object_id": key[1], "cio_object_id": cio_object_id, "number": self._next,
            "attributes": attributes, "created": now, "stamps": {},
        }  # fmt: skip
        self._next += 1
        self._by_cio[cio_object_id] = key
        self.related[key] = {}

    def relate(self, key: tuple[str, str], person: int, relationship: Item) -> None:
        """Relate a person to an object, in place of the relationship before."""
        if person not in self.related[key]:
            self.of_person.setdefault(person, []).append(key)
        self.related[key][person] = relationship

    def unrelate(self, key: tuple[str, str], person: int) -> bool:
        """End a relationship; False where there was none."""
        if self.related[key].pop(person, None) is None:
            return False
        self.of_person[person].remove(key)
        return True

    def type_item(self, kind: str) -> Item | None:
        """Find an object type."""
        return next((item for item in self.types if item["id"] == kind), None)

    def find(self, kind: str, id_type: str, value: str) -> tuple[str, str] | None:
        """Find an object's key by its object_id or cio_object_id."""
        if id_type == "object_id":
            return (kind, value) if (kind, value) in self.items else None
        key = self.by_cio_object_id(value)
        return key if key is not None and key[0] == kind else None

    def by_cio_object_id(self, value: str) -> tuple[str, str] | None:
        """Find an object's key by its cio_object_id alone."""
        return self._by_cio.get(value)

    def remove(self, key: tuple[str, str]) -> None:
        """Delete an object with its relationships."""
        del self._by_cio[self.items.pop(key)["cio_object_id"]]
        for person in self.related.pop(key):
            self.of_person[person].remove(key)

    def relationships(self, person: int) -> list[Item]:
        """Return the relationships of one person as the customer's side gives them."""
        return [
            {"object_type_id": int(key[0]), "identifiers": self.identifiers(key), **self.related[key][person]}
            for key in self.of_person.get(person, ())
        ]

    def identifiers(self, key: tuple[str, str]) -> Item:
        """Return `{object_id, cio_object_id}`."""
        return {"object_id": key[1], "cio_object_id": self.items[key]["cio_object_id"]}

    def people_of(self, key: tuple[str, str]) -> list[tuple[int, Item]]:
        """Return the living people of an object, with their numbers, as the object's side gives them."""
        disabled = not (self.type_item(key[0]) or {}).get("enabled", False)
        return [
            (person, {"identifiers": self.people.identifiers(person), "object_type_id": key[0],
                      "object_type_disabled": disabled})
            for person in sorted(self.related[key])
            if self.people.alive[person]
        ]  # fmt: skip

    def attributes(self, key: tuple[str, str]) -> dict[str, Any]:
        """Return the API's object item."""
        item = self.items[key]
        disabled = not (self.type_item(key[0]) or {}).get("enabled", False)
        return {
            "identifiers": self.identifiers(key) | {"object_type_id": key[0]}, "object_type_id": key[0],
            "object_type_disabled": disabled, "attributes": item["attributes"],
            "timestamps": dict.fromkeys(item["attributes"], item["created"]) | item["stamps"],
        }  # fmt: skip
