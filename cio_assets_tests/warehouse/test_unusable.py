"""A warehouse that cannot be used says which it is and what to do, without credentials."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from cio_assets.warehouse import Warehouse, WarehouseError
from cio_assets_tests.warehouse.conftest import PASSWORD
from cio_assets_tests.warehouse.stage import clean, put, python

HOLD = """
import duckdb, sys
with duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "read-only") as con:
    print("held", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def _held(path: str, how: str = "writing") -> Iterator[subprocess.Popen[str]]:
    """Another program has the file open, until its stdin gets a line."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean()
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield holder
        finally:
            if holder.poll() is None:
                holder.kill()


@pytest.mark.parametrize("how", ["writing", "read-only"])
def test_a_file_that_another_program_holds(duck: Warehouse, how: str) -> None:
    put(duck, "segments", [{"id": 1}])
    impatient = Warehouse(duck.uri, duck.schema, scratch=duck.scratch, busy_seconds=0.6)

    with _held(duck.uri, how) as holder:
        began = time.monotonic()
        with pytest.raises(WarehouseError, match="close it there") as caught:
            put(impatient, "segments", [{"id": 2}])
        waited = time.monotonic() - began

    assert duck.uri in str(caught.value)
    assert f"(PID {holder.pid})" in str(caught.value)
    assert 0.5 < waited < 10
    assert duck.query("SELECT id FROM segments") == [(1,)]


def test_a_file_that_is_let_go_in_time(duck: Warehouse) -> None:
    put(duck, "segments", [{"id": 1}])

    with _held(duck.uri) as holder:
        assert holder.stdin is not None
        subprocess.Popen(["sleep", "0.5"], stdout=subprocess.DEVNULL).wait(5)
        holder.stdin.write("\n")  # it closes the file while the load is waiting
        holder.stdin.flush()
        put(duck, "segments", [{"id": 2}])

    assert duck.query("SELECT id FROM segments WHERE _deleted_at IS NULL") == [(2,)]


@pytest.mark.parametrize("content", [b"not a database\n" * 1000, b"x", b"\0" * 8192, b"PK\x03\x04" + b"z" * 5000])
def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)

    with pytest.raises(WarehouseError, match=r"^CIO_WAREHOUSE: .*notes\.txt cannot be opened as a DuckDB database"):
        put(Warehouse(str(path), "customerio", scratch=tmp_path / "staging", busy_seconds=1), "segments", [{"id": 1}])

    assert path.read_bytes() == content


def test_a_damaged_database_is_a_warehouse_error(duck: Warehouse) -> None:
    put(duck, "segments", [{"id": n, "name": f"{n}"} for n in range(5000)])
    path = Path(duck.uri)
    path.write_bytes(path.read_bytes()[:10_000])

    with pytest.raises(WarehouseError, match="CIO_WAREHOUSE"):
        put(duck, "segments", [{"id": 1}])


def test_a_folder_that_is_missing_is_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deeper" / "w.duckdb"

    put(Warehouse(str(path), "customerio", scratch=tmp_path / "staging"), "segments", [{"id": 1}])

    with duckdb.connect(str(path), read_only=True) as con:
        assert con.execute("SELECT id FROM customerio.segments").fetchall() == [(1,)]


ORDINARY = """
    import sys
    from pathlib import Path
    from cio_assets.warehouse import Warehouse, WarehouseError
    # as an ordinary user
    try:
        Warehouse(sys.argv[1], "customerio", scratch=Path(sys.argv[2]), busy_seconds=1).query("SELECT 1")
    except WarehouseError as error:
        print(error)
"""


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """A folder that every user may reach and write."""
    for parent in (*tmp_path.parents, tmp_path):
        if parent.owner() == Path("/proc/self").owner() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


@pytest.mark.parametrize("below", ["w.duckdb", "sub/w.duckdb", "there.duckdb"])
def test_a_folder_that_cannot_be_written(open_folder: Path, below: str) -> None:
    folder = open_folder / "read-only"
    folder.mkdir()
    (folder / "there.duckdb").write_bytes(b"")
    folder.chmod(0o555)

    done = python(ORDINARY, str(folder / below), str(open_folder / "staging"), ordinary_user=True)

    assert "Traceback" not in done.stderr, done.stderr[-300:]
    assert done.stdout.startswith("CIO_WAREHOUSE: ")
    assert str(folder) in done.stdout


def test_a_file_that_cannot_be_written(open_folder: Path) -> None:
    path = open_folder / "w.duckdb"
    duckdb.connect(str(path)).close()
    path.chmod(0o444)

    done = python(ORDINARY, str(path), str(open_folder / "staging"), ordinary_user=True)

    assert "Traceback" not in done.stderr, done.stderr[-300:]
    assert done.stdout.startswith("CIO_WAREHOUSE: ")


def test_a_dagster_home_that_cannot_be_written(open_folder: Path) -> None:
    home = open_folder / "home"
    home.mkdir()
    home.chmod(0o555)

    done = python(ORDINARY, str(open_folder / "w.duckdb"), str(home / "staging"), ordinary_user=True)

    assert "Traceback" not in done.stderr, done.stderr[-300:]
    assert str(home) in done.stdout


def test_a_table_that_was_never_loaded_is_asked_for_by_name(warehouse: Warehouse) -> None:
    with pytest.raises(WarehouseError, match="materialize the asset campaigns first") as caught:
        warehouse.read("campaigns")

    assert f"{warehouse.schema}.campaigns" in str(caught.value)


SECRETIVE = [
    "postgres:host=127.0.0.1 port=1 user=ann password=s3cr3t dbname=dwh connect_timeout=2",
    "postgres://ann:s3cr3t@127.0.0.1:1/dwh",
    "postgresql://ann:s3cr3t@127.0.0.1:1/dwh",
    "POSTGRES://ann:s3cr3t@127.0.0.1:1/dwh",
    "ducklake:postgres:host=127.0.0.1 port=1 user=ann password=s3cr3t",
]


@pytest.mark.parametrize("uri", SECRETIVE)
def test_a_server_that_cannot_be_reached(tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(WarehouseError) as caught:
        Warehouse(uri, "customerio", scratch=tmp_path / "staging", busy_seconds=1).query("SELECT 1")

    error = caught.value
    assert "CIO_WAREHOUSE" in str(error)
    assert "s3cr3t" not in f"{error!r} {error.__cause__!r}"
    assert error.__suppress_context__
    assert "s3cr3t" not in str(list(tmp_path.rglob("*")))  # nor in the name of a lock file


def test_a_wrong_password_is_not_told(tmp_path: Path, postgres_dsn: str) -> None:
    uri = "postgres:" + postgres_dsn.replace(PASSWORD, "wr0ng-s3cr3t")

    with pytest.raises(WarehouseError, match="check host, database, user and password") as caught:
        Warehouse(uri, "customerio", scratch=tmp_path, busy_seconds=1).query("SELECT 1")

    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    "form", ["postgres:{}", "postgres://cio:{password}@{host}/postgres", "postgresql://cio:{password}@{host}/postgres"]
)
def test_every_way_to_write_a_postgres_uri(tmp_path: Path, postgres_dsn: str, form: str) -> None:
    port = dict(pair.split("=") for pair in postgres_dsn.split())["port"]
    uri = form.format(postgres_dsn, password=PASSWORD, host=f"127.0.0.1:{port}")
    warehouse = Warehouse(uri, "customerio", scratch=tmp_path, busy_seconds=1)

    assert warehouse.query("SELECT 1") == [(1,)]
    assert PASSWORD not in warehouse.label


def _catalog(postgres_dsn: str, name: str) -> str:
    """A database of its own for the lake's catalog."""
    with duckdb.connect() as con:
        extensions = pytest.importorskip("duckdb_extensions")
        for extension in ("ducklake", "postgres_scanner"):
            extensions.import_extension(extension, con=con)
            con.execute(f"LOAD {extension}")
        con.execute(f"ATTACH '{postgres_dsn}' AS server (TYPE postgres)")
        con.execute(f"CALL postgres_execute('server', 'CREATE DATABASE {name}', use_transaction = false)")
    return postgres_dsn.replace("dbname=postgres", f"dbname={name}")


def test_a_lake_on_a_postgres_catalog(tmp_path: Path, postgres_dsn: str) -> None:
    catalog = _catalog(postgres_dsn, "lake")
    with duckdb.connect() as con:
        extensions = pytest.importorskip("duckdb_extensions")
        for extension in ("ducklake", "postgres_scanner"):
            extensions.import_extension(extension, con=con)
        con.execute(f"ATTACH 'ducklake:postgres:{catalog}' AS lake (DATA_PATH '{tmp_path / 'data'}/')")
    warehouse = Warehouse(f"ducklake:postgres:{catalog}", "customerio", scratch=tmp_path / "staging", busy_seconds=1)

    put(warehouse, "segments", [{"id": n, "name": "one"} for n in range(500)])
    put(warehouse, "segments", [{"id": 2, "name": "two"}])

    assert warehouse.read("segments", ["name"]).to_pylist() == [{"name": "two"}]
    assert list((tmp_path / "data").rglob("*.parquet"))


def test_a_lake_that_does_not_know_where_its_files_go_says_so(tmp_path: Path, postgres_dsn: str) -> None:
    catalog = _catalog(postgres_dsn, "no_lake_yet")
    warehouse = Warehouse(f"ducklake:postgres:{catalog}", "customerio", scratch=tmp_path / "staging", busy_seconds=1)

    with pytest.raises(WarehouseError, match=r"DATA_PATH") as caught:
        put(warehouse, "segments", [{"id": 1}])

    assert PASSWORD not in str(caught.value)
