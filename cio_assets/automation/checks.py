"""Checks beside the syncs: members of segments against the service's own count, deliveries against metrics.

The first asks the service, so it runs in the job `check_tables` alone; the second is SQL and follows the metrics.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import dagster as dg
import duckdb
import pyarrow as pa

from cio_assets.assets.api import AppApi
from cio_assets.assets.factory import asset_key
from cio_assets.catalog.windows import WIDEST
from cio_assets.customerio import AppClient, Call, NotFound
from cio_assets.warehouse import Warehouse
from cio_assets.warehouse.ledger import RECENT, Ledger

JOB = "check_tables"
MEMBERS = dg.AssetCheckKey(asset_key("segment_membership"), "members")
DELIVERIES = dg.AssetCheckKey(asset_key("campaign_metrics"), "deliveries")

SEGMENTS_A_DAY = 10
"""Segments that are asked about, one request each: others each day, all of them in turn."""

SETTLED = timedelta(hours=1)
"""So long after a day has ended what was read of it is taken to be all of it."""

_COUNT = "/v1/segments/{segment_id}/customer_count"
_TABLES = ("messages", "campaign_metrics")


def step_of(check: dg.AssetCheckKey) -> str:
    """The key of a check's step in a run."""
    return f"{check.asset_key.to_python_identifier()}_{check.name}"


def build_checks(start: date, *, asking: bool = True) -> list[dg.AssetChecksDefinition]:
    """Both checks, or without `asking` the one that costs no request; `start` is the first day (UTC) of deliveries."""

    @dg.asset_check(
        asset=MEMBERS.asset_key,
        name=MEMBERS.name,
        description=f"As many members as the service counts, give or take who moved meanwhile; {SEGMENTS_A_DAY} "
        "segments each time, others each day. A request for each.",
        required_resource_keys={"customerio", "warehouse"},
    )
    def members(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        api: AppApi = context.resources.customerio
        warehouse: Warehouse = context.resources.warehouse.warehouse
        now = api.now()
        stored = _stored_members(warehouse, now)
        with api.client() as client:
            told = _told_members(client, stored)
        return _members_result(stored, told)

    @dg.asset_check(
        asset=DELIVERIES.asset_key,
        name=DELIVERIES.name,
        additional_deps=[asset_key("messages")],
        description="The deliveries of each campaign and day (UTC) in `messages` are those that its metrics say were "
        "created, drafts apart, on the finished days of the last six months that were read of both. No request.",
        required_resource_keys={"customerio", "warehouse"},
    )
    def deliveries(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        warehouse: Warehouse = context.resources.warehouse.warehouse
        compared = compare_deliveries(warehouse, start, context.resources.customerio.now())
        return _deliveries_result(compared)

    return [members, deliveries] if asking else [deliveries]


def build_check_job(run_tags: Mapping[str, str] | None = None) -> "dg.UnresolvedAssetJobDefinition":
    """The job that makes both checks."""
    return dg.define_asset_job(
        JOB,
        selection=dg.AssetSelection.checks(MEMBERS, DELIVERIES),
        description="Compares stored tables with what the service counts itself: members of segments (at most "
        f"{SEGMENTS_A_DAY} requests), deliveries of campaigns (none). Reads no table anew; once a day is often enough.",
        run_tags=dict(run_tags or {}),
    )


def due_segments(segments: Sequence[int], day: date, most: int = SEGMENTS_A_DAY) -> list[int]:
    """The segments to ask about on a day: `most` of them, going round."""
    if len(segments) <= most:
        return list(segments)
    first = day.toordinal() * most % len(segments)
    return [segments[(first + step) % len(segments)] for step in range(most)]


def differs(stored: int, told: int) -> bool:
    """Whether two counts of members lie further apart than people move in a while."""
    return abs(stored - told) > max(10, 0.05 * max(stored, told))


def _stored_members(warehouse: Warehouse, now: datetime) -> dict[int, int]:
    """Members of the segments whose turn it is; none where they were not read yet."""
    with _reading(warehouse, "segments", "segment_membership") as con:
        if con is None:
            return {}
        segments, members = warehouse.qualified("segments"), warehouse.qualified("segment_membership")
        # What is still being built, or came after the members were read, has no number to compare.
        found = con.execute(
            f"""SELECT id FROM {segments} WHERE _deleted_at IS NULL AND coalesce(state, 'finished') = 'finished'
                AND coalesce(created_at <= (SELECT max(_synced_at) FROM {members}), TRUE) ORDER BY id"""
        ).fetchall()
        due = due_segments([row[0] for row in found], now.astimezone(UTC).date())
        counted = con.execute(
            f"""SELECT segment_id, count(*) FROM {members}
                WHERE _deleted_at IS NULL AND list_contains(?::BIGINT[], segment_id) GROUP BY segment_id""",
            [due],
        ).fetchall()
        return dict.fromkeys(due, 0) | dict(counted)


def _told_members(client: AppClient, segments: Mapping[int, int]) -> dict[int, int]:
    """The service's own counts; a segment that is gone has none."""
    told = {}
    for segment in segments:
        try:
            told[segment] = int(client.send(Call("GET", _COUNT, {"segment_id": segment})).body["count"])
        except NotFound:
            continue
    return told


def _members_result(stored: Mapping[int, int], told: Mapping[int, int]) -> dg.AssetCheckResult:
    wrong = [segment for segment in told if differs(stored[segment], told[segment])]
    said = ", ".join(f"{segment} ({stored[segment]:,} stored, {told[segment]:,} counted)" for segment in wrong)
    return dg.AssetCheckResult(
        passed=not wrong,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"other numbers of members than the service counts, of the segments {said}: sync "
        "segment_membership and check again."
        if wrong
        else None,
        metadata={"segments_compared": len(told), "segments_that_differ": len(wrong)},
    )


def compare_deliveries(warehouse: Warehouse, start: date, now: datetime) -> dict[int, tuple[int, int]]:
    """By campaign: the days that were compared, and those on which deliveries and metrics differ.

    Metrics count a draft that is not listed, and one that was sent since: `created` is the most that can be listed,
    and without `drafted` the least. A day counts where both were read after it had ended.
    """
    ledger = Ledger(warehouse)
    units = _days_read(ledger)
    recent = ledger.last("messages").get(RECENT)
    since = max(datetime.combine(start, time(), UTC), _midnight(now - timedelta(seconds=WIDEST)) + timedelta(days=1))
    with _reading(warehouse, *_TABLES) as con:
        if con is None or not units.num_rows:
            return {}
        con.register("_days_read", units)
        found = con.execute(
            f"""
            WITH listed AS (
                SELECT campaign_id, date_trunc('day', created) AS day, count(*) AS deliveries
                FROM {warehouse.qualified("messages")}
                WHERE created >= $since AND campaign_id IS NOT NULL GROUP BY ALL
            ), loaded AS (
                SELECT date_trunc('day', created) AS day, max(_synced_at) AS read_at
                FROM {warehouse.qualified("messages")} WHERE created >= $since GROUP BY ALL
            ), told AS (
                SELECT campaign_id, period_start AS day, TRUE AS is_told, created, drafted
                FROM {warehouse.qualified("campaign_metrics")} WHERE period = 'days' AND period_start >= $since
            ), compared AS (
                SELECT campaign_id, day, coalesce(deliveries, 0) AS deliveries, coalesce(drafted, 0) AS drafted,
                       CASE WHEN is_told THEN created ELSE 0 END AS created,
                       day + INTERVAL 1 DAY + to_seconds($settled) AS settled
                FROM listed FULL JOIN told USING (campaign_id, day)
            )
            SELECT campaign_id, count(*),
                   count(*) FILTER (WHERE deliveries > created OR deliveries < created - drafted)
            FROM compared LEFT JOIN loaded USING (day)
            JOIN _days_read AS u USING (campaign_id)
            WHERE u.month = strftime(day, '%Y-%m') AND u.read_at >= settled AND created IS NOT NULL
              AND (loaded.read_at >= settled OR (day >= $recent_since AND $recent_read_at >= settled))
            GROUP BY campaign_id ORDER BY campaign_id""",
            {
                "since": since,
                "settled": int(SETTLED.total_seconds()),
                "recent_since": recent.alone_since if recent else None,
                "recent_read_at": recent.read_at if recent else None,
            },
        ).fetchall()
        con.unregister("_days_read")
    return {campaign: (days, wrong) for campaign, days, wrong in found}


def _days_read(ledger: Ledger) -> pa.Table:
    """Of which campaigns the days of which months were read, and when."""
    rows: list[dict[str, Any]] = []
    for unit, known in ledger.units("campaign_metrics").items():
        parent, _, rest = unit.partition(" ")
        period, _, month = rest.partition(" ")
        if period == "days":
            rows.append({"campaign_id": json.loads(parent)[0], "month": month, "read_at": known.read_at})
    schema = [("campaign_id", pa.int64()), ("month", pa.string()), ("read_at", pa.timestamp("us", tz="UTC"))]
    return pa.Table.from_pylist(rows, pa.schema(schema))


def _midnight(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@contextmanager
def _reading(warehouse: Warehouse, *tables: str) -> Iterator[duckdb.DuckDBPyConnection | None]:
    """The warehouse attached; None where one of the tables is not there yet."""
    with warehouse.attached() as con:
        yield con if all(warehouse.columns(con, table) for table in tables) else None


def _deliveries_result(compared: Mapping[int, tuple[int, int]]) -> dg.AssetCheckResult:
    wrong = {campaign: days for campaign, (_, days) in compared.items() if days}
    return dg.AssetCheckResult(
        passed=not wrong,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"other numbers of deliveries than messages has, of {len(wrong):,} of {len(compared):,} campaigns "
        f"and {sum(wrong.values()):,} of their days: read both tables again (cio-assets sync --select "
        "messages,campaign_metrics --full)."
        if wrong
        else None,
        metadata={"campaigns_compared": len(compared), "campaigns_that_differ": len(wrong)},
    )
