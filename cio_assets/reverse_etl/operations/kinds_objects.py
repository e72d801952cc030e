"""Objects and people's relationships to them (section 9 of customerio-api.md)."""

from __future__ import annotations

from cio_assets.customerio import limits
from cio_assets.reverse_etl.model import Sync
from cio_assets.reverse_etl.operations.attributes import attribute, checks, joined
from cio_assets.reverse_etl.operations.columns import Column, Columns
from cio_assets.reverse_etl.operations.identities import as_key, object_of, person_of
from cio_assets.reverse_etl.operations.plan import ATTRIBUTES, Plan

OBJECT_COLUMNS = ("object_type_id", "object_id", "cio_object_id")


def object_attribute_columns(sync: Sync, columns: Columns) -> list[Column]:
    """The columns that become attributes of the object, or of the relationship."""
    return columns.others((*sync.identifiers.values(), *OBJECT_COLUMNS), sync.columns)


def objects(sync: Sync, columns: Columns) -> Plan:
    """Create or update objects; those named by `cio_object_id` are only updated."""
    plan = Plan(key="sent", limited=True)
    thing = object_of(plan.layers, columns)
    _add_attributes(plan, sync, columns)
    plan.sent["sent"] = thing.sent
    plan.keys = [*thing.known_by]
    plan.checks = [thing.missing, *thing.checks, *plan.checks]
    plan.operation = (
        """concat('{"type":"object","identifiers":', sent, ',"action":"identify","attributes":{', """
        f"{ATTRIBUTES}, '}}}}')"
    )
    return plan


def relationships(sync: Sync, columns: Columns) -> Plan:
    """Relate a person to an object."""
    plan = Plan(limited=True)
    person = person_of(plan.layers, columns, sync.identifiers)
    thing = object_of(plan.layers, columns)
    _add_attributes(plan, sync, columns)
    plan.sent |= {"sent": person.sent, "thing": thing.sent}
    plan.checks = [person.missing, *person.checks, thing.missing, *thing.checks, *plan.checks]
    plan.key = _key(as_key("sent"), "thing")
    plan.keys = [_key(one, other) for one in person.known_by for other in thing.known_by]
    plan.operation = (
        """concat('{"type":"person","identifiers":', sent, ',"action":"add_relationships","cio_relationships":"""
        """[{"identifiers":', thing, ',"relationship_attributes":{', """
        f"{ATTRIBUTES}, '}}}}]}}')"
    )
    return plan


def _key(person: str, thing: str) -> str:
    return f"""'{{"person":' || {person} || ',"object":' || {thing} || '}}'"""


def _add_attributes(plan: Plan, sync: Sync, columns: Columns) -> None:
    unset = sync.nulls == "unset"
    attributes = [attribute(plan.layers, column) for column in object_attribute_columns(sync, columns)]
    plan.sent[ATTRIBUTES] = joined(attributes, unset=unset)
    plan.checks += checks(
        attributes, value_limit=limits.ATTRIBUTE_VALUE, count_limit=limits.ATTRIBUTE_COUNT, unset=unset
    )
