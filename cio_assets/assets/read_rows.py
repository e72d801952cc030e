"""Asks what a plan says and stages the rows, where an earlier run of the same plan left off."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import datetime

from cio_assets.assets.api import AppApi, Observer, observed
from cio_assets.assets.extract import Extracted
from cio_assets.assets.reading import Plan, Wanted
from cio_assets.assets.sources import sources_of
from cio_assets.customerio import CredentialsRefused
from cio_assets.customerio.usage import UsageSnapshot
from cio_assets.warehouse import Staged, Staging


@dataclass(frozen=True)
class ReadRows:
    """Staged rows, when their reading began, and what it cost now; pages that were staged before cost nothing."""

    staged: Staged
    began: datetime
    extracted: Extracted
    usage: UsageSnapshot
    seconds: float
    earlier_pages: int


class Occupied(Exception):
    """Another run is reading the table: nothing that is read beside it would be kept."""


AHEAD, EARLIER = "read ahead", "earlier pages"
"""Notes of a reading ahead for the asset that loads the rows: its cost, and how many pages it had found staged."""


def read_rows(plan: Plan, wanted: Wanted, api: AppApi, observer: Observer, *, ahead: bool = False) -> ReadRows:
    """Read; whoever loads the rows discards them, or keeps them for the next run. Raises what the client raises.

    `ahead`: for another reader of this very sync, whose cost this is then; raises `Occupied`.
    """
    started, name = time.monotonic(), plan.table.name
    inputs = f"{plan.fingerprint(sources_of(api)(name))} {wanted.full_pass}"
    slot = " ".join(wanted.partition_keys)
    with (
        api.client() as client,
        Staging(api.settings.staging_dir, name, inputs, slot=slot, began=plan.at) as staging,
    ):
        if ahead and not staging.durable:
            raise Occupied
        try:
            with observed(observer, name, client, staging):
                extracted = plan.read(client, staging)
        except CredentialsRefused as error:
            api.remember(error)
            raise
        usage = client.usage.snapshot()
        pages = staging.resumed_pages
        if ahead:
            spent = {name: getattr(usage, name) for name in ("requests", "retries", "bytes")}
            staging.note(**{AHEAD: spent, EARLIER: pages})
        else:
            before = staging.noted.get(AHEAD) or {}
            usage = replace(usage, **{name: getattr(usage, name) + spent for name, spent in before.items()})
            pages = staging.noted.get(EARLIER, pages)
        staged = staging.finish()
    return ReadRows(staged, staging.began, extracted, usage, time.monotonic() - started, pages)
