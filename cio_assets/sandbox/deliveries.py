"""Deliveries as numpy columns, sorted by creation; rows are rendered on demand.

A row's place moves when rows come or go; its `uid` and so its public id never do.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cio_assets.sandbox.content import Source, source_groups
from cio_assets.sandbox.people import People
from cio_assets.sandbox.seeds import delivery_id, mix, ulid

DAY = 86400
METRICS = ("created", "drafted", "attempted", "sent", "delivered", "opened", "human_opened", "prefetch_opened",
           "clicked", "human_clicked", "converted", "bounced", "dropped", "failed", "spammed", "undeliverable",
           "unsubscribed")  # fmt: skip
COLUMN = {name: place for place, name in enumerate(METRICS)}
SHARES = {"campaign": 0.45, "broadcast": 0.15, "newsletter": 0.3, "transactional": 0.1}


class Deliveries:
    """All deliveries, oldest first by (created, uid)."""

    def __init__(self, seed: int, people: People, sources: list[Source]) -> None:
        self.seed = seed
        self.people = people
        self.sources = sources
        self.key = np.zeros(0, np.int64)  # created << 32 | uid: the sort key and the cursor in one number
        self.person = np.zeros(0, np.int32)
        self.source = np.zeros(0, np.int32)
        self.metrics = np.zeros((len(METRICS), 0), np.uint32)  # unix seconds, 0 = did not happen
        self.next_uid = 1
        self.version = 0
        self._by_source: tuple[np.ndarray, np.ndarray] | None = None
        self._drafts: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.key)

    @property
    def created(self) -> np.ndarray:
        """Creation times in order."""
        return self.key >> 32

    @property
    def drafts(self) -> np.ndarray:
        """Tell which rows are still drafts: drafted, and nothing was tried since."""
        drafts = self._drafts
        if drafts is None:
            tried = (self.metrics[COLUMN["attempted"]] > 0) | (self.metrics[COLUMN["sent"]] > 0)
            self._drafts = drafts = (self.metrics[COLUMN["drafted"]] > 0) & ~tried
        return drafts

    def add(self, count: int, now: int, days: float, rng: np.random.Generator, shaped: bool = False) -> np.ndarray:
        """Add `count` random deliveries of the last `days`; returns their uids."""
        people = self.people.living()
        if not count or not len(people) or not any(source.active for source in self.sources):
            return np.zeros(0, np.int64)
        source, created = self._places(count, now, days, rng)
        if shaped:
            self._same_seconds(created, now, days, rng)
        person = people[rng.integers(0, len(people), count)]
        ghosts = np.flatnonzero(~self.people.alive)
        if len(ghosts):  # people who have been deleted since
            person[rng.random(count) < 0.01] = ghosts[0]
        order = np.argsort(created, kind="stable")
        uid = np.arange(self.next_uid, self.next_uid + count)
        self.next_uid += count
        created = created[order]
        key = np.append(self.key, created << 32 | uid)
        place = np.argsort(key, kind="stable")
        self.metrics = np.concatenate([self.metrics, _happenings(created, now, rng)], axis=1)[:, place]
        self.person = np.append(self.person, person[order].astype(np.int32))[place]
        self.source = np.append(self.source, source[order].astype(np.int32))[place]
        self.key = key[place]
        self.changed()
        return uid

    def keep(self, mask: np.ndarray) -> None:
        """Forget every row outside the mask."""
        self.key, self.person, self.source = self.key[mask], self.person[mask], self.source[mask]
        self.metrics = self.metrics[:, mask]
        self.changed()

    def changed(self) -> None:
        """Note that rows or their metrics changed, so that whoever caches looks again."""
        self.version += 1
        self._by_source = self._drafts = None

    def of_sources(self, numbers: Sequence[int]) -> np.ndarray:
        """Return the places of the deliveries of some sources, oldest first."""
        if self._by_source is None:
            order = np.argsort(self.source, kind="stable").astype(np.int32)
            self._by_source = order, np.searchsorted(self.source[order], np.arange(len(self.sources) + 1))
        order, edges = self._by_source
        parts = [order[edges[n] : edges[n + 1]] for n in numbers]
        return np.sort(np.concatenate(parts)) if parts else np.zeros(0, np.int32)

    def before(self, places: np.ndarray, key: int) -> int:
        """Return how many of some places (oldest first) lie before a key."""
        return int(np.searchsorted(places, np.asarray(np.searchsorted(self.key, key), places.dtype)))

    def find(self, uid: int) -> int | None:
        """Find the place of a delivery by its uid."""
        places = np.flatnonzero((self.key & 0xFFFFFFFF) == uid)
        return int(places[0]) if len(places) else None

    def render(
        self, places: np.ndarray, identifiers: str = "customer_identifiers", tracked: bool = False
    ) -> list[dict[str, Any]]:
        """Return the API items of some places, in the order given."""
        people, sources = self.people, self.sources
        keys = self.key[places].tolist()
        metrics = self.metrics[:, places].T.tolist()
        columns = zip(keys, self.person[places].tolist(), self.source[places].tolist(), metrics, strict=True)
        failed, bounced = COLUMN["failed"], COLUMN["bounced"]
        rows = []
        for key, person, number, times in columns:
            uid, source = key & 0xFFFFFFFF, sources[number]
            kind, identity, who, email = source.kind, delivery_id(uid), people.ids[person], people.emails[person]
            acts = kind in ("campaign", "broadcast")
            forgotten = uid % 997 == 7
            row: dict[str, Any] = {
                "id": identity,
                "deduplicate_id": f"{identity}:{max(times)}",
                "msg_template_id": source.template,
                "action_id": source.leaf if acts else None,
                "parent_action_id": source.parent_action,
                "campaign_id": source.parent if kind == "campaign" else None,
                "broadcast_id": source.parent if kind == "broadcast" else None,
                "newsletter_id": source.parent if kind == "newsletter" else None,
                "content_id": source.leaf if kind == "newsletter" else None,
                "customer_id": who,
                identifiers: {"id": who, "email": email, "cio_id": people.cio_ids[person]},
                "recipient": "" if forgotten else email or f"+41790{person:06d}",
                "subject": None if forgotten else source.subject,
                "type": source.channel,
                "metrics": {name: when for name, when in zip(METRICS, times, strict=True) if when},
                "created": key >> 32,
                "failure_message": "mailbox full: 552 ✗" if times[failed] or times[bounced] else None,
                "forgotten": forgotten,
                "trigger_event_id": ulid((key >> 32) * 1000, mix(uid, 9)) if uid % 5 == 1 and acts else None,
            }
            if uid % 211 == 5:
                row["send_time_optimized"] = True  # a field that no reference knows
            if tracked:
                row["tracked_responses"] = {"yes": {"id": 1, "ts": key >> 32}} if uid % 6 == 0 else {}
            rows.append(row)
        return rows

    def _places(self, count: int, now: int, days: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Choose sources and creation times: campaigns trickle, one-time sends and broadcasts come in bursts."""
        groups = {kind: group for kind, group in source_groups(self.sources).items() if len(group)}
        shares = np.array([SHARES[kind] for kind in groups])
        chosen = rng.choice(len(groups), count, p=shares / shares.sum())
        source = np.zeros(count, np.int64)
        for place, group in enumerate(groups.values()):
            mask = chosen == place
            source[mask] = group[rng.integers(0, len(group), int(mask.sum()))]
        span = max(60, int(days * DAY))
        created = now - 5 - (rng.random(count) * (span - 10)).astype(np.int64)
        since = np.array([s.since for s in self.sources])
        kinds = np.array([s.kind for s in self.sources])
        bursts = kinds[source] == "newsletter"
        sent = since[source] + rng.integers(0, 300, count)
        created[bursts] = np.where((sent > now - span) & (sent < now - 5), sent, created)[bursts]
        waves = kinds[source] == "broadcast"
        created[waves] -= created[waves] % (6 * 3600) - rng.integers(0, 120, int(waves.sum()))
        created = np.maximum(np.where(created > now - 5, now - 5, created), now - span)
        return source, np.maximum(created, np.where(bursts, created, np.minimum(since[source], now - 5)))

    def _same_seconds(self, created: np.ndarray, now: int, days: float, rng: np.random.Generator) -> None:
        """Put runs of rows into one second: across midnights, across page boundaries, and close to now."""
        count = len(created)
        spare = rng.permutation(count)
        run = min(40, count // 20)
        used = 0
        for back in (3, 17, 45, 90):
            if back < days:
                midnight = now // DAY * DAY - back * DAY
                created[spare[used : used + run]] = midnight
                created[spare[used + run : used + 2 * run]] = midnight - 1
                used += 2 * run
        if count > 10000:  # longer than the largest page
            created[spare[used : used + 1500]] = now - 10 * DAY
            used += 1500
        created[spare[used : used + min(5, count // 20)]] = now - 5


def _happenings(created: np.ndarray, now: int, rng: np.random.Generator) -> np.ndarray:
    """Draw what happened to deliveries and when; nothing is later than `now`."""
    count = len(created)
    out = np.zeros((len(METRICS), count), np.uint32)

    def happen(name: str, mask: np.ndarray, times: np.ndarray) -> np.ndarray:
        mask = mask & (times <= now)
        out[COLUMN[name]] = np.where(mask, times, 0)
        return mask

    def chance(share: float) -> np.ndarray:
        return rng.random(count) < share

    fate = rng.random(count)
    happen("created", fate >= 0, created)
    happen("drafted", (fate < 0.02) | chance(0.01), created)
    attempted = created + rng.integers(0, 5, count)
    happen("attempted", fate >= 0.03, attempted)
    happen("undeliverable", (fate >= 0.02) & (fate < 0.03), attempted)
    happen("failed", (fate >= 0.03) & (fate < 0.04), attempted + 1)
    happen("dropped", (fate >= 0.04) & (fate < 0.05), attempted + 1)
    at = attempted + rng.integers(1, 60, count)
    sent = happen("sent", fate >= 0.05, at)
    happen("bounced", sent & (fate < 0.08), at + rng.integers(1, 3600, count))
    at = at + rng.integers(0, 90, count)
    delivered = happen("delivered", sent & (fate >= 0.08), at)
    late = rng.exponential(6 * 3600, count) + np.where(chance(0.1), rng.random(count) * 42 * DAY, 0)
    at_open = at + 5 + late.astype(np.int64)
    opened = happen("opened", delivered & chance(0.4), at_open)
    human = chance(0.8)
    happen("human_opened", opened & human, at_open)
    happen("prefetch_opened", opened & (~human | chance(0.1)), at_open)
    at_click = at_open + 3 + rng.exponential(7200, count).astype(np.int64)
    clicked = happen("clicked", opened & chance(0.25), at_click)
    happen("human_clicked", clicked & chance(0.8), at_click)
    happen("converted", delivered & chance(0.05), at + 60 + rng.exponential(3 * DAY, count).astype(np.int64))
    happen("spammed", delivered & chance(0.003), at_open + 30)
    happen("unsubscribed", opened & chance(0.02), at_open + 40)
    return out
