"""Campaigns, broadcasts, newsletters, transactional messages and their deliveries (customerio-api.md, section 6)."""

from __future__ import annotations

from cio_assets.catalog.model import Endpoint, Parent, Refresh, Table, View, columns

GROUP = "messaging"

# One delivery: what `messages` and its views hold. The transactional list calls the identifiers `identifiers`.
DELIVERY = columns("""
    id text
    deduplicate_id text
    msg_template_id int < msg_template_id | message_template_id
    action_id int
    parent_action_id int
    campaign_id int
    broadcast_id int
    newsletter_id int
    content_id int
    customer_id text < customer_id | customer_identifiers.id | identifiers.id
    cio_id text < customer_identifiers.cio_id | identifiers.cio_id
    email text < customer_identifiers.email | identifiers.email
    recipient text
    subject text
    type text
    metrics json
    created time
    failure_message text
    forgotten bool
    trigger_event_id text
    tracked_responses json
""")

_CONTENT = """
    layout text
    body text
    body_amp text
    language text
    type text
    from text
    from_id int
    reply_to text
    reply_to_id int
    preprocessor text
    recipient text
    subject text
    cc text
    bcc text
    fake_bcc bool
    preheader_text text
    headers text
"""

_ACTION = f"""
    parent_action_id int
    deduplicate_id text
    name text
    created time
    updated time
    sending_state text
    url text
    method text
    {_CONTENT}
"""

_SCHEDULED = """
    scheduled_start int
    scheduled_start_should_backfill bool
    scheduled_stop int
    scheduled_stop_should_sunset bool
"""

# What moves when the children do, as far as the service tells: a changed action does not move its campaign.
_WORKFLOW = ("updated", "deduplicate_id", "actions")
_NEWSLETTER = ("updated", "deduplicate_id", "content_ids", "sent_at")


def _delivery_view(name: str, of_what: str, where: str, docs: str) -> Table:
    return Table(
        name=name,
        group=GROUP,
        description=f"Deliveries of {of_what}: a view of `messages`.",
        key=("id",),
        columns=DELIVERY,
        refresh=Refresh.VIEW,
        docs=docs,
        view=View(of="messages", where=where),
        requests="0",
    )


TABLES = (
    Table(
        name="campaigns",
        group=GROUP,
        description="Campaigns (automations in the UI), with their trigger and state.",
        key=("id",),
        columns=columns(f"""
            id int
            deduplicate_id text
            name text
            description text
            type text
            created time
            updated time
            first_started time
            active bool
            state text
            actions json
            tags json
            msg_templates json < msg_templates | msg_template_ids
            filter_segment_ids json
            trigger_segment_ids json
            event_name text
            date_attribute text
            frequency text
            timezone text
            use_customer_timezone bool
            start_hour int
            start_minutes int
            object_type_id text
            audience json
            filter_object_attributes json
            filter_relationship_attributes json
            object_attribute_triggers json
            relationship_attribute_triggers json
            webhook_id int
            created_by text
            {_SCHEDULED}
        """),
        refresh=Refresh.SNAPSHOT,
        docs="campaigns/listCampaigns/",
        endpoint=Endpoint(path="/v1/campaigns", items="campaigns"),
        requests="1",
    ),
    Table(
        name="campaign_actions",
        group=GROUP,
        description="Messages and other steps of each campaign's workflow; ten a page, ids unique within the campaign.",
        key=("campaign_id", "id"),
        columns=columns(f"campaign_id int\nid int\n{_ACTION}"),
        refresh=Refresh.SNAPSHOT,
        docs="campaigns/listCampaignActions/",
        endpoint=Endpoint(path="/v1/campaigns/{campaign_id}/actions", items="actions", paging="cursor"),
        parent=Parent(table="campaigns", columns={"id": "campaign_id"}, marker=_WORKFLOW),
        requests="Σ campaigns ⌈actions ÷ 10⌉, at least 1 each",
    ),
    Table(
        name="broadcasts",
        group=GROUP,
        description="API-triggered broadcasts.",
        key=("id",),
        columns=columns(f"""
            id int
            deduplicate_id text
            name text
            type text
            created time
            updated time
            active bool
            state text
            actions json
            msg_template_ids json < msg_template_ids | msg_templates
            first_started time
            tags json
            {_SCHEDULED}
        """),
        refresh=Refresh.SNAPSHOT,
        docs="broadcasts/",
        endpoint=Endpoint(path="/v1/broadcasts", items="broadcasts"),
        requests="1",
    ),
    Table(
        name="broadcast_actions",
        group=GROUP,
        description="Messages and other steps of each broadcast; ten a page, ids unique within the broadcast.",
        key=("broadcast_id", "id"),
        columns=columns(f"broadcast_id int\nid int\n{_ACTION}"),
        refresh=Refresh.SNAPSHOT,
        docs="broadcasts/",
        endpoint=Endpoint(path="/v1/broadcasts/{broadcast_id}/actions", items="actions", paging="cursor"),
        parent=Parent(table="broadcasts", columns={"id": "broadcast_id"}, marker=_WORKFLOW),
        requests="Σ broadcasts ⌈actions ÷ 10⌉, at least 1 each",
    ),
    Table(
        name="newsletters",
        group=GROUP,
        description="Newsletters (one-time sends in the UI); `sent_at` is NULL until sent.",
        key=("id",),
        columns=columns("""
            id int
            deduplicate_id text
            name text
            type text
            content_ids json
            created time
            updated time
            sent_at time
            tags json
            recipient_segment_ids json
            subscription_topic_id int
            msg_template_ids json
            subject text
        """),
        refresh=Refresh.SNAPSHOT,
        docs="newsletters/",
        endpoint=Endpoint(path="/v1/newsletters", items="newsletters", paging="cursor", page_size=100),
        requests="⌈newsletters ÷ 100⌉",
    ),
    Table(
        name="newsletter_contents",
        group=GROUP,
        description="Content variants and translations of each newsletter.",
        key=("id",),
        columns=columns(f"newsletter_id int\nid int\ndeduplicate_id text\nname text\n{_CONTENT}"),
        refresh=Refresh.SNAPSHOT,
        docs="newsletters/",
        endpoint=Endpoint(path="/v1/newsletters/{newsletter_id}/contents", items="contents"),
        parent=Parent(table="newsletters", columns={"id": "newsletter_id"}, marker=_NEWSLETTER),
        requests="newsletters",
    ),
    Table(
        name="newsletter_test_groups",
        group=GROUP,
        description="A/B test groups of each newsletter; ids start at 0 within the newsletter.",
        key=("newsletter_id", "id"),
        columns=columns("newsletter_id int\nid int\nname text\nlabel text\nwinner bool\ncontent_ids json"),
        refresh=Refresh.SNAPSHOT,
        docs="newsletters/",
        endpoint=Endpoint(path="/v1/newsletters/{newsletter_id}/test_groups", items="test_groups"),
        parent=Parent(table="newsletters", columns={"id": "newsletter_id"}, marker=_NEWSLETTER),
        requests="newsletters",
    ),
    Table(
        name="transactional_messages",
        group=GROUP,
        description="Transactional message templates.",
        key=("id",),
        columns=columns("""
            id int
            name text
            description text
            send_to_unsubscribed bool
            link_tracking bool
            open_tracking bool
            hide_message_body bool
            queue_drafts bool
            created_at time
            updated_at time
        """),
        refresh=Refresh.SNAPSHOT,
        docs="transactional/",
        # The envelope is `messages`, not `transactional`.
        endpoint=Endpoint(path="/v1/transactional", items="messages"),
        requests="1",
    ),
    Table(
        name="messages",
        group=GROUP,
        description="Every delivery of the workspace, by the day (UTC) of its creation; `metrics` holds the time of "
        "each thing that happened to it and keeps changing for six months.",
        key=("id",),
        columns=DELIVERY,
        refresh=Refresh.WINDOW,
        docs="messages/",
        endpoint=Endpoint(
            path="/v1/messages",
            items="messages",
            paging="cursor",
            page_size=1000,
            query={"get_tracked_responses": "true"},
        ),
        requests="Σ slices ⌈deliveries ÷ 1000⌉, at least 1 for every 180 days; 1 for drafts",
    ),
    _delivery_view("campaign_messages", "campaigns", "campaign_id IS NOT NULL", "campaigns/"),
    _delivery_view("broadcast_messages", "broadcasts", "broadcast_id IS NOT NULL", "broadcasts/"),
    _delivery_view("newsletter_messages", "newsletters", "newsletter_id IS NOT NULL", "newsletters/"),
    _delivery_view("customer_messages", "people", "cio_id IS NOT NULL", "customers/"),
)
