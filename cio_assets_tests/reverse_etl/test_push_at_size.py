"""100 000 persons of 12 attributes: the workspace equals the source, and only differences are sent."""

from __future__ import annotations

import pytest

from cio_assets_tests.bench_push import PEOPLE
from cio_assets_tests.reverse_etl.pushing import Pushing, sync

ROWS = 100_000
EXPECTED = """
    SELECT id, email, epoch(created_at)::BIGINT::VARCHAR, first_name, last_name, plan, score::VARCHAR,
           CASE WHEN vip THEN 'true' ELSE 'false' END, visits::VARCHAR, ltv, city,
           epoch(last_seen)::BIGINT::VARCHAR, note
    FROM reverse_etl.persons"""
NAMES = "id email created_at first_name last_name plan score vip visits ltv city last_seen note".split()


def differences(pushing: Pushing) -> list[tuple[str, str, object, object]]:
    """Where the workspace's people differ from the source: id, attribute, wanted, found."""
    assert pushing.box
    found = {row["attributes"]["id"]: row["attributes"] for row in pushing.box.truth("customer_attributes")}
    wanted = {row[0]: dict(zip(NAMES, row, strict=True)) for row in pushing.sql(EXPECTED)}
    unequal: list[tuple[str, str, object, object]] = [
        (key, "", "there", "not there") for key in wanted.keys() ^ found.keys()
    ]
    for key in wanted.keys() & found.keys():
        for name, value in wanted[key].items():
            told = found[key].get(name)
            # A number may be written in several ways.
            same = float(told) == float(value) if name in ("ltv", "score") and told is not None else told == value
            if not same:
                unequal.append((key, name, value, told))
    return unequal


@pytest.mark.slow
@pytest.mark.soak
def test_the_workspace_becomes_the_source_and_only_changes_are_sent(pushing: Pushing) -> None:
    pushing.sql(PEOPLE.format(ROWS))
    mirror = sync("persons", mode="mirror")
    first = pushing.push(mirror)
    assert (first.rows, first.accepted, first.rejected) == (ROWS, ROWS, {})
    assert differences(pushing) == []

    assert pushing.box
    before = pushing.box.stats()
    second = pushing.push(mirror)
    assert (second.requests, second.unchanged) == (0, ROWS)
    assert pushing.box.stats()["track_requests"] == before["track_requests"]

    pushing.sql("UPDATE reverse_etl.persons SET note = 'changed 🎉', visits = -visits - 1 WHERE visits % 1000 = 7")
    pushing.sql("DELETE FROM reverse_etl.persons WHERE visits % 20000 = 13")
    third = pushing.push(mirror)
    assert (third.accepted, third.removed, third.unchanged) == (100, 5, ROWS - 105)
    after = pushing.box.stats()["operations"]
    sent = {kind: count - before["operations"].get(kind, 0) for kind, count in after.items()}
    assert sent == {"person.identify": 100, "person.delete": 5}
    assert differences(pushing) == []
    assert after | {} == pushing.box.stats()["operations"]
    assert pushing.box.stats()["violation_count"] == 0
