"""The two tables of people one without the other, and which way of reading is chosen when."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cio_assets.assets.asked import Circumstances
from cio_assets.assets.people import Costs, choose
from cio_assets.assets.people_changes import noted
from cio_assets.warehouse.ledger import CHANGED, FULL, Last
from cio_assets.warehouse.stored_people import Counts
from cio_assets_tests.assets.people_workspace import NOW, Reader, Workspace, move, wrong


def test_attributes_alone_look_for_changes_themselves(service: Workspace, reader: Reader) -> None:
    service.set("a0001", reader.now, plan="pro")
    del service.people["a0002"]
    service.act("profile_delete", "a0002", reader.now, {})
    assert reader.read("customer_attributes")["people_mode"] == "changed"
    assert not wrong(service, reader, "customer_attributes")
    reader.later(days=1)
    service.set("a0003", reader.now, plan="pro")
    service.set("a0001", reader.now, plan="team")
    reader.read("customer_attributes")
    assert not wrong(service, reader, "customer_attributes")
    reader.later(minutes=5)
    reader.both()
    assert not wrong(service, reader)


def test_identifiers_alone_and_the_attributes_later(service: Workspace, reader: Reader) -> None:
    move(service, reader.now)
    reader.read("customers")
    assert not wrong(service, reader, "customers")
    reader.later(hours=7)
    service.set("a0050", reader.now, plan="pro")
    reader.read("customers")
    reader.later(minutes=2)
    service.requests()
    assert reader.read("customer_attributes")["requests"] == 1
    assert not wrong(service, reader)


def test_long_after_the_identifiers_the_attributes_look_themselves(service: Workspace, reader: Reader) -> None:
    service.set("a0050", reader.now, plan="pro")
    reader.read("customers")
    reader.later(hours=7)
    service.set("a0060", reader.now, plan="pro")
    reader.read("customer_attributes")
    assert not wrong(service, reader, "customer_attributes")


def test_attributes_that_were_dropped_are_all_read(service: Workspace, reader: Reader) -> None:
    reader.drop("customer_attributes")
    assert reader.both()[1]["people_mode"] == "full"
    assert not wrong(service, reader)


def test_people_who_were_dropped_are_all_read(service: Workspace, reader: Reader) -> None:
    service.person("b0001")
    reader.drop("customers")
    people, attributes = reader.both()
    assert (people["people_mode"], attributes["people_mode"]) == ("full", "full")
    assert not wrong(service, reader)


def test_now_and_then_everybody_is_read(service: Workspace, reader: Reader) -> None:
    service.person("a0001", plan="silently changed")
    reader.later(days=5)
    assert reader.both()[0]["people_mode"] == "changed"
    assert wrong(service, reader), "no activity told of it"
    reader.later(days=2)
    people, attributes = reader.both()
    assert (people["people_mode"], attributes["people_mode"]) == ("full", "full")
    assert people["people_mode_because"] == "a full reading is due"
    assert not wrong(service, reader)


def test_a_run_may_ask_for_everybody(service: Workspace, reader: Reader) -> None:
    service.person("a0001", plan="silently changed")
    del service.people["a0002"]
    people, attributes = reader.both(full=True)
    assert (people["people_mode"], attributes["people_mode"]) == ("full", "full")
    assert not wrong(service, reader)


WEEK = timedelta(days=7)
LARGE = Costs(100, 1000)


def last(**hours: float) -> dict[str, Last]:
    return {mode: Last(NOW - timedelta(hours=ago), None) for mode, ago in hours.items()}


@pytest.mark.parametrize(
    ("setting", "known", "costs", "mode"),
    [
        ("auto", {}, LARGE, FULL),
        ("auto", last(full=5), LARGE, CHANGED),
        ("auto", last(full=5), Costs(3, 22), FULL),
        ("auto", last(full=5), Costs(3, 23), CHANGED),
        ("changed", last(full=5), Costs(1, 1), CHANGED),
        ("changed", {}, LARGE, FULL),
        ("changed", last(changed=5), LARGE, FULL),
        ("changed", last(full=7 * 24, changed=5), LARGE, FULL),
        ("changed", last(full=7 * 24 - 1, changed=5), LARGE, CHANGED),
        ("changed", last(full=-1), LARGE, FULL),
        ("changed", last(full=5, changed=-1), LARGE, FULL),
        ("full", last(full=5), LARGE, FULL),
        ("export", {}, LARGE, "export"),
    ],
)
def test_the_way_is_chosen(setting: Any, known: dict[str, Last], costs: Costs, mode: str) -> None:
    assert choose(setting, known, costs, Circumstances(NOW, WEEK)).mode == mode
    assert choose(setting, known, costs, Circumstances(NOW, WEEK, full=True)).mode == FULL


def test_activities_must_reach_back_to_the_last_reading() -> None:
    seldom = Circumstances(NOW, timedelta(days=100))
    assert choose("changed", last(full=29 * 24), LARGE, seldom).mode == CHANGED
    assert choose("changed", last(full=29 * 24 + 1), LARGE, seldom).mode == FULL


def test_what_a_full_reading_costs() -> None:
    assert Costs.of(Counts(2500, 2400)) == Costs(3, 25)
    assert Costs.of(Counts(2500, 0)) == Costs(3, 0), "nobody reads the attributes"
    assert Costs.of(Counts(0, 0)).total == 1


def test_a_service_without_the_filter_is_understood() -> None:
    row = {"type": "event", "timestamp": 5, "cio_id": "a1", "customer_id": None, "email": None, "data": {}}
    assert noted([row])["people"] == []
    assert noted([row | {"type": "attribute_change", "data": {"plan": {"to": "x"}}}])["people"] == [("a1", False)]
