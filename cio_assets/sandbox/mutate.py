"""Changes that happen to a workspace between two syncs; each answers what it changed."""

from typing import Any

import numpy as np

from cio_assets.sandbox import content
from cio_assets.sandbox.deliveries import COLUMN
from cio_assets.sandbox.mutate_people import Answer, PeopleMutations
from cio_assets.sandbox.seeds import delivery_id

DAY = 86400


class Mutations(PeopleMutations):
    """Applies mutations to one world; the n-th one draws the same numbers in every world of the same seed."""

    def apply(self, body: dict[str, Any]) -> Answer:
        """Apply `{"kind": ..., ...}`; ValueError or TypeError where it is not understood."""
        arguments = dict(body)
        kind = str(arguments.pop("kind", ""))
        if kind not in KINDS:
            raise ValueError(f"unknown mutation {kind!r}; known: {sorted(KINDS)}")
        self.begin()
        return {"kind": kind} | getattr(self, kind)(**arguments)

    def _drop(self, items: dict[int, Any], identity: int | None) -> Answer:
        """Remove an item by id, the last one where no id is given."""
        identity = list(items)[-1] if identity is None else identity
        del items[identity]
        return {"ids": [identity]}

    def _retire(self, kind: str, identity: int | None) -> Answer:
        """Remove a parent of deliveries, which sends no more."""
        answer = self._drop(self.world.parents(kind), identity)
        for number in self.world.sources_of(kind, answer["ids"][0]):
            self.world.content.sources[number].active = False
        return answer

    def late_opens(self, count: int, older_than_days: float = 0) -> Answer:
        """Deliveries that were sent and never opened are opened now."""
        deliveries = self.world.deliveries
        waiting = (deliveries.metrics[COLUMN["sent"]] > 0) & (deliveries.metrics[COLUMN["opened"]] == 0)
        waiting &= deliveries.created <= self.now - older_than_days * DAY
        places = self._some(np.flatnonzero(waiting), count)
        for name in ("opened", "human_opened"):
            deliveries.metrics[COLUMN[name], places] = self.now
        deliveries.changed()
        return {"ids": [delivery_id(key & 0xFFFFFFFF) for key in deliveries.key[places].tolist()]}

    def add_deliveries(self, count: int, days: float = 1) -> Answer:
        """New deliveries from the sources that exist."""
        uids = self.world.deliveries.add(count, self.now, days, self.rng)
        return {"ids": [delivery_id(uid) for uid in uids.tolist()]}

    def forget_deliveries(self, before: int) -> Answer:
        """The service forgets the deliveries created before a moment."""
        deliveries = self.world.deliveries
        keep = deliveries.created >= before
        deliveries.keep(keep)
        return {"count": int((~keep).sum())}

    def delete_campaign(self, id: int | None = None) -> Answer:
        """A campaign is gone; its deliveries stay in /v1/messages."""
        return self._retire("campaign", id)

    def delete_newsletter(self, id: int | None = None) -> Answer:
        """A newsletter is gone; its deliveries stay in /v1/messages."""
        return self._retire("newsletter", id)

    def delete_segment(self, id: int | None = None) -> Answer:
        """A segment is gone."""
        return self._drop(self.world.segments.items, id)

    def change_campaign(self, id: int | None = None) -> Answer:
        """A campaign is renamed, which moves its change markers."""
        campaigns = self.world.content.campaigns
        item = campaigns[next(iter(campaigns)) if id is None else id]
        item["name"] += f" v{self.turn}"
        content.touch(item, self.now)
        return {"ids": [item["id"]]}

    def change_action(self, campaign_id: int | None = None) -> Answer:
        """An action is edited, which does not move its campaign's change markers."""
        campaigns = self.world.content.campaigns
        parent = next(iter(campaigns)) if campaign_id is None else campaign_id
        item = self.world.content.actions["campaign", parent][0]
        item["body"] += f"<p>{self.turn}</p>"
        content.touch(item, self.now)
        return {"campaign_id": parent, "ids": [item["id"]]}

    def add_action(self, campaign_id: int | None = None) -> Answer:
        """A campaign gets one more action, which moves its change markers and the actions embedded in it."""
        world = self.world
        parent = next(iter(world.content.campaigns)) if campaign_id is None else campaign_id
        item = content.add_action(world.content, world.options.seed, parent, self.now)
        world.deliveries.changed()
        return {"campaign_id": parent, "ids": [item["id"]]}

    def add_campaign(self) -> Answer:
        """A running campaign appears; it has no deliveries yet."""
        world, options = self.world, self.world.options
        identity = max(world.content.campaigns, default=0) + 1
        identity = max(identity, *(key[1] + 1 for key in world.content.actions if key[0] == "campaign"), 1)
        action = 1 + max((int(i["id"]) for items in world.content.actions.values() for i in items), default=95)
        content.add_campaign(
            world.content, options.seed, identity, identity * 5, action, 1, options.segments, self.now
        )  # fmt: skip
        world.deliveries.changed()
        return {"ids": [identity]}

    def add_activities(self, count: int, backdated: bool = False) -> Answer:
        """New activities, all of them backdated or none."""
        uids = self.world.activities.add(count, self.now, self.rng, 0.01, 1.0 if backdated else 0.0, 0.0)
        places = np.flatnonzero(np.isin(self.world.activities.key & 0xFFFFFFFF, uids))
        return {"ids": [row["id"] for row in self.world.activities.render(places)]}

    def delete_activity_history(self, older_than_days: float) -> Answer:
        """The service forgets old activities."""
        activities = self.world.activities
        keep = (activities.key >> 32) >= self.now - older_than_days * DAY
        activities.keep(keep)
        return {"count": int((~keep).sum())}

    def change_membership(self, count: int, segment_id: int | None = None) -> Answer:
        """Some people leave a segment and about as many enter it; its change markers stay."""
        segments, people = self.world.segments, self.world.people
        identity = next(n for n, members in segments.members.items() if len(members) and n in segments.items) \
            if segment_id is None else segment_id  # fmt: skip
        members = segments.current(identity)
        others = np.setdiff1d(people.living(), members)
        left, entered = self._some(members, (count + 1) // 2), self._some(others, count // 2)
        segments.members[identity] = np.union1d(np.setdiff1d(members, left), entered).astype(np.int32)
        return {"segment_id": identity, "removed": self._cio_ids(left), "added": self._cio_ids(entered)}

    def delete_object(self, count: int = 1) -> Answer:
        """Objects are gone, with their relationships."""
        keys = list(self.world.objects.items)[:count]
        ids = [self.world.objects.items[key]["cio_object_id"] for key in keys]
        for key in keys:
            self.world.objects.remove(key)
        return {"ids": ids}

    def clear_suppression(self, count: int = 1) -> Answer:
        """The oldest bounces are lifted."""
        items = self.world.lists.suppressions["bounces"]
        gone, items[:] = items[:count], items[count:]
        return {"ids": [item["email"] for item in gone]}

    def add_unknown_field(self, table: str, field: str, value: Any) -> Answer:
        """Every row of a table gets a field that no reference knows."""
        self.world.unknown_fields.setdefault(table, {})[field] = value
        return {"table": table, "field": field}


KINDS = frozenset(name for name in dir(Mutations) if not name.startswith("_")) - {"apply", "begin"}
