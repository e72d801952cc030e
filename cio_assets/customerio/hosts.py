"""Where Customer.io's APIs are (section 1 of the fact reference `customerio-api.md`)."""

from typing import Final, Literal
from urllib.parse import urlsplit

# A wrong region is a 401 on the App API; only the US Track host forwards.
_HOSTS: Final = {
    "app": {"us": "https://api.customer.io", "eu": "https://api-eu.customer.io"},
    "track": {"us": "https://track.customer.io", "eu": "https://track-eu.customer.io"},
}


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
