"""Assets of users' own beside the catalog's: what they return becomes a table, what they ask for arrives."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest

from cio_assets.catalog import TABLES
from cio_assets.io_managers import StoredTable, ViewOver, WarehouseIOManager, WarehouseLoad
from cio_assets.warehouse import Warehouse, WarehouseError
from cio_assets.warehouse.frames import replace_table
from cio_assets.warehouse.load import Replace
from cio_assets_tests.warehouse.stage import MONDAY, TUESDAY, put, stage, unix


@pytest.fixture
def duck(tmp_path: Path) -> Warehouse:
    """An empty warehouse in a DuckDB file."""
    return Warehouse(str(tmp_path / "w.duckdb"), "customerio", scratch=tmp_path / "staging", busy_seconds=5)


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        yield


def _materialize(duck: Warehouse, *assets: Any, **options: Any) -> dg.ExecuteInProcessResult:
    with _quiet(), dg.DagsterInstance.ephemeral() as instance:
        manager = WarehouseIOManager(duck)
        return dg.materialize(list(assets), instance=instance, resources={"io_manager": manager}, **options)


def _metadata(result: dg.ExecuteInProcessResult, key: list[str]) -> dict[str, Any]:
    found = {}
    for event in result.get_asset_materialization_events():
        if event.asset_key == dg.AssetKey(key):
            found = {name: value.value for name, value in event.materialization.metadata.items()}
    return found


FRAME = pd.DataFrame({"email": ["ann@example.com", "bob@example.com"], "orders": [3, 5], "first": [True, None]})
ARROW = pa.table({"email": ["ann@example.com", "bob@example.com"], "orders": [3, 5], "tags": [["a"], []]})


@pytest.mark.parametrize("rows", [FRAME, ARROW], ids=["pandas", "arrow"])
def test_a_frame_becomes_a_table_of_the_asset_s_name(duck: Warehouse, rows: Any) -> None:
    @dg.asset(key=["reverse_etl", "persons"])
    def persons() -> Any:
        return rows

    result = _materialize(duck, persons)

    assert duck.query("SELECT email, orders FROM reverse_etl.persons ORDER BY email") == [
        ("ann@example.com", 3),
        ("bob@example.com", 5),
    ]
    assert _metadata(result, ["reverse_etl", "persons"])["dagster/row_count"] == 2


def test_a_chain_of_assets(duck: Warehouse) -> None:
    seen: dict[str, Any] = {}

    @dg.asset(key=["mart", "orders"])
    def orders() -> pd.DataFrame:
        return FRAME

    @dg.asset(key=["mart", "big"], ins={"orders": dg.AssetIn(key=["mart", "orders"])})
    def big(orders: pd.DataFrame) -> pa.Table:
        seen["big"] = type(orders)
        return pa.Table.from_pandas(orders[orders["orders"] > 3], preserve_index=False)

    @dg.asset(ins={"rows": dg.AssetIn(key=["mart", "big"], metadata={"columns": ["email"]})})
    def report(rows: pa.Table) -> pd.DataFrame:
        seen["report"] = rows
        return rows.to_pandas()

    assert _materialize(duck, orders, big, report).success

    assert seen["big"] is pd.DataFrame
    assert isinstance(seen["report"], pa.Table)
    assert seen["report"].to_pydict() == {"email": ["bob@example.com"]}
    assert duck.query("SELECT * FROM public.report") == [("bob@example.com",)]


def test_an_input_that_is_read_when_it_is_wanted(duck: Warehouse) -> None:
    seen: list[Any] = []

    @dg.asset(key=["mart", "orders"])
    def orders() -> pd.DataFrame:
        return FRAME

    @dg.asset(ins={"rows": dg.AssetIn(key=["mart", "orders"], metadata={"columns": ["email"]})})
    def report(rows: StoredTable) -> pa.Table:
        with duck.transaction() as con:
            con.execute("DELETE FROM mart.orders WHERE orders = 3")
            seen.append(rows.read().to_pydict())
        return pa.table({"read": [True]})

    assert _materialize(duck, orders, report).success
    assert seen == [{"email": ["bob@example.com"]}]

    duck.query("DROP TABLE mart.orders")
    with pytest.raises(WarehouseError, match="materialize the asset orders first"):
        StoredTable(duck, "orders", schema="mart").read()


def test_it_is_read_within_an_opening_by_another_warehouse_object(duck: Warehouse, tmp_path: Path) -> None:
    replace_table(duck, "mart", "orders", FRAME)
    same = Warehouse(duck.uri, duck.schema, scratch=tmp_path / "staging")
    with same.transaction() as con:
        con.execute("DELETE FROM mart.orders WHERE orders = 3")
        assert StoredTable(duck, "orders", ["email"], schema="mart").read().to_pydict() == {
            "email": ["bob@example.com"]
        }


def test_a_table_is_replaced_not_added_to(duck: Warehouse) -> None:
    for rows in (FRAME, FRAME.head(1), FRAME.rename(columns={"orders": "purchases"}), FRAME.head(0)):

        @dg.asset(key=["mart", "orders"])
        def orders(rows: pd.DataFrame = rows) -> pd.DataFrame:
            return rows

        _materialize(duck, _of(rows))
        stored = duck.read("orders", schema="mart")
        assert stored.num_rows == len(rows)
        assert stored.column_names == list(rows.columns)


def _of(rows: Any) -> dg.AssetsDefinition:
    @dg.asset(key=["mart", "orders"])
    def orders() -> Any:
        return rows

    return orders


def test_the_index_of_a_frame_is_not_a_column(duck: Warehouse) -> None:
    _materialize(duck, _of(FRAME.set_index(pd.Index([10, 20]))))

    assert duck.read("orders", schema="mart").column_names == ["email", "orders", "first"]


def test_times_keep_their_instant(duck: Warehouse) -> None:
    berlin = pd.Timestamp("2026-07-01 12:00", tz="Europe/Berlin")

    _materialize(duck, _of(pd.DataFrame({"at": [berlin]})))

    assert duck.query('SELECT epoch("at")::BIGINT FROM mart.orders') == [(unix("2026-07-01T10:00"),)]


@pytest.mark.parametrize("wrong", [None, [{"a": 1}], {"a": [1]}, "text", 5])
def test_another_type_fails_and_says_what_is_taken(duck: Warehouse, wrong: Any) -> None:
    with pytest.raises(dg.Failure, match=r"mart/orders returned .*: the warehouse takes a pandas DataFrame") as caught:
        _materialize(duck, _of(wrong))

    assert type(wrong).__name__ in str(caught.value)


def test_a_frame_that_cannot_be_stored_leaves_the_old_table_and_tells_no_value(duck: Warehouse) -> None:
    _materialize(duck, _of(FRAME))
    mixed = pd.DataFrame({"orders": pd.Series([1, "ann.secret@example.com", None], dtype=object)})

    with pytest.raises(Exception) as caught:  # whichever: what it says is the point
        _materialize(duck, _of(mixed))

    assert duck.read("orders", schema="mart").num_rows == 2
    assert "ann.secret" not in f"{caught.value!r} {caught.value.__cause__!r}"


@pytest.mark.parametrize(
    "frame",
    [pa.table([[1], [2]], names=["a", "a"]), pd.DataFrame([[1, 2]], columns=["a", "a"])],
    ids=["arrow", "pandas"],
)
def test_duplicate_columns_leave_the_old_table(duck: Warehouse, frame: Any) -> None:
    _materialize(duck, _of(FRAME))

    with pytest.raises(WarehouseError, match=r"orders could not be written, it is as it was: .* a name of its own"):
        _materialize(duck, _of(frame))

    assert duck.read("orders", schema="mart").num_rows == 2


# what assets of the catalog return -----------------------------------------------------------------------------------


def _load_of(duck: Warehouse, table: str, rows: list[dict], replace: Replace | None = None, **options: Any):
    @dg.asset(key=["customerio", table], **options)
    def read() -> WarehouseLoad:
        return WarehouseLoad(TABLES[table], stage(duck.scratch, rows), TUESDAY, replace)

    return read


def test_rows_are_counted_in_the_metadata(duck: Warehouse) -> None:
    _materialize(duck, _load_of(duck, "segments", [{"id": 1}, {"id": 2}, {"id": 3, "_extra": {"new": 1}}]))

    result = _materialize(duck, _load_of(duck, "segments", [{"id": 1}, {"id": 4, "_extra": {"new": 1}}]))

    told = _metadata(result, ["customerio", "segments"])
    assert told["dagster/row_count"] == 2
    assert told["rows_in_slice"] == 2
    assert told["rows_marked_deleted"] == 2
    assert told["rows_with_unknown_fields"] == 1


def test_staged_files_are_gone_after_the_load(duck: Warehouse) -> None:
    _materialize(duck, _load_of(duck, "segments", [{"id": 1}]))

    assert [path for path in duck.scratch.rglob("*") if path.is_file()] == []


def test_staged_files_are_gone_after_a_failed_load(duck: Warehouse) -> None:
    with pytest.raises(Exception, match=r"customerio\.segments"):
        _materialize(duck, _load_of(duck, "segments", [{"id": "no number"}]))

    assert [path for path in duck.scratch.rglob("*") if path.is_file()] == []


JANUARY = dg.DailyPartitionsDefinition("2026-01-01", end_offset=0)


def test_a_partition_tells_its_rows_and_the_table_s(duck: Warehouse) -> None:
    first = datetime(2026, 1, 1, tzinfo=UTC)
    put(duck, "messages", [{"id": "other", "created": unix("2026-01-09")}], replace=Replace(first, first, first))
    window = Replace(first, datetime(2026, 1, 2, tzinfo=UTC), first)
    rows = [{"id": "a", "created": unix("2026-01-01")}, {"id": "b", "created": unix("2026-01-01T23:59:59")}]

    result = _materialize(
        duck, _load_of(duck, "messages", rows, window, partitions_def=JANUARY), partition_key="2026-01-01"
    )

    told = _metadata(result, ["customerio", "messages"])
    assert (told["dagster/row_count"], told["dagster/partition_row_count"]) == (3, 2)
    assert "rows_marked_deleted" not in told


def test_a_view_counts_its_rows(duck: Warehouse) -> None:
    first = datetime(2026, 1, 1, tzinfo=UTC)
    put(duck, "messages", [{"id": "a", "newsletter_id": 1}, {"id": "b"}], replace=Replace(first, first, first))

    @dg.asset(key=["customerio", "newsletter_messages"])
    def view() -> ViewOver:
        return ViewOver(TABLES["newsletter_messages"], TABLES["messages"])

    result = _materialize(duck, view)

    assert _metadata(result, ["customerio", "newsletter_messages"])["dagster/row_count"] == 1


# what downstream assets get ------------------------------------------------------------------------------------------


SEGMENTS = dg.AssetSpec(["customerio", "segments"])


def _reader(table: str, seen: list[Any], kind: Any, columns: list[str] | None = None, **options: Any):
    metadata = {"columns": columns} if columns else None

    def read(rows: Any) -> None:
        seen.append(rows)

    read.__annotations__["rows"] = kind
    return dg.asset(
        key=["mart", "reader"], ins={"rows": dg.AssetIn(key=["customerio", table], metadata=metadata)}, **options
    )(read)


@pytest.mark.parametrize(("kind", "expected"), [(pd.DataFrame, pd.DataFrame), (pa.Table, pa.Table), (Any, pa.Table)])
def test_an_input_arrives_as_it_is_annotated(duck: Warehouse, kind: Any, expected: type) -> None:
    put(duck, "segments", [{"id": 1, "name": "one"}])
    seen: list[Any] = []

    _materialize(duck, _reader("segments", seen, kind), SEGMENTS)

    assert isinstance(seen[0], expected)
    assert len(seen[0]) == 1


def test_only_the_asked_columns_arrive(duck: Warehouse) -> None:
    put(duck, "segments", [{"id": 1, "name": "one"}])
    seen: list[Any] = []

    _materialize(duck, _reader("segments", seen, pd.DataFrame, ["name", "id"]), SEGMENTS)

    assert list(seen[0].columns) == ["name", "id"]


@pytest.mark.parametrize("columns", [None, ["id"]])
def test_rows_marked_as_deleted_are_left_out(duck: Warehouse, columns: list[str] | None) -> None:
    put(duck, "segments", [{"id": 1}, {"id": 2}])
    put(duck, "segments", [{"id": 2}], at=TUESDAY)
    seen: list[Any] = []

    _materialize(duck, _reader("segments", seen, pa.Table, columns), SEGMENTS)

    assert seen[0]["id"].to_pylist() == [2]


def test_a_table_that_is_not_there_is_named(duck: Warehouse) -> None:
    with pytest.raises(Exception, match="materialize the asset segments first"):
        _materialize(duck, _reader("segments", [], pa.Table), SEGMENTS)


@pytest.fixture
def deliveries(duck: Warehouse) -> Warehouse:
    """Deliveries of three days."""
    times = ["2026-01-01T23:59:59", "2026-01-02T00:00:00", "2026-01-02T23:59:59", "2026-01-03T00:00:00"]
    span = Replace(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 4, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))
    put(duck, "messages", [{"id": time, "created": unix(time)} for time in times], replace=span)
    return duck


def _messages() -> dg.AssetsDefinition:
    @dg.asset(key=["customerio", "messages"], partitions_def=JANUARY)
    def messages() -> None: ...

    return messages


def test_a_partition_reads_its_own_day(deliveries: Warehouse) -> None:
    seen: list[Any] = []
    reader = _reader("messages", seen, pd.DataFrame, ["id"], partitions_def=JANUARY)

    _materialize(deliveries, reader, _messages(), selection=[reader], partition_key="2026-01-02")

    assert sorted(seen[0]["id"]) == ["2026-01-02T00:00:00", "2026-01-02T23:59:59"]


def test_a_range_of_partitions_is_read_at_once(deliveries: Warehouse) -> None:
    seen: list[Any] = []
    with _quiet():
        reader = _reader(
            "messages",
            seen,
            pa.Table,
            ["id"],
            partitions_def=JANUARY,
            backfill_policy=dg.BackfillPolicy.single_run(),
        )
    days = {"dagster/asset_partition_range_start": "2026-01-01", "dagster/asset_partition_range_end": "2026-01-02"}

    _materialize(deliveries, reader, _messages(), selection=[reader], tags=days)

    assert len(seen) == 1
    assert sorted(seen[0]["id"].to_pylist()) == ["2026-01-01T23:59:59", "2026-01-02T00:00:00", "2026-01-02T23:59:59"]


def test_without_partitions_of_its_own_a_reader_gets_every_day(deliveries: Warehouse) -> None:
    seen: list[Any] = []

    reader = _reader("messages", seen, pa.Table, ["id"])
    _materialize(deliveries, reader, _messages(), selection=[reader])

    assert seen[0].num_rows == 4


def test_a_partitioned_table_of_the_user_s_own_may_be_called_messages(duck: Warehouse) -> None:
    seen: list[Any] = []

    replace_table(duck, "mart", "messages", pa.table({"day": ["2026-01-02"]}))
    messages = dg.AssetSpec(key=["mart", "messages"], partitions_def=JANUARY)

    @dg.asset(key=["mart", "reader"], partitions_def=JANUARY, ins={"rows": dg.AssetIn(key=["mart", "messages"])})
    def reader(rows: pa.Table) -> None:
        seen.append(rows.to_pydict())

    assert _materialize(duck, messages, reader, partition_key="2026-01-02").success
    assert seen == [{"day": ["2026-01-02"]}]


def test_one_partition_of_a_user_s_asset_does_not_silently_drop_another(duck: Warehouse) -> None:
    @dg.asset(key=["mart", "daily"], partitions_def=JANUARY)
    def daily(context) -> pa.Table:
        return pa.table({"day": [context.partition_key]})

    replace_table(duck, "mart", "daily", pa.table({"day": ["2026-01-01"]}))
    with pytest.raises(dg.Failure, match="partitioned"):
        _materialize(duck, daily, partition_key="2026-01-02")

    assert duck.read("daily", schema="mart")["day"].to_pylist() == ["2026-01-01"]


def test_rows_tell_when_their_reading_began(duck: Warehouse) -> None:
    _materialize(duck, _load_of(duck, "segments", [{"id": 1}]))

    assert duck.query("SELECT _synced_at FROM segments") == [(TUESDAY,)]
    assert TUESDAY != MONDAY


def test_an_asset_without_a_prefix_does_not_replace_a_synced_table(duck: Warehouse) -> None:
    put(duck, "campaigns", [{"id": 1, "name": "synced"}])

    @dg.asset
    def campaigns() -> pa.Table:
        return pa.table({"mine": [1]})

    assert _materialize(duck, campaigns).success
    assert duck.query("SELECT name FROM customerio.campaigns") == [("synced",)]
    assert duck.query("SELECT mine FROM public.campaigns") == [(1,)]

    @dg.asset(key=["customerio", "segments"])
    def segments() -> pa.Table:
        return pa.table({"mine": [1]})

    with pytest.raises(dg.Failure, match="would replace the synced table"):
        _materialize(duck, segments)
