"""People from an export: asked once, waited for, downloaded whole, and never with our key or a trace of the link."""

from __future__ import annotations

import json
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cio_assets.assets import people_export
from cio_assets.assets.people_export import ExportFailed
from cio_assets.customerio import CredentialsRefused
from cio_assets_tests import forked
from cio_assets_tests.assets.people_workspace import Reader, Workspace
from cio_assets_tests.conftest import PROJECT, environment
from cio_assets_tests.customerio.http_server import Asked, Say
from cio_assets_tests.truth import live, stored

CREATE, EXPORT, LINK, FILE = "/v1/exports/customers", "/v1/exports/7", "/v1/exports/7/download", "/files/7.csv"
SECRET = "sig=verysecretsignature"


class Exporting(Workspace):
    """A workspace that exports whom it has, as the CSV `text`, under the numbers from 7 on."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.status = "done"
        self.total: int | None = None
        self.sent: list[Asked] = []
        self.created = 6
        decide = self.server.decide

        def keep(asked: Asked) -> Say:
            self.sent.append(asked)
            return decide(asked)

        self.server.decide = keep

    def write(self, header: str, *rows: str) -> None:
        self.text = "\r\n".join((header, *rows, ""))
        self.total = len(rows)

    def _answer(self, path: str, query: Mapping[str, str], body: Mapping[str, Any]) -> Say:
        export = {"id": self.created, "status": self.status, "total": self.total, "failed": self.status == "failed"}
        if path == CREATE:
            self.created += 1
            return Say(body={"export": export | {"id": self.created, "status": "pending", "total": 0}})
        if path == f"/v1/exports/{self.created}":
            return Say(body={"export": export})
        if path == f"/v1/exports/{self.created}/download":
            return Say(body={"url": f"{self.url}/files/{self.created}.csv?{SECRET}"})
        if path.startswith("/files/"):
            return Say(body=self.text.encode())
        return super()._answer(path, query, body)


@pytest.fixture
def service() -> Iterator[Exporting]:
    """Three people, one of them with devices."""
    workspace = Exporting()
    workspace.write(
        "cio_id,id,email,plan,note",
        "a1,u1,a1@example.com,pro,",
        'a2,,,free,"two\r\nlines, ""quoted"""',
        "a3,u3,,,",
    )
    yield workspace
    workspace.server.close()


@pytest.fixture
def reader(service: Exporting, home: Path) -> Reader:
    return Reader(home, service.url, people="export")


def attributes(reader: Reader) -> dict[str, Any]:
    return {row["cio_id"]: row["attributes"] for row in live(stored(reader.path, "customer_attributes"))}


def test_one_export_serves_both_tables(service: Exporting, reader: Reader) -> None:
    people, second = reader.both()
    assert (people["people_mode"], second["people_mode"]) == ("export", "export")
    assert {(row["cio_id"], row["id"], row["email"]) for row in stored(reader.path, "customers")} == {
        ("a1", "u1", "a1@example.com"),
        ("a2", None, None),
        ("a3", "u3", None),
    }
    assert attributes(reader) == {
        "a1": {"cio_id": "a1", "id": "u1", "email": "a1@example.com", "plan": "pro"},
        "a2": {"cio_id": "a2", "plan": "free", "note": 'two\r\nlines, "quoted"'},
        "a3": {"cio_id": "a3", "id": "u3"},
    }
    assert service.requests() == {CREATE: 1, EXPORT: 2, LINK: 2, FILE: 2}
    (create,) = (asked for asked in service.sent if asked.method == "POST")
    assert json.loads(create.body) == {"filters": {"and": [{"attribute": {"field": "cio_id", "operator": "exists"}}]}}


def test_the_link_is_fetched_without_our_key(service: Exporting, reader: Reader) -> None:
    reader.read("customers")
    (file,) = (asked for asked in service.sent if asked.target.startswith(FILE))
    assert "authorization" not in {name.lower() for name in file.headers}
    assert file.target == f"{FILE}?{SECRET}"


def test_whoever_is_not_in_the_export_is_marked(service: Exporting, reader: Reader) -> None:
    reader.both()
    reader.later(days=1)
    service.write("cio_id,id,email,plan", "a1,u1,a1@example.com,team")
    reader.both()
    for table in ("customers", "customer_attributes"):
        assert {row["cio_id"] for row in stored(reader.path, table) if row["_deleted_at"]} == {"a2", "a3"}
    assert attributes(reader)["a1"]["plan"] == "team"
    assert service.requests()[CREATE] == 2, "each sync makes one"


def test_what_an_export_does_not_tell_stays(service: Exporting, home: Path) -> None:
    service.people = {}
    service.person("a1", plan="old")
    reader = Reader(home, service.url, people="full")
    reader.both()
    with reader.warehouse.transaction() as con:
        con.execute("""UPDATE wh.customerio.customer_attributes
                       SET devices = '[{"id":"t"}]', timestamps = '{"plan":5}', unsubscribed = true""")
    exporting = Reader(home, service.url, people="export", now=reader.now + timedelta(days=1))
    exporting.both()
    (row,) = stored(reader.path, "customer_attributes", "cio_id = 'a1'")
    assert (row["attributes"]["plan"], row["devices"], row["timestamps"]) == ("pro", [{"id": "t"}], {"plan": 5})
    assert row["unsubscribed"] is True
    exporting.later(days=1)
    service.write("CIO_ID,Unsubscribed,unsubscribed", "a1,x,false")
    with pytest.raises(ExportFailed, match="holds no attribute"):
        exporting.both()
    service.write("CIO_ID,unsubscribed,plan", "a1,false,pro")
    exporting.later(days=1)
    exporting.both()
    assert [row["unsubscribed"] for row in stored(reader.path, "customer_attributes", "cio_id = 'a1'")] == [False]


def test_the_attributes_alone_make_an_export_of_their_own(service: Exporting, reader: Reader) -> None:
    reader.both()
    reader.later(days=1)
    service.requests()
    reader.read("customer_attributes")
    assert service.requests() == {CREATE: 1, "/v1/exports/8": 1, "/v1/exports/8/download": 1, "/files/8.csv": 1}


def test_an_export_that_is_no_longer_there_is_made_anew(service: Exporting, reader: Reader) -> None:
    reader.read("customers")
    service.created += 1  # 7 is answered 404 from now on
    service.requests()
    reader.read("customer_attributes")
    assert service.requests()[CREATE] == 1
    assert len(attributes(reader)) == 3


def test_pauses_grow_and_the_waiting_ends(service: Exporting, reader: Reader) -> None:
    service.status = "pending"
    with pytest.raises(ExportFailed, match="export 7 is still 'pending' after 60 minutes"):
        reader.read("customers")
    assert reader.pauses[:7] == [1, 2, 4, 8, 16, 30, 30]
    assert sum(reader.pauses) < people_export.PATIENCE + 31
    service.status = "done"
    service.requests()
    reader.read("customers")
    assert service.requests() == {EXPORT: 1, LINK: 1, FILE: 1}, "it goes on with the same export"


def test_a_run_that_died_goes_on_with_the_same_export(service: Exporting, reader: Reader) -> None:
    refused = Say(401, {"errors": [{"detail": "unauthorized"}]})
    service.bend = lambda path, _, say: refused if path == LINK else say
    with pytest.raises(CredentialsRefused):
        reader.read("customers")
    service.bend = lambda _path, _query, say: say
    service.requests()
    reader.read("customers")
    assert service.requests() == {EXPORT: 1, LINK: 1, FILE: 1}


def test_a_failed_export_is_an_error_and_the_next_run_makes_another(service: Exporting, reader: Reader) -> None:
    service.status = "failed"
    with pytest.raises(ExportFailed, match="export 7 failed"):
        reader.read("customers")
    service.status = "done"
    service.requests()
    reader.read("customers")
    assert service.requests()[CREATE] == 1


def test_a_link_that_has_expired_is_asked_anew(service: Exporting, reader: Reader) -> None:
    expired = [Say(403, b"<Error>expired</Error>"), Say(500, b""), Say(fault="reset")]
    service.bend = lambda path, _, say: expired.pop() if path == FILE and expired else say
    reader.read("customers")
    assert service.requests() == {CREATE: 1, EXPORT: 1, LINK: 4, FILE: 4}
    assert len(stored(reader.path, "customers")) == 3


@pytest.mark.parametrize(
    "cut",
    [
        Say(body=b"cio_id,id,email,plan,note\r\na1,u1,a1@example.com,pro,\r\n"),
        Say(body=b"cio_id,id,email,plan,note\r\na1,u1,a1@example.com,pro,\r\na2,,,free,x\r\na3,u3"),
        Say(body=b'cio_id,id,email,plan,note\r\na1,u1,,,\r\na2,,,,\r\na3,u3,,free,"two\r\nlin'),
        Say(body=b"cio_id,id,email,plan,note\r\na1,u1,a1@example.com,pro,\r\na2,,,free,x\r\na3,u3,,,\xc3"),
        Say(body=b"cio_id,id,email,plan,note\r\na1,u1,,,\r\na2,,,,\r\na3,u3,,,\r\n", fault="truncated"),
        Say(body=b""),
    ],
)
def test_a_file_that_is_cut_short_is_fetched_again_and_never_loaded(
    service: Exporting, reader: Reader, cut: Say
) -> None:
    cuts = [cut] * 2
    service.bend = lambda path, _, say: cuts.pop() if path == FILE and cuts else say
    reader.both()
    assert service.requests()[FILE] == 4
    assert len(attributes(reader)) == 3

    reader.later(days=1)
    before = stored(reader.path, "customers")
    service.bend = lambda path, _, say: cut if path.startswith("/files/") else say
    with pytest.raises(ExportFailed, match="export 8 could not be downloaded whole in 5 attempts"):
        reader.read("customers")
    assert stored(reader.path, "customers") == before


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("id,email,plan", "u1,a@example.com,x"), "has no column cio_id"),
        (("cio_id,plan", ",secret-plan"), "a row without a cio_id"),
    ],
)
def test_a_file_without_cio_ids_is_an_error(
    service: Exporting, reader: Reader, rows: tuple[str, ...], message: str
) -> None:
    service.write(*rows)
    with pytest.raises(ExportFailed, match=message) as error:
        reader.read("customers")
    assert "secret-plan" not in str(error.value)


def test_nothing_tells_the_link(
    service: Exporting, reader: Reader, caplog: pytest.LogCaptureFixture, home: Path
) -> None:
    caplog.set_level(0)
    service.bend = lambda path, _, say: Say(403, b"expired") if path.startswith("/files/") else say
    with pytest.raises(ExportFailed) as error:
        reader.read("customers")
    service.bend = lambda path, _, say: Say(fault="reset") if path.startswith("/files/") else say
    with pytest.raises(ExportFailed) as other:
        reader.read("customers")
    service.bend = lambda path, _, say: Say(body={"url": "file:///verysecret" + "signature"}) if path == LINK else say
    with pytest.raises(ExportFailed, match="no link to the file") as third:
        reader.read("customers")
    told = ["".join(traceback.format_exception(one.value)) for one in (error, other, third)]
    assert all("export 7" in text for text in told)
    told += [caplog.text, *(path.read_text(errors="replace") for path in home.rglob("*") if path.is_file())]
    assert not [text for text in told if "verysecretsignature" in text]


def test_the_file_does_not_stay_on_disk(service: Exporting, reader: Reader, home: Path) -> None:
    reader.both()
    assert not [path for path in home.rglob("*") if path.suffix in (".csv", ".ndjson")]


def test_an_export_of_the_sandbox(home: Path) -> None:
    with forked.launch(people=500, app_rps=0, export_seconds=0.05, deliveries=10) as box:
        full = Reader(home, box.url, people="full")
        full.both()
        before = {row["cio_id"]: row for row in stored(full.path, "customer_attributes")}
        box.mutate("change_people", count=20)
        gone = set(box.mutate("delete_people", count=5)["ids"])
        box.mutate("add_people", count=5)
        Reader(home, box.url, people="export", now=full.now + timedelta(days=1)).both()
        for table in ("customers", "customer_attributes"):
            rows = stored(full.path, table)
            assert {row["cio_id"] for row in rows if row["_deleted_at"]} == gone
            truth = {one.get("cio_id") or one["attributes"]["cio_id"]: one for one in box.truth(table)}
            assert {row["cio_id"] for row in live(rows)} == truth.keys()
            for row in live(rows) if table == "customer_attributes" else ():
                told = {name: value for name, value in truth[row["cio_id"]]["attributes"].items() if value != ""}
                assert row["attributes"] == told
                if row["cio_id"] in before:
                    assert row["devices"] == truth[row["cio_id"]]["devices"]
        assert box.stats()["violations"] == []


MEMORY = """
import csv, resource, sys
from pathlib import Path
from cio_assets.assets import people_export
from cio_assets.catalog import TABLES
from cio_assets.warehouse import Staging
from cio_assets_tests import forked
path, count = Path(sys.argv[1]), int(sys.argv[2])
with path.open("w", newline="") as file:
    out = csv.writer(file)
    out.writerow(["cio_id", "id", "email", *(f"attribute_{n}" for n in range(12))])
    for n in range(count):
        out.writerow([f"{n:010x}", f"u{n}", f"u{n}@example.com", *(f"value {n} {m}" for m in range(12))])
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
with Staging(path.parent / "staging", "customer_attributes") as staging:
    chain = staging.chain("x")
    rows = people_export._rows(TABLES["customer_attributes"], path, 1)
    from itertools import islice
    while piece := list(islice(rows, people_export._PIECE)):
        staging.page(chain, piece, {"rows": 1})
    assert staging.finish().row_count == count
print(peak() - before)
"""


def test_memory_stays_flat(tmp_path: Path, home: Path) -> None:
    def grown(count: int) -> float:
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, str(tmp_path / f"{count}.csv"), str(count)],
            capture_output=True, text=True, check=True, cwd=PROJECT, env=environment(home),
        )  # fmt: skip
        return float(done.stdout)

    small, large = grown(20_000), grown(150_000)
    assert large < small + 20, (small, large)
