"""A reader that follows the pages gets exactly the truth, list by list."""

import json
from collections import Counter
from typing import Any
from urllib.parse import quote

import pytest

from cio_assets.sandbox import Sandbox

from .client import EVERYBODY, NOW, Client

SINCE = NOW - 300 * 86400
WHOLE = [
    ("broadcasts", "broadcasts", "broadcasts"),
    ("campaigns", "campaigns", "campaigns"),
    ("collections", "collections", "collections"),
    ("exports", "exports", "exports"),
    ("object_types", "object_types", "types"),
    ("reporting_webhooks", "reporting_webhooks", "reporting_webhooks"),
    ("segments", "segments", "segments"),
    ("snippets", "snippets", "snippets"),
    ("subscription_topics", "subscription_topics", "topics"),
    ("transactional_messages", "transactional", "messages"),
    ("workspaces", "workspaces", "workspaces"),
]
CHILDREN = [
    ("campaign_actions", "campaigns", "campaign_id", "actions", "actions"),
    ("broadcast_actions", "broadcasts", "broadcast_id", "actions", "actions"),
    ("newsletter_contents", "newsletters", "newsletter_id", "contents", "contents"),
    ("newsletter_test_groups", "newsletters", "newsletter_id", "test_groups", "test_groups"),
    ("segment_membership", "segments", "segment_id", "membership", "identifiers"),
]
DELIVERIES = [("campaign", "campaigns"), ("broadcast", "broadcasts"), ("newsletter", "newsletters")]


def same(left: list[Any], right: list[Any]) -> None:
    """Compare rows as multisets."""
    count = [Counter(json.dumps(row, sort_keys=True) for row in rows) for rows in (left, right)]
    assert count[0] == count[1]
    assert left


@pytest.mark.parametrize(("table", "path", "envelope"), WHOLE)
def test_whole_lists(sandbox: Sandbox, api: Client, table: str, path: str, envelope: str) -> None:
    body = api.get(path)
    assert list(body) == [envelope]
    same(body[envelope], sandbox.truth(table))


@pytest.mark.parametrize(("table", "parents", "key", "path", "envelope"), CHILDREN)
def test_children(sandbox: Sandbox, api: Client, table: str, parents: str, key: str, path: str, envelope: str) -> None:
    rows = [
        {key: parent["id"]} | row
        for parent in sandbox.truth(parents)
        for row in api.walk(f"{parents}/{parent['id']}/{path}", envelope)
    ]
    same(rows, sandbox.truth(table))


def test_actions_come_ten_a_page_with_string_ids(api: Client) -> None:
    for path in ("campaigns/1/actions", "broadcasts/2/actions"):
        sizes = [len(page["actions"]) for page in api.pages(path)]
        assert len(sizes) > 1
        assert set(sizes[:-1]) == {10}
        assert all(isinstance(item["id"], str) for item in api.walk(path, "actions"))
    campaigns = api.get("campaigns")["campaigns"]
    assert isinstance(campaigns[0]["actions"][0]["id"], int)
    shared = {action["id"] for action in campaigns[0]["actions"]}
    assert shared & {action["id"] for action in campaigns[1]["actions"]}
    assert shared & {action["id"] for action in api.get("broadcasts")["broadcasts"][0]["actions"]}


def test_messages(sandbox: Sandbox, api: Client) -> None:
    start = NOW - 150 * 86400
    for drafts in ("false", "true"):
        rows = api.walk("messages", "messages", start_ts=start, end_ts=NOW, limit=1000, drafts=drafts)
        assert [row["created"] for row in rows] == sorted((row["created"] for row in rows), reverse=True)
        same(rows, sandbox.truth("messages", start=start, end=NOW + 1, drafts=drafts))


@pytest.mark.parametrize(("kind", "path"), DELIVERIES)
def test_parents_messages(sandbox: Sandbox, api: Client, kind: str, path: str) -> None:
    rows = [
        row
        for parent in sandbox.truth(path)
        for row in api.walk(f"{path}/{parent['id']}/messages", "messages", start_ts=SINCE, end_ts=NOW, limit=1000)
    ]
    same(rows, sandbox.truth(f"{kind}_messages"))


def test_transactional_messages_carry_other_identifiers(sandbox: Sandbox, api: Client) -> None:
    rows = [
        row | {"transactional_id": parent["id"]}
        for parent in sandbox.truth("transactional_messages")
        for row in api.walk(f"transactional/{parent['id']}/messages", "messages", start_ts=SINCE, end_ts=NOW)
    ]
    same(rows, sandbox.truth("transactional_deliveries"))
    assert "identifiers" in rows[0]
    assert "customer_identifiers" not in rows[0]
    assert rows[0]["campaign_id"] is rows[0]["newsletter_id"] is rows[0]["broadcast_id"] is None


def test_message_filters(sandbox: Sandbox, api: Client) -> None:
    start = NOW - 150 * 86400
    rows = sandbox.truth("messages", start=start, end=NOW + 1)
    window = {"start_ts": start, "end_ts": NOW, "limit": 1000}
    for params, keep in (
        ({"campaign_id": 1}, lambda row: row["campaign_id"] == 1),
        ({"newsletter_id": 128}, lambda row: row["newsletter_id"] == 128),
        ({"action_id": 96}, lambda row: row["action_id"] == 96),
        ({"type": "push"}, lambda row: row["type"] == "push"),
        ({"metric": "clicked"}, lambda row: "clicked" in row["metrics"]),
    ):
        same(api.walk("messages", "messages", **window, **params), [row for row in rows if keep(row)])
    assert api.walk("messages", "messages", **window, campaign_id=4711) == []


def test_a_message_by_id(sandbox: Sandbox, api: Client) -> None:
    rows = sandbox.truth("messages", start=NOW - 86400, end=NOW)
    awkward = next((row for row in rows if "/" in row["id"]), rows[0])
    assert api.get(f"messages/{quote(awkward['id'], safe='')}")["message"] == awkward


def test_empty_pages_in_the_middle_and_null_at_the_end(api: Client) -> None:
    middle = nothing = trailing = 0
    for day in range(40):
        end = NOW - day * 86400
        pages = list(api.pages("messages", start_ts=end - 86399, end_ts=end, limit=10))
        middle += any(not page["messages"] and page["next"] for page in pages[:-1])
        nothing += any(page["messages"] is None for page in pages)
        trailing += not pages[-1]["messages"]
    assert middle
    assert nothing
    assert trailing


def test_activities(sandbox: Sandbox, api: Client) -> None:
    pages = list(api.pages("activities", limit=100, deleted="true"))
    rows = [row for page in pages for row in page["activities"]]
    same(rows, sandbox.truth("activities"))
    stamps = [row["timestamp"] for row in rows]
    assert stamps == sorted(stamps, reverse=True)
    assert stamps[0] > NOW  # future-dated
    assert pages[-1]["activities"] == []
    living = {person["cio_id"] for person in sandbox.truth("customers")}
    same(
        api.walk("activities", "activities", limit=100),
        [row for row in rows if row["customer_identifiers"]["cio_id"] in living],
    )
    ghost = next(row for row in rows if row["customer_identifiers"]["cio_id"] not in living and row["customer_id"])
    params = {"limit": 100, "customer_id": ghost["customer_id"]}
    assert ghost in api.walk("activities", "activities", **params, deleted="true")
    assert api.walk("activities", "activities", **params) == []
    same(
        api.walk("activities", "activities", limit=50, deleted="true", type="event", name="purchase"),
        [row for row in rows if row.get("name") == "purchase"],
    )


def test_an_activity_list_may_end_with_a_cursor(api: Client) -> None:
    ends = [list(api.pages("activities", limit=100 - n))[-1]["next"] for n in range(8)]
    assert "" in ends
    assert any(ends)


def test_people(sandbox: Sandbox, api: Client) -> None:
    pages = list(api.pages("customers", EVERYBODY, limit=100))
    people = [row for page in pages for row in page["identifiers"]]
    same(people, sandbox.truth("customers"))
    assert [value for page in pages for value in page["ids"]] == [person["id"] or "" for person in people]
    assert any(person["id"] is person["email"] is None for person in people)
    ids = [person["cio_id"] for person in people]
    rows = []
    for first in range(0, len(ids), 100):
        batch = [*ids[first : first + 99], "unknown", *ids[first + 99 : first + 100]][:100]
        rows += api.get("customers/attributes", {"ids": batch}, id_type="cio_id")["customers"]
    rows += api.get("customers/attributes", {"ids": ids[99::100]}, id_type="cio_id")["customers"]
    same(list({row["attributes"]["cio_id"]: row for row in rows}.values()), sandbox.truth("customer_attributes"))
    assert any("identifiers" not in row for row in rows)
    assert all(isinstance(value, str) for row in rows for value in row["attributes"].values())


def test_people_by_filter(api: Client, sandbox: Sandbox) -> None:
    attributes = [row["attributes"] for row in sandbox.truth("customer_attributes")]
    pro = {row["cio_id"] for row in attributes if row["plan"] == "pro"}
    members = {row["cio_id"] for row in sandbox.truth("segment_membership") if row["segment_id"] == 3}
    plan = {"attribute": {"field": "plan", "operator": "eq", "value": "pro"}}
    both = {"and": [plan, {"not": {"segment": {"id": 3}}}]}
    found = {row["cio_id"] for row in api.walk("customers", "identifiers", {"filter": both}, limit=1000)}
    assert found == pro - members
    nobody = {"attribute": {"field": "id", "operator": "eq", "value": "x"}}
    assert api.get("customers", {"filter": nobody}) == {"identifiers": None, "ids": None, "next": ""}


def test_one_person(sandbox: Sandbox, api: Client) -> None:
    segments = sandbox.truth("segment_membership")
    start = NOW - 150 * 86400
    messages = sandbox.truth("messages", start=start, end=NOW + 1)
    activities = sandbox.truth("activities")
    people = sandbox.truth("customers")
    for person in [people[n] for n in (0, 7, 13, 19, 29, 41)]:
        path = f"customers/{quote(person['id'], safe='')}"
        cio = f"customers/cio_{person['cio_id']}"
        assert api.get(f"{path}/attributes") == api.get(f"{cio}/attributes", id_type="cio_id")
        assert {item["id"] for item in api.get(f"{path}/segments")["segments"]} == {
            row["segment_id"] for row in segments if row["cio_id"] == person["cio_id"]
        }
        rows = api.walk(f"{path}/messages", "messages", start_ts=start, end_ts=NOW, limit=7)
        same(rows, [row for row in messages if row["customer_identifiers"] == person])
        rows = api.walk(f"{path}/activities", "activities", limit=3)
        assert rows == [row for row in reversed(activities) if row["customer_identifiers"] == person]
        assert api.ask(f"{cio}/attributes").status_code == 404  # read as an id


def test_objects_and_relationships(sandbox: Sandbox, api: Client) -> None:
    rows, pairs = [], set()
    for kind in api.get("object_types")["types"]:
        every = {"object_attribute": {"type_id": kind["id"], "field": "object_id", "operator": "exists"}}
        body = {"object_type_id": kind["id"], "filter": every}
        for row in api.walk("objects", "identifiers", body, limit=9):
            rows.append({"object_type_id": kind["id"]} | row)
            path = f"objects/{kind['id']}/{quote(row['object_id'], safe='')}/relationships"
            for found in api.walk(path, "cio_relationships"):
                pairs.add((found["identifiers"]["cio_id"], found["object_type_id"], row["object_id"]))
    same(rows, sandbox.truth("objects"))
    truth = sandbox.truth("customer_relationships")
    assert pairs == {(r["cio_id"], str(r["object_type_id"]), r["identifiers"]["object_id"]) for r in truth}
    related = truth[0]["cio_id"]
    mine = api.walk(f"customers/{related}/relationships", "cio_relationships", id_type="cio_id", limit=1)
    same([{"cio_id": related} | row for row in mine], [row for row in truth if row["cio_id"] == related])


def test_segments(sandbox: Sandbox, api: Client) -> None:
    assert api.get("segments/2/membership") == {"segment_id": 2, "identifiers": None, "ids": None, "next": ""}
    usage = []
    for segment in sandbox.truth("segments"):
        count = api.get(f"segments/{segment['id']}/customer_count")
        walked = api.walk(f"segments/{segment['id']}/membership", "identifiers", limit=50)
        assert count == {"segment_id": segment["id"], "count": len(walked)}
        assert api.get(f"segments/{segment['id']}") == {"segment": segment}
        body = api.get(f"segments/{segment['id']}/used_by")
        usage.append({"segment_id": body["segment_id"]} | body["used_by"])
    same(usage, sandbox.truth("segment_usage"))


def test_senders_end_with_an_empty_page_and_hide_the_hidden(sandbox: Sandbox, api: Client) -> None:
    visible, hidden = (list(api.pages("sender_identities", hidden=flag)) for flag in ("false", "true"))
    assert visible[-1] == hidden[-1] == {"sender_identities": [], "next": ""}
    rows = [row for page in visible + hidden for row in page["sender_identities"]]
    same(rows, sandbox.truth("sender_identities"))
    assert api.walk("sender_identities", "sender_identities") == [row for row in rows if not row["hidden"]]


def test_newsletters(sandbox: Sandbox, api: Client) -> None:
    same(api.walk("newsletters", "newsletters", limit=5), sandbox.truth("newsletters"))
    ids = [row["id"] for row in api.walk("newsletters", "newsletters", limit=5, sort="asc")]
    assert ids == sorted(ids)


def test_suppressions(sandbox: Sandbox, api: Client) -> None:
    rows = []
    for kind in ("bounces", "blocks", "spam_reports", "invalid_emails"):
        offset = 0
        while page := api.get(f"esp/suppression/{kind}", limit=500, offset=offset)["suppressions"]:
            rows += [{"type": kind} | row for row in page]
            offset += len(page)
        assert api.get(f"esp/suppression/{kind}", offset=offset)["suppressions"] is None
    same(rows, sandbox.truth("esp_suppressions"))


def test_small_answers(sandbox: Sandbox, api: Client) -> None:
    assert [{"ip": ip} for ip in api.get("info/ip_addresses")["ip_addresses"]] == sandbox.truth("info_ip_addresses")
    for item in sandbox.truth("exports"):
        assert api.get(f"exports/{item['id']}") == {"export": item}
    assert any("user:" in row["endpoint"] for row in sandbox.truth("reporting_webhooks"))
