"""Exports of people: a job is started, polled and downloaded by a signed link that is not part of the API."""

import csv
import io
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from cio_assets.sandbox import Sandbox

from .client import NOW, Client

EVERYBODY = {"filters": {"attribute": {"field": "cio_id", "operator": "exists"}}}
BASE = ["cio_id", "id", "email", "created_at"]


@pytest.fixture
def box(start: Callable) -> tuple[Sandbox, Client]:
    """A sandbox whose exports are quick."""
    return start(export_seconds=0.05)


def finished(api: Client, export: dict[str, Any]) -> dict[str, Any]:
    """Poll an export until it is no longer pending."""
    until = time.monotonic() + 20
    while export["status"] == "pending":
        assert time.monotonic() < until, export
        time.sleep(0.02)
        export = api.get(f"exports/{export['id']}")["export"]
    return export


def made(api: Client, body: dict[str, Any] = EVERYBODY) -> dict[str, Any]:
    """Start an export and wait for its end."""
    return finished(api, api.get("exports/customers", body)["export"])


def fetch(url: str, **options: Any) -> requests.Response:
    with requests.Session() as session:  # without the key
        session.trust_env = False
        return session.get(url, timeout=30, **options)


def link(api: Client, identity: int) -> str:
    return api.get(f"exports/{identity}/download")["url"]


def rows(api: Client, identity: int) -> list[dict[str, str]]:
    response = fetch(link(api, identity))
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/csv")
    assert len(response.content) == int(response.headers["Content-Length"])
    return list(csv.DictReader(io.StringIO(response.content.decode(), newline=""), strict=True))


def test_everybody_with_every_attribute(box) -> None:
    sandbox, api = box
    export = api.get("exports/customers", EVERYBODY)["export"]
    assert (export["status"], export["total"], export["downloads"], export["failed"]) == ("pending", 0, 0, False)
    assert (export["type"], export["created_at"], export["deduplicate_id"]) == (
        "customers",
        NOW,
        f"{export['id']}:{NOW}",
    )
    assert api.ask(f"exports/{export['id']}/download").status_code == 400
    export = finished(api, export)
    assert (export["status"], export["total"]) == ("done", 300)
    found = {row["cio_id"]: row for row in rows(api, export["id"])}
    truth = {item["attributes"]["cio_id"]: item["attributes"] for item in sandbox.truth("customer_attributes")}
    assert found.keys() == truth.keys()
    for cio_id, row in found.items():
        assert list(row)[:4] == BASE
        assert row == dict.fromkeys(row, "") | truth[cio_id]
    texts = {text for row in found.values() for text in row.values()}
    for mark in ("\r\n", '"', ",", "李雷", "🦊"):
        assert any(mark in text for text in texts), mark
    assert any('"' in name and "," in name for name in next(iter(found.values())))


def test_listed_and_counted(box) -> None:
    sandbox, api = box
    identity = made(api)["id"]
    first, second = link(api, identity), link(api, identity)
    assert fetch(first).content == fetch(second).content
    (item,) = [item for item in api.get("exports")["exports"] if item["id"] == identity]
    assert (item["downloads"], item["status"]) == (2, "done")
    assert api.get("exports")["exports"] == sandbox.truth("exports")
    stats = sandbox.stats()
    assert stats["downloads"] == stats["by_endpoint"]["GET /downloads/{file}"] == 2


def test_some_people_with_some_attributes(box) -> None:
    sandbox, api = box
    filters = {"and": [{"segment": {"id": 1}}, {"attribute": {"field": "plan", "operator": "eq", "value": "pro"}}]}
    export = made(api, {"filters": filters, "attributes": ["plan", "no such thing", "email", "bio"]})
    found = rows(api, export["id"])
    members = {row["cio_id"] for row in sandbox.truth("segment_membership") if row["segment_id"] == 1}
    pro = [row["attributes"] for row in sandbox.truth("customer_attributes") if row["attributes"].get("plan") == "pro"]
    assert {row["cio_id"] for row in found} == members & {attributes["cio_id"] for attributes in pro}
    assert export["total"] == len(found) > 0
    assert list(found[0]) == [*BASE, "plan", "no such thing", "bio"]
    assert {(row["plan"], row["no such thing"]) for row in found} == {("pro", "")}


def test_only_named_attributes_where_the_service_does_so(start: Callable) -> None:
    _, api = start(export_seconds=0, export_columns="named")
    assert list(rows(api, made(api)["id"])[0]) == BASE


def test_nobody(box) -> None:
    _, api = box
    export = made(api, {"filters": {"attribute": {"field": "plan", "operator": "eq", "value": "none"}}})
    assert (export["status"], export["total"]) == ("done", 0)
    assert fetch(link(api, export["id"])).content == b"cio_id,id,email,created_at\r\n"


def test_it_holds_what_was_true_when_it_began(box) -> None:
    sandbox, api = box
    identity = made(api)["id"]
    (changed,) = sandbox.mutate("change_people", count=1)["ids"]
    (gone,) = sandbox.mutate("delete_people", count=1)["ids"]
    found = {row["cio_id"]: row for row in rows(api, identity)}
    assert gone in found
    assert not found[changed]["plan"].startswith("plan-")


def test_links(box) -> None:
    sandbox, api = box
    export = made(api)
    url = link(api, export["id"])
    assert url.startswith(f"{sandbox.url}/downloads/export-{export['id']}.csv?")
    sandbox.reset_stats()
    refused = {
        400: {"url": url, "headers": {"Authorization": f"Bearer {sandbox.app_key}"}},
        403: {"url": url[:-1] + ("0" if url[-1] != "0" else "1")},
    }
    for status, request in refused.items():
        response = fetch(**request)
        assert response.status_code == status
        assert response.headers["Content-Type"] == "application/xml"
    for other in (url.partition("?")[0], url.replace(f"-{export['id']}", "-111"), url + "&x=1", url + "0"):
        assert fetch(other).status_code == 403
    stats = sandbox.stats()
    assert (stats["violation_count"], stats["requests"], stats["downloads"]) == (6, 0, 6)
    assert "sig" not in str(stats["violations"])
    sandbox.clock(advance_seconds=15 * 60)
    assert fetch(url).status_code == 200
    sandbox.clock(advance_seconds=1)
    assert fetch(url).status_code == 403
    assert sandbox.stats()["violation_count"] == 6, "an expired link is nobody's fault"
    assert fetch(link(api, export["id"])).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"filter": EVERYBODY["filters"]},
        {"filters": {}},
        {"filters": {"segment": {"id": "1"}}},
        EVERYBODY | {"attributes": "plan"},
        EVERYBODY | {"attributes": [1]},
        EVERYBODY | {"limit": 10},
    ],
)
def test_refuses_what_is_not_documented(sandbox: Sandbox, api: Client, body: dict[str, Any]) -> None:
    sandbox.reset_stats()
    before = len(api.get("exports")["exports"])
    assert api.ask("exports/customers", body).status_code == 400
    assert sandbox.stats()["violation_count"] == 1
    assert len(api.get("exports")["exports"]) == before


def test_an_old_export_has_no_file_any_more(sandbox: Sandbox, api: Client) -> None:
    sandbox.reset_stats()
    assert api.ask("exports/111/download").status_code == 404  # done long ago
    assert api.ask("exports/9999/download").status_code == 404
    assert sandbox.stats()["violation_count"] == 0
    assert api.ask("exports/113/download").status_code == 400  # failed


def test_pending_until_its_time_has_passed(start: Callable) -> None:
    sandbox, api = start(export_seconds=3600)
    identity = api.get("exports/customers", EVERYBODY)["export"]["id"]
    api.get("customers/attributes", {"ids": ["u_1000"]})
    assert api.get(f"exports/{identity}")["export"]["status"] == "pending"
    sandbox.clock(advance_seconds=3600)
    export = finished(api, api.get(f"exports/{identity}")["export"])
    assert export["updated_at"] == NOW + 3600
    assert export["deduplicate_id"] == f"{identity}:{NOW + 3600}"


def test_an_export_may_fail(box) -> None:
    sandbox, api = box
    sandbox.faults(rules=[{"kind": "export_failed", "times": 1}])
    assert api.ask("campaigns").status_code == 200  # not what the fault is about
    export = made(api)
    assert (export["status"], export["failed"], export["total"]) == ("failed", True, 0)
    assert api.ask(f"exports/{export['id']}/download").status_code == 400
    assert made(api)["status"] == "done"
    assert sandbox.stats()["injected"] == {"export_failed": 1}


@pytest.mark.parametrize("kind", ["503", "html", "truncated-length", "truncated-json", "reset", "lost"])
def test_links_go_wrong_too(box, kind: str) -> None:
    sandbox, api = box
    identity = made(api)["id"]
    whole = fetch(link(api, identity)).content
    assert len(whole) > 1 << 16, "so that it is sent in pieces"
    sandbox.faults(rules=[{"kind": kind, "path": "^/downloads/", "times": 1}])
    url = link(api, identity)
    if kind in ("truncated-length", "reset", "lost"):
        with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
            fetch(url)
    else:
        response = fetch(url)
        assert response.status_code == (503 if kind == "503" else 200)
        assert len(response.content) == int(response.headers["Content-Length"])
        assert response.content != whole
        if kind == "truncated-json":
            assert whole.startswith(response.content)
    assert fetch(url).content == whole
    assert sandbox.stats()["injected"] == {kind: 1}


def test_others_are_answered_while_a_big_export_is_written(start: Callable) -> None:
    sandbox, api = start(people=40_000, export_seconds=0)
    began = time.monotonic()
    identity = api.get("exports/customers", EVERYBODY)["export"]["id"]
    waits, pending = [], True
    while pending:
        answer = api.ask(f"exports/{identity}")
        waits.append(answer.elapsed.total_seconds())
        pending = answer.json()["export"]["status"] == "pending"
    assert max(waits) < (time.monotonic() - began) / 3
    assert api.get(f"exports/{identity}")["export"]["total"] == 40_000
    assert len(rows(api, identity)) == 40_000
    assert sandbox.stats()["violation_count"] == 0
