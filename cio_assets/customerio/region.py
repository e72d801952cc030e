"""Asks the Track API for a workspace's region: the check of Track credentials (section 1 of customerio-api.md)."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from .credentials import SITE_ID_VARIABLE, TRACK_KEY_VARIABLE, TRACK_KEYS_FOUND_AT, basic
from .errors import AnswerInvalid, CredentialsRefused, QuotaExhausted, ServiceUnavailable
from .exchange import USER_AGENT, Exchange, Reply, Request
from .masking import masked
from .refusals import error_text, refusal, track_account

PATH: Final = "/api/v1/accounts/region"
_REGIONS: Final = ("us", "eu")
_ATTEMPTS: Final = 3
_LONGEST_WAIT: Final = 5.0  # seconds between attempts, whatever Retry-After asks: somebody waits at a terminal


@dataclass(frozen=True)
class Region:
    """`region` is `us` or `eu`; `environment_id` is the workspace's id."""

    region: str
    environment_id: int | None


def look_up_region(
    base_url: str, site_id: str, key: str, timeout: float = 15, sleep: Callable[[float], object] = time.sleep
) -> Region:
    """The region of the workspace that site id and Track API key belong to; either region's host answers.

    `timeout` in seconds, for each of three attempts; `sleep` is for tests. Raises CredentialsRefused (401, 403, or
    what cannot be a key), ServiceUnavailable (no answer, 5xx), AnswerInvalid (anything else).
    """
    request = Request("GET", base_url.rstrip("/") + PATH, PATH, f"GET {PATH}")
    exchange = Exchange(
        base_url,
        limiter=None,
        headers={"Authorization": basic(site_id, key), "Accept": "application/json", "User-Agent": USER_AGENT},
        timeout=(timeout, timeout),
        connections=1,
        max_attempts=_ATTEMPTS,
        sleep=lambda seconds: sleep(min(seconds, _LONGEST_WAIT)),
    )
    host = urlsplit(base_url).hostname or "?"
    try:
        reply = exchange.send(request)
    except (ServiceUnavailable, QuotaExhausted) as error:
        kind, todo = ServiceUnavailable, "try again later"
        if error.status is not None and error.status < 300:
            kind, todo = AnswerInvalid, "is CUSTOMERIO_TRACK_URL right, or does a proxy ask for a login?"
        text = f"{error}" if error.status != 429 else f"GET {PATH} was answered 429 in {error.attempts} attempts"
        text = f"{text} (host {host}): {todo}"
        raise kind(text, method="GET", path=PATH, status=error.status, attempts=error.attempts) from None
    finally:
        exchange.close()
    if reply.status in (401, 403):
        detail = masked(error_text(reply.content), [site_id.strip(), key.strip()])
        raise CredentialsRefused(
            f"{SITE_ID_VARIABLE} and {TRACK_KEY_VARIABLE} were refused: copy both from {TRACK_KEYS_FOUND_AT}. "
            f"({host} answered {reply.status}; an EU workspace needs CUSTOMERIO_REGION=eu, and an IP allowlist of the "
            f"workspace refuses in the same way.){f' The service says: {detail}' if detail else ''}",
            method="GET",
            path=PATH,
            status=reply.status,
            attempts=reply.attempts,
            detail=detail,
        )
    error = refusal(reply, request, track_account(base_url, "us"), [site_id.strip(), key.strip()])
    if error is not None:
        raise AnswerInvalid(
            str(error), method="GET", path=PATH, status=reply.status, attempts=reply.attempts, detail=error.detail
        )
    return _read(reply)


def _read(reply: Reply) -> Region:
    body: Any = reply.body if isinstance(reply.body, Mapping) else {}
    region, environment = body.get("region"), body.get("environment_id")
    if not isinstance(region, str) or region.strip().lower() not in _REGIONS:
        raise AnswerInvalid(
            f"GET {PATH} was answered {reply.status} without a region: is CUSTOMERIO_TRACK_URL right?",
            method="GET",
            path=PATH,
            status=reply.status,
            attempts=reply.attempts,
        )
    return Region(region.strip().lower(), environment if type(environment) is int else None)
