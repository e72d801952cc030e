"""The App API's side of the sandbox: checks a request against the documentation and answers it from the world."""

import asyncio
import hashlib
import hmac
from concurrent.futures import Executor
from typing import Any

import orjson

from cio_assets.sandbox import params, routes
from cio_assets.sandbox.answers import Answer, Call
from cio_assets.sandbox.api import Api, Request
from cio_assets.sandbox.errors import ApiError
from cio_assets.sandbox.options import SandboxOptions
from cio_assets.sandbox.stats import Stats
from cio_assets.sandbox.world import World

CONTINUED = frozenset(("overlap", "stale-cursor"))


class AppSide:
    """Answers App API requests."""

    name = "app"

    def __init__(self, options: SandboxOptions, world: World, stats: Stats, worker: Executor) -> None:
        self.rps = options.app_rps
        self._key = options.app_key.encode()
        self._world = world
        self._api = Api(world, worker.submit)
        self._scheme = "https" if options.tls_certificate else "http"
        self._stats = stats
        self._worker = worker

    def match(self, method: str, raw_path: str) -> tuple[Any, dict[str, str]] | None:
        """Find the route of a raw path and the decoded texts of its ids."""
        return routes.match(method, raw_path)

    def special_faults(self, call: Call) -> frozenset[str]:
        """Return the faults that only this request can have: of a page after the first, or of a new export."""
        if call.route is None:
            return frozenset()
        if call.route.starts_export:
            return frozenset(("export_failed",))
        return CONTINUED if call.route.has_cursor and b"start=" in call.query else frozenset()

    async def answer(self, call: Call) -> Answer:
        """Check a request against the documentation and answer it."""
        try:
            route = self._admitted(call)
            request = self._validate(call)
            request.fault = call.fault
            request.origin = f"{self._scheme}://{call.headers.get('host', '')}"
            loop = asyncio.get_running_loop()
            body = await loop.run_in_executor(self._worker, lambda: orjson.dumps(route.handler(self._api, request)))
            return Answer(200, body)
        except ApiError as error:
            if error.fault_of_client:
                self._stats.violation(call.method, call.path, f"{error.status} {error.detail}")
            return self.error(call, error.status, error.detail, error.headers)

    def error(self, _call: Call, status: int, detail: str, headers: dict[str, str] | None = None) -> Answer:
        """Write an error as the App API does."""
        reference = f"{len(self._stats.app.arrivals):06x}"
        error = {"detail": f"{detail} (reference {reference})" if status != 401 else detail, "status": str(status)}
        return Answer(status, orjson.dumps({"errors": [error]}), headers=headers or {})

    def _admitted(self, call: Call) -> Any:
        """The route of a request that may be answered; without a key even a wrong address is told nothing."""
        if (call.route is None or call.route.needs_key) and not self._authorized(call):
            raise ApiError(401, "unauthorized")
        if call.route is None:
            raise ApiError(404, "no such endpoint")
        return call.route

    def _validate(self, call: Call) -> Request:
        route = call.route
        path = route.read_path(call.texts)
        values = params.read_query(call.query, route.params)
        content_type = call.headers.get("content-type", "")
        document = {}
        if route.body is not None:
            document = params.read_body(content_type, call.body, route.body, route.body_optional)
        bound = {name: value for name, value in values.items() if name != "start" or not route.has_cursor}
        named = orjson.dumps([route.name, path, bound, document], option=orjson.OPT_SORT_KEYS)
        scope = hashlib.blake2b(named, digest_size=8).hexdigest()
        return Request(path, values, document, scope, self._world.clock.now())

    def _authorized(self, call: Call) -> bool:
        scheme, _, key = call.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(key.encode(), self._key)
