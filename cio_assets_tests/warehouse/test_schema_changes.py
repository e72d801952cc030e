"""Tables that are older than the catalog, or that somebody else made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cio_assets.catalog import TABLES
from cio_assets.catalog.model import columns
from cio_assets.warehouse import Warehouse, WarehouseError
from cio_assets.warehouse.load import create_table, create_view, declared_columns
from cio_assets_tests.warehouse.stage import MONDAY, TUESDAY, put

SEGMENTS = TABLES["segments"]


def test_a_new_column_is_added_to_an_old_table(warehouse: Warehouse) -> None:
    put(warehouse, "segments", [{"id": 1, "name": "one"}, {"id": 2, "name": "two"}])
    newer = replace(
        SEGMENTS,
        columns=(*SEGMENTS.columns, *columns("a_text text\nan_int int\na_time time\na_bool bool\na_json json")),
    )

    put(
        warehouse,
        newer,
        [{"id": 1, "a_text": "x", "an_int": 5, "a_time": 0, "a_bool": True, "a_json": [1]}],
        at=TUESDAY,
    )

    rows = warehouse.query(
        "SELECT id, a_text, an_int, epoch(a_time), a_bool, a_json::VARCHAR, _synced_at FROM segments ORDER BY id"
    )
    assert rows == [(1, "x", 5, 0, True, "[1]", TUESDAY), (2, None, None, None, None, None, MONDAY)]


def test_a_column_that_the_catalog_forgot_stays(warehouse: Warehouse) -> None:
    newer = replace(SEGMENTS, columns=(*SEGMENTS.columns, *columns("extra text")))
    put(warehouse, newer, [{"id": 1, "extra": "x"}, {"id": 2, "extra": "y"}])

    put(warehouse, "segments", [{"id": 1}], at=TUESDAY)

    assert warehouse.query("SELECT id, extra FROM segments ORDER BY id") == [(1, None), (2, "y")]


def test_the_order_of_columns_does_not_matter(duck: Warehouse) -> None:
    with duck.transaction() as con:
        con.execute("CREATE TABLE segments (name VARCHAR, description VARCHAR, id BIGINT)")

    put(duck, "segments", [{"id": 1, "name": "the name", "description": "the description"}])

    assert duck.query("SELECT id, name, description FROM segments") == [(1, "the name", "the description")]


@pytest.mark.parametrize(
    ("column", "stored", "declared"),
    [
        ("id", "VARCHAR", "BIGINT"),
        ("id", "INTEGER", "BIGINT"),
        ("id", "DOUBLE", "BIGINT"),
        ("name", "BIGINT", "VARCHAR"),
        ("created_at", "TIMESTAMP", "TIMESTAMPTZ"),
        ("created_at", "BIGINT", "TIMESTAMPTZ"),
        ("tags", "VARCHAR[]", "JSON"),
        ("_synced_at", "DATE", "TIMESTAMPTZ"),
        ("_deleted_at", "BOOLEAN", "TIMESTAMPTZ"),
    ],
)
def test_a_foreign_table_of_the_same_name(duck: Warehouse, column: str, stored: str, declared: str) -> None:
    others = "" if column == "id" else "id BIGINT, "
    with duck.transaction() as con:
        con.execute(f"CREATE TABLE segments ({others}{column} {stored})")

    with pytest.raises(WarehouseError) as caught:
        put(duck, "segments", [{"id": 1}])

    message = str(caught.value)
    assert f"customerio.segments: column {column} is" in message
    assert f"but {declared} is declared" in message
    assert "CIO_SCHEMA" in message


@pytest.mark.parametrize("what", ["VIEW segments AS SELECT 1::BIGINT AS id", "VIEW segments AS SELECT 'x' AS name"])
def test_a_foreign_view_of_the_same_name(duck: Warehouse, what: str) -> None:
    with duck.transaction() as con:
        con.execute(f"CREATE {what}")

    with pytest.raises(WarehouseError, match=r"customerio\.segments"):
        put(duck, "segments", [{"id": 1}])


def test_a_table_in_the_place_of_a_view(duck: Warehouse) -> None:
    with duck.transaction() as con:
        con.execute("CREATE TABLE campaign_messages (id VARCHAR)")

    with pytest.raises(WarehouseError, match="campaign_messages"):
        create_view(duck, TABLES["campaign_messages"], TABLES["messages"])


def test_a_view_needs_to_be_one(duck: Warehouse) -> None:
    with pytest.raises(ValueError, match="segments is not a view"):
        create_view(duck, SEGMENTS, TABLES["messages"])


@pytest.mark.parametrize("table", [t for t in TABLES.values() if not t.view], ids=lambda t: t.name)
def test_every_table_of_the_catalog_is_made_as_declared(duck: Warehouse, table) -> None:
    with duck.transaction() as con:
        create_table(duck, con, table)
        create_table(duck, con, table)  # and found again as declared
        stored = duck.columns(con, table.name)

    declared = declared_columns(table)
    assert list(stored) == list(declared)
    assert declared["_extra"] == "JSON"
    assert declared["_synced_at"] == "TIMESTAMPTZ"
    assert ("_deleted_at" in declared) == table.tombstones


def test_two_schemas_of_one_file_are_two_workspaces(duck: Warehouse) -> None:
    other = Warehouse(duck.uri, "second", scratch=duck.scratch)
    put(duck, "segments", [{"id": 1}])
    put(other, "segments", [{"id": 2}])

    put(duck, "segments", [], at=TUESDAY)

    assert other.read("segments", ["id"]).to_pylist() == [{"id": 2}]
    assert duck.read("segments", ["id"]).num_rows == 0


@pytest.mark.parametrize("schema", ["select", "Main_2", "_x"])
def test_a_schema_of_any_name(tmp_path, schema: str) -> None:
    warehouse = Warehouse(str(tmp_path / "w.duckdb"), schema, scratch=tmp_path / "staging")

    put(warehouse, "segments", [{"id": 1}])

    assert warehouse.read("segments", ["id"]).num_rows == 1


@pytest.mark.parametrize("name", ["it's.duckdb", "a b.duckdb", "ümlaut 😀.duckdb", "w.db", "no_suffix", "a;b.duckdb"])
def test_a_file_of_any_name(tmp_path, name: str) -> None:
    warehouse = Warehouse(str(tmp_path / name), "customerio", scratch=tmp_path / "staging")

    put(warehouse, "segments", [{"id": 1}])

    assert (tmp_path / name).stat().st_size > 0
    assert warehouse.label == str(tmp_path / name)


@pytest.mark.parametrize("name", ["nobody", "table", "con", "duckdb", "x.csv"])
def test_to_look_for_columns_does_not_end_a_transaction(warehouse: Warehouse, name: str) -> None:
    """Also where Python has a variable of that name, or the name is that of a file: DuckDB would look there."""
    with warehouse.transaction() as con:
        assert warehouse.columns(con, name) == {}
        con.execute('CREATE TABLE "table" (id VARCHAR, "Number" BIGINT)')
        assert warehouse.columns(con, "TABLE") == {"id": "VARCHAR", "Number": "BIGINT"}


def test_nor_does_a_view_of_what_is_gone(duck: Warehouse, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("id\n1\n")
    with duck.transaction() as con:
        con.execute(f"CREATE VIEW of_a_file AS SELECT * FROM read_csv('{rows}')")
    rows.unlink()
    with duck.transaction() as con:
        assert duck.columns(con, "of_a_file") == {"id": "BIGINT"}
        con.execute("CREATE TABLE another (id VARCHAR)")
    assert duck.query("SELECT count(*) FROM another") == [(0,)]
