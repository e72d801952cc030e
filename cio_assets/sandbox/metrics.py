"""Series of metrics: how many of a parent's deliveries had something happen in each bucket."""

from collections.abc import Sequence

import numpy as np

from cio_assets.sandbox.deliveries import COLUMN, METRICS
from cio_assets.sandbox.world import World

# The names the service always gives; what happened under other names is added.
SERIES = ("attempted", "bounced", "clicked", "human_clicked", "machine_clicked", "converted", "created", "deferred",
          "delivered", "drafted", "failed", "opened", "human_opened", "prefetch_opened", "open_untracked",
          "link_untracked", "untracked", "replied", "sent", "spammed", "suppressed", "topic_unsubscribed",
          "tracking_consent_denied", "tracking_consent_granted", "undeliverable", "unsubscribed")  # fmt: skip
KEPT = 512  # parents whose sorted times are kept


class Counter:
    """Counts happenings per bucket from sorted times, which it keeps per parent until deliveries change."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._version = -1
        self._times: dict[tuple, dict[str, np.ndarray]] = {}

    def series(
        self, kind: str, parent: int, leaf: int | None, channel: str | None, edges: Sequence[int]
    ) -> dict[str, list[int]]:
        """Return one array per metric name, oldest bucket first."""
        limits = np.asarray(edges)
        times = self._sorted_times(kind, parent, leaf, channel)
        counts = {name: np.diff(np.searchsorted(found, limits)) for name, found in times.items()}
        zeros = [0] * (len(edges) - 1)
        out = {name: counts[name].tolist() if name in counts else zeros for name in SERIES}
        out.update({name: found.tolist() for name, found in counts.items() if name not in out and found.any()})
        return out

    def _sorted_times(self, kind: str, parent: int, leaf: int | None, channel: str | None) -> dict[str, np.ndarray]:
        deliveries = self.world.deliveries
        if self._version != deliveries.version or len(self._times) > KEPT:
            self._times, self._version = {}, deliveries.version
        key = kind, parent, leaf, channel
        if key not in self._times:
            numbers = self.world.sources_of(kind, parent, leaf)
            if channel is not None:
                numbers = [number for number in numbers if self.world.content.sources[number].channel == channel]
            table = deliveries.metrics[:, deliveries.of_sources(numbers)]
            self._times[key] = {name: np.sort(table[COLUMN[name]][table[COLUMN[name]] > 0]) for name in METRICS}
        return self._times[key]
