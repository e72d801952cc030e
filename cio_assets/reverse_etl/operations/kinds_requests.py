"""Kinds without attributes: members of manual segments, removals of people, merges."""

from __future__ import annotations

from cio_assets.reverse_etl.model import Sync
from cio_assets.reverse_etl.operations.columns import Columns
from cio_assets.reverse_etl.operations.identities import Layers, as_key, person_of
from cio_assets.reverse_etl.operations.plan import Plan, stacked
from cio_assets.reverse_etl.operations.rules import Check, Reason
from cio_assets.reverse_etl.operations.values import ascii_lower, moment_of
from cio_assets.warehouse.sql import literal

MERGE_IDENTIFIERS = ("id", "email", "cio_id")
_ACTIONS = "('delete', 'suppress', 'unsuppress')"


def segment_members(sync: Sync, columns: Columns) -> Plan:
    """One person in one manual segment; the caller makes calls of up to a thousand out of these."""
    plan = Plan(lane="'segment'")
    person = person_of(plan.layers, columns, sync.identifiers)
    plan.checks = [person.missing, *person.checks]
    column = columns.find("segment_id")
    if column is None:
        return plan
    segment = plan.layers.part("segment_id", column)
    missing = "Nothing says which segment this is: fill segment_id with its number."
    plan.checks += [
        Check(f"{segment.text} IS NULL", Reason.IDENTIFIER_INVALID, column.name, missing),
        *segment.checks(),
    ]
    if not person.parts:
        return plan
    kinds = " ".join(f"WHEN {part.text} IS NOT NULL THEN '{part.identifier}'" for part in person.parts)
    plan.sent = {
        "sent": person.sent,
        "id_type": f"CASE {kinds} END",
        "member": f"coalesce({', '.join(part.text for part in person.parts)})",
    }
    usable = f"{segment.fault} IS NULL AND {segment.text} IS NOT NULL"
    in_key = f"CASE WHEN id_type = 'email' THEN {ascii_lower('member')} ELSE member END"
    plan.key = f"CASE WHEN sent IS NOT NULL AND {usable} THEN {_member(segment.text, 'id_type', in_key)} END"
    for part in person.parts:
        own = ascii_lower(part.text) if part.identifier == "email" else part.text
        there = f"{part.text} IS NOT NULL AND {part.fault} IS NULL AND {usable}"
        plan.keys.append(f"CASE WHEN {there} THEN {_member(segment.text, literal(part.identifier), own)} END")
    plan.operation = _member(segment.text, "id_type", "member")
    return plan


def _member(segment: str, id_type: str, member: str) -> str:
    return f"""concat('{{"segment_id":', {segment}, ',"id_type":"', {id_type}, '","id":', to_json({member}), '}}')"""


def removals(sync: Sync, columns: Columns) -> Plan:
    """Delete, suppress or unsuppress a person; of several requests about one person the latest is the one to send."""
    plan = Plan(version=_version(columns), recency=_recency(columns))
    person = person_of(plan.layers, columns, sync.identifiers)
    plan.sent = {"sent": person.sent, "act": "'delete'"}
    plan.checks = [person.missing, *person.checks]
    column = columns.find("action")
    if column is not None:
        action = plan.layers.part("action", column)
        plan.sent["act"] = f"coalesce(lower({action.text}), 'delete')"
        message = f"Column {column.name} must be delete, suppress or unsuppress, or NULL for delete."
        invalid = f"lower({action.text}) NOT IN {_ACTIONS}"
        plan.checks.append(Check(invalid, Reason.ACTION_INVALID, column.name, message))
        plan.sent["act"] = f"CASE WHEN {invalid} THEN NULL ELSE {plan.sent['act']} END"
    plan.key = f"""'{{"person":' || {as_key("sent")} || '}}'"""
    plan.operation = """concat('{"type":"person","identifiers":', sent, ',"action":"', act, '"}')"""
    return plan


def merge_columns(role: str) -> dict[str, str]:
    """Identifier -> column of the person in that role (primary or secondary)."""
    return {identifier: f"{role}_{identifier}" for identifier in MERGE_IDENTIFIERS}


def merges(columns: Columns, relation: str) -> Plan:
    """Merge the secondary person into the primary one; where that one is merged away too, the order would matter."""
    plan = Plan(version=_version(columns), recency=_recency(columns))
    people = {role: person_of(plan.layers, columns, merge_columns(role)) for role in ("primary", "secondary")}
    plan.sent = {"sent": people["primary"].sent, "secondary": people["secondary"].sent}
    for person in people.values():
        plan.checks += [person.missing, *person.checks]
    others = Layers()
    merged = person_of(others, columns, merge_columns("secondary")).sent
    rows = stacked(columns.select(relation), others.first, others.second, {"merged": merged})
    merged_away = f"(SELECT {as_key('merged')} FROM ({rows}) WHERE merged IS NOT NULL)"
    plan.checks += [
        Check(
            f"{as_key('sent')} = {as_key('secondary')}",
            Reason.IDENTIFIER_INVALID,
            None,
            "Primary and secondary are the same person: there is nothing to merge.",
        ),
        Check(
            f"{as_key('sent')} IN {merged_away}",
            Reason.MERGE_CHAIN,
            None,
            "The primary person is merged away by another row: name the person who remains in the end as primary.",
        ),
    ]
    plan.key = f"""'{{"secondary":' || {as_key("secondary")} || '}}'"""
    plan.operation = """concat('{"type":"person","action":"merge","primary":', sent, ',"secondary":', secondary, '}')"""
    return plan


def _version(columns: Columns) -> str:
    column = columns.find("requested_at")
    return "NULL::VARCHAR" if column is None else f"TRY({column.sql}::VARCHAR)"


def _recency(columns: Columns) -> str:
    column = columns.find("requested_at")
    if column is None:
        return "NULL::VARCHAR"
    # Text of several spellings does not sort by time.
    return moment_of(column).text if column.family in {"VARCHAR", "ENUM", "JSON"} else column.sql
