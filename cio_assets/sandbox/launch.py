"""Starts a sandbox in a process of its own and gives a handle to its address and its controls."""

import json
import os
import queue
import ssl
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from cio_assets.sandbox.options import SandboxOptions

ROOT = Path(__file__).resolve().parents[2]


class Sandbox:
    """A running sandbox."""

    def __init__(self, url: str, options: SandboxOptions, pid: int) -> None:
        self.url = url
        self.app_key = options.app_key
        self.site_id = options.site_id
        self.track_key = options.track_key
        self.pid = pid
        self._trust = ssl.create_default_context(cafile=options.tls_certificate) if options.tls_certificate else None

    def stats(self, arrivals: bool = False) -> dict[str, Any]:
        """Return what clients did since the start or the last reset."""
        return self._call("/stats" + ("?arrivals=1" if arrivals else ""))

    def reset_stats(self) -> None:
        """Forget what clients did."""
        self._call("/stats/reset", {})

    def truth(self, table: str, **params: Any) -> list[dict[str, Any]]:
        """Return the rows a correct reader must end up with."""
        text = self._text(f"/truth/{table}?{urlencode(params)}", None)
        return [json.loads(line) for line in text.split("\n") if line]

    def person(self, kind: str, value: str) -> dict[str, str] | None:
        """Return the attributes of the living person with an `id`, `email`, `phone` or `cio_id`, as texts."""
        return self._call(f"/person?{urlencode({'kind': kind, 'value': value})}")["attributes"]

    def mutate(self, kind: str, **arguments: Any) -> dict[str, Any]:
        """Change the world; returns what was changed."""
        return self._call("/mutate", {"kind": kind, **arguments})

    def faults(
        self, rates: dict[str, float] | None = None, rules: list[dict[str, Any]] | None = None, **settings: Any
    ) -> dict[str, Any]:
        """Replace the fault plan; without arguments nothing goes wrong any more."""
        return self._call("/faults", {"rates": rates or {}, "rules": rules or [], **settings})

    def clock(self, **arguments: Any) -> float:
        """Move the clock by `advance_seconds` or to `now`; returns its time."""
        return self._call("/clock", arguments)["now"]

    def _call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return json.loads(self._text(path, body))

    def _text(self, path: str, body: dict[str, Any] | None) -> str:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_sandbox{path}", data)
        secure = [urllib.request.HTTPSHandler(context=self._trust)] if self._trust else []
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), *secure)
        try:
            with opener.open(request, timeout=300) as response:
                return response.read().decode()
        except urllib.error.HTTPError as error:
            raise ValueError(error.read().decode()) from None


@contextmanager
def launch(start_timeout: float = 120, **options: Any) -> Iterator[Sandbox]:
    """Run `python -m cio_assets.sandbox` with some SandboxOptions on a free port; RuntimeError where it fails."""
    chosen = SandboxOptions(**{"port": 0, **options})
    command = [sys.executable, "-m", "cio_assets.sandbox"]
    for name, value in asdict(chosen).items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            command.append(flag)
        elif value is not False and value is not None:
            command.append(f"{flag}={value}")
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "CIO_SANDBOX_PARENT": str(os.getpid())}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        )
        try:
            line = _first_line(process, start_timeout)
            if not line.startswith("sandbox ready on "):
                errors.seek(0)
                raise RuntimeError(f"the sandbox did not start: {errors.read().decode(errors='replace')[-4000:]}")
            yield Sandbox(line.split()[-1], chosen, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout:
                process.stdout.close()


def _first_line(process: "subprocess.Popen[str]", timeout: float) -> str:
    """Return the first line of a process, "" where it ends or the time passes without one."""
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        lines.put(process.stdout.readline() if process.stdout else "")

    threading.Thread(target=read, daemon=True).start()
    try:
        return lines.get(timeout=timeout)
    except queue.Empty:
        return ""
