"""One push: stage, compare, send, note. Two pushes of a sync take turns; what a killed one sent is noted first."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import duckdb

from cio_assets.customerio.errors import CustomerioError
from cio_assets.customerio.track_client import TrackClient
from cio_assets.reverse_etl.deliver import Progress, deliver
from cio_assets.reverse_etl.model import Sync
from cio_assets.reverse_etl.outbox import Outbox
from cio_assets.reverse_etl.prepare import SLICES, Options, Prepared, prepare, shape
from cio_assets.reverse_etl.rejects_sink import RejectsSink
from cio_assets.reverse_etl.settle import Settled, settle
from cio_assets.reverse_etl.source import PushError, stage_frame
from cio_assets.turns import turn
from cio_assets.warehouse.database import Warehouse
from cio_assets.warehouse.frames import Relation

MEMORY = "256MB"
"""For DuckDB while it compares: the keys of a million rows with their hashes."""


@dataclass(frozen=True)
class Target:
    """Where a push goes. `name` tells workspaces apart; `client` opens the Track API."""

    name: str
    client: Callable[[], AbstractContextManager[TrackClient]]


def target_name(host: str, site_id: str) -> str:
    """The name of a workspace: its site and host, as a hash."""
    return hashlib.sha256(f"{host.lower()}\n{site_id}".encode()).hexdigest()[:16]


@dataclass(frozen=True)
class PushResult:
    """What a push did, in rows and operations; of a dry run what it would do. Each row is in exactly one of
    `unchanged`, `accepted` and `rejected`; `removed` are rows that have left the source."""

    status: Literal["pushed", "inactive", "dry run"]
    rows: int = 0
    unchanged: int = 0
    sent: int = 0
    accepted: int = 0
    removed: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    removals_refused: int = 0
    requests: int = 0
    retries: int = 0
    bytes: int = 0
    seconds: float = 0.0
    shape: Any = None
    definition_changes: tuple[str, ...] = ()
    recovered: int = 0
    """Operations that an earlier push, which died, had sent and not noted."""


def push(
    sync: Sync,
    rows: Any,
    *,
    warehouse: Warehouse,
    target: Target | None,
    outbox_dir: Path,
    run: str,
    moment: datetime,
    options: Options | None = None,
    window: tuple[datetime, datetime] | None = None,
    sink: RejectsSink | None = None,
    progress: Progress = lambda _: None,
) -> PushResult:
    """Push rows (SQL as text or Relation, Arrow, pandas) as the sync says.

    `target` may be None for a dry run; `window` takes the events of a time only. Raises PushError where the rows
    cannot be pushed at all or the sending stopped, with what was accepted noted; rows that are refused do not raise.
    """
    options = options or Options()
    if target is None and not options.dry_run:
        raise PushError(f"{sync.name}: no workspace to push to")
    outbox_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = outbox_dir / sync.name
    started = time.monotonic()
    with turn(outbox_dir / f"{sync.name}.lock"), warehouse.scratch_connection(MEMORY) as con:
        recovered = settle(con, warehouse, Outbox(folder), sink) if folder.exists() and not options.dry_run else None
        relation = stage_frame(con, rows) or (rows if isinstance(rows, Relation) else Relation(rows))
        outbox, prepared = _prepared(con, warehouse, sync, relation, folder, target, options, window)
        if prepared is None or outbox is None or target is None:
            if outbox:
                outbox.remove()
            return _unsent(prepared, con, time.monotonic() - started)
        outbox.seal(
            {
                "sync": sync.name,
                "run": run,
                "time": moment.isoformat(),
                "told": asdict(prepared.told),
                "cursor_before": prepared.cursor_before,
                "whole": prepared.whole,
                "reset": prepared.reset,
            }
        )
        usage, settled = _send(con, warehouse, sync, outbox, target, sink, progress)
    return PushResult(
        status="pushed",
        rows=prepared.rows,
        unchanged=prepared.unchanged,
        sent=prepared.to_write + prepared.to_remove,
        accepted=settled.accepted,
        removed=settled.removed,
        rejected=prepared.rejected + settled.refused,
        removals_refused=settled.removals_refused.total(),
        requests=usage[0],
        retries=usage[1],
        bytes=usage[2],
        seconds=time.monotonic() - started,
        definition_changes=tuple(prepared.definition_changes),
        recovered=recovered.accepted + recovered.removed if recovered else 0,
    )


def _prepared(
    con: duckdb.DuckDBPyConnection,
    warehouse: Warehouse,
    sync: Sync,
    relation: Relation,
    folder: Path,
    target: Target | None,
    options: Options,
    window: tuple[datetime, datetime] | None,
) -> tuple[Outbox | None, Prepared | None]:
    for slices in SLICES:
        outbox = None if options.dry_run else Outbox.create(folder)
        try:
            with warehouse.transaction(con):
                name = target and target.name
                prepared = prepare(con, warehouse, sync, relation, outbox, name, options, window=window, slices=slices)
                return outbox, prepared
        except duckdb.OutOfMemoryException:
            if slices == SLICES[-1]:
                raise PushError(
                    f"{sync.name}: its rows do not fit into {MEMORY}, even a few at a time; nothing was sent. Choose "
                    "fewer columns with `columns`."
                ) from None
        except duckdb.Error as error:
            # Its messages quote values.
            raise PushError(
                f"{sync.name}: comparing the rows failed with {type(error).__name__}; nothing was sent. See that the "
                "disk of DAGSTER_HOME has room; if it has, this is a bug."
            ) from None
        except OSError as error:
            raise PushError(
                f"{sync.name}: DAGSTER_HOME/outbox cannot be written ({error.strerror}); nothing was sent. See that "
                "its disk has room."
            ) from None
    raise AssertionError("unreachable: the last of the slices raises")


def _unsent(prepared: Prepared | None, con: duckdb.DuckDBPyConnection, seconds: float) -> PushResult:
    if prepared is None:
        return PushResult(status="inactive", seconds=seconds)
    return PushResult(
        status="dry run",
        rows=prepared.rows,
        unchanged=prepared.unchanged,
        sent=prepared.to_write,
        removed=prepared.to_remove,
        rejected=prepared.rejected,
        shape=shape(con, prepared.shape) if prepared.shape else None,
        definition_changes=tuple(prepared.definition_changes),
        seconds=seconds,
    )


def _send(
    con: duckdb.DuckDBPyConnection,
    warehouse: Warehouse,
    sync: Sync,
    outbox: Outbox,
    target: Target,
    sink: RejectsSink | None,
    progress: Progress,
) -> tuple[tuple[int, int, int], Settled]:
    """Send and note; returns requests, retries, bytes sent."""
    if not any(lane.sends for lane in outbox.lanes()):
        return (0, 0, 0), _settled(con, warehouse, outbox, sink)
    waiting = sum(outbox.count(lane) for lane in outbox.lanes() if lane.sends)
    try:
        with target.client() as client:
            try:
                deliver(outbox, client, progress)
            finally:
                used = client.usage.snapshot()
    except CustomerioError as error:
        settled = _settled(con, warehouse, outbox, sink)
        done = settled.accepted + settled.removed
        raise PushError(
            f"{sync.name}: {error} Of {waiting:,} operations {done:,} were accepted and are noted, "
            f"{(settled.refused + settled.removals_refused).total():,} were refused (reverse_etl.rejected); the next "
            "push sends the rest."
        ) from error
    except BaseException:
        _settled(con, warehouse, outbox, sink)
        raise
    return (used.requests, used.retries, used.bytes_sent), _settled(con, warehouse, outbox, sink)


def _settled(con: duckdb.DuckDBPyConnection, warehouse: Warehouse, outbox: Outbox, sink: RejectsSink | None) -> Settled:
    settled = settle(con, warehouse, outbox, sink)
    if settled is None:
        raise PushError(f"the outbox {outbox.folder.name} was removed while it was sent: push again")
    return settled
