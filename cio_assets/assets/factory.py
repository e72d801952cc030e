"""A catalog row becomes a software-defined asset."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import dagster as dg

from cio_assets.assets.api import AppApi, Observer
from cio_assets.assets.asked import FULL_TAG, SYNC_TAG
from cio_assets.assets.checks import check_specs, checked
from cio_assets.assets.freshness import freshness_of
from cio_assets.assets.partitions import partitions_of
from cio_assets.assets.read_rows import read_rows
from cio_assets.assets.reading import Wanted, plan_stored
from cio_assets.assets.sources import code_version, sources_of
from cio_assets.assets.workspace_tags import tag_run, workspace_tags
from cio_assets.catalog import TABLES, Parent, Refresh, Table
from cio_assets.io_managers import StoredTable, ViewOver, WarehouseLoad
from cio_assets.settings import Settings
from cio_assets.warehouse.database import kind_of
from cio_assets.warehouse.load import declared_columns

PREFIX = "customerio"
POOL = "customerio_app"
"""Pool of what reads the App API: `dagster.yaml` says how many runs of it there may be at once."""


def asset_key(table: str) -> dg.AssetKey:
    """Key of a table's asset."""
    return dg.AssetKey([PREFIX, table])


def parent_columns(parent: Parent) -> list[str]:
    """Columns of a parent table that the reading of its children needs."""
    return list(dict.fromkeys((*parent.columns, *parent.marker)))


def build_asset(table: Table, settings: Settings) -> dg.AssetsDefinition:
    """The asset of a catalog row."""
    partitions = partitions_of(table, settings.start_date)
    common: dict[str, Any] = {
        "key": asset_key(table.name),
        "group_name": table.group,
        "description": f"{table.description}\n\n[API reference]({table.docs_url}). Requests: {table.requests}.",
        "kinds": {"customerio", _storage_kind(settings)},
        "owners": ["team:data"],
        "code_version": code_version(table),
        "io_manager_key": "warehouse",
        "tags": {"refresh": table.refresh.value},
        "freshness_policy": freshness_of(table) if settings.schedules == "on" else None,
        "metadata": {
            "dagster/column_schema": dg.TableSchema(
                columns=[dg.TableColumn(name, type_) for name, type_ in declared_columns(table).items()]
            ),
            "dagster/relation_identifier": f"{settings.warehouse_schema}.{table.name}",
            "key": ", ".join(table.key),
        },
    }
    if table.view:
        return _view_asset(table, TABLES[table.view.of], common)
    if partitions is not None:
        common |= {"partitions_def": partitions, "backfill_policy": dg.BackfillPolicy.single_run()}
    inputs = {
        parent.table: dg.AssetIn(
            key=asset_key(parent.table), metadata={"columns": parent_columns(parent)}, dagster_type=StoredTable
        )
        for parent in table.parents
    }

    def read(context: dg.AssetExecutionContext, **parents: StoredTable) -> WarehouseLoad:
        tag_run(context, workspace_tags(settings))
        api: AppApi = context.resources.customerio
        warehouse = context.resources.warehouse.warehouse
        if partitions is not None and not list(context.partition_keys):
            raise dg.Failure(
                "The run names no partition of this asset: give a range whose end is not before its start."
            )
        wanted = _wanted(table, context)
        plan = api.before_reading(table.name) or plan_stored(table, wanted, api, warehouse, parents)
        rows = read_rows(plan, wanted, api, api.observer or _log_to(context))
        api.after_reading(table.name)
        usage = rows.usage
        context.add_output_metadata(
            {
                "requests": usage.requests,
                "requests_spared": plan.asked.spared,
                "pages_from_an_earlier_run": rows.earlier_pages,
                "retries": usage.retries,
                # Summed over threads by the client; no run waits longer than it lasts.
                "seconds_waited_for_budget": dg.MetadataValue.float(round(min(usage.waited_seconds, rows.seconds), 1)),
                "seconds_reading": dg.MetadataValue.float(round(rows.seconds, 1)),
                "bytes_read": usage.bytes,
                "parents_gone": len(rows.extracted.gone),
                **rows.extracted.metadata,
            },
            output_name="result",
        )
        return plan.load(rows.staged, rows.began, rows.extracted, sources_of(api)(table.name))

    def materialize(context: dg.AssetExecutionContext, **parents: StoredTable) -> Iterator[Any]:
        yield from checked(read(context, **parents), settings.warehouse_schema)
        context.resources.customerio.after_loading(table.name)

    common["pool"] = POOL
    common["check_specs"] = check_specs(table, common["key"])
    return _asset(materialize, ins=inputs, required_resource_keys={"customerio", "warehouse"}, **common)


def _wanted(table: Table, context: dg.AssetExecutionContext) -> Wanted:
    window = context.partition_time_window if table.refresh is Refresh.WINDOW else None
    keys = list(context.partition_keys) if context.has_partition_key or context.has_partition_key_range else []
    tags = context.run.tags
    # Named by the first run: a repetition of it goes on with what that has read.
    full_pass = tags.get(SYNC_TAG) or tags.get("dagster/root_run_id") or context.run.run_id
    return Wanted(keys, window and (window.start, window.end), full_pass if tags.get(FULL_TAG) == "true" else "")


def _log_to(context: dg.AssetExecutionContext) -> Observer:
    return lambda table, requests, rows: context.log.info(f"{table}: {rows:,} rows, {requests:,} requests so far")


def _view_asset(view: Table, of: Table, common: Mapping[str, Any]) -> dg.AssetsDefinition:
    def define_view() -> ViewOver:
        return ViewOver(view, of)

    return _asset(define_view, deps=[asset_key(of.name)], **common)


def _asset(compute: Callable[..., Any], **arguments: Any) -> dg.AssetsDefinition:
    return dg.asset(**arguments)(compute)


def _storage_kind(settings: Settings) -> str:
    return kind_of(settings.warehouse).replace("md", "motherduck")
