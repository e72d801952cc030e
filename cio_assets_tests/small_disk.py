"""A small disk of the test's own: a tmpfs in a mount namespace that goes with the test, whatever happens."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from cio_assets_tests.conftest import Finished

# Root may be forbidden to mount (a container); others may be allowed to in a user namespace of their own.
_WAYS = (["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"])
_HOLD = 'mount -t tmpfs -o "size=$1,mode=700" small-disk "$2" && echo mounted && read -r _'


class SmallDisk:
    """Runs commands that see the disk at `path`; others see an empty folder there."""

    def __init__(self, path: Path, holder: subprocess.Popen[str], way: list[str]) -> None:
        self.path = path
        self._enter = ["nsenter", f"--target={holder.pid}", "--mount"]
        self._enter += ["--user", "--preserve-credentials"] if "--map-root-user" in way else []
        self.seen = Path(f"/proc/{holder.pid}/root{path}")
        """The disk's files, for this process."""

    def copy(self, name: str) -> Path:
        """A copy of a file beside the disk: what resolves links, as DuckDB does, does not find the file itself."""
        return Path(shutil.copy(self.seen / name, self.path.with_name(f"copy-of-{name}")))

    def run(self, command: list[str], env: Mapping[str, str], cwd: Path) -> Finished:
        """Run a command that sees the disk."""
        done = subprocess.run(
            [*self._enter, f"--wdns={cwd}", *command],
            env=dict(env),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def remount(self, options: str) -> None:
        """Change its size (`size=64m`) or make it read-only (`ro`) or not (`rw`)."""
        done = self.run(["mount", "-o", f"remount,{options}", "small-disk", str(self.path)], os.environ, Path("/"))
        assert done.code == 0, done.err


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[SmallDisk]:
    """A disk of `size` (`1m`) at the folder `path`; skips the test where the system lets nobody mount one."""
    path.mkdir(parents=True, exist_ok=True)
    said = []
    for way in _WAYS if shutil.which("unshare") else ():
        holder = subprocess.Popen(
            [*way, "sh", "-c", _HOLD, "sh", size, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with holder:
            assert holder.stdout is not None
            assert holder.stderr is not None
            if holder.stdout.readline() == "mounted\n":
                yield SmallDisk(path, holder, way)
                return
            said.append(f"{' '.join(way)}: {holder.stderr.read().strip()}")
    pytest.skip(f"NOT TESTED: what happens when a disk is full. No tmpfs can be mounted here ({'; '.join(said)}).")
