"""Things go wrong on request, in each way a network and a service can."""

from collections.abc import Callable

import pytest
import requests

from cio_assets.sandbox import Sandbox

from .client import EVERYBODY, Client


@pytest.fixture
def plan(sandbox: Sandbox):
    """Set one fault for everything, and take it back afterwards."""
    sandbox.reset_stats()
    yield lambda kind, **rule: sandbox.faults(rules=[{"kind": kind, **rule}], stall_seconds=0.2)
    sandbox.faults()


@pytest.mark.parametrize("kind", ["401", "403", "404", "429", "429-bare", "500", "502", "503"])
def test_statuses(sandbox: Sandbox, api: Client, plan: Callable, kind: str) -> None:
    plan(kind, path="^/v1/campaigns$", method="GET", times=1, after=1)
    assert api.ask("campaigns").status_code == 200
    response = api.ask("campaigns")
    assert response.status_code == int(kind[:3])
    assert response.json()["errors"][0]["status"] == kind[:3]
    assert ("Retry-After" in response.headers) == (kind == "429") or kind == "503"
    assert api.ask("campaigns").status_code == 200
    stats = sandbox.stats()
    assert stats["injected"] == {kind: 1}
    assert stats["violation_count"] == stats["rate_limited"] == 0


def test_reset(sandbox: Sandbox, api: Client, plan: Callable) -> None:
    plan("reset", times=1)
    with pytest.raises(requests.ConnectionError):
        api.ask("campaigns")
    assert api.ask("campaigns").status_code == 200
    assert sandbox.stats()["by_status"] == {"reset": 1, "200": 1}


def test_truncated(api: Client, plan: Callable) -> None:
    plan("truncated-length", times=1)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        api.ask("campaigns")
    plan("truncated-json", times=1)
    response = api.ask("campaigns")
    assert len(response.content) == int(response.headers["Content-Length"])
    with pytest.raises(requests.JSONDecodeError):
        response.json()


def test_html(api: Client, plan: Callable) -> None:
    plan("html", times=1)
    response = api.ask("campaigns")
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/html")


def test_stall(api: Client, plan: Callable) -> None:
    plan("stall", times=1)
    assert api.ask("campaigns").elapsed.total_seconds() >= 0.2


def test_overlap_repeats_the_end_of_the_page_before(api: Client, plan: Callable) -> None:
    for path, envelope, body, limit in (
        ("customers", "identifiers", EVERYBODY, {"limit": 100}),
        ("campaigns/1/actions", "actions", None, {}),
        ("activities", "activities", None, {"limit": 50}),
    ):
        plan("overlap", times=1)
        first, second, *_ = api.pages(path, body, **limit)
        assert first[envelope][-3:] == second[envelope][:3]


def test_a_stale_cursor(sandbox: Sandbox, api: Client, plan: Callable) -> None:
    plan("stale-cursor", times=1)
    assert api.ask("campaigns").status_code == 200
    assert api.ask("campaigns/1/metrics", version=2, res="days", start=1, end=90000).status_code == 200  # a time
    assert api.ask("esp/suppression/bounces", offset=10).status_code == 200
    first = api.get("customers", EVERYBODY, limit=100)
    stale = api.ask("customers", EVERYBODY, limit=100, start=first["next"])
    assert stale.status_code == 400
    (error,) = stale.json()["errors"]
    assert error["status"] == "400"
    assert sandbox.stats()["violation_count"] == 0
    assert sandbox.stats()["injected"] == {"stale-cursor": 1}
    invalid = api.ask("customers", EVERYBODY, limit=100, start="bm90IGEgY3Vyc29y").json()["errors"][0]["detail"]
    assert error["detail"].partition(" (")[0] == invalid.partition(" (")[0] == "start: invalid cursor"
    assert api.ask("customers", EVERYBODY, limit=100, start=first["next"]).status_code == 200


def test_random_faults_of_later_pages_never_fall_on_first_ones(sandbox: Sandbox, api: Client) -> None:
    sandbox.faults(rates={"stale-cursor": 1, "export_failed": 0.0})
    first = api.get("activities", limit=50)
    assert api.ask("activities", limit=50, start=first["next"]).status_code == 400
    sandbox.faults()


def test_vanish(sandbox: Sandbox, api: Client, plan: Callable) -> None:
    plan("vanish", path="^/v1/campaigns/5/")
    assert api.ask("campaigns/5/actions").status_code == 404
    assert api.ask("campaigns/6/actions").status_code == 200
    assert sandbox.stats()["violation_count"] == 0


def test_random_faults_are_the_same_each_time(sandbox: Sandbox, api: Client) -> None:
    runs = []
    for _ in range(2):
        sandbox.faults(rates={"500": 0.2, "html": 0.2}, seed=7)
        answers = [api.ask("workspaces") for _ in range(40)]
        runs.append([(answer.status_code, answer.headers["Content-Type"]) for answer in answers])
    sandbox.faults()
    assert runs[0] == runs[1]
    assert len(set(runs[0])) > 2


def test_fault_plan_from_the_command_line(start: Callable) -> None:
    sandbox, api = start(faults="503=1,stall_seconds=2")
    assert api.ask("campaigns").status_code == 503
    assert sandbox.faults(rates={})["rates"] == {}
    assert api.ask("campaigns").status_code == 200


def test_an_unknown_fault_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="unknown fault"):
        sandbox.faults(rates={"boredom": 1})
