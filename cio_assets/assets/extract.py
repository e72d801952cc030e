"""Reads a list of the App API into staging: what to ask follows from the catalog's row and the parents' rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

import orjson
import pyarrow as pa

from cio_assets.catalog import Endpoint, Parent, Table
from cio_assets.catalog.shape import RowInvalid, Shaper
from cio_assets.customerio import AppClient, Call, CustomerioError, NotFound, Page, Paging, RequestRefused, overlap
from cio_assets.warehouse import Chain, Staging
from cio_assets.warehouse.ledger import Reading
from cio_assets.warehouse.load import Scope

_RECENT = 10_000
"""Keys of the newest rows that are remembered to recognise a list that repeats another."""


_WORKERS_FOR_LONG_PAGES = 4
"""Enough to use the budget, and few enough for pages of 30 000 rows to fit into memory side by side."""

_CURSOR_REFUSED = (400, 404, 410, 422)
"""How a service may say that it does not know a cursor (any more)."""


@dataclass(frozen=True)
class Unit:
    """One chain of pages: a call and what is known of its rows before they come."""

    call: Call
    given: Mapping[str, Any]


@dataclass(frozen=True)
class Extracted:
    """How many chains of pages were read, and the keys of parents that were gone (404).

    The rest where only the reading shows it, and not the plan: what to note of it, what it speaks of, what to tell.
    """

    units: int
    gone: Sequence[Mapping[str, Any]] = field(default_factory=list)
    reading: Reading | None = None
    scope: Scope | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


class AllParentsGone(Exception):
    """Every parent answered 404: more likely a wrong address than an empty workspace."""


def believable(table: Table, extracted: Extracted) -> Extracted:
    """What was read, or `AllParentsGone`."""
    if extracted.units > 1 and len(extracted.gone) == extracted.units:
        path = table.endpoint.path if table.endpoint else ""
        raise AllParentsGone(
            f"GET {path} was answered 404 for each of {extracted.units} parents, though they were listed. The table is "
            "left as it is: see that CUSTOMERIO_APP_URL is right, or sync the parents and try again."
        )
    return extracted


def extract(
    table: Table,
    client: AppClient,
    staging: Staging,
    parents: Mapping[str, pa.Table],
    *,
    other_side: bool = False,
    until: Until | None = None,
) -> Extracted:
    """Read everything the table holds into `staging`; `parents` are the rows of each parent table.

    Of a table that can be read from two sides the one with fewer parents is asked, or the other side if so wanted.
    `until` ends a list of activities behind the last that is as new, where the list is newest first.

    A parent that answers 404 has gone: its rows are not there. What an earlier run left in the staging is not asked
    again. Raises what the client raises, and `RowInvalid`.
    """
    endpoint, parent = side(table, parents, other_side=other_side)
    reader = Reader(table, endpoint, client, staging)
    units = units_of(table, endpoint, parent, parents[parent.table] if parent else None)
    if table.variants_repeat:
        return _read_repeating(reader, list(units), until)
    done = 0
    gone = []
    workers = min(client.workers, _WORKERS_FOR_LONG_PAGES) if (endpoint.page_size or 0) > 1000 else client.workers
    for unit, present in overlap(workers, units, reader.read):
        done += 1
        if not present:
            gone.append(unit.given)
    return believable(table, Extracted(done, gone))


class Reader:
    """Reads one unit after the other, from many threads."""

    def __init__(self, table: Table, endpoint: Endpoint, client: AppClient, staging: Staging) -> None:
        self.table = table
        self.staging = staging
        self._endpoint = endpoint
        self._client = client
        self._shaper = Shaper(table)

    def read(self, unit: Unit) -> bool:
        """Stage every row of the unit; False where its parent has gone."""
        for path in filter(None, (self._endpoint.path, self._endpoint.gone_path)):
            chain = self.walk(Unit(replace(unit.call, path=path), unit.given))
            if not chain.gone:
                return True
        return False

    def walk(self, unit: Unit, only_note: Callable[[Iterator[dict[str, Any]]], Any] | None = None) -> Chain:
        """Stage the pages of a unit that are not staged yet; or no rows, but what `only_note` makes of each page."""
        chain = self.staging.chain(unit_name(unit.call))
        restarted = False
        while not chain.finished:
            try:
                for page, rows in self.pages(unit, chain):
                    if only_note:
                        self.staging.page(chain, (), page.next, note=only_note(rows))
                    else:
                        self.staging.page(chain, rows, page.next)
            except (NotFound, RequestRefused) as error:
                if not restarted and cursor_refused(chain.resume, error):
                    chain, restarted = self.staging.restart(chain), True
                elif isinstance(error, NotFound) and self._of_a_parent(unit):
                    self.staging.leave(chain)
                else:
                    raise
        return chain

    def _of_a_parent(self, unit: Unit) -> bool:
        """Whether a 404 can mean that the parent has gone; never for a batch of people (observed-behaviour.md)."""
        return bool(unit.given) and any(parent.batch is None for parent in self.table.parents)

    def pages(self, unit: Unit, chain: Chain) -> Iterator[tuple[Page, Iterator[dict[str, Any]]]]:
        """The pages of the unit that are not staged yet, and the rows of each, made as they are taken: a page of
        30 000 is large, and several are under way."""
        for page in self._client.pages(unit.call, Paging(self._endpoint.paging), self._items, chain.resume):
            given = {**{name: page.body.get(name) for name in self._endpoint.siblings}, **unit.given}
            yield page, self._rows(page, given)

    def _rows(self, page: Page, given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        try:
            for item in page.items:
                yield self._shaper.row(item, given)
        except RowInvalid as error:
            raise RowInvalid(f"{self._endpoint.method} {self._endpoint.path}: {error}") from None

    def _items(self, body: dict[str, Any]) -> list[Any] | None:
        items = body[self._endpoint.items]
        return [items] if isinstance(items, dict) else items


def cursor_refused(resume: Mapping[str, Any] | None, error: CustomerioError) -> bool:
    """Whether a list is to be begun anew: its cursor is not (any longer) accepted."""
    return resume is not None and error.status in _CURSOR_REFUSED


def unit_name(call: Call) -> str:
    """Names a call for ever: the same is asked by whoever goes on."""
    said = [call.method, call.path, dict(call.path_params), dict(call.query), call.json]
    return hashlib.blake2b(orjson.dumps(said, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()


def _read_repeating(reader: Reader, units: list[Unit], until: Until | None) -> Extracted:
    """Read variants of which a later one may bring the same rows again: it ends with a page of known rows."""
    key = reader.table.key
    known: set[tuple] = set()
    for unit in units:
        mine = _newest_first(reader, unit, key, known, until)
        known |= mine
    return Extracted(len(units))


def _newest_first(
    reader: Reader, unit: Unit, key: tuple[str, ...], known: set[tuple], until: Until | None
) -> set[tuple]:
    """Read one variant; answers the keys of its first rows."""
    chain = reader.staging.chain(unit_name(unit.call))
    restarted = False
    while True:
        recent = {tuple(one) for keys in chain.notes for one in keys}
        unordered = f"unordered {chain.unit}"
        order = Order(descending=unordered not in reader.staging.noted)
        try:
            if not chain.finished:
                for page, made in reader.pages(unit, chain):
                    rows = list(made)
                    keys = [tuple(row[name] for name in key) for row in rows]
                    over = bool(rows) and known.issuperset(keys)
                    over = over or order.passed([row["timestamp"] for row in rows], until and until.by_clock_of(page))
                    note = keys if len(recent) < _RECENT else None
                    facts = None if order.descending else {unordered: True}
                    reader.staging.page(chain, rows, None if over else page.next, note=note, noted=facts)
                    recent.update(keys if note else ())
                    if over:
                        break
        except (NotFound, RequestRefused) as error:
            if restarted or not cursor_refused(chain.resume, error):
                raise
            chain, restarted = reader.staging.restart(chain), True
        else:
            return recent


@dataclass(frozen=True)
class Until:
    """How far back a list is read, in unix seconds, and what time it is, both by our clock."""

    until: int
    now: datetime

    def by_clock_of(self, page: Page) -> int:
        """The same by the service's clock, where that is behind ours."""
        behind = (self.now - page.date).total_seconds() if page.date else 0.0
        return self.until - max(0, int(behind))


class Order:
    """Whether a list has come newest first so far: only then does an old row prove that the rest is old."""

    def __init__(self, *, descending: bool = True) -> None:
        self._last: int | None = None
        self.descending = descending

    def passed(self, times: Sequence[int | None], until: int | None) -> bool:
        """Take in the times of a page; whether all that follows is older than `until`."""
        told = [time for time in times if time is not None]
        sequence = told if self._last is None else [self._last, *told]
        self.descending = self.descending and all(later <= earlier for earlier, later in pairwise(sequence))
        self._last = told[-1] if told else self._last
        return until is not None and self.descending and bool(told) and max(told) < until


def side(table: Table, parents: Mapping[str, pa.Table], *, other_side: bool) -> tuple[Endpoint, Parent | None]:
    """The endpoint to ask: of two sides of the same rows the one with fewer parents."""
    if table.endpoint is None:
        raise ValueError(f"{table.name} is not read from the API")
    if table.other_side and table.parent:
        endpoint, parent = table.other_side
        if other_side or parents[parent.table].num_rows < parents[table.parent.table].num_rows:
            return endpoint, parent
    return table.endpoint, table.parent


def units_of(table: Table, endpoint: Endpoint, parent: Parent | None, rows: pa.Table | None) -> Iterator[Unit]:
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
    chosen = rows.select(list(parent.columns))
    # In one order every time, or a run that died could not go on with its batches. (Chunks would end batches early.)
    whole = chosen.sort_by([(name, "ascending") for name in parent.columns]).combine_chunks()
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
