"""A workspace of a few people whose answers a test can bend, and what reads people from it, or from a sandbox.

They are read as their assets read them (`plan_reading`, staging, load), by a clock that the test sets.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa

from cio_assets.assets.api import AppApi
from cio_assets.assets.reading import Plan, Wanted, plan_reading
from cio_assets.catalog import TABLES
from cio_assets.io_managers.warehouse import make_warehouse
from cio_assets.settings import Settings
from cio_assets.warehouse import Staging, load
from cio_assets.warehouse.ledger import Ledger
from cio_assets_tests.customerio.http_server import Asked, Say, Server
from cio_assets_tests.truth import live, stored

NOW = datetime(2026, 6, 10, 3, tzinfo=UTC)


class Reader:
    """Reads `customers` and `customer_attributes` of a service into a warehouse below `home`."""

    def __init__(self, home: Path, url: str, *, people: str = "changed", now: datetime = NOW) -> None:
        self.now = now
        self.settings = Settings.model_validate(
            {
                "app_api_key": "sandbox-app-key",
                "app_url": url,
                "app_rps": 100_000,
                "dagster_home": home,
                "people": people,
            }
        )
        self.warehouse = make_warehouse(self.settings)
        self.path = home / "warehouse.duckdb"
        self.pauses: list[float] = []
        """Seconds that would have been slept."""

    def later(self, **time: float) -> None:
        self.now += timedelta(**time)

    def plan(self, table: str, *, full: bool = False) -> tuple[AppApi, Plan]:
        api = AppApi(self.settings, lambda: self.now, sleep=self._pause)
        parents: dict[str, pa.Table] = {}
        if table == "customer_attributes":
            parents["customers"] = self.warehouse.read("customers", ["cio_id"])
        return api, plan_reading(
            TABLES[table], Wanted(full_pass="x" if full else ""), api, Ledger(self.warehouse), parents, 0
        )

    def read(self, table: str, *, full: bool = False) -> dict[str, Any]:
        """Materialize; answers the metadata, with the requests that were sent."""
        api, plan = self.plan(table, full=full)
        inputs = plan.fingerprint("here")
        with (
            api.client(max_attempts=2) as client,
            Staging(self.settings.staging_dir, table, inputs, began=self.now) as staging,
        ):
            extracted = plan.read(client, staging)
            staged = staging.finish()
        wanted = plan.load(staged, staging.began, extracted, "here")
        load(self.warehouse, wanted.table, staged, wanted.read_at, scope=wanted.scope, reading=wanted.reading)
        staged.discard()
        return {**extracted.metadata, "requests": client.usage.snapshot().requests}

    def both(self, **how: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """As a sync of both does: `customers` first."""
        return self.read("customers", **how), self.read("customer_attributes", **how)

    def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.later(seconds=seconds)
        time.sleep(0.01)  # a sandbox has a clock of its own

    def drop(self, table: str) -> None:
        with self.warehouse.transaction() as con:
            con.execute(f"DROP TABLE {self.warehouse.qualified(table)}")


class Workspace:
    """People, newest activity first. `bend` may change an answer: `bend(path, query, answer) -> answer`."""

    def __init__(self) -> None:
        self.server = Server()
        self.server.decide = self._decide
        self.url = self.server.url
        self.people: dict[str, dict[str, Any]] = {}
        self.activities: list[dict[str, Any]] = []
        self.bend: Callable[[str, Mapping[str, str], Say], Say] = lambda _path, _query, say: say
        self.page_size = 100
        self.asked: Counter[str] = Counter()
        self._number = 0

    def person(self, cio_id: str, **attributes: str) -> None:
        """Add or change somebody, without an activity."""
        self.people[cio_id] = {"id": f"u_{cio_id}", "email": f"{cio_id}@example.com"} | self.people.get(cio_id, {})
        self.people[cio_id] |= attributes

    def act(self, kind: str, who: Mapping[str, Any] | str | None, at: datetime, data: Any = None, **more: Any) -> None:
        """Add an activity, at the front of the list."""
        self._number += 1
        identifiers: Any = who
        if isinstance(who, str):
            person = self.people.get(who, {})
            identifiers = {"cio_id": who, "id": person.get("id"), "email": person.get("email")}
        row = {
            "id": f"{self._number:026d}",
            "type": kind,
            "timestamp": int(at.timestamp()),
            "customer_id": (identifiers or {}).get("id"),
            "customer_identifiers": identifiers,
            "data": data,
        }
        self.activities.insert(0, row | more)

    def set(self, cio_id: str, at: datetime, **attributes: str) -> None:
        """Change somebody, with the activity that tells of it."""
        old = self.people[cio_id]
        data = {name: {"from": old.get(name), "to": value} for name, value in attributes.items()}
        self.person(cio_id, **attributes)
        self.act("attribute_change", cio_id, at, data)

    def requests(self) -> Counter[str]:
        """Requests by path since the last look."""
        asked, self.asked = self.asked, Counter()
        return asked

    def _decide(self, asked: Asked) -> Say:
        url = urlsplit(asked.target)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        self.asked[url.path] += 1
        body = json.loads(asked.body) if asked.body else {}
        return self.bend(url.path, query, self._answer(url.path, query, body))

    def _answer(self, path: str, query: Mapping[str, str], body: Mapping[str, Any]) -> Say:
        if path == "/v1/customers":
            found = [{"cio_id": one, "id": who["id"], "email": who["email"]} for one, who in self.people.items()]
            return Say(body={"identifiers": found, "ids": [], "next": ""})
        if path == "/v1/customers/attributes":
            kind = query["id_type"]
            by = {(cio_id if kind == "cio_id" else who[kind]): cio_id for cio_id, who in self.people.items()}
            return Say(body={"customers": [self._customer(by[one]) for one in body["ids"] if one in by]})
        if path == "/v1/activities":
            listed = [row for row in self.activities if row["type"] == query["type"]]
            first = int(query.get("start") or 0)
            page = listed[first : first + self.page_size]
            return Say(body={"activities": page, "next": str(first + len(page)) if page else "more"})
        return Say(404, {"errors": [{"detail": "not found", "status": "404"}]})

    def _customer(self, cio_id: str) -> dict[str, Any]:
        attributes = {"cio_id": cio_id} | {name: one for name, one in self.people[cio_id].items() if one is not None}
        who = {"cio_id": cio_id, "id": self.people[cio_id]["id"], "email": self.people[cio_id]["email"]}
        return {
            "customer": {
                "id": who["id"],
                "identifiers": who,
                "attributes": attributes,
                "timestamps": {},
                "unsubscribed": False,
                "devices": [],
            }
        }


def wrong(service: Workspace, reader: Reader, *tables: str) -> list[str]:
    """What differs from the workspace."""
    problems = []
    for table in tables or ("customers", "customer_attributes"):
        rows = {row["cio_id"]: row for row in live(stored(reader.path, table))}
        problems += [f"{table}: {one} is not marked" for one in rows.keys() - service.people.keys()]
        problems += [f"{table}: {one} is missing" for one in service.people.keys() - rows.keys()]
        for cio_id in rows.keys() & service.people.keys():
            row, person = rows[cio_id], service.people[cio_id]
            attributes = {name: value for name, value in person.items() if value is not None} | {"cio_id": cio_id}
            if table == "customer_attributes" and row["attributes"] != attributes:
                problems.append(f"{cio_id}: {row['attributes']} instead of {attributes}")
            if (row["id"], row["email"]) != (person["id"], person["email"]):
                problems.append(f"{table}: {cio_id} is {row['id']}, {row['email']}")
    return problems


def marked(reader: Reader, table: str = "customers") -> set[str]:
    return {row["cio_id"] for row in stored(reader.path, table) if row["_deleted_at"]}


def move(service: Workspace, at: datetime) -> None:
    """Something of everything happens."""
    for number in range(3):
        service.set(f"a{number:04d}", at, plan="pro")
    service.set("a0010", at, email="moved@example.com")
    service.act("device_change", "a0011", at, {"added": "ios"})
    service.act("unsubscribed_email", "a0012", at, {})
    service.person("b0001", plan="new")
    service.act("profile_create", "b0001", at, {})
    service.act("profile_delete", "a0020", at, {}, customer_id=None)
    del service.people["a0020"]
    service.person("a0030", nickname="both")
    lost = {"cio_id": "a0031", "id": "u_a0031", "email": "a0031@example.com"}
    service.act("profile_merge", "a0030", at, {"merged": lost})
    del service.people["a0031"]
