"""What must hold for every row of the catalog, whichever is added."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from cio_assets.catalog import TABLES, Refresh, Table, Type
from cio_assets.catalog.model import columns

KEYS = {
    "broadcast_actions": ("broadcast_id", "id"),
    "campaign_actions": ("campaign_id", "id"),
    "customers": ("cio_id",),
    "customer_attributes": ("cio_id",),
    "customer_relationships": ("cio_id", "object_type_id", "object_id"),
    "esp_suppressions": ("category", "email"),
    "info_ip_addresses": ("ip",),
    "newsletter_test_groups": ("newsletter_id", "id"),
    "objects": ("object_type_id", "object_id"),
    "segment_membership": ("segment_id", "cio_id"),
    "segment_usage": ("segment_id",),
    "snippets": ("name",),
    "campaign_metrics": ("campaign_id", "period", "period_start"),
    "campaign_action_metrics": ("campaign_id", "action_id", "period", "period_start"),
    "broadcast_metrics": ("broadcast_id", "period", "period_start"),
    "broadcast_action_metrics": ("broadcast_id", "action_id", "period", "period_start"),
    "newsletter_metrics": ("newsletter_id", "period", "period_start"),
}
"""Every other table is keyed by `id`."""

EXPECTED_TABLES = """
    activities broadcast_action_metrics broadcast_actions broadcast_messages broadcast_metrics broadcasts
    campaign_action_metrics campaign_actions campaign_messages campaign_metrics campaigns collections
    customer_activities customer_attributes customer_messages customer_relationships customers esp_suppressions exports
    info_ip_addresses messages newsletter_contents newsletter_messages newsletter_metrics newsletter_test_groups
    newsletters object_types objects reporting_webhooks segment_membership segment_usage segments sender_identities
    snippets subscription_topics transactional_messages workspaces
""".split()

VIEWS = {
    "broadcast_messages": "messages",
    "campaign_messages": "messages",
    "customer_activities": "activities",
    "customer_messages": "messages",
    "newsletter_messages": "messages",
}

each_table = pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))


def _names(table: Table) -> list[str]:
    return [column.name for column in table.columns]


def test_every_promised_table_is_there() -> None:
    assert set(EXPECTED_TABLES) <= set(TABLES)
    assert list(TABLES) == sorted(TABLES)


@each_table
def test_the_key(table: Table) -> None:
    assert table.key == KEYS.get(table.name, ("id",))
    assert set(table.key) <= set(_names(table))


@each_table
def test_columns_are_named_once_and_leave_our_own_names_alone(table: Table) -> None:
    names = _names(table)

    assert len({name.lower() for name in names}) == len(names)  # SQL names know no case
    assert not [name for name in names if name.startswith("_")]


@each_table
def test_a_table_is_read_or_seen_through(table: Table) -> None:
    assert (table.endpoint is None) == (table.refresh is Refresh.VIEW) == (table.view is not None)
    assert (table.refresh is Refresh.SERIES) == (table.series is not None)
    assert table.tombstones == (table.refresh is Refresh.SNAPSHOT)


@each_table
def test_columns_for_parents_exist_on_both_sides(table: Table) -> None:
    for parent in table.parents:
        types = {column.name: column.type for column in TABLES[parent.table].columns}
        own = {column.name: column.type for column in table.columns}
        for theirs, ours in parent.columns.items():
            assert own[ours] is types[theirs]
        # A parent's whole key is asked for, else two parents would share their children.
        assert set(TABLES[parent.table].key) <= set(parent.columns)
        if not parent.batch:
            assert TABLES[parent.table].tombstones  # parents that are gone are not asked


@each_table
def test_parents_come_before_their_children(table: Table) -> None:
    def depth(name: str, seen: tuple[str, ...] = ()) -> int:
        assert name not in seen, f"{name} is its own ancestor"
        return 1 + max((depth(p.table, (*seen, name)) for p in TABLES[name].parents), default=0)

    assert depth(table.name) <= 3


@each_table
def test_times_are_columns_of_time(table: Table) -> None:
    for column in table.columns:
        if re.search(r"^(created|updated|timestamp|period_start)$|_at$", column.name):
            counted = table.series and column.name == "created"  # there it is how many, not when
            assert column.type is (Type.INT if counted else Type.TIME)
        if re.search(r"_ids$|^(tags|metrics|attributes|timestamps|devices)$", column.name):
            assert column.type is Type.JSON


@each_table
def test_a_column_of_an_id_has_one_type_everywhere(table: Table) -> None:
    for column in table.columns:
        if column.name.endswith("_id") and column.name != "cio_id":
            others = {c.type for t in TABLES.values() for c in t.columns if c.name == column.name}
            assert others == {column.type}, column.name


@each_table
def test_people_are_told_what_it_holds_and_what_it_costs(table: Table) -> None:
    assert table.description.strip().endswith(".")
    assert table.requests
    assert re.fullmatch(r"https://docs\.customer\.io/[\w/-]+/", table.docs_url)
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", table.name)


def test_views_are_over_the_table_they_select_from() -> None:
    assert {t.name: t.view.of for t in TABLES.values() if t.view} == VIEWS
    for view, of in VIEWS.items():
        assert TABLES[view].columns == TABLES[of].columns


def test_history_that_the_api_forgets_is_never_marked() -> None:
    kept = {"messages": Refresh.WINDOW, "activities": Refresh.MERGE, "exports": Refresh.MERGE}

    assert {name: TABLES[name].refresh for name in kept} == kept


def test_an_undeclared_key_is_refused() -> None:
    with pytest.raises(ValueError, match=r"campaigns: columns \['nope'\]"):
        replace(TABLES["campaigns"], key=("nope",))


def test_columns_are_read_from_lines() -> None:
    first, second = columns("""
        id int
        email text < identifiers.email | email
    """)

    assert (first.name, first.type, first.paths) == ("id", Type.INT, (("id",),))
    assert (second.type, second.paths) == (Type.TEXT, (("identifiers", "email"), ("email",)))


@pytest.mark.parametrize("wrong", ["id", "id int extra", "id integer"])
def test_a_line_that_is_no_column_is_refused(wrong: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        columns(wrong)
