"""A lock file that the threads and processes of a machine queue for; the kernel frees it when its holder dies.

`flock` where there is one: the kernel wakes the first of the queue, where polling (all that the package `filelock`
offers, used on other systems) lets a busy process take every turn.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

try:
    import fcntl
except ImportError:  # not there on Windows
    fcntl = None

_in_process: dict[str, threading.Lock] = {}
_guard = threading.Lock()


@contextlib.contextmanager
def turn(path: Path) -> Iterator[None]:
    """Hold the lock at `path` for the block, after everyone who asked before. Not reentrant.

    Raises OSError where the file cannot be made or opened.
    """
    with _guard:
        mine = _in_process.setdefault(os.fspath(path.absolute()), threading.Lock())
    with mine:
        # Opened anew for every turn: a file removed under a running process heals itself, and a fork shares no lock.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            with locked(descriptor, path):
                yield
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def locked(descriptor: int, path: Path) -> Iterator[None]:
    """Hold the lock of an open file for the block, among processes. Raises OSError."""
    if fcntl is None:
        with FileLock(f"{path}.lock", poll_interval=0.005, thread_local=False):  # another thread may release it
            yield
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextlib.contextmanager
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
