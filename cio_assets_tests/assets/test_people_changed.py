"""Only people who changed are read again, and both tables are as a full reading would leave them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cio_assets.customerio import CredentialsRefused, NotFound
from cio_assets_tests import forked
from cio_assets_tests.assets.people_workspace import NOW, Reader, Workspace, marked, move, wrong
from cio_assets_tests.conftest import environment, run_cli
from cio_assets_tests.customerio.http_server import Say
from cio_assets_tests.truth import differences, live, stored

BATCH, LIST, ACTIVITIES = "/v1/customers/attributes", "/v1/customers", "/v1/activities"
LISTS = 11
"""Lists of activities that are looked into."""


def test_only_those_who_changed_are_asked(service: Workspace, reader: Reader) -> None:
    move(service, reader.now - timedelta(hours=1))
    people, attributes = reader.both()
    assert not wrong(service, reader)
    assert service.requests() == {ACTIVITIES: LISTS + 8, BATCH: 2}, "8 lists have rows, and an empty end"
    assert marked(reader) == marked(reader, "customer_attributes") == {"a0020", "a0031"}
    assert (people["people_mode"], attributes["people_mode"]) == ("changed", "changed")
    assert attributes["requests_spared"] == 2

    untouched = {row["_synced_at"] for row in stored(reader.path, "customer_attributes", "cio_id = 'a0099'")}
    assert untouched == {NOW.timestamp()}


def test_nothing_changed(service: Workspace, reader: Reader) -> None:
    people, attributes = reader.both()
    assert (people["requests"], attributes["requests"]) == (LISTS, 0)
    assert not wrong(service, reader)


def test_a_list_that_is_newest_first_is_left_behind_the_last_reading(service: Workspace, reader: Reader) -> None:
    service.page_size = 10
    for number in range(100):
        service.act("attribute_change", f"a{number:04d}", NOW - timedelta(days=2, seconds=-number), {"x": {"to": "1"}})
    service.set("a0200", reader.now, plan="pro")
    reader.both()
    assert service.requests()[ACTIVITIES] == LISTS + 1
    assert not wrong(service, reader)


def test_a_list_in_another_order_is_read_to_its_end(service: Workspace, reader: Reader) -> None:
    service.page_size = 10
    service.set("a0200", reader.now, plan="pro")
    for number in range(100):
        service.act("attribute_change", f"a{number:04d}", NOW - timedelta(days=20, seconds=number), {"x": {"to": "1"}})
    assert reader.read("customers")["people_mode"] == "changed"
    assert service.requests()[ACTIVITIES] == LISTS + 11
    reader.read("customer_attributes")
    assert not wrong(service, reader)


def test_many_changes_cost_more_than_a_full_reading(service: Workspace, home: Path) -> None:
    for number in range(3000):
        service.person(f"c{number:04d}", plan="free")
    reader = Reader(home, service.url, people="auto")
    reader.both()
    reader.later(days=1)
    service.set("c0001", reader.now, plan="pro")
    assert reader.read("customers")["people_mode"] == "changed"
    assert reader.read("customer_attributes")["people_mode"] == "changed"
    reader.later(days=1)
    service.requests()
    for number in range(2900):
        service.set(f"c{number:04d}", reader.now, plan="team")
    people, attributes = reader.both()
    assert (people["people_mode"], attributes["people_mode"]) == ("full", "full")
    assert "so many changed" in people["people_mode_because"]
    assert service.requests()[ACTIVITIES] < LISTS + 25, "it gave up in time"
    assert not wrong(service, reader)


def test_a_small_workspace_is_read_in_full(service: Workspace, home: Path) -> None:
    reader = Reader(home, service.url, people="auto")
    reader.both()
    reader.later(hours=5)
    service.person("a0001", plan="silently changed")
    people, attributes = reader.both()
    assert (people["people_mode"], attributes["people_mode"]) == ("full", "full")
    assert not wrong(service, reader)


@pytest.mark.parametrize(
    ("kind", "who", "data"),
    [
        ("profile_merge", "a0030", {}),
        ("profile_merge", "a0030", None),
        ("profile_delete", None, {}),
        ("profile_delete", {"cio_id": None, "id": None, "email": None}, None),
        ("profile_create", {"cio_id": None, "id": None, "email": "nobody@example.com"}, {}),
    ],
)
def test_where_it_is_unclear_who_came_or_went_everybody_is_read(
    service: Workspace, reader: Reader, kind: str, who: Any, data: Any
) -> None:
    service.act(kind, who, reader.now, data)
    del service.people["a0031"]
    people, attributes = reader.both()
    assert (people["people_mode"], attributes["people_mode"]) == ("full", "full")
    assert not wrong(service, reader)


@pytest.mark.parametrize(
    "data",
    [
        {"merged": {"cio_id": "a0031"}},
        {"secondary": {"id": "u_a0031"}},
        {"from": "A0031@example.com"},
        {"deep": [{"x": ["u_a0031"]}]},
    ],
)
def test_a_merge_names_the_other_in_any_words(service: Workspace, reader: Reader, data: Any) -> None:
    service.act("profile_merge", "a0030", reader.now, data)
    del service.people["a0031"]
    people, _ = reader.both()
    assert people["people_mode"] == "changed"
    assert not wrong(service, reader)


def test_two_activities_of_a_merge_tell_of_each_other(service: Workspace, reader: Reader) -> None:
    service.act("profile_merge", "a0031", reader.now, {})
    service.act("profile_merge", "a0030", reader.now, {"id": "u_a0031"})
    del service.people["a0031"]
    assert reader.both()[0]["people_mode"] == "changed"
    assert not wrong(service, reader)


def test_people_without_cio_id_in_their_activity(service: Workspace, reader: Reader) -> None:
    service.person("a0005", plan="by id")
    service.act("attribute_change", None, reader.now, {"plan": {"to": "by id"}}, customer_id="u_a0005")
    service.person("a0006", plan="by email")
    service.act("attribute_change", {"email": "A0006@example.com", "id": None}, reader.now, {"plan": {"to": "x"}})
    service.person("b0001", plan="new")
    service.act("profile_create", None, reader.now, {}, customer_id="u_b0001")
    service.act("profile_create", None, reader.now, {}, customer_id="came and went")
    service.act("attribute_change", None, reader.now, {"plan": {"to": "x"}})  # of somebody anonymous
    service.person("a0007", plan="prefixed")
    service.act("attribute_change", {"cio_id": "cio_a0007"}, reader.now, {"plan": {"to": "x"}})
    assert reader.both()[0]["people_mode"] == "changed"
    assert not wrong(service, reader)


def test_activities_may_name_people_who_are_not_there(service: Workspace, reader: Reader) -> None:
    service.act("attribute_change", "zz01", reader.now, {"plan": {"from": None, "to": "x"}})
    service.act("profile_create", {"cio_id": "zz02", "id": None, "email": None}, reader.now, None)
    assert reader.both()[0]["people_mode"] == "changed"
    assert not wrong(service, reader)
    assert not marked(reader)


@pytest.mark.parametrize("data", [None, {}, [], "plan", {"email": None}, {"plan": "pro"}, {"Email": {"to": "x"}}])
def test_whoever_may_have_other_identifiers_is_asked(service: Workspace, reader: Reader, data: Any) -> None:
    service.person("a0007", email="other@example.com")
    service.act("attribute_change", "a0007", reader.now, data)
    reader.both()
    assert not wrong(service, reader)


def test_somebody_who_comes_back_is_live_again(service: Workspace, reader: Reader) -> None:
    away = service.people.pop("a0007")
    service.act("profile_delete", "a0007", reader.now, {})
    reader.both()
    assert marked(reader) == {"a0007"}
    reader.later(hours=5)
    service.people["a0007"] = away | {"plan": "back"}
    service.act("attribute_change", "a0007", reader.now, {"plan": {"to": "back"}})
    reader.both()
    assert not wrong(service, reader)


def test_a_404_of_a_batch_is_an_error_and_never_gone(service: Workspace, reader: Reader) -> None:
    move(service, reader.now)
    before = [stored(reader.path, table) for table in ("customers", "customer_attributes")]
    service.bend = lambda path, _, say: Say(404, {"errors": [{"detail": "no"}]}) if path == BATCH else say
    with pytest.raises(NotFound):
        reader.read("customers")
    assert [stored(reader.path, table) for table in ("customers", "customer_attributes")] == before
    service.bend = lambda _path, _query, say: say
    reader.read("customers")
    service.bend = lambda path, _, say: Say(404, {"errors": [{"detail": "no"}]}) if path == BATCH else say
    with pytest.raises(NotFound):
        reader.read("customer_attributes")
    assert stored(reader.path, "customer_attributes") == before[1]
    service.bend = lambda _path, _query, say: say
    reader.read("customer_attributes")
    assert not wrong(service, reader)


@pytest.mark.parametrize("dies_at", range(1, 21, 3))
def test_a_run_that_died_goes_on(service: Workspace, reader: Reader, dies_at: int) -> None:
    move(service, reader.now - timedelta(minutes=1))
    service.page_size = 3
    left = [dies_at]

    def dying(_path: str, _query: Any, say: Say) -> Say:
        left[0] -= 1
        return Say(401, {"errors": [{"detail": "unauthorized"}]}) if left[0] < 0 else say

    service.bend = dying
    with pytest.raises(CredentialsRefused):
        reader.read("customers")
    service.bend = lambda _path, _query, say: say
    service.requests()
    reader.later(minutes=5)
    reader.both()
    once = LISTS + 8 + 1 + 2  # 8 lists have rows, one of them two pages; each table asks one batch
    assert service.requests().total() == once - dies_at
    assert not wrong(service, reader)


def test_a_run_that_died_while_it_read_everybody_goes_on_so(service: Workspace, reader: Reader) -> None:
    service.act("profile_merge", "a0030", reader.now, {})
    del service.people["a0031"]
    refused = Say(401, {"errors": [{"detail": "unauthorized"}]})
    service.bend = lambda path, _, say: refused if path == LIST else say
    with pytest.raises(CredentialsRefused):
        reader.read("customers")
    service.requests()
    service.bend = lambda _path, _query, say: say
    assert reader.read("customers")["people_mode"] == "full"
    assert service.requests() == {LIST: 1}
    reader.read("customer_attributes")
    assert not wrong(service, reader)


def test_a_cursor_that_is_refused_begins_its_list_anew(service: Workspace, reader: Reader) -> None:
    service.page_size = 2
    for number in range(7):
        service.set(f"a{number:04d}", reader.now, plan="pro")
    refusals = [Say(400, {"errors": [{"detail": "start: invalid cursor"}]})]
    service.bend = lambda _path, query, say: refusals.pop() if query.get("start") == "4" and refusals else say
    reader.both()
    assert not refusals
    assert not wrong(service, reader)


def test_a_service_whose_clock_is_behind_ours(home: Path) -> None:
    behind = (NOW - timedelta(days=2)).isoformat()
    with forked.launch(people=300, app_rps=0, deliveries=10, now=behind, freeze=True) as box:
        reader = Reader(home, box.url)
        reader.both()
        reader.later(hours=5)
        box.mutate("change_people", count=250)  # more than the first page tells
        box.mutate("delete_people", count=3)
        assert reader.both()[0]["people_mode"] == "changed"
        for table in ("customers", "customer_attributes"):
            assert differences(table, live(stored(reader.path, table)), box.truth(table)) == []


@pytest.mark.slow
@pytest.mark.soak
def test_one_percent_of_100_000_people(home: Path, tmp_path: Path) -> None:
    tables = ("customers", "customer_attributes")
    small = {"campaigns": 1, "broadcasts": 1, "newsletters": 1, "segments": 1, "objects": 1, "deliveries": 1000}
    with forked.launch(people=100_000, app_rps=0, **small) as box:
        environ = environment(home, box)

        def sync() -> int:
            box.reset_stats()
            done = run_cli(["sync", "--select", ",".join(tables)], environ, tmp_path)
            assert done.code == 0, done.text
            return box.stats()["requests"]

        assert sync() == 1100
        box.mutate("change_people", count=900)
        box.mutate("add_people", count=50)
        gone = {*box.mutate("delete_people", count=45)["ids"], *box.mutate("merge_people", count=5)["merged"]}
        assert sync() <= 60
        for table in tables:
            rows = stored(home / "warehouse.duckdb", table)
            assert differences(table, live(rows), box.truth(table)) == []
            assert {row["cio_id"] for row in rows if row["_deleted_at"]} == gone
        assert box.stats()["violations"] == []


@pytest.mark.parametrize(
    "data", [{"reason": "manual"}, {"primary": {"cio_id": "a0030", "id": "u_a0030", "email": "a0030@example.com"}}]
)
def test_a_merge_whose_words_name_nobody_else_is_not_understood(service: Workspace, reader: Reader, data: Any) -> None:
    service.act("profile_merge", "a0030", reader.now, data)
    del service.people["a0031"]
    people, _ = reader.both()
    assert people["people_mode"] == "full"
    assert not wrong(service, reader)


def test_a_merge_may_write_a_cio_id_as_paths_do(service: Workspace, reader: Reader) -> None:
    service.act("profile_merge", "a0031", reader.now, {"into": {"value": "cio_a0030"}})
    service.person("a0030", nickname="both")
    del service.people["a0031"]
    people, _ = reader.both()
    assert people["people_mode"] == "changed"
    assert not wrong(service, reader)


def test_who_changed_before_the_last_reading_is_not_asked_again(service: Workspace, reader: Reader) -> None:
    """Though the page that tells of the others tells of them, too."""
    for number in range(90):
        service.act("attribute_change", f"a{number:04d}", NOW - timedelta(days=9), {"email": {"from": "x", "to": "y"}})
    service.set("a0200", reader.now, plan="pro")
    asked: list[int] = []

    def count(path: str, _: Any, say: Say) -> Say:
        if path == BATCH and isinstance(say.body, dict):
            asked.append(len(say.body["customers"]))
        return say

    service.bend = count
    reader.both()
    assert asked == [1]
    assert not wrong(service, reader)


def test_a_merge_that_does_not_say_whose_costs_one_full_reading(service: Workspace, reader: Reader) -> None:
    service.act("profile_merge", "a0030", reader.now - timedelta(hours=2), {})
    del service.people["a0031"]
    assert reader.both()[0]["people_mode"] == "full"
    reader.later(days=1)
    assert reader.both()[0]["people_mode"] == "changed"
    assert not wrong(service, reader)


def test_whoever_takes_over_the_email_of_the_merged_one_is_another(service: Workspace, reader: Reader) -> None:
    service.people["a0030"]["email"] = None
    service.act("attribute_change", "a0030", reader.now, {"email": {"from": "a0030@example.com", "to": None}})
    reader.both()
    reader.later(days=1)
    lost = {"cio_id": "a0031", "id": "u_a0031", "email": "a0031@example.com"}
    del service.people["a0031"]
    service.people["a0030"]["email"] = "a0031@example.com"
    service.act("profile_merge", "a0030", reader.now, {"merged": lost})
    assert reader.both()[0]["people_mode"] == "changed"
    assert not wrong(service, reader)
