"""The sandbox's own endpoints under /_sandbox: statistics, truth, mutations, clock and faults."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from cio_assets.sandbox import mutate, truth
from cio_assets.sandbox.options import parse_time

if TYPE_CHECKING:
    from cio_assets.sandbox.app import App

CHUNK = 500  # rows of truth that are rendered before other requests get their turn


class Control:
    """Serves the control endpoints of one app; not counted, not limited, not authenticated."""

    def __init__(self, app: "App") -> None:
        self.app = app
        self.mutations = mutate.Mutations(app.world)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one control request."""
        request = HttpRequest(scope, receive)
        try:
            response = await self._answer(request)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            response = JSONResponse({"error": f"{type(error).__name__}: {error}"}, 400)
        await response(scope, receive, send)

    async def _answer(self, request: HttpRequest) -> Response:
        app, place = self.app, (request.method, request.url.path.removeprefix("/_sandbox"))
        body: dict[str, Any] = orjson.loads(await request.body() or b"{}") if request.method == "POST" else {}
        match place:
            case "GET", "/health":
                return JSONResponse({"ok": True})
            case "GET", "/stats":
                return JSONResponse(app.stats.as_dict(bool(request.query_params.get("arrivals"))))
            case "GET", "/person":
                kind, value = request.query_params["kind"], request.query_params["value"]
                return JSONResponse({"attributes": await self._work(lambda: self._person(kind, value))})
            case "POST", "/stats/reset":
                app.stats.reset()
                return JSONResponse({"ok": True})
            case "GET", "/faults":
                return JSONResponse(app.faults.as_dict())
            case "POST", "/faults":
                app.faults.replace(body)
                return JSONResponse(app.faults.as_dict())
            case "POST", "/clock":
                clock = app.world.clock
                clock.set(parse_time(body["now"]) if "now" in body else clock.time() + body.get("advance_seconds", 0))
                return JSONResponse({"now": clock.time()})
            case "POST", "/mutate":
                return JSONResponse(await self._work(lambda: self.mutations.apply(body)))
            case "GET", path if path.startswith("/truth/"):
                rows = truth.rows(app.world, path.removeprefix("/truth/"), dict(request.query_params))
                first = await self._chunk(rows)  # errors must come before the answer has begun
                return StreamingResponse(self._lines(first, rows), media_type="application/x-ndjson")
        return JSONResponse({"error": "no such control endpoint"}, 404)

    def _person(self, kind: str, value: str) -> dict[str, str] | None:
        people = self.app.world.people
        number = people.find(kind, value)
        return None if number is None else people.attributes(number)

    async def _work(self, task: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.app.worker, task)

    async def _chunk(self, rows: Iterator[dict[str, Any]]) -> bytes:
        return await self._work(lambda: b"".join(orjson.dumps(row) + b"\n" for row in islice(rows, CHUNK)))

    async def _lines(self, chunk: bytes, rows: Iterator[dict[str, Any]]) -> AsyncIterator[bytes]:
        while chunk:
            yield chunk
            chunk = await self._chunk(rows)
