"""The catalog asks only what is documented: `documented_endpoints.json` is an extract of the API's own reference."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cio_assets.catalog import TABLES, Endpoint, Parent, Table, Type
from cio_assets.catalog.buckets import V1_STEPS
from cio_assets.catalog.metrics import METRICS, PERIODS
from cio_assets.catalog.shape import Shaper

DOCUMENTED = json.loads(Path(__file__).with_name("documented_endpoints.json").read_text())

BEYOND_THE_DOCUMENTS = {
    # Ten a page, as campaign actions are (observed-behaviour.md, Lists).
    ("broadcast_actions", "paging"),
}


def _plain(path: str) -> str:
    """Parameters by position; section 1 writes a cio_id in a path with a prefix."""
    return re.sub(r"(cio_)?\{[^}]*\}", "{}", path)


ENDPOINTS = {(e["method"], _plain(e["path"])): e for e in DOCUMENTED}


def _reads() -> Iterator[tuple[Table, Endpoint, Parent | None]]:
    for table in TABLES.values():
        if table.endpoint:
            yield table, table.endpoint, table.parent
        if table.other_side:
            yield table, *table.other_side


READS = list(_reads())
each_read = pytest.mark.parametrize(
    ("table", "endpoint", "parent"), READS, ids=[f"{t.name} {e.method} {e.path}" for t, e, _ in READS]
)


def _documented(endpoint: Endpoint) -> Mapping[str, Any]:
    return ENDPOINTS[endpoint.method, _plain(endpoint.path)]


def _parameters(endpoint: Endpoint, where: str) -> dict[str, Mapping[str, Any]]:
    return {p["name"]: p for p in _documented(endpoint)["params"] if p["in"] == where}


@each_read
def test_method_and_path_are_documented(table: Table, endpoint: Endpoint, parent: Parent | None) -> None:
    assert (endpoint.method, _plain(endpoint.path)) in ENDPOINTS
    if endpoint.gone_path:
        assert _plain(endpoint.gone_path) == _plain(endpoint.path)


@each_read
def test_path_parameters_are_known_before_the_request(table: Table, endpoint: Endpoint, parent: Parent | None) -> None:
    known = {name for variant in table.variants for name in variant} | set(parent.columns.values() if parent else ())

    for path in filter(None, (endpoint.path, endpoint.gone_path)):
        assert set(re.findall(r"\{([^}]*)\}", path)) <= known


@each_read
def test_query_parameters_are_documented(table: Table, endpoint: Endpoint, parent: Parent | None) -> None:
    documented = _parameters(endpoint, "query")
    sent = [dict(endpoint.query)]
    sent += [{k: v for k, v in variant.items() if f"{{{k}}}" not in endpoint.path} for variant in table.variants]
    if endpoint.page_size:
        sent.append({"limit": endpoint.page_size})
    if endpoint.paging.startswith("cursor"):
        assert "start" in documented or (table.name, "paging") in BEYOND_THE_DOCUMENTS
    if endpoint.paging == "offset":
        assert {"limit", "offset"} <= documented.keys()
    for name, value in (pair for query in sent for pair in query.items()):
        assert name in documented, f"{endpoint.path} does not take {name}"
        assert value in documented[name].get("enum", [value])
        assert not isinstance(value, int) or value <= documented[name].get("max", value)
    if not table.series:  # version 1 and 2 have parameters of their own
        assert {n for n, p in documented.items() if p.get("required")} <= {n for query in sent for n in query}


@each_read
def test_a_page_is_as_large_as_the_documents_allow(table: Table, endpoint: Endpoint, parent: Parent | None) -> None:
    largest = _parameters(endpoint, "query").get("limit", {}).get("max")

    assert largest is None or endpoint.page_size == largest


@each_read
def test_path_values_are_documented(table: Table, endpoint: Endpoint, parent: Parent | None) -> None:
    for name, documented in _parameters(endpoint, "path").items():
        if "enum" in documented:
            assert [variant[name] for variant in table.variants] == documented["enum"]  # and none is left out


@each_read
def test_the_body_is_documented(table: Table, endpoint: Endpoint, parent: Parent | None) -> None:
    documented = _parameters(endpoint, "body")
    body = endpoint.body or {}

    assert body.keys() <= documented.keys()
    assert {name for name, p in documented.items() if p.get("required")} <= body.keys()
    if parent and parent.batch:
        assert parent.batch == documented["ids"]["max"]
    if "filter" in body:
        assert list(body["filter"]) == ["and"]
        for condition in body["filter"]["and"]:
            (kind,) = condition
            assert kind == ("object_attribute" if endpoint.path == "/v1/objects" else "attribute")
            assert condition[kind]["operator"] in ("eq", "exists")
            assert kind == "attribute" or condition[kind]["type_id"] == body["object_type_id"]


@each_read
def test_the_envelope_is_the_documented_one(table: Table, endpoint: Endpoint, parent: Parent | None) -> None:
    assert endpoint.items == _documented(endpoint)["envelope"]


@each_read
def test_paging_is_the_documented_one(table: Table, endpoint: Endpoint, parent: Parent | None) -> None:
    if (table.name, "paging") not in BEYOND_THE_DOCUMENTS:
        assert endpoint.paging.split("_")[0] == _documented(endpoint)["paging"]


def test_the_extract_holds_nothing_that_is_not_asked() -> None:
    assert {(e.method, _plain(e.path)) for _, e, _ in READS} == set(ENDPOINTS)


@pytest.mark.parametrize("table", [t for t in TABLES.values() if t.series], ids=lambda t: t.name)
def test_metrics_are_asked_in_documented_words(table: Table) -> None:
    assert table.endpoint is not None
    documented = _parameters(table.endpoint, "query")
    steps = documented["steps"]["note"]

    assert list(PERIODS) == documented["period"]["enum"]
    for period, most in V1_STEPS.items():
        assert f"{period} {most}" in steps
    if table.series == 2:
        assert {"version", "res", "start", "end", "tz"} <= documented.keys()
        assert set(PERIODS) <= set(documented["res"]["enum"])
    else:
        assert "version" not in documented


@pytest.mark.parametrize("table", [t for t in TABLES.values() if t.series], ids=lambda t: t.name)
def test_every_documented_metric_has_a_column(table: Table) -> None:
    assert table.endpoint is not None
    named = _documented(table.endpoint)["example"]["metric"]["series"].keys()

    assert named <= set(METRICS)
    assert set(METRICS) <= {column.name for column in table.columns if column.type is Type.INT}


def _given(table: Table, endpoint: Endpoint, parent: Parent | None) -> dict[str, Any]:
    given: dict[str, Any] = dict.fromkeys(parent.columns.values() if parent and not parent.batch else (), "1")
    given |= dict.fromkeys(endpoint.siblings, "bounces")
    return given | {k: v for k, v in table.variants[0].items() if f"{{{k}}}" in endpoint.path}


@pytest.mark.parametrize(
    ("table", "endpoint", "parent"),
    [read for read in READS if not read[0].series],
    ids=[f"{t.name} {e.path}" for t, e, _ in READS if not t.series],
)
def test_the_documented_example_fits_the_columns(table: Table, endpoint: Endpoint, parent: Parent | None) -> None:
    example = _documented(endpoint)["example"]
    item = example[endpoint.items] if endpoint.items == "used_by" else example

    row = Shaper(table).row(item, _given(table, endpoint, parent))

    assert row["_extra"] is None
    assert row.keys() == {*(column.name for column in table.columns), "_extra"}


@pytest.mark.parametrize(
    ("table", "endpoint", "parent"),
    [read for read in READS if not read[0].series],
    ids=[f"{t.name} {e.path}" for t, e, _ in READS if not t.series],
)
def test_every_documented_field_has_a_column(table: Table, endpoint: Endpoint, parent: Parent | None) -> None:
    taken = {".".join(path) for column in table.columns for path in column.paths} | set(table.not_kept)
    if endpoint.unwrap:
        taken |= {f"{endpoint.unwrap}.{name}" for name in taken} | {f"{endpoint.unwrap}.identifiers"}
    fields = {f for f in _documented(endpoint)["fields"] if "(" not in f}
    if table.name.endswith("_actions"):  # one schema serves both parents
        fields -= {"campaign_id", "broadcast_id"}

    assert fields <= taken
