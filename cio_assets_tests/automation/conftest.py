"""Fixtures: a sensor whose source is in the warehouse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from cio_assets_tests.automation.ticks import TABLE, Ticks, instance_in


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An empty Dagster instance in a folder."""
    with instance_in(tmp_path / "instance") as made:
        yield made


@pytest.fixture
def ticks(tmp_path: Path, instance: dg.DagsterInstance) -> Ticks:
    """The sensor of `persons` before its first evaluation, one row in its source."""
    made = Ticks(tmp_path, instance)
    made.sql(TABLE)
    return made
