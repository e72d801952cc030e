"""Who may have changed since a moment, by the lists of activities, and whose identifiers must be asked again.

Those whose identifiers cannot have changed need no request here: only their attributes are to be read anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa

from cio_assets.assets.extract import Order, Reader, Unit, Until, cursor_refused, unit_name
from cio_assets.catalog import TABLES
from cio_assets.catalog.people import ATTRIBUTES, CHANGES, IDENTIFIERS, PEOPLE, SAME_PERSON
from cio_assets.catalog.shape import Shaper
from cio_assets.customerio import AppClient, Call, NotFound, Paging, RequestRefused, overlap
from cio_assets.customerio.masking import values_in
from cio_assets.warehouse import Chain, Staging
from cio_assets.warehouse.stored_people import StoredPeople

BATCH = 100
_KINDS = frozenset(variant["type"] for variant in CHANGES)
_COMES_OR_GOES = frozenset({"profile_create", "profile_delete", "profile_merge"})


@dataclass
class Touched:
    """Whom activities name. Thread-safe to `take` into."""

    people: dict[str, bool] = field(default_factory=dict)
    """By `cio_id`, whether their identifiers may have changed."""
    strangers: set[tuple[str | None, str | None]] = field(default_factory=set)
    """Id and email of those whom no `cio_id` names."""
    others: set[str] = field(default_factory=set)
    """Texts that name, among other things, the people who were merged into others."""
    merged: dict[tuple[str | None, ...], set[str]] = field(default_factory=dict)
    """By the identifiers of people who were merged with somebody: the texts, one of which should name that one."""
    nameless: int = 0
    """Activities of people who came or went that name nobody."""
    pages: int = 0
    moved: int = 0
    """Of `people`, those whose identifiers may have changed."""
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def take(self, note: Mapping[str, Any]) -> None:
        """Take in what was noted of a page."""
        with self.lock:
            self.pages += 1
            for cio_id, moved in note["people"]:
                before = self.people.get(cio_id, False)
                self.people[cio_id] = before or moved
                self.moved += moved and not before
            self.strangers.update((one, email) for one, email in note["strangers"])
            self.others.update(note["others"])
            for who, others in note["merged"]:
                self.merged.setdefault(tuple(who), set()).update(others)
            self.nameless += note["nameless"]

    @property
    def why_unclear(self) -> str:
        """Why it cannot be told who came or went; empty where it can."""
        if self.nameless:
            return "activities of people who came or went do not name them"
        return ""

    def merged_with_nobody(self, named: Mapping[str, set[str]]) -> bool:
        """Whether somebody was merged with one whom nothing names: then it cannot be told who is no longer there."""
        found = []
        for who, others in self.merged.items():
            # By its texts only where there is no cio_id: whoever remains may have taken over an email of the other.
            mine = {who[0]} if who[0] else {cio_id for text in who if text for cio_id in named.get(text, ())}
            known = {cio_id for text in others for cio_id in named.get(text, ())} | (others & self.people.keys())
            found.append((mine, known - mine))
        # Of two activities of one merge the other may tell.
        return any(not known and not any(mine & told for _, told in found) for mine, known in found)


def changes(client: AppClient, staging: Staging, until: Until, enough: Callable[[Touched], bool]) -> Touched:
    """Read the lists of activities back to `until`, those that are not newest first to their end.

    Ends early where what was found is `enough`. What an earlier run has read is not asked again.
    """
    table = TABLES["activities"]
    if table.endpoint is None:
        raise ValueError("activities are read from the API")
    reader = Reader(table, table.endpoint, client, staging)
    limit = {"limit": table.endpoint.page_size}
    units = [Unit(Call("GET", table.endpoint.path, {}, {**limit, **variant}), {}) for variant in CHANGES]
    touched = Touched()
    for _ in overlap(client, units, lambda unit: _newest_first(reader, unit, until, touched, enough)):
        pass
    return touched


def _newest_first(
    reader: Reader, unit: Unit, until: Until, touched: Touched, enough: Callable[[Touched], bool]
) -> None:
    chain = reader.staging.chain(unit_name(unit.call))
    order, restarted = Order(), False
    for note in chain.notes:
        order.passed(note["times"], None)
        touched.take(note)
    while not (chain.finished or enough(touched)):
        try:
            for page, rows in reader.pages(unit, chain):
                since = until.by_clock_of(page)
                note = noted(rows, since)
                over = order.passed(note["times"], since)
                reader.staging.page(chain, (), None if over else page.next, note=note)
                touched.take(note)
                if over or enough(touched):
                    return
        except (NotFound, RequestRefused) as error:
            if restarted or not cursor_refused(chain.resume, error):
                raise
            chain, restarted, order = reader.staging.restart(chain), True, Order()


def noted(rows: Iterable[Mapping[str, Any]], since: int | None = None) -> dict[str, Any]:
    """What is remembered of a page of activities (rows of the table `activities`): of older ones only when. Pure."""
    people: dict[str, bool] = {}
    note: dict[str, list[Any]] = {"times": [], "strangers": [], "others": [], "merged": []}
    nameless = 0
    for row in rows:
        note["times"].append(row["timestamp"])
        kind = row["type"]
        if kind not in _KINDS:  # a service that knows no such filter
            continue
        if since is not None and row["timestamp"] is not None and row["timestamp"] < since:
            continue
        cio_id = (row["cio_id"] or "").removeprefix("cio_") or None
        who = (cio_id, row["customer_id"] or None, row["email"] or None)
        texts = set(values_in(row["data"])) if kind == "profile_merge" else set()
        others = (texts | {text.removeprefix("cio_") for text in texts}) - set(who)
        note["others"] += others
        if cio_id:
            people[cio_id] = people.get(cio_id, False) or _moves(kind, row["data"])
        elif any(who):
            note["strangers"].append(who[1:])
        elif kind in _COMES_OR_GOES and not others:
            nameless += 1
        if kind == "profile_merge" and any(who):
            note["merged"].append((who, sorted(others)))
    return {**note, "people": list(people.items()), "nameless": nameless}


def _moves(kind: str, data: Any) -> bool:
    """Whether an activity may have changed the identifiers of its person."""
    if kind != "attribute_change":
        return kind not in SAME_PERSON
    if not isinstance(data, Mapping) or not data:
        return True
    documented = all(isinstance(change, Mapping) and change.keys() & {"from", "to"} for change in data.values())
    return not documented or any(name.lower() in IDENTIFIERS for name in data)


@dataclass(frozen=True)
class Settled:
    """Whom to ask, and the stored rows of those whose identifiers stand."""

    asked: frozenset[str]
    """By `cio_id`."""
    ids: frozenset[str]
    """By `id`: people of whom neither the activities nor the warehouse know more."""
    standing: pa.Table
    why_unclear: str = ""

    @property
    def everybody(self) -> set[str]:
        """Every `cio_id`."""
        return {*self.asked, *self.standing["cio_id"].to_pylist()}


def settle(touched: Touched, stored: StoredPeople) -> Settled:
    """Find out in the warehouse whom the activities mean."""
    named = stored.named({*touched.others, *filter(None, (text for who in touched.strangers for text in who))})
    merged = {*touched.others, *filter(None, (text for who in touched.merged for text in who))}
    asked = {cio_id for cio_id, moved in touched.people.items() if moved}
    asked.update(*named.values())
    ids, why = set(), touched.why_unclear
    if merged and touched.merged_with_nobody(stored.named(merged, deleted=True)):
        why = why or "activities do not name who was merged"
    for one, email in touched.strangers:
        if one and one not in named:
            ids.add(one)
        elif not one and email not in named:
            why = why or "activities name people by an email that nobody is known to have"
    standing = stored.rows(touched.people.keys() - asked)
    asked |= touched.people.keys() - set(standing["cio_id"].to_pylist())
    return Settled(frozenset(asked), frozenset(ids), standing, why)


def stage_standing(settled: Settled, staging: Staging) -> None:
    """Stage the stored rows of those whose identifiers stand: so they count as read now."""
    chain = staging.chain("standing")
    if chain.finished:
        return
    if chain.resume is not None:
        chain = staging.restart(chain)
    for batch in settled.standing.to_batches(max_chunksize=1000):
        rows = [{**row, "_extra": row["_extra"] and orjson.loads(row["_extra"])} for row in batch.to_pylist()]
        staging.page(chain, rows, {"more": 1})
    staging.page(chain, ())


def ask_identifiers(settled: Settled, client: AppClient, staging: Staging) -> int:
    """Stage the identifiers of those who are asked; whoever is not there is left out. Answers the number of batches.

    Raises what the client raises; a 404 too, which is never "gone" here (observed-behaviour.md, People).
    """
    endpoint = TABLES[ATTRIBUTES].endpoint
    if endpoint is None:
        raise ValueError(f"{ATTRIBUTES} are read from the API")
    shaper = Shaper(TABLES[PEOPLE])
    calls = [
        Call(endpoint.method, endpoint.path, {}, {**endpoint.query, "id_type": kind}, {"ids": batch})
        for kind, people in (("cio_id", settled.asked), ("id", settled.ids))
        for batch in _batches(sorted(people))
    ]

    def ask(call: Call) -> None:
        chain: Chain = staging.chain(unit_name(call))
        if not chain.finished:
            for page in client.pages(call, Paging.NONE, endpoint.items):
                staging.page(chain, [shaper.row(who, {}) for who in map(_identifiers, page.items)])

    for _ in overlap(client, calls, ask):
        pass
    return len(calls)


def _batches(people: Sequence[str]) -> Iterator[Sequence[str]]:
    return (people[first : first + BATCH] for first in range(0, len(people), BATCH))


def _identifiers(item: Any) -> Any:
    """What the list of customers would say of this person."""
    if not isinstance(item, Mapping):
        return item
    inner = item.get("customer")
    person = inner if isinstance(inner, Mapping) else item
    told = person.get("identifiers")
    if isinstance(told, Mapping) and told.get("cio_id"):
        return told
    attributes = person.get("attributes")
    places = [place for place in (told, person, attributes) if isinstance(place, Mapping)]
    return {name: next(_present(name, places), None) for name in IDENTIFIERS}


def _present(name: str, places: Iterable[Mapping[str, Any]]) -> Iterator[Any]:
    return (place[name] for place in places if place.get(name))
