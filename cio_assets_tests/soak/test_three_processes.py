"""Three syncs of one workspace at once, at the real rate and from afar: the budget is used, kept, and shared fairly."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from cio_assets_tests import forked
from cio_assets_tests.conftest import environment, run_cli
from cio_assets_tests.soak.whole import start_cli

pytestmark = [pytest.mark.soak, pytest.mark.alone, pytest.mark.timeout(240)]

SECONDS = 60
PARENTS = ("customers", "campaigns", "campaign_actions", "object_types", "objects")
READ = {
    "customer_attributes": "POST /v1/customers/attributes",
    "campaign_action_metrics": "GET /v1/campaigns/{campaign_id}/actions/{action_id}/metrics",
    "customer_relationships": "GET /v1/objects/{object_type_id}/{object_id}/relationships",
}
"""Tables that are read side by side, each with more than a third of a minute's requests, and their endpoints."""


def test_the_budget_of_a_minute(tmp_path: Path) -> None:
    with forked.launch(
        people=30_000,
        deliveries=5000,
        activities=0,
        campaigns=5,
        broadcasts=1,
        newsletters=1,
        segments=3,
        objects=500,
        latency_ms=120,
        jitter_ms=160,
    ) as box:
        env = environment(tmp_path / "home", box, CIO_APP_RPS="10")
        assert run_cli(["sync", "--select", ",".join(PARENTS)], env, tmp_path).code == 0
        box.reset_stats()
        processes = [start_cli(["sync", "--select", table], env, tmp_path) for table in READ]
        try:
            while box.stats()["by_endpoint"].keys() < set(READ.values()):
                assert all(process.poll() is None for process in processes), (tmp_path / "said").read_text()
                time.sleep(0.1)
            time.sleep(SECONDS + 3)
            assert [process.poll() for process in processes] == [None] * 3, "they had too little to read"
        finally:
            for process in processes:
                process.kill()
                process.wait()
        stats = box.stats(arrivals=True)
    first = {name: next(at for at, endpoint in stats["arrivals"] if endpoint == name) for name in READ.values()}
    begin = max(first.values()) + 1
    minute = [(at, endpoint) for at, endpoint in stats["arrivals"] if begin <= at < begin + SECONDS]
    shares = {table: sum(endpoint == name for _, endpoint in minute) for table, name in READ.items()}
    print(f"{len(minute) / SECONDS:.2f} requests/s, at most {stats['busiest_second']} in any second, shares {shares}")
    assert len(minute) / SECONDS >= 9.3
    assert stats["busiest_second"] <= 10
    assert stats["rate_limited"] == 0
    assert stats["violations"] == []
    assert max(shares.values()) <= 1.2 * min(shares.values())
