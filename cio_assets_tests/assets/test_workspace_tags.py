"""Runs that no job of ours makes tell their workspace as well: those of *Materialize* and of backfills."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from cio_assets.build import build_definitions
from cio_assets.settings import load_settings


@pytest.mark.parametrize(
    ("asset", "retried"), [(["customerio", "snippets"], None), (["track", "persons"], "false")], ids=["table", "push"]
)
def test_a_run_of_an_asset_is_tagged(tmp_path: Path, asset: list[str], retried: str | None) -> None:
    settings = load_settings(_env_file=None, dagster_home=tmp_path / "home", region="eu", warehouse_schema="crm")
    job = build_definitions(settings).resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        done = job.execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(asset)],
            tags={"customerio/region": "ours"},
            raise_on_error=False,
        )
        assert not done.success, "there is no key"
        run = instance.get_run_by_id(done.run_id)
        assert run is not None
        assert run.tags["customerio/workspace"] == "api-eu.customer.io/crm"
        assert run.tags["customerio/region"] == "ours", "what somebody has said stays"
        assert run.tags.get("dagster/retry_on_asset_or_op_failure") == retried
