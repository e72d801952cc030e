"""A push in a process of its own, to be killed: `python -m … FOLDER BOX_JSON KIND`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cio_assets_tests.reverse_etl.pushing import EVENTS, PERSONS, Pushing


def main() -> None:
    """Push, say so."""
    folder, box, kind = sys.argv[1:]
    pushing = Pushing(type("Box", (), json.loads(box)), Path(folder), workers=3)  # pyright: ignore[reportArgumentType]  # as much of a handle as is needed
    print("begins", flush=True)
    pushing.push({"persons": PERSONS, "events": EVENTS}[kind])
    print("done", flush=True)


if __name__ == "__main__":
    main()
