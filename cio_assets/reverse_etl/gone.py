"""What becomes of rows that were accepted and have left the source."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from cio_assets.reverse_etl import state
from cio_assets.reverse_etl.model import Kind, Sync
from cio_assets.reverse_etl.operations import gone_sql
from cio_assets.reverse_etl.outbox import ROWS_AT_ONCE, Lane, Outbox
from cio_assets.reverse_etl.source import PushError


def put_removals(
    con: duckdb.DuckDBPyConnection,
    sync: Sync,
    outbox: Outbox | None,
    attributes: list[str],
    *,
    forget: bool,
) -> int:
    """Put removals for the keys that were told and are in the source no more into the outbox; answers how many.

    Who is there under another identifier, or was told together with one that is there, has not left: that key is
    only forgotten. So are all with `forget`. Reads the tables `_keys` and `_refused` that `prepare` has made.
    """
    con.execute(
        """CREATE OR REPLACE TEMP TABLE _here AS SELECT key FROM temp._keys WHERE key IS NOT NULL
           UNION SELECT unnest(from_json(also, '["VARCHAR"]')) FROM temp._keys WHERE also IS NOT NULL"""
    )
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE _gone AS SELECT key, also FROM {state.keys_table(sync.name)} s
            WHERE NOT EXISTS (SELECT 1 FROM temp._keys k WHERE k.key = s.key)"""
    )
    counts = "SELECT (SELECT count(*) FROM temp._here), (SELECT count(*) FROM temp._gone)"
    here, gone = con.execute(counts).fetchall()[0]
    if gone and not here and not sync.allow_empty:
        raise PushError(
            f"{sync.name}: the source holds no row with a key, and mode {sync.mode} would {sync.gone} all {gone} that "
            "were pushed. If that is what you want, set allow_empty: true for this sync; else see what emptied it."
        )
    con.execute(
        """CREATE OR REPLACE TEMP TABLE _moved AS SELECT DISTINCT key FROM (
               SELECT key, key AS known_as FROM temp._gone
               UNION ALL SELECT key, unnest(from_json(also, '["VARCHAR"]')) FROM temp._gone WHERE also IS NOT NULL)
           WHERE known_as IN (SELECT key FROM temp._here)"""
    )
    if sync.kind is Kind.PERSONS:
        # Two values of one identifier are two people: who shares an email with a gone id has not become that person.
        con.execute(
            """CREATE OR REPLACE TEMP TABLE _others AS
               WITH known AS (
                   SELECT rowid AS person, key FROM temp._keys WHERE key IS NOT NULL
                   UNION ALL SELECT rowid, unnest(from_json(also, '["VARCHAR"]')) FROM temp._keys
                   WHERE also IS NOT NULL),
               left_as AS (SELECT key, unnest(from_json(also, '["VARCHAR"]')) AS known_as FROM temp._gone)
               SELECT DISTINCT l.key FROM left_as l JOIN known k ON k.key = l.known_as
               JOIN known o ON o.person = k.person
               WHERE json_keys(o.key)[1] = json_keys(l.key)[1] AND l.key NOT IN (SELECT key FROM temp._here)"""
        )
        con.execute("DELETE FROM temp._moved WHERE key IN (SELECT key FROM temp._others)")
    lane = Lane.GONE_SEGMENT if sync.kind is Kind.SEGMENT_MEMBERS else Lane.GONE
    moved = "true" if forget else "key IN (SELECT key FROM temp._moved)"
    refused = "key IN (SELECT key FROM temp._refused WHERE hash = 0)"
    operation = gone_sql(sync, "key", attributes)
    stream = con.execute(
        f"""SELECT key, CASE WHEN lane = 'forget' THEN '' ELSE {operation} END || ',' AS operation, lane,
                   NULL::VARCHAR AS also, 0::BIGINT AS hash
            FROM (SELECT key, CASE WHEN {moved} THEN '{Lane.FORGET}' WHEN {refused} THEN '{Lane.STANDING}'
                                   ELSE '{lane}' END AS lane FROM temp._gone) ORDER BY key"""
    ).to_arrow_reader(ROWS_AT_ONCE)
    removals = 0
    for batch in stream:
        for name in batch.column("lane").unique().to_pylist():
            part = batch.filter(pc.call_function("equal", [batch.column("lane"), pa.scalar(name)]))
            removals += len(part) if name == lane else 0
            if outbox:
                outbox.add(Lane(name), part)
    return removals
