"""Alembic reads the revisions of Dagster's databases once, and not anew for each of them.

Dagster makes a database for each run and three for each home, and Alembic reads and compiles forty files for it: a
quarter of a second for each of a thousand.
"""

from __future__ import annotations

from alembic.config import Config
from alembic.script import ScriptDirectory
from dagster._core.storage.event_log.sqlite import sqlite_event_log as event_log
from dagster._core.storage.sql import get_alembic_config

_read: dict[str | None, ScriptDirectory] = {}
_from_config = ScriptDirectory.from_config


def _once(config: Config) -> ScriptDirectory:
    place = config.get_main_option("script_location")
    if place not in _read:
        _read[place] = _from_config(config)
    return _read[place]


def read_once() -> None:
    """From now on, in this process and those that it forks."""
    ScriptDirectory.from_config = _once
    ScriptDirectory.from_config(get_alembic_config(event_log.__file__)).get_heads()
