"""Under a frozen clock that is moved day by day, the world goes on as if the days had passed."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from zoneinfo import ZoneInfo

from .client import NOW, Client

DAY = 86400


def hourly(api: Client, now: int) -> int:
    """Return how many opens the newest hour of all parents holds."""
    total = 0
    for kind in ("campaigns", "broadcasts", "newsletters"):
        for parent in api.walk(kind, kind):
            series = api.get(f"{kind}/{parent['id']}/metrics", period="hours", steps=2)["metric"]["series"]
            total += series["opened"][-1]
    return total


def test_a_fortnight(start: Callable) -> None:
    sandbox, api = start()
    seen: set[str] = set()
    for day in range(1, 15):
        now = NOW + day * DAY
        assert sandbox.clock(advance_seconds=DAY) == now
        response = api.ask("workspaces")
        assert parsedate_to_datetime(response.headers["Date"]).timestamp() == now
        known = {row["id"] for row in sandbox.truth("messages")} | {
            row["id"] for row in sandbox.truth("messages", drafts="true")
        }
        seen |= known
        new = set(sandbox.mutate("add_deliveries", count=60, days=1)["ids"])
        assert not new & seen
        rows = [row for row in api.walk("messages", "messages", start_ts=now - DAY, limit=1000) if row["id"] in new]
        assert len(rows) > 50  # the others are drafts
        assert all(now - DAY <= row["created"] <= now for row in rows)
        assert all(when <= now for row in rows for when in row["metrics"].values())
        assert max(row["created"] for row in rows) > now - DAY // 4
        ids = set(sandbox.mutate("add_activities", count=5)["ids"])
        newest = [row for row in api.walk("activities", "activities", limit=100, deleted="true") if row["id"] in ids]
        assert len(newest) == 5
        assert all(now - 900 <= row["timestamp"] <= now for row in newest)
    wanted = sandbox.truth("messages", start=NOW - 7 * DAY)
    assert {row["id"] for row in api.walk("messages", "messages", start_ts=NOW - 7 * DAY)} == {
        row["id"] for row in wanted
    }


def test_late_opens_move_the_change_marker_and_the_metrics(start: Callable) -> None:
    sandbox, api = start()
    sandbox.clock(advance_seconds=3 * DAY)
    now = NOW + 3 * DAY
    assert hourly(api, now) == 0
    opened = sandbox.mutate("late_opens", count=50, older_than_days=4)["ids"]
    rows = {row["id"]: row for row in api.walk("messages", "messages", limit=1000) if row["id"] in opened}
    assert rows
    assert all(row["deduplicate_id"] == f"{one}:{now}" for one, row in rows.items())
    assert all(row["metrics"]["opened"] == row["metrics"]["human_opened"] == now for row in rows.values())
    transactional = {row["id"] for row in sandbox.truth("transactional_deliveries")}
    assert hourly(api, now) == len(set(opened) - transactional) > 0


def test_metrics_of_version_1_follow_the_clock(start: Callable) -> None:
    sandbox, api = start()
    sandbox.clock(advance_seconds=14 * DAY)
    sandbox.mutate("add_deliveries", count=400, days=1)
    eastern = ZoneInfo("America/New_York")
    today = datetime.fromtimestamp(NOW + 14 * DAY, UTC).astimezone(eastern).date()
    days = [datetime.combine(today - timedelta(days=44 - n), datetime.min.time(), eastern) for n in range(45)]
    truth = {
        (row["broadcast_id"], row["period_start"]): row["created"]
        for row in sandbox.truth("broadcast_metrics", period="days")
        if "created" in row
    }
    found = {}
    for broadcast in api.get("broadcasts")["broadcasts"]:
        series = api.get(f"broadcasts/{broadcast['id']}/metrics")["metric"]["series"]["created"]
        found |= {(broadcast["id"], int(day.timestamp())): n for day, n in zip(days, series, strict=True) if n}
    assert found == truth
    assert max(start for _, start in found) >= NOW + 12 * DAY


def test_one_more_action(start: Callable) -> None:
    sandbox, api = start()
    sandbox.clock(advance_seconds=DAY)
    now = NOW + DAY
    before = api.get("campaigns")["campaigns"]
    answer = sandbox.mutate("add_action", campaign_id=2)
    after = api.get("campaigns")["campaigns"]
    (was,), (item,) = ([c for c in campaigns if c["id"] == answer["campaign_id"] == 2] for campaigns in (before, after))
    assert (item["updated"], item["deduplicate_id"]) == (now, f"2:{now}")
    assert was["updated"] < now
    (new,) = item["actions"][len(was["actions"]) :]
    assert item["actions"][: len(was["actions"])] == was["actions"]
    assert [str(new["id"])] == answer["ids"]
    actions = api.walk("campaigns/2/actions", "actions")
    assert [action["id"] for action in actions].count(str(new["id"])) == 1
    assert actions[-1]["type"] == new["type"]
    assert len(actions) == len(item["actions"])
    assert [c for c in after if c["id"] != 2] == [c for c in before if c["id"] != 2]
    assert sandbox.mutate("add_action")["campaign_id"] == 1


def test_a_new_action_sends(start: Callable) -> None:
    sandbox, api = start(campaigns=1, broadcasts=0, newsletters=0, deliveries=100)
    (action,) = sandbox.mutate("add_action", campaign_id=1)["ids"]
    while (
        next(a for a in api.walk("campaigns/1/actions", "actions") if a["id"] == action)["type"] == "attribute_update"
    ):
        (action,) = sandbox.mutate("add_action", campaign_id=1)["ids"]  # one that sends
    sandbox.clock(advance_seconds=3600)
    sandbox.mutate("add_deliveries", count=2000, days=1)
    rows = api.walk("messages", "messages", action_id=int(action), campaign_id=1, limit=1000)
    assert rows
    assert min(row["created"] for row in rows) >= NOW, "nothing is sent before its action exists"
    created = api.get(f"campaigns/1/actions/{action}/metrics", period="hours")["metric"]["series"]["created"]
    drafts = api.walk("messages", "messages", action_id=int(action), campaign_id=1, drafts="true")
    assert sum(created) == len(rows) + len(drafts)


def test_customer_count_follows(start: Callable) -> None:
    sandbox, api = start()
    before = api.get("segments/1/customer_count")
    assert before == {"segment_id": 1, "count": len(api.walk("segments/1/membership", "identifiers"))}
    sandbox.mutate("delete_people", count=200)
    after = api.get("segments/1/customer_count")["count"]
    assert after < before["count"] - 150
    assert after == len(api.walk("segments/1/membership", "identifiers"))
