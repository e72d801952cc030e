"""Pushes to a sandbox as the IO manager does, without Dagster: `Pushing(box, tmp_path).push(sync, rows)`."""

from __future__ import annotations

import itertools
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from cio_assets import sandbox
from cio_assets.customerio import RateLimiter
from cio_assets.customerio.track_client import TrackClient
from cio_assets.reverse_etl.model import Sync
from cio_assets.reverse_etl.prepare import Options
from cio_assets.reverse_etl.push import PushResult, Target, push, target_name
from cio_assets.reverse_etl.rejects_sink import RejectsSink
from cio_assets.warehouse import Warehouse

PERSONS = Sync(name="persons", kind="persons", source="reverse_etl.persons")  # pyright: ignore[reportArgumentType]  # pydantic reads the text
EVENTS = Sync(name="events", kind="events", source="reverse_etl.events", cursor="timestamp")  # pyright: ignore[reportArgumentType]  # as above


def sync(kind: str, **fields: Any) -> Sync:
    """A sync of a kind, named and sourced like it."""
    return Sync(**{"name": kind, "kind": kind, "source": f"reverse_etl.{kind}", **fields})


class Pushing:
    """One warehouse and one workspace; each push is an hour after the one before."""

    def __init__(
        self,
        box: sandbox.Sandbox | None,
        folder: Path,
        *,
        site_id: str = "",
        warehouse: Warehouse | None = None,
        **client: Any,
    ) -> None:
        self.box = box
        self.folder = folder
        self.path = folder / "warehouse.duckdb"
        own = Warehouse(str(self.path), "customerio", scratch=folder / "staging", busy_seconds=20)
        self.warehouse = warehouse or own
        self.outbox = folder / "outbox"
        self._site_id = site_id
        self._client = client
        self._runs = itertools.count(1)
        self._start = datetime(2026, 11, 1, tzinfo=UTC)

    def target(self) -> Target | None:
        """The sandbox as a target."""
        box = self.box
        if box is None:
            return None

        def client() -> AbstractContextManager[TrackClient]:
            limiter = RateLimiter(self.folder / "budget", box.url, box.track_key, 0)
            options = {"sleep": lambda _: None, "key": box.track_key} | self._client
            return TrackClient(base_url=box.url, site_id=box.site_id, limiter=limiter, **options)

        return Target(target_name("host", self._site_id or box.site_id), client)

    def push(
        self,
        what: Sync,
        rows: Any = None,
        *,
        window: tuple[datetime, datetime] | None = None,
        sink: RejectsSink | None = None,
        **options: bool,
    ) -> PushResult:
        """Push rows, by default the sync's source."""
        number = next(self._runs)
        return push(
            what,
            what.source if rows is None else rows,
            warehouse=self.warehouse,
            target=self.target(),
            outbox_dir=self.outbox,
            run=f"run-{number}",
            moment=self._start + timedelta(hours=number),
            options=Options(**options),
            window=window,
            sink=sink,
        )

    def sql(self, statement: str) -> list[tuple]:
        """Run SQL in the warehouse."""
        with duckdb.connect(str(self.path)) as con:
            con.execute("SET TimeZone = 'UTC'")
            con.execute("CREATE SCHEMA IF NOT EXISTS reverse_etl")
            return con.execute(statement).fetchall()

    def rejected(self) -> list[tuple[str, str, str]]:
        """Key, reason and finder of every rejected row."""
        return self.sql("SELECT key, reason, found_by FROM reverse_etl.rejected ORDER BY ALL")


def whole(result: PushResult) -> bool:
    """Whether every row is in exactly one of unchanged, accepted and rejected."""
    return result.rows == result.unchanged + result.accepted + result.rejected.total()
