"""The people the warehouse knows: how many, by which identifiers, and whose attributes were read before those.

Brief readings of `customers` and `customer_attributes`; a table that is not there has no rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import duckdb
import pyarrow as pa

from cio_assets.catalog.people import ATTRIBUTES, PEOPLE
from cio_assets.warehouse.database import Warehouse

_ROW = pa.schema([(name, pa.string()) for name in ("cio_id", "id", "email", "_extra")])
_KEY = pa.schema([("cio_id", pa.string())])


@dataclass(frozen=True)
class Counts:
    """Live rows of `customers` and of `customer_attributes`."""

    people: int
    attributes: int


@dataclass(frozen=True)
class Due:
    """Whose attributes are to be asked, and whose are stored though the person has gone: column `cio_id`.

    `latest` is when the latest of those who are asked were read, `carried` the number of those who are not asked.
    """

    asked: pa.Table
    gone: pa.Table
    carried: int
    latest: datetime | None


class StoredPeople:
    """Reads what is stored of people."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def counts(self) -> Counts:
        """How many people are stored."""
        with self._warehouse.attached() as con:
            return Counts(*(self._count(con, table) for table in (PEOPLE, ATTRIBUTES)))

    def rows(self, cio_ids: Iterable[str]) -> pa.Table:
        """The live rows of `customers` of these people: `cio_id`, `id`, `email`, `_extra` (a JSON text or None)."""
        with self._of(cio_ids) as con:
            if not self._warehouse.columns(con, PEOPLE):
                return _ROW.empty_table()
            return con.execute(
                f"""SELECT p.cio_id, p.id, p.email, p._extra::VARCHAR AS _extra FROM {self._people}
                    JOIN wanted ON wanted.text = p.cio_id"""
            ).to_arrow_table()

    def named(self, texts: Iterable[str], *, deleted: bool = False) -> dict[str, set[str]]:
        """Whom each text names: the `cio_id` of the live people (or of all there ever were) with that identifier."""
        people = f"{self._warehouse.qualified(PEOPLE)} AS p" if deleted else self._people
        with self._of(texts) as con:
            found: list[tuple[str, str]] = []
            if self._warehouse.columns(con, PEOPLE):
                found = con.execute(
                    f"""SELECT text, p.cio_id FROM {people} JOIN wanted ON text = p.cio_id
                        UNION SELECT text, p.cio_id FROM {people} JOIN wanted ON text = p.id
                        UNION SELECT text, p.cio_id FROM {people} JOIN wanted ON lower(text) = lower(p.email)"""
                ).fetchall()
        named: dict[str, set[str]] = {}
        for text, cio_id in found:
            named.setdefault(text, set()).add(cio_id)
        return named

    def due(self, now: datetime) -> Due:
        """Whose identifiers were read later than their attributes. (A time ahead of now is a wrong clock.)"""
        with self._warehouse.attached() as con:
            if not all(self._warehouse.columns(con, table) for table in (PEOPLE, ATTRIBUTES)):
                return Due(_KEY.empty_table(), _KEY.empty_table(), 0, None)
            con.execute(
                f"""CREATE OR REPLACE TEMP TABLE due AS SELECT p.cio_id, p._synced_at AS read_at FROM {self._people}
                    LEFT JOIN {self._attributes} ON p.cio_id = a.cio_id
                    WHERE a.cio_id IS NULL OR a._synced_at < p._synced_at OR a._synced_at > ?""",
                [now],
            )
            asked = con.execute("SELECT cio_id FROM due").to_arrow_table()
            gone = con.execute(
                f"SELECT a.cio_id FROM {self._attributes} ANTI JOIN {self._people} ON p.cio_id = a.cio_id"
            ).to_arrow_table()
            ((latest,),) = con.execute("SELECT max(read_at) FROM due").fetchall()
            return Due(asked, gone, self._count(con, PEOPLE) - asked.num_rows, latest)

    def _count(self, con: duckdb.DuckDBPyConnection, table: str) -> int:
        if not self._warehouse.columns(con, table):
            return 0
        sql = f"SELECT count(*) FROM {self._warehouse.qualified(table)} WHERE _deleted_at IS NULL"
        return con.execute(sql).fetchall()[0][0]

    @contextmanager
    def _of(self, texts: Iterable[str]) -> Iterator[duckdb.DuckDBPyConnection]:
        """The warehouse, beside it the texts in the relation `wanted`."""
        wanted = pa.table({"text": pa.array(sorted(set(texts)), pa.string())})
        with self._warehouse.attached() as con:
            con.register("wanted", wanted)
            try:
                yield con
            finally:
                con.unregister("wanted")

    @property
    def _people(self) -> str:
        return f"(SELECT * FROM {self._warehouse.qualified(PEOPLE)} WHERE _deleted_at IS NULL) AS p"

    @property
    def _attributes(self) -> str:
        return f"(SELECT * FROM {self._warehouse.qualified(ATTRIBUTES)} WHERE _deleted_at IS NULL) AS a"
