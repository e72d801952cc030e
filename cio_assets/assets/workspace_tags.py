"""Tags of every run that tell which workspace it reads or writes, without a key or a personal value."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import dagster as dg

from cio_assets.customerio.hosts import base_url
from cio_assets.settings import Settings

WORKSPACE = "customerio/workspace"
REGION = "customerio/region"


def workspace_tags(settings: Settings) -> dict[str, str]:
    """Host of the App API and schema in the warehouse, such as `api.customer.io/customerio`, and the region."""
    host = urlsplit(base_url("app", settings.region, settings.app_url)).netloc
    return {WORKSPACE: f"{host}/{settings.warehouse_schema}", REGION: settings.region}


def tag_run(context: dg.AssetExecutionContext, tags: Mapping[str, str]) -> None:
    """Give a run the tags that it lacks: runs of our jobs have them, those of *Materialize* and backfills do not."""
    missing = {name: value for name, value in tags.items() if name not in context.run.tags}
    if missing:
        context.instance.add_run_tags(context.run.run_id, missing)


def workspace_of(tags: Mapping[str, str]) -> str:
    """How a message names the workspace of a run; empty for a run that does not tell."""
    return f" ({tags[WORKSPACE]})" if WORKSPACE in tags else ""
