"""People, what they did, their objects, segments and suppressions (customerio-api.md, section 6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cio_assets.catalog.model import Endpoint, Parent, Refresh, Table, View, columns

GROUP = "people"

ACTIVITY = columns("""
    id text
    type text
    timestamp time
    customer_id text < customer_id | customer_identifiers.id
    cio_id text < customer_identifiers.cio_id
    email text < customer_identifiers.email
    data json
    delivery_id text
    delivery_type text
    name text
    url text
""")

_PERSON = """
    cio_id text
    id text
    email text
"""

IDENTIFIERS = ("cio_id", "id", "email")
"""What a person is known by."""

PEOPLE, ATTRIBUTES = "customers", "customer_attributes"

CHANGES = (
    {"type": "attribute_change"},
    {"type": "profile_create"},
    {"type": "device_change"},
    {"type": "anon_merge"},
    {"type": "unsubscribed_email"},
    {"type": "unsubscribed_action"},
    {"type": "topic_unsubscribed_email"},
    # Deleted people's activities are listed only on request, and who of two that were merged is listed is not stated.
    {"type": "profile_merge"},
    {"type": "profile_merge", "deleted": "true"},
    {"type": "profile_delete"},
    {"type": "profile_delete", "deleted": "true"},
)
"""The lists of activities that tell whose row may have changed (customerio-api.md, Activity types)."""

SAME_PERSON = frozenset({"device_change", "unsubscribed_email", "unsubscribed_action", "topic_unsubscribed_email"})
"""Activities that leave the identifiers of a person as they are; what `attribute_change` does to them stands in it."""

EVERYBODY = {"and": [{"attribute": {"field": "cio_id", "operator": "exists"}}]}
"""Filter: the API demands one and has none for "all" (observed-behaviour.md, People)."""

# No person's id or email is empty: the service says "" for none in some places, and null in others.
_BLANK_IS_NULL = {"id": lambda value, _: value or None, "email": lambda value, _: value or None}


def _category(answered: str | None, row: Mapping[str, Any]) -> str:
    """The API's word for the list (`spam` for `spam_reports`), or the list's own name where the word means another.

    The specs disagree on the words for blocks and invalid emails (customerio-api.md, section 11); one word for two
    lists must not merge their rows.
    """
    asked = str(row["suppression_type"])
    return answered if answered and asked.startswith(answered) else asked


TABLES = (
    Table(
        name=PEOPLE,
        group=GROUP,
        description="Everybody in the workspace, by identifiers.",
        key=("cio_id",),
        columns=columns(_PERSON),
        clean=_BLANK_IS_NULL,
        refresh=Refresh.SNAPSHOT,
        docs="customers/",
        endpoint=Endpoint(
            path="/v1/customers",
            method="POST",
            items="identifiers",
            paging="cursor",
            page_size=1000,
            body={"filter": EVERYBODY},
        ),
        requests="⌈people ÷ 1000⌉",
    ),
    Table(
        name=ATTRIBUTES,
        group=GROUP,
        description="Attributes, their times and devices of each person; every attribute comes as a string.",
        key=("cio_id",),
        columns=columns("""
            cio_id text < identifiers.cio_id | cio_id | attributes.cio_id
            id text < identifiers.id | id | attributes.id
            email text < identifiers.email | email | attributes.email
            unsubscribed bool
            attributes json
            timestamps json
            devices json
        """),
        refresh=Refresh.SNAPSHOT,
        docs="customers/",
        endpoint=Endpoint(
            path="/v1/customers/attributes",
            method="POST",
            items="customers",
            query={"id_type": "cio_id"},
            body={"ids": "{cio_id}"},
            unwrap="customer",
        ),
        parent=Parent(table=PEOPLE, columns={"cio_id": "cio_id"}, batch=100),
        requests="⌈people ÷ 100⌉",
    ),
    Table(
        name="activities",
        group=GROUP,
        description="What people did and what was done to them. The API keeps 30 days for sure; what is stored stays.",
        key=("id",),
        columns=ACTIVITY,
        refresh=Refresh.MERGE,
        docs="activities/",
        endpoint=Endpoint(path="/v1/activities", items="activities", paging="cursor_stop_on_empty", page_size=100),
        # The first read covers deleted people too. That it covers everybody else as well is nowhere stated, so the
        # second read proves it with one page, or else reads on.
        variants=({"deleted": "true"}, {}),
        variants_repeat=True,
        requests="⌈activities ÷ 100⌉ + 2",
    ),
    Table(
        name="customer_activities",
        group=GROUP,
        description="Activities that belong to a person: a view of `activities`.",
        key=("id",),
        columns=ACTIVITY,
        refresh=Refresh.VIEW,
        docs="customers/",
        view=View(of="activities", where="cio_id IS NOT NULL"),
        requests="0",
    ),
    Table(
        name="customer_relationships",
        group=GROUP,
        description="Which person belongs to which object. Read from people or from objects, whichever are fewer; only "
        "the people's side tells the attributes of a relationship.",
        key=("cio_id", "object_type_id", "object_id"),
        columns=columns("""
            cio_id text < cio_id | identifiers.cio_id
            object_type_id text
            object_id text < object_id | identifiers.object_id | identifiers.cio_object_id
            cio_object_id text < cio_object_id | identifiers.cio_object_id
            attributes json
            timestamps json
        """),
        told_by_one_side=("attributes", "timestamps"),
        not_kept=("identifiers.id", "identifiers.email", "object_type_disabled"),
        refresh=Refresh.SNAPSHOT,
        docs="objects/",
        endpoint=Endpoint(
            # By cio_object_id: an object_id may hold a slash, which not every server tells from the path's own.
            path="/v1/objects/{object_type_id}/{cio_object_id}/relationships",
            items="cio_relationships",
            paging="cursor",
            page_size=1000,
            query={"id_type": "cio_object_id"},
        ),
        parent=Parent(
            table="objects",
            columns={"object_type_id": "object_type_id", "object_id": "object_id", "cio_object_id": "cio_object_id"},
        ),
        other_side=(
            Endpoint(
                path="/v1/customers/{cio_id}/relationships",
                items="cio_relationships",
                paging="cursor",
                page_size=1000,
                query={"id_type": "cio_id"},
                # Section 1 of customerio-api.md writes a cio_id in a path with this prefix, the specs do not.
                gone_path="/v1/customers/cio_{cio_id}/relationships",
            ),
            Parent(table="customers", columns={"cio_id": "cio_id"}),
        ),
        requests="the fewer of people and objects, each at least 1 page of 1000",
    ),
    Table(
        name="object_types",
        group="objects",
        description="Kinds of objects: companies, accounts, courses.",
        key=("id",),
        columns=columns("""
            id text
            name text
            slug text
            singular_name text
            singular_slug text
            icon text
            enabled bool
        """),
        refresh=Refresh.SNAPSHOT,
        docs="objects/",
        endpoint=Endpoint(path="/v1/object_types", items="types"),
        requests="1",
    ),
    Table(
        name="objects",
        group="objects",
        description="Every object of every type, by identifiers.",
        key=("object_type_id", "object_id"),
        columns=columns("""
            object_type_id text < object_type_id | identifiers.object_type_id
            object_id text < object_id | identifiers.object_id
            cio_object_id text < cio_object_id | identifiers.cio_object_id
        """),
        refresh=Refresh.SNAPSHOT,
        docs="objects/",
        endpoint=Endpoint(
            path="/v1/objects",
            method="POST",
            items="identifiers",
            paging="cursor",
            page_size=1000,
            body={
                "object_type_id": "{object_type_id}",
                "filter": {
                    "and": [
                        {
                            "object_attribute": {
                                "type_id": "{object_type_id}",
                                "field": "object_id",
                                "operator": "exists",
                            }
                        }
                    ]
                },
            },
        ),
        parent=Parent(table="object_types", columns={"id": "object_type_id"}),
        requests="Σ object types ⌈objects ÷ 1000⌉, at least 1 each",
    ),
    Table(
        name="segments",
        group=GROUP,
        description="Segments, data-driven and manual; archived ones are not listed.",
        key=("id",),
        columns=columns("""
            id int
            deduplicate_id text
            name text
            description text
            state text
            progress int
            type text
            tags json
            created_at time
            updated_at time
        """),
        refresh=Refresh.SNAPSHOT,
        docs="segments/",
        endpoint=Endpoint(path="/v1/segments", items="segments"),
        requests="1",
    ),
    Table(
        name="segment_membership",
        group=GROUP,
        description="Who is in which segment.",
        key=("segment_id", "cio_id"),
        columns=columns(f"segment_id int\n{_PERSON}"),
        clean=_BLANK_IS_NULL,
        refresh=Refresh.SNAPSHOT,
        docs="segments/",
        endpoint=Endpoint(
            path="/v1/segments/{segment_id}/membership", items="identifiers", paging="cursor", page_size=30_000
        ),
        parent=Parent(table="segments", columns={"id": "segment_id"}),
        requests="Σ segments ⌈members ÷ 30 000⌉, at least 1 each",
    ),
    Table(
        name="segment_usage",
        group=GROUP,
        description="Campaigns and newsletters that use each segment.",
        key=("segment_id",),
        columns=columns("segment_id int\ncampaigns json\nsent_newsletters json\ndraft_newsletters json"),
        refresh=Refresh.SNAPSHOT,
        docs="segments/",
        endpoint=Endpoint(path="/v1/segments/{segment_id}/used_by", items="used_by"),
        parent=Parent(table="segments", columns={"id": "segment_id"}),
        requests="segments",
    ),
    Table(
        name="esp_suppressions",
        group=GROUP,
        description="Addresses that the email provider suppresses; `category` is the API's word, `suppression_type` "
        "the list it was read from. A lifted suppression is marked deleted.",
        key=("category", "email"),
        columns=columns("""
            category text < category | suppression_type
            email text
            created time
            reason text
            status text
            suppression_type text
        """),
        refresh=Refresh.SNAPSHOT,
        docs="",
        endpoint=Endpoint(
            path="/v1/esp/suppression/{suppression_type}",
            items="suppressions",
            paging="offset",
            page_size=1000,
            siblings=("category",),
        ),
        clean={"category": _category},
        variants=tuple({"suppression_type": t} for t in ("bounces", "blocks", "spam_reports", "invalid_emails")),
        requests="Σ 4 types ⌈addresses ÷ 1000⌉, one more where it divides evenly",
    ),
)
