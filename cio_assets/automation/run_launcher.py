"""Dagster's own run launcher, which can also tell whether a run's process is still there: named in `dagster.yaml`.

With the stock launcher a run whose machine was switched off is "started" for ever: it would hold its place in the
queue and keep the next tick of its schedule from starting. With this one `run_monitoring` finds it and marks it as
failed, `run_retries` starts it once more from where it was, and staging continues with the page that came last.
"""

from __future__ import annotations

import dagster as dg
import grpc
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster_shared.serdes import deserialize_value

from cio_assets.automation.process_tag import process_is_gone

_SECONDS = 10
"""For an answer of the code server, which is asked on its machine; a slow one is no dead one."""


class WatchfulRunLauncher(dg.DefaultRunLauncher):
    """A run's process is a child of the code server that started it: the server knows, or is gone itself.

    A run is dead when two looks one after the other say so, for its end may be written between a look and its answer.
    A run of the command line has no code server: its tag names its process (`process_tag`).
    """

    def __init__(self, inst_data: dg.ConfigurableClassData | None = None) -> None:
        super().__init__(inst_data)
        self._missed: set[str] = set()

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether `run_monitoring` may ask."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether the run's process is at work."""
        gone = self.why_gone(run)
        if gone and run.run_id in self._missed:
            self._missed.discard(run.run_id)
            return CheckRunHealthResult(WorkerStatus.FAILED, gone)
        if gone:
            self._missed.add(run.run_id)
        else:
            self._missed.discard(run.run_id)
        return CheckRunHealthResult(WorkerStatus.RUNNING)

    def why_gone(self, run: dg.DagsterRun) -> str | None:
        """What tells that the run's process is not there; None for one that is, or waits, or cannot be looked at."""
        client = self._get_grpc_client_for_termination(run.run_id)
        if client is None:
            return "The process of the command line has ended." if process_is_gone(run.tags) else None
        try:
            answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id), timeout=_SECONDS)
        except DagsterUserCodeUnreachableError as error:
            cause = error.__cause__
            refused = isinstance(cause, grpc.RpcError) and cause.code() is grpc.StatusCode.UNAVAILABLE  # pyright: ignore[reportAttributeAccessIssue]  # calls have a code, their stubs do not
            return "The code server that started the run is gone, and the run with it." if refused else None
        known = deserialize_value(answer, CanCancelExecutionResult).can_cancel
        return None if known else "The code server knows of no process of the run."
