"""The client of Customer.io's App API: sends one call, walks the pages of a list.

Which calls there are, their envelopes and their paging is the caller's knowledge.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote, urlencode

import orjson

from .credentials import bearer
from .errors import AnswerInvalid, CustomerioError, RequestRefused
from .exchange import USER_AGENT, Exchange, Request
from .masking import strings_in
from .overlap import overlap
from .paging import Items, Paging, items_of, next_params
from .rate_limit import RateLimiter
from .refusals import account, refusal
from .retry import MAX_ATTEMPTS
from .usage import Usage

__all__ = ["Answer", "AppClient", "Call", "Page", "overlap"]

# Query parameters whose values are the API's own words, needed to understand a refusal.
_VOCABULARY = ("period", "res", "resolution", "type", "metric", "id_type", "tz")


@dataclass(frozen=True)
class Call:
    """A request of the App API. `path` is a template, e.g. `/v1/campaigns/{campaign_id}/actions`.

    Query values: None is left out, booleans become true/false, a list repeats its parameter. A POST must be a read or
    otherwise harmless to repeat.
    """

    method: Literal["GET", "POST"]
    path: str
    path_params: Mapping[str, Any] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None


@dataclass(frozen=True)
class Answer:
    """The JSON of a 2xx, and the service's clock (its Date header, time-zone aware, None if there was none)."""

    body: Any
    date: datetime | None


@dataclass(frozen=True)
class Page:
    """One page of a list. `body` is the whole answer; `next` are the query parameters of the page that follows.

    A walk that died resumes with `pages(call, ..., resume=page.next)`; None means that the list has ended.
    """

    items: list[Any]
    body: dict[str, Any]
    next: Mapping[str, Any] | None
    date: datetime | None


class AppClient:
    """One workspace's App API. Thread-safe; a context manager.

    `base_url` without `/v1` (see `hosts.base_url`), `key` an App API key (white space around it is dropped),
    `region` only for messages, `timeout` seconds to connect and between two reads, `workers` the threads that
    `overlap` will use. `sleep` is for tests. Raises CredentialsRefused if the key cannot be one.
    """

    def __init__(
        self,
        *,
        base_url: str,
        key: str,
        limiter: RateLimiter,
        region: str = "us",
        timeout: tuple[float, float] = (10, 90),
        max_attempts: int = MAX_ATTEMPTS,
        workers: int = 8,
        sleep: Callable[[float], object] | None = None,
        user_agent: str = USER_AGENT,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.workers = workers
        self._limiter = limiter
        self._account = account(self.base_url, region)
        self._exchange = Exchange(
            self.base_url,
            limiter=limiter,
            headers={
                "Authorization": bearer(key),
                "Accept": "application/json",
                "User-Agent": user_agent,
            },
            timeout=timeout,
            connections=max(16, 2 * workers),
            max_attempts=max_attempts,
            sleep=sleep,
        )

    @property
    def usage(self) -> Usage:
        """What was spent so far: `client.usage.snapshot()`."""
        return self._exchange.usage

    @property
    def budget_used_up(self) -> bool:
        """Whether requests of this process, of any table, wait for their turn: more at once would only wait, too."""
        return self._limiter.used_up

    def send(self, call: Call) -> Answer:
        """The answer to one call, retried as `retry.decide` says.

        Raises CredentialsRefused (401, 403), NotFound, RequestRefused (other 4xx), AnswerInvalid (a redirect),
        ServiceUnavailable or QuotaExhausted (retries spent), ClientClosed.
        """
        request = self._request(call)
        reply = self._exchange.send(request)
        error = refusal(reply, request, self._account, _personal(call))
        if error is not None:
            raise error
        return Answer(reply.body, _date(reply.headers.get("Date")))

    def pages(
        self, call: Call, paging: Paging, items: Items, resume: Mapping[str, Any] | None = None
    ) -> Iterator[Page]:
        """The pages of a list in order, each fetched when it is asked for; at least one, possibly empty.

        `items` is the envelope's key (`"messages"`, `"meta.things"`) or finds the rows in the body. `resume` is the
        `next` of an earlier page. Raises what `send` raises, and AnswerInvalid if the envelope is missing.
        """
        params: dict[str, Any] | None = {**call.query, **(resume or {})}
        seen: set[int] = set()
        while params is not None:
            step = Call(call.method, call.path, call.path_params, params, call.json)
            answer = self.send(step)
            try:
                rows = items_of(answer.body, items)
                following = next_params(paging, params, len(rows), answer.body)
                _guard(following, seen)
            except AnswerInvalid as error:
                where = f"{self._request(step).shown}: {error}"
                raise AnswerInvalid(where, method=call.method, path=call.path, status=200) from None
            yield Page(rows, answer.body, following, answer.date)
            params = following

    def close(self) -> None:
        """Ends waits and retries (they raise ClientClosed) and closes the connections."""
        self._exchange.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _request(self, call: Call) -> Request:
        shown = _shown(call)
        query = _query(call.query)
        url = self.base_url + _path(call, shown) + (f"?{query}" if query else "")
        body = None if call.json is None else orjson.dumps(call.json)
        return Request(call.method, url, call.path, shown, body)


def _path(call: Call, shown: str) -> str:
    """The template with its values percent-encoded (section 1: an unencoded value is answered 200 and empty)."""

    def fill(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in call.path_params:
            raise CustomerioError(f"{shown}: no value for {{{name}}}", method=call.method, path=call.path)
        value = str(call.path_params[name])
        if value in ("", ".", ".."):  # it would silently become the path of something else
            raise RequestRefused(
                f"{shown}: the value of {{{name}}} is empty or dots, which no path can carry",
                method=call.method,
                path=call.path,
            )
        return quote(value, safe="", errors="replace")

    return re.sub(r"\{(\w+)\}", fill, call.path)


def _query(query: Mapping[str, Any]) -> str:
    pairs = [
        (name, str(one).lower() if isinstance(one, bool) else str(one))
        for name, value in query.items()
        for one in (value if isinstance(value, (list, tuple)) else [value])
        if one is not None
    ]
    return urlencode(pairs, quote_via=quote, safe="", errors="replace")


def _shown(call: Call) -> str:
    """Method and path with its integer ids: what a log line or an error may say. Other values stay a template."""
    path = call.path
    for name, value in call.path_params.items():
        if type(value) is int:
            path = path.replace(f"{{{name}}}", str(value))
    return f"{call.method} {path}"


def _personal(call: Call) -> list[str]:
    texts = [str(value) for value in call.path_params.values() if type(value) is not int]
    query = {name: value for name, value in call.query.items() if name not in _VOCABULARY}
    return texts + strings_in(query) + strings_in(call.json)


def _guard(following: Mapping[str, Any] | None, seen: set[int]) -> None:
    cursor = following.get("start") if following else None
    if cursor is None:
        return
    mark = hash(str(cursor))
    if mark in seen:
        raise AnswerInvalid("the answer's 'next' came before: the list would never end")
    seen.add(mark)


def _date(header: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(header or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
