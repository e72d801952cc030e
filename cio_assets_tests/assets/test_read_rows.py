"""A read that died is gone on with by one that asks the same, of the same workspace; any other begins anew."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pytest

from cio_assets.assets.api import AppApi
from cio_assets.assets.read_rows import read_rows
from cio_assets.assets.reading import Wanted, plan_reading
from cio_assets.assets.sources import sources_of
from cio_assets.catalog import TABLES
from cio_assets.catalog.model import columns
from cio_assets.customerio import CredentialsRefused
from cio_assets.io_managers.warehouse import make_warehouse
from cio_assets.settings import load_settings
from cio_assets.warehouse.ledger import Ledger
from cio_assets_tests.customerio.http_server import Asked, Say, Server

NEWSLETTERS = "/v1/newsletters"
FROM_THE_OBJECT = "/v1/objects/1/o1/relationships"
FROM_PEOPLE = ["/v1/customers/p1/relationships", "/v1/customers/p2/relationships"]
PARENTS = {
    "customers": pa.table({"cio_id": ["p1", "p2"]}),
    "objects": pa.table({"object_type_id": ["1"], "object_id": ["a"], "cio_object_id": ["o1"]}),
}
OBJECT = {"object_type_id": "1", "identifiers": {"object_id": "a", "cio_object_id": "o1"}}


class Service:
    """Two pages of newsletters, two of an object's relationships, and the one that each person has."""

    def __init__(self) -> None:
        self.server = Server()
        self.server.decide = self._decide
        self.refuses_second_pages = False
        self.asked: list[str] = []

    def _decide(self, asked: Asked) -> Say:
        url = urlsplit(asked.target)
        second = "start" in parse_qs(url.query)
        self.asked.append(url.path + (", page 2" if second else ""))
        if second and self.refuses_second_pages:
            return Say(401, {"errors": [{"detail": "unauthorized", "status": "401"}]})
        if url.path == NEWSLETTERS:
            body: dict[str, Any] = {"newsletters": [{"id": 2 if second else 1, "added": "yes"}]}
        elif url.path == FROM_THE_OBJECT:
            # The first is of a person who has gone when the people are asked.
            body = {"cio_relationships": [{"identifiers": {"cio_id": "p1" if second else "p0"}}]}
        else:
            return Say(body={"cio_relationships": [OBJECT], "next": ""})
        return Say(body=body | {"next": "" if second else "2"})


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.server.close()


def read(
    service: Service,
    home: Path,
    table: str,
    *,
    key: str = "a-key",
    full_pass: str = "",
    relationships: str = "cheapest",
) -> list[dict[str, Any]]:
    """Read a table as its asset does; the rows that would be loaded."""
    settings = load_settings(
        app_url=service.server.url,
        app_api_key=key,
        app_rps=100_000,
        dagster_home=home,
        relationships=relationships,
        _env_file=None,
    )
    api, wanted = AppApi(settings), Wanted(full_pass=full_pass)
    plan = plan_reading(TABLES[table], wanted, api, Ledger(make_warehouse(settings), sources_of(api)), PARENTS, 0)
    staged = read_rows(plan, wanted, api, lambda *_: None).staged
    rows = [json.loads(line) for line in staged.rows_path.read_text().splitlines()]
    staged.discard()
    return rows


def die(service: Service, home: Path, table: str, **how: str) -> None:
    """Read the first page, and have the key refused for the second."""
    service.refuses_second_pages = True
    with pytest.raises(CredentialsRefused):
        read(service, home, table, **how)
    service.refuses_second_pages = False
    service.asked.clear()


@pytest.mark.parametrize(
    ("how", "asked"),
    [
        ({}, [f"{NEWSLETTERS}, page 2"]),
        ({"key": "of-another-workspace"}, [NEWSLETTERS, f"{NEWSLETTERS}, page 2"]),
        ({"full_pass": "asked for since"}, [NEWSLETTERS, f"{NEWSLETTERS}, page 2"]),
    ],
    ids=["the same", "another workspace", "a full pass"],
)
def test_only_who_asks_the_same_goes_on(service: Service, home: Path, how: dict[str, str], asked: list[str]) -> None:
    die(service, home, "newsletters")
    assert [row["id"] for row in read(service, home, "newsletters", **how)] == [1, 2]
    assert service.asked == asked


def test_another_version_of_the_program_begins_anew(
    service: Service, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    die(service, home, "newsletters")
    table = TABLES["newsletters"]
    monkeypatch.setitem(TABLES, table.name, replace(table, columns=(*table.columns, *columns("added text"))))
    rows = read(service, home, "newsletters")
    assert [row["added"] for row in rows] == ["yes", "yes"], "rows of the version before have no such column"
    assert service.asked == [NEWSLETTERS, f"{NEWSLETTERS}, page 2"]


def test_relationships_are_of_one_side_after_a_change_of_the_setting(service: Service, home: Path) -> None:
    die(service, home, "customer_relationships", relationships="cheapest")
    rows = read(service, home, "customer_relationships", relationships="people")
    assert sorted(row["cio_id"] for row in rows) == ["p1", "p2"]
    assert sorted(service.asked) == FROM_PEOPLE
    die(service, home, "customer_relationships", relationships="cheapest")
    rows = read(service, home, "customer_relationships", relationships="cheapest")
    assert [row["cio_id"] for row in rows] == ["p0", "p1"]
    assert service.asked == [f"{FROM_THE_OBJECT}, page 2"], "the setting that it had: the rest alone"
