"""What the sensors of failed runs share: the reason of a failure in words that are safe to send on."""

from __future__ import annotations

from typing import Any, Final

import dagster as dg

DIED: Final = "its run ended without saying why: its process was killed, or never started."
"""The reason of a run that failed without a failed step."""


def reason_of(error: Any) -> str:
    """Of a step's error (`SerializableErrorInfo`) our own message; of others, which may quote values, the class."""
    last = "an error"
    while error is not None:
        message = error.message.strip()
        if message.startswith("cio_assets."):
            text = message.partition(": ")[2]
            return text if text.endswith((".", "!", "?")) else f"{text}."
        last = error.cls_name or last
        error = error.cause
    return f"{last}; the run's own page tells more."


def will_retry(run: dg.DagsterRun) -> bool:
    """Whether Dagster itself starts the run once more; a run of the command line it cannot start again."""
    return run.tags.get("dagster/will_retry") == "true" and run.remote_job_origin is not None


def status_of(on: bool) -> dg.DefaultSensorStatus:
    """The status of a sensor until somebody switches it."""
    return dg.DefaultSensorStatus.RUNNING if on else dg.DefaultSensorStatus.STOPPED
