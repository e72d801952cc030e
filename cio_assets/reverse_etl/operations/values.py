"""One value of a row as JSON: SQL by the column's type, with the conditions under which the value cannot be sent.

Types that cannot break a rule get no condition, so that plain columns cost nothing but their text.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cio_assets.reverse_etl.operations.columns import BIG_INTEGERS, FLOATS, INSTANTS, INTEGERS, TIMES, Column
from cio_assets.warehouse.sql import literal

SECONDS_LIMIT = 9_999_999_999
"""The latest unix second that is taken for seconds: ten digits. Milliseconds have thirteen."""
READABLE_TIMES = ("1970-01-01 00:00:00", "2286-11-20 17:46:40")
"""The first moment that is taken, and the first one behind the last: `SECONDS_LIMIT` is within."""
_NOT_JSON = "'(?i)nan|inf'"
_STRINGS = """'"(?:[^"\\\\]|\\\\.)*"'"""
_BLANK = r"[\s\p{Z}]"


@dataclass(frozen=True)
class Value:
    """A value in SQL: its JSON text (NULL where it is absent) and what can be wrong with it.

    `wrong` is true where it has no JSON; `size` is the number of bytes that counts against the limit of an attribute,
    None where the type cannot come near. `dear` texts are best computed once.
    """

    text: str
    wrong: str | None = None
    size: str | None = None
    dear: bool = False
    present: str = ""

    def computed(self, name: str) -> Value:
        """The same value where its text has been computed as the column `name`."""
        return replace(
            self,
            text=name,
            wrong=self.wrong and self.wrong.replace(_TEXT, name),
            size=self.size and self.size.replace(_TEXT, name),
            present=f"{name} IS NOT NULL",
            dear=False,
        )


_TEXT = "{text}"
"""Stands for the computed text in the conditions of a dear value."""


def value_of(column: Column) -> Value:
    """The value of an attribute."""
    c, family = column.sql, column.family
    present = f"{c} IS NOT NULL"
    if family == "VARCHAR":
        value = Value(f"to_json({c})", size=f"strlen({c})", present=present)
    elif family == "BOOLEAN" or family in INTEGERS:
        value = Value(f"{c}::VARCHAR", present=present)
    elif family in BIG_INTEGERS:
        # TRY: TRY_CAST of a BIGNUM raises (DuckDB 1.5).
        value = Value(f"{c}::VARCHAR", wrong=f"{present} AND TRY({c}::BIGINT) IS NULL", present=present)
    elif family == "DECIMAL":
        value = Value(_decimal(column), present=present)
    elif family in FLOATS:
        value = Value(f"{c}::VARCHAR", wrong=f"NOT isfinite({c})", present=present)
    elif family in INSTANTS:
        value = _instant(column, present)
    elif family in TIMES or family in {"UUID", "ENUM"}:
        size = f"strlen({c}::VARCHAR)" if family == "ENUM" else None
        value = Value(f"to_json({c}::VARCHAR)", size=size, present=present)
    elif family == "JSON":
        value = _json(c)
    elif family == "NESTED":
        value = _nested(column)
    else:
        value = Value("NULL::VARCHAR", wrong=present, present="FALSE")
    return value


def _instant(column: Column, present: str) -> Value:
    micros = micros_of_instant(column)
    before_1970 = f"({micros} % 1000000 < 0)::BIGINT"
    return Value(
        f"({micros} // 1000000 - {before_1970})::VARCHAR", wrong=f"{present} AND {micros} IS NULL", present=present
    )


def micros_of_instant(column: Column) -> str:
    """Microseconds since 1970 of a timestamp or date; NULL where it is infinite or beyond what a timestamp holds."""
    # DuckDB's // rounds towards zero: one less before 1970, here and for seconds.
    c = column.sql
    if column.type == "TIMESTAMP_NS":
        return f"CASE WHEN isfinite({c}) THEN epoch_ns({c}) // 1000 - (epoch_ns({c}) % 1000 < 0)::BIGINT END"
    exact = column.type in {"TIMESTAMP", "TIMESTAMP WITH TIME ZONE"}
    return f"epoch_us({c})" if exact else f"epoch_us(TRY_CAST({c} AS TIMESTAMP))"


def _decimal(column: Column) -> str:
    text = f"{column.sql}::VARCHAR"
    return f"regexp_replace({text}, '^(-?)\\.', '\\10.')" if column.only_fraction else text


def _json(c: str) -> Value:
    text = f"CASE WHEN json_valid({c}) AND json_type({c}) <> 'NULL' THEN json({c})::VARCHAR END"
    return Value(
        text,
        wrong=f"({c} IS NOT NULL AND NOT json_valid({c})) OR {not_json(_TEXT)}",
        # A string counts without its quotes and escapes.
        size=f"CASE WHEN strlen({_TEXT}) > 1000 AND {_TEXT}[1] = '\"' THEN strlen({_TEXT}::JSON ->> '$') "
        f"ELSE strlen({_TEXT}) END",
        dear=True,
    )


def _nested(column: Column) -> Value:
    c, inside = column.sql, column.inside
    if inside & {"BLOB", "BIT", "INTERVAL", "GEOMETRY"}:
        return Value("NULL::VARCHAR", wrong=f"{c} IS NOT NULL", present="FALSE")
    wrong = [f"({c} IS NOT NULL AND {_TEXT} IS NULL)"]
    if inside & {"FLOAT", "DOUBLE", "JSON", "VARIANT"}:
        wrong.append(not_json(_TEXT))
    if "FRACTION" in inside:
        wrong.append(f"NOT json_valid({_TEXT})")
    return Value(f"TRY(to_json({c})::VARCHAR)", wrong=" OR ".join(wrong), size=f"strlen({_TEXT})", dear=True)


def not_json(text: str) -> str:
    """SQL that is true where DuckDB's JSON `text` holds NaN or Infinity, which JSON knows not, outside of strings."""
    bare = f"regexp_replace({text}, {_STRINGS}, '', 'g')"
    return f"CASE WHEN regexp_matches({text}, {_NOT_JSON}) THEN regexp_matches({bare}, {_NOT_JSON}) ELSE FALSE END"


def trimmed(text: str) -> str:
    """SQL of a text without white space around it (Unicode's, too); NULL where nothing is left."""
    ends = f"regexp_matches({text}, '^{_BLANK}|{_BLANK}$')"
    cut = f"regexp_replace({text}, '^{_BLANK}+|{_BLANK}+$', '', 'g')"
    return f"nullif(CASE WHEN {ends} THEN {cut} ELSE {text} END, '')"


def ascii_lower(text: str) -> str:
    """SQL of a text whose letters A to Z are small; `lower` would also change others, and their number (U+0130)."""
    return f"CASE WHEN strlen({text}) = length({text}) THEN lower({text}) ELSE {_TRANSLATED.format(text=text)} END"


_TRANSLATED = "translate({text}, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz')"


@dataclass(frozen=True)
class Name:
    """A value used as a name or number of something: trimmed text (NULL where absent) and when it cannot be one."""

    text: str
    wrong: str | None = None


def name_of(column: Column) -> Name:
    """A value as an identifier: text, or a whole number as text."""
    c, family = column.sql, column.family
    if family in {"VARCHAR", "ENUM"}:
        return Name(trimmed(c if family == "VARCHAR" else f"{c}::VARCHAR"))
    if family == "UUID" or family in INTEGERS | BIG_INTEGERS:
        return Name(f"{c}::VARCHAR")
    if family == "DECIMAL":
        text = f"regexp_replace({_decimal(column)}, '\\.0*$', '')"
        return Name(text, wrong=f"contains({text}, '.')")
    if family in FLOATS:
        # Beyond these, neighbouring whole numbers are the same float: the number may be another one's.
        exact = 2**24 if family == "FLOAT" else 2**53
        whole = f"abs({c}) <= {exact} AND {c} = trunc({c})"
        return Name(f"CASE WHEN {whole} THEN {c}::BIGINT::VARCHAR ELSE {c}::VARCHAR END", wrong=f"NOT ({whole})")
    if family == "JSON":
        return _json_name(c)
    return Name(f"CASE WHEN {c} IS NOT NULL THEN '?' END", wrong=f"{c} IS NOT NULL")


def _json_name(c: str) -> Name:
    kind, unwrapped = f"json_type({c})", trimmed(f"({c} ->> '$')")
    number = f"regexp_replace({c} ->> '$', '\\.0+$', '')"
    text = (
        f"CASE WHEN NOT json_valid({c}) THEN '?' WHEN {kind} = 'NULL' THEN NULL "
        f"WHEN {kind} = 'VARCHAR' THEN {unwrapped} ELSE {number} END"
    )
    wrong = (
        f"CASE WHEN NOT json_valid({c}) THEN TRUE WHEN {kind} IN ('VARCHAR', 'NULL', 'BIGINT', 'UBIGINT') THEN FALSE "
        f"WHEN {kind} = 'DOUBLE' THEN NOT regexp_full_match({number}, '-?[0-9]+') ELSE TRUE END"
    )
    return Name(text, wrong)


_ISO = r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]+)?)?(Z| UTC|[+-][0-9]{2}(:?[0-9]{2})?)?)?"


def moment_of(column: Column) -> Value:
    """Microseconds since 1970 of a point in time in any spelling; NULL where it is absent or not one within the limit.

    `text` is the BIGINT; `wrong` is true where there is something that is no such point in time.
    """
    c, family = column.sql, column.family
    limit = f"BETWEEN 0 AND {SECONDS_LIMIT}"
    if family in INSTANTS:
        micros = micros_of_instant(column)
        text = f"CASE WHEN {micros} BETWEEN 0 AND {SECONDS_LIMIT}999999 THEN {micros} END"
        return Value(text, wrong=f"{c} IS NOT NULL AND {_TEXT} IS NULL", dear=True)
    if family in INTEGERS | BIG_INTEGERS:
        text = f"CASE WHEN {c} {limit} THEN {c}::BIGINT * 1000000 END"
        return Value(text, wrong=f"{c} IS NOT NULL AND {_TEXT} IS NULL", dear=True)
    if family not in {"VARCHAR", "ENUM", "JSON", "DECIMAL"} | FLOATS:
        return Value("NULL::BIGINT", wrong=f"{c} IS NOT NULL", dear=True)
    name = name_of(column)
    seconds = f"regexp_replace({name.text}, '\\.0+$', '')"
    with_seconds = f"regexp_replace({name.text}, '^(.{{16}})(Z| UTC|[+-].*)$', '\\1:00\\2')"
    instant = f"epoch_us(TRY_CAST({with_seconds} AS TIMESTAMPTZ))"
    refused = f"WHEN {name.wrong} THEN NULL " if name.wrong else ""
    text = (
        f"CASE {refused}WHEN regexp_full_match({name.text}, '[0-9]{{1,10}}([.]0+)?') "
        f"THEN {seconds}::BIGINT * 1000000 WHEN regexp_full_match({name.text}, {literal(_ISO)}) "
        f"AND {instant} BETWEEN 0 AND {SECONDS_LIMIT}999999 THEN {instant} END"
    )
    return Value(text, wrong=f"{name.text} IS NOT NULL AND {_TEXT} IS NULL", dear=True)


def plain_json(column: Column) -> str:
    """SQL of a JSON text for any value whatever, for people to read; never NULL, never fails."""
    c, value = column.sql, value_of(column)
    as_text = f"TRY(to_json({c}::VARCHAR)::VARCHAR)"
    if column.family in INSTANTS | {"OTHER"} or value.text == "NULL::VARCHAR":
        return f"coalesce({as_text}, 'null')"
    if value.wrong is None or column.family in BIG_INTEGERS:
        return f"coalesce({value.text}, 'null')"
    wrong = value.wrong.replace(_TEXT, f"({value.text})")
    return f"coalesce(CASE WHEN {wrong} THEN {as_text} ELSE {value.text} END, 'null')"
