"""A tag by which a run of the command line tells the process that it lives in, so that its death can be noticed."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

PROCESS = "customerio/process"


def process_tag() -> dict[str, str]:
    """The tag for a run that this process executes itself."""
    return {PROCESS: f"{socket.gethostname()}/{os.getpid()}/{_started(os.getpid()) or 0}"}


def process_is_gone(tags: Mapping[str, str]) -> bool:
    """Whether the process of a run has ended; False where that cannot be told: another machine, or no such tag."""
    host, pid, started = ([*tags.get(PROCESS, "").rsplit("/", 2), "", ""])[:3]
    if host != socket.gethostname() or not pid.isdecimal() or not started.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:  # it is another user's
        return False
    # The number may belong to another process by now.
    return int(started) > 0 and _started(int(pid)) not in (int(started), None)


def _started(pid: int) -> int | None:
    """When a process began, in ticks since the machine did; None where the system does not tell it this way."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
