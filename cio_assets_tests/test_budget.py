"""The budget of 10 requests a second, at the real rate and 200 ms away: used, and never exceeded."""

from __future__ import annotations

from math import ceil
from pathlib import Path

import pytest

from cio_assets_tests import forked
from cio_assets_tests.conftest import environment, run_cli

SMALL = {"people": 300, "campaigns": 1, "broadcasts": 1, "newsletters": 2, "segments": 6, "objects": 40}


@pytest.mark.soak
@pytest.mark.alone
def test_a_whole_sync_from_afar_uses_the_budget_and_keeps_to_it(home: Path, tmp_path: Path) -> None:
    with forked.launch(**SMALL, latency_ms=200) as box:
        env = environment(home, box, CIO_APP_RPS="10")
        done = run_cli(["sync"], env, tmp_path)
        assert done.code == 0, done.text
        stats = box.stats(arrivals=True)
    assert stats["violations"] == []
    assert stats["rate_limited"] == 0
    assert stats["busiest_second"] <= 10
    arrivals = [at for at, _ in stats["arrivals"]]
    # From the first request to the last; the start of Python and of Dagster is not the budget's.
    assert arrivals[-1] - arrivals[0] <= 1.1 * stats["requests"] / 10 + 10
    metrics = "GET /v1/campaigns/{campaign_id}/actions/{action_id}/metrics"
    fan_out = [at for at, endpoint in stats["arrivals"] if endpoint == metrics]
    assert len(fan_out) > 80
    # Beside the fan-out other tables are read: together they use the budget.
    assert share_of_budget([at for at in arrivals if fan_out[0] <= at <= fan_out[-1]]) >= 0.95


@pytest.mark.alone
def test_a_long_window_is_read_side_by_side(home: Path, tmp_path: Path) -> None:
    with forked.launch(people=1000, deliveries=60_000, latency_ms=200) as box:
        done = run_cli(["sync", "--select", "messages"], environment(home, box, CIO_APP_RPS="10"), tmp_path)
        assert done.code == 0, done.text
        stats = box.stats(arrivals=True)
        deliveries = len(box.truth("messages"))
    assert stats["busiest_second"] <= 10
    arrivals = [at for at, _ in stats["arrivals"]]
    assert share_of_budget(arrivals) >= 0.95
    # Two windows for 200 days, in each perhaps a page that the service leaves empty, and three cuts (a request each).
    assert len(arrivals) <= ceil(deliveries / 1000) + 2 + 2 + 3


def share_of_budget(arrivals: list[float]) -> float:
    """Requests a second over 10, without the first and the last second (starting and running out)."""
    inner = [at for at in arrivals if arrivals[0] + 1 <= at <= arrivals[-1] - 1]
    return (len(inner) - 1) / (inner[-1] - inner[0]) / 10
