"""A push sensor as the daemon evaluates it, tick after tick, on a warehouse file and an instance of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from cio_assets.automation.push_sensors import build_push_sensors
from cio_assets.reverse_etl.model import BUILT_IN, Sync
from cio_assets.settings import Settings, load_settings
from cio_assets.warehouse.database import Warehouse

PERSONS = BUILT_IN[0]
MARKED = PERSONS.model_copy(update={"cursor": "updated_at"})
SOURCE = dg.AssetKey(["reverse_etl", "persons"])
ANNA = "anna@example.com"


@dg.op(required_resource_keys={"customerio_track"})
def push() -> None:
    """Never executed."""


@dg.job(
    name="push_persons",
    resource_defs={"customerio_track": dg.ResourceDefinition(lambda _: None, config_schema=dg.Permissive())},
)
def push_persons() -> None:
    """Stands for the push: a run of it is made with the status that a test wants."""
    push()


@dg.asset(key=SOURCE)
def persons() -> None:
    """The source as an asset of the same code location."""


# Without them Dagster makes no run that is queued.
ORIGIN = RemoteJobOrigin(
    RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("cio_assets"), "__repository__"), "push_persons"
)


@dataclass
class Ticks:
    """Evaluates the sensor of a sync; remembers its cursor and all that it asked for."""

    folder: Path
    instance: dg.DagsterInstance
    sync: Sync = PERSONS
    repository: dg.RepositoryDefinition | None = None
    now: datetime = datetime(2026, 3, 1, tzinfo=UTC)
    settings: dict[str, Any] = field(default_factory=dict)
    look_seconds: float = 20
    cursor: str | None = None
    run_keys: list[str] = field(default_factory=list)
    skipped: str = ""

    @property
    def path(self) -> Path:
        return self.folder / "w.duckdb"

    def loaded(self) -> Settings:
        return load_settings(
            _env_file=None, dagster_home=self.folder / "home", warehouse_uri=str(self.path), **self.settings
        )

    def sensor(self) -> dg.SensorDefinition:
        warehouse = Warehouse(str(self.path), "customerio", scratch=self.folder / "staging", busy_seconds=5)
        (sensor,) = build_push_sensors(
            [self.sync], self.loaded(), warehouse, look_seconds=self.look_seconds, now=lambda: self.now
        )
        return sensor

    def tick(self, minutes: float = 1) -> bool:
        """One evaluation, some minutes after the one before; whether it asked for a push."""
        self.now += timedelta(minutes=minutes)
        with dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, repository_def=self.repository
        ) as context:
            result = self.sensor()(context)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor or self.cursor  # as the daemon does
        self.skipped = (result.skip_reason.skip_message or "") if result.skip_reason else ""
        asked = [str(request.run_key) for request in result.run_requests or ()]
        assert len(asked) <= 1
        assert bool(asked) != bool(self.skipped)
        self.run_keys += asked
        return bool(asked)

    def sql(self, *statements: str) -> None:
        """As somebody with a DuckDB of their own writes."""
        with duckdb.connect(str(self.path)) as con:
            for statement in ("CREATE SCHEMA IF NOT EXISTS reverse_etl", *statements):
                con.execute(statement)

    def materialized(self) -> None:
        self.instance.report_runless_asset_event(dg.AssetMaterialization(SOURCE))

    def run(self, status: dg.DagsterRunStatus, **options: Any) -> str:
        """A run of the push that has come to this status."""
        run = self.instance.create_run_for_job(job_def=push_persons, status=status, remote_job_origin=ORIGIN, **options)
        return run.run_id


TABLE = (
    f"CREATE TABLE reverse_etl.persons AS SELECT '{ANNA}' AS email, 1 AS score, TIMESTAMP '2026-01-01' AS updated_at"
)


def score(value: int) -> str:
    """A change that no watermark tells of."""
    return f"UPDATE reverse_etl.persons SET score = {value}"


def score_at(value: int, day: int) -> str:
    """A change that the watermark tells of."""
    return f"UPDATE reverse_etl.persons SET score = {value}, updated_at = '2026-01-{day:02}'"


def settle(ticks: Ticks) -> None:
    """As if the file had been written a minute ago."""
    moment = time.time() - 60
    os.utime(ticks.path, (moment, moment))


@contextmanager
def instance_in(folder: Path) -> Iterator[dg.DagsterInstance]:
    folder.mkdir()
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        yield instance
