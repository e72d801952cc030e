"""What `cio_assets.definitions` loads and the sensors, looking every second; told failures go into a file."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from cio_assets.automation.push_failures import build_push_failure_sensor
from cio_assets.automation.push_sensors import build_push_sensors
from cio_assets.build import build_definitions
from cio_assets.io_managers import make_warehouse
from cio_assets.reverse_etl.syncs_file import load_syncs
from cio_assets.settings import load_settings

_settings = load_settings()
_syncs = load_syncs(_settings.syncs_file)
_warehouse = make_warehouse(_settings)
TOLD = Path(_settings.dagster_home) / "told"


def _note(message: str) -> None:
    with TOLD.open("a") as file:
        file.write(message + "\n")


defs = dg.Definitions.merge(
    build_definitions(_settings),
    dg.Definitions(
        sensors=[
            *build_push_sensors(_syncs, _settings, _warehouse, interval_seconds=1),
            build_push_failure_sensor(_syncs, _warehouse, notify=_note),
        ]
    ),
)
