"""Which answers are asked for again, and when: one pure rule for both APIs, and the tenacity loop that follows it."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Generic, Literal, TypeVar

import tenacity

Failure = Literal["timeout", "connection", "truncated", "not_json"]

MAX_ATTEMPTS: Final = 8
LONGEST_RETRY_AFTER: Final = 300.0  # seconds; a longer Retry-After is cut
BACKOFF_BASE: Final = 0.5  # seconds; base and cap are those of the official command line client (section 2)
BACKOFF_CAP: Final = 30.0

_FAILURES: Final[dict[Failure, str]] = {
    "timeout": "no answer in time",
    "connection": "the connection failed",
    "truncated": "the answer was cut short",
    "not_json": "the answer is not JSON",
}


@dataclass(frozen=True)
class Outcome:
    """What came back from one attempt. `retry_after` is the raw header; `failure` is None for a complete answer."""

    status: int | None
    failure: Failure | None = None
    retry_after: str | None = None


@dataclass(frozen=True)
class Decision:
    """`wait` is in seconds; None stands for exponential backoff with full jitter. `why` is one line for the log."""

    retry: bool
    wait: float | None
    why: str


def decide(outcome: Outcome, attempt: int, max_attempts: int, now: datetime) -> Decision:
    """Whether the request whose `attempt` (from 1) ended in `outcome` is sent again. Pure.

    Only for requests that may be repeated: reads (POST reads too) and idempotent writes. `now` is time-zone aware.
    429, 408, 5xx, timeouts, lost connections, truncated and non-JSON bodies are temporary (section 2 and design 5).
    """
    why = reason(outcome)
    if not is_temporary(outcome):
        return Decision(False, None, why)
    if attempt >= max_attempts:
        return Decision(False, None, f"{why}; attempt {attempt} of {max_attempts} was the last")
    wait = retry_after_seconds(outcome.retry_after, now)
    if wait is not None:
        why = f"{why}, Retry-After {wait:g} s"
    return Decision(True, wait, why)


def retry_after_seconds(header: str | None, now: datetime) -> float | None:
    """Seconds from `now` that a Retry-After header (seconds or an HTTP date) asks for, at most 300.

    None if there is no header, or none that asks for a wait in the future.
    """
    text = (header or "").strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
        seconds = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()
    return min(seconds, LONGEST_RETRY_AFTER) if seconds > 0 else None


def backoff(attempt: int, jitter: Callable[[], float] = random.random) -> float:
    """Seconds before the attempt after `attempt`: full jitter below 0.5 s, 1 s, 2 s … 30 s."""
    return jitter() * min(BACKOFF_CAP, BACKOFF_BASE * 2 ** (attempt - 1))


def is_temporary(outcome: Outcome) -> bool:
    """Whether asking again may help; True for the last attempt means that the retries are spent."""
    # A failure counts whatever status came with it, refusals excepted: their status alone says enough.
    status = outcome.status
    if status is None or 200 <= status < 300:
        return outcome.failure is not None
    return status in (408, 429) or status >= 500


def reason(outcome: Outcome) -> str:
    """The outcome in a few words, for a log line."""
    parts = [f"HTTP {outcome.status}"] if outcome.status is not None else []
    if outcome.failure is not None:
        parts.append(_FAILURES[outcome.failure])
    return ", ".join(parts)


T = TypeVar("T")


@dataclass(frozen=True)
class Tried(Generic[T]):
    """The last attempt: its value, its outcome, how the rule judged it, and its number (from 1)."""

    value: T
    outcome: Outcome
    decision: Decision
    attempt: int


def run(
    once: Callable[[], tuple[Outcome, T]],
    *,
    max_attempts: int,
    sleep: Callable[[float], Any],
    before_sleep: Callable[[Tried[T], float], object],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Tried[T]:
    """Calls `once` until `decide` says that this is the answer, or the last one. Returns the last attempt.

    `before_sleep` is told each attempt that will be repeated and the seconds until then. Exceptions of `once` pass.
    """

    def attempt(state: list[int]) -> Tried[T]:
        state[0] += 1
        outcome, value = once()
        return Tried(value, outcome, decide(outcome, state[0], max_attempts, now()), state[0])

    def wait(state: tenacity.RetryCallState) -> float:
        tried: Tried[T] = _last(state)
        return backoff(tried.attempt) if tried.decision.wait is None else tried.decision.wait

    def tell(state: tenacity.RetryCallState) -> None:
        before_sleep(_last(state), state.upcoming_sleep)

    loop = tenacity.Retrying(
        sleep=sleep,
        stop=tenacity.stop_never,
        wait=wait,
        retry=tenacity.retry_if_result(lambda tried: tried.decision.retry),
        before_sleep=tell,
    )
    return loop(attempt, [0])


def _last(state: tenacity.RetryCallState) -> Tried:
    if state.outcome is None:
        raise RuntimeError("tenacity asked before the first attempt")
    return state.outcome.result()
