"""Runs the SQL under test over real DuckDB, and holds what it wrote against Customer.io's own schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import jsonschema

from cio_assets.customerio import limits
from cio_assets.reverse_etl.model import Sync
from cio_assets.reverse_etl.operations import gone_sql, operations_sql
from cio_assets.warehouse.sql import literal

OUTPUT = ["key", "operation", "lane", "reason", "field", "message", "source_row", "version", "recency", "also"]
_SCHEMA = json.loads((Path(__file__).parent / "track_schema.json").read_text())


@dataclass(frozen=True)
class Written:
    """One row of the output."""

    key: str | None
    operation: str | None
    lane: str
    reason: str | None
    field: str | None
    message: str | None
    source_row: str | None
    version: str | None
    recency: Any
    also: str | None

    @property
    def json(self) -> Any:
        assert self.operation is not None, (self.reason, self.message)
        return json.loads(self.operation)


@contextmanager
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB as the product sets it."""
    with duckdb.connect(config={"threads": 1, "preserve_insertion_order": False}) as con:
        con.execute("SET TimeZone = 'UTC'")
        yield con


def sync_of(kind: str, **values: Any) -> Sync:
    return Sync(name="tested", kind=kind, source="reverse_etl.tested", **values)  # pyright: ignore[reportArgumentType]  # text


def described(con: duckdb.DuckDBPyConnection, relation: str) -> Mapping[str, str]:
    return {name: kind for name, kind, *_ in con.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()}


def written_from(
    con: duckdb.DuckDBPyConnection, sync: Sync, relation: str, id_attributes: Sequence[str] | None = None
) -> list[Written]:
    result = con.execute(operations_sql(sync, described(con, relation), relation, id_attributes))
    assert [column[0] for column in result.description or []] == OUTPUT
    rows = [Written(*row) for row in result.fetchall()]
    for row in rows:
        assert_sound(row)
    return rows


def assert_sound(row: Written) -> None:
    """What holds for every row whatever the source: a reason, or an operation that Customer.io takes."""
    if row.also is not None:
        others = json.loads(row.also)
        assert others
        assert len({row.key, *others}) == 1 + len(others)
        for key in others:
            assert key == json.dumps(json.loads(key), ensure_ascii=False, separators=(",", ":"))
    if row.reason is not None:
        assert row.operation is None
        assert row.message
        assert json.loads(row.source_row or "") is not None
        return
    assert (row.field, row.message, row.source_row) == (None, None, None)
    assert row.key is not None
    assert row.key == json.dumps(json.loads(row.key), ensure_ascii=False, separators=(",", ":"))
    assert "\n" not in (row.operation or "")
    assert len((row.operation or "").encode()) <= limits.OPERATION
    operation = json.loads(row.operation or "", parse_constant=_not_json, object_pairs_hook=_once)
    assert_valid(operation, row.lane)
    for who in ("identifiers", "primary", "secondary"):
        if who in operation and operation["type"] == "person":
            assert len(operation[who]) == 1


def _not_json(text: str) -> Any:
    raise AssertionError(f"{text} is not JSON")


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(members)) == len(members), "a name comes twice"
    return dict(members)


def written(kind: str, select: str, id_attributes: Sequence[str] | None = None, **values: Any) -> list[Written]:
    """What becomes of the rows of an SQL SELECT; sorted, because the order of rows is not promised."""
    with connection() as con:
        rows = written_from(con, sync_of(kind, **values), f"({select})", id_attributes)
    return sorted(rows, key=lambda row: (row.key or "", row.operation or "", row.source_row or ""))


def one(kind: str, select: str, **values: Any) -> Written:
    rows = written(kind, f"SELECT {select}", **values)
    assert len(rows) == 1
    return rows[0]


def gone(key: str, attributes: tuple[str, ...] = (), **values: Any) -> Any:
    """The operation for a row that left."""
    with connection() as con:
        found = con.execute(
            f"SELECT {gone_sql(sync_of(**values), 'key', attributes)} FROM (SELECT {literal(key)} AS key)"
        )
        return json.loads(found.fetchall()[0][0])


@cache
def _validator(part: str) -> Any:
    return jsonschema.Draft202012Validator({**_SCHEMA[part], "components": _SCHEMA["components"]})


def assert_valid(operation: Any, lane: str = "batch") -> None:
    """Raise where Customer.io's own OpenAPI does not know the operation."""
    part = {"batch": "operation", "anonymous": "anonymous", "segment": "segment"}[lane]
    if lane == "segment":
        assert set(operation) == {"segment_id", "id_type", "id"}
        operation = {"ids": [operation["id"]]}
    _validator(part).validate(operation)
