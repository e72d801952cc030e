"""A sync becomes an asset: its rows stand in the warehouse, the IO manager `customerio_track` sends what differs."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import dagster as dg

from cio_assets.assets.partitions import daily
from cio_assets.assets.workspace_tags import tag_run
from cio_assets.io_managers.track import Described
from cio_assets.reverse_etl.model import Kind, Sync
from cio_assets.warehouse.frames import Relation

PREFIX = "track"
RUN_TAGS = {"dagster/retry_on_asset_or_op_failure": "false"}
"""A run is repeated by itself only where the process died: of a push that failed with a reason every accepted row is
noted, and its sensor asks for it again after a while, when a retry in the same second would meet the same reason."""

_WHAT = {
    Kind.PERSONS: "People with their attributes",
    Kind.EVENTS: "Events of people",
    Kind.OBJECTS: "Objects with their attributes",
    Kind.RELATIONSHIPS: "Relationships of people to objects",
    Kind.DEVICES: "Devices of people",
    Kind.SEGMENT_MEMBERS: "Members of manual segments",
    Kind.REMOVALS: "People to delete or suppress",
    Kind.MERGES: "People to merge",
}


def push_key(sync: Sync) -> dg.AssetKey:
    """Key of a sync's asset."""
    return dg.AssetKey([PREFIX, sync.name])


def source_key(sync: Sync) -> dg.AssetKey:
    """Key of the asset that makes a sync's rows, whoever that is."""
    return dg.AssetKey(sync.source.split("."))


def build_push_asset(sync: Sync, start: date, run_tags: Mapping[str, str]) -> dg.AssetsDefinition:
    """The asset of a sync; `start` is the first daily partition of events, `run_tags` are on every run of it."""
    partitions: dict[str, Any] = {}
    if sync.partitions:
        partitions = {"partitions_def": daily(start), "backfill_policy": dg.BackfillPolicy.single_run()}
    said = f"{_WHAT[sync.kind]} from `{sync.source}` into Customer.io: mode {sync.mode}, rows that left: {sync.gone}."

    def rows(context: dg.AssetExecutionContext) -> Described:
        tag_run(context, {**run_tags, **RUN_TAGS})
        return Described(sync, Relation(sync.source))

    return dg.asset(
        key=push_key(sync),
        deps=[source_key(sync)],
        group_name=PREFIX,
        description=f"{sync.description}\n\n{said}".strip(),
        kinds={"customerio"},
        owners=["team:data"],
        io_manager_key="customerio_track",
        tags={"sync": sync.kind.value, "mode": sync.mode.value},
        metadata={"dagster/relation_identifier": sync.source},
        **partitions,
    )(rows)
