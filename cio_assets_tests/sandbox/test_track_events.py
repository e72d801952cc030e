"""Events count once, create their people, and find the person who was anonymous."""

import pytest

from .client import NOW, Client
from .track_client import ULID, Track, identify, person

DAY = 86400


def names(track: Track) -> list[tuple[str, str | None]]:
    return [(row["name"], row["cio_id"]) for row in track.box.truth("track_events")]


def test_an_event_is_kept_as_it_was_sent(track: Track) -> None:
    track.send(
        identify("u1"),
        person("event", name="  buy ", id=ULID, timestamp=NOW - 9, attributes={"price": 2.5, "none": None, "l": [1]}),
        person("page", name="https://x.example/", attributes={"url": "https://x.example/?q"}),
        person("screen", name="Home"),
    )
    assert track.box.truth("track_events")[0] == {
        "id": ULID, "name": "buy", "type": "event", "identifiers": {"id": "u1"}, "cio_id": "a3000001",
        "timestamp": NOW - 9, "attributes": {"price": 2.5, "none": None, "l": [1]},
    }  # fmt: skip
    client = Client(track.box.url)
    rows = {row["type"]: row for row in client.walk("activities", "activities", limit=100)}
    assert len(client.walk("activities", "activities", limit=100, type="event", name="buy")) == 1
    client.session.close()
    assert (rows["event"]["name"], rows["event"]["data"]["price"], rows["event"]["timestamp"]) == ("buy", 2.5, NOW - 9)
    assert rows["page"]["url"] == "https://x.example/?q"
    assert rows["screen"]["name"] == "Home"
    assert rows["event"]["customer_identifiers"]["id"] == "u1"


def test_a_known_ulid_is_ignored_whoever_it_is_about(track: Track) -> None:
    event = person("event", name="buy", id=ULID)
    track.send(event, event)
    track.send(event, person("event", "u2", name="other", id=ULID.lower()))
    track.v1("POST", "customers/u1/events", {"name": "v1", "id": ULID})
    assert names(track) == [("buy", "a3000001")]
    assert track.box.stats()["operations"]["person.event"] == 5


def test_without_an_id_every_event_counts(track: Track) -> None:
    event = person("event", name="buy", timestamp=NOW)
    track.send(event, event)
    assert len(names(track)) == 2


@pytest.mark.parametrize("identifiers", [{"id": "new"}, {"email": "new@x.example"}, {"phone": "+4915112345678"}])
def test_unknown_people_come_into_being(track: Track, identifiers: dict[str, str]) -> None:
    track.send(person("event", identifiers, name="buy"))
    ((kind, value),) = identifiers.items()
    assert (track.box.person(kind, value) or {})["cio_id"] == "a3000001"
    assert names(track) == [("buy", "a3000001")]


def test_timestamps_in_milliseconds_break_nothing(track: Track) -> None:
    track.send(person("event", name="buy", timestamp=NOW * 1000), person("event", name="old", timestamp=-(10**15)))
    assert [row["timestamp"] for row in track.box.truth("track_events")] == [NOW * 1000, -(10**15)]
    assert len(track.box.truth("activities")) == 3


def test_anonymous_events_follow_the_person_who_becomes_known(track: Track) -> None:
    for name, stamp in (("new", NOW - DAY), ("old", NOW - 31 * DAY)):
        track.v1("POST", "events", {"name": name, "anonymous_id": "anon-1", "timestamp": stamp, "data": {"a": 1}})
    track.v1("POST", "events", {"name": "nobody"})
    assert names(track) == [("new", None), ("old", None), ("nobody", None)]
    assert track.box.truth("track_events")[0]["identifiers"] == {"anonymous_id": "anon-1"}
    assert track.box.truth("track_events")[2]["identifiers"] == {}
    assert track.box.truth("customers") == []
    track.send(identify("u1", anonymous_id="anon-1"))
    assert names(track) == [("new", "a3000001"), ("old", None), ("nobody", None)]
    types = {row["type"] for row in track.box.truth("activities")}
    assert {"event", "anon_merge"} <= types
    assert (track.box.person("id", "u1") or {})["anonymous_id"] == "anon-1"
