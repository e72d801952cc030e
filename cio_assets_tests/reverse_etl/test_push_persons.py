"""Persons end to end: what arrives, what is not sent again, what is removed."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from cio_assets.reverse_etl.source import PushError
from cio_assets.warehouse.frames import Relation
from cio_assets_tests.reverse_etl.pushing import PERSONS, Pushing, sync, whole

PEOPLE = """
    CREATE OR REPLACE TABLE reverse_etl.persons AS
    SELECT 'u_' || i AS id, 'User' || i || '@Example.com' AS email, 'Zoë ' || i AS first_name, i AS visits,
           i * 1.25::DECIMAL(9,2) AS ltv, i % 2 = 0 AS vip, TIMESTAMP '2026-01-01' + INTERVAL (i) HOUR AS created_at
    FROM range({}) t(i)"""


def attributes(pushing: Pushing, identifier: str) -> dict[str, Any]:
    """A person's attributes as the App side shows them."""
    assert pushing.box
    rows = [row["attributes"] for row in pushing.box.truth("customer_attributes")]
    return next((row for row in rows if row.get("id") == identifier), {})


def test_every_row_arrives_once_and_unchanged_rows_cost_nothing(pushing: Pushing) -> None:
    pushing.sql(PEOPLE.format(500))
    first = pushing.push(PERSONS)
    assert (first.rows, first.accepted, first.unchanged, first.removed) == (500, 500, 0, 0)
    assert first.requests == 1
    person = attributes(pushing, "u_3")
    assert person["first_name"] == "Zoë 3"
    assert person["visits"] == "3"
    assert float(person["ltv"]) == 3.75
    assert person["vip"] == "false"
    assert person["created_at"] == "1767236400"
    assert person["email"] == "User3@Example.com"

    second = pushing.push(PERSONS)
    assert (second.requests, second.unchanged, second.accepted) == (0, 500, 0)

    pushing.sql("UPDATE reverse_etl.persons SET visits = -1 WHERE id IN ('u_3', 'u_4')")
    third = pushing.push(PERSONS)
    assert (third.accepted, third.unchanged, third.requests) == (2, 498, 1)
    assert attributes(pushing, "u_3")["visits"] == "-1"
    assert whole(third)


def test_full_sends_everything_again(pushing: Pushing) -> None:
    pushing.sql(PEOPLE.format(20))
    pushing.push(PERSONS)
    again = pushing.push(PERSONS, full=True)
    assert (again.accepted, again.unchanged) == (20, 0)


@pytest.mark.parametrize("form", ["table", "select", "view", "arrow", "reader", "pandas"])
def test_rows_come_in_any_form(pushing: Pushing, form: str) -> None:
    pushing.sql(PEOPLE.format(30))
    pushing.sql("CREATE VIEW reverse_etl.v AS SELECT * FROM reverse_etl.persons")
    table = pa.table({"id": [f"u_{i}" for i in range(30)], "visits": list(range(30))})
    rows: Any = {
        "table": "reverse_etl.persons",
        "select": Relation("SELECT id, visits FROM reverse_etl.persons WHERE visits < 100;"),
        "view": Relation("reverse_etl.v"),
        "arrow": table,
        "reader": table.to_reader(7),
        "pandas": table.to_pandas(),
    }[form]
    assert pushing.push(PERSONS, rows).accepted == 30
    assert attributes(pushing, "u_7")["visits"] == "7"
    if form != "reader":
        assert pushing.push(PERSONS, rows).requests == 0


def test_float_ids_of_pandas_stay_integers(pushing: Pushing) -> None:
    frame = pd.DataFrame({"id": [1001.0, None], "email": [None, "b@example.com"], "score": [1.5, float("nan")]})
    assert pushing.push(PERSONS, frame).accepted == 2
    assert attributes(pushing, "1001")["score"] == "1.5"


def test_a_source_that_is_not_there_is_no_error(pushing: Pushing) -> None:
    assert pushing.push(PERSONS).status == "inactive"
    assert not list(pushing.outbox.glob("persons/*"))


def test_wrong_sql_says_what_is_wrong_and_sends_nothing(pushing: Pushing) -> None:
    pushing.sql(PEOPLE.format(3))
    with pytest.raises(PushError, match="nonsense"):
        pushing.push(PERSONS, Relation("SELECT nonsense FROM reverse_etl.persons"))
    with pytest.raises(PushError, match="ConversionException") as caught:
        pushing.push(PERSONS, Relation("SELECT id, email::INTEGER AS x FROM reverse_etl.persons"))
    assert "Example.com" not in str(caught.value)


def test_mirror_removes_what_left_and_only_that(pushing: Pushing) -> None:
    pushing.sql(PEOPLE.format(100))
    mirror = sync("persons", mode="mirror")
    pushing.push(mirror)
    pushing.sql("DELETE FROM reverse_etl.persons WHERE visits >= 95")
    pushing.sql("UPDATE reverse_etl.persons SET first_name = 'new' WHERE visits < 10")
    result = pushing.push(mirror)
    assert (result.accepted, result.removed, result.unchanged, result.sent) == (10, 5, 85, 15)
    assert pushing.box
    assert len(pushing.box.truth("customers")) == 95
    assert pushing.push(mirror).requests == 0
    pushing.sql("INSERT INTO reverse_etl.persons (id, visits) VALUES ('u_99', 1)")
    assert pushing.push(mirror).accepted == 1, "it has come back"


@pytest.mark.parametrize(("gone", "people"), [("ignore", 3), ("delete", 2), ("suppress", 2), ("unset", 3)])
def test_rows_that_left_by_policy(pushing: Pushing, gone: str, people: int) -> None:
    pushing.sql(PEOPLE.format(3))
    what = sync("persons", gone=gone)
    pushing.push(what)
    pushing.sql("DELETE FROM reverse_etl.persons WHERE id = 'u_1'")
    result = pushing.push(what)
    assert result.removed == (0 if gone == "ignore" else 1)
    assert pushing.box
    assert len(pushing.box.truth("customers")) == people
    if gone == "unset":
        left = attributes(pushing, "u_1")
        assert "first_name" not in left
        assert left["email"] == "User1@Example.com" or "email" not in left
    if gone == "suppress":
        pushing.sql("INSERT INTO reverse_etl.persons (id) VALUES ('u_1')")
        pushing.push(what)
        assert not attributes(pushing, "u_1"), "suppressed people stay suppressed"
    assert pushing.push(what).requests == 0


def test_a_person_who_changes_the_identifying_column_is_not_deleted(pushing: Pushing) -> None:
    mirror = sync("persons", mode="mirror")
    pushing.push(mirror, pa.table({"id": pa.array([None, "u_2"], pa.string()), "email": ["a@x.org", "b@x.org"]}))
    result = pushing.push(mirror, pa.table({"id": ["u_1", "u_2"], "email": ["a@x.org", "b@x.org"]}))
    assert (result.accepted, result.removed, result.unchanged) == (1, 0, 1)
    assert pushing.box
    assert sorted(row["id"] for row in pushing.box.truth("customers")) == ["u_1", "u_2"]
    later = pushing.push(mirror, pa.table({"id": ["u_2"], "email": ["b@x.org"]}))
    assert later.removed == 1
    assert [row["id"] for row in pushing.box.truth("customers")] == ["u_2"]


def test_an_emptied_source_does_not_empty_the_workspace(pushing: Pushing) -> None:
    pushing.sql(PEOPLE.format(10))
    pushing.push(sync("persons", mode="mirror"))
    pushing.sql("DELETE FROM reverse_etl.persons")
    with pytest.raises(PushError, match="allow_empty"):
        pushing.push(sync("persons", mode="mirror"))
    assert pushing.push(sync("persons", mode="mirror", allow_empty=True)).removed == 10


def test_update_never_creates(pushing: Pushing) -> None:
    pushing.push(PERSONS, pa.table({"id": ["known"], "plan": ["free"]}))
    result = pushing.push(sync("persons", mode="update"), pa.table({"id": ["known", "new"], "plan": ["pro", "pro"]}))
    assert result.accepted == 2
    assert pushing.box
    assert [row["id"] for row in pushing.box.truth("customers")] == ["known"]
    assert attributes(pushing, "known")["plan"] == "pro"


def test_a_changed_definition_is_noticed(pushing: Pushing) -> None:
    pushing.sql(PEOPLE.format(10))
    pushing.push(PERSONS)
    pushing.sql("ALTER TABLE reverse_etl.persons ADD COLUMN plan VARCHAR DEFAULT 'pro'")
    result = pushing.push(PERSONS)
    assert result.accepted == 10
    assert result.definition_changes == ("column plan is new",)
    result = pushing.push(sync("persons", mode="update"))
    assert result.accepted == 10
    assert result.definition_changes == ("mode: upsert became update",)
    assert pushing.push(sync("persons", mode="update")).definition_changes == ()


def test_nulls_are_left_out_or_unset(pushing: Pushing) -> None:
    pushing.push(PERSONS, pa.table({"id": ["a"], "plan": ["pro"], "city": ["Bern"]}))
    pushing.push(PERSONS, pa.table({"id": ["a"], "plan": pa.array([None], pa.string()), "city": ["Bern"]}))
    assert attributes(pushing, "a")["plan"] == "pro"
    pushing.push(sync("persons", nulls="unset"), pa.table({"id": ["a"], "plan": pa.array([None], pa.string())}))
    assert "plan" not in attributes(pushing, "a")


def test_another_workspace_is_told_everything(pushing: Pushing, tmp_path: Any) -> None:
    pushing.sql(PEOPLE.format(10))
    pushing.push(sync("persons", mode="mirror"))
    other = Pushing(pushing.box, tmp_path, site_id="another site")
    result = other.push(sync("persons", mode="mirror"))
    assert (result.accepted, result.unchanged, result.removed) == (10, 0, 0)


def test_a_dry_run_counts_and_sends_nothing(pushing: Pushing) -> None:
    pushing.sql(PEOPLE.format(10))
    mirror = sync("persons", mode="mirror")
    pushing.push(mirror)
    pushing.sql("DELETE FROM reverse_etl.persons WHERE visits = 9")
    pushing.sql("UPDATE reverse_etl.persons SET vip = NULL WHERE visits < 3")
    pushing.sql("INSERT INTO reverse_etl.persons (first_name) VALUES ('nobody')")
    assert pushing.box
    before = pushing.box.stats()["requests"]
    planned = pushing.push(mirror, dry_run=True)
    assert pushing.box.stats()["requests"] == before
    assert (planned.status, planned.sent, planned.removed, planned.unchanged) == ("dry run", 3, 1, 6)
    assert planned.rejected == {"identifier_missing": 1}
    assert planned.shape["identifiers"] == {"id": "VARCHAR"}
    assert planned.shape["attributes"]["first_name"] == "VARCHAR"
    real = pushing.push(mirror)
    assert (real.accepted, real.removed, real.unchanged) == (3, 1, 6)


def test_duplicates_one_is_sent_the_others_are_rejected(pushing: Pushing) -> None:
    rows = pa.table({"id": ["a", "a", "b", "a"], "plan": ["free", "pro", "pro", "pro"]})
    result = pushing.push(PERSONS, rows)
    assert (result.rows, result.accepted, result.rejected) == (4, 2, {"duplicate_key": 2})
    chosen = attributes(pushing, "a")["plan"]
    again = pushing.push(PERSONS, rows.take([3, 2, 1, 0]))
    assert (again.requests, again.unchanged, again.rejected) == (0, 2, {"duplicate_key": 2})
    assert attributes(pushing, "a")["plan"] == chosen
    assert {reason for _, reason, _ in pushing.rejected()} == {"duplicate_key"}
    assert pushing.push(PERSONS, rows.slice(1, 2)).rejected == {}
    assert pushing.rejected() == []
