"""What a catalog row can say: columns, key, refresh, and how an endpoint is asked. Data only, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

DOCS = "https://docs.customer.io/integrations/api/app/"


class Type(StrEnum):
    """Declared column types; the value is the SQL type."""

    INT = "BIGINT"
    TEXT = "VARCHAR"
    BOOL = "BOOLEAN"
    TIME = "TIMESTAMPTZ"  # integer unix seconds on the wire
    JSON = "JSON"


class Refresh(StrEnum):
    """How a load meets what is stored (section 3 of the design)."""

    SNAPSHOT = "snapshot"
    WINDOW = "window"
    SERIES = "series"
    MERGE = "merge"
    VIEW = "view"


PagingName = Literal["none", "cursor", "cursor_stop_on_empty", "offset"]
"""Pagination style; `customerio.paging` knows what each means."""


@dataclass(frozen=True)
class Column:
    """A column and the places in an API item it may come from (dotted paths, the first that is not null wins)."""

    name: str
    type: Type
    paths: tuple[tuple[str, ...], ...]


_TYPES = {"int": Type.INT, "text": Type.TEXT, "bool": Type.BOOL, "time": Type.TIME, "json": Type.JSON}


def columns(text: str) -> tuple[Column, ...]:
    """Columns from lines of `name type` or `name type < path | other.path`.

    >>> columns("cio_id text < customer_identifiers.cio_id")[0].paths
    (('customer_identifiers', 'cio_id'),)
    """
    parsed = []
    for line in filter(None, map(str.strip, text.strip().splitlines())):
        declaration, _, paths = line.partition("<")
        name, type_name = declaration.split()
        alternatives = tuple(tuple(path.strip().split(".")) for path in (paths or name).split("|"))
        parsed.append(Column(name, _TYPES[type_name], alternatives))
    return tuple(parsed)


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A read of the App API: what to ask and where the items stand in the answer."""

    path: str
    """Path template; its parameters are columns of the parent or of the variant."""
    items: str
    """Key of the items in the answer, dotted where nested; a list, one object, or null."""
    method: Literal["GET", "POST"] = "GET"
    paging: PagingName = "none"
    page_size: int | None = None
    """Rows a page (`limit`): the documented or observed maximum; None where the API fixes it."""
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    """JSON body; a text "{column}" in it is filled from the parent's row."""
    siblings: tuple[str, ...] = ()
    """Keys beside the items that belong to each of them."""
    unwrap: str | None = None
    """Key around each item, where the service sends one (and where it does not)."""
    wrap: str | None = None
    """Column for items that are bare values."""
    gone_path: str | None = None
    """Another way to write the path, tried before a 404 is believed."""


@dataclass(frozen=True, kw_only=True)
class Parent:
    """Whose rows an endpoint is asked for: one chain of pages for each parent row, or one request for each batch."""

    table: str
    columns: Mapping[str, str]
    """Parent's column -> its name in this table and in the path."""
    batch: int | None = None
    """Rows in one request, where the endpoint takes many in its body (`ids`)."""
    marker: tuple[str, ...] = ()
    """Parent's columns that move when its children may have changed: else the children are carried over."""


@dataclass(frozen=True, kw_only=True)
class View:
    """A table that is a selection of another: the same rows without a single request."""

    of: str
    where: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """One row of the catalog: a table, where it comes from and how it is kept."""

    name: str
    group: str
    description: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    refresh: Refresh
    docs: str
    """Page of the official reference, where its address is known; else its first page."""
    endpoint: Endpoint | None = None
    parent: Parent | None = None
    other_side: tuple[Endpoint, Parent] | None = None
    """The same rows read from another parent: the one with fewer rows is asked."""
    told_by_one_side: tuple[str, ...] = ()
    """Columns that only one of two sides tells: read from the other, the stored value stays."""
    variants: tuple[Mapping[str, str], ...] = ({},)
    """The list is read once for each: query parameters, or path parameters."""
    variants_repeat: bool = False
    """Later variants may bring the rows of the first: they end where a page brings nothing new."""
    not_kept: tuple[str, ...] = ()
    """Dotted fields that another table holds already: known, and left out."""
    view: View | None = None
    series: Literal[1, 2] | None = None
    """Version of the metrics endpoint: 1 (last steps, US Eastern) or 2 (any window, UTC)."""
    clean: Mapping[str, Callable[[Any, Mapping[str, Any]], Any]] = field(default_factory=dict)
    """(value or None, row) -> value: what must be changed in a column before it is stored."""
    requests: str = ""
    """The documented minimum of requests of a full read."""

    def __post_init__(self) -> None:
        undeclared = {*self.key, *self.clean} - {column.name for column in self.columns}
        if undeclared:
            raise ValueError(f"{self.name}: columns {sorted(undeclared)} are not declared")

    @property
    def tombstones(self) -> bool:
        """Whether rows that are no longer listed are marked in `_deleted_at`."""
        return self.refresh is Refresh.SNAPSHOT

    @property
    def docs_url(self) -> str:
        """Address of the API's own page."""
        return f"{DOCS}tag/{self.docs}" if self.docs else DOCS

    @property
    def parents(self) -> tuple[Parent, ...]:
        """Every parent whose rows decide what is asked."""
        return tuple(p for p in (self.parent, self.other_side and self.other_side[1]) if p)
