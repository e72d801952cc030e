"""What a workspace is made of: content, senders, webhooks, exports, addresses (customerio-api.md, section 6)."""

from __future__ import annotations

import re

from cio_assets.catalog.model import Endpoint, Refresh, Table, columns

GROUP = "workspace"


def without_credentials(url: str) -> str:
    """The URL without `user:password@`.

    >>> without_credentials("https://ann:secret@example.com:8080/hook?x=1")
    'https://example.com:8080/hook?x=1'
    """
    scheme, slashes, rest = url.partition("//") if "//" in url else ("", "", url)
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        return scheme + slashes + authority.rpartition("@")[2] + rest[len(authority) :]
    # A password may hold / ? # unescaped: then what looks like a host and a port is a user and half a password.
    host, colon, port = authority.partition(":")
    if "@" in rest and colon and host and not (port.isdigit() and ("." in host or host == "localhost")):
        return scheme + slashes + rest.rpartition("@")[2]
    return url


TABLES = (
    Table(
        name="workspaces",
        group=GROUP,
        description="Every workspace of the account; the counts are up to two hours old.",
        key=("id",),
        columns=columns("""
            id int
            name text
            messages_sent int
            billable_messages_sent int
            people int
            object_types int
            objects int
        """),
        refresh=Refresh.SNAPSHOT,
        docs="workspaces/",
        endpoint=Endpoint(path="/v1/workspaces", items="workspaces"),
        requests="1",
    ),
    Table(
        name="collections",
        group=GROUP,
        description="Collections of data for messages (without their content).",
        key=("id",),
        columns=columns("""
            id int
            name text
            schema json
            rows int
            bytes int
            created_at time
            updated_at time
        """),
        refresh=Refresh.SNAPSHOT,
        docs="collections/",
        endpoint=Endpoint(path="/v1/collections", items="collections"),
        requests="1",
    ),
    Table(
        name="snippets",
        group=GROUP,
        description="Pieces of content shared by messages; they have no id but a unique name.",
        key=("name",),
        columns=columns("name text\nvalue text\nupdated_at time"),
        refresh=Refresh.SNAPSHOT,
        docs="snippets/",
        endpoint=Endpoint(path="/v1/snippets", items="snippets"),
        requests="1",
    ),
    Table(
        name="sender_identities",
        group=GROUP,
        description="Addresses and numbers that messages are sent from, the hidden ones too.",
        key=("id",),
        columns=columns("""
            id int
            deduplicate_id text
            name text
            email text
            address text
            template_type text
            phone text
            hidden bool
            auto_generated bool
        """),
        refresh=Refresh.SNAPSHOT,
        docs="",
        endpoint=Endpoint(path="/v1/sender_identities", items="sender_identities", paging="cursor", page_size=100),
        # hidden=true answers only the hidden ones (observed-behaviour.md, Lists).
        variants=({}, {"hidden": "true"}),
        requests="⌈visible ÷ 100⌉ + ⌈hidden ÷ 100⌉ + 2 (each list ends with an empty page)",
    ),
    Table(
        name="subscription_topics",
        group=GROUP,
        description="Topics that people can subscribe to.",
        key=("id",),
        columns=columns("""
            id int
            identifier text
            name text
            description text
            subscribed_by_default bool
        """),
        refresh=Refresh.SNAPSHOT,
        docs="",
        endpoint=Endpoint(path="/v1/subscription_topics", items="topics"),
        requests="1",
    ),
    Table(
        name="reporting_webhooks",
        group=GROUP,
        description="Webhooks that report deliveries; user and password are taken out of the endpoint.",
        key=("id",),
        columns=columns("""
            id int
            name text
            type text
            endpoint text
            disabled bool
            full_resolution bool
            with_content bool
            events json
        """),
        refresh=Refresh.SNAPSHOT,
        docs="",
        endpoint=Endpoint(path="/v1/reporting_webhooks", items="reporting_webhooks"),
        clean={"endpoint": lambda url, _: url and without_credentials(url)},
        requests="1",
    ),
    Table(
        name="exports",
        group=GROUP,
        description="Exports of people and deliveries that were asked for; what the API forgets stays.",
        key=("id",),
        columns=columns("""
            id int
            deduplicate_id text
            type text
            description text
            status text
            failed bool
            total int
            downloads int
            user_id int
            user_email text
            created_at time
            updated_at time
        """),
        refresh=Refresh.MERGE,
        docs="exports/",
        endpoint=Endpoint(path="/v1/exports", items="exports"),
        requests="1",
    ),
    Table(
        name="info_ip_addresses",
        group=GROUP,
        description="Addresses that Customer.io sends webhooks from, for allow lists.",
        key=("ip",),
        columns=columns("ip text"),
        refresh=Refresh.SNAPSHOT,
        docs="",
        endpoint=Endpoint(path="/v1/info/ip_addresses", items="ip_addresses", wrap="ip"),
        requests="1",
    ),
)
