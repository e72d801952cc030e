"""Memory stays flat however many rows come."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cio_assets.warehouse import Warehouse
from cio_assets_tests.warehouse.stage import put, python

LOAD = """
    import json, sys
    from datetime import UTC, datetime
    from pathlib import Path
    from cio_assets.catalog import TABLES
    from cio_assets.warehouse import Staging, Warehouse, load
    from cio_assets.warehouse.load import Replace
    from cio_assets_tests.conftest import peak_megabytes

    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    first = datetime(2026, 1, 1, tzinfo=UTC)
    warehouse = Warehouse(str(folder / "w.duckdb"), "customerio", scratch=folder / "staging")
    metrics = {name: 1767225600 for name in ("created", "sent", "delivered", "opened", "human_opened", "clicked")}
    wide = {"subject": "Your order has been shipped " * 4, "type": "email", "metrics": metrics, "campaign_id": 5,
            "action_id": 96, "tracked_responses": [{"href": "https://example.com/" + "x" * 60, "at": 1767225600}],
            "failure_message": None, "_extra": {"unknown": "y" * 40}}
    with Staging(folder / "staging", "messages") as staging:
        for page in range(0, count, 1000):
            staging.append({**wide, "id": f"dgTIgA0LAAYFAZ0f2aLWf8cxfAZ5RH-{n:012}", "cio_id": f"a{n:09}",
                            "deduplicate_id": f"{n}:1767225600", "email": f"person{n}@example.com",
                            "recipient": f"person{n}@example.com", "created": 1767225600 + n}
                           for n in range(page, page + 1000))
        staged = staging.finish()
    for _ in range(2):  # the second load replaces every row
        load(warehouse, TABLES["messages"], staged, first, Replace(first, datetime(2026, 2, 1, tzinfo=UTC), first))
    staged.discard()
    (found,) = warehouse.query("SELECT count(*), count(DISTINCT id) FROM messages")
    print(json.dumps({"found": found, "megabytes": peak_megabytes()}))
"""


@pytest.mark.slow
def test_three_hundred_thousand_deliveries_are_loaded_in_little_memory(tmp_path: Path) -> None:
    done = python(LOAD, str(tmp_path), "300000")

    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert told["found"] == [300_000, 300_000]
    assert told["megabytes"] < 500
    assert list((tmp_path / "staging").iterdir()) == []


@pytest.mark.slow
@pytest.mark.soak
def test_very_large_texts_are_loaded_too(tmp_path: Path) -> None:
    warehouse = Warehouse(str(tmp_path / "w.duckdb"), "customerio", scratch=tmp_path / "staging")
    body = "<p>Ä large body</p>" * 5000  # 100 kB
    rows = [{"newsletter_id": 1, "id": number, "body": body} for number in range(2000)]
    put(warehouse, "newsletter_contents", rows[:1000], rows[1000:])
    assert warehouse.query("SELECT count(*), min(length(body)) FROM newsletter_contents") == [(2000, len(body))]
