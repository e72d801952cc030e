"""The table of Track API endpoints, and the error bodies that each kind of endpoint answers with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from cio_assets.sandbox import track_v1 as v1
from cio_assets.sandbox.track_v1 import V1, TrackCall

Handler = Callable[[V1, TrackCall], Any]


@dataclass(frozen=True)
class Route:
    """One endpoint. `errors` is the shape of its refusals: meta.error, meta.errors or errors."""

    method: str
    path: str
    handler: Handler | None = None  # None: version 2
    has_body: bool = True
    needs_key: bool = True
    errors: str = "meta.error"
    success: int = 200
    params: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return the name under which statistics count it."""
        return f"{self.method} {self.path}"


CUSTOMER = "/api/v1/customers/{identifier}"
ROUTES = (
    Route("GET", "/api/v1/accounts/region", v1.region, has_body=False),
    Route("PUT", CUSTOMER, v1.identify),
    Route("DELETE", CUSTOMER, v1.delete, has_body=False),
    Route("POST", f"{CUSTOMER}/suppress", v1.suppress, has_body=False),
    Route("POST", f"{CUSTOMER}/unsuppress", v1.unsuppress, has_body=False),
    Route("PUT", f"{CUSTOMER}/devices", v1.add_device, errors="meta.errors"),
    Route("DELETE", f"{CUSTOMER}/devices/{{device_id}}", v1.delete_device, has_body=False, errors="meta.errors"),
    Route("POST", f"{CUSTOMER}/events", v1.event),
    Route("POST", "/api/v1/events", v1.anonymous_event),
    Route("POST", "/api/v1/merge_customers", v1.merge),
    Route("POST", "/api/v1/segments/{segment_id}/add_customers", v1.add_to_segment, errors="meta.errors",
          params=("id_type",)),
    Route("POST", "/api/v1/segments/{segment_id}/remove_customers", v1.remove_from_segment, errors="meta.errors",
          params=("id_type",)),
    Route("POST", "/api/v1/forms/{form_id}/submit", v1.submit_form, errors="meta.errors", success=204),
    Route("POST", "/api/v1/metrics", v1.metric, needs_key=False),
    Route("POST", "/api/v1/push/events", v1.push_event, needs_key=False),
    Route("POST", "/unsubscribe/{delivery_id}", v1.unsubscribe, needs_key=False),
    Route("POST", "/api/v2/entity", errors="errors"),
    Route("POST", "/api/v2/batch", errors="errors"),
)  # fmt: skip
_SEGMENTS = [(route, route.path.split("/")) for route in ROUTES]


def match(method: str, raw_path: str) -> tuple[Route, dict[str, str]] | None:
    """Find the route of a raw path and the decoded texts of its ids; an encoded slash stays inside its segment."""
    segments = raw_path.split("/")
    for route, wanted in _SEGMENTS:
        if route.method != method or len(wanted) != len(segments):
            continue
        pairs = list(zip(wanted, segments, strict=True))
        if all((want[:1] == "{" and have) or want == have for want, have in pairs):
            return route, {want[1:-1]: unquote(have) for want, have in pairs if want[:1] == "{"}
    return None
