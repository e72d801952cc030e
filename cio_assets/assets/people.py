"""The three ways in which `customers` and `customer_attributes` are read: in full, those who changed, by an export.

Which way is chosen by cost and age, and what each of the two asks then. In full they are read as any other list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

import pyarrow as pa

from cio_assets.assets import people_export
from cio_assets.assets.api import AppApi
from cio_assets.assets.asked import OVERLAP, Asked, Circumstances
from cio_assets.assets.extract import Extracted, extract
from cio_assets.assets.people_changes import (
    BATCH,
    Settled,
    Touched,
    Until,
    ask_identifiers,
    changes,
    settle,
    stage_standing,
)
from cio_assets.catalog import Table
from cio_assets.catalog.people import ATTRIBUTES, PEOPLE
from cio_assets.customerio import AppClient
from cio_assets.warehouse import Staging
from cio_assets.warehouse.ledger import CHANGED, FULL, Last, Ledger, Reading
from cio_assets.warehouse.load import Scope
from cio_assets.warehouse.staging import LONGEST_PAUSE
from cio_assets.warehouse.stored_people import Counts, Due, StoredPeople

EXPORT = "export"
TABLES = (PEOPLE, ATTRIBUTES)

FEW = 25
"""Requests up to which everybody is read every time."""

KEPT = timedelta(days=29)
"""How far back activities are believed to be complete: the API keeps them for 30 days."""

_LIST = 1000
"""People on a page of the list."""


@dataclass(frozen=True)
class Way:
    """One of the three ways, why, and for `changed` the second since which changes are looked for."""

    mode: str
    why: str
    since: int | None = None


@dataclass(frozen=True)
class Costs:
    """What a full reading costs: of the list, of the attributes (if they are stored), in requests."""

    people: int
    attributes: int

    @classmethod
    def of(cls, stored: Counts) -> Costs:
        """The costs of reading those who are stored again."""
        return cls(max(1, -(-stored.people // _LIST)), -(-stored.people // BATCH) if stored.attributes else 0)

    @property
    def total(self) -> int:
        """Both: where the list is read in full, the attributes are too."""
        return self.people + self.attributes

    def are_exceeded_by(self, touched: Touched) -> bool:
        """Whether reading those who changed costs more, as far as they are known."""
        with touched.lock:
            asked = touched.moved + len(touched.strangers)
            everybody = len(touched.people) + len(touched.strangers)
        return touched.pages + asked / BATCH + (everybody / BATCH if self.attributes else 0) > self.total


def choose(
    setting: Literal["auto", "full", "changed", "export"],
    last: Mapping[str, Last],
    costs: Costs,
    c: Circumstances,
    since: datetime | None = None,
) -> Way:
    """The way to read a table whose last readings are `last`; changes are looked for since the newest, or `since`."""
    if setting == EXPORT and not c.full:
        return Way(EXPORT, "CIO_PEOPLE=export")
    newest = since or max((one.read_at for one in last.values()), default=c.now)
    reasons = {
        "the run asks for everything": c.full,
        "CIO_PEOPLE=full": setting == FULL,
        "there was no full reading yet": FULL not in last,
        "a full reading is due": FULL in last and not c.believes(last[FULL].read_at),
        "activities do not reach back to the last reading": not timedelta(0) <= c.now - newest <= KEPT,
        "it costs few requests": setting == "auto" and costs.total <= FEW,
    }
    why = next((reason for reason, holds in reasons.items() if holds), None)
    if why:
        return Way(FULL, why)
    why = "it costs less than a full reading" if setting == "auto" else "CIO_PEOPLE=changed"
    return Way(CHANGED, why, int((newest - OVERLAP).timestamp()))


@dataclass(frozen=True)
class PeopleReading:
    """What will be asked; the table to load it into differs where what was not told is to stay as it is."""

    table: Table
    asked: Asked
    read: Callable[[AppClient, Staging], Extracted]
    said: tuple[object, ...]


def read_people(
    table: Table, api: AppApi, ledger: Ledger, parents: Mapping[str, pa.Table], c: Circumstances
) -> PeopleReading:
    """Decide how to read one of `TABLES`; `parents` are the rows of its parent tables."""
    setting = api.settings.people
    stored = StoredPeople(ledger.warehouse)
    costs = Costs.of(stored.counts())
    last = {name: ledger.last(name) for name in TABLES}
    if table.name == PEOPLE:
        way = choose(setting, last[PEOPLE], costs, c)
        if way.mode == EXPORT:
            return _export(table, way, costs.people, None, api.sleep)
        if way.mode == CHANGED:
            return _Changed(table, way, costs, stored, parents, setting == "auto", c.now).people()
        return _full(table, way, parents, costs.people)
    heard = max((one.read_at for one in last[PEOPLE].values()), default=None)
    way = choose(setting, last[ATTRIBUTES] if heard else {}, costs, c, heard)
    if way.mode == EXPORT:
        known = _handed_over(ledger, last[PEOPLE], c)
        return _export(table, way, costs.attributes, known, api.sleep)
    if way.mode == CHANGED and heard:
        due = stored.due(c.now)
        if due.carried:
            # Where the list was just read, its rows tell who changed; else this table asks for itself.
            told = heard > max(one.read_at for one in last[ATTRIBUTES].values()) and c.now - heard <= OVERLAP
            changed = _Changed(table, way, costs, stored, parents, setting == "auto", c.now)
            return changed.attributes(due, alone=not told)
        way = Way(FULL, "everybody's row was read anew")
    return _full(table, way, parents, costs.attributes)


def _full(table: Table, way: Way, parents: Mapping[str, pa.Table], cost: int) -> PeopleReading:
    def read(client: AppClient, staging: Staging) -> Extracted:
        extracted = extract(table, client, staging, parents)
        return replace(extracted, reading=Reading(FULL), metadata=_told(FULL, way.why, cost, client))

    return PeopleReading(table, Asked(parents), read, (FULL,))


@dataclass(frozen=True)
class _Changed:
    """Reads those who changed; in full after all where that costs less, or where it is unclear who came or went."""

    table: Table
    way: Way
    costs: Costs
    stored: StoredPeople
    parents: Mapping[str, pa.Table]
    may_give_up: bool
    now: datetime

    def people(self) -> PeopleReading:
        """Of `customers`: their identifiers, where these may have changed."""

        def read(client: AppClient, staging: Staging) -> Extracted:
            settled = self._settled(client, staging)
            if settled.why_unclear:
                return self._after_all(client, staging, settled.why_unclear)
            stage_standing(settled, staging)
            batches = ask_identifiers(settled, client, staging)
            scope = Scope(_keys(settled.asked), inside=True)
            return Extracted(batches, [], Reading(CHANGED), scope, self._told(client))

        return PeopleReading(self.table, Asked({}), read, (CHANGED, self.way.since))

    def attributes(self, due: Due, *, alone: bool) -> PeopleReading:
        """Of `customer_attributes`: those of people whose rows in `customers` are newer, or, `alone`, who changed."""

        def read(client: AppClient, staging: Staging) -> Extracted:
            asked = due.asked
            if alone:
                settled = self._settled(client, staging)
                if settled.why_unclear:
                    return self._after_all(client, staging, settled.why_unclear)
                listed = self.stored.rows(settled.everybody).select(["cio_id"])
                asked = _keys({*asked["cio_id"].to_pylist(), *listed["cio_id"].to_pylist()})
            extracted = extract(self.table, client, staging, {PEOPLE: asked})
            scope = Scope(pa.concat_tables([asked, due.gone]), inside=True)
            return replace(extracted, reading=Reading(CHANGED), scope=scope, metadata=self._told(client))

        said = (CHANGED, due.latest, self.way.since if alone else None)
        return PeopleReading(self.table, Asked({PEOPLE: due.asked}), read, said)

    def _settled(self, client: AppClient, staging: Staging) -> Settled:
        """Who changed; with a reason where everybody is to be read instead."""
        given_up = staging.noted.get("given_up")
        if given_up:  # by an earlier run, which was reading everybody when it died
            return Settled(frozenset(), frozenset(), _keys(()), given_up)

        def enough(touched: Touched) -> bool:
            return self.may_give_up and self.costs.are_exceeded_by(touched)

        touched = changes(client, staging, Until(self.way.since or 0, self.now), enough)
        if enough(touched):
            return Settled(frozenset(), frozenset(), _keys(()), "so many changed that a full reading costs less")
        return settle(touched, self.stored)

    def _after_all(self, client: AppClient, staging: Staging, why: str) -> Extracted:
        staging.append((), noted={"given_up": why})
        extracted = extract(self.table, client, staging, self.parents)
        return replace(extracted, reading=Reading(FULL), metadata=_told(FULL, why, self._cost, client))

    def _told(self, client: AppClient) -> Mapping[str, Any]:
        return _told(CHANGED, self.way.why, self._cost, client)

    @property
    def _cost(self) -> int:
        return self.costs.people if self.table.name == PEOPLE else self.costs.attributes


def _export(table: Table, way: Way, cost: int, known: int | None, sleep: people_export.Sleep) -> PeopleReading:
    """Read an export: `known`, which `customers` was read from, or one of its own."""
    stays = () if table.name == PEOPLE else people_export.NOT_TOLD

    def read(client: AppClient, staging: Staging) -> Extracted:
        number = people_export.read(table, client, staging, known, sleep)
        # Not all of a person's row is in an export, so it is no full reading of the attributes.
        reading = Reading(FULL, units={EXPORT: str(number)}) if table.name == PEOPLE else Reading(CHANGED)
        return Extracted(1, reading=reading, metadata=_told(EXPORT, way.why, cost, client))

    return PeopleReading(replace(table, told_by_one_side=stays), Asked({}), read, (EXPORT, known))


def _handed_over(ledger: Ledger, last: Mapping[str, Last], c: Circumstances) -> int | None:
    """The export that the last reading of `customers` was made from, if it is of today."""
    export = ledger.units(PEOPLE).get(EXPORT)
    if export is None or any(one.read_at > export.read_at for one in last.values()):
        return None
    return int(export.marker) if timedelta(0) <= c.now - export.read_at < LONGEST_PAUSE else None


def _told(mode: str, why: str, cost: int, client: AppClient) -> Mapping[str, Any]:
    spared = 0 if mode == FULL else max(0, cost - client.usage.snapshot().requests)
    return {"people_mode": mode, "people_mode_because": why, "requests_spared": spared}


def _keys(cio_ids: Any) -> pa.Table:
    return pa.table({"cio_id": pa.array(sorted(cio_ids), pa.string())})
