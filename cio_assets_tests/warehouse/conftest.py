"""Warehouses of each kind that this machine has."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cio_assets.warehouse import Warehouse
from cio_assets_tests.warehouse.stage import NOBODY

PASSWORD = "s3cr3t-of-the-test"


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """A Postgres server of this session's own, on a free port of 127.0.0.1."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = shutil.which("initdb") or (str(found[-1]) if found else None)
    if initdb is None:
        pytest.skip("no Postgres server on this machine (initdb)")
    folder = Path(tempfile.mkdtemp(prefix="cio-pg-"))
    user: dict = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
    pgdata, control = folder / "data", str(Path(initdb).with_name("pg_ctl"))
    secret = folder / "password"
    secret.write_text(PASSWORD)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    if user:
        for path in (folder, secret):
            os.chown(path, NOBODY, NOBODY)
    quiet: dict = {**user, "cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(
        [initdb, "-D", pgdata, "-U", "cio", "-A", "scram-sha-256", "--pwfile", secret, "-E", "UTF8", "--no-sync"],
        check=True,
        **quiet,
    )
    log = str(folder / "log")
    subprocess.run([control, "-D", pgdata, "-w", "-l", log, "-o", options, "start"], check=True, **quiet)
    try:
        yield f"host=127.0.0.1 port={port} user=cio password={PASSWORD} dbname=postgres"
    finally:
        subprocess.run([control, "-D", pgdata, "-m", "immediate", "stop"], check=False, **quiet)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["duckdb", "ducklake", "postgres"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Warehouse:
    """An empty warehouse of each kind."""
    schema = "customerio"
    if request.param == "postgres":
        uri = "postgres:" + request.getfixturevalue("postgres_dsn")
        schema = f"test_{secrets.token_hex(6)}"  # one server serves all tests
    elif request.param == "ducklake":
        pytest.importorskip("duckdb_extensions")
        uri = f"ducklake:{tmp_path / 'lake.ducklake'}"
    else:
        uri = str(tmp_path / "w.duckdb")
    return Warehouse(uri, schema, scratch=tmp_path / "staging", busy_seconds=5)


@pytest.fixture
def duck(tmp_path: Path) -> Warehouse:
    """An empty warehouse in a DuckDB file."""
    return Warehouse(str(tmp_path / "w.duckdb"), "customerio", scratch=tmp_path / "staging", busy_seconds=5)
