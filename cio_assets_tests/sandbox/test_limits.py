"""The rate limit and what statistics tell about who broke it; latency; the clock."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from .client import NOW


def test_too_many_in_a_second(start: Callable) -> None:
    sandbox, api = start(app_rps=5)
    answers = [api.ask("workspaces") for _ in range(8)]
    if sandbox.stats()["busiest_second"] > 5:  # unless this machine was too slow to break the limit
        late = [answer for answer in answers if answer.status_code == 429]
        assert late
        assert late[0].headers["Retry-After"] == "1"
        assert late[0].json()["errors"][0]["detail"].startswith("rate limited to 5 requests per 1s")
        stats = sandbox.stats()
        assert stats["rate_limited"] == len(late)
        assert {violation["reason"] for violation in stats["violations"]} == {"429 provoked"}
    time.sleep(1.1)
    assert api.ask("workspaces").status_code == 200


def test_statistics(start: Callable) -> None:
    sandbox, api = start()
    before = time.monotonic()
    api.get("campaigns/1/actions")
    api.ask("nothing")
    stats = sandbox.stats(arrivals=True)
    assert stats["requests"] == 2
    assert stats["by_endpoint"] == {"GET /v1/campaigns/{campaign_id}/actions": 1, "unknown": 1}
    assert stats["by_status"] == {"200": 1, "404": 1}
    assert stats["first_request"] <= stats["last_request"]
    assert [name for _, name in stats["arrivals"]] == ["GET /v1/campaigns/{campaign_id}/actions", "unknown"]
    assert before <= stats["arrivals"][0][0] <= time.monotonic()
    sandbox.reset_stats()
    assert sandbox.stats()["requests"] == 0


def test_latency_delays_each_answer_but_not_the_others(start: Callable) -> None:
    _, api = start(latency_ms=400)
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.ask("workspaces"), range(8)))
    passed = time.monotonic() - began
    assert all(answer.elapsed.total_seconds() >= 0.4 for answer in answers)
    assert passed < 8 * 0.4


def test_clock(start: Callable) -> None:
    sandbox, api = start()
    assert api.ask("workspaces").headers["Date"] == "Mon, 09 Nov 2026 12:00:00 GMT"
    assert sandbox.clock(advance_seconds=3600) == NOW + 3600
    assert sandbox.clock(now="2026-11-10T00:00:00Z") == NOW + 43200
    assert api.ask("workspaces").headers["Date"] == "Tue, 10 Nov 2026 00:00:00 GMT"
