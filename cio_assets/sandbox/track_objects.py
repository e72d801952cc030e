"""What is pushed about objects and about who is related to them; what is missing on either side comes into being."""

from typing import Any

import orjson

from cio_assets.sandbox.people import as_text
from cio_assets.sandbox.track_people import PeopleWriter
from cio_assets.sandbox.world import World

Key = tuple[str, str]
Item = dict[str, Any]


class ObjectWriter:
    """Applies what was accepted about objects and relationships to one world."""

    def __init__(self, world: World, people: PeopleWriter) -> None:
        self.world = world
        self.objects = world.objects
        self.people = people
        self._awaited: dict[str, list[tuple[Key, Item]]] = {}  # anonymous_id -> relationships
        number = world.activities.kind_number
        self._added = number("add_relationship", None, "data")
        self._ended = number("delete_relationship", None, "data")
        self._changed = number("relationship_attribute_change", None, "changed")

    def unknown_type(self, identifiers: Any) -> bool:
        """Tell whether an object's identifiers name an object type that the workspace does not have."""
        kind = identifiers.get("object_type_id")
        return kind is not None and self.objects.type_item(kind) is None

    def identify(self, identifiers: Item, attributes: Item, now: int) -> Key | None:
        """Create or update an object; a cio_object_id that nothing has creates nothing."""
        key = self._find(identifiers)
        if key is None:
            if "cio_object_id" in identifiers:
                return None
            key = identifiers["object_type_id"], identifiers["object_id"]
            self.objects.create(key, now, {})
        item = self.objects.items[key]
        _write(item["attributes"], item["stamps"], attributes, now)
        return key

    def delete(self, identifiers: Item) -> None:
        """Delete an object with its relationships."""
        if (key := self._find(identifiers)) is not None:
            self.objects.remove(key)

    def relate_people(self, identifiers: Item, relationships: list[Item], now: int) -> None:
        """Relate people to an object."""
        key = self.identify(identifiers, {}, now)
        if key is None:
            return
        for item in relationships:
            ((kind, value),) = item["identifiers"].items()
            if kind == "anonymous_id":
                self._awaited.setdefault(value, []).append((key, item.get("relationship_attributes", {})))
            elif (person := self.people.obtain(kind, value, now)) is not None:
                self._relate(key, person, item.get("relationship_attributes", {}), now)

    def unrelate_people(self, identifiers: Item, relationships: list[Item], now: int) -> None:
        """End relationships of an object."""
        key = self._find(identifiers)
        if key is None:
            return
        for item in relationships:
            ((kind, value),) = item["identifiers"].items()
            if (person := self.people.find(kind, value)) is not None:
                self._unrelate(key, person, now)

    def relate_objects(self, person: int, relationships: list[Item], now: int) -> None:
        """Relate objects to a person."""
        for item in relationships:
            if (key := self.identify(item["identifiers"], {}, now)) is not None:
                self._relate(key, person, item.get("relationship_attributes", {}), now)

    def unrelate_objects(self, person: int, relationships: list[Item], now: int) -> None:
        """End relationships of a person."""
        for item in relationships:
            if (key := self._find(item["identifiers"])) is not None:
                self._unrelate(key, person, now)

    def claim(self, anonymous_id: str, person: int, now: int) -> None:
        """Give a person the relationships that waited for an anonymous id."""
        for key, attributes in self._awaited.pop(anonymous_id, ()):
            if key in self.objects.items:
                self._relate(key, person, attributes, now)

    def _find(self, identifiers: Item) -> Key | None:
        if (cio := identifiers.get("cio_object_id")) is not None:
            return self.objects.by_cio_object_id(cio)
        return self.objects.find(identifiers["object_type_id"], "object_id", identifiers["object_id"])

    def _relate(self, key: Key, person: int, attributes: Item, now: int) -> None:
        before = self.objects.related[key].get(person)
        relationship = before or {"attributes": {}, "timestamps": {}}
        changes = _write(relationship["attributes"], relationship["timestamps"], attributes, now)
        self.objects.relate(key, person, relationship)
        if before is None:
            self.world.activities.note(person, self._added, orjson.dumps(self._about(key)), now, now)
        elif changes:
            self.world.activities.note(person, self._changed, orjson.dumps(changes), now, now)

    def _unrelate(self, key: Key, person: int, now: int) -> None:
        if self.objects.unrelate(key, person):
            self.world.activities.note(person, self._ended, orjson.dumps(self._about(key)), now, now)

    def _about(self, key: Key) -> Item:
        return {"object_type_id": key[0], "object_id": key[1]}


def _write(values: dict[str, str], stamps: dict[str, int], attributes: Item, now: int) -> dict[str, Any]:
    """Set attributes, remove those that are None or "" and return what changed."""
    changes: dict[str, Any] = {}
    for name, item in attributes.items():
        past = values.get(name)
        if item is None or item == "":
            if past is not None:
                changes[name] = (past, None)
                del values[name]
                stamps.pop(name, None)
        elif (new := as_text(item)) != past:
            changes[name] = (past, new)
            values[name], stamps[name] = new, now
    return changes
