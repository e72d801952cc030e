"""What the tests of refused rows' files share: rows, how they are written, and a running S3 server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import traceback
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from cio_assets.reverse_etl.rejects_sink import RejectsSink, RejectsSinkError, make_sink
from cio_assets.settings import load_settings

NOON = datetime(2026, 2, 3, 12, 30, 5, tzinfo=UTC)
RUN = "5f0c1f5e-8f0d-4a57-9a39-0c1c6f6b8a11"
ROWS = [b'{"row":1}', b'{"name":"Zo\xc3\xab \xf0\x9f\x8e\x89"}\n', b'{"row":3}']
STORED = '{"row":1}\n{"name":"Zoë 🎉"}\n{"row":3}\n'.encode()


@dataclass(frozen=True)
class Aws:
    """A running server."""

    url: str

    def client(self, service: str) -> Any:
        """For the test's own looking; the administrator's keys."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="admin",
            aws_secret_access_key="admin",
            config=Config(retries={"total_max_attempts": 1}),
            verify=False,
        )

    def post(self, path: str, body: str = "") -> bytes:
        """The server's own switches."""
        plain = {"Content-Type": "text/plain"}
        with urllib.request.urlopen(urllib.request.Request(self.url + path, body.encode(), plain)) as answer:
            return answer.read()

    def objects(self, bucket: str) -> dict[str, bytes]:
        """Key -> content."""
        s3 = self.client("s3")
        try:
            keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
            return {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}
        finally:
            s3.close()


def serve(folder: Path, *options: str) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {name: value for name, value in os.environ.items() if not is_aws(name)}
    with (folder / "moto.log").open("wb") as log:
        server = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from moto.server import main; main()",
                "-H",
                "127.0.0.1",
                "-p",
                str(port),
                *options,
            ],
            stdout=log,
            stderr=log,
            env=env,
            cwd=folder,
        )
    try:
        for _ in range(600):
            assert server.poll() is None, (folder / "moto.log").read_text()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)  # a process of its own: there is no clock to pass
        yield port
    finally:
        server.terminate()
        server.wait(20)


def is_aws(name: str) -> bool:
    return name.upper().startswith("AWS_") or name.lower().endswith("_proxy")


def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials and no proxy of the developer's."""
    for name in list(os.environ):
        if is_aws(name) or name.startswith(("CIO_", "CUSTOMERIO_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.chdir(tmp_path)


def sink_to(uri: object, **settings: str) -> RejectsSink:
    sink = make_sink(load_settings(rejects_uri=str(uri), **settings))
    assert sink is not None
    return sink


def write(sink: RejectsSink, **other: Any) -> str:
    return sink.write(**{"sync": "persons", "run_id": RUN, "moment": NOON, "lines": ROWS, **other})


def failure(sink: RejectsSink) -> str:
    """What both `check` and `write` say, which is one sentence without a key."""
    said = []
    for attempt in (sink.check, lambda: write(sink)):
        with pytest.raises(RejectsSinkError) as caught:
            attempt()
        everything = "".join(traceback.format_exception(caught.value))
        for secret in ("s3cr3t", "AKIA", os.environ.get("AWS_SECRET_ACCESS_KEY", "s3cr3t")):
            assert secret not in everything
        assert "botocore.exceptions" not in everything
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert said[0].endswith(".")
    assert "\n" not in said[0]
    return said[0]


MANY_LINES = """
    import sys
    from datetime import UTC, datetime
    from cio_assets.reverse_etl.rejects_sink import make_sink
    from cio_assets.settings import load_settings
    from cio_assets_tests.conftest import peak_megabytes
    sink = make_sink(load_settings(rejects_uri=sys.argv[1], dagster_home=sys.argv[2]))
    sink.write("persons", "small", datetime.now(UTC), [b"{}"])
    before = peak_megabytes()
    line = b"x" * 999
    location = sink.write("persons", "large", datetime.now(UTC), (line for _ in range(50_000)))
    print(peak_megabytes() - before, location)
"""
