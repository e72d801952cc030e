"""The machine's clock is an hour off, before, after or in the middle of a sync: the tables are right all the same."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from cio_assets import sandbox
from cio_assets_tests import forked
from cio_assets_tests.in_process import settings_of, sync, unequal

HOUR, NONE = timedelta(hours=1), timedelta()
START = (datetime.now(UTC) - timedelta(days=50)).date()
TABLES = ("campaigns", "campaign_actions", "campaign_metrics", "newsletters", "newsletter_metrics", "messages",
          "customers", "customer_attributes", "activities")  # fmt: skip
Clock = Callable[[], datetime]


def off_by(before: timedelta, after: timedelta = NONE, looks: int = 0) -> Clock:
    """A clock that is off, and is set to be off by another amount after so many looks at it."""
    looked = count(1)
    return lambda: datetime.now(UTC) + (before if next(looked) <= looks or not looks else after)


def change(box: sandbox.Sandbox) -> None:
    """Something of everything, now."""
    box.mutate("late_opens", count=50)
    box.mutate("add_deliveries", count=30)
    box.mutate("add_activities", count=30)
    box.mutate("change_people", count=5)
    box.mutate("delete_people", count=2)
    box.mutate("change_campaign")
    box.mutate("add_action")


# A clock that was set back is one that was ahead before: what DuckDB takes for now cannot be passed in.
@pytest.mark.parametrize(
    "clocks",
    [
        pytest.param([off_by(HOUR), off_by(NONE)], id="set back between syncs"),
        pytest.param([off_by(NONE), off_by(HOUR), off_by(NONE)], id="set forward and back", marks=pytest.mark.soak),
        pytest.param([off_by(-HOUR, NONE, 9), off_by(NONE)], id="set forward in the first", marks=pytest.mark.soak),
        pytest.param([off_by(HOUR), off_by(HOUR, NONE, 9)], id="set back in the second", marks=pytest.mark.soak),
    ],
)
def test_every_sync_brings_what_there_is(tmp_path: Path, clocks: list[Clock]) -> None:
    with forked.launch(
        people=200, campaigns=3, broadcasts=1, newsletters=3, segments=2, objects=2, days=40, app_rps=0
    ) as box:
        settings = settings_of(tmp_path, box, START)
        for clock in [*clocks, off_by(NONE)]:
            began = datetime.now(UTC).hour
            assert sync(settings, TABLES, clock) == []
            problems = unequal(box, tmp_path / "warehouse.duckdb", TABLES, START)
            # At the full hour version 1 forgets the oldest of its 24, which stays in the warehouse.
            assert problems == [] or datetime.now(UTC).hour != began, problems
            change(box)


@pytest.mark.parametrize("off", [HOUR, -HOUR], ids=["ahead", "behind"])
def test_what_a_dead_run_has_read_under_another_clock_is_gone_on_with(
    box: sandbox.Sandbox, tmp_path: Path, off: timedelta
) -> None:
    settings = settings_of(tmp_path, box, START)
    assert sync(settings, ["newsletters"], off_by(off)) == []
    box.faults(rules=[{"kind": "401", "path": "/contents$", "after": 2}])
    assert "401" in " ".join(sync(settings, ["newsletter_contents"], off_by(off)))
    box.faults()
    box.reset_stats()

    assert sync(settings, ["newsletter_contents"], off_by(NONE)) == []

    assert unequal(box, tmp_path / "warehouse.duckdb", ["newsletters", "newsletter_contents"], START) == []
    assert box.stats()["requests"] == 2, "two of four newsletters were read"
