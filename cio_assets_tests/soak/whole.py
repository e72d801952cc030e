"""A whole warehouse against the sandbox's truth, and syncs as processes that can be killed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from cio_assets import sandbox
from cio_assets_tests.truth import KEYS, differences, live, stored

VIEWS = frozenset(
    ("broadcast_messages", "campaign_messages", "newsletter_messages", "customer_messages", "customer_activities")
)
TABLES = tuple(sorted(KEYS.keys() - VIEWS))


@dataclass
class Truth:
    """The truth of a sandbox whose world stands still, asked once a table; metrics of months as far as `start`."""

    box: sandbox.Sandbox
    start: date
    now: datetime
    _known: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def of(self, table: str) -> list[dict[str, Any]]:
        if table not in self._known:
            span = {}
            if table in ("campaign_metrics", "campaign_action_metrics"):
                first = datetime(self.start.year, self.start.month, 1, tzinfo=UTC)
                span = {"start": int(first.timestamp()), "end": int(self.now.timestamp()) + 86_400}
            rows = self.box.truth(table, **span)
            if table == "customer_relationships":  # from the objects' side: without what a relationship is like
                rows = [{k: v for k, v in item.items() if k not in ("attributes", "timestamps")} for item in rows]
            self._known[table] = rows
        return self._known[table]

    def differences(self, warehouse: Path, tables: Iterable[str] = TABLES) -> list[str]:
        """What the live rows of these tables lack or have too much."""
        return [
            problem
            for table in tables
            for problem in differences(table, live(stored(warehouse, table)), self.of(table))
        ]


def start_cli(arguments: Iterable[str], env: Mapping[str, str], folder: Path) -> subprocess.Popen[bytes]:
    """`cio-assets` in a process of its own, which keeps what it says in `folder`."""
    with (folder / "said").open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "cio_assets.cli", *arguments], env=dict(env), cwd=folder, stdout=said, stderr=said
        )


def wait_for_requests(box: sandbox.Sandbox, count: int, process: subprocess.Popen[bytes]) -> int:
    """Until so many requests have come, or the process has ended; answers how many have."""
    while (asked := box.stats()["requests"]) < count and process.poll() is None:
        time.sleep(0.01)
    return asked
