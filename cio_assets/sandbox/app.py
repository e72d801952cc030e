"""The ASGI app: takes arrival times first, then limits, faults, and lets one of its sides answer.

World and handlers run in one worker thread, so that the event loop stays free to see requests arrive when they do.
"""

import asyncio
import random
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from functools import partial
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request as HttpRequest
from starlette.types import Receive, Scope, Send

from cio_assets.sandbox import control, faults, paging
from cio_assets.sandbox.answers import Answer, Call
from cio_assets.sandbox.app_side import AppSide
from cio_assets.sandbox.options import SandboxOptions
from cio_assets.sandbox.stats import Stats
from cio_assets.sandbox.storage_side import StorageSide
from cio_assets.sandbox.track_side import TrackSide
from cio_assets.sandbox.world import World

HTML = b"<!DOCTYPE html><html><body><h1>We will be right back</h1></body></html>"
TRACK_PATHS = ("/api/", "/unsubscribe/")
STORAGE_PATH = "/downloads/"
Side = AppSide | TrackSide | StorageSide


class App:
    """Serves one world."""

    def __init__(self, options: SandboxOptions, world: World) -> None:
        self.options = options
        self.world = world
        self.stats = Stats(options.app_rps, options.track_rps)
        self.faults = faults.Faults(options.faults)
        self.worker = ThreadPoolExecutor(1, "world")
        self.app_side = AppSide(options, world, self.stats, self.worker)
        self.track_side = TrackSide(options, world, self.stats, self.worker)
        self.storage_side = StorageSide(world, self.stats, self.worker)
        self.control = control.Control(self)
        self._jitter = random.Random(options.seed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        arrived, wall = time.monotonic(), time.time()
        method, raw_path = scope["method"], scope["raw_path"].decode("ascii", "replace").partition("?")[0]
        if raw_path.startswith("/_sandbox"):
            await self.control(scope, receive, send)
            return
        side = self._side(raw_path)
        route, texts = side.match(method, raw_path) or (None, {})
        call = Call(method, raw_path, scope["query_string"], Headers(scope=scope), route, texts)
        allowed = self.stats.arrive(side.name, arrived, wall, route.name if route else "unknown")
        call.body = await HttpRequest(scope, receive).body()
        if not allowed:
            self.stats.rate_limited += 1
            self.stats.violation(method, raw_path, "429 provoked")
            answer = side.error(call, 429, f"rate limited to {side.rps} requests per 1s", {"Retry-After": "1"})
        else:
            if self.options.latency_ms or self.options.jitter_ms:
                await asyncio.sleep((self.options.latency_ms + self._jitter.random() * self.options.jitter_ms) / 1000)
            answer = await self._faulty(side, call)
        if answer is None:
            # Only the connection itself can end without an answer; uvicorn's `send` belongs to its owner.
            self.stats.by_status["reset"] += 1
            owner: Any = getattr(send, "__self__", None)
            owner.transport.abort()
            await asyncio.sleep(0.01)
            return
        self.stats.by_status[str(answer.status)] += 1
        await self._send(send, answer)

    def _side(self, raw_path: str) -> Side:
        if raw_path.startswith(TRACK_PATHS):
            return self.track_side
        return self.storage_side if raw_path.startswith(STORAGE_PATH) else self.app_side

    async def _faulty(self, side: Side, call: Call) -> Answer | None:
        """Answer a request, with the fault that is its lot; None where the connection is to be dropped."""
        call.late_fault = partial(self._late_fault, call.method, call.path)  # the call itself would be a cycle
        kind = self.faults.pick(call.method, call.path, side.special_faults(call))
        if kind is None or (kind == "vanish" and side is self.track_side):  # nothing is read there that could vanish
            return await side.answer(call)
        self.stats.injected[kind] += 1
        if kind in faults.STATUSES:
            headers = {"Retry-After": "1"} if kind == "429" or (kind == "503" and self.faults.chance(0.5)) else {}
            return side.error(call, int(kind[:3]), faults.STATUSES[kind], headers)
        if kind == "vanish":
            return side.error(call, 404, "not found")
        if kind == "stale-cursor":
            return side.error(call, 400, paging.INVALID)
        if kind == "reset":
            return None
        if kind == "html":
            return Answer(200, HTML, "text/html; charset=utf-8")
        if kind == "stall":
            await asyncio.sleep(self.faults.stall_seconds)
        call.fault = kind
        answer = await side.answer(call)
        if kind == "lost":
            return None
        if kind == "truncated-json" or (kind == "truncated" and self.faults.chance(0.5)):
            answer.length //= 2
        elif kind.startswith("truncated"):
            answer.cut = max(1, answer.length // 2)
        return answer

    def _late_fault(self, method: str, path: str) -> str | None:
        kind = self.faults.pick_late(method, path)
        if kind is not None:
            self.stats.injected[kind] += 1
        return kind

    async def _send(self, send: Send, answer: Answer) -> None:
        headers = {"content-type": answer.content_type, "content-length": str(answer.length), "date":
                   formatdate(self.world.clock.time(), usegmt=True)} | answer.headers  # fmt: skip
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": pairs})
        pieces = answer.pieces()
        piece = next(pieces)
        for following in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            piece = following
        # A body that is announced and never completed makes uvicorn close the connection.
        await send({"type": "http.response.body", "body": piece, "more_body": answer.cut > 0})
