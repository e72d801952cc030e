"""The client of Customer.io's Track API: sends batches of operations and says which of them were refused.

What an operation says is the caller's knowledge.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, Literal, Self

import numpy as np
import orjson

from . import limits
from .credentials import basic
from .errors import CustomerioError, QuotaExhausted, RequestRefused, ServiceUnavailable
from .exchange import USER_AGENT, Exchange, Reply, Request
from .masking import masked, values_in
from .rate_limit import RateLimiter
from .refusals import error_text, refusal, track_account
from .retry import MAX_ATTEMPTS
from .track_answers import UNEXPLAINED, OperationRefusal, read_single, read_verdict
from .usage import Usage

__all__ = ["Batch", "OperationRefusal", "TrackClient"]

_BATCH_PATH: Final = "/api/v2/batch"
_EVENTS_PATH: Final = "/api/v1/events"
_BEFORE, _AFTER = b'{"batch":[', b"]}"
# Answers that speak of what was sent, and not of the key, the URL or the service.
_ABOUT_THE_CONTENT: Final = (400, 413, 422)
# So many refusals of single operations, and none ever accepted, are not the operations' fault.
_REFUSES_EVERYTHING: Final = 200

_REFUSES_SEGMENT: Final = 10
"""So many people refused by a segment, and none taken, are not the people's fault."""


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

    def joined(self, places: Sequence[int]) -> bytes | memoryview:
        """The operations at `places`, with commas between them; not copied where they are neighbours."""
        if isinstance(places, range):
            start = int(self.ends[places[0] - 1]) if places[0] else 0
            return memoryview(self.content)[start : int(self.ends[places[-1]]) - 1]
        return b"".join(self.operation(place) for place in places)[:-1]


class EverythingRefused(RequestRefused):
    """Operation after operation was refused and none accepted. `refused` are those of the batch that is known of."""

    refused: Sequence[OperationRefusal] = ()


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
        self._secrets = [site_id.strip(), key.strip()]  # masked in what the service says
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

        Raises ValueError above the documented sizes; CredentialsRefused (401, 403), NotFound (404), RequestRefused
        (other 4xx; EverythingRefused), AnswerInvalid (a redirect), ServiceUnavailable (retries
        spent), ClientClosed.
        """
        _check_sizes(batch)
        refused: list[OperationRefusal] = []
        # The large pieces first, so that what is good is known to be early; the small ones one after the other.
        large: deque[Sequence[int]] = deque([range(len(batch))])
        small: list[Sequence[int]] = []
        try:
            while large or small:
                places = large.popleft() if large else small.pop()
                if len(places):
                    found, halves = self._send(batch, places)
                    refused += found
                    if len(places) > len(batch) // 16:
                        large += halves
                    else:
                        small += reversed(halves)
        except EverythingRefused as error:
            error.refused = refused
            raise
        return sorted(refused, key=lambda one: one.index)

    def send_anonymous_events(self, batch: Batch) -> list[OperationRefusal]:
        """Send each operation as the body of `POST /api/v1/events`, one after the other; those that were refused.

        (Version 2 knows no anonymous people.) Raises as `send_batch` does, but leaves sizes to the service.
        """
        refused: list[OperationRefusal] = []
        try:
            for place in range(len(batch)):
                body = bytes(batch.operation(place)[:-1])
                one = self._alone(self._post(_EVENTS_PATH, body), place, body)
                refused += [one] if one else []
        except EverythingRefused as error:
            error.refused = refused
            raise
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
        return self._change_segment(segment_id, action, id_type, ids) if ids else []

    def close(self) -> None:
        """Ends waits and retries (they raise ClientClosed) and closes the connections."""
        self._exchange.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, batch: Batch, places: Sequence[int]) -> tuple[list[OperationRefusal], list[Sequence[int]]]:
        """Send the operations at `places`: those that were refused, and in two halves what the answer leaves open.

        To send an accepted operation again is harmless: identify and the like say the same twice, events carry ids.
        (But a merge that happened is refused the second time: its secondary is gone.)
        """
        body = b"".join((_BEFORE, batch.joined(places), _AFTER))
        reply = self._post(_BATCH_PATH, body)
        if len(places) == 1:
            one = self._alone(reply, places[0], body)
            return ([one] if one else []), []
        verdict = read_verdict(reply.status, reply.content, len(places))
        refused = [replace(one, index=places[place]) for place, one in verdict.refused.items()]
        accepted = 200 <= reply.status < 300
        if verdict.complete and accepted:
            self._note_accepted(len(places) > len(refused))
            return refused, []
        if refused and not accepted:
            self._note_refused(reply, refused[0], body)
        left: Sequence[int] = places
        if refused:
            left = [place for number, place in enumerate(places) if number not in verdict.refused]
        # In halves even if a 400 names somebody: a service may name one at a time, and the rest would go n times.
        half = len(left) // 2
        return refused, [left[:half], left[half:]]

    def _change_segment(self, segment_id: int, action: str, id_type: str, ids: Sequence[str]) -> list[OperationRefusal]:
        """A refused call is halved until the people are found on whose account it is refused.

        Version 1 names nobody, and a segment that is not there or not manual is refused for everybody: once the first
        few were refused and none accepted, it is the segment, and the others are refused unasked.
        """
        path = f"/api/v1/segments/{{segment_id}}/{action}"
        refused: list[OperationRefusal] = []
        accepted = False
        todo = [(0, len(ids))]
        while todo:
            begin, end = todo.pop()
            if not accepted and len(refused) >= _REFUSES_SEGMENT:
                refused += [replace(refused[-1], index=place) for place in range(begin, end)]
                continue
            body = orjson.dumps({"ids": list(ids[begin:end])})
            reply = self._post(path, body, segment_id=int(segment_id), query=f"?id_type={id_type}")
            one = read_single(reply.status, reply.content)
            if one is None:
                accepted = True
                self._note_accepted(True)
            elif end - begin == 1:
                refused.append(replace(one, index=begin))
            else:
                half = (begin + end) // 2
                todo += [(half, end), (begin, half)]
        return sorted(refused, key=lambda one: one.index)

    def _post(self, path: str, body: bytes, segment_id: int = 0, query: str = "") -> Reply:
        """The reply, if it is about the content; all others raise."""
        target = path.replace("{segment_id}", str(segment_id))
        request = Request("POST", f"{self.base_url}{target}{query}", path, f"POST {target}", body, may_be_empty=True)
        try:
            reply = self._exchange.send(request)
        except QuotaExhausted as error:  # only the App API has quotas of a day
            raise ServiceUnavailable(
                f"{request.shown} was answered 429 in each of {error.attempts} attempts: more is sent than the Track "
                "API takes. Lower CIO_TRACK_RPS, or run it again later.",
                method="POST",
                path=path,
                status=429,
                attempts=error.attempts,
            ) from None
        if 200 <= reply.status < 300 or reply.status in _ABOUT_THE_CONTENT:
            return reply
        if segment_id and reply.status == 404 and error_text(reply.content):
            return reply  # said by the API: the segment is gone, which is no fault of the URL
        error = refusal(reply, request, self._account, self._private(body))
        raise error or CustomerioError(f"{request.shown}: {reply.status}")

    def _private(self, body: bytes) -> list[str]:
        """What the service's words must be freed of."""
        return values_in(orjson.loads(body)) + self._secrets

    def _alone(self, reply: Reply, place: int, body: bytes) -> OperationRefusal | None:
        """What a reply says of a request's only operation; raises once nothing but refusals came."""
        one = read_single(reply.status, reply.content)
        self._note_accepted(one is None)
        if one is None:
            return None
        if not 200 <= reply.status < 300 or one.reason == UNEXPLAINED:
            self._note_refused(reply, one, body)
        return replace(one, index=place)

    def _note_accepted(self, accepted: bool) -> None:
        if accepted and not self._accepted_any:
            with self._lock:
                self._accepted_any = True

    def _note_refused(self, reply: Reply, one: OperationRefusal, body: bytes) -> None:
        with self._lock:
            self._refused_alone += 1
            hopeless = not self._accepted_any and self._refused_alone >= _REFUSES_EVERYTHING
        if not hopeless:
            return
        detail = masked(error_text(reply.content), self._private(body))
        raise EverythingRefused(
            f"The Track API at {self._account.host} refused {_REFUSES_EVERYTHING} operations one by one and accepted "
            f"none, the last with {reply.status} (reason: {one.reason}, field: {one.field or 'none'}), so the rest was "
            "not sent. Is CUSTOMERIO_TRACK_URL right, and what the sync sends?"
            + (f" The service says: {detail}" if detail else ""),
            method="POST",
            status=reply.status,
            attempts=reply.attempts,
            detail=detail,
        )


def _check_sizes(batch: Batch) -> None:
    if not len(batch):
        return
    longest = int(np.diff(batch.ends, prepend=0).max()) - 1
    size = len(_BEFORE) + int(batch.ends[-1]) - 1 + len(_AFTER)
    if size > limits.BATCH or longest > limits.OPERATION:
        raise ValueError(
            f"a batch of {size} bytes with an operation of {longest}: at most {limits.BATCH} and {limits.OPERATION}"
        )
