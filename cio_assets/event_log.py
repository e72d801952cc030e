"""Dagster's event log of a home on SQLite, written without opening its files for each event."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import dagster as dg
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.pool import StaticPool

_BUSY_SECONDS = 60
"""How long to wait for another process that writes."""


def keep_open(instance: dg.DagsterInstance) -> None:
    """Keep the log's files open for as long as this process lives; for one process's few runs, not for a server.

    Dagster opens and closes a file up to four times an event (7 ms), and a sync writes an event for each partition.
    Logs elsewhere (Postgres) are left as they are.
    """
    storage = instance.event_log_storage
    if type(storage) is SqliteEventLogStorage:
        kept = _Kept(storage)
        storage.run_connection = kept.connect
        storage.index_connection = partial(kept.connect, INDEX_SHARD_NAME)


class _Kept:
    """A connection to each of the log's files, used by one thread at a time."""

    def __init__(self, storage: SqliteEventLogStorage) -> None:
        self._location = storage.conn_string_for_shard
        self._make = storage.run_connection
        self._engines: dict[str, Engine] = {}
        self._lock = threading.Lock()

    @contextmanager
    def connect(self, run_id: str | None = None) -> Iterator[Connection]:
        shard = f"{run_id}"
        with self._lock:
            if shard not in self._engines:
                with self._make(shard):  # as Dagster does: makes the file where there is none
                    pass
                self._engines[shard] = create_engine(
                    self._location(shard),
                    poolclass=StaticPool,
                    connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
                )
            with self._engines[shard].begin() as connection:
                yield connection
