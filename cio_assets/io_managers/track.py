"""The Track API as Dagster's IO manager: what an asset returns is compared, sent and recorded; nothing comes back."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
from pydantic import ValidationError

from cio_assets.customerio import RateLimiter, base_url
from cio_assets.customerio.track_client import TrackClient
from cio_assets.demo_mark import refuse_to_mix
from cio_assets.reverse_etl.model import Kind, Sync
from cio_assets.reverse_etl.prepare import Options
from cio_assets.reverse_etl.push import PushResult, Target, push, target_name
from cio_assets.reverse_etl.rejects_sink import make_sink
from cio_assets.settings import Settings
from cio_assets.warehouse import Warehouse

SYNC_METADATA = "customerio_sync"
"""Metadata of an asset that says what its rows become: the fields of a sync, without name and source."""
_TELL_SECONDS = 5.0


def make_target(settings: Settings) -> Target:
    """The workspace of the settings; raises `SettingsError` where the Track API's credentials are not set."""
    site_id, key = settings.require_track_credentials()
    url = base_url("track", settings.region, settings.track_url)
    refuse_to_mix(settings, url)
    host = urlsplit(url).netloc

    def client() -> AbstractContextManager[TrackClient]:
        limiter = RateLimiter(settings.budget_dir, host, f"{site_id}:{key}", settings.track_rps)
        return TrackClient(base_url=url, site_id=site_id, key=key, limiter=limiter, region=settings.region)

    return Target(target_name(host, site_id), client)


@dataclass(frozen=True)
class Described:
    """Output of an asset that is a sync of the settings: its rows, and what becomes of them."""

    sync: Sync
    rows: Any


class TrackIOManager(dg.IOManager):
    """Pushes what an asset returns: a `Relation` or text (SQL over the warehouse), an Arrow table or reader, a frame.

    The asset's metadata `customerio_sync` says what its rows become, e.g. `{"kind": "persons", "mode": "mirror"}`
    (default: persons, upsert). Adds counts to the materialization's metadata; never a value of a row.
    """

    def __init__(self, settings: Settings, warehouse: Warehouse, options: Options, now: Callable[[], datetime]) -> None:
        self._settings = settings
        self._warehouse = warehouse
        self._options = options
        self._now = now

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Push `obj`. Raises `PushError`, `SettingsError` and the warehouse's errors; rejected rows do not raise."""
        if obj is None:
            raise dg.Failure(f"{context.asset_key.to_user_string()} returned nothing: return the rows to push.")
        described = obj if isinstance(obj, Described) else Described(_sync_of(context), obj)
        sync, options = described.sync, self._options
        window = None
        if context.has_asset_partitions:
            if sync.kind is not Kind.EVENTS:
                raise dg.Failure(
                    f"{sync.name}: only events can be pushed by partitions; {sync.kind} are compared with all that "
                    "were pushed."
                )
            span = context.asset_partitions_time_window
            window = (span.start, span.end)
        target = None if options.dry_run else make_target(self._settings)
        result = push(
            sync,
            described.rows,
            warehouse=self._warehouse,
            target=target,
            outbox_dir=self._settings.outbox_dir,
            run=context.run_id,
            moment=self._now(),
            options=options,
            window=window,
            sink=None if options.dry_run else make_sink(self._settings),
            progress=_teller(context, sync),
        )
        for change in result.definition_changes:
            context.log.info(f"{sync.name}: its definition has changed: {change}")
        if result.status == "inactive":
            if not isinstance(obj, Described):
                name = obj if isinstance(obj, str) else getattr(obj, "sql", "")
                raise dg.Failure(f"{sync.name}: the asset returned {name.strip()}, which is not in the warehouse.")
            context.log.info(f"{sync.name}: inactive, {sync.source} is not in the warehouse")
        if result.rejected:
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in result.rejected.most_common())
            context.log.warning(f"{sync.name}: rows rejected, see reverse_etl.rejected: {reasons}")
        context.add_output_metadata(push_metadata(sync, result))

    def load_input(self, context: dg.InputContext) -> Any:
        """Nothing can be loaded from the Track API."""
        raise dg.Failure(
            f"{context.asset_key.to_user_string()} was sent to Customer.io and cannot be loaded: name it in `deps`."
        )


def push_metadata(sync: Sync, result: PushResult) -> dict[str, Any]:
    """Counts and times of a push."""
    metadata: dict[str, Any] = {
        "sync": sync.name,
        "status": result.status,
        "rows": result.rows,
        "unchanged": result.unchanged,
        "sent": result.sent,
        "accepted": result.accepted,
        "removed": result.removed,
        "rejected": result.rejected.total(),
        "removals_refused": result.removals_refused,
        "rejected_by_reason": dg.MetadataValue.json(dict(result.rejected)),
        "requests": result.requests,
        "retries": result.retries,
        "bytes_sent": result.bytes,
        "seconds": dg.MetadataValue.float(round(result.seconds, 2)),
        "rows_per_second": dg.MetadataValue.float(round(result.rows / max(result.seconds, 0.001), 1)),
    }
    if result.shape is not None:
        metadata["payload_shape"] = dg.MetadataValue.json(result.shape)
    if result.definition_changes:
        metadata["definition_changes"] = dg.MetadataValue.json(list(result.definition_changes))
    if result.recovered:
        metadata["recovered"] = result.recovered
    return metadata


def track_io_manager(
    settings: Settings, warehouse: Warehouse, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> dg.IOManagerDefinition:
    """The resource `customerio_track`; a run's config says how it pushes."""

    @dg.io_manager(
        config_schema={
            "dry_run": dg.Field(bool, default_value=False, description="Count what would be sent; send nothing."),
            "full": dg.Field(bool, default_value=False, description="Send unchanged rows too (known events are not)."),
            "retry_rejected": dg.Field(bool, default_value=False, description="Send again what the service refused."),
        },
        description="Pushes what an asset returns to Customer.io's Track API.",
    )
    def manager(context: dg.InitResourceContext) -> TrackIOManager:
        return TrackIOManager(settings, warehouse, Options(**context.resource_config), now)

    return manager


def _sync_of(context: dg.OutputContext) -> Sync:
    given: Mapping[str, Any] = (context.definition_metadata or {}).get(SYNC_METADATA) or {}
    own = own_name(context.asset_key)
    try:
        return Sync(**{"kind": Kind.PERSONS, **given, "name": own, "source": f"returned_by.{own}"})
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'sync'}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
        )
        raise dg.Failure(
            f"{context.asset_key.to_user_string()}: its metadata {SYNC_METADATA!r} is not a sync: {problems}"
        ) from None


OWN = "asset__"
"""What the names of assets' own syncs begin with: their state must never be that of a sync of the settings."""


def own_name(key: dg.AssetKey) -> str:
    """The sync's name of an asset that is none of the settings' syncs; different keys have different names."""
    path = "__".join(key.path)
    plain = re.sub(r"[^a-z0-9_]", "_", path.lower())
    if plain != path or len(path) > 40 or any("__" in part for part in key.path):
        plain = f"{plain[:31]}_{hashlib.sha256(key.to_user_string().encode()).hexdigest()[:8]}"
    return OWN + plain


def _teller(context: dg.OutputContext, sync: Sync) -> Callable[[int], None]:
    """Logs the progress every few seconds."""
    told = monotonic()

    def tell(answered: int) -> None:
        nonlocal told
        if monotonic() - told > _TELL_SECONDS:
            told = monotonic()
            context.log.info(f"{sync.name}: {answered:,} operations sent so far")

    return tell
