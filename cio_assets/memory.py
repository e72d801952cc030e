"""Keeps the memory of a long run flat where the C library lets us say so."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress

_M_ARENA_MAX = -8  # <malloc.h>


def share_arenas() -> None:
    """Let glibc's threads share two arenas instead of up to eight a core.

    Threads that read pages leave each arena as large as its largest page; measured on a sync of 1 000 000 deliveries
    and 100 000 people: peak 660 MB without, 435 MB with. Does nothing where the C library is another.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)
