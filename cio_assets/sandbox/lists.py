"""The small lists of a workspace: collections, snippets, exports, senders, topics, suppressions and the like."""

from dataclasses import dataclass, field

from cio_assets.sandbox.content import Item
from cio_assets.sandbox.seeds import mix

DAY = 86400
CATEGORIES = {"bounces": "bounces", "blocks": "blocks", "spam_reports": "spam", "invalid_emails": "invalid"}
SUPPRESSION_COUNTS = {"bounces": 1234, "blocks": 30, "spam_reports": 5, "invalid_emails": 0}


@dataclass
class Lists:
    """Each list in the shape of the API's items."""

    collections: list[Item]
    snippets: list[Item]
    exports: list[Item]
    senders: list[Item]
    topics: list[Item]
    workspaces: list[Item]
    webhooks: list[Item]
    suppressions: dict[str, list[Item]]
    ip_addresses: list[str] = field(default_factory=lambda: ["35.188.196.183", "104.198.177.219", "104.154.232.87"])


def build(seed: int, people: int, objects: int, now: int) -> Lists:
    """Make the lists of a new world."""
    return Lists(
        collections=[
            {"id": n, "name": name, "schema": ["eventDate", "größe"][: 1 + n % 2], "rows": n * 2, "bytes": 148 * n,
             "created_at": now - 300 * DAY, "updated_at": now - n * DAY}
            for n, name in enumerate(("events", "produits é", "店"), 1)
        ],
        snippets=[
            {"name": name, "value": value, "updated_at": now - n * 5 * DAY}
            for n, (name, value) in enumerate(
                {"address": "<b>1 Main St</b>", "Address": "other case", "grüße ☀": "Hallo\n{{customer.first_name}}",
                 "empty": "", "日本語": "こんにちは", "a/b + c": "x"}.items()
            )
        ],
        exports=[_export(n, now) for n in range(8)],
        senders=[_sender(n, now) for n in range(125)],
        topics=[
            {"id": n, "identifier": f"topic_{n}", "name": name, "description": "", "subscribed_by_default": n == 2}
            for n, name in enumerate(("Offers", "Product updates", "Événements"), 1)
        ],
        workspaces=[
            {"id": 131000, "name": "Main", "messages_sent": 100202, "billable_messages_sent": 75124, "people": people,
             "object_types": 3, "objects": objects},
            {"id": 131001, "name": "Staging 🧪", "messages_sent": 0, "billable_messages_sent": 0, "people": 3,
             "object_types": 0, "objects": 0},
        ],
        webhooks=[
            {"id": 4, "name": "warehouse", "type": "webhook", "endpoint": "https://example.com/hook", "disabled": False,
             "full_resolution": True, "with_content": False, "events": ["email_sent", "email_opened"]},
            {"id": 7, "name": "with credentials", "type": "webhook", "disabled": True, "full_resolution": False,
             "endpoint": "https://hook-user:hook-pass@example.com/in?x=1", "with_content": True, "events": []},
        ],
        suppressions={kind: [_suppression(seed, kind, n, now) for n in range(count)]
                      for kind, count in SUPPRESSION_COUNTS.items()},
    )  # fmt: skip


def _export(number: int, now: int) -> Item:
    identity, created = 110 + number, now - (number * number + 1) * 3600
    status = ("pending", "done", "done", "failed")[number % 4]
    return {
        "id": identity, "deduplicate_id": f"{identity}:{created + 60}", "type": ("customers", "deliveries")[number % 2],
        "failed": status == "failed", "description": "Customers", "downloads": number, "created_at": created,
        "updated_at": created + 60, "user_id": 0, "user_email": "ops@example.com",
        "total": 1234 if status == "done" else 0, "status": status,
    }  # fmt: skip


def _sender(number: int, now: int) -> Item:
    identity, updated = 4500 + number, now - number * DAY
    item: Item = {"id": identity, "deduplicate_id": f"{identity}:{updated}", "name": f"Team {number} é"}
    if number % 25 == 9:
        item |= {"phone": f"+4179000{number:04d}", "template_type": "phone"}
    else:
        email = f"team{number}@example.com"
        item |= {"email": email, "address": f"Team {number} é <{email}>", "template_type": "email"}
    return item | {"auto_generated": number % 10 == 0, "hidden": number % 17 == 3}


def _suppression(seed: int, kind: str, number: int, now: int) -> Item:
    h = mix(seed, number, len(kind), 51)
    domain = "other.example" if number % 5 == 0 else "example.com"
    reason = "Uploaded manually" if h & 1 else "550 5.1.1 unknown ✗"
    return {"created": now - h % (400 * DAY), "email": f"{kind}+{number}@{domain}", "reason": reason, "status": "550"}
