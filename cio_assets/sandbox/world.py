"""The whole workspace behind the API: everything the endpoints, the truth and the mutations look at."""

from typing import Any

import numpy as np

from cio_assets.sandbox import content, lists
from cio_assets.sandbox.activities import Activities
from cio_assets.sandbox.clock import Clock
from cio_assets.sandbox.content import Item
from cio_assets.sandbox.deliveries import Deliveries
from cio_assets.sandbox.exports import Exports
from cio_assets.sandbox.groups import Objects, Segments
from cio_assets.sandbox.options import SandboxOptions
from cio_assets.sandbox.people import People
from cio_assets.sandbox.suppression import Suppressed
from cio_assets.sandbox.track_events import EventLog


class World:
    """State of one workspace, deterministic from the options' sizes, seed and now."""

    def __init__(self, options: SandboxOptions, clock: Clock) -> None:
        self.options = options
        self.clock = clock
        now, seed = clock.now(), options.seed
        self.people = People(seed, options.people, ghosts=3 + options.people // 20, now=now)
        self.segments = Segments(seed, options.segments, self.people, now)
        self.objects = Objects(seed, options.objects, self.people, now)
        self.lists = lists.build(seed, options.people, options.objects, now)
        self.content = content.build(
            seed, options.campaigns, options.broadcasts, options.newsletters, options.days, options.segments, now
        )
        self.deliveries = Deliveries(seed, self.people, self.content.sources)
        rng = np.random.default_rng([seed, 61])
        self.deliveries.add(options.delivery_count, now, options.days, rng, shaped=True)
        self.activities = Activities(seed, self.people, self.deliveries)
        self.activities.add(options.activity_count, now, np.random.default_rng([seed, 62]))
        self.suppressed = Suppressed()
        self.exports = Exports(self.people, self.lists.exports, clock, options.export_seconds, seed)
        self.events = EventLog()
        self.unknown_fields: dict[str, dict[str, Any]] = {}

    def show(self, table: str, items: list[Item]) -> list[Item]:
        """Add the fields that a mutation invented for a table."""
        extra = self.unknown_fields.get(table)
        return [item | extra for item in items] if extra else items

    def parents(self, kind: str) -> dict[int, Item]:
        """Return the parents of deliveries of one kind."""
        return {"campaign": self.content.campaigns, "broadcast": self.content.broadcasts,
                "newsletter": self.content.newsletters, "transactional": self.content.transactional}[kind]  # fmt: skip

    def sources_of(self, kind: str, parent: int, leaf: int | None = None) -> list[int]:
        """Return the numbers of the sources under a parent, or of one action or content of it."""
        return [
            number
            for number, source in enumerate(self.content.sources)
            if source.kind == kind and source.parent == parent and leaf in (None, source.leaf)
        ]
