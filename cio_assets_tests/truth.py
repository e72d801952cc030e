"""Compares warehouse tables with the sandbox's own truth, row by row and field by field.

A third reading of the references: it knows nothing of the catalog, only the keys that users rely on and section 3 of
the design (names and types of columns, `_extra`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

KEYS: dict[str, tuple[str, ...]] = {
    "activities": ("id",),
    "broadcast_action_metrics": ("broadcast_id", "action_id", "period", "period_start"),
    "broadcast_actions": ("broadcast_id", "id"),
    "broadcast_messages": ("id",),
    "broadcast_metrics": ("broadcast_id", "period", "period_start"),
    "broadcasts": ("id",),
    "campaign_action_metrics": ("campaign_id", "action_id", "period", "period_start"),
    "campaign_actions": ("campaign_id", "id"),
    "campaign_messages": ("id",),
    "campaign_metrics": ("campaign_id", "period", "period_start"),
    "campaigns": ("id",),
    "collections": ("id",),
    "customer_activities": ("id",),
    "customer_attributes": ("cio_id",),
    "customer_messages": ("id",),
    "customer_relationships": ("cio_id", "object_type_id", "object_id"),
    "customers": ("cio_id",),
    "esp_suppressions": ("category", "email"),
    "exports": ("id",),
    "info_ip_addresses": ("ip",),
    "messages": ("id",),
    "newsletter_contents": ("id",),
    "newsletter_messages": ("id",),
    "newsletter_metrics": ("newsletter_id", "period", "period_start"),
    "newsletter_test_groups": ("newsletter_id", "id"),
    "newsletters": ("id",),
    "object_types": ("id",),
    "objects": ("object_type_id", "object_id"),
    "reporting_webhooks": ("id",),
    "segment_membership": ("segment_id", "cio_id"),
    "segment_usage": ("segment_id",),
    "segments": ("id",),
    "sender_identities": ("id",),
    "snippets": ("name",),
    "subscription_topics": ("id",),
    "transactional_messages": ("id",),
    "workspaces": ("id",),
}

# Identifiers are flattened; what is the person's own id is `customer_id` in rows about something else.
_PERSON = {"id": "customer_id", "email": "email", "cio_id": "cio_id"}
_FLATTENED = {
    "messages": {"customer_identifiers": _PERSON, "identifiers": _PERSON},
    "activities": {"customer_identifiers": _PERSON},
    "customer_attributes": {"identifiers": {"id": "id", "email": "email", "cio_id": "cio_id"}},
    "customer_relationships": {"identifiers": {"object_id": "object_id", "cio_object_id": "cio_object_id"}},
    "objects": {},
}
for _view in ("campaign_messages", "broadcast_messages", "newsletter_messages", "customer_messages"):
    _FLATTENED[_view] = _FLATTENED["messages"]
_FLATTENED["customer_activities"] = _FLATTENED["activities"]


def stored(warehouse: Path | str, table: str, where: str = "TRUE") -> list[dict[str, Any]]:
    """Rows of a table: times as unix seconds, JSON parsed."""
    with duckdb.connect(str(warehouse), read_only=True) as con:
        con.execute("SET TimeZone = 'UTC'")
        cursor = con.execute(f"SELECT * FROM customerio.{table} WHERE {where}")
        names = [column[0] for column in cursor.description]
        types = [str(column[1]) for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    for name, type_ in zip(names, types, strict=True):
        plain = json.loads if type_ == "JSON" else _seconds if type_.startswith("TIMESTAMP") else None
        if plain:
            for row in rows:
                row[name] = None if row[name] is None else plain(row[name])
    return rows


def _seconds(moment: datetime) -> float:
    return moment.timestamp() if moment.microsecond else int(moment.timestamp())


def live(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows that are not marked as deleted."""
    return [row for row in rows if row.get("_deleted_at") is None]


def differences(table: str, rows: Iterable[Mapping[str, Any]], truth: Iterable[Mapping[str, Any]]) -> list[str]:
    """What differs between stored rows and the API's items; empty where they are equal."""
    key = KEYS[table]
    found: dict[tuple, Mapping[str, Any]] = {}
    problems = []
    for row in rows:
        identity = tuple(row[name] for name in key)
        if identity in found:
            problems.append(f"{table} {identity}: stored twice")
        found[identity] = row
    expected = {}
    for item in truth:
        row = expected_row(table, item)
        expected[tuple(row[name] for name in key)] = row
    problems += [f"{table} {lost}: missing" for lost in sorted(expected.keys() - found.keys(), key=str)[:20]]
    problems += [f"{table} {more}: not in the truth" for more in sorted(found.keys() - expected.keys(), key=str)[:20]]
    for identity in expected.keys() & found.keys():
        problems += [f"{table} {identity}: {text}" for text in _row_differences(expected[identity], found[identity])]
        if len(problems) > 50:
            break
    return problems


_TEXT_IDS = {"object_type_id"}
_INTEGER_IDS = {"id": {"campaign_actions", "broadcast_actions"}}


def expected_row(table: str, item: Mapping[str, Any]) -> dict[str, Any]:
    """The row that section 3 of the design asks for: identifiers flattened, ids typed, credentials taken out."""
    row: dict[str, Any] = {}
    for name, value in item.items():
        flattened = _FLATTENED.get(table, {}).get(name)
        if flattened is not None and isinstance(value, Mapping):
            for inner, column in flattened.items():
                if value.get(inner) is not None:
                    row[column] = value[inner]
        elif name in _TEXT_IDS and value is not None:
            row[name] = str(value)
        elif table in _INTEGER_IDS.get(name, ()):
            row[name] = int(str(value))
        elif value is not None or name not in row:
            row[name] = value
    if table == "customer_attributes":
        for name in ("cio_id", "id", "email"):
            row[name] = row.get(name) or row.get("attributes", {}).get(name) or None
    if table == "esp_suppressions":
        row["suppression_type"] = row.pop("type")
        # The API's word (S22 and S26 in section 6): the list's name without its second word.
        row["category"] = row["suppression_type"].split("_")[0]
    if table == "customer_relationships":
        row["object_type_id"] = str(row["object_type_id"])
    if table == "reporting_webhooks" and "@" in (row.get("endpoint") or ""):
        scheme, _, rest = row["endpoint"].partition("://")
        row["endpoint"] = f"{scheme}://{rest.partition('@')[2]}"
    return row


# Beside the truth's fields: what only a parameter brings, and what the metrics' arrays stand beside.
_BESIDE = {"tracked_responses", "language_variants", "type"}
_OWN = {"_extra", "_synced_at", "_deleted_at"} | _BESIDE


def _row_differences(expected: Mapping[str, Any], row: Mapping[str, Any]) -> list[str]:
    extra = row.get("_extra") or {}
    problems = []
    for name, value in expected.items():
        actual = row[name] if name in row else extra.get(name)
        if not _equal(value, actual):
            problems.append(f"{name} is {actual!r}, not {value!r}")
    problems += [
        f"{name} is {value!r}, but the API says nothing of it"
        for name, value in row.items()
        if name not in _OWN and name not in expected and value not in (None, 0)
    ]
    problems += [f"_extra.{name} is made up" for name in extra if name.split(".")[0] not in expected.keys() | _BESIDE]
    return problems


def _equal(expected: Any, actual: Any) -> bool:
    return expected == actual and isinstance(expected, bool) == isinstance(actual, bool)
