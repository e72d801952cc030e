"""Reads a list of the App API into staging: what to ask follows from the catalog's row and the parents' rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from cio_assets.catalog import Endpoint, Parent, Table
from cio_assets.catalog.shape import RowInvalid, Shaper
from cio_assets.customerio import AppClient, Call, NotFound, Page, Paging, overlap
from cio_assets.warehouse import Staging

_RECENT = 10_000
"""Keys of the newest rows that are remembered to recognise a list that repeats another."""


_WORKERS_FOR_LONG_PAGES = 4
"""Enough to use the budget, and few enough for pages of 30 000 rows to fit into memory side by side."""


@dataclass(frozen=True)
class Unit:
    """One chain of pages: a call and what is known of its rows before they come."""

    call: Call
    given: Mapping[str, Any]


@dataclass(frozen=True)
class Extracted:
    """How many chains of pages were read, and how many parents were gone (404)."""

    units: int
    parents_gone: int


class AllParentsGone(Exception):
    """Every parent answered 404: more likely a wrong address than an empty workspace."""


def believable(table: Table, extracted: Extracted) -> Extracted:
    """What was read, or `AllParentsGone`."""
    if extracted.units > 1 and extracted.parents_gone == extracted.units:
        path = table.endpoint.path if table.endpoint else ""
        raise AllParentsGone(
            f"GET {path} was answered 404 for each of {extracted.units} parents, though they were listed. The table is "
            "left as it is: see that CUSTOMERIO_APP_URL is right, or sync the parents and try again."
        )
    return extracted


def extract(
    table: Table, client: AppClient, staging: Staging, parents: Mapping[str, pa.Table], *, other_side: bool = False
) -> Extracted:
    """Read everything the table holds into `staging`; `parents` are the rows of each parent table.

    Of a table that can be read from two sides the one with fewer parents is asked, or the other side if so wanted.

    A parent that answers 404 has gone: its rows are not there. Raises what the client raises, and `RowInvalid`.
    """
    endpoint, parent = _side(table, parents, other_side=other_side)
    reader = _Reader(table, endpoint, client, staging)
    units = _units(table, endpoint, parent, parents[parent.table] if parent else None)
    if table.variants_repeat:
        return _read_repeating(reader, list(units))
    done = gone = 0
    workers = min(client.workers, _WORKERS_FOR_LONG_PAGES) if (endpoint.page_size or 0) > 1000 else client.workers
    for _, present in overlap(workers, units, reader.read):
        done += 1
        gone += not present
    return believable(table, Extracted(done, gone))


class _Reader:
    """Reads one unit after the other, from many threads."""

    def __init__(self, table: Table, endpoint: Endpoint, client: AppClient, staging: Staging) -> None:
        self.table = table
        self._endpoint = endpoint
        self._client = client
        self.staging = staging
        self._shaper = Shaper(table)

    def read(self, unit: Unit) -> bool:
        """Stage every row of the unit; False where its parent has gone."""
        for path in filter(None, (self._endpoint.path, self._endpoint.gone_path)):
            call = Call(unit.call.method, path, unit.call.path_params, unit.call.query, unit.call.json)
            chain = self.staging.begin()
            try:
                for rows in self.pages(Unit(call, unit.given)):
                    self.staging.append(rows, chain)
            except NotFound:
                self.staging.abandon(chain)  # it may have gone in the middle of its pages
                if not self._of_a_parent(unit):
                    raise
            else:
                return True
        return False

    def _of_a_parent(self, unit: Unit) -> bool:
        """Whether a 404 can mean that the parent has gone; never for a batch of people (observed-behaviour.md)."""
        return bool(unit.given) and any(parent.batch is None for parent in self.table.parents)

    def pages(self, unit: Unit) -> Iterator[list[dict[str, Any]]]:
        """The unit's rows, a page at a time."""
        for page in self._client.pages(unit.call, Paging(self._endpoint.paging), self._items):
            given = {**{name: page.body.get(name) for name in self._endpoint.siblings}, **unit.given}
            yield list(self._rows(page, given))

    def _rows(self, page: Page, given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        try:
            for item in page.items:
                yield self._shaper.row(item, given)
        except RowInvalid as error:
            raise RowInvalid(f"{self._endpoint.method} {self._endpoint.path}: {error}") from None

    def _items(self, body: dict[str, Any]) -> list[Any] | None:
        items = body[self._endpoint.items]
        return [items] if isinstance(items, dict) else items


def _read_repeating(reader: _Reader, units: list[Unit]) -> Extracted:
    """Read variants of which a later one may bring the same rows again: it ends with a page of known rows."""
    key = reader.table.key
    known: set[tuple] = set()
    recent: deque[tuple] = deque(maxlen=_RECENT)
    for number, unit in enumerate(units):
        for rows in reader.pages(unit):
            keys = [tuple(row[name] for name in key) for row in rows]
            if number and rows and known.issuperset(keys):
                break
            reader.staging.append(rows)
            if number == 0 and len(recent) < _RECENT:
                recent.extend(keys)
        known.update(recent)
    return Extracted(len(units), 0)


def _side(table: Table, parents: Mapping[str, pa.Table], *, other_side: bool) -> tuple[Endpoint, Parent | None]:
    """The endpoint to ask: of two sides of the same rows the one with fewer parents."""
    if table.endpoint is None:
        raise ValueError(f"{table.name} is not read from the API")
    if table.other_side and table.parent:
        endpoint, parent = table.other_side
        if other_side or parents[parent.table].num_rows < parents[table.parent.table].num_rows:
            return endpoint, parent
    return table.endpoint, table.parent


def _units(table: Table, endpoint: Endpoint, parent: Parent | None, rows: pa.Table | None) -> Iterator[Unit]:
    limit = {"limit": endpoint.page_size} if endpoint.page_size else {}
    for variant in table.variants:
        in_path = {name: value for name, value in variant.items() if f"{{{name}}}" in endpoint.path}
        query = {**endpoint.query, **limit, **{k: v for k, v in variant.items() if k not in in_path}}
        if parent is None or rows is None:
            yield Unit(Call(endpoint.method, endpoint.path, in_path, query, endpoint.body), in_path)
            continue
        for values in parent_rows(rows, parent):
            if parent.batch:
                yield Unit(Call(endpoint.method, endpoint.path, {}, query, _filled(endpoint.body, values)), {})
            else:
                params = {name: value for name, value in values.items() if f"{{{name}}}" in endpoint.path}
                body = _filled(endpoint.body, values)
                yield Unit(Call(endpoint.method, endpoint.path, params, query, body), values)


def parent_rows(rows: pa.Table, parent: Parent) -> Iterator[dict[str, Any]]:
    """The parents' keys by the child's names: one dict a row, or one dict of lists a batch."""
    whole = rows.select(list(parent.columns)).combine_chunks()  # else the batches end where the chunks do
    for batch in whole.to_batches(max_chunksize=parent.batch or 1000):
        columns = {parent.columns[column]: values for column, values in batch.to_pydict().items()}
        if parent.batch:
            yield columns
        else:
            for values in zip(*columns.values(), strict=True):
                yield dict(zip(columns, values, strict=True))


def _filled(body: Any, values: Mapping[str, Any]) -> Any:
    """The body with every text "{column}" replaced by the parent's value (a list of them for a batch)."""
    if isinstance(body, Mapping):
        return {key: _filled(value, values) for key, value in body.items()}
    if isinstance(body, list):
        return [_filled(value, values) for value in body]
    if isinstance(body, str) and body.startswith("{") and body.endswith("}"):
        return values[body[1:-1]]
    return body
