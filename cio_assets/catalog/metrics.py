"""Metrics of campaigns, broadcasts and newsletters, one row a bucket (customerio-api.md, section 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from cio_assets.catalog.model import Endpoint, Parent, Refresh, Table, columns

GROUP = "metrics"

PERIODS = ("hours", "days", "weeks", "months")

# Every name in the 2022 and 2026 specs; whatever else comes is kept in _extra.
METRICS = """
    attempted bounced clicked human_clicked machine_clicked prefetch_clicked converted created deferred delivered
    drafted dropped failed opened human_opened prefetch_opened open_untracked link_untracked untracked replied sent
    spammed suppressed topic_unsubscribed tracking_consent_denied tracking_consent_granted undeliverable unsubscribed
    2xx 3xx 4xx 5xx
""".split()


def _metrics(
    name: str,
    what: str,
    path: str,
    parent: str,
    keys: Mapping[str, str],
    series: Literal[1, 2],
    docs: str,
    beside: tuple[str, ...] = (),
) -> Table:
    key_columns = [*(f"{column} int" for column in keys.values()), *beside]
    reach = "any window since 2012" if series == 2 else "the last 24 hours, 45 days, 12 weeks and 121 months"
    return Table(
        name=name,
        group=GROUP,
        description=f"Metrics of {what} by hour, day, week and month; a bucket without any is not stored. The API "
        f"tells {reach}; what is stored stays.",
        key=(*keys.values(), "period", "period_start"),
        columns=columns("\n".join([*key_columns, "period text", "period_start time", *(f"{m} int" for m in METRICS)])),
        refresh=Refresh.SERIES,
        docs=docs,
        endpoint=Endpoint(path=path, items="metric.series"),
        parent=Parent(table=parent, columns=keys),
        series=series,
        requests=f"{parent} × periods",
    )


TABLES = (
    _metrics(
        "campaign_metrics",
        "each campaign",
        "/v1/campaigns/{campaign_id}/metrics",
        "campaigns",
        {"id": "campaign_id"},
        2,
        "campaigns/",
    ),
    _metrics(
        "campaign_action_metrics",
        "each action of a campaign",
        "/v1/campaigns/{campaign_id}/actions/{action_id}/metrics",
        "campaign_actions",
        {"campaign_id": "campaign_id", "id": "action_id"},
        2,
        "campaigns/",
    ),
    _metrics(
        "broadcast_metrics",
        "each broadcast",
        "/v1/broadcasts/{broadcast_id}/metrics",
        "broadcasts",
        {"id": "broadcast_id"},
        1,
        "broadcasts/",
    ),
    _metrics(
        "broadcast_action_metrics",
        "each action of a broadcast",
        "/v1/broadcasts/{broadcast_id}/actions/{action_id}/metrics",
        "broadcast_actions",
        {"broadcast_id": "broadcast_id", "id": "action_id"},
        1,
        "broadcasts/",
    ),
    _metrics(
        "newsletter_metrics",
        "each newsletter",
        "/v1/newsletters/{newsletter_id}/metrics",
        "newsletters",
        {"id": "newsletter_id"},
        1,
        "newsletters/",
        beside=("type text",),  # the newsletter's channel, which only this answer tells
    ),
)
