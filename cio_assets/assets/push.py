"""A sync becomes an asset: its rows stand in the warehouse, the IO manager `customerio_track` sends what differs."""

from __future__ import annotations

from datetime import date
from typing import Any

import dagster as dg

from cio_assets.assets.partitions import daily
from cio_assets.io_managers.track import Described
from cio_assets.reverse_etl.model import Kind, Sync
from cio_assets.warehouse.frames import Relation

PREFIX = "track"

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


def build_push_asset(sync: Sync, start: date) -> dg.AssetsDefinition:
    """The asset of a sync; `start` is the first daily partition of events."""
    partitions: dict[str, Any] = {}
    if sync.partitions:
        partitions = {"partitions_def": daily(start), "backfill_policy": dg.BackfillPolicy.single_run()}
    said = f"{_WHAT[sync.kind]} from `{sync.source}` into Customer.io: mode {sync.mode}, rows that left: {sync.gone}."

    def rows() -> Described:
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
