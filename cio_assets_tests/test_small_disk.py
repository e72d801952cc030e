"""A disk without room while rows are staged or loaded: the table stays as it was. (Whole syncs: `make soak`.)"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from cio_assets_tests.conftest import PROJECT
from cio_assets_tests.small_disk import small_disk

LOADS = """
import random
import shutil
import sys
from pathlib import Path
from cio_assets.catalog import TABLES
from cio_assets.warehouse import Staging, Warehouse, WarehouseError, load
from cio_assets_tests.warehouse.stage import MONDAY, TUESDAY, put

staging, file, disk = map(Path, sys.argv[1:])
warehouse = Warehouse(str(file), "customerio", scratch=staging)
filler = disk / "filler"

def people(name):
    for page in range(40):
        yield [{"cio_id": f"{page}-{n}", "attributes": {"name": name, "bulk": random.randbytes(300).hex()}}
               for n in range(100)]

def table():
    return warehouse.query("SELECT count(*), count(DISTINCT attributes), min(attributes->>'name') "
                           "FROM customer_attributes WHERE _deleted_at IS NULL")

put(warehouse, "customer_attributes", *people("old"), at=MONDAY)
before = table()
filler.write_bytes(bytes(shutil.disk_usage(disk).free - 800_000))
try:
    with Staging(staging, "customer_attributes", "same inputs", began=TUESDAY) as rows:
        for page in people("new"):
            chain = rows.chain(page[0]["cio_id"])
            rows.page(chain, page)
        staged = rows.finish()
    try:
        load(warehouse, TABLES["customer_attributes"], staged, TUESDAY)
    except WarehouseError:
        staged.keep()
        raise
    print("there was room")
except WarehouseError as error:
    print("failed:", error)
print("as before:", table() == before)
filler.unlink()
with Staging(staging, "customer_attributes", "same inputs", began=TUESDAY) as rows:
    print("pages kept:", rows.resumed_pages)
    for page in people("new"):
        chain = rows.chain(page[0]["cio_id"])
        if not chain.finished:
            rows.page(chain, page)
    staged = rows.finish()
load(warehouse, TABLES["customer_attributes"], staged, TUESDAY)
print("now:", *table()[0])
"""


@pytest.mark.parametrize("what", ["staging", "warehouse"])
def test_what_was_there_stays_and_the_next_goes_on(tmp_path: Path, what: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with small_disk(tmp_path / "disk", "16m") as disk:
        folders = {"staging": elsewhere, "warehouse": elsewhere} | {what: disk.path}
        arguments = [str(folders["staging"] / "staging"), str(folders["warehouse"] / "w.duckdb"), str(disk.path)]
        done = disk.run([sys.executable, "-c", LOADS, *arguments], os.environ, PROJECT)
    assert done.code == 0, done.err
    failed, as_before, pages, now = done.out.splitlines()
    assert failed.startswith("failed: ")
    assert "room" in failed
    assert as_before == "as before: True"
    assert (pages == "pages kept: 40") == (what == "warehouse")
    assert int(pages.rpartition(" ")[2]) > 5
    assert now == "now: 4000 4000 new"
