"""Which outcomes are asked again and how long that waits: the table of the rule."""

from datetime import UTC, datetime

import pytest

from cio_assets.customerio.retry import BACKOFF_CAP, Outcome, backoff, decide

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("outcome", "retry", "wait"),
    [
        (Outcome(200), False, None),
        (Outcome(207), False, None),
        (Outcome(302), False, None),
        (Outcome(400), False, None),
        (Outcome(401), False, None),
        (Outcome(403), False, None),
        (Outcome(404), False, None),
        (Outcome(404, "not_json"), False, None),
        (Outcome(409), False, None),
        (Outcome(422), False, None),
        (Outcome(422, retry_after="3"), False, None),
        (Outcome(408), True, None),
        (Outcome(429), True, None),
        (Outcome(429, retry_after="3"), True, 3.0),
        (Outcome(429, retry_after=" 2.5 "), True, 2.5),
        (Outcome(429, retry_after="0"), True, None),
        (Outcome(429, retry_after="-4"), True, None),
        (Outcome(429, retry_after="soon"), True, None),
        (Outcome(429, retry_after=""), True, None),
        (Outcome(429, retry_after="nan"), True, None),
        (Outcome(429, retry_after="inf"), True, 300.0),
        (Outcome(429, retry_after="86400"), True, 300.0),
        (Outcome(429, retry_after="Sat, 21 Nov 2026 12:00:07 GMT"), True, 7.0),
        (Outcome(429, retry_after="Sat, 21 Nov 2026 11:00:00 GMT"), True, None),
        (Outcome(503, retry_after="10"), True, 10.0),
        (Outcome(500), True, None),
        (Outcome(502), True, None),
        (Outcome(599), True, None),
        (Outcome(None, "timeout"), True, None),
        (Outcome(None, "connection"), True, None),
        (Outcome(None, "truncated"), True, None),
        (Outcome(200, "not_json"), True, None),
        (Outcome(200, "truncated"), True, None),
    ],
)
def test_rule(outcome: Outcome, retry: bool, wait: float | None) -> None:
    decision = decide(outcome, 1, 8, NOW)
    assert (decision.retry, decision.wait) == (retry, wait)
    assert decision.why
    assert not decide(outcome, 8, 8, NOW).retry, "the last attempt is the last"


def test_backoff_doubles_up_to_the_cap() -> None:
    assert [backoff(attempt, lambda: 1.0) for attempt in (1, 2, 3, 7, 8, 99)] == [0.5, 1, 2, 30, 30, BACKOFF_CAP]
    assert backoff(5, lambda: 0.0) == 0.0
    assert 0 <= backoff(3) <= 2
