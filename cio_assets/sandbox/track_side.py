"""The Track API's side of the sandbox: Basic auth, reading of bodies, error shapes; the world does the rest."""

import asyncio
import base64
import hmac
from concurrent.futures import Executor
from typing import Any
from urllib.parse import parse_qsl

import orjson

from cio_assets.sandbox import track_routes
from cio_assets.sandbox.answers import Answer, Call
from cio_assets.sandbox.errors import ApiError
from cio_assets.sandbox.options import SandboxOptions
from cio_assets.sandbox.stats import Stats
from cio_assets.sandbox.track_batch import Batches
from cio_assets.sandbox.track_v1 import V1, TrackCall
from cio_assets.sandbox.track_writer import Writer
from cio_assets.sandbox.world import World


class TrackSide:
    """Answers Track API requests."""

    name = "track"

    def __init__(self, options: SandboxOptions, world: World, stats: Stats, worker: Executor) -> None:
        self.rps = options.track_rps
        self._credentials = f"{options.site_id}:{options.track_key}".encode()
        self._world = world
        self._stats = stats
        self._worker = worker
        writer = Writer(world)
        self._v1 = V1(world, writer, stats, options)
        self._batches = Batches(writer, stats)

    def match(self, method: str, raw_path: str) -> tuple[Any, dict[str, str]] | None:
        """Find the route of a raw path and the decoded texts of its ids."""
        return track_routes.match(method, raw_path)

    def special_faults(self, _call: Call) -> frozenset[str]:
        """Return the faults that only this request can have: there are neither pages nor exports here."""
        return frozenset()

    async def answer(self, call: Call) -> Answer:
        """Check a request against the documentation and apply it."""
        self._stats.bytes += len(call.body)
        if (call.route is None or call.route.needs_key) and not self._authorized(call):
            self._stats.violation(call.method, call.path, "401 unauthorized")
            return self.error(call, 401, "Unauthorized request")
        if call.route is None:
            self._stats.violation(call.method, call.path, "404 no such endpoint")
            return self.error(call, 404, "no such endpoint")
        return await asyncio.get_running_loop().run_in_executor(self._worker, lambda: self._work(call))

    def error(self, call: Call, status: int, detail: str, headers: dict[str, str] | None = None) -> Answer:
        """Write an error as the endpoint does."""
        shape = call.route.errors if call.route is not None and status == 400 else "meta.error"
        if shape == "errors":
            body: Any = {"errors": [{"reason": "invalid", "field": "", "message": detail}]}
        else:
            body = {"meta": {"errors": [detail]} if shape == "meta.errors" else {"error": detail}}
        return Answer(status, orjson.dumps(body), headers=headers or {})

    def _work(self, call: Call) -> Answer:
        route, now = call.route, self._world.clock.now()
        try:
            query = self._query(call)
            document = self._document(call) if route.has_body else None
            if route.handler is None:
                return self._version_2(call, document, now)
            result = route.handler(self._v1, TrackCall(call.texts, query, document, now))
        except ApiError as error:
            if error.fault_of_client:
                self._stats.violation(call.method, call.path, f"{error.status} {error.detail}")
            self._stats.operations_refused += 1
            return self.error(call, error.status, error.detail, error.headers)
        return Answer(route.success, b"" if route.success == 204 else orjson.dumps(result or {}))

    def _version_2(self, call: Call, document: Any, now: int) -> Answer:
        if call.path.endswith("/entity"):
            status, errors = self._batches.entity(document, call.body, now)
        else:
            status, errors = self._batches.batch(document, call.body, now, call.late_fault)
        if errors:
            first = errors[0]
            reason = f"{status} {first.get('field', '')}: {first.get('message', '')} ({len(errors)} refused)"
            self._stats.violation(call.method, call.path, reason)
        return Answer(status, orjson.dumps({"errors": errors}) if errors else b"{}")

    def _query(self, call: Call) -> dict[str, str]:
        pairs = parse_qsl(call.query.decode("ascii", "replace"), keep_blank_values=True)
        query = dict(pairs)
        if len(query) != len(pairs) or not query.keys() <= set(call.route.params):
            raise ApiError(400, "unknown query parameters")
        return query

    def _document(self, call: Call) -> Any:
        if call.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise ApiError(400, "content type must be application/json")
        try:
            return orjson.loads(call.body)  # refuses NaN and infinities, as JSON does
        except orjson.JSONDecodeError:
            raise ApiError(400, "the body is not JSON") from None

    def _authorized(self, call: Call) -> bool:
        scheme, _, text = call.headers.get("authorization", "").partition(" ")
        try:
            given = base64.b64decode(text, validate=True)
        except ValueError:
            return False
        return scheme.lower() == "basic" and hmac.compare_digest(given, self._credentials)
