"""Objects, relationships and manual segments as they are pushed, seen from the App side."""

from typing import Any

import pytest

from .client import NOW, Client
from .track_client import Track, identify, person, thing

ACME = {"object_type_id": "1", "object_id": "acme"}


def related(track: Track) -> list[tuple[str, str, dict[str, str]]]:
    rows = track.box.truth("customer_relationships")
    return [(row["cio_id"], row["identifiers"]["object_id"], row["attributes"]) for row in rows]


@pytest.fixture
def api(track: Track) -> Any:
    client = Client(track.box.url)
    yield client
    client.session.close()


def test_objects_come_change_and_go(track: Track, api: Client) -> None:
    before = len(track.box.truth("objects"))
    track.send(
        thing("identify", attributes={"name": "Acme", "seats": 3, "gone": None, "meta": {"a": [1]}}),
        thing("identify", attributes={"seats": 4, "name": "", "open": True}),
    )
    item = api.get("objects/1/acme/attributes")["object"]
    assert item["attributes"] == {"seats": "4", "meta": '{"a":[1]}', "open": "true"}
    assert item["timestamps"] == dict.fromkeys(item["attributes"], NOW)
    cio_object_id = item["identifiers"]["cio_object_id"]
    by_cio = {"type": "object", "identifiers": {"cio_object_id": cio_object_id}}
    track.send(by_cio | {"action": "identify", "attributes": {"seats": 5}})
    assert api.get("objects/1/acme/attributes")["object"]["attributes"]["seats"] == "5"
    assert len(track.box.truth("objects")) == before + 1
    track.send(by_cio | {"action": "delete"}, thing("delete"), by_cio | {"action": "identify"})
    assert len(track.box.truth("objects")) == before


def test_people_are_related_from_both_sides(track: Track) -> None:
    track.send(
        person("identify", "u1", attributes={}, cio_relationships=[
            {"identifiers": ACME, "relationship_attributes": {"role": "admin", "since": 5}}]),
        thing("identify", "beta", cio_relationships=[
            {"identifiers": {"id": "u2"}, "relationship_attributes": {"role": "member"}},
            {"identifiers": {"email": "new@x.example"}}, {"identifiers": {"cio_id": "a30000ff"}}]),
        person("add_relationships", "u2", cio_relationships=[{"identifiers": ACME}]),
        thing("add_relationships", cio_relationships=[
            {"identifiers": {"id": "u1"}, "relationship_attributes": {"role": None, "team": "x"}}]),
    )  # fmt: skip
    assert sorted(related(track), key=str) == [
        ("a3000001", "acme", {"since": "5", "team": "x"}), ("a3000002", "acme", {}),
        ("a3000002", "beta", {"role": "member"}), ("a3000003", "beta", {}),
    ]  # fmt: skip
    track.send(
        person("delete_relationships", "u1", cio_relationships=[{"identifiers": ACME}]),
        thing("delete_relationships", "beta", cio_relationships=[{"identifiers": {"id": "u2"}}]),
        person("delete_relationships", "nobody", cio_relationships=[{"identifiers": ACME}]),
        thing("delete_relationships", "nothing", cio_relationships=[{"identifiers": {"id": "u2"}}]),
    )
    assert sorted(related(track), key=str) == [("a3000002", "acme", {}), ("a3000003", "beta", {})]
    types = [row["type"] for row in track.box.truth("activities")]
    assert (types.count("add_relationship"), types.count("delete_relationship")) == (4, 2)
    assert types.count("relationship_attribute_change") == 1
    track.send(thing("delete"))
    assert related(track) == [("a3000003", "beta", {})]


def test_an_anonymous_relationship_waits_for_its_person(track: Track) -> None:
    track.send(thing("identify_anonymous", cio_relationships=[
        {"identifiers": {"anonymous_id": "anon-1"}, "relationship_attributes": {"role": "guest"}}]))  # fmt: skip
    assert related(track) == []
    track.send(identify("u1", anonymous_id="anon-1"))
    assert related(track) == [("a3000001", "acme", {"role": "guest"})]


def test_manual_segments_take_and_lose_people(track: Track, api: Client) -> None:
    track.send(*(identify(f"u{n}", email=f"u{n}@x.example") for n in range(5)), identify({"email": "no@id.example"}))

    def members() -> list[str]:
        return [row["cio_id"] for row in track.box.truth("segment_membership") if row["segment_id"] == 3]

    track.v1("POST", "segments/3/add_customers", {"ids": ["u0", "u1", "u1", "nobody"]})
    track.v1("POST", "segments/3/add_customers", {"ids": ["U3@x.example", "no@id.example", "u2"]}, id_type="email")
    track.v1("POST", "segments/3/add_customers", {"ids": ["a3000005"]}, id_type="cio_id")
    assert members() == ["a3000001", "a3000002", "a3000004", "a3000005", "a3000006"]
    assert [row["cio_id"] for row in api.get("segments/3/membership")["identifiers"]] == members()
    assert [item["id"] for item in api.get("customers/u0/segments")["segments"]] == [3]
    track.v1("POST", "segments/3/remove_customers", {"ids": ["u0", "u2", "nobody"]})
    track.v1("POST", "segments/3/remove_customers", {"ids": ["no@id.example", "u1@x.example"]}, id_type="email")
    assert members() == ["a3000004", "a3000005", "a3000006"]  # who has no id cannot be removed
    track.send(person("delete", "u3"))
    assert members() == ["a3000005", "a3000006"]


@pytest.mark.parametrize("action", ["add_customers", "remove_customers"])
@pytest.mark.parametrize(
    ("segment", "body", "params"),
    [
        ("1", {"ids": ["u1"]}, {}), ("999", {"ids": ["u1"]}, {}), ("x", {"ids": ["u1"]}, {}), ("3", {"ids": []}, {}),
        ("3", {"ids": ["x"] * 1001}, {}), ("3", {"ids": [1]}, {}), ("3", {}, {}), ("3", {"ids": "u1"}, {}),
        ("3", {"ids": ["u1"], "x": 1}, {}), ("3", {"ids": ["u1"]}, {"id_type": "phone"}),
        ("3", {"ids": ["u1"]}, {"type": "id"}),
    ],
)  # fmt: skip
def test_segments_refuse_what_is_not_documented(shared_track: Track, action, segment, body, params) -> None:
    response = shared_track.ask("POST", f"/api/v1/segments/{segment}/{action}", body, **params)
    assert response.status_code == 400
    (error,) = response.json()["meta"]["errors"]
    assert isinstance(error, str)


def test_a_thousand_ids_fit(shared_track: Track) -> None:
    shared_track.v1("POST", "segments/3/add_customers", {"ids": ["x"] * 1000})
