"""A workspace of 300 people, and its two tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cio_assets_tests.assets.people_workspace import Reader, Workspace, wrong


@pytest.fixture
def service() -> Iterator[Workspace]:
    """A workspace of 300 people."""
    workspace = Workspace()
    for number in range(300):
        workspace.person(f"a{number:04d}", plan="free")
    yield workspace
    workspace.server.close()


@pytest.fixture
def reader(service: Workspace, home: Path) -> Reader:
    """Both tables were read in full, five hours ago."""
    reader = Reader(home, service.url)
    reader.both()
    assert not wrong(service, reader)
    reader.later(hours=5)
    service.requests()
    return reader
