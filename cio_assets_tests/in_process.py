"""Syncs in the test's own process, under a clock that the test passes in: a second each, where the CLI takes five."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from cio_assets import sandbox
from cio_assets.assets.api import utc_now
from cio_assets.build import build_definitions
from cio_assets.catalog import TABLES
from cio_assets.runs import failure_message
from cio_assets.settings import Settings, load_settings
from cio_assets.sync import JOBS, job_of
from cio_assets_tests.truth import differences, live, stored

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def settings_of(home: Path, box: sandbox.Sandbox, start: date, **values: Any) -> Settings:
    return load_settings(
        app_url=box.url, app_api_key=box.app_key, dagster_home=home, app_rps=100_000, start=start, _env_file=None,
        **values,
    )  # fmt: skip


def sync(
    settings: Settings, tables: Iterable[str], now: Callable[[], datetime] = utc_now, tags: Mapping[str, str] = {}
) -> list[str]:
    """Read these tables whole, as the jobs do; answers what failed."""
    chosen = list(tables)
    definitions = build_definitions(settings, now)
    failures = []
    with dg.DagsterInstance.ephemeral() as instance:
        for job in JOBS:
            keys = [dg.AssetKey(["customerio", name]) for name in chosen if job_of(TABLES[name]) == job]
            if not keys:
                continue
            job_def = definitions.resolve_job_def(job)
            partitions = job_def.partitions_def.get_partition_keys() if job_def.partitions_def else None
            wanted = {
                "dagster/asset_partition_range_start": partitions[0],
                "dagster/asset_partition_range_end": partitions[-1],
            } if partitions else {}  # fmt: skip
            result = job_def.execute_in_process(
                run_config=QUIET, instance=instance, asset_selection=keys, tags={**wanted, **tags}, raise_on_error=False
            )
            failures += [
                failure_message(event.step_failure_data.error) for event in result.all_events if event.is_step_failure
            ]
    return failures


def unequal(box: sandbox.Sandbox, warehouse: Path, tables: Iterable[str], start: date) -> list[str]:
    """Differences between live rows and the truth; metrics of months as far back as `start`."""
    problems = []
    for table in tables:
        span = {}
        if table in ("campaign_metrics", "campaign_action_metrics"):
            first = datetime(start.year, start.month, 1, tzinfo=UTC)
            span = {"start": int(first.timestamp()), "end": int(utc_now().timestamp()) + 86_400}
        problems += differences(table, live(stored(warehouse, table)), box.truth(table, **span))
    return problems
