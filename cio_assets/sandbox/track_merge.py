"""What is left of two people after a merge: the primary takes what it lacks, the secondary is gone."""

from typing import Any

import numpy as np
import orjson

from cio_assets.sandbox.track_events import MEMORY
from cio_assets.sandbox.world import World


def merge(world: World, primary: int, secondary: int, now: int) -> None:
    """Merge two different living people."""
    people = world.people
    lacking = _lacking(world, primary, secondary)
    identifiers, devices = people.identifiers(secondary), people.devices_of(secondary)
    for identity, item in world.segments.items.items():
        if item["type"] == "manual" and secondary in world.segments.members[identity]:
            world.segments.enter(identity, np.array([primary]))
    for key in list(world.objects.of_person.get(secondary, ())):
        if primary not in world.objects.related[key]:
            world.objects.relate(key, primary, world.objects.related[key][secondary])
        world.objects.unrelate(key, secondary)
    people.leave(secondary)
    for kind in ("id", "email"):  # free now
        if identifiers[kind] is not None and people.identifiers(primary)[kind] is None:
            people.assign(primary, kind, identifiers[kind])
    changes = people.change(primary, lacking, now)
    tokens = {device["id"] for device in people.devices_of(primary)}
    for device in devices:
        if device["id"] not in tokens:
            people.devices.setdefault(primary, {})[device["id"]] = device
    world.deliveries.person[world.deliveries.person == secondary] = primary
    world.deliveries.changed()
    world.activities.move(secondary, primary, now - MEMORY)
    world.events.merge(secondary, primary, now)
    number = world.activities.kind_number
    if changes:
        world.activities.note(
            primary, number("attribute_change", None, "changed"), orjson.dumps(changes), now, now
        )  # fmt: skip
    world.activities.note(
        primary, number("profile_merge", None, "data"), orjson.dumps({"merged": identifiers}), now, now
    )  # fmt: skip


def _lacking(world: World, primary: int, secondary: int) -> dict[str, Any]:
    """Return the attributes of the secondary that the primary has not, or has empty."""
    people = world.people
    there = people.attributes(primary)
    values = {
        name: people.pushed(secondary, name)
        for name in people.attributes(secondary)
        if not name.startswith("_") and name not in ("id", "email", "cio_id")
    }
    return {name: value for name, value in values.items() if there.get(name, "") == ""}
