"""Keeps made-up data and real workspaces apart, both ways."""

from __future__ import annotations

from urllib.parse import urlsplit

from cio_assets.settings import Settings, SettingsError

DEMO_MARK = "made-by-the-demo"
"""File in a DAGSTER_HOME whose warehouse holds made-up data."""


def refuse_to_mix(settings: Settings, url: str) -> None:
    """Raise `SettingsError` where a real workspace would be mixed with the demo's data."""
    made_up = settings.warehouse_uri is None and (settings.dagster_home / DEMO_MARK).exists()
    if made_up and urlsplit(url).hostname not in ("127.0.0.1", "localhost", "::1"):
        raise SettingsError(
            f"DAGSTER_HOME {settings.dagster_home} holds the demo's data: remove that folder, or set DAGSTER_HOME to "
            "another one for the real workspace."
        )
