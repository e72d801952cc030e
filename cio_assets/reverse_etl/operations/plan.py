"""What a kind of sync says about its rows, and how that becomes one streaming SELECT. Knows no kind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from cio_assets.customerio import limits
from cio_assets.reverse_etl.operations.columns import Columns
from cio_assets.reverse_etl.operations.identities import Layers
from cio_assets.reverse_etl.operations.rules import Check, Reason, explained, first_broken
from cio_assets.reverse_etl.operations.values import plain_json
from cio_assets.warehouse.sql import literal

ATTRIBUTES = "attributes"
"""The SQL name under which the joined attributes are computed."""

_SIZE = "strlen(operation)"
_ATTRIBUTES_TOO_LARGE = Check(
    f"strlen({ATTRIBUTES}) + 2 > {limits.ATTRIBUTES}",
    Reason.ATTRIBUTES_TOO_LARGE,
    None,
    f"All attributes together are larger than {limits.ATTRIBUTES} bytes: choose some with `columns`.",
)
_OPERATION_TOO_LARGE = Check(
    f"{_SIZE} > {limits.OPERATION}",
    Reason.OPERATION_TOO_LARGE,
    None,
    f"The operation is larger than the {limits.OPERATION} bytes that Customer.io takes: choose fewer columns with "
    "`columns`, or shorten them.",
)


@dataclass
class Plan:
    """SQL of one row's operation. Later steps may use the names that earlier ones made.

    `layers` come first, then `sent` (JSON of who and what, the attributes), then the `checks` and the `key`, then the
    `operation`, which is built for good rows only.
    """

    layers: Layers = field(default_factory=Layers)
    sent: dict[str, str] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    key: str = "NULL::VARCHAR"
    operation: str = "NULL::VARCHAR"
    lane: str = "'batch'"
    version: str = "NULL::VARCHAR"
    recency: str = "NULL::VARCHAR"
    keys: list[str] = field(default_factory=list)
    """The keys by each identifier that a row can have; NULL where it has not that one."""
    limited: bool = False
    """Whether all attributes together have a limit of their own."""

    @property
    def late_checks(self) -> tuple[Check, ...]:
        """The checks of what has been built."""
        return (_ATTRIBUTES_TOO_LARGE, _OPERATION_TOO_LARGE) if self.limited else (_OPERATION_TOO_LARGE,)

    @property
    def also(self) -> str:
        """SQL of the keys besides `key` as JSON text; NULL where there are none."""
        if len(self.keys) < 2:
            return "NULL::VARCHAR"
        others = ", ".join(f"to_json(nullif(({key})::VARCHAR, key))::VARCHAR" for key in self.keys)
        # concat_ws leaves NULL out.
        return f"nullif('[' || concat_ws(',', {others}) || ']', '[]')"

    @property
    def all_checks(self) -> tuple[Check, ...]:
        """In the order in which they count."""
        return (*self.checks, *self.late_checks)


def stacked(base: str, *steps: Mapping[str, str]) -> str:
    """SELECTs upon SELECTs, each with more columns: what a step makes is computed once, however often it is used."""
    for step in steps:
        if step:
            made = ", ".join(f"{sql} AS {name}" for name, sql in step.items())
            base = f"SELECT *, {made} FROM ({base})"
    return base


def built(plan: Plan, columns: Columns, relation: str) -> str:
    """The SELECT of a plan whose rows need nothing but themselves."""
    rows = stacked(
        columns.select(relation),
        plan.layers.first,
        plan.layers.second,
        plan.sent,
        {"key": plan.key, "early": first_broken(plan.checks)},
        {"operation": f"CASE WHEN early IS NULL THEN {plan.operation} END"},
        {"broken": broken(plan)},
    )
    return results(rows, plan, source_row(columns))


def broken(plan: Plan, size: str = _SIZE) -> str:
    """SQL of the number of the rule that a row breaks, once its operation is built and its `size` in bytes is known."""
    late = first_broken(plan.late_checks, start=len(plan.checks) + 1).replace(_SIZE, size)
    return f"CASE WHEN early IS NOT NULL THEN early ELSE {late} END"


def source_row(columns: Columns) -> str:
    """SQL of the whole row as JSON text, for people to read; only where the row is rejected."""
    return f"CASE WHEN broken IS NOT NULL THEN {whole_row(columns)} END"


def whole_row(columns: Columns) -> str:
    """SQL of a row as JSON text."""
    members = []
    for column in columns:
        name = ("," if members else "") + json.dumps(column.name, ensure_ascii=False) + ":"
        members.append(f"{literal(name)}, {plain_json(column)}")
    return f"concat('{{', {', '.join(members)}, '}}')"


def results(rows: str, plan: Plan, source: str) -> str:
    """The columns that every kind has, from rows with `key`, `operation` and `broken`."""
    told = explained(plan.all_checks, "broken")
    return (
        f"SELECT key, CASE WHEN broken IS NULL THEN operation END AS operation, {plan.lane} AS lane, "
        f"{told['reason']} AS reason, {told['field']} AS field, {told['message']} AS message, "
        f"{source} AS source_row, {plan.version} AS version, {plan.recency} AS recency, {plan.also} AS also "
        f"FROM ({rows})"
    )
