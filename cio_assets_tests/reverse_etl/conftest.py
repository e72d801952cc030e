"""Fixtures of the pushes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cio_assets import sandbox
from cio_assets_tests import forked
from cio_assets_tests.reverse_etl.pushing import Pushing


@pytest.fixture
def empty_box() -> Iterator[sandbox.Sandbox]:
    """A workspace without people, and without a limit of requests."""
    nothing = {"people": 0, "campaigns": 0, "broadcasts": 0, "newsletters": 0, "objects": 0}
    with forked.launch(**nothing, segments=8, app_rps=0, track_rps=0) as box:
        yield box


@pytest.fixture
def pushing(empty_box: sandbox.Sandbox, tmp_path: Path) -> Pushing:
    """An empty warehouse and an empty workspace."""
    return Pushing(empty_box, tmp_path)
