"""What identify, delete, suppress and devices do to people; the rules of identifiers are here.

The service accepts more than it can apply; what it cannot apply becomes a failed activity.
"""

from collections.abc import Callable
from typing import Any

import orjson

from cio_assets.sandbox.people import to_keep
from cio_assets.sandbox.roster import fold
from cio_assets.sandbox.world import World

RESERVED = frozenset(("id", "email", "anonymous_id", "_update"))
PREFERENCES = "cio_subscription_preferences"
PREFERENCES_MARK = b'"cio_subscription_preferences'
Attributes = dict[str, Any]


class PeopleWriter:
    """Applies what was accepted about people to one world."""

    def __init__(self, world: World, claim: Callable[[str, int, int], None]) -> None:
        self.world = world
        self.claim = claim  # takes what waited for an anonymous id
        self.people = world.people
        self.suppressed = world.suppressed
        self.note = world.activities.note
        number = world.activities.kind_number
        self._created = number("profile_create", None, "data")
        self._first = number("attribute_change", None, "created")
        self._changed = number("attribute_change", None, "changed")
        self._failed = number("failed_attribute_change", None, "data")
        self._deleted = number("profile_delete", None, "data")
        self._skipped = number("skipped_update", None, "data")
        self._device = number("device_change", None, "data")

    def find(self, kind: str, value: str) -> int | None:
        """Find a living person by an identifier as bodies hold it: there a cio_id is bare."""
        if kind == "cio_id" and value.startswith("cio_"):
            return None
        return self.people.find(kind, value)

    def obtain(self, kind: str, value: str, now: int) -> int | None:
        """Find or create a person; None for a cio_id that nobody has and for whoever is suppressed."""
        return self.identify(kind, value, {}, b"{}", now)

    def identify(
        self, kind: str, value: str, attributes: Attributes, text: bytes, now: int, stamp: int | None = None
    ) -> int | None:
        """Create or update a person; `text` is the JSON of the attributes. None where nothing came of it."""
        people = self.people
        if self.suppressed and self.suppressed.blocks(kind, value, attributes):
            return None
        at = now if stamp is None else stamp
        number = people.by_id.get(value) if kind == "id" else self.find(kind, value)
        special = not RESERVED.isdisjoint(attributes)
        if number is None and special:
            number = self._adopt(kind, value, attributes, now)
        if number is None:
            if kind == "cio_id" or attributes.get("_update") is True:
                known = {"id": None, "email": None, "cio_id": None}
                what = self._failed if kind == "cio_id" else self._skipped
                self.world.activities.note_stranger(what, known | {kind: value}, text, at, now)
                return None
            number = self._create(kind, value, attributes, text, at, now)
        else:
            if special:
                self._reidentify(kind, number, attributes, now)
            if PREFERENCES_MARK in text:
                attributes, text = self._preferences(number, attributes), b""
            changes = people.change(number, attributes, at, text, stamp is not None)
            if changes:
                self.note(number, self._changed, to_keep(orjson.dumps(changes)), at, now)
        if special and type(attributes.get("anonymous_id")) is str:
            self.claim(attributes["anonymous_id"], number, now)
        return number

    def arrive(self, number: int, text: bytes, at: int, now: int) -> None:
        """Note that a person came into being, with the JSON text of the first attributes."""
        self.note(number, self._created, b"{}", at, now)
        if len(text) > 2:
            self.note(number, self._first, text, at, now)

    def delete(self, kind: str, value: str, now: int) -> None:
        """Delete a person."""
        number = self.find(kind, value)
        if number is not None:
            self._leave(number, now)

    def suppress(self, kind: str, value: str, now: int) -> None:
        """Delete a person and block the identifiers; a cio_id that nobody has blocks nothing."""
        number = self.find(kind, value)
        identifiers: dict[str, str | None] = {} if kind == "cio_id" else {kind: value}
        if number is not None:
            had = {"id": self.people.ids[number], "email": self.people.emails[number]}
            identifiers = {**had, **identifiers}
            self._leave(number, now)
        if not (identifiers and kind != "cio_id" and self.suppressed.blocks(kind, value, {})):
            self.suppressed.add(identifiers, now)

    def add_device(self, kind: str, value: str, device: dict[str, Any], now: int) -> None:
        """Add a device to a person, or replace the one of the same token."""
        number = self.obtain(kind, value, now)
        if number is None:
            return
        item = {"id": device["token"], "platform": device["platform"], "last_used": device.get("last_used", now),
                "attributes": dict(device.get("attributes", {}))}  # fmt: skip
        self.people.devices.setdefault(number, {})[device["token"]] = item
        self.note(number, self._device, orjson.dumps({"added": item["platform"]}), now, now)

    def delete_device(self, kind: str, value: str, token: str, now: int) -> None:
        """Remove a device from a person."""
        number = self.find(kind, value)
        if number is None or all(device["id"] != token for device in self.people.devices_of(number)):
            return
        self.people.devices.setdefault(number, {})[token] = None
        self.note(number, self._device, b'{"removed":true}', now, now)

    def _leave(self, number: int, now: int) -> None:
        self.people.leave(number)
        self.note(number, self._deleted, b"{}", now, now)

    def _create(self, kind: str, value: str, attributes: Attributes, text: bytes, at: int, now: int) -> int:
        """Add a person whom no identifier fits."""
        people = self.people
        if b"null" in text or b'""' in text or PREFERENCES_MARK in text or kind == "phone":
            phone = {"phone": value} if kind == "phone" else {}
            merged = self._preferences(None, attributes) | phone
            text = orjson.dumps({name: item for name, item in merged.items() if item is not None and item != ""})
        text = to_keep(text)
        identifier, email = attributes.get("id"), attributes.get("email")
        wrong: Attributes = {}
        if kind == "id":
            if identifier not in (None, "", value):
                wrong["id"] = identifier
            identifier = value
        elif identifier is not None and not _proper("id", identifier):
            identifier = None
        if kind == "email":
            if email not in (None, "") and (type(email) is not str or fold(email) != fold(value)):
                wrong["email"] = email
            email = value
        elif email is not None and not _proper("email", email):
            wrong = wrong | ({"email": email} if email != "" else {})
            email = None
        number = people.create(identifier, email, text, at, now)
        if kind == "phone" or "phone" in attributes:
            people.index_phone(number, value if kind == "phone" else attributes["phone"])
        self.arrive(number, text, at, now)
        for name, item in wrong.items():
            self._fail(number, name, None, item, now)
        return number

    def _adopt(self, kind: str, value: str, attributes: Attributes, now: int) -> int | None:
        """Give an identifier that nobody has to the person whom another one among the attributes names."""
        if kind == "cio_id":
            return None
        for other in ("id", "email"):
            wanted = attributes.get(other)
            number = self.people.find(other, wanted) if other != kind and type(wanted) is str else None
            if number is None:
                continue
            if kind == "phone":
                changes = self.people.change(number, {"phone": value}, now)
                self.note(number, self._changed, orjson.dumps(changes), now, now)
            else:
                self._assign(number, kind, value, now)
            return number
        return None

    def _reidentify(self, kind: str, number: int, attributes: Attributes, now: int) -> None:
        """Set the identifiers among the attributes; one that is set already changes only by cio_id."""
        for name in ("id", "email"):
            if name not in attributes:
                continue
            wanted, current = attributes[name], (self.people.ids if name == "id" else self.people.emails)[number]
            if wanted == current or (wanted in (None, "") and current is None):
                continue
            if name == "email" and current and type(wanted) is str and fold(wanted) == fold(current):
                continue
            by_option = name == "email" and kind == "id" and self.world.options.email_updates
            free = wanted in (None, "") or (_proper(name, wanted) and self.people.find(name, wanted) is None)
            if free and (current is None or kind == "cio_id" or by_option):
                self._assign(number, name, wanted or None, now)
            else:
                self._fail(number, name, current, wanted, now)

    def _assign(self, number: int, kind: str, value: str | None, now: int) -> None:
        past = (self.people.ids if kind == "id" else self.people.emails)[number]
        self.people.assign(number, kind, value)
        self.note(number, self._changed, orjson.dumps({kind: (past, value)}), now, now)

    def _fail(self, number: int, name: str, current: Any, wanted: Any, now: int) -> None:
        self.note(number, self._failed, orjson.dumps({name: {"from": current, "to": wanted}}), now, now)

    def _preferences(self, number: int | None, attributes: Attributes) -> Attributes:
        """Merge topics into the preferences there are; `cio_subscription_preferences.topics.x` sets one."""
        out = dict(attributes)
        topics: dict[str, Any] = {}
        touched = False
        for name in [name for name in out if name.startswith(PREFERENCES)]:
            item, path = out.pop(name), name.split(".")
            if path == [PREFERENCES] and type(item) is dict:
                topics |= item.get("topics", {})
            elif path[1:2] == ["topics"] and len(path) == 3:
                topics[path[2]] = item
            else:
                out[name] = item
                continue
            touched = True
        if touched:
            before = self.people.pushed(number, PREFERENCES) if number is not None else None
            known = orjson.loads(before) if type(before) is str else before or {}
            out[PREFERENCES] = {**known, "topics": {**known.get("topics", {}), **topics}}
        return out


def _proper(kind: str, value: Any) -> bool:
    """Tell whether an identifier among attributes can be one."""
    if type(value) is not str or not value:
        return False
    return "@" in value if kind == "email" else len(value.encode()) <= 150
