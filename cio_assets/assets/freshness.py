"""How old a table may become before Dagster warns: by how it is refreshed, and how often the schedules do it."""

from __future__ import annotations

from datetime import timedelta

import dagster as dg

from cio_assets.catalog import Refresh, Table

_DAY = (timedelta(hours=26), timedelta(hours=36))
"""A day and a slow night, then a day and a missed night."""
_HOUR = (timedelta(hours=3), timedelta(hours=12))
"""Two missed ticks, then half a day: the API tells version 1 hours for 24 hours and activities for 30 days."""


def freshness_of(table: Table) -> dg.FreshnessPolicy | None:
    """When a table is late (warn) and too old (fail) under the schedules; None for views: they are what is below them.

    Metrics count by their fastest period: Dagster looks at an asset's newest materialization, whatever its partition.
    """
    if table.refresh is Refresh.VIEW:
        return None
    hourly = table.refresh is Refresh.SERIES or table.name == "activities"
    warn, fail = _HOUR if hourly else _DAY
    return dg.FreshnessPolicy.time_window(fail_window=fail, warn_window=warn)
