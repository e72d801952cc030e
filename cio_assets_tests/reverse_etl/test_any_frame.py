"""Any frame, pushed to a strict service: every row is accepted, unchanged or rejected, exactly one of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cio_assets import sandbox
from cio_assets_tests import forked
from cio_assets_tests.reverse_etl.pushing import Pushing, sync, whole

TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.sampled_from(["", " ", "null", "NULL", "a@b.c", "ann@example.com", "Ünïcode", "🎉" * 60, "x" * 151, "y" * 1001]),
)
TIMES = st.datetimes(datetime(1, 1, 2), datetime(9999, 1, 1))
VALUES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "text": (pa.string(), TEXT),
    "int": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "unsigned": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "float": (pa.float64(), st.floats()),
    "bool": (pa.bool_(), st.booleans()),
    "decimal": (pa.decimal128(38, 4), st.decimals(-(10**12), 10**12, places=4).map(Decimal)),
    "time": (pa.timestamp("us"), TIMES),
    "zoned": (pa.timestamp("us", "UTC"), TIMES.map(lambda t: t.replace(tzinfo=UTC))),
    "date": (pa.date32(), st.dates(date(1, 1, 1), date(9999, 1, 1))),
    "bytes": (pa.binary(), st.binary(max_size=5)),
    "list": (pa.list_(pa.float64()), st.lists(st.floats(), max_size=3)),
    "struct": (
        pa.struct([("a", pa.string()), ("b", pa.float64())]), st.fixed_dictionaries({"a": TEXT, "b": st.floats()})
    ),
}  # fmt: skip
NAMES = st.one_of(
    st.sampled_from(
        ["plan", "created_at", "timestamp", "unsubscribed", 'quo"te', "sp ace", "dot.ted", "n" * 151, "é" * 76]
    ),
    st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=8),
)
FIXED = {
    "persons": ["id", "email"],
    "events": ["person_id", "person_email", "event_name", "event_id", "timestamp"],
    "objects": ["object_type_id", "object_id"],
    "devices": ["person_id", "token", "platform"],
}


@st.composite
def frames(draw: st.DrawFn, kind: str) -> pa.Table:
    """Some rows with the kind's own columns, of any type, and others."""
    others = draw(st.lists(NAMES, max_size=4, unique_by=str.lower))
    names = [*FIXED[kind], *(name for name in others if name.lower() not in FIXED[kind])]
    count = draw(st.integers(0, 6))
    columns = {}
    for name in names:
        type_, values = VALUES["text"] if draw(st.booleans()) else VALUES[draw(st.sampled_from(sorted(VALUES)))]
        columns[name] = pa.array(draw(st.lists(st.none() | values, min_size=count, max_size=count)), type_)
    return pa.table(columns)


@pytest.fixture(scope="module")
def box() -> Iterator[sandbox.Sandbox]:
    """One workspace for all frames."""
    with forked.launch(people=0, campaigns=0, objects=5, app_rps=0, track_rps=0) as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(FIXED))
def test_every_row_is_accounted_for(kind: str, box: sandbox.Sandbox) -> None:
    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(frames(kind))
    def check(rows: pa.Table) -> None:
        with tempfile.TemporaryDirectory() as folder:
            pushing = Pushing(box, Path(folder))
            result = pushing.push(sync(kind), rows)
            assert result.rows == len(rows)
            assert whole(result)
            again = pushing.push(sync(kind), rows)
            assert whole(again)
            assert (again.requests, again.unchanged) == (0, result.accepted)
            assert again.rejected == result.rejected

    before = box.stats()["operations_refused"]
    check()
    said = box.stats()
    # What our rules let pass the service takes, but for what only it can know: types of objects that are not there.
    if kind != "objects":
        assert said["operations_refused"] == before, said["violations"][-5:]
