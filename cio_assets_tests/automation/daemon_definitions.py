"""What `cio_assets.definitions` loads, its sensors looking every second; told failures go into a file."""

from __future__ import annotations

from pathlib import Path

from cio_assets.build import build_definitions
from cio_assets.settings import load_settings

_settings = load_settings()
TOLD = Path(_settings.dagster_home) / "told"


def _note(message: str) -> None:
    with TOLD.open("a") as file:
        file.write(message + "\n")


defs = build_definitions(_settings, sensor_seconds=1, notify=_note)
