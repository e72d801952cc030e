"""What reading the people will cost: in full, those who changed (as many as in the same time before), or an export."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from cio_assets.assets import people
from cio_assets.assets.asked import Circumstances
from cio_assets.assets.costs import UNKNOWN, Estimate, Sure
from cio_assets.assets.foreseen import Foreseen
from cio_assets.assets.people import Costs, Way, choose
from cio_assets.assets.people_changes import BATCH
from cio_assets.catalog import TABLES, Table
from cio_assets.catalog.people import ATTRIBUTES, CHANGES, PEOPLE, SAME_PERSON
from cio_assets.warehouse.ledger import FULL
from cio_assets.warehouse.stored_people import StoredPeople

_EXPORT = Estimate(3, Sure.AT_LEAST)
"""Create, poll (as often as it takes), ask for the link."""


@dataclass(frozen=True)
class _Changed:
    lists: int
    """Requests for the lists of activities that tell."""
    people: int
    moved: int
    """Those whose identifiers may have changed."""


def people_requests(
    table: Table,
    full: Estimate,
    setting: Literal["auto", "full", "changed", "export"],
    known: Foreseen,
    tables: Collection[str],
    c: Circumstances,
) -> tuple[Estimate, int]:
    """Requests for `customers` or `customer_attributes` and those spared; `full` is what all of it costs."""
    stored = StoredPeople(known.warehouse)
    costs = Costs.of(stored.counts())
    listed = choose(setting, known.last(PEOPLE), costs, c)
    way = listed if table.name == PEOPLE or PEOPLE in tables else _alone(setting, known, costs, c)
    if way.mode == people.EXPORT:
        return _EXPORT, 0
    if way.mode == FULL or way.since is None:
        return full, 0
    changed = _changed(known, way.since)
    if changed is None:
        return UNKNOWN, 0
    cost = changed.lists + (changed.moved + changed.people) / BATCH
    if setting == "auto" and cost > costs.total:  # it turns back to a full reading once it sees so
        return full.at_best(Sure.ABOUT), 0
    if table.name == PEOPLE:
        requests = changed.lists + -(-changed.moved // BATCH)
    elif PEOPLE in tables:
        requests = -(-changed.people // BATCH)
    else:
        due = stored.due(c.now).asked.num_rows
        requests = changed.lists + -(-(changed.people + due) // BATCH)
    return Estimate(requests, Sure.ABOUT), max(0, full.number - requests)


def _alone(
    setting: Literal["auto", "full", "changed", "export"], known: Foreseen, costs: Costs, c: Circumstances
) -> Way:
    """The way of the attributes where the list of people is not read with them."""
    heard = max((one.read_at for one in known.last(PEOPLE).values()), default=None)
    return choose(setting, known.last(ATTRIBUTES) if heard else {}, costs, c, heard)


def _changed(known: Foreseen, since: int) -> _Changed | None:
    """Who will have changed since then; None where no activities are stored to tell from."""
    endpoint = TABLES["activities"].endpoint
    size = (endpoint and endpoint.page_size) or 1
    found = {kind: known.pages_of_activities(kind, since, size) for kind in {one["type"] for one in CHANGES}}
    told = {kind: one for kind, one in found.items() if one}
    if len(told) < len(found):
        return None
    moving = told.keys() - SAME_PERSON - {"attribute_change"}
    return _Changed(
        sum(told[one["type"]][0] for one in CHANGES),
        len(set().union(*(people for _, people in told.values()))),
        len(set().union(*(told[kind][1] for kind in moving))),
    )
