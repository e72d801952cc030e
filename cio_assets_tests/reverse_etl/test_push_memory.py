"""Wide rows are pushed in little memory: what fits arrives, what is too long is rejected."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cio_assets import sandbox
from cio_assets_tests.conftest import PROJECT, peak_megabytes
from cio_assets_tests.reverse_etl.pushing import Pushing, sync

_NOTES = ", ".join(f"repeat(chr(97 + ((i + {number}) % 26)::INT), 1000) AS note_{number}" for number in range(30))
SOURCES = {
    "thirty notes of 1 kB": ("persons", f"SELECT 'u_' || i AS id, {_NOTES} FROM range(6000) t(i)", 6000, {}),
    "pages of 50 kB": (
        "persons",
        """SELECT 'u_' || i AS id, CASE WHEN i % 2 = 0 THEN 'ok' ELSE repeat(chr(97 + (i % 26)::INT), 50000) END AS html
           FROM range(4000) t(i)""",
        2000,
        {"value_too_long": 2000},
    ),
    "events of 8 kB": (
        "events",
        """SELECT 'u_' || i AS person_id, 'bought' AS event_name, repeat(chr(97 + (i % 26)::INT), 8000) AS note,
                  TIMESTAMP '2026-01-01' + INTERVAL (i) SECOND AS timestamp FROM range(20000) t(i)""",
        20_000,
        {},
    ),
}
MOST_MEGABYTES = {"pages of 50 kB": 850}  # rejected rows are kept whole: 100 MB of them here


@pytest.mark.slow
@pytest.mark.parametrize("name", SOURCES)
def test_wide_rows_need_little_memory(name: str, empty_box: sandbox.Sandbox, tmp_path: Path) -> None:
    kind, select, accepted, rejected = SOURCES[name]
    Pushing(empty_box, tmp_path).sql(f"CREATE TABLE reverse_etl.{kind} AS {select}")
    box = {"url": empty_box.url, "site_id": empty_box.site_id, "track_key": empty_box.track_key}
    done = subprocess.run(  # a process of its own, for its memory is measured
        [sys.executable, "-m", __name__, str(tmp_path), json.dumps(box), kind],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-1500:]
    found = json.loads(done.stdout)
    assert (found["accepted"], found["rejected"]) == (accepted, rejected)
    assert found["megabytes"] < MOST_MEGABYTES.get(name, 600)


def main() -> None:
    """Push, and say what came of it and what it took: `python -m … FOLDER BOX_JSON KIND`."""
    folder, box, kind = sys.argv[1:]
    pushing = Pushing(type("Box", (), json.loads(box)), Path(folder))  # pyright: ignore[reportArgumentType]  # as much of a handle as is needed
    result = pushing.push(sync(kind))
    said = {"accepted": result.accepted, "rejected": dict(result.rejected), "megabytes": peak_megabytes()}
    print(json.dumps(said))


if __name__ == "__main__":
    main()
