"""Runs push jobs in this process and gathers what each did; lists what was rejected. What `cio-assets push` does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from cio_assets.assets.push import push_key
from cio_assets.automation.jobs import push_job
from cio_assets.automation.process_tag import process_tag
from cio_assets.build import build_definitions
from cio_assets.io_managers import make_warehouse
from cio_assets.reverse_etl import state
from cio_assets.reverse_etl.model import Sync
from cio_assets.reverse_etl.prepare import Options
from cio_assets.reverse_etl.syncs_file import load_syncs
from cio_assets.runs import failure_message, interrupted, is_refusal, open_instance, watching_for_signals
from cio_assets.settings import Settings, SettingsError
from cio_assets.warehouse.sql import literal


@dataclass(frozen=True)
class SyncResult:
    """What became of one sync: the counts of its push, or the reason why it failed."""

    sync: str
    status: str = "failed"
    counts: Mapping[str, int] = field(default_factory=dict)
    rejected_by_reason: Mapping[str, int] = field(default_factory=dict)
    shape: Any = None
    seconds: float = 0.0
    failure: str | None = None


def selected_syncs(settings: Settings, names: Sequence[str]) -> list[Sync]:
    """The named syncs, all for none. Raises `SettingsError` for a name that is not there."""
    syncs = {sync.name: sync for sync in load_syncs(settings.syncs_file)}
    unknown = [name for name in names if name not in syncs]
    if unknown:
        raise SettingsError(f"There is no sync {', '.join(unknown)}. Syncs: {', '.join(syncs)}.")
    return [syncs[name] for name in dict.fromkeys(names)] or list(syncs.values())


def push_syncs(
    settings: Settings, syncs: Sequence[Sync], options: Options, *, instance: dg.DagsterInstance | None = None
) -> Iterable[SyncResult]:
    """Run the push job of each sync; yields its result when it has ended. After a 401 no further sync is tried."""
    if not options.dry_run:
        settings.require_track_credentials()
    definitions = build_definitions(settings)
    instance = instance or open_instance(settings)
    refused: str | None = None
    for sync in syncs:
        if refused:
            yield SyncResult(sync.name, failure=refused)
            continue
        with watching_for_signals() as signal_came:
            result = definitions.resolve_job_def(push_job(sync)).execute_in_process(
                run_config={
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                    "resources": {"customerio_track": {"config": vars(options)}},
                },
                instance=instance,
                asset_selection=[push_key(sync)],
                tags=process_tag(),
                raise_on_error=False,
            )
            stopped = signal_came()
        error = next((event.step_failure_data.error for event in result.all_events if event.is_step_failure), None)
        if stopped or interrupted(error):
            raise KeyboardInterrupt
        if not result.success:
            failure = failure_message(error)
            refused = failure if is_refusal(error) else None
            yield SyncResult(sync.name, failure=failure)
            continue
        yield _succeeded(sync, result)


def _succeeded(sync: Sync, result: dg.ExecuteInProcessResult) -> SyncResult:
    (event,) = result.get_asset_materialization_events()
    values: dict[str, Any] = {name: value.value for name, value in event.materialization.metadata.items()}
    return SyncResult(
        sync.name,
        status=values["status"],
        counts={name: value for name, value in values.items() if isinstance(value, int)},
        rejected_by_reason=values["rejected_by_reason"],
        shape=values.get("payload_shape"),
        seconds=values["seconds"],
    )


def rejected_counts(settings: Settings, names: Sequence[str]) -> list[tuple]:
    """The rejected rows of these syncs (none: all), counted: sync, reason, field, found by, rows, one message."""
    return _rejected(
        settings,
        names,
        "SELECT sync, reason, coalesce(field, ''), found_by, count(*), coalesce(any_value(message), '')",
        "GROUP BY ALL ORDER BY sync, count(*) DESC, reason",
    )


def rejected_rows(settings: Settings, names: Sequence[str]) -> list[dict[str, Any]]:
    """The rejected rows of these syncs (none: all), whole: personal data."""
    columns = ("sync", "key", "row", "reason", "field", "message", "found_by", "run", "time")
    rows = _rejected(settings, names, f"SELECT {', '.join(columns)}", "ORDER BY sync, key")
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _rejected(settings: Settings, names: Sequence[str], select: str, rest: str) -> list[tuple]:
    warehouse = make_warehouse(settings)
    with warehouse.attached() as con:
        if not state.rejected_exists(warehouse, con):
            return []
        chosen = f"WHERE sync IN ({', '.join(map(literal, names))})" if names else ""
        return con.execute(f"{select} FROM {state.rejected_table()} {chosen} {rest}").fetchall()


def present(settings: Settings, syncs: Sequence[Sync]) -> list[Sync]:
    """Those of the syncs whose source is in the warehouse."""
    warehouse = make_warehouse(settings)
    with warehouse.attached() as con:
        return [sync for sync in syncs if warehouse.columns(con, *reversed(sync.source.split(".")))]
