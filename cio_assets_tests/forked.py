"""Processes that are forked from one which has loaded everything: a second less for each of hundreds."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from cio_assets.cli import main
from cio_assets.sandbox import Sandbox, SandboxOptions, serve
from cio_assets_tests import revisions

revisions.read_once()
_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(
    [
        __name__,
        "cio_assets.console",
        "cio_assets.check",
        "cio_assets.sandbox.server",
        "pandas",
        "cio_assets_tests.warmed",
    ]
)


def run(arguments: Sequence[str], env: Mapping[str, str], cwd: Path, timeout: float) -> tuple[int, str, str]:
    """Run `cio-assets`: exit code, stdout and stderr; raises `TimeoutError` after `timeout` seconds."""
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


@contextmanager
def launch(**options: Any) -> Iterator[Sandbox]:
    """As `cio_assets.sandbox.launch`."""
    chosen = SandboxOptions(**{"port": 0, **options})
    reader, writer = _FORKED.Pipe(duplex=False)
    process = _FORKED.Process(target=_serve, args=(chosen, writer))
    process.start()
    writer.close()
    try:
        with os.fdopen(os.dup(reader.fileno())) as said:
            line = said.readline()
        if not line.startswith("sandbox ready on "):
            raise RuntimeError("the sandbox did not start")
        yield Sandbox(line.split()[-1], chosen, process.pid or 0)
    finally:
        process.kill()
        process.join()
        reader.close()


def _run(arguments: list[str], env: dict[str, str], cwd: str, files: list[str]) -> None:
    for stream, path in enumerate(files, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), stream)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.exit(main(arguments))


def _serve(options: SandboxOptions, said: Connection) -> None:
    os.dup2(said.fileno(), sys.stdout.fileno())
    said.close()
    os.environ["CIO_SANDBOX_PARENT"] = str(os.getppid())  # the process forked from, which ends with the tests
    serve(options)
