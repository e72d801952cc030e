"""Turns an answer that refuses a request into the error that says what to do about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from .credentials import (
    APP_KEY_FOUND_AT,
    APP_KEY_VARIABLE,
    SITE_ID_VARIABLE,
    TRACK_KEY_VARIABLE,
    TRACK_KEYS_FOUND_AT,
)
from .errors import AnswerInvalid, CredentialsRefused, CustomerioError, NotFound, RequestRefused
from .exchange import Reply, Request
from .hosts import base_url as host_of
from .json_body import read_json
from .masking import masked


@dataclass(frozen=True)
class Account:
    """What a refusal has to name: the variable that holds the key, where its value is found, region and host."""

    variable: str
    found_at: str
    region: str
    host: str
    api: Literal["app", "track"] = "app"

    @property
    def other_region(self) -> str:
        return "us" if self.region == "eu" else "eu"


def account(base_url: str, region: str) -> Account:
    """The App API's account, for messages. `region` is what is configured, even with a base URL of one's own."""
    return Account(APP_KEY_VARIABLE, APP_KEY_FOUND_AT, region, urlsplit(base_url).hostname or "?")


def track_account(base_url: str, region: str) -> Account:
    """The Track API's account, for messages."""
    variables = f"{SITE_ID_VARIABLE} with {TRACK_KEY_VARIABLE}"
    return Account(variables, TRACK_KEYS_FOUND_AT, region, urlsplit(base_url).hostname or "?", "track")


def refusal(reply: Reply, request: Request, who: Account, personal: list[str]) -> CustomerioError | None:
    """The error that a reply stands for, None for a 2xx. `personal` are the values of the request to be masked."""
    status = reply.status
    if 200 <= status < 300:
        return None
    detail = masked(error_text(reply.content), personal)
    said = f" The service says: {detail}" if detail else ""
    match status:
        case 401:
            kind, text = CredentialsRefused, _unauthorized(request, who) + said
        case 403:
            kind, text = CredentialsRefused, _forbidden(request, who) + said
        case 404:
            kind, text = NotFound, f"{request.shown}: not found (404).{_wrong_place(who)}{said}"
        case 405:
            kind, text = RequestRefused, f"{request.shown} was refused with 405.{_wrong_place(who)}{said}"
        case _ if status >= 400:
            kind, text = RequestRefused, f"{request.shown} was refused with {status}.{said}"
        case _:
            kind = AnswerInvalid
            text = f"{request.shown} was answered with {status}, a redirect, and the API never redirects: "
            text += _redirected(reply, who)
    return kind(text, method=request.method, path=request.path, status=status, attempts=reply.attempts, detail=detail)


def _unauthorized(request: Request, who: Account) -> str:
    article = "an EU" if who.other_region == "eu" else "a US"
    what = "the key" if who.api == "app" else "both"
    return (
        f"{request.shown} was refused with 401: {who.variable} is not valid in region {who.region} (host {who.host}). "
        f"Check {what} in {who.found_at}, and CUSTOMERIO_REGION: {article} workspace needs {who.other_region}. "
        "An IP allowlist of the workspace refuses in the same way."
    )


def _wrong_place(who: Account) -> str:
    # All paths of the Track API are fixed: one that is not there is a wrong host. The App API's name objects.
    return " Is CUSTOMERIO_TRACK_URL right?" if who.api == "track" else ""


def _redirected(reply: Reply, who: Account) -> str:
    """What to do about a redirect. It is never followed, since the credentials would go with it."""
    try:
        target = urlsplit(reply.headers.get("Location") or "").hostname
    except ValueError:
        target = None
    for region in ("us", "eu"):
        host = urlsplit(host_of(who.api, region)).hostname
        if target == host != who.host:
            return f"the workspace lives in region {region}, so set CUSTOMERIO_REGION={region}."
    return "is the base URL right, or does a proxy ask for a login?"


def _forbidden(request: Request, who: Account) -> str:
    if who.api == "track":
        return (
            f"{request.shown} was refused with 403: {who.variable} (region {who.region}, host {who.host}; the other "
            f"region is {who.other_region}) may not write to the workspace. Check in {who.found_at} that this key is "
            "still there, and that the workspace's IP allowlist names this machine."
        )
    feature = request.path.removeprefix("/v1/").split("/")[0]
    return (
        f"{request.shown} was refused with 403: {who.variable} (region {who.region}, host {who.host}; the other region "
        f"is {who.other_region}) lacks the permission for '{feature}', or that feature is not enabled in the "
        f"workspace. Give the key this scope in {who.found_at}."
    )


def error_text(content: bytes) -> str:
    """The service's own words: `errors[].detail`, `meta.error` or `meta.errors` (sections 2 and 8); not masked."""
    try:
        body = read_json(content)
    except ValueError:
        return ""
    if not isinstance(body, Mapping):
        return ""
    errors, meta = body.get("errors"), body.get("meta")
    texts: list[Any] = [
        error.get("detail") or error.get("message") if isinstance(error, Mapping) else error
        for error in (errors if isinstance(errors, list) else [])
    ]
    if isinstance(meta, Mapping):
        many = meta.get("errors")
        texts += [meta.get("error"), *(many if isinstance(many, list) else [])]
    return "; ".join(text for text in texts if isinstance(text, str) and text)
