"""`make demo`: a local Customer.io, a full sync through Dagster, and what was learned from it pushed back."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import duckdb
from rich.console import Console
from rich.table import Table as Grid

from cio_assets import sandbox
from cio_assets.assets.api import AppApi
from cio_assets.build import build_definitions
from cio_assets.console import list_rejects, run_push, run_sync
from cio_assets.customerio import Call
from cio_assets.demo_mark import DEMO_MARK
from cio_assets.examples import JOB, with_examples
from cio_assets.runs import open_instance
from cio_assets.settings import Settings, load_settings

_WORLD = {"people": 2000, "campaigns": 8, "broadcasts": 4, "newsletters": 6, "segments": 12, "objects": 40}
_RATE = 200
"""Requests per second of the demo's own service and client: the real ones stop at 10."""

_QUESTIONS = {
    "Which campaigns were opened most?": """
        SELECT c.name AS campaign, count(*) AS sent,
               count(*) FILTER (m.metrics->>'opened' IS NOT NULL) AS opened,
               round(100.0 * opened / sent, 1) AS "opened %"
        FROM customerio.campaign_messages m JOIN customerio.campaigns c ON c.id = m.campaign_id
        WHERE m.metrics->>'sent' IS NOT NULL GROUP BY ALL ORDER BY opened DESC LIMIT 5""",
    "How long does it take until a delivery is opened?": """
        SELECT type, count(*) AS opened,
               round(median(CAST(metrics->>'opened' AS BIGINT) - epoch(created)) / 3600, 1) AS "median hours",
               round(max(CAST(metrics->>'opened' AS BIGINT) - epoch(created)) / 86400, 1) AS "most days"
        FROM customerio.messages WHERE metrics->>'opened' IS NOT NULL GROUP BY ALL ORDER BY opened DESC LIMIT 5""",
    "Which segments are the largest?": """
        SELECT s.name AS segment, s.type, count(m.cio_id) AS members
        FROM customerio.segments s LEFT JOIN customerio.segment_membership m
             ON m.segment_id = s.id AND m._deleted_at IS NULL
        WHERE s._deleted_at IS NULL GROUP BY ALL ORDER BY members DESC, segment LIMIT 5""",
}


def main() -> int:
    """Run the demo; 0 where everything succeeded."""
    console = Console(highlight=False)
    started = time.monotonic()
    home = Path(os.environ.get("DAGSTER_HOME") or ".dagster_home").absolute()
    if (home / "warehouse.duckdb").exists() and not (home / DEMO_MARK).exists():
        console.print(
            f"{home} holds a warehouse that the demo did not make, and would be mixed with made-up data. Give the demo "
            "a folder of its own: DAGSTER_HOME=$PWD/.demo_home make demo",
            soft_wrap=True,
        )
        return 2
    home.mkdir(parents=True, exist_ok=True)
    (home / DEMO_MARK).touch()
    with sandbox.launch(app_rps=_RATE, **_WORLD) as box:
        # Nothing of a real workspace may reach the demo: not from the environment, not from .env.
        for name in [name for name in os.environ if name.startswith(("CUSTOMERIO_", "CIO_"))]:
            del os.environ[name]
        os.environ |= {
            "DAGSTER_HOME": str(home),
            "CUSTOMERIO_APP_URL": box.url,
            "CUSTOMERIO_APP_API_KEY": box.app_key,
            "CIO_APP_RPS": str(_RATE * 0.9),
            "CUSTOMERIO_TRACK_URL": box.url,
            "CUSTOMERIO_SITE_ID": box.site_id,
            "CUSTOMERIO_TRACK_API_KEY": box.track_key,
            "CIO_ENV_FILE": os.devnull,
        }
        settings = load_settings()
        console.print(
            f"A local Customer.io runs at {box.url}: {_WORLD['people']:,} people, {_WORLD['campaigns']} campaigns. It "
            f"and the client are set to {_RATE} requests a second; the real service allows 10.\n",
            soft_wrap=True,
        )
        failed = run_sync(settings)
        failed = _push_back(console, settings) or failed
    with duckdb.connect(settings.warehouse, read_only=True) as con:
        con.execute("SET TimeZone = 'UTC'")
        for question, sql in _QUESTIONS.items():
            cursor = con.execute(sql)
            grid = Grid(*(column[0] for column in cursor.description), title=question, title_justify="left")
            for row in cursor.fetchall():
                grid.add_row(*map(str, row))
            console.print("", grid)
    console.print(
        f"\nDone in {time.monotonic() - started:.0f} s. The service is stopped, the data stays in {home}.\n"
        "  make dev                                    opens Dagster's UI on it: http://127.0.0.1:3000\n"
        "  .venv/bin/cio-assets sandbox --port 8085    starts the service again, to materialize from the UI:\n"
        "  CUSTOMERIO_APP_URL=http://127.0.0.1:8085 CUSTOMERIO_APP_API_KEY=sandbox-app-key \\\n"
        "  CUSTOMERIO_TRACK_URL=http://127.0.0.1:8085 CUSTOMERIO_SITE_ID=sandbox-site-id \\\n"
        "  CUSTOMERIO_TRACK_API_KEY=sandbox-track-key make dev",
        soft_wrap=True,
    )
    return int(failed)


_CHANGES = """
    UPDATE reverse_etl.persons SET engagement_score = engagement_score + 1
    WHERE cio_id IN (SELECT cio_id FROM reverse_etl.persons ORDER BY engagement_score DESC, cio_id LIMIT 5);
    INSERT INTO reverse_etl.persons (cio_id, engagement_score) VALUES (NULL, 12), (repeat('x', 151), 12)"""


def _push_back(console: Console, settings: Settings) -> bool:
    """Compute people's engagement, push it, change a few rows, push again; whether anything failed."""
    console.print("\nBack into Customer.io: two SQL assets score people by their opens and clicks.")
    definitions = with_examples(build_definitions(settings))
    definitions.resolve_job_def(JOB).execute_in_process(
        instance=open_instance(settings), run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    )
    failed = run_push(settings, ["persons", "events"])
    with duckdb.connect(settings.warehouse) as con:
        con.execute(_CHANGES)
        cio_id, score = con.execute(
            "SELECT cio_id, engagement_score FROM reverse_etl.persons ORDER BY engagement_score DESC, cio_id LIMIT 1"
        ).fetchall()[0]
    console.print(
        "\nFive scores were changed, two rows that nobody can be found by were added. The second push sends five:"
    )
    failed = run_push(settings, ["persons", "events"]) or failed
    list_rejects(settings, [], rows=False)
    with AppApi(settings).client() as client:
        call = Call("GET", "/v1/customers/{customer_id}/attributes", {"customer_id": cio_id}, {"id_type": "cio_id"})
        shown = client.send(call).body["customer"]["attributes"].get("engagement_score")
    console.print(f"The person who is engaged most has {score} in the warehouse, and {shown} in Customer.io.\n")
    return failed or shown != str(score)


if __name__ == "__main__":
    sys.exit(main())
