"""One request with everything both APIs share: budget, attempts, retries, counters and log lines.

An answer of any status that is not worth a retry is the caller's to judge.
"""

import logging
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from . import retry
from .errors import ClientClosed, QuotaExhausted, ServiceUnavailable
from .json_body import read_json
from .rate_limit import RateLimiter
from .transport import Received, Transport
from .usage import Usage

USER_AGENT = "cio-assets (+https://docs.customer.io)"
_log = logging.getLogger("cio_assets.customerio")

# 429 without Retry-After: the documented window is one second. If it is a daily quota of one path, others go on.
UNTOLD_PAUSE = 1.0


@dataclass(frozen=True)
class Request:
    """`url` may hold personal values; `path` (the template) and `shown` (template and integer ids) never do.

    `may_be_empty`: a 2xx without a body is an answer, not one that was cut short.
    """

    method: str
    url: str
    path: str
    shown: str
    body: bytes | None = None
    may_be_empty: bool = False


@dataclass(frozen=True)
class Reply:
    """`body` is the JSON value, None for a status that is not 2xx and for no body; `content` the bytes as they came."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    body: Any
    attempts: int


def http_date(header: str | None) -> datetime:
    """The instant of a Date header, or now where there is none that can be read."""
    try:
        moment = parsedate_to_datetime(header or "")
    except ValueError:
        return datetime.now(UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _has_body(received: Received, request: Request) -> bool:
    """Whether the answer must be JSON: a 2xx, unless it rightly has no body."""
    if received.status is None or not 200 <= received.status < 300 or received.status == 204:
        return False
    return not request.may_be_empty or bool(received.content.strip())


class Exchange:
    """Sends requests to one API with one key, from any number of threads, until `close()`.

    `limiter` None: for a single look-up, which needs no budget.
    """

    def __init__(
        self,
        base_url: str,
        *,
        limiter: RateLimiter | None,
        headers: Mapping[str, str],
        timeout: tuple[float, float],
        connections: int,
        max_attempts: int = retry.MAX_ATTEMPTS,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self.usage = Usage()
        self._limiter = limiter
        self._max_attempts = max_attempts
        self._closed = threading.Event()
        self._mine = threading.local()  # the path that a thread is asking
        self._sleep = sleep or self._closed.wait
        self._transport = Transport(
            base_url, gate=self._gate, headers=headers, timeout=timeout, connections=connections
        )

    def send(self, request: Request) -> Reply:
        """The final reply. Raises ServiceUnavailable or QuotaExhausted when the attempts are spent, ClientClosed."""

        def once() -> tuple[retry.Outcome, tuple[Received, Any]]:
            return self._attempt(request)

        def before_sleep(tried: retry.Tried[tuple[Received, Any]], seconds: float) -> None:
            self._note_retry(request, tried, seconds)

        tried = retry.run(once, max_attempts=self._max_attempts, sleep=self._sleep, before_sleep=before_sleep)
        received, body = tried.value
        if retry.is_temporary(tried.outcome) or received.status is None:
            raise self._exhausted(request, tried)
        return Reply(received.status, received.headers, received.content, body, tried.attempt)

    def close(self) -> None:
        """Wakes what waits (it raises ClientClosed) and closes the connections."""
        self._closed.set()
        self._transport.close()

    @contextmanager
    def _gate(self) -> Generator[Callable[[int], None], None, None]:
        limiter, path = self._limiter, self._mine.path
        if limiter is None:
            yield lambda _: None
            return
        with limiter.slot(self._closed.is_set, self) as sent:
            self.usage.waited(sent.waited)
            # A long page takes the service longer than a short one.
            yield lambda length: limiter.answered(sent, f"{path} {length.bit_length()}")

    def _attempt(self, request: Request) -> tuple[retry.Outcome, tuple[Received, Any]]:
        if self._closed.is_set():
            raise ClientClosed(f"{request.shown}: the client is closed", method=request.method, path=request.path)
        self.usage.request(request.path, len(request.body or b""))
        self._mine.path = request.path
        headers = {"Content-Type": "application/json"} if request.body is not None else {}
        received = self._transport.send(request.method, request.url, request.body, headers)
        self.usage.received(len(received.content))
        body: Any = None
        if _has_body(received, request):
            try:
                body = read_json(received.content)
            except ValueError:
                received = replace(received, failure="not_json", reason="not JSON")
        # A Retry-After that is a date is one of the service's clock, not of ours.
        told = retry.retry_after_seconds(received.headers.get("Retry-After"), http_date(received.headers.get("Date")))
        outcome = retry.Outcome(received.status, received.failure, None if told is None else str(told))
        if received.status == 429 and self._limiter is not None:
            self._limiter.pause(UNTOLD_PAUSE if told is None else told)
        return outcome, (received, body)

    def _note_retry(self, request: Request, tried: retry.Tried[tuple[Received, Any]], seconds: float) -> None:
        self.usage.retry(seconds)
        reason = tried.value[0].reason
        _log.warning(
            "%s: attempt %d of %d: %s%s; again in %.1f s",
            request.shown,
            tried.attempt,
            self._max_attempts,
            tried.decision.why,
            f" ({reason})" if reason else "",
            seconds,
        )

    def _exhausted(
        self, request: Request, tried: retry.Tried[tuple[Received, Any]]
    ) -> QuotaExhausted | ServiceUnavailable:
        received, _ = tried.value
        times = f"{tried.attempt} attempt{'s' if tried.attempt != 1 else ''}"
        if received.status == 429 and not tried.outcome.retry_after:
            error = QuotaExhausted
            text = (
                f"{request.shown} was answered 429 without Retry-After in {times}: the quota of the day is spent. "
                "Run it again tomorrow, or let other programs use less of the API."
            )
        else:
            error = ServiceUnavailable
            reason = f" ({received.reason})" if received.reason else ""
            last = f"{retry.reason(tried.outcome)}{reason}"
            text = f"{request.shown} failed in {times}; the last one: {last}. Run it again later."
        return error(text, method=request.method, path=request.path, status=received.status, attempts=tried.attempt)
