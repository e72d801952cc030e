"""What happens to people leaves activities, from which a reader can tell who changed."""

from collections.abc import Callable
from typing import Any

import pytest

from cio_assets.sandbox import Sandbox

from .client import EVERYBODY, NOW, Client
from .track_client import Track, identify, person

LATER = NOW + 3600
Row = dict[str, Any]


@pytest.fixture
def box(start: Callable) -> tuple[Sandbox, Client]:
    """A sandbox an hour after the world began, so that what happens is later than anything before."""
    sandbox, api = start()
    sandbox.clock(now=LATER)
    return sandbox, api


def news(api: Client, type_: str, deleted: str = "false") -> list[Row]:
    """Return the activities of a type that happened at this moment."""
    rows = api.walk("activities", "activities", limit=100, type=type_, deleted=deleted)
    return [row for row in rows if row["timestamp"] == LATER]


def whom(rows: list[Row]) -> set[str]:
    return {row["customer_identifiers"]["cio_id"] for row in rows}


def attributes(api: Client, ids: list[str]) -> dict[str, Row]:
    """Return the attributes of those people who are there."""
    items = api.get("customers/attributes", {"ids": ids}, id_type="cio_id")["customers"]
    return {item["attributes"]["cio_id"]: item for item in items}


def listed(api: Client) -> dict[str, Row]:
    return {row["cio_id"]: row for row in api.walk("customers", "identifiers", EVERYBODY, limit=1000)}


def test_changed_attributes(box) -> None:
    sandbox, api = box
    ids = sandbox.mutate("change_people", count=7)["ids"]
    rows = news(api, "attribute_change")
    assert len(rows) == 7
    assert whom(rows) == set(ids)
    now = attributes(api, ids)
    for row in rows:
        assert set(row["data"]) == {"plan", "visits"}
        for name, change in row["data"].items():
            assert change["to"] == now[row["customer_identifiers"]["cio_id"]]["attributes"][name]
            assert set(change) == {"from", "to"}
            assert change["from"] != change["to"]
    assert {row["id"] for row in rows} <= {row["id"] for row in sandbox.truth("activities")}


def test_new_people(box) -> None:
    sandbox, api = box
    ids = sandbox.mutate("add_people", count=4)["ids"]
    assert whom(news(api, "profile_create")) == whom(news(api, "attribute_change")) == set(ids) <= listed(api).keys()
    now = attributes(api, ids)
    for row in news(api, "attribute_change"):
        values = now[row["customer_identifiers"]["cio_id"]]["attributes"]
        assert row["data"]["plan" if values.get("plan") else "score"]["from"] is None
        assert all(values[name] == change["to"] for name, change in row["data"].items())


def test_deleted_people(box) -> None:
    sandbox, api = box
    ids = sandbox.mutate("delete_people", count=5)["ids"]
    assert news(api, "profile_delete") == []
    rows = news(api, "profile_delete", deleted="true")
    assert len(rows) == 5
    assert whom(rows) == set(ids)
    assert attributes(api, ids) == {}
    assert not listed(api).keys() & set(ids)


def test_merged_people(box) -> None:
    sandbox, api = box
    answer = sandbox.mutate("merge_people", count=3)
    rows = news(api, "profile_merge")
    assert [len(rows), len(answer["ids"]), len(answer["merged"])] == [3, 3, 3]
    pairs = {row["customer_identifiers"]["cio_id"]: row["data"]["merged"]["cio_id"] for row in rows}
    assert pairs == dict(zip(answer["ids"], answer["merged"], strict=True))
    everybody = listed(api)
    assert set(answer["ids"]) <= everybody.keys()
    assert not set(answer["merged"]) & everybody.keys()
    assert attributes(api, answer["merged"]) == {}
    for gone in answer["merged"]:
        assert api.ask(f"customers/cio_{gone}/attributes", id_type="cio_id").status_code == 404
    assert not news(api, "profile_delete", deleted="true")


def test_changed_devices(box) -> None:
    sandbox, api = box
    before = attributes(api, list(listed(api))[:100]) | attributes(api, list(listed(api))[100:200])
    ids = sandbox.mutate("change_devices", count=40)["ids"]
    rows = news(api, "device_change")
    assert len(rows) == 40
    assert whom(rows) == set(ids)
    assert {tuple(row["data"]) for row in rows} == {("added",), ("removed",)}
    seen = [one for one in ids if one in before]
    for cio_id, item in attributes(api, seen).items():
        assert abs(len(item["devices"]) - len(before[cio_id]["devices"])) == 1


def test_changed_identifiers(box) -> None:
    sandbox, api = box
    before = listed(api)
    ids = sandbox.mutate("change_identifiers", count=6)["ids"]
    rows = news(api, "attribute_change")
    assert whom(rows) == set(ids)
    after = listed(api)
    for row in rows:
        cio_id = row["customer_identifiers"]["cio_id"]
        assert row["data"] == {"email": {"from": before[cio_id]["email"], "to": after[cio_id]["email"]}}
        assert before[cio_id]["email"] != after[cio_id]["email"]
        assert before[cio_id]["id"] == after[cio_id]["id"]
        assert api.get("customers/attributes", {"ids": [after[cio_id]["email"]]}, id_type="email")["customers"]


def test_both_sides_leave_the_same(box) -> None:
    """A push and a mutation of the same kind are told by activities of the same shape."""
    sandbox, api = box
    track = Track(sandbox)
    track.send(identify("new", plan="a"), identify("new", plan="b"), person("delete", "new"))
    track.session.close()
    pushed = {type_: news(api, type_, "true") for type_ in ("profile_create", "attribute_change", "profile_delete")}
    assert [len(rows) for rows in pushed.values()] == [1, 2, 1]
    for kind in ("add_people", "change_people", "delete_people"):
        sandbox.mutate(kind, count=1)
    for type_, before in pushed.items():
        rows = [row for row in news(api, type_, "true") if row not in before]
        assert [shape(row) for row in rows] == [shape(row) for row in before]


def shape(row: Row) -> tuple[set[str], set[tuple[str, ...]]]:
    """Return the fields of an activity and of what its data hold per attribute."""
    return set(row), {tuple(change) for change in row["data"].values()}


def test_more_than_there_are(start: Callable) -> None:
    sandbox, api = start(people=4, deliveries=10)
    assert len(sandbox.mutate("merge_people", count=9)["ids"]) == 2
    assert len(listed(api)) == 2
    assert len(sandbox.mutate("change_devices", count=9)["ids"]) == 2
    assert len(sandbox.mutate("delete_people", count=9)["ids"]) == 2
    assert sandbox.mutate("change_people", count=9)["ids"] == []
