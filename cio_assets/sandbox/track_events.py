"""Events as they were pushed, each counted once, with whom they were found to be about; anonymous ones wait."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

DAY = 86400
MEMORY = 30 * DAY  # how long ago an event may be to follow a person who merges or becomes known


class Event(NamedTuple):
    """One counted event."""

    id: str | None
    name: str
    type: str
    kind: str  # of the identifier
    identifier: str
    person: int | None
    timestamp: int
    attributes: bytes


class EventLog:
    """Every event of the workspace, in the order of arrival."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.duplicates = 0
        self._seen: set[str] = set()
        self._waiting: dict[str, list[int]] = {}  # anonymous_id -> places of its events
        self._owners: dict[int, int] = {}  # place -> person who became known later
        self._merged: dict[int, tuple[int, int]] = {}  # person -> (who took over, since when)

    def known(self, identity: str | None) -> bool:
        """Tell, and remember, whether an event of this id was counted before; without an id none ever was."""
        if identity is None:
            return False
        identity = identity.upper()
        if identity in self._seen:
            self.duplicates += 1
            return True
        self._seen.add(identity)
        return False

    def add(self, event: Event) -> None:
        """Count an event; an anonymous one waits for its person."""
        if event.kind == "anonymous_id" and event.identifier:
            self._waiting.setdefault(event.identifier, []).append(len(self.events))
        self.events.append(event)

    def claim(self, anonymous_id: str, person: int, now: int) -> list[Event]:
        """Give what waits under an anonymous id to a person, and return those events."""
        places = self._waiting.pop(anonymous_id, [])
        recent = [place for place in places if self.events[place].timestamp >= now - MEMORY]
        self._owners.update(dict.fromkeys(recent, person))
        return [self.events[place] for place in recent]

    def merge(self, person: int, into: int, now: int) -> None:
        """Let a person take over the recent events of another."""
        self._merged[person] = into, now - MEMORY

    def rows(self, cio_ids: Any) -> Iterator[dict[str, Any]]:
        """Return one row per event."""
        for place, event in enumerate(self.events):
            owner = self._owners.get(place, event.person)
            while owner in self._merged and event.timestamp >= self._merged[owner][1]:
                owner = self._merged[owner][0]
            yield {
                "id": event.id,
                "name": event.name,
                "type": event.type,
                "identifiers": {event.kind: event.identifier} if event.identifier else {},
                "cio_id": None if owner is None else cio_ids[owner],
                "timestamp": event.timestamp,
                "attributes": orjson.loads(event.attributes or b"{}"),
            }
