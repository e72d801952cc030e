"""Text that is a ULID, and ULIDs made in SQL, against an implementation of their own in Python."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cio_assets.reverse_etl.operations.ulid import ALPHABET, is_ulid, ulid_of
from cio_assets_tests.reverse_etl.written import connection


def expected(milliseconds: int, text: str) -> str:
    # DuckDB reads the hash's bytes from the last to the first.
    number = milliseconds << 80 | int.from_bytes(hashlib.md5(text.encode()).digest(), "little") >> 48
    return "".join(ALPHABET[number >> shift & 31] for shift in range(125, -5, -5))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**48 - 1), st.text(st.characters(codec="utf-8"), max_size=20))
def test_a_ulid_holds_the_time_and_80_bits_of_the_hash(milliseconds: int, text: str) -> None:
    with connection() as con:
        ulid = f"SELECT {ulid_of('m', 'md5_number(t)')} AS ulid FROM (SELECT ?::BIGINT AS m, ? AS t)"
        made = f"SELECT ulid, {is_ulid('ulid')} FROM ({ulid})"
        assert con.execute(made, [milliseconds, text]).fetchall() == [(expected(milliseconds, text), True)]


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("01KDVQ4Y1S8Q0M7Z2T9V3W5X6Y", True),
        ("01kdvq4y1s8q0m7z2t9v3w5x6y", True),
        ("7ZZZZZZZZZZZZZZZZZZZZZZZZZ", True),
        ("8ZZZZZZZZZZZZZZZZZZZZZZZZZ", False),
        ("01KDVQ4Y1S8Q0M7Z2T9V3W5X6", False),
        ("01KDVQ4Y1S8Q0M7Z2T9V3W5X6YY", False),
        ("01KDVQ4Y1S8Q0M7Z2T9V3W5X6I", False),
        ("01KDVQ4Y1S8Q0M7Z2T9V3W5X6L", False),
        ("01KDVQ4Y1S8Q0M7Z2T9V3W5X6O", False),
        ("01KDVQ4Y1S8Q0M7Z2T9V3W5X6U", False),
        ("01KDVQ4Y1S8Q0M7Z2T9V3W5X6é", False),
        ("", False),
    ],
)
def test_what_is_a_ulid(text: str, valid: bool) -> None:
    with connection() as con:
        assert con.execute(f"SELECT {is_ulid('t')} FROM (SELECT ? AS t)", [text]).fetchall() == [(valid,)]
