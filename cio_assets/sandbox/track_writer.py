"""Applies one accepted Track operation to the world, whatever it is about."""

from typing import Any

from cio_assets.sandbox.deliveries import COLUMN
from cio_assets.sandbox.people import to_keep
from cio_assets.sandbox.seeds import delivery_uid
from cio_assets.sandbox.track_checks import Checked, invalid
from cio_assets.sandbox.track_events import Event
from cio_assets.sandbox.track_merge import merge
from cio_assets.sandbox.track_objects import ObjectWriter
from cio_assets.sandbox.track_people import PeopleWriter
from cio_assets.sandbox.world import World

Operation = dict[str, Any]


class Writer:
    """Turns operations of version 2 into changes; version 1 uses its parts."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.people = PeopleWriter(world, self.claim)
        self.objects = ObjectWriter(world, self.people)
        self.activities = world.activities
        self._merged = world.activities.kind_number("anon_merge", None, "data")
        self._apply = {
            ("person", "identify"): self._identify,
            ("person", "event"): self._event,
            ("person", "page"): self._event,
            ("person", "screen"): self._event,
            ("person", "add_relationships"): self._relate_person,
            ("person", "delete_relationships"): self._relate_person,
            ("person", "add_device"): self._add_device,
            ("person", "delete_device"): self._delete_device,
            ("person", "merge"): self._merge,
            ("object", "delete"): self._delete_object,
            ("delivery", "event"): self._delivery,
        }

    def refuse(self, operation: Operation) -> Checked:
        """Refuse a well-formed operation that this workspace has no place for: one of an unknown object type."""
        named = [operation.get("identifiers", {})] if operation["type"] == "object" else []
        if operation["type"] == "person":
            named = [item["identifiers"] for item in operation.get("cio_relationships", ())]
        if any(self.objects.unknown_type(identifiers) for identifiers in named):
            return invalid("identifiers.object_type_id", "object type does not exist")
        return None

    def apply(self, operation: Operation, text: bytes, now: int) -> None:
        """Apply an operation that was checked; `text` is the JSON of its attributes, b"" without any."""
        kind, action = operation["type"], operation["action"]
        if (special := self._apply.get((kind, action))) is not None:
            special(operation, text, now)
        elif kind == "object":
            self._object(operation, now)
        else:  # delete, suppress, unsuppress
            ((name, value),) = operation["identifiers"].items()
            self.leave(action, name, value, now)

    def leave(self, action: str, kind: str, value: str, now: int) -> None:
        """Delete, suppress or unsuppress somebody."""
        if action == "delete":
            self.people.delete(kind, value, now)
        elif action == "suppress":
            self.people.suppress(kind, value, now)
        else:
            self.world.suppressed.lift(kind, value)

    def event(self, event: Event, now: int) -> None:
        """Count an event, unless it was before or its person is suppressed; unknown people come into being."""
        kind, value = event.kind, event.identifier
        if kind != "anonymous_id" and self.world.suppressed.blocks(kind, value, {}):
            return
        if self.world.events.known(event.id):
            return
        if kind == "anonymous_id":
            self.world.events.add(event)
            return
        person = self.people.find(kind, value)
        if person is None and kind != "cio_id":
            person = self.people.obtain(kind, value, now)
        if person is None:
            who = {"id": None, "email": None, "cio_id": value}
            failed = self.activities.kind_number("failed_event", event.name, "data")
            self.activities.note_stranger(failed, who, event.attributes or b"{}", event.timestamp, now)
            return
        self.world.events.add(event._replace(person=person))
        self._note(event, person, now)

    def claim(self, anonymous_id: str, person: int, now: int) -> None:
        """Let a person take what waited for an anonymous id."""
        events = self.world.events.claim(anonymous_id, person, now)
        for event in events:
            self._note(event, person, now)
        if events:
            self.activities.note(person, self._merged, b"{}", now, now)
        self.objects.claim(anonymous_id, person, now)

    def merge(self, primary: tuple[str, str], secondary: tuple[str, str], now: int) -> None:
        """Merge two people, where both are there."""
        first, second = self.people.find(*primary), self.people.find(*secondary)
        if first is not None and second is not None and first != second:
            merge(self.world, first, second, now)

    def metric(self, delivery_id: str, metric: str, stamp: int) -> None:
        """Note a metric of a delivery, where it is known and has none of it yet."""
        uid = delivery_uid(delivery_id)
        place = None if uid is None else self.world.deliveries.find(uid)
        if place is not None and metric in COLUMN and not self.world.deliveries.metrics[COLUMN[metric], place]:
            self.world.deliveries.metrics[COLUMN[metric], place] = stamp
            self.world.deliveries.changed()

    def recipient(self, delivery_id: str) -> int | None:
        """Return the living person to whom a delivery went."""
        uid = delivery_uid(delivery_id)
        place = None if uid is None else self.world.deliveries.find(uid)
        person = None if place is None else int(self.world.deliveries.person[place])
        return person if person is not None and self.world.people.alive[person] else None

    def _note(self, event: Event, person: int, now: int) -> None:
        kind = self.activities.kind_number(event.type, event.name, "data")
        self.activities.note(person, kind, event.attributes or b"{}", event.timestamp, now)

    def _identify(self, operation: Operation, text: bytes, now: int) -> None:
        ((kind, value),) = operation["identifiers"].items()
        attributes = operation.get("attributes") or {}
        person = self.people.identify(kind, value, attributes, text or b"{}", now, operation.get("timestamp"))
        if person is not None and "cio_relationships" in operation:
            self.objects.relate_objects(person, operation["cio_relationships"], now)

    def _event(self, operation: Operation, text: bytes, now: int) -> None:
        ((kind, value),) = operation["identifiers"].items()
        stamp = operation.get("timestamp", now)
        name, action = operation["name"].strip(), operation["action"]
        self.event(Event(operation.get("id"), name, action, kind, value, None, stamp, to_keep(text)), now)

    def _relate_person(self, operation: Operation, _text: bytes, now: int) -> None:
        ((kind, value),) = operation["identifiers"].items()
        adding = operation["action"] == "add_relationships"
        person = self.people.obtain(kind, value, now) if adding else self.people.find(kind, value)
        if person is not None:
            write = self.objects.relate_objects if adding else self.objects.unrelate_objects
            write(person, operation["cio_relationships"], now)

    def _add_device(self, operation: Operation, _text: bytes, now: int) -> None:
        ((kind, value),) = operation["identifiers"].items()
        self.people.add_device(kind, value, operation["device"], now)

    def _delete_device(self, operation: Operation, _text: bytes, now: int) -> None:
        ((kind, value),) = operation["identifiers"].items()
        self.people.delete_device(kind, value, operation["device"]["token"], now)

    def _merge(self, operation: Operation, _text: bytes, now: int) -> None:
        (primary,), (secondary,) = operation["primary"].items(), operation["secondary"].items()
        self.merge(primary, secondary, now)

    def _object(self, operation: Operation, now: int) -> None:
        identifiers, related = operation["identifiers"], operation.get("cio_relationships", [])
        if operation["action"] == "delete_relationships":
            self.objects.unrelate_people(identifiers, related, now)
            return
        self.objects.identify(identifiers, operation.get("attributes", {}), now)
        self.objects.relate_people(identifiers, related, now)

    def _delete_object(self, operation: Operation, _text: bytes, _now: int) -> None:
        self.objects.delete(operation["identifiers"])

    def _delivery(self, operation: Operation, _text: bytes, now: int) -> None:
        self.metric(operation["identifiers"]["id"], operation["name"], now)
