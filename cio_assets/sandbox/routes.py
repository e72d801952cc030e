"""The table of endpoints: method, path, handler, documented parameters and body."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from cio_assets.sandbox import params as p
from cio_assets.sandbox import read_deliveries as d
from cio_assets.sandbox import read_exports as x
from cio_assets.sandbox import read_lists as ls
from cio_assets.sandbox import read_people as r
from cio_assets.sandbox.api import Api, Request
from cio_assets.sandbox.errors import ApiError
from cio_assets.sandbox.params import Param

Handler = Callable[[Api, Request], dict[str, Any]]
INTEGER_IDS = re.compile(r"\w+_id")
TEXT_IDS = ("customer_id", "object_id", "message_id")
SUPPRESSION_TYPES = ("bounces", "blocks", "spam_reports", "invalid_emails")


@dataclass(frozen=True)
class Route:
    """One endpoint."""

    method: str
    path: str
    handler: Handler
    params: Mapping[str, Param] = field(default_factory=dict)
    body: Mapping[str, type] | None = None
    body_optional: Mapping[str, type] = field(default_factory=dict)
    needs_key: bool = True

    @property
    def name(self) -> str:
        """Return the name under which statistics count it."""
        return f"{self.method} {self.path}"

    @property
    def has_cursor(self) -> bool:
        """Tell whether `start` is a cursor here, and not a time as in metrics."""
        return self.params.get("start") is p.TEXT

    @property
    def starts_export(self) -> bool:
        """Tell whether this starts an export."""
        return self.handler is x.create

    def read_path(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """Validate the ids of a matched path, or refuse with 400."""
        values: dict[str, Any] = {}
        for name, text in texts.items():
            if INTEGER_IDS.fullmatch(name) and name not in TEXT_IDS:
                if not text.isascii() or not text.isdigit() or len(text) > 15:
                    raise ApiError(400, f"{name}: not an integer")
                values[name] = int(text)
            elif name == "suppression_type" and text not in SUPPRESSION_TYPES:
                raise ApiError(400, f"{name}: unknown value")
            else:
                values[name] = text
        return values


PAGE_100 = p.limit(100, clamp=100)
PAGE_OPEN = p.limit(100, clamp=1000)
ACTIVITIES = p.CURSOR | {"type": Param("activity_type"), "name": p.TEXT, "limit": p.limit(10, most=100)}
CUSTOMER = {"id_type": p.ID_TYPE}
TYPED = p.V1 | {"type": p.CHANNEL}

ROUTES = (
    Route("GET", "/v1/activities", d.activities, ACTIVITIES | CUSTOMER | {"deleted": p.FLAG, "customer_id": p.TEXT}),
    Route("GET", "/v1/broadcasts", ls.broadcasts),
    Route("GET", "/v1/broadcasts/{broadcast_id}/actions", ls.broadcast_actions, p.CURSOR),
    Route("GET", "/v1/broadcasts/{broadcast_id}/actions/{action_id}/metrics", d.broadcast_action_metrics, TYPED),
    Route("GET", "/v1/broadcasts/{broadcast_id}/messages", d.broadcast_messages,
          p.PARENT_DELIVERIES | {"state": p.STATE, "type": p.CHANNEL}),
    Route("GET", "/v1/broadcasts/{broadcast_id}/metrics", d.broadcast_metrics, TYPED),
    Route("GET", "/v1/campaigns", ls.campaigns),
    Route("GET", "/v1/campaigns/{campaign_id}/actions", ls.campaign_actions, p.CURSOR),
    Route("GET", "/v1/campaigns/{campaign_id}/actions/{action_id}/metrics", d.campaign_action_metrics, TYPED | p.V2),
    Route("GET", "/v1/campaigns/{campaign_id}/messages", d.campaign_messages, p.WHOLE_DELIVERIES),
    Route("GET", "/v1/campaigns/{campaign_id}/metrics", d.campaign_metrics, TYPED | p.V2),
    Route("GET", "/v1/collections", ls.collections),
    Route("POST", "/v1/customers", r.search_customers, p.CURSOR | {"limit": p.limit(50, most=1000)}, {"filter": dict}),
    Route("POST", "/v1/customers/attributes", r.customers_attributes, CUSTOMER, {"ids": list}),
    Route("GET", "/v1/customers/{customer_id}/attributes", r.customer_attributes, CUSTOMER),
    Route("GET", "/v1/customers/{customer_id}/messages", d.customer_messages,
          CUSTOMER | p.CURSOR | p.WINDOW | {"limit": p.limit(50, most=1000)}),
    Route("GET", "/v1/customers/{customer_id}/activities", d.customer_activities, ACTIVITIES | CUSTOMER),
    Route("GET", "/v1/customers/{customer_id}/relationships", r.customer_relationships,
          CUSTOMER | p.CURSOR | {"limit": PAGE_OPEN}),
    Route("GET", "/v1/customers/{customer_id}/segments", r.customer_segments, CUSTOMER),
    Route("GET", "/v1/esp/suppression/{suppression_type}", ls.esp_suppressions,
          {"domain": p.TEXT, "limit": p.limit(100, most=1000), "offset": Param("integer", 0, least=0)}),
    Route("GET", "/v1/exports", x.exports),
    Route("POST", "/v1/exports/customers", x.create, body={"filters": dict}, body_optional={"attributes": list}),
    Route("GET", "/v1/exports/{export_id}", x.export),
    Route("GET", "/v1/exports/{export_id}/download", x.download),
    Route("GET", "/v1/info/ip_addresses", ls.ip_addresses, needs_key=False),
    Route("GET", "/v1/messages", d.messages,
          p.WHOLE_DELIVERIES | {"campaign_id": p.INT, "newsletter_id": p.INT, "action_id": p.INT}),
    Route("GET", "/v1/messages/{message_id}", d.message),
    Route("GET", "/v1/newsletters", ls.newsletters, p.CURSOR | {"limit": PAGE_100, "sort": p.SORT}),
    Route("GET", "/v1/newsletters/{newsletter_id}/contents", ls.newsletter_contents),
    Route("GET", "/v1/newsletters/{newsletter_id}/metrics", d.newsletter_metrics, p.V1 | {"type": p.LETTER_CHANNEL}),
    Route("GET", "/v1/newsletters/{newsletter_id}/messages", d.newsletter_messages, p.PARENT_DELIVERIES),
    Route("GET", "/v1/newsletters/{newsletter_id}/test_groups", ls.newsletter_test_groups),
    Route("GET", "/v1/object_types", ls.object_types),
    Route("POST", "/v1/objects", r.search_objects, p.CURSOR | {"limit": p.limit(50, clamp=1000)},
          {"object_type_id": str, "filter": dict}),
    Route("GET", "/v1/objects/{object_type_id}/{object_id}/attributes", r.object_attributes,
          {"id_type": p.OBJECT_ID_TYPE}),
    Route("GET", "/v1/objects/{object_type_id}/{object_id}/relationships", r.object_relationships,
          p.CURSOR | {"limit": PAGE_OPEN, "id_type": p.OBJECT_ID_TYPE}),
    Route("GET", "/v1/reporting_webhooks", ls.reporting_webhooks),
    Route("GET", "/v1/segments", ls.segments),
    Route("GET", "/v1/segments/{segment_id}", ls.segment),
    Route("GET", "/v1/segments/{segment_id}/customer_count", ls.segment_customer_count),
    Route("GET", "/v1/segments/{segment_id}/membership", r.segment_membership,
          p.CURSOR | {"limit": p.limit(1000, most=30000)}),
    Route("GET", "/v1/segments/{segment_id}/used_by", ls.segment_used_by),
    Route("GET", "/v1/sender_identities", ls.sender_identities,
          p.CURSOR | {"limit": PAGE_100, "sort": p.SORT, "hidden": p.BOOL}),
    Route("GET", "/v1/snippets", ls.snippets),
    Route("GET", "/v1/subscription_topics", ls.subscription_topics),
    Route("GET", "/v1/transactional", ls.transactional),
    Route("GET", "/v1/transactional/{transactional_id}/messages", d.transactional_messages,
          p.PARENT_DELIVERIES | {"state": p.STATE}),
    Route("GET", "/v1/workspaces", ls.workspaces),
)  # fmt: skip

# By method and number of segments; ids are matched on the raw path, so that an encoded slash stays inside its segment.
_BY_SHAPE: dict[tuple[str, int], list[tuple[Route, list[str]]]] = {}
for _route in ROUTES:
    _segments = _route.path.split("/")
    _BY_SHAPE.setdefault((_route.method, len(_segments)), []).append((_route, _segments))


def match(method: str, raw_path: str) -> tuple[Route, dict[str, str]] | None:
    """Find the route of a raw path and the decoded texts of its ids."""
    segments = raw_path.split("/")
    for route, wanted in _BY_SHAPE.get((method, len(segments)), ()):
        if all((want[:1] == "{" and have) or want == have for want, have in zip(wanted, segments, strict=True)):
            pairs = zip(wanted, segments, strict=True)
            return route, {want[1:-1]: unquote(have) for want, have in pairs if want[:1] == "{"}
    return None
