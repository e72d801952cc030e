"""From an API item to a row of declared columns. Pure; a value that does not fit its column is kept in `_extra`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from cio_assets.catalog.model import Column, Table, Type

_LATEST = 253_402_300_800  # the year 10000, in unix seconds: whatever lies beyond is no time in seconds


class RowInvalid(Exception):
    """An item without a usable key; names table and column, never a value."""


class _Misfit(Exception):
    """The value does not fit the declared type."""


def _to_int(value: Any) -> int:
    if isinstance(value, bool):
        raise _Misfit
    if isinstance(value, int):
        number = value
    elif (isinstance(value, float) and value.is_integer()) or (
        isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,19}", value, re.ASCII)
    ):
        number = int(value)
    else:
        raise _Misfit
    if not -(2**63) <= number < 2**63:
        raise _Misfit
    return number


def _to_time(value: Any) -> int:
    seconds = _to_int(value)
    if not 0 <= seconds < _LATEST:
        raise _Misfit
    return seconds


def _to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    raise _Misfit


def _to_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


_CONVERT: dict[Type, Callable[[Any], Any]] = {
    Type.INT: _to_int,
    Type.TIME: _to_time,
    Type.BOOL: _to_bool,
    Type.TEXT: _to_text,
    Type.JSON: lambda value: value,
}


class Shaper:
    """Makes rows of one table; made once, called for each item."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._plain = [(c, c.paths[0][0], _CONVERT[c.type]) for c in table.columns if c.paths == ((c.paths[0][0],),)]
        plain_columns = {column.name for column, _, _ in self._plain}
        self._other = [(c, _CONVERT[c.type]) for c in table.columns if c.name not in plain_columns]
        self._plain_keys = frozenset(key for _, key, _ in self._plain)
        not_kept = (tuple(path.split(".")) for path in table.not_kept)
        self._elsewhere = {
            column.name: frozenset(path for other in table.columns if other is not column for path in other.paths)
            for column, _ in self._other
        }
        self._paths = frozenset((*not_kept, *(path for column, _ in self._other for path in column.paths)))

    def row(self, item: Any, given: Mapping[str, Any]) -> dict[str, Any]:
        """A row of every declared column and `_extra`.

        `given` are values known from the request (the parent's key, the variant); they win over the item's own.
        Times stay integer unix seconds, JSON stays Python objects. Raises `RowInvalid` where a key column is empty.
        """
        item = self._object(item)
        row: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for column, key, convert in self._plain:
            value = item.get(key)
            row[column.name] = None
            if value is not None:
                try:
                    row[column.name] = convert(value)
                except _Misfit:
                    extra[key] = value
        for column, convert in self._other:
            row[column.name] = self._first(item, column, convert, extra)
        if item.keys() - self._plain_keys:
            _keep_unknown(item, self._plain_keys, self._paths, extra)
        row.update((name, value) for name, value in given.items() if name in row and value not in (None, ""))
        self._finish(row)
        row["_extra"] = extra or None
        return row

    def _first(self, item: dict, column: Column, convert: Callable[[Any], Any], extra: dict[str, Any]) -> Any:
        """The first value present (an empty text counts as absent); others that differ are kept in `extra`."""
        chosen: Any = None
        for path in column.paths:
            value = _at(item, path)
            if value is None or value == "":
                continue
            try:
                converted = convert(value)
            except _Misfit:
                extra[".".join(path)] = value
                continue
            if chosen is None:
                chosen = converted
            # Kept where no other column takes it anyway (`attributes` takes attributes.cio_id).
            elif chosen != converted and not any(path[:n] in self._elsewhere[column.name] for n in (1, 2)):
                extra[".".join(path)] = value
        return chosen

    def _object(self, item: Any) -> dict[str, Any]:
        endpoint = self._table.endpoint
        if endpoint and endpoint.wrap:
            item = {endpoint.wrap: item}
        elif endpoint and endpoint.unwrap and isinstance(item, dict) and isinstance(item.get(endpoint.unwrap), dict):
            beside = {key: value for key, value in item.items() if key != endpoint.unwrap}
            item = beside | item[endpoint.unwrap]
        if not isinstance(item, dict):
            raise RowInvalid(f"{self._table.name}: the API sent an item that is no object ({type(item).__name__})")
        return item

    def _finish(self, row: dict[str, Any]) -> None:
        for name, clean in self._table.clean.items():
            row[name] = clean(row[name], row)
        for name in self._table.key:
            if row[name] is None or row[name] == "":
                raise RowInvalid(f"{self._table.name}: the API sent an item without its key column '{name}'")


def _at(item: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if not isinstance(item, dict):
            return None
        item = item.get(key)
    return item


def _keep_unknown(
    item: dict, known: frozenset[str], paths: frozenset[tuple[str, ...]], extra: dict[str, Any], at: tuple = ()
) -> None:
    """Copy what no column takes; an object of which some fields are taken is looked into."""
    for key, value in item.items():
        path = (*at, key)
        if (not at and key in known) or path in paths:
            continue
        if any(known_path[: len(path)] == path for known_path in paths):
            if isinstance(value, dict):
                _keep_unknown(value, known, paths, extra, path)
            elif value is not None:
                extra[".".join(path)] = value
        else:
            extra[".".join(path)] = value
