"""What is known before a sync about what it will meet: stored rows, lists that were just asked, and how busy it was.

Nothing is written, and nobody is waited for. Where time has passed since the last reading, that time is taken to have
been as busy as the same time before it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pyarrow as pa

from cio_assets.assets.asked import Asked, unit_key
from cio_assets.assets.costs import NOTHING, Estimate, Sure, more_pages, page_size
from cio_assets.assets.look import Looked
from cio_assets.catalog import Endpoint, Parent, Table
from cio_assets.catalog.windows import Window
from cio_assets.warehouse.ledger import DRAFTS_OF, FULL, RECENT, TOUCHED_BY, Last, Ledger
from cio_assets.warehouse.opened import Opened

DELIVERIES = "messages"
_OPENED_WITHIN = timedelta(days=30)
"""How old deliveries are whose opens and clicks are looked for."""

_COUNTED = {"customers": "people", "objects": "objects"}
"""Tables whose rows a workspace counts."""

_AT_MOST = {"objects": "objects", "segment_membership": "people", "customer_relationships": "people"}
"""What a workspace counts that a parent of these tables has no more of."""


class Foreseen(Ledger):
    """What the tables, the ledger and the lists will be like when the sync of `tables` comes to them.

    `window` is the span of deliveries that it reads.
    """

    def __init__(
        self,
        warehouse: Opened,
        looked: Looked,
        tables: Collection[str],
        now: datetime,
        window: tuple[datetime, datetime],
        sources: Callable[[str], str] | None = None,
    ) -> None:
        super().__init__(warehouse, sources)
        self._stored = warehouse
        self._looked = looked
        self._tables = tables
        self._now = now
        self.window = window
        self._expected: dict[str, pa.Table] = {}
        self.now_read: Last | None = Last(now, window[0]) if DELIVERIES in tables else None
        """The reading of deliveries that comes before the metrics."""

    def last(self, table: str) -> dict[str, Last]:
        """As the ledger says; of deliveries what it will say once this sync has read them."""
        last = super().last(table)
        if table == DELIVERIES and self.now_read and last.get(RECENT):
            return {**last, RECENT: self.now_read}
        return last

    def last_stored(self, table: str) -> dict[str, Last]:
        """As the ledger says now."""
        return super().last(table)

    def touched(self, columns: Iterable[str]) -> dict[tuple[int, ...], datetime]:
        """As the ledger says, and whose deliveries this sync is likely to find changed."""
        names = list(columns)
        touched = super().touched(names)
        if self.now_read:
            touched |= {tuple(row[name] for name in names): self._now for row in self._busy()}
        return touched

    def has(self, table: str) -> bool:
        """Whether the table is stored."""
        return bool(self._stored.columns(self._stored.connection, table))

    @property
    def wants_counts(self) -> bool:
        """Whether a count of the workspace would tell what is not stored."""
        return any(not self.has(name) for name in self._tables if name in (*_COUNTED, *_AT_MOST))

    @property
    def covers_window(self) -> bool:
        """Whether the deliveries of all the window have been read."""
        recent = self.last_stored(DELIVERIES).get(RECENT)
        return recent is not None and recent.since is not None and recent.since <= self.window[0]

    def pages_of(self, table: str) -> int | None:
        """Requests that reading this list took just now."""
        return self._looked.pages.get(table)

    def rows(self, parent: Parent, *, whole: bool) -> tuple[pa.Table, Sure] | None:
        """The parents that will be there, None where nothing is known; without `whole` only their number is right."""
        name = parent.table
        columns = list(dict.fromkeys((*parent.columns, *parent.marker)))
        if name in self._looked.pages and self._looked.warehouse:
            return self._looked.warehouse.read(name, columns), Sure.EXACT
        if name in self._expected:
            return self._expected[name], Sure.ABOUT
        sure = Sure.ABOUT if name in self._tables else Sure.EXACT
        if self.has(name):
            if whole:
                return self._stored.read(name, columns), sure
            return _blank(self.count(name), columns), sure
        if name in self._tables and name in _COUNTED and not whole:
            counted = self._looked.counts.get(_COUNTED[name])
            return None if counted is None else (_blank(counted, columns), Sure.ABOUT)
        return None

    def count(self, table: str, where: str = "TRUE") -> int:
        """Stored rows that are not marked as deleted."""
        columns = self._stored.columns(self._stored.connection, table)
        live = "_deleted_at IS NULL" if "_deleted_at" in columns else "TRUE"
        sql = f"SELECT count(*) FROM {self._stored.qualified(table)} WHERE ({where}) AND {live}"
        return self._stored.connection.execute(sql).fetchall()[0][0]

    def listed(self, table: Table) -> Estimate:
        """Rows of a table that has no parents."""
        if self.has(table.name):
            return Estimate(self.count(table.name), Sure.ABOUT)
        counted = self._looked.counts.get(_COUNTED.get(table.name, ""))
        return Estimate(counted or 0, Sure.AT_LEAST if counted is None else Sure.ABOUT)

    def of_variants(self, table: Table) -> list[Estimate]:
        """Rows of each variant of a list: a variant names columns and their values, the empty one means all others."""
        if not self.has(table.name):
            return [Estimate(0, Sure.AT_LEAST)] * len(table.variants)
        conditions = [
            " AND ".join(f"{name}::VARCHAR = '{value}'" for name, value in variant.items())
            for variant in table.variants
        ]
        others = " OR ".join(f"coalesce({one}, FALSE)" for one in conditions if one) or "FALSE"
        return [Estimate(self.count(table.name, one or f"NOT ({others})"), Sure.ABOUT) for one in conditions]

    def long_families(self, table: Table, endpoint: Endpoint, parent: Parent, asked: pa.Table) -> Estimate:
        """Rows beyond the first page of each parent that is asked, in whole pages: 25 rows of 10 a page are 2 more."""
        size = page_size(endpoint)
        if endpoint.paging == "none":
            return NOTHING
        if table.name in self._expected:
            keys = list(parent.columns.values())
            families = Counter(unit_key(values) for values in self._expected[table.name].select(keys).to_pylist())
            due = {unit_key(values) for values in _keys(asked, parent)}
            return Estimate(sum(more_pages(count, size) for key, count in families.items() if key in due), Sure.ABOUT)
        if self.has(table.name):
            names = ", ".join(parent.columns.values())
            live = "WHERE _deleted_at IS NULL" if table.tombstones else ""
            sql = f"SELECT count(*) FROM {self._stored.qualified(table.name)} {live} GROUP BY {names}"
            counts = self._stored.connection.execute(f"{sql} HAVING count(*) > {size}").fetchall()
            return Estimate(sum(more_pages(count, size) for (count,) in counts), Sure.ABOUT)
        most = self._looked.counts.get(_AT_MOST.get(table.name, ""))
        return NOTHING.at_best(Sure.ABOUT if most is not None and most <= size else Sure.AT_LEAST)

    def expect(self, table: Table, parents: Mapping[str, pa.Table], asked: Asked) -> None:
        """Work out the rows that a list of children will have, where its parents name them as campaigns do actions.

        `parents` are all of them; the children of those that are not asked are carried over.
        """
        parent, endpoint = table.parent, table.endpoint
        if not parent or not endpoint or endpoint.items not in parent.marker:
            return
        rows = parents[parent.table]
        keys = list(parent.columns.values())
        stored = self._stored.read(table.name, [*keys, "id"]).to_pylist() if self.has(table.name) else []
        known: dict[str, list[dict[str, int]]] = {}
        for child in stored:
            known.setdefault(unit_key({key: child[key] for key in keys}), []).append(child)
        due = {unit_key(values) for values in _keys(asked.parents[parent.table], parent)}
        named = map(_ids, rows[endpoint.items].to_pylist())
        children = []
        for given, ids in zip(_keys(rows, parent), named, strict=True):
            if ids is None or (unit_key(given) not in due and unit_key(given) in known):
                children += known.get(unit_key(given), [])
            else:
                children += [{**given, "id": identity} for identity in ids]
        schema = pa.schema([(name, pa.int64()) for name in (*keys, "id")])
        self._expected[table.name] = pa.Table.from_pylist(children, schema)

    def deliveries(self, windows: Sequence[Window]) -> list[Estimate]:
        """Rows of each window of deliveries."""
        recent = self.last_stored(DELIVERIES).get(RECENT)
        if not windows:
            return []
        if recent and self.covers_window:
            counts = [
                self.count(DELIVERIES, f"created >= to_timestamp({one.first}) AND created <= to_timestamp({one.last})")
                for one in windows
            ]
            counts[-1] += self._busy_rows(DELIVERIES, "created", recent.read_at)
            return [Estimate(count, Sure.ABOUT) for count in counts]
        looked = self._looked.rows.get(DELIVERIES, Estimate(0, Sure.AT_LEAST))
        return [Estimate(looked.number // len(windows), looked.sure)] * len(windows)

    def activities(self, until: int | None) -> Estimate:
        """Rows of the list of activities, or those of them since `until`."""
        last = self.last_stored("activities")
        if not last or not self.has("activities"):
            return self._looked.rows.get("activities", Estimate(0, Sure.AT_LEAST))
        whole = last.get(FULL)
        where = (
            f"_synced_at >= '{whole.read_at.isoformat()}'" if whole else "TRUE"
        )  # the API forgets, the table does not
        if until is not None:
            where = f"timestamp >= to_timestamp({until})"
        newest = max(one.read_at for one in last.values())
        return Estimate(
            self.count("activities", where) + self._busy_rows("activities", "timestamp", newest), Sure.ABOUT
        )

    def pages_of_activities(self, kind: str, since: int, size: int) -> tuple[int, set[str]] | None:
        """Pages of a type of activity back to `since`, and the people whom those since then will name.

        None where no activities are stored to tell from.
        """
        last = self.last_stored("activities")
        if not last or not self.has("activities"):
            return None
        newest = max(one.read_at for one in last.values())
        start = newest - (self._now - datetime.fromtimestamp(since, UTC))
        rows = self._stored.connection.execute(
            f"""SELECT coalesce(cio_id, customer_id, email) FROM {self._stored.qualified("activities")}
                WHERE type = ? AND timestamp >= ?""",
            [kind, start],
        ).fetchall()
        # The list ends with a page on which all is older.
        return -(-len(rows) // size) + 1, {who for (who,) in rows if who}

    @property
    def sure_of_metrics(self) -> Sure:
        """How well can be told whose metrics this sync has to read again."""
        if self.now_read is None:
            return Sure.EXACT
        return Sure.ABOUT

    def drafts(self) -> Estimate:
        """Drafts at the last reading of deliveries."""
        return Estimate(
            sum(count for (count,) in self._rows(DELIVERIES, "SELECT count(*) FROM {}", "drafts", [])), Sure.ABOUT
        )

    def _busy_rows(self, table: str, column: str, read_at: datetime) -> int:
        """Rows that have probably come since: as many as in the same time before."""
        start, end = read_at - max(timedelta(0), self._now - read_at), read_at
        return self.count(table, f"{column} >= '{start.isoformat()}' AND {column} < '{end.isoformat()}'")

    def _busy(self) -> list[dict[str, int]]:
        """Whose deliveries came or changed in the time before the last reading that equals the time since."""
        recent = self.last_stored(DELIVERIES).get(RECENT)
        if recent is None or not self.has(DELIVERIES):
            return []
        start = recent.read_at - max(timedelta(0), self._now - recent.read_at)
        changed = "list_max(map_values(TRY_CAST(metrics AS MAP(VARCHAR, BIGINT))))"
        sql = f"""SELECT DISTINCT {", ".join(DRAFTS_OF)} FROM {self._stored.qualified(DELIVERIES)}
            WHERE created >= '{(start - _OPENED_WITHIN).isoformat()}'
            AND (created >= '{start.isoformat()}' OR {changed} >= {int(start.timestamp())})"""
        found = self._stored.connection.execute(sql).to_arrow_table().to_pylist()
        # Of a variant its parent action may count too.
        of_parents = [{**row, "action_id": row["parent_action_id"]} for row in found if row["parent_action_id"]]
        return [{name: row[name] for name in TOUCHED_BY} for row in (*found, *of_parents)]


def _blank(number: int, columns: Sequence[str]) -> pa.Table:
    """So many rows, of which only the number is known."""
    return pa.table({name: pa.nulls(number) for name in columns})


def _keys(rows: pa.Table, parent: Parent) -> Iterator[dict[str, Any]]:
    """The parents' keys by the child's names."""
    for values in rows.select(list(parent.columns)).to_pylist():
        yield {parent.columns[name]: value for name, value in values.items()}


def _ids(text: str | None) -> list[int] | None:
    """The ids in a JSON list of objects; None where the service told none."""
    items = orjson.loads(text) if text else None
    if not isinstance(items, list):
        return None
    return [int(item["id"]) for item in items if isinstance(item, Mapping) and str(item.get("id")).isdecimal()]
