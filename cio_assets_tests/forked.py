"""The command line in processes that are forked from one which has loaded it: a second less for each of hundreds."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from cio_assets.cli import main

_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload([__name__, "cio_assets.console", "cio_assets.check", "pandas"])


def run(arguments: Sequence[str], env: Mapping[str, str], cwd: Path, timeout: float) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command; raises `TimeoutError` after `timeout` seconds."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        folder = Path("/proc") / str(os.getpid()) / "fd"
        files = [str(folder / str(file.fileno())) for file in (out, err)]
        process = _FORKED.Process(target=_run, args=(list(arguments), dict(env), str(cwd), files))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            raise TimeoutError(f"cio-assets {' '.join(arguments)} took more than {timeout} s")
        texts = [os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode() for file in (out, err)]
        return process.exitcode or 0, texts[0], texts[1]


def _run(arguments: list[str], env: dict[str, str], cwd: str, files: list[str]) -> None:
    for stream, path in enumerate(files, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), stream)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.exit(main(arguments))
