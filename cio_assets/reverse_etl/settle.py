"""Brings an outbox's answers into the warehouse, in one transaction: what was accepted, what is rejected and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import duckdb
import numpy as np
import orjson
import pyarrow as pa

from cio_assets.reverse_etl import state
from cio_assets.reverse_etl.model import Kind
from cio_assets.reverse_etl.outbox import KEYS, REJECTED, Answered, Lane, Outbox
from cio_assets.reverse_etl.rejects_sink import RejectsSink
from cio_assets.reverse_etl.source import PushError
from cio_assets.warehouse.database import Warehouse, WarehouseError

_ROWS_AT_ONCE = 10_000


@dataclass
class Settled:
    """What became of the operations that were answered."""

    accepted: int = 0
    removed: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    removals_refused: Counter[str] = field(default_factory=Counter)


def settle(
    con: duckdb.DuckDBPyConnection, warehouse: Warehouse, outbox: Outbox, sink: RejectsSink | None
) -> Settled | None:
    """Write an outbox's outcome and remove it; None where it was never sealed, and nothing was sent.

    The sink is written first: should it fail, the outbox stays and the next push settles it.
    """
    try:
        manifest = outbox.manifest()
    except ValueError as error:
        raise PushError(
            f"DAGSTER_HOME/outbox/{outbox.folder.name} was left by another version of cio-assets ({error}): let that "
            "version push this sync once, or remove the folder (what it sent is then sent again)."
        ) from None
    if manifest is None:
        outbox.remove()
        return None
    sync, run, moment = manifest["sync"], manifest["run"], datetime.fromisoformat(manifest["time"])
    answers = outbox.read_answers()
    settled = Settled()
    for lane, answer in answers.items():
        count = int(np.count_nonzero(answer.accepted))
        if lane.removes:
            settled.removed += 0 if lane is Lane.FORGET else count
        else:
            settled.accepted += count
        told = settled.removals_refused if lane.removes else settled.refused
        told.update(refusal.reason for refusal in answer.refused.values())
    try:
        _load(con, "_accepted", KEYS, _accepted(outbox, answers, removes=False))
        _load(con, "_removed", KEYS, _accepted(outbox, answers, removes=True))
        _load(con, "_unanswered", KEYS, _unanswered(outbox, answers))
        _load(con, "_rejected", REJECTED, _rejected(outbox, answers))
        standing = outbox.keys(Lane.STANDING) if Lane.STANDING in answers else []
        _load(con, "_standing", KEYS, standing)
        if sink:
            _find_fresh(con, warehouse, sync)
            sink.write(sync, run, moment, _lines(con, sync, run, moment))
        answered = any(answer.accepted.any() or answer.refused for lane, answer in answers.items() if lane.sends)
        if manifest["reset"] and not answered:
            # Another workspace that never answered (a wrong site id): what is known of the right one stays.
            outbox.remove()
            return settled
        with warehouse.transaction(con):
            state.create(con, sync)
            _write(con, manifest, run, moment, complete=_is_complete(answers))
    except (duckdb.Error, WarehouseError) as error:
        # DuckDB's messages quote values, ours do not.
        why = str(error) if isinstance(error, WarehouseError) else f"({type(error).__name__})"
        raise PushError(
            f"{sync}: what was sent could not be noted in the warehouse: {why} Nothing is lost: the answers stay in "
            "DAGSTER_HOME/outbox and are noted by the next push. See that the warehouse can be written and has room."
        ) from None
    outbox.remove()
    return settled


def _is_complete(answers: Mapping[Lane, Answered]) -> bool:
    """Whether every operation was answered."""
    return all(
        np.count_nonzero(answer.accepted) + len(answer.refused) == len(answer.accepted)
        for lane, answer in answers.items()
        if lane.sends
    )


def _write(con: duckdb.DuckDBPyConnection, manifest: Mapping, run: str, moment: datetime, *, complete: bool) -> None:
    sync, keys, rejected = manifest["sync"], state.keys_table(manifest["sync"]), state.rejected_table()
    if manifest["reset"]:
        con.execute(f"DELETE FROM {keys}")
        con.execute(f"DELETE FROM {rejected} WHERE sync = ?", [sync])
    for told in ("_accepted", "_removed"):
        con.execute(f"DELETE FROM {keys} AS t WHERE EXISTS (SELECT 1 FROM temp.{told} AS a WHERE a.key = t.key)")
    con.execute(f"INSERT INTO {keys} SELECT key, hash, also FROM temp._accepted")
    # An operation without an answer may have been applied: whatever the source says next differs from what is known.
    con.execute(
        f"UPDATE {keys} AS t SET hash = NULL WHERE EXISTS (SELECT 1 FROM temp._unanswered a WHERE a.key = t.key)"
    )
    if manifest["told"]["definition"]["kind"] != Kind.EVENTS:  # a known event is never sent again
        con.execute(
            f"INSERT INTO {keys} SELECT key, NULL, also FROM temp._unanswered a "
            f"WHERE NOT EXISTS (SELECT 1 FROM {keys} t WHERE t.key = a.key)"
        )
    # What was looked at leaves the table, to come back where it still is rejected. Of a whole source that is
    # everything, but what the service refused and has not changed since: it was not sent again.
    looked_at = "EXISTS (SELECT 1 FROM temp._accepted a WHERE a.key = t.key)"
    looked_at += " OR EXISTS (SELECT 1 FROM temp._removed a WHERE a.key = t.key)"
    stands = "EXISTS (SELECT 1 FROM temp._standing s WHERE s.key = t.key)"
    # Another row of the same key may be rejected by our checks: that says nothing of what the service refused.
    looked_at += (
        f" OR (EXISTS (SELECT 1 FROM temp._rejected a WHERE a.key = t.key) AND (found_by = 'check' OR NOT {stands}))"
    )
    if manifest["whole"]:
        looked_at += " OR t.found_by = 'check'"
    if manifest["whole"] and complete:
        looked_at += f" OR NOT {stands}"
    con.execute(f"DELETE FROM {rejected} AS t WHERE t.sync = ? AND ({looked_at})", [sync])
    con.execute(
        f"""INSERT INTO {rejected} BY NAME
            SELECT ? AS sync, *, ? AS run, ?::TIMESTAMPTZ AS time FROM temp._rejected""",
        [sync, run, moment],
    )
    told = manifest["told"]
    # Where operations wait for the next push the cursor must not pass their rows.
    cursor = told["cursor"] if complete else manifest["cursor_before"]
    state.write(con, sync, state.Told(told["target"], told["definition"], cursor), moment)


def _load(con: duckdb.DuckDBPyConnection, name: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    con.register("frame", pa.RecordBatchReader.from_batches(schema, batches))
    try:
        con.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM temp.main.frame")
    finally:
        con.unregister("frame")


def _accepted(outbox: Outbox, answers: Mapping[Lane, Answered], *, removes: bool) -> Iterator[pa.RecordBatch]:
    for lane, answer in answers.items():
        if lane.removes is removes:
            yield from outbox.keys(lane, answer.accepted)


def _rejected(outbox: Outbox, answers: Mapping[Lane, Answered]) -> Iterator[pa.RecordBatch]:
    """Rows that failed our checks, then operations that the service refused; every one with a key to know it by."""
    yield from outbox.rejected()
    for lane, answer in answers.items():
        places = sorted(answer.refused)
        for start in range(0, len(places), _ROWS_AT_ONCE):
            some = places[start : start + _ROWS_AT_ONCE]
            yield _refusals(outbox, lane, answer, some)


def _refusals(outbox: Outbox, lane: Lane, answer: Answered, places: list[int]) -> pa.RecordBatch:
    wanted = np.zeros(outbox.count(lane), bool)
    wanted[places] = True
    keys = pa.Table.from_batches(outbox.keys(lane, wanted), schema=KEYS)
    told = [answer.refused[place] for place in places]
    columns = {
        "key": keys["key"].combine_chunks(),
        "row": outbox.operations(lane, places),
        "reason": [one.reason for one in told],
        "field": [one.field for one in told],
        "message": [one.message for one in told],
        "found_by": ["service"] * len(places),
        "hash": keys["hash"].combine_chunks(),
    }
    return pa.record_batch([pa.array(columns[name], REJECTED.field(name).type) for name in REJECTED.names], REJECTED)


def _find_fresh(con: duckdb.DuckDBPyConnection, warehouse: Warehouse, sync: str) -> None:
    """Make `_fresh`: the rejected rows that were not rejected before for the same reason."""
    with warehouse.attached(con):
        known = "false"
        if state.rejected_exists(warehouse, con):
            known = f"""EXISTS (SELECT 1 FROM {state.rejected_table()} t WHERE t.sync = ? AND t.key = r.key
                        AND t.reason = r.reason AND t.row IS NOT DISTINCT FROM r.row)"""
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE _fresh AS SELECT * FROM temp._rejected r WHERE NOT {known}",
            [sync] if "?" in known else [],
        )


def _lines(con: duckdb.DuckDBPyConnection, sync: str, run: str, moment: datetime) -> Iterator[bytes]:
    for rows in con.execute("SELECT * FROM temp._fresh").to_arrow_reader(_ROWS_AT_ONCE):
        for row in rows.to_pylist():
            known = {name: row[name] for name in ("key", "reason", "field", "message", "found_by")}
            content = orjson.Fragment(row["row"]) if row["row"] else None
            yield orjson.dumps({"sync": sync, **known, "row": content, "run": run, "time": moment}) + b"\n"


def _unanswered(outbox: Outbox, answers: Mapping[Lane, Answered]) -> Iterator[pa.RecordBatch]:
    for lane, answer in answers.items():
        if lane.sends:
            left = ~answer.accepted
            left[list(answer.refused)] = False
            yield from outbox.keys(lane, left)
