"""Tries each credential, the region, the warehouse, the syncs once: what works, what does not, what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal
from uuid import uuid4

import duckdb

from cio_assets.assets.api import AppApi
from cio_assets.customerio import AppClient, Call, CredentialsRefused, CustomerioError, base_url
from cio_assets.customerio.region import look_up_region
from cio_assets.io_managers import make_warehouse
from cio_assets.reverse_etl.operations import missing_columns
from cio_assets.reverse_etl.rejects_sink import RejectsSinkError, make_sink
from cio_assets.reverse_etl.syncs_file import load_syncs
from cio_assets.settings import Settings, SettingsError
from cio_assets.warehouse import WarehouseError

_ATTEMPTS = 3


@dataclass(frozen=True)
class Finding:
    """One thing that was tried: it works, it is not set, or it does not work."""

    what: str
    state: Literal["ok", "off", "bad"]
    said: str


def check(settings: Settings) -> Iterator[Finding]:
    """Findings, one after the other as they are known."""
    yield _app(settings)
    yield _track(settings)
    yield _warehouse(settings)
    yield from _syncs(settings)
    if settings.rejects_uri:
        yield _rejects(settings)


def _app(settings: Settings) -> Finding:
    what = "App API (out of Customer.io)"
    api = AppApi(settings)
    try:
        with api.client(max_attempts=_ATTEMPTS) as client:
            workspaces = _workspaces(client)
    except SettingsError as error:
        return Finding(what, "bad", str(error))
    except CredentialsRefused as error:
        other = {"us": "eu", "eu": "us"}[settings.region]
        if settings.app_url is None and _works_in(settings, other):
            return Finding(what, "bad", f"the key is one of region {other}: set CUSTOMERIO_REGION={other}.")
        return Finding(what, "bad", str(error))
    except CustomerioError as error:
        return Finding(what, "bad", str(error))
    return Finding(what, "ok", f"the key works at {api.url} ({workspaces} workspaces in the account)")


def _workspaces(client: AppClient) -> int:
    body = client.send(Call("GET", "/v1/workspaces")).body
    return len(body.get("workspaces") or [])


def _works_in(settings: Settings, region: str) -> bool:
    with (
        suppress(CustomerioError),
        AppApi(settings.model_copy(update={"region": region})).client(max_attempts=_ATTEMPTS) as client,
    ):
        _workspaces(client)
        return True
    return False


def _track(settings: Settings) -> Finding:
    what = "Track API (into Customer.io)"
    if settings.site_id is None or settings.track_api_key is None:
        return Finding(
            what, "off", "CUSTOMERIO_SITE_ID and CUSTOMERIO_TRACK_API_KEY are not set: nothing can be pushed."
        )
    url = base_url("track", settings.region, settings.track_url)
    try:
        found = look_up_region(url, settings.site_id.get_secret_value(), settings.track_api_key.get_secret_value())
    except CustomerioError as error:
        return Finding(what, "bad", str(error))
    if found.region != settings.region:
        return Finding(
            what, "bad", f"the workspace lives in region {found.region}: set CUSTOMERIO_REGION={found.region}."
        )
    return Finding(what, "ok", f"the keys work at {url} (region {found.region}, workspace {found.environment_id})")


def _warehouse(settings: Settings) -> Finding:
    what = "Warehouse"
    try:
        warehouse = make_warehouse(settings)
        with warehouse.transaction() as con:
            table = warehouse.qualified(f"_check_{uuid4().hex}")
            con.execute(f"CREATE TABLE {table} (works BOOLEAN)")
            con.execute(f"DROP TABLE {table}")
    except WarehouseError as error:
        return Finding(what, "bad", str(error))
    except duckdb.Error as error:
        return Finding(
            what,
            "bad",
            f"CIO_WAREHOUSE: no table can be made in schema {settings.warehouse_schema} of {settings.warehouse_label} "
            f"({type(error).__name__}): see to the rights of its user, and to the room on its disk.",
        )
    return Finding(what, "ok", f"{settings.warehouse_label}, schema {settings.warehouse_schema}, can be written")


def _syncs(settings: Settings) -> Iterator[Finding]:
    """Each sync whose source is in the warehouse: whether it has the columns that it needs."""
    try:
        syncs = load_syncs(settings.syncs_file)
        warehouse = make_warehouse(settings)
        with warehouse.attached() as con:
            for sync in syncs:
                columns = warehouse.columns(con, *reversed(sync.source.split(".")))
                problem = missing_columns(sync, columns) if columns else None
                if problem:
                    yield Finding(f"Sync {sync.name}", "bad", f"{sync.source}: {problem}")
                elif columns:
                    yield Finding(f"Sync {sync.name}", "ok", f"{sync.source} has the columns that it needs")
    except SettingsError as error:
        yield Finding("Syncs", "bad", str(error))
    except WarehouseError:
        return  # said above, of the warehouse itself


def _rejects(settings: Settings) -> Finding:
    what = "Rejected rows"
    try:
        sink = make_sink(settings)
        if sink:
            sink.check()
    except (SettingsError, RejectsSinkError) as error:
        return Finding(what, "bad", str(error))
    return Finding(what, "ok", f"they are also written to {settings.rejects_uri}")
