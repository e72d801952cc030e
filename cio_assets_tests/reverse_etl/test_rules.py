"""The table of outcomes names every reason and no other; types are read as DuckDB prints them."""

from __future__ import annotations

import re

import pytest

from cio_assets.reverse_etl.operations.columns import Column
from cio_assets.reverse_etl.operations.rules import OUTCOMES, Reason


def test_every_reason_has_its_outcome() -> None:
    named = {outcome for _, _, outcome in OUTCOMES if re.fullmatch(r"[a-z]+(_[a-z]+)+", outcome)}
    assert named == {reason.value for reason in Reason}


@pytest.mark.parametrize(
    ("type_", "family", "inside"),
    [
        ("VARCHAR", "VARCHAR", {"VARCHAR"}),
        ("DECIMAL(12,2)", "DECIMAL", {"DECIMAL"}),
        ("DECIMAL(2,2)", "DECIMAL", {"DECIMAL", "FRACTION"}),
        ("TIMESTAMP WITH TIME ZONE", "TIMESTAMP WITH TIME ZONE", {"TIMESTAMP WITH TIME ZONE"}),
        ("ENUM('BLOB', 'a''(b')", "ENUM", {"ENUM"}),
        ("INTEGER[][3]", "NESTED", {"INTEGER"}),
        ("STRUCT(blob INTEGER, \"a \"\", BLOB\" VARCHAR[])[]", "NESTED", {"INTEGER", "VARCHAR"}),
        ("STRUCT(a STRUCT(\"double\" BLOB), b DECIMAL(10,2))", "NESTED", {"BLOB", "DECIMAL"}),
        ("MAP(VARCHAR, STRUCT(x DOUBLE)[])", "NESTED", {"VARCHAR", "DOUBLE"}),
        ("UNION(k DECIMAL(5,5), t TIME WITH TIME ZONE)", "NESTED", {"DECIMAL", "FRACTION", "TIME WITH TIME ZONE"}),
        ("INTERVAL", "OTHER", {"INTERVAL"}),
        ("SOMETHING_NEW(3)", "OTHER", {"SOMETHING_NEW"}),
    ],
)  # fmt: skip
def test_types_are_taken_apart(type_: str, family: str, inside: set[str]) -> None:
    column = Column("a", type_, "c0")
    assert (column.family, set(column.inside)) == (family, inside)
