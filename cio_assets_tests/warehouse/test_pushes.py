"""Pushes from warehouses of each kind: their state and the rejected rows are kept there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cio_assets.warehouse import Warehouse
from cio_assets_tests import forked
from cio_assets_tests.reverse_etl.pushing import EVENTS, Pushing, sync


@pytest.fixture
def pushing(warehouse: Warehouse, tmp_path: Path) -> Iterator[Pushing]:
    """A workspace, and a warehouse of each kind with a source of persons and events."""
    with warehouse.attached() as con:
        con.execute("DROP SCHEMA IF EXISTS wh._cio_push CASCADE")  # one Postgres server serves all tests
        con.execute("DROP SCHEMA IF EXISTS wh.reverse_etl CASCADE")
        con.execute("CREATE SCHEMA wh.reverse_etl")
        con.execute(
            """CREATE TABLE wh.reverse_etl.persons AS
               SELECT 'u_' || i AS id, i AS visits, 1.25 * i AS ltv, i % 2 = 0 AS vip,
                      TIMESTAMPTZ '2026-01-01' AS created_at
               FROM range(200) t(i)"""
        )
        con.execute(
            """CREATE TABLE wh.reverse_etl.events AS
               SELECT 'u_1' AS person_id, 'bought' AS event_name,
                      TIMESTAMPTZ '2026-10-01' + INTERVAL (i) HOUR AS timestamp
               FROM range(50) t(i)"""
        )
    with forked.launch(people=0, campaigns=0, objects=0, app_rps=0, track_rps=0) as box:
        yield Pushing(box, tmp_path, warehouse=warehouse)


def change(pushing: Pushing, sql: str) -> None:
    """Run SQL in the warehouse."""
    with pushing.warehouse.attached() as con:
        con.execute(sql)


def test_only_changes_are_sent(pushing: Pushing) -> None:
    mirror = sync("persons", mode="mirror")
    assert pushing.push(mirror).accepted == 200
    assert pushing.push(mirror).requests == 0
    change(pushing, "UPDATE wh.reverse_etl.persons SET visits = -1 WHERE id = 'u_7'")
    change(pushing, "DELETE FROM wh.reverse_etl.persons WHERE id = 'u_8'")
    change(pushing, "INSERT INTO wh.reverse_etl.persons (id, visits) VALUES (NULL, 1), (repeat('x', 200), 2)")
    result = pushing.push(mirror)
    assert (result.accepted, result.removed, result.unchanged, result.rejected.total()) == (1, 1, 198, 2)
    with pushing.warehouse.attached() as con:
        reasons = con.execute("SELECT reason FROM wh.reverse_etl.rejected ORDER BY ALL").fetchall()
    assert reasons == [("identifier_missing",), ("identifier_too_long",)]
    change(pushing, "DELETE FROM wh.reverse_etl.persons WHERE id IS NULL OR length(id) > 100")
    assert pushing.push(mirror).requests == 0
    with pushing.warehouse.attached() as con:
        assert con.execute("SELECT count(*) FROM wh.reverse_etl.rejected").fetchall() == [(0,)]


def test_events_by_cursor(pushing: Pushing) -> None:
    assert pushing.push(EVENTS).accepted == 50
    assert pushing.push(EVENTS).rows == 0
    change(
        pushing, "INSERT INTO wh.reverse_etl.events VALUES ('u_2', 'late', '2026-09-01'), ('u_2', 'new', '2026-11-01')"
    )
    assert pushing.push(EVENTS).accepted == 2
