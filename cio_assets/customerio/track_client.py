"""The client of Customer.io's Track API: sends batches of operations and says which of them were refused.

What an operation says is the caller's knowledge.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final, Literal, Self

import numpy as np
import orjson

from . import limits
from .credentials import basic
from .errors import CustomerioError, RequestRefused
from .exchange import USER_AGENT, Exchange, Reply, Request
from .masking import values_in
from .rate_limit import RateLimiter
from .refusals import refusal, track_account
from .retry import MAX_ATTEMPTS
from .track_answers import OperationRefusal, read_single, read_verdict
from .usage import Usage

__all__ = ["Batch", "OperationRefusal", "TrackClient"]

_BATCH_PATH: Final = "/api/v2/batch"
_EVENTS_PATH: Final = "/api/v1/events"
_BEFORE, _AFTER = b'{"batch":[', b"]}"
# Answers that speak of what was sent, and not of the key, the URL or the service.
_ABOUT_THE_CONTENT: Final = (400, 413, 422)
# So many operations refused one by one, and none ever accepted, are not the operations' fault.
_REFUSES_EVERYTHING: Final = 200


@dataclass(frozen=True)
class Batch:
    """Operations one after another: each one's JSON and a comma; `ends[i]` is the offset behind the i-th comma."""

    content: bytes | memoryview
    ends: Sequence[int] | np.ndarray

    def __len__(self) -> int:
        return len(self.ends)

    def operation(self, place: int) -> memoryview:
        """One operation with its comma."""
        start = int(self.ends[place - 1]) if place else 0
        return memoryview(self.content)[start : int(self.ends[place])]


class TrackClient:
    """One workspace's Track API. Thread-safe; a context manager.

    `base_url` as of `hosts.base_url`; white space around `site_id` and `key` is dropped; `region` only for messages;
    `timeout` seconds to connect and between two reads; `workers` the threads that `overlap` will use. `sleep` is for
    tests. Raises CredentialsRefused if site id or key cannot be one.
    """

    def __init__(
        self,
        *,
        base_url: str,
        site_id: str,
        key: str,
        limiter: RateLimiter,
        region: str = "us",
        timeout: tuple[float, float] = (10, 90),
        max_attempts: int = MAX_ATTEMPTS,
        workers: int = 4,
        sleep: Callable[[float], object] | None = None,
        user_agent: str = USER_AGENT,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.workers = workers
        self._account = track_account(self.base_url, region)
        self._lock = threading.Lock()
        self._accepted_any = False
        self._refused_alone = 0
        self._exchange = Exchange(
            self.base_url,
            limiter=limiter,
            headers={"Authorization": basic(site_id, key), "Accept": "application/json", "User-Agent": user_agent},
            timeout=timeout,
            connections=max(16, 2 * workers),
            max_attempts=max_attempts,
            sleep=sleep,
        )

    @property
    def usage(self) -> Usage:
        """What was spent so far: `client.usage.snapshot()`."""
        return self._exchange.usage

    def send_batch(self, batch: Batch) -> list[OperationRefusal]:
        """Send operations to `/api/v2/batch`; those that were refused, all others were accepted.

        Raises ValueError above the documented sizes; CredentialsRefused (401, 403), RequestRefused (other 4xx, or a
        service that refuses everything), AnswerInvalid (a redirect), ServiceUnavailable or QuotaExhausted (retries
        spent), ClientClosed.
        """
        _check_sizes(batch)
        if not len(batch):
            return []
        content = memoryview(batch.content)[: int(batch.ends[-1]) - 1]
        refused = self._send(batch, range(len(batch)), content)
        return sorted(refused, key=lambda one: one.index)

    def send_anonymous_events(self, batch: Batch) -> list[OperationRefusal]:
        """Send each operation as the body of `POST /api/v1/events`, one after the other; those that were refused.

        (Version 2 knows no anonymous people.) Raises as `send_batch` does.
        """
        refused = []
        for place in range(len(batch)):
            body = bytes(batch.operation(place)[:-1])
            reply = self._post(_EVENTS_PATH, _EVENTS_PATH, body)
            one = self._alone(reply, place)
            if one is not None:
                refused.append(one)
        return refused

    def change_segment(
        self,
        segment_id: int,
        action: Literal["add_customers", "remove_customers"],
        id_type: Literal["id", "email", "cio_id"],
        ids: Sequence[str],
    ) -> list[OperationRefusal]:
        """Add people to a manual segment or remove them; those that were refused. Raises as `send_batch` does."""
        if len(ids) > limits.SEGMENT_IDS:
            raise ValueError(f"{len(ids)} people in one call: at most {limits.SEGMENT_IDS} are allowed")
        return self._change_segment(segment_id, action, id_type, ids, 0) if ids else []

    def close(self) -> None:
        """Ends waits and retries (they raise ClientClosed) and closes the connections."""
        self._exchange.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, batch: Batch, places: Sequence[int], content: bytes | memoryview) -> list[OperationRefusal]:
        """Send the operations at `places`, their JSON being `content`; narrow down what the answer leaves open.

        To send an accepted operation again is harmless: identify and the like say the same twice, events carry ids.
        """
        reply = self._post(_BATCH_PATH, _BATCH_PATH, b"".join((_BEFORE, content, _AFTER)))
        if len(places) == 1:
            one = self._alone(reply, places[0])
            return [one] if one else []
        verdict = read_verdict(reply.status, reply.content, len(places))
        refused = [replace(one, index=places[place]) for place, one in verdict.refused.items()]
        accepted = 200 <= reply.status < 300
        if verdict.complete and accepted:
            self._note(accepted=len(places) > len(refused))
            return refused
        left = [place for number, place in enumerate(places) if number not in verdict.refused]
        if verdict.complete:  # nothing was taken, and the answer says on whose account
            return refused + (self._again(batch, left) if left else [])
        half = len(left) // 2
        for some in (left[:half], left[half:]):
            if some:
                refused += self._again(batch, some)
        return refused

    def _again(self, batch: Batch, places: Sequence[int]) -> list[OperationRefusal]:
        content = b"".join(batch.operation(place) for place in places)
        return self._send(batch, places, content[:-1])

    def _change_segment(
        self, segment_id: int, action: str, id_type: str, ids: Sequence[str], first: int
    ) -> list[OperationRefusal]:
        """A refused call is halved until the person is found on whose account it is refused."""
        path = f"/api/v1/segments/{{segment_id}}/{action}"
        target = f"{path.format(segment_id=int(segment_id))}?id_type={id_type}"
        reply = self._post(path, target, orjson.dumps({"ids": list(ids)}))
        if len(ids) == 1 or 200 <= reply.status < 300:
            one = self._alone(reply, first)
            return [replace(one, index=first + number) for number in range(len(ids))] if one else []
        half = len(ids) // 2
        return [
            refused
            for begin, some in ((0, ids[:half]), (half, ids[half:]))
            for refused in self._change_segment(segment_id, action, id_type, some, first + begin)
        ]

    def _post(self, path: str, target: str, body: bytes) -> Reply:
        """The reply, if it is about the content; all others raise."""
        request = Request("POST", self.base_url + target, path, f"POST {path}", body, may_be_empty=True)
        reply = self._exchange.send(request)
        if 200 <= reply.status < 300 or reply.status in _ABOUT_THE_CONTENT:
            return reply
        raise self._refusal(reply, request)

    def _refusal(self, reply: Reply, request: Request) -> CustomerioError:
        said: Any = orjson.loads(request.body) if request.body else None
        error = refusal(reply, request, self._account, values_in(said))
        return error or CustomerioError(f"{request.shown}: {reply.status}")

    def _alone(self, reply: Reply, place: int) -> OperationRefusal | None:
        """What a reply says of a request's only operation; raises once nothing but refusals came."""
        one = read_single(reply.status, reply.content)
        self._note(accepted=one is None)
        if one is None:
            return None
        with self._lock:
            self._refused_alone += not 200 <= reply.status < 300
            hopeless = not self._accepted_any and self._refused_alone >= _REFUSES_EVERYTHING
        if hopeless:
            raise RequestRefused(
                f"The Track API at {self._account.host} refused each of the first {_REFUSES_EVERYTHING} operations "
                f"with {reply.status} (reason: {one.reason}, field: {one.field or 'none'}), so the rest was not sent. "
                "Is CUSTOMERIO_TRACK_URL right, and what the sync sends?",
                method="POST",
                status=reply.status,
            )
        return replace(one, index=place)

    def _note(self, *, accepted: bool) -> None:
        if accepted and not self._accepted_any:
            with self._lock:
                self._accepted_any = True


def _check_sizes(batch: Batch) -> None:
    if not len(batch):
        return
    longest = int(np.diff(batch.ends, prepend=0).max()) - 1
    size = len(_BEFORE) + int(batch.ends[-1]) - 1 + len(_AFTER)
    if size > limits.BATCH or longest > limits.OPERATION:
        raise ValueError(
            f"a batch of {size} bytes with an operation of {longest}: at most {limits.BATCH} and {limits.OPERATION}"
        )
