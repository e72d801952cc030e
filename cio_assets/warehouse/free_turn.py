"""The lock file of `cio_assets.turns`, for those who would rather come back later than queue for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

try:
    import fcntl
except ImportError:  # not there on Windows
    fcntl = None


@contextmanager
def turn_if_free(path: Path) -> Iterator[None]:
    """Hold the lock at `path` for the block, where nobody does; whoever asks for a `turn` meanwhile queues.

    Raises BlockingIOError where somebody holds it, in this process or another, and OSError where it cannot be opened.
    """
    if fcntl is None:
        try:
            with FileLock(f"{path}.lock", timeout=0):
                yield
        except Timeout:
            raise BlockingIOError(f"{path.name} is held") from None
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        # It belongs to this opening of the file, so it also keeps out the other threads of this process.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a process forked meanwhile would keep it through the close
    finally:
        os.close(descriptor)
