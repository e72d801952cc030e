"""Keeps the memory of a long run flat where the C library lets us say so."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # <malloc.h>


def give_memory_back() -> None:
    """Let glibc's threads share two arenas instead of up to eight a core, and return large blocks to the system.

    Threads that read pages leave each arena as large as its largest page, and glibc keeps larger and larger blocks once
    it was asked for them. Measured on a sync of 1 000 000 deliveries and 100 000 people: peak 540 MB with the arenas
    alone, 480 MB with both. Does nothing where the C library is another.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(_M_ARENA_MAX, 2)
            mallopt(_M_MMAP_THRESHOLD, 128 * 1024)
