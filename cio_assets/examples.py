"""Two example assets that close the loop: people's engagement from the synced deliveries, to be pushed back.

They are loaded in the demo only; copy them into a project of your own and change the SQL.
"""

from __future__ import annotations

import dagster as dg

from cio_assets.warehouse.frames import Relation

JOB = "compute_examples"


@dg.asset(
    key=["reverse_etl", "persons"],
    deps=[["customerio", "customers"], ["customerio", "messages"]],
    group_name="reverse_etl",
    kinds={"sql"},
    io_manager_key="warehouse",
)
def persons() -> Relation:
    """An engagement score per person, 0 to 100: 3 for each opened delivery, 10 for each that was clicked."""
    return Relation("""
        SELECT c.cio_id,
               least(100, 3 * count(m.metrics->>'opened') + 10 * count(m.metrics->>'clicked'))::INTEGER
                   AS engagement_score,
               to_timestamp(max((m.metrics->>'opened')::BIGINT)) AS last_opened_at
        FROM customerio.customers c LEFT JOIN customerio.messages m ON m.cio_id = c.cio_id
        WHERE c._deleted_at IS NULL GROUP BY c.cio_id""")


@dg.asset(
    key=["reverse_etl", "events"],
    deps=[["customerio", "campaigns"], ["customerio", "messages"]],
    group_name="reverse_etl",
    kinds={"sql"},
    io_manager_key="warehouse",
)
def events() -> Relation:
    """An event for the first click of a person in a campaign."""
    return Relation("""
        SELECT m.cio_id AS person_cio_id, 'first_click' AS event_name, any_value(c.name) AS campaign,
               to_timestamp(min((m.metrics->>'clicked')::BIGINT)) AS timestamp
        FROM customerio.messages m JOIN customerio.campaigns c ON c.id = m.campaign_id
        WHERE m.cio_id IS NOT NULL AND (m.metrics->>'clicked') IS NOT NULL
        GROUP BY m.cio_id, m.campaign_id""")


def with_examples(definitions: dg.Definitions) -> dg.Definitions:
    """The definitions and the examples."""
    job = dg.define_asset_job(JOB, selection=dg.AssetSelection.assets(persons, events))
    return dg.Definitions.merge(definitions, dg.Definitions(assets=[persons, events], jobs=[job]))
