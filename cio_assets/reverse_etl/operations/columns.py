"""The columns of a source: their names, their DuckDB types, and how SQL refers to them. No rules of Customer.io."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from cio_assets.warehouse.sql import quoted

_TOKEN = re.compile(r"""\s*("(?:[^"]|"")*"|'(?:[^']|'')*'|\w+|.)""", re.DOTALL)

INTEGERS = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"})
BIG_INTEGERS = frozenset({"UBIGINT", "HUGEINT", "UHUGEINT", "BIGNUM"})
FLOATS = frozenset({"FLOAT", "DOUBLE"})
INSTANTS = frozenset({"TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "DATE"})
TIMES = frozenset({"TIME", "TIME WITH TIME ZONE", "TIME_NS"})
_KNOWN = INTEGERS | BIG_INTEGERS | FLOATS | INSTANTS | TIMES | {"BOOLEAN", "DECIMAL", "VARCHAR", "UUID", "ENUM", "JSON"}


@dataclass(frozen=True)
class Column:
    """A column: its name in the source, its type as DESCRIBE prints it, and the SQL that refers to it."""

    name: str
    type: str
    sql: str

    @cached_property
    def family(self) -> str:
        """The type without its parameters; `NESTED` for what holds other types, `OTHER` for what has no JSON."""
        if self.type.endswith("]") or re.match(r"(STRUCT|MAP|UNION)\b", self.type):
            return "NESTED"
        name = self.type.partition("(")[0].strip()
        return name if name in _KNOWN else "OTHER"

    @cached_property
    def inside(self) -> frozenset[str]:
        """The types that a nested type holds; `FRACTION` for decimals of which every digit follows the point."""
        return frozenset(_leaves(_TOKEN.findall(self.type)))

    @cached_property
    def only_fraction(self) -> bool:
        """Whether the type is a DECIMAL whose digits all follow the point: DuckDB prints those as `.05`."""
        return self.family == "DECIMAL" and "FRACTION" in self.inside


class Columns(Sequence[Column]):
    """All columns of a source. Names are found as DuckDB finds them: whatever their case."""

    def __init__(self, types: Mapping[str, str]) -> None:
        self._columns = [Column(name, kind, f"c{number}") for number, (name, kind) in enumerate(types.items())]
        self._by_name = {column.name.casefold(): column for column in reversed(self._columns)}

    def __getitem__(self, index):  # pyright: ignore[reportIncompatibleMethodOverride]  # an index or a slice, as a list
        return self._columns[index]

    def __len__(self) -> int:
        return len(self._columns)

    def __iter__(self) -> Iterator[Column]:
        return iter(self._columns)

    def find(self, name: str) -> Column | None:
        """The column of that name, if there is one."""
        return self._by_name.get(name.casefold())

    def others(self, taken: Iterable[str], chosen: Iterable[str] | None) -> list[Column]:
        """The columns that are not `taken`: all of them, or only the `chosen` ones."""
        left_out = {name.casefold() for name in taken}
        wanted = None if chosen is None else {name.casefold() for name in chosen}
        return [
            column
            for column in self._columns
            if column.name.casefold() not in left_out and (wanted is None or column.name.casefold() in wanted)
        ]

    def select(self, relation: str) -> str:
        """SELECT of all columns from `relation` under the names that `Column.sql` uses."""
        listed = ", ".join(f"{quoted(column.name)} AS {column.sql}" for column in self._columns)
        return f"SELECT {listed} FROM {relation}"


def _leaves(tokens: list[str]) -> Iterator[str]:
    """The names of the simple types in a type; fields may be named like types, and are told apart by their place."""
    if not tokens:
        return
    head = tokens[0].upper()
    if head in {"STRUCT", "UNION", "MAP"} and tokens[1:2] == ["("]:
        closing = _closing(tokens)
        for member in _split(tokens[2:closing]):
            yield from _leaves(member if head == "MAP" else member[1:])
        return
    words = []
    for word in tokens:
        if not re.fullmatch(r"\w+", word):
            break
        words.append(word.upper())
    name = " ".join(words)
    yield name
    digits = [word for word in tokens[len(words) :] if word.isdigit()]
    if name == "DECIMAL" and digits[:1] == digits[1:2]:
        yield "FRACTION"


def _closing(tokens: list[str]) -> int:
    depth = 0
    for index, word in enumerate(tokens):
        depth += (word == "(") - (word == ")")
        if word == ")" and depth == 0:
            return index
    return len(tokens)


def _split(tokens: list[str]) -> Iterator[list[str]]:
    member: list[str] = []
    depth = 0
    for word in tokens:
        depth += (word in "([") - (word in ")]")
        if word == "," and depth == 0:
            yield member
            member = []
        else:
            member.append(word)
    yield member
