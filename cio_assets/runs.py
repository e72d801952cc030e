"""What the command line's runs of Dagster jobs share: the home, the instance, and the reading of failures."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from cio_assets.event_log import keep_open
from cio_assets.settings import Settings, SettingsError
from cio_assets.turns import turn


def prepare_home(settings: Settings) -> Path:
    """Make DAGSTER_HOME with our `dagster.yaml` where it has none, and export it for Dagster."""
    home = settings.dagster_home.absolute()
    configuration = Path(__file__).parents[1] / "dagster.yaml"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if configuration.exists() and not (home / "dagster.yaml").exists():
            shutil.copy(configuration, home / "dagster.yaml")
        if not os.access(home, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise SettingsError(f"DAGSTER_HOME {home} cannot be written ({error.strerror}): give another folder.") from None
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")  # also where dagster.yaml is another's
    return home


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The instance of DAGSTER_HOME, one process after the other: Dagster makes its tables without a lock."""
    with turn(settings.dagster_home.absolute() / "instance.lock"):
        instance = dg.DagsterInstance.get()
    keep_open(instance)
    return instance


@contextmanager
def watching_for_signals() -> Iterator[Callable[[], bool]]:
    """Tells whether SIGINT or SIGTERM came since it was last asked, whoever has handled it; in the main thread only.

    Dagster notes them while it runs a job, and forgets one that came behind its last look.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def came() -> bool:
        try:
            return not {signal.SIGINT, signal.SIGTERM}.isdisjoint(os.read(reading, 65536))
        except BlockingIOError:
            return False

    try:
        yield came
    finally:
        signal.set_wakeup_fd(before)
        os.close(writing)
        os.close(reading)


def _chain(error: Any) -> list[Any]:
    """An error of a run's event, and what caused it."""
    chain = []
    while error is not None:
        chain.append(error)
        error = error.cause
    return chain


def interrupted(error: Any) -> bool:
    """Whether a step ended because somebody stopped the process."""
    return any(one.cls_name == "DagsterExecutionInterruptedError" for one in _chain(error))


def failure_message(error: Any) -> str:
    """What our own code said, which tells what to do, without Dagster's words around it."""
    chain = _chain(error)
    if not chain:
        return "failed"
    ours = next((one for one in chain if not (one.cls_name or "").startswith("Dagster")), chain[-1])
    name, _, message = ours.message.partition(": ")
    return (message if name.endswith(ours.cls_name or "?") else ours.message).strip()


def is_refusal(error: Any) -> bool:
    """Whether the credentials were refused (401)."""
    return any(one.cls_name == "CredentialsRefused" and " 401" in one.message for one in _chain(error))
