"""Checks that a table's asset makes of itself after its load, from `warehouse.facts`: no step, no query of their own.

What they say names tables, columns and fields, and counts rows; never a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import dagster as dg

from cio_assets.catalog import Refresh, Table
from cio_assets.io_managers import WarehouseLoad
from cio_assets.warehouse.facts import MOST_NAMES, Facts

KEY, PARENTS, UNKNOWN_FIELDS, SHRUNK = "key", "parents", "unknown_fields", "shrunk"

HANDFUL = 10
"""A list that lost no more rows than this, and has some left, did not shrink."""

_KNOWN_IN_EXTRA = frozenset({"language_variants"})
"""What is kept in `_extra` on purpose (`catalog.series`)."""

_A_NAME = re.compile(r"[A-Za-z0-9_.\- ]{1,60}")
"""What may be a field's name. Anything else might be a value that somebody took as a name."""


class KeyBroken(Exception):
    """A table has rows without a key, or of one key many; says which table, how many and what to do."""


def check_specs(table: Table, asset: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The checks of a table's asset; a view has none, its table's stand for it."""
    if table.view:
        return []
    key = ", ".join(table.key)
    said = {KEY: f"Every row has a key ({key}), and each key one row. What depends on the table is not read otherwise."}
    if table.parents:
        above = " and ".join(parent.table for parent in table.parents)
        said[PARENTS] = f"Every row has its row in {above}."
    said[UNKNOWN_FIELDS] = "The API sent no field without a column, and no value that does not fit its own."
    if table.refresh is Refresh.SNAPSHOT:
        said[SHRUNK] = (
            "The list did not lose more than half of its rows since it was last read. Blocks nothing: it may be right."
        )
    return [
        dg.AssetCheckSpec(name, asset=asset, description=description, blocking=name == KEY)
        for name, description in said.items()
    ]


def check_keys(table: Table, asset: dg.AssetKey) -> list[dg.AssetCheckKey]:
    """Keys of the checks that a table's asset makes of itself."""
    return [spec.key for spec in check_specs(table, asset)]


def checked(load: WarehouseLoad, schema: str) -> Iterator[dg.Output[WarehouseLoad] | dg.AssetCheckResult]:
    """Hand the load to the IO manager, then tell what the checks found; raises `KeyBroken` behind the last."""
    yield dg.Output(load)
    if load.loaded is None:  # another IO manager than ours
        raise TypeError("the IO manager of the warehouse did not load this table")
    facts = load.loaded.facts
    yield from _others(load.table, facts)
    broken = _broken(load.table, f"{schema}.{load.table.name}", facts)
    metadata = {"rows_without_key": facts.rows_without_key, "rows_of_known_key": facts.rows_of_known_key}
    yield _result(KEY, broken, dg.AssetCheckSeverity.ERROR, metadata)
    if broken:  # Dagster would fail the step all the same, and not say why
        raise KeyBroken(broken)


def _others(table: Table, facts: Facts) -> Iterator[dg.AssetCheckResult]:
    warn = dg.AssetCheckSeverity.WARN
    if table.parents:
        metadata = {f"rows_without_{above}": count for above, count in facts.rows_without_parent.items()}
        yield _result(PARENTS, _orphaned(facts), warn, metadata)
    rows = {"rows": facts.rows_with_unknown_fields}
    yield _result(UNKNOWN_FIELDS, _unknown(facts), warn, rows)
    if table.refresh is Refresh.SNAPSHOT:
        metadata = {"rows_before": facts.live_before, "rows_now": facts.live}
        yield _result(SHRUNK, _shrunk(facts), dg.AssetCheckSeverity.ERROR, metadata)


def _result(
    check: str, wrong: str | None, severity: dg.AssetCheckSeverity, metadata: dict[str, int]
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=check, passed=wrong is None, severity=severity, description=wrong, metadata=metadata
    )


def _broken(table: Table, name: str, facts: Facts) -> str | None:
    wrong, key = [], ", ".join(table.key)
    if facts.rows_without_key:
        wrong.append(f"{_rows(facts.rows_without_key)} without a key ({key})")
    if facts.rows_of_known_key:
        wrong.append(f"{_rows(facts.rows_of_known_key)} of a key ({key}) that another row has")
    if not wrong:
        return None
    return (
        f"{name} has {' and '.join(wrong)}: no load of ours leaves such rows, another program has written into the "
        f"table. Delete them, or drop the table, and sync again."
    )


def _orphaned(facts: Facts) -> str | None:
    found = [f"{_rows(count)} without a row in {above}" for above, count in facts.rows_without_parent.items() if count]
    if not found:
        return None
    return (
        f"{' and '.join(found)}: what came while the tables were read is there after the next sync; if they stay, sync "
        "both tables with --full."
    )


def _unknown(facts: Facts) -> str | None:
    names = [field for field in facts.unknown_fields if field not in _KNOWN_IN_EXTRA]
    if not names:
        return None
    shown = [field for field in names if _A_NAME.fullmatch(field)]
    if len(shown) < len(names) or len(facts.unknown_fields) == MOST_NAMES:
        shown.append("others")
    return (
        f"fields that no column takes, or whose values do not fit theirs: {', '.join(shown)}. They are kept in _extra "
        f"({_rows(facts.rows_with_unknown_fields)} of this load)."
    )


def _shrunk(facts: Facts) -> str | None:
    lost = facts.live_before - facts.live
    if (lost <= HANDFUL and facts.live) or facts.live * 2 >= facts.live_before:
        return None
    return (
        f"it SHRANK from {facts.live_before:,} to {_rows(facts.live)}. If that is right, nothing is to be done. "
        "Else see that CUSTOMERIO_APP_API_KEY is of the right workspace and sync again: the rows are marked in "
        "_deleted_at, not lost, and live again once they are listed."
    )


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"
