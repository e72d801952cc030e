"""The program as a process: what it says arrives, and it ends with its own code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from cio_assets_tests.conftest import environment

PROGRAM = "import atexit, sys; atexit.register(print, 'at the end'); from cio_assets.cli import command; command()"


def run(home: Path, *arguments: str, closed: bool = False, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run the program, buffered as it is behind a pipe; with `closed` it has no stdout."""
    env = environment(home, None, **extra)
    env.pop("PYTHONUNBUFFERED")
    program = [sys.executable, "-c", PROGRAM, *arguments]
    shell = ["sh", "-c", 'exec "$@" >&-', "sh"] if closed else []
    return subprocess.run([*shell, *program], env=env, cwd=home.parent, capture_output=True, text=True, check=False)


def test_what_is_left_to_the_end_is_done_and_said(home: Path) -> None:
    done = run(home, "rejects", "list")
    assert done.returncode == 0, done.stderr
    assert "No row is rejected" in done.stdout
    assert done.stdout.endswith("at the end\n")


def test_a_wrong_argument_has_its_code(home: Path) -> None:
    done = run(home, "plan", "--select", "nonsense")
    assert done.returncode == 2
    assert "nonsense" in done.stderr


def test_no_stdout_is_no_error(home: Path) -> None:
    done = run(home, "rejects", "list", closed=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_a_reader_that_has_gone_is_no_traceback(home: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing) as gone:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "rejects", "list"],
            env=environment(home) | {"PYTHONUNBUFFERED": ""},
            cwd=home.parent,
            stdout=gone,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "")


def test_in_a_pipe_no_table_is_cut_off(home: Path) -> None:
    done = run(home, "push", "persons", "segment_members", CUSTOMERIO_SITE_ID="s", CUSTOMERIO_TRACK_API_KEY="k")
    assert done.returncode == 0, done.stderr
    assert "…" not in done.stdout
    assert "segment_members: inactive, since its source is not in the warehouse" in done.stdout


def test_what_cannot_be_a_key_is_said_once(home: Path) -> None:
    done = run(home, "sync", CUSTOMERIO_APP_API_KEY="of two words")
    assert (done.returncode, done.stdout) == (2, "at the end\n")
    assert done.stderr.startswith("CUSTOMERIO_APP_API_KEY holds white space")
    assert "words" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
