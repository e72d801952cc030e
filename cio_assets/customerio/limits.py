"""The documented limits of Customer.io's APIs and where their hosts are.

Section numbers are those of the project's fact reference `customerio-api.md`.
"""

from typing import Final, Literal
from urllib.parse import urlsplit

# Hosts (section 1). A wrong region is a 401 on the App API; only the US Track host forwards.
APP_HOSTS: Final = {"us": "https://api.customer.io", "eu": "https://api-eu.customer.io"}
TRACK_HOSTS: Final = {"us": "https://track.customer.io", "eu": "https://track-eu.customer.io"}

# Requests per second (section 2).
APP_REQUESTS_PER_SECOND: Final = 10
TRACK_REQUESTS_PER_SECOND: Final = 1000  # "not strictly enforced"; older documents say 100
ARCHIVED_MESSAGES_PER_DAY: Final = 100  # GET /v1/messages/{id}/archived_message

# Rows a page, at most (section 3).
MESSAGES_PAGE: Final = 1000  # every */messages list and the customers search; the default is 50
CUSTOMERS_PAGE: Final = 1000
ACTIVITIES_PAGE: Final = 100
MEMBERSHIP_PAGE: Final = 30_000
OPTOUTS_PAGE: Final = 1000
SUPPRESSIONS_PAGE: Final = 1000
DESIGN_STUDIO_PAGE: Final = 10_000
ASSETS_PAGE: Final = 10_000
ACTIONS_PAGE: Final = 10  # fixed: campaign and broadcast actions have no limit parameter
SENDER_IDENTITIES_PAGE: Final = 100  # observed-behaviour.md
ATTRIBUTES_BATCH: Final = 100  # ids a POST /v1/customers/attributes

# Widest window of a delivery list, in days (section 5: 6 and 12 months). A wider one is cut off without an error.
WORKSPACE_MESSAGES_DAYS: Final = 183
PARENT_MESSAGES_DAYS: Final = 365
ACTIVITIES_DAYS: Final = 30  # history that is surely kept

# Metrics version 1: steps at most, and the fewest that can be asked (section 5).
METRIC_STEPS: Final = {"hours": 24, "days": 45, "weeks": 12, "months": 121}
METRIC_STEPS_MIN: Final = 2
METRICS_V2_YEARS: Final = 10

# Track API v2, bytes (section 9).
TRACK_BATCH_BYTES: Final = 500_000
TRACK_OPERATION_BYTES: Final = 32_000

_HOSTS: Final = {"app": APP_HOSTS, "track": TRACK_HOSTS}


def base_url(api: Literal["app", "track"], region: str = "us", override: str | None = None) -> str:
    """The base URL of an API, without a slash at its end.

    `region` is `us` or `eu` (section 1); `override` (sandbox, proxy) wins over it. Raises ValueError for an unknown
    region or an override that is not a plain http(s) URL.
    """
    if override and override.strip():
        url = override.strip().rstrip("/")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"the {api} API's URL must look like http://127.0.0.1:8085 or https://host/prefix")
        if parts.username or parts.password:
            raise ValueError(f"the {api} API's URL must not carry a user or a password")
        return url
    hosts = _HOSTS[api]
    chosen = region.strip().lower()
    if chosen not in hosts:
        raise ValueError(f"unknown Customer.io region {region!r}: use {' or '.join(hosts)}")
    return hosts[chosen]
