"""What a process loads when it first opens a home and runs something in it: once for all that are forked from it."""

from __future__ import annotations

import dagster as dg

from cio_assets_tests.in_process import QUIET


@dg.asset
def _something() -> None:
    pass


with dg.DagsterInstance.local_temp(overrides={"telemetry": {"enabled": False}}) as _instance:
    dg.materialize([_something], instance=_instance, run_config=QUIET)
