"""The ASGI app: takes arrival times first, then limits, faults, checks and answers each request.

World and handlers run in one worker thread, so that the event loop stays free to see requests arrive when they do.
"""

import asyncio
import hashlib
import hmac
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.utils import formatdate

import orjson
from starlette.datastructures import Headers
from starlette.requests import Request as HttpRequest
from starlette.types import Receive, Scope, Send

from cio_assets.sandbox import control, faults, params, routes
from cio_assets.sandbox.api import Api, Request
from cio_assets.sandbox.errors import ApiError
from cio_assets.sandbox.options import SandboxOptions
from cio_assets.sandbox.stats import Stats
from cio_assets.sandbox.world import World

HTML = b"<!DOCTYPE html><html><body><h1>We will be right back</h1></body></html>"


@dataclass
class Answer:
    """A response before it is sent; `cut` leaves so many bytes of the announced body unsent."""

    status: int
    body: bytes
    content_type: str = "application/json; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0


class App:
    """Serves one world."""

    def __init__(self, options: SandboxOptions, world: World) -> None:
        self.options = options
        self.world = world
        self.api = Api(world)
        self.stats = Stats(options.app_rps)
        self.faults = faults.Faults(options.faults)
        self.worker = ThreadPoolExecutor(1, "world")
        self.control = control.Control(self)
        self._jitter = random.Random(options.seed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        arrived, wall = time.monotonic(), time.time()
        method, raw_path = scope["method"], scope["raw_path"].decode("ascii", "replace").partition("?")[0]
        if raw_path.startswith("/_sandbox"):
            await self.control(scope, receive, send)
            return
        found = routes.match(method, raw_path)
        allowed = self.stats.arrive(arrived, wall, found[0].name if found else "unknown")
        raw_body = await HttpRequest(scope, receive).body()
        if not allowed:
            self.stats.rate_limited += 1
            self.stats.violation(method, raw_path, "429 provoked")
            answer = self._error(429, f"rate limited to {self.options.app_rps} requests per 1s", {"Retry-After": "1"})
        else:
            if self.options.latency_ms or self.options.jitter_ms:
                await asyncio.sleep((self.options.latency_ms + self._jitter.random() * self.options.jitter_ms) / 1000)
            answer = await self._faulty(scope, found, method, raw_path, raw_body)
        if answer is None:
            # Only the connection itself can end without an answer; uvicorn's `send` belongs to its owner.
            self.stats.by_status["reset"] += 1
            send.__self__.transport.abort()  # pyright: ignore[reportFunctionMemberAccess]
            await asyncio.sleep(0.01)
            return
        self.stats.by_status[str(answer.status)] += 1
        await self._send(send, answer)

    async def _faulty(
        self, scope: Scope, found: tuple[routes.Route, dict[str, str]] | None, method: str, raw_path: str, body: bytes
    ) -> Answer | None:
        """Answer a request, with the fault that is its lot; None where the connection is to be dropped."""
        continues = found is not None and found[0].has_cursor and b"start=" in scope["query_string"]
        kind = self.faults.pick(method, raw_path, continues)
        if kind is None:
            return await self._answer(scope, found, method, raw_path, body)
        self.stats.injected[kind] += 1
        if kind in faults.STATUSES:
            headers = {"Retry-After": "1"} if kind == "429" or (kind == "503" and self.faults.chance(0.5)) else {}
            return self._error(int(kind[:3]), faults.STATUSES[kind], headers)
        if kind == "vanish":
            return self._error(404, "not found")
        if kind == "reset":
            return None
        if kind == "html":
            return Answer(200, HTML, "text/html; charset=utf-8")
        if kind == "stall":
            await asyncio.sleep(self.faults.stall_seconds)
        answer = await self._answer(scope, found, method, raw_path, body, overlap=kind == "overlap")
        if kind == "truncated-json" or (kind == "truncated" and self.faults.chance(0.5)):
            answer.body = answer.body[: len(answer.body) // 2]
        elif kind.startswith("truncated"):
            answer.cut = max(1, len(answer.body) // 2)
        return answer

    async def _answer(
        self, scope: Scope, found: tuple[routes.Route, dict[str, str]] | None, method: str, raw_path: str, body: bytes,
        overlap: bool = False,
    ) -> Answer:  # fmt: skip
        """Check a request against the documentation and answer it."""
        try:
            headers = Headers(scope=scope)
            if (found is None or found[0].needs_key) and not self._authorized(headers.get("authorization", "")):
                raise ApiError(401, "unauthorized")  # noqa: TRY301 - answered below, like what the endpoints raise
            if found is None:
                raise ApiError(404, "no such endpoint")  # noqa: TRY301 - answered below, like what the endpoints raise
            request = self._validate(*found, scope["query_string"], headers.get("content-type", ""), body)
            request.overlap = overlap
            loop = asyncio.get_running_loop()
            handler = found[0].handler
            body = await loop.run_in_executor(self.worker, lambda: orjson.dumps(handler(self.api, request)))
            return Answer(200, body)
        except ApiError as error:
            if error.fault_of_client:
                self.stats.violation(method, raw_path, f"{error.status} {error.detail}")
            return self._error(error.status, error.detail, error.headers)

    def _validate(
        self, route: routes.Route, texts: dict[str, str], query: bytes, content_type: str, body: bytes
    ) -> Request:
        path = route.read_path(texts)
        values = params.read_query(query, route.params)
        document = params.read_body(content_type, body, route.body) if route.body is not None else {}
        bound = {name: value for name, value in values.items() if name != "start" or not route.has_cursor}
        named = orjson.dumps([route.name, path, bound, document], option=orjson.OPT_SORT_KEYS)
        scope = hashlib.blake2b(named, digest_size=8).hexdigest()
        return Request(path, values, document, scope, self.world.clock.now())

    def _authorized(self, header: str) -> bool:
        scheme, _, key = header.partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(key.encode(), self.options.app_key.encode())

    def _error(self, status: int, detail: str, headers: dict[str, str] | None = None) -> Answer:
        reference = f"{len(self.stats.arrivals):06x}"
        error = {"detail": f"{detail} (reference {reference})" if status != 401 else detail, "status": str(status)}
        return Answer(status, orjson.dumps({"errors": [error]}), headers=headers or {})

    async def _send(self, send: Send, answer: Answer) -> None:
        headers = {"content-type": answer.content_type, "content-length": str(len(answer.body)), "date":
                   formatdate(self.world.clock.time(), usegmt=True)} | answer.headers  # fmt: skip
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": pairs})
        body = answer.body[: len(answer.body) - answer.cut]
        # A body that is announced and never completed makes uvicorn close the connection.
        await send({"type": "http.response.body", "body": body, "more_body": answer.cut > 0})
