"""Where the links of exports lead: files on another host than the API's, which ask for a signature and no key."""

import asyncio
import re
from concurrent.futures import Executor
from typing import NamedTuple
from urllib.parse import parse_qsl

from cio_assets.sandbox.answers import Answer, Call
from cio_assets.sandbox.errors import ApiError
from cio_assets.sandbox.stats import Stats
from cio_assets.sandbox.world import World

PATH = re.compile(r"/downloads/export-(\d{1,15})\.csv")


class File(NamedTuple):
    """The only route: a file by its signed link."""

    name: str = "GET /downloads/{file}"


class StorageSide:
    """Answers signed links as S3 does: errors are XML, and a second way to authenticate is one too many."""

    name = "storage"
    rps = 0

    def __init__(self, world: World, stats: Stats, worker: Executor) -> None:
        self._world = world
        self._stats = stats
        self._worker = worker

    def match(self, method: str, raw_path: str) -> tuple[File, dict[str, str]] | None:
        """Find the route of a raw path."""
        found = PATH.fullmatch(raw_path)
        return (File(), {"export_id": found[1]}) if found and method == "GET" else None

    def special_faults(self, _call: Call) -> frozenset[str]:
        """Return the faults that only this request can have: none."""
        return frozenset()

    async def answer(self, call: Call) -> Answer:
        """Give the file where the link is in order."""
        if "authorization" in call.headers:
            return self._refuse(call, 400, "only one way to authenticate is allowed")
        query = dict(parse_qsl(call.query.decode("ascii", "replace")))
        if call.route is None or query.keys() != {"expires", "sig"} or not re.fullmatch(r"\d{1,15}", query["expires"]):
            return self._refuse(call, 403, "access denied")
        wanted = int(call.texts["export_id"]), int(query["expires"]), query["sig"]
        exports, loop = self._world.exports, asyncio.get_running_loop()
        try:
            descriptor, size = await loop.run_in_executor(self._worker, lambda: exports.open(*wanted))
        except ApiError as error:
            return self._refuse(call, error.status, error.detail, error.fault_of_client)
        return Answer(200, content_type="text/csv; charset=utf-8", file=descriptor, length=size)

    def error(self, _call: Call, status: int, detail: str, headers: dict[str, str] | None = None) -> Answer:
        """Write an error as the storage does."""
        body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{status}</Code><Message>{detail}</Message></Error>'
        return Answer(status, body.encode(), "application/xml", headers or {})

    def _refuse(self, call: Call, status: int, detail: str, fault_of_client: bool = True) -> Answer:
        if fault_of_client:
            self._stats.violation(call.method, call.path, f"{status} {detail}")
        return self.error(call, status, detail)
