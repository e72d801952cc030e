"""The world: the same for the same seed, changed by mutations, and big where asked."""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cio_assets.sandbox import SandboxOptions, add_arguments, launch, options_from_args

from .client import EVERYBODY, NOW, Client

DAY = 86400
PATHS = ("messages?limit=1000", "activities?limit=100", "campaigns", "campaigns/1/actions", "newsletters",
         "sender_identities", "segments/3/membership", "broadcasts/2/metrics", "esp/suppression/bounces")  # fmt: skip


def ids(rows: list[dict], key: str = "id") -> set:
    return {row[key] for row in rows}


def test_same_seed_same_bytes(start: Callable) -> None:
    (_, one), (_, two), (_, other) = start(), start(), start(seed=2)
    for path in PATHS:
        assert one.ask(path).status_code == 200
        assert one.ask(path).content == two.ask(path).content
    assert one.ask(PATHS[0]).content != other.ask(PATHS[0]).content


def test_the_awkward_things_are_there(sandbox, api: Client) -> None:
    people = sandbox.truth("customers")
    texts = [person["id"] or "" for person in people]
    for mark in ("/", "+", " ", "%", "@", "🔑"):
        assert any(mark in text for text in texts), mark
    assert any(person["id"] is None and person["email"] for person in people)
    assert any(person["id"] and person["email"] is None for person in people)
    rows = sandbox.truth("messages")
    assert max(row["created"] for row in rows) > NOW - 60
    assert all(row["created"] <= when <= NOW for row in rows for when in row["metrics"].values())
    assert max(row["metrics"].get("opened", 0) - row["created"] for row in rows) > 14 * DAY
    midnight = [row for row in rows if row["created"] == NOW // DAY * DAY - 3 * DAY]
    assert len(midnight) > 10
    assert any("send_time_optimized" in row for row in rows)
    senders = sandbox.truth("sender_identities")
    assert sum(not row["hidden"] for row in senders) > 100
    assert any(row["template_type"] == "phone" for row in senders)
    assert any(row["first_started"] == 0 for row in sandbox.truth("campaigns"))
    assert any(row["sent_at"] is None for row in sandbox.truth("newsletters"))
    assert any(row["id"] == 0 for row in sandbox.truth("newsletter_test_groups"))


def test_many_newsletters_are_paged(start: Callable) -> None:
    _, api = start(newsletters=130)
    assert [len(page["newsletters"]) for page in api.pages("newsletters")] == [100, 30]


def test_empty_workspace(start: Callable) -> None:
    zero = dict.fromkeys(("people", "campaigns", "broadcasts", "newsletters", "segments", "objects"), 0)
    _, api = start(**zero, deliveries=0, activities=0)
    assert api.get("customers", EVERYBODY) == {"identifiers": None, "ids": None, "next": ""}
    assert api.walk("messages", "messages") == []
    assert api.get("campaigns") == {"campaigns": []}


@pytest.mark.parametrize("shape", ["wrapped", "mixed"])
def test_shapes_of_attributes(start: Callable, shape: str) -> None:
    _, api = start(attributes_shape=shape)
    items = api.get("customers/attributes", {"ids": ["u_1000", "u_1001", "u_1002"]})["customers"]
    assert ["customer" in item for item in items] == ([True] * 3 if shape == "wrapped" else [False, True, False])


def test_mutations_of_deliveries(start: Callable) -> None:
    sandbox, api = start()
    opened = sandbox.mutate("late_opens", count=5, older_than_days=20)["ids"]
    rows = {row["id"]: row for row in sandbox.truth("messages")}
    assert all(rows[one]["metrics"]["opened"] == NOW and rows[one]["created"] <= NOW - 20 * DAY for one in opened)
    assert all(rows[one]["deduplicate_id"] == f"{one}:{NOW}" for one in opened)
    series = [
        api.get(f"{kind}/{parent['id']}/metrics", period="hours")["metric"]["series"]["opened"][-1]
        for kind in ("campaigns", "broadcasts", "newsletters")
        for parent in sandbox.truth(kind)
    ]
    transactional = sum(1 for row in sandbox.truth("transactional_deliveries") if row["id"] in opened)
    assert sum(series) >= 5 - transactional
    added = sandbox.mutate("add_deliveries", count=20, days=2)["ids"]
    after = {row["id"]: row for row in sandbox.truth("messages") + sandbox.truth("messages", drafts="true")}
    assert set(added) <= set(after)
    assert all(after[one]["created"] >= NOW - 2 * DAY for one in added)
    assert {one: after[one] for one in rows} == rows
    before = NOW - 60 * DAY
    assert sandbox.mutate("forget_deliveries", before=before)["count"] > 0
    assert min(row["created"] for row in sandbox.truth("messages")) >= before


def test_mutations_of_people_and_groups(start: Callable) -> None:
    sandbox, api = start()
    deleted = sandbox.mutate("delete_people", count=3)["ids"]
    added = sandbox.mutate("add_people", count=2)["ids"]
    changed = sandbox.mutate("change_people", count=4)["ids"]
    people = ids(sandbox.truth("customers"), "cio_id")
    assert not people & set(deleted)
    assert set(added) <= people
    assert ids(api.walk("customers", "identifiers", EVERYBODY, limit=1000), "cio_id") == people
    for item in api.get("customers/attributes", {"ids": changed}, id_type="cio_id")["customers"]:
        assert item["attributes"]["plan"].startswith("plan-")
        assert item["timestamps"]["plan"] == NOW
    gone = sandbox.truth("activities")
    assert any(row["customer_identifiers"]["cio_id"] in deleted for row in gone)
    moved = sandbox.mutate("change_membership", count=6)
    members = ids(api.walk(f"segments/{moved['segment_id']}/membership", "identifiers"), "cio_id")
    assert set(moved["added"]) <= members
    assert not set(moved["removed"]) & members
    assert len(moved["added"]) + len(moved["removed"]) >= 3
    objects = sandbox.mutate("delete_object", count=2)["ids"]
    assert not ids(sandbox.truth("objects"), "cio_object_id") & set(objects)


def test_mutations_of_lists(start: Callable) -> None:
    sandbox, api = start()
    for kind in ("campaign", "newsletter", "segment"):
        (gone,) = sandbox.mutate(f"delete_{kind}")["ids"]
        assert gone not in ids(sandbox.truth(f"{kind}s"))
        assert gone not in ids(api.walk(f"{kind}s", f"{kind}s"))
        assert api.ask(f"{kind}s/{gone}/{'membership' if kind == 'segment' else 'messages'}").status_code == 404
    (changed,) = sandbox.mutate("change_campaign", id=2)["ids"]
    item = next(row for row in api.get("campaigns")["campaigns"] if row["id"] == changed)
    assert item["updated"] == NOW
    assert item["deduplicate_id"] == f"2:{NOW}"
    was = next(row for row in api.get("campaigns")["campaigns"] if row["id"] == 1)
    (action,) = sandbox.mutate("change_action", campaign_id=1)["ids"]
    assert next(row for row in api.get("campaigns")["campaigns"] if row["id"] == 1) == was
    assert next(a for a in api.walk("campaigns/1/actions", "actions") if a["id"] == action)["updated"] == NOW
    (new,) = sandbox.mutate("add_campaign")["ids"]
    assert len(api.walk(f"campaigns/{new}/actions", "actions")) >= 12
    sandbox.mutate("add_deliveries", count=500, days=0.5)
    assert api.walk(f"campaigns/{new}/messages", "messages")
    lifted = sandbox.mutate("clear_suppression", count=2)["ids"]
    assert not ids(sandbox.truth("esp_suppressions"), "email") & set(lifted)
    sandbox.mutate("add_unknown_field", table="messages", field="colour", value={"a": 1})
    assert next(iter(api.walk("messages", "messages", start_ts=NOW - DAY)))["colour"] == {"a": 1}
    for arguments in ({"kind": "make_coffee"}, {"kind": "late_opens"}, {"kind": "delete_campaign", "id": 4711}):
        with pytest.raises(ValueError, match="error"):
            sandbox.mutate(**arguments)


def test_mutations_of_activities(start: Callable) -> None:
    sandbox, api = start()
    fresh = sandbox.mutate("add_activities", count=5)["ids"]
    late = sandbox.mutate("add_activities", count=5, backdated=True)["ids"]
    rows = {row["id"]: row for row in api.walk("activities", "activities", limit=100, deleted="true")}
    assert all(rows[one]["timestamp"] <= NOW - DAY for one in late)
    assert set(fresh) <= set(rows)
    assert sandbox.mutate("delete_activity_history", older_than_days=30)["count"] >= 1
    assert min(row["timestamp"] for row in sandbox.truth("activities")) >= NOW - 30 * DAY


def test_a_big_world_starts_fast_and_stays_small() -> None:
    began = time.monotonic()
    with launch(people=100_000, deliveries=1_000_000, now=NOW, freeze=True, app_rps=0) as sandbox:
        assert time.monotonic() - began < 30
        api = Client(sandbox.url)
        assert len(api.get("customers", EVERYBODY, limit=1000)["ids"]) == 1000
        api.get("campaigns/1/metrics", version=2, res="hours", start=NOW - 200 * DAY, end=NOW)
        answers = [api.ask("messages", limit=1000, end_ts=NOW) for _ in range(6)]
        assert min(answer.elapsed.total_seconds() for answer in answers) < 0.2
        status = Path(f"/proc/{sandbox.pid}/status")
        if status.exists():
            (peak,) = [int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")]
            assert peak < 1_000_000
        api.session.close()


def test_options() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert options_from_args(parser.parse_args([])) == SandboxOptions()
    found = options_from_args(parser.parse_args(["--people=5", "--freeze", "--app-rps=0", "--latency-ms=1.5"]))
    assert (found.people, found.freeze, found.app_rps, found.latency_ms, found.delivery_count) == (5, True, 0, 1.5, 75)


def test_a_start_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="boredom"), launch(faults="boredom=1"):
        pass


def test_importing_is_light() -> None:
    code = "import sys, cio_assets.sandbox; print([n for n in ('numpy', 'starlette', 'uvicorn') if n in sys.modules])"
    root = Path(__file__).resolve().parents[2]
    out = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
