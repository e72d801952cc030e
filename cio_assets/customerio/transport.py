"""Sends one HTTP request and says what came back: connections that take a slot of the budget, bodies read whole.

Knows nothing of an API's meaning. Redirects are not followed, `.netrc` is not read, urllib3 does not retry.
"""

import contextlib
import logging
import os
import ssl
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import get_environ_proxies
from urllib3.connection import HTTPConnection
from urllib3.response import HTTPResponse

from .errors import CustomerioError
from .retry import Failure

Gate = Callable[[], AbstractContextManager[Callable[[int], None]]]
"""Entered around the writing of a request; what it gives is told the length of the answer (0: untold) once its headers
are there."""

# A longer body leaves the slot after its headers: an upload must not make the whole machine wait.
SMALL_BODY: Final = 64 * 1024


@dataclass(frozen=True)
class Received:
    """One attempt's end. `status` is None and `content` empty when no complete answer came; `reason` is loggable."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    failure: Failure | None = None
    reason: str = ""


class Transport:
    """A pool of connections to one API, for any number of threads.

    `gate` is entered around the writing of each request. Proxies (HTTPS_PROXY, NO_PROXY …; never for a loopback
    address) and a CA bundle (REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE) are taken from the environment once, here, and
    nothing else is.
    """

    def __init__(
        self, base_url: str, *, gate: Gate, headers: Mapping[str, str], timeout: tuple[float, float], connections: int
    ) -> None:
        self._timeout = timeout
        self._session = _Session()
        self._session.trust_env = False
        if not _is_loopback(base_url):
            self._session.proxies.update(get_environ_proxies(base_url))
        self._session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        self._session.headers.update(headers)
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.mount("https://", GatedAdapter(gate, connections))
        self._session.mount("http://", GatedAdapter(gate, connections))

    def send(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Received:
        """One attempt. Raises CustomerioError only for a URL or header that cannot be sent at all."""
        try:
            with _urllib3_silent():
                answer = self._session.request(
                    method, url, data=body, headers=dict(headers), timeout=self._timeout, allow_redirects=False
                )
        except requests.exceptions.InvalidHeader:
            raise CustomerioError("a header of the request cannot be sent (a key with odd characters?)") from None
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
            if isinstance(error, ValueError):  # InvalidURL, MissingSchema …: never gets better
                raise CustomerioError(f"the request cannot be sent: {type(error).__name__}") from None
            return Received(failure=_failure(error), reason=_reason(error))
        return Received(answer.status_code, CaseInsensitiveDict(answer.headers), answer.content)

    def close(self) -> None:
        self._session.close()


class _Session(requests.Session):
    """Does not look where a redirect leads: none is followed, and a malformed address would raise."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        del resp  # whatever it says


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


class GatedAdapter(HTTPAdapter):
    """The requests adapter whose connections enter `gate` while they write a request, by proxy or directly."""

    def __init__(self, gate: Gate, connections: int) -> None:
        self._gate = gate
        super().__init__(pool_maxsize=connections, max_retries=urllib3.Retry(0, read=False, redirect=False))

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        _gate_pools(self.poolmanager, self._gate)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        known = proxy in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not known:
            _gate_pools(manager, self._gate)
        return manager


def _gate_pools(manager: Any, gate: Gate) -> None:
    manager.pool_classes_by_scheme = {
        scheme: type(f"Gated{pool.__name__}", (pool,), {"ConnectionCls": _gated(pool.ConnectionCls, gate)})
        for scheme, pool in manager.pool_classes_by_scheme.items()
    }


def _gated(base: Any, gate: Gate) -> type[HTTPConnection]:
    return type(f"Gated{base.__name__}", (_GatedConnection, base), {"gate": staticmethod(gate)})


class _GatedConnection(HTTPConnection):
    """Mixed in before a urllib3 connection class. Connecting (TCP, TLS) happens outside the gate."""

    gate: Gate
    _headers_only = False
    _used = False
    _answered: Callable[[int], None] | None = None

    def connect(self) -> None:
        self._used = False
        super().connect()

    def request(self, method: str, url: str, body: Any = None, *args: Any, **kwargs: Any) -> None:
        if self.is_closed:
            self.connect()
        self._headers_only = body is not None and len(body) > SMALL_BODY
        with contextlib.nullcontext() if self._headers_only else self._slot():
            super().request(method, url, body, *args, **kwargs)

    def endheaders(self, *args: Any, **kwargs: Any) -> None:
        with self._slot() if self._headers_only else contextlib.nullcontext():
            super().endheaders(*args, **kwargs)

    def getresponse(self) -> HTTPResponse:
        answer = super().getresponse()
        told, self._answered = self._answered, None
        if told:
            with contextlib.suppress(OSError, CustomerioError):  # not to know is the careful reading; the answer counts
                told(answer.length_remaining or 0)
        return answer

    @contextlib.contextmanager
    def _slot(self) -> Generator[None, None, None]:
        with self.gate() as self._answered:
            # The wait may have been long (a 429 pauses everybody) and the server may have hung up meanwhile. Bytes to
            # read tell it, except on a fresh connection, where they are TLS session tickets.
            if self._used and self.proxy is None and not self._headers_only and not self.is_connected:
                self.close()
                self.connect()
            self._used = True
            yield


def _failure(error: BaseException) -> Failure:
    chain = list(_causes(error))
    timeouts = (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)
    # NewConnectionError is a urllib3 "timeout" by inheritance only.
    refused = any(isinstance(cause, urllib3.exceptions.NewConnectionError) for cause in chain)
    if not refused and any(isinstance(cause, timeouts) for cause in chain):
        return "timeout"
    if isinstance(error, (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError)):
        return "truncated"
    return "connection"


def _reason(error: BaseException) -> str:
    """What went wrong by class name and system error only: the texts of these exceptions hold the URL."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"{type(cause).__name__}: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return f"{type(cause).__name__}: {cause.reason}"
        if isinstance(cause, OSError) and cause.errno and not isinstance(cause, requests.RequestException):
            return f"{type(cause).__name__}: {os.strerror(cause.errno)}" if cause.errno > 0 else type(cause).__name__
    return type(list(_causes(error))[-1]).__name__


def _causes(error: BaseException) -> Generator[BaseException, None, None]:
    """The exception and what it wraps, as `reason`, as an argument, as cause or as context."""
    seen: set[int] = set()
    todo: list[object] = [error]
    while todo:
        current = todo.pop(0)
        if isinstance(current, BaseException) and id(current) not in seen:
            seen.add(id(current))
            yield current
            todo += [getattr(current, "reason", None), *current.args, current.__cause__, current.__context__]


class _Silence(logging.Filter):
    """urllib3 logs whole URLs, which may hold an email: not from threads that send for us."""

    def __init__(self) -> None:
        super().__init__()
        self.thread = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        del record  # the thread decides, whatever is said
        return not getattr(self.thread, "sending", False)


_SILENCE = _Silence()
for _name in ("urllib3.connectionpool", "urllib3.connection"):
    logging.getLogger(_name).addFilter(_SILENCE)


@contextlib.contextmanager
def _urllib3_silent() -> Generator[None, None, None]:
    _SILENCE.thread.sending = True
    try:
        yield
    finally:
        _SILENCE.thread.sending = False
