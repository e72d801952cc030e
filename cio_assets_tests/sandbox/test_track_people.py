"""What identify, delete, suppress, merge and devices do to people, seen from the App side."""

from collections.abc import Callable
from typing import Any

import pytest

from cio_assets.sandbox import Sandbox
from cio_assets_tests import forked

from .client import EVERYBODY, NOW, Client
from .conftest import EMPTY
from .track_client import Track, identify, person

SYSTEM = ("cio_id", "_created_in_customerio_at")
A, B = {"email": "a@x.example"}, {"email": "b@x.example"}


def shown(track: Track, kind: str = "id", value: str = "u1") -> dict[str, str] | None:
    """Return what a person shows apart from what the system adds."""
    attributes = track.box.person(kind, value)
    return None if attributes is None else {name: text for name, text in attributes.items() if name not in SYSTEM}


def activities(track: Track) -> list[tuple[str, Any]]:
    """Return type and data of every activity, oldest first."""
    client = Client(track.box.url)
    rows = client.walk("activities", "activities", limit=100, deleted="true")
    client.session.close()
    return [(row["type"], row["data"]) for row in reversed(rows)]


def changes(track: Track, type_: str = "attribute_change") -> list[Any]:
    return [data for kind, data in activities(track) if kind == type_]


def test_what_was_identified_is_read_back_as_texts(track: Track) -> None:
    values = {"n": 7, "price": 2.5, "big": 2**63, "yes": True, "no": False, "text": "Zoë 🦊", "created_at": 1700000000,
              "list": [1, "ü"], "nested": {"a": {"b": None}}, "gone": None, "empty": ""}  # fmt: skip
    track.send(identify("u1", email="Ann@x.example", **values))
    client = Client(track.box.url)
    (customer,) = client.get("customers/attributes", {"ids": ["u1"]}, id_type="id")["customers"]
    client.session.close()
    assert customer["attributes"] == {
        "id": "u1", "email": "Ann@x.example", "cio_id": "a3000001", "_created_in_customerio_at": str(NOW), "n": "7",
        "price": "2.5", "big": str(2**63), "yes": "true", "no": "false", "text": "Zoë 🦊", "created_at": "1700000000",
        "list": '[1,"ü"]', "nested": '{"a":{"b":null}}',
    }  # fmt: skip
    assert customer["timestamps"]["n"] == NOW
    assert track.box.truth("customers") == [{"email": "Ann@x.example", "id": "u1", "cio_id": "a3000001"}]
    assert [kind for kind, _ in activities(track)] == ["profile_create", "attribute_change"]
    assert changes(track)[0]["n"] == {"from": None, "to": "7"}


def test_an_update_changes_adds_and_removes(track: Track) -> None:
    track.send(identify("u1", a=1, b="x", c=True), identify("u1", a=2, b=None, c="", d=4, e=None))
    assert shown(track) == {"id": "u1", "a": "2", "d": "4"}
    assert changes(track)[1] == {
        "a": {"from": "1", "to": "2"}, "b": {"from": "x", "to": None}, "c": {"from": "true", "to": None},
        "d": {"from": None, "to": "4"},
    }  # fmt: skip
    track.send(identify("u1", a=2, d=4), identify("u1", d=4), identify("u1"))
    assert len(activities(track)) == 3


def test_an_older_update_does_not_overwrite_a_newer_one(track: Track) -> None:
    track.send(
        person("identify", timestamp=NOW - 10, attributes={"a": "new", "b": "same"}),
        person("identify", timestamp=NOW - 20, attributes={"a": "old", "c": "late"}),
        person("identify", timestamp=NOW - 5, attributes={"b": "same"}),
        person("identify", timestamp=NOW - 7, attributes={"b": "older"}),
    )
    assert shown(track) == {"id": "u1", "a": "new", "b": "same", "c": "late"}


def test_update_only_never_creates(track: Track) -> None:
    track.send(identify("u1", _update=True, a=1))
    assert shown(track) is None
    track.send(identify("u1", _update=False, a=1), identify("u1", _update=True, a=2))
    assert shown(track) == {"id": "u1", "a": "2"}


def test_email_identifies_whatever_its_case(track: Track) -> None:
    track.send(identify(A, a=1), identify({"email": "A@X.example"}, b=2))
    assert shown(track, "email", "a@x.EXAMPLE") == {"email": "a@x.example", "a": "1", "b": "2"}


def test_phone_creates_a_person_and_finds_it_again(track: Track) -> None:
    phone = {"phone": "+4915112345678"}
    track.send(identify(phone, a=1), identify(phone, a=2))
    assert track.box.truth("customers") == [{"email": None, "id": None, "cio_id": "a3000001"}]
    assert shown(track, "phone", phone["phone"]) == {"phone": "+4915112345678", "a": "2"}


def test_a_phone_for_somebody_known_is_a_change(track: Track) -> None:
    track.send(identify("u1", a=1), identify({"phone": "+4915112345678"}, id="u1"))
    assert shown(track, "phone", "+4915112345678") == {"id": "u1", "phone": "+4915112345678", "a": "1"}
    assert changes(track)[-1] == {"phone": {"from": None, "to": "+4915112345678"}}


def test_a_phone_that_changed_no_longer_finds(track: Track) -> None:
    track.send(identify("u1", phone="+4915112345678"), identify("u1", phone="+4915187654321"))
    assert shown(track, "phone", "+4915112345678") is None
    assert shown(track, "phone", "+4915187654321") == {"id": "u1", "phone": "+4915187654321"}


def test_an_unknown_cio_id_is_accepted_and_changes_nothing(track: Track) -> None:
    track.send(identify({"cio_id": "a30000ff"}, a=1), person("event", {"cio_id": "a30000ff"}, name="buy"))
    assert track.box.truth("customers") == []
    assert track.box.truth("track_events") == []
    assert [kind for kind, _ in activities(track)] == ["failed_attribute_change", "failed_event"]


def test_a_cio_id_in_a_body_is_bare(track: Track) -> None:
    track.send(identify("u1"), identify({"cio_id": "cio_a3000001"}, a=1), identify({"cio_id": "a3000001"}, b=1))
    assert shown(track) == {"id": "u1", "b": "1"}


def test_a_new_id_with_a_known_email_updates_the_existing_person(track: Track) -> None:
    track.send(identify(A, a=1), identify("u1", **A, b=2), identify("u2", **A, c=3))
    assert track.box.truth("customers") == [{"email": "a@x.example", "id": "u2", "cio_id": "a3000001"}]
    assert shown(track, "id", "u2") == {"id": "u2", "email": "a@x.example", "a": "1", "b": "2", "c": "3"}
    assert shown(track) is None


def test_an_email_of_somebody_else_is_a_failed_change(track: Track) -> None:
    track.send(identify("u1", **A), identify("u2", **B), identify("u2", **A, plan="pro"))
    assert shown(track, "id", "u2") == {"id": "u2", "email": "b@x.example", "plan": "pro"}
    assert shown(track) == {"id": "u1", "email": "a@x.example"}
    assert changes(track, "failed_attribute_change") == [{"email": {"from": "b@x.example", "to": "a@x.example"}}]


def test_identifiers_that_are_set_change_only_by_cio_id(track: Track) -> None:
    track.send(identify("u1", **A), identify("u1", **B), identify(A, id="u9"))
    assert shown(track) == {"id": "u1", "email": "a@x.example"}
    assert len(changes(track, "failed_attribute_change")) == 2
    track.send(identify({"cio_id": "a3000001"}, id="u9", **B))
    assert shown(track, "id", "u9") == {"id": "u9", "email": "b@x.example"}
    assert shown(track) is None
    track.send(identify("u1", **A))
    assert len(track.box.truth("customers")) == 2


def test_an_email_changes_by_id_where_the_workspace_allows_it() -> None:
    with forked.launch(**EMPTY, email_updates=True) as box:
        track = Track(box)
        track.send(identify("u1", **A), identify("u1", **B), identify("u2", **A))
        assert shown(track) == {"id": "u1", "email": "b@x.example"}
        assert shown(track, "id", "u2") == {"id": "u2", "email": "a@x.example"}
        track.session.close()


def test_a_missing_identifier_is_filled_in(track: Track) -> None:
    track.send(identify("u1"), identify("u1", **A), identify(B), identify(B, id="u2"))
    assert [row["id"] for row in track.box.truth("customers")] == ["u1", "u2"]
    assert [row["email"] for row in track.box.truth("customers")] == ["a@x.example", "b@x.example"]


def test_topics_are_merged(track: Track) -> None:
    name = "cio_subscription_preferences"
    track.send(
        identify("u1", **{name: {"topics": {"topic_1": True, "topic_2": True}}}),
        identify("u1", **{name: {"topics": {"topic_2": False}}}),
        identify("u1", **{f"{name}.topics.topic_3": True}),
    )
    assert (shown(track) or {})[name] == '{"topics":{"topic_1":true,"topic_2":false,"topic_3":true}}'


def test_whoever_is_deleted_comes_back_as_somebody_else(track: Track) -> None:
    track.send(identify("u1", **A, a=1), person("delete"), person("delete", "nobody"))
    assert shown(track) is None
    assert track.box.truth("customer_attributes") == []
    track.send(identify("u1", **A, b=2))
    assert track.box.truth("customers") == [{"email": "a@x.example", "id": "u1", "cio_id": "a3000002"}]
    assert shown(track) == {"id": "u1", "email": "a@x.example", "b": "2"}
    assert "profile_delete" in dict(activities(track))


@pytest.mark.parametrize("by", [{"id": "u1"}, {"email": "A@x.example"}])
def test_whoever_is_suppressed_stays_away_until_unsuppressed(track: Track, by: dict[str, str]) -> None:
    track.send(identify("u1", **A), person("suppress", by), person("suppress", by))
    (row,) = track.box.truth("suppressed")
    assert (row["id"], row["email"].lower(), row["suppressed_at"]) == ("u1", "a@x.example", NOW)
    attempts = [
        identify("u1", a=1), identify(A), identify("u5", **A), person("event", "u1", name="x"),
        person("event", A, name="x"), person("add_device", "u1", device={"token": "t", "platform": "ios"}),
    ]  # fmt: skip
    track.send(*attempts)
    assert track.box.truth("customers") == []
    assert track.box.truth("track_events") == []
    track.send(person("unsuppress", "u1"), *attempts[:2])
    assert track.box.truth("suppressed") == []
    assert len(track.box.truth("customers")) == 2  # the identifiers no longer belong together


def test_somebody_unknown_can_be_suppressed(track: Track) -> None:
    track.send(person("suppress", "u1"), identify("u1"))
    assert track.box.truth("customers") == []
    assert [row["id"] for row in track.box.truth("suppressed")] == ["u1"]


def test_a_merge_fills_what_the_primary_lacks(track: Track) -> None:
    device = {"token": "t2", "platform": "android", "last_used": NOW}
    track.send(
        identify("u1", plan="pro", empty=""),
        identify("u2", **B, plan="free", city="Zürich", empty="full"),
        person("event", "u2", name="recent", timestamp=NOW - 86400),
        person("event", "u2", name="old", timestamp=NOW - 31 * 86400),
        person("add_device", "u2", device=device),
        person("add_relationships", "u2", cio_relationships=[
            {"identifiers": {"object_type_id": "1", "object_id": "acme-0"}, "relationship_attributes": {"r": 1}}]),
    )  # fmt: skip
    track.v1("POST", "segments/3/add_customers", {"ids": ["u2"]})
    track.send({"type": "person", "action": "merge", "primary": {"id": "u1"}, "secondary": {"id": "u2"}})
    assert track.box.truth("customers") == [{"email": "b@x.example", "id": "u1", "cio_id": "a3000001"}]
    assert shown(track) == {"id": "u1", "email": "b@x.example", "plan": "pro", "city": "Zürich", "empty": "full"}
    assert [row["cio_id"] for row in track.box.truth("devices")] == ["a3000001"]
    assert [row["cio_id"] for row in track.box.truth("customer_relationships")] == ["a3000001"]
    assert [row["cio_id"] for row in track.box.truth("segment_membership")] == ["a3000001"]
    assert {row["name"]: row["cio_id"] for row in track.box.truth("track_events")} == {
        "recent": "a3000001", "old": "a3000002",
    }  # fmt: skip
    client = Client(track.box.url)
    names = {row.get("name") for row in client.walk("customers/u1/activities", "activities", limit=100)}
    client.session.close()
    assert "recent" in names
    assert "old" not in names
    assert "profile_merge" in dict(activities(track))


@pytest.mark.parametrize(("primary", "secondary"), [("u1", "nobody"), ("nobody", "u1"), ("u1", "u1")])
def test_a_merge_needs_two_people(track: Track, primary: str, secondary: str) -> None:
    track.send(identify("u1", a=1), {"type": "person", "action": "merge", "primary": {"id": primary},
                                     "secondary": {"id": secondary}})  # fmt: skip
    assert shown(track) == {"id": "u1", "a": "1"}


def test_chained_merges_end_at_the_last(track: Track) -> None:
    track.send(*(identify(f"u{n}", **{f"a{n}": n}) for n in range(4)), person("event", "u0", name="x"))
    for n in range(3):
        track.send({"type": "person", "action": "merge", "primary": {"id": f"u{n + 1}"}, "secondary": {"id": f"u{n}"}})
    assert shown(track, "id", "u3") == {"id": "u3", "a0": "0", "a1": "1", "a2": "2", "a3": "3"}
    assert [row["cio_id"] for row in track.box.truth("track_events")] == ["a3000004"]
    client = Client(track.box.url)
    rows = client.walk("customers/u3/activities", "activities", limit=100, type="event")
    client.session.close()
    assert [row["name"] for row in rows] == ["x"]


def test_devices_come_and_go(track: Track) -> None:
    first = {"token": "t/1+", "platform": "ios", "last_used": 17, "attributes": {"app_version": "1"}}
    track.send(
        identify("u1"), person("add_device", device=first),
        person("add_device", device={"token": "t2", "platform": "android"}),
        person("add_device", device=first | {"last_used": 18}),
    )  # fmt: skip
    rows = track.box.truth("devices")
    assert rows == [
        {"cio_id": "a3000001", "token": "t/1+", "platform": "ios", "last_used": 18, "attributes": {"app_version": "1"}},
        {"cio_id": "a3000001", "token": "t2", "platform": "android", "last_used": NOW, "attributes": {}},
    ]
    assert [device["id"] for device in track.box.truth("customer_attributes")[0]["devices"]] == ["t/1+", "t2"]
    track.send(person("delete_device", device={"token": "t2"}), person("delete_device", device={"token": "none"}))
    assert [row["token"] for row in track.box.truth("devices")] == ["t/1+"]


def test_people_of_the_world_can_be_changed_too(start: Callable[..., tuple[Sandbox, Client]]) -> None:
    box, api = start(track_rps=0, people=100)
    track = Track(box)
    before = box.person("id", "u_1003") or {}
    assert before["vip"]
    devices = len(box.truth("devices"))
    track.send(
        identify("u_1003", first_name="Neu", vip=None, extra=[1]),
        person("add_device", "u_1003", device={"token": "t", "platform": "ios"}),
        person("delete", "u_1005"),
    )
    after = box.person("id", "u_1003") or {}
    assert after == {name: text for name, text in before.items() if name != "vip"} | {
        "first_name": "Neu", "extra": "[1]",
    }  # fmt: skip
    assert len(box.truth("devices")) == devices + 1
    listed = api.walk("customers", "identifiers", EVERYBODY, limit=1000)
    assert listed == box.truth("customers")
    assert len(listed) == 99
    assert api.ask("customers/u_1005/attributes").status_code == 404
    rows = api.walk("activities", "activities", limit=100, customer_id="u_1003")
    newest = next(row for row in rows if row["type"] == "attribute_change" and "extra" in row["data"])
    assert newest["data"]["vip"]["to"] is None
    track.session.close()
