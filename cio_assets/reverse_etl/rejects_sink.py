"""Writes refused rows as JSON lines into a folder or an S3 bucket (CIO_REJECTS_URI). It knows files and S3, no rows.

What comes out of boto3 is never repeated, for its messages may hold access keys: only S3's error code is.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from itertools import chain, count
from pathlib import Path
from secrets import token_hex
from threading import Lock
from types import ModuleType
from typing import IO, Any
from urllib.parse import urlsplit

from cio_assets.settings import Settings, SettingsError

_PIECE = 1 << 20  # bytes
_PART = 8 << 20  # bytes; one part of an upload is in memory at a time
_TIMEOUTS = {"connect_timeout": 10, "read_timeout": 60}  # seconds


class RejectsSinkError(Exception):
    """One sentence: why refused rows cannot be written to CIO_REJECTS_URI, and what to do. It holds no secret."""


class RejectsSink(ABC):
    """Where refused rows are written besides the warehouse. Thread-safe; use one for a whole run."""

    @abstractmethod
    def check(self) -> None:
        """Find out whether `write` would work, and leave nothing behind but a folder. Raises RejectsSinkError."""

    @abstractmethod
    def _store(self, folder: str, name: str, lines: Iterable[bytes]) -> str:
        """Write one file, whole or not at all, and return where it is."""

    def write(self, sync: str, run_id: str, moment: datetime, lines: Iterable[bytes]) -> str:
        """Write JSON lines, each without or with its line end, to `<uri>/<sync>/<YYYY-MM-DD>/<HHMMSS>-<run_id>.jsonl`.

        The time is in UTC. Returns the location; without lines nothing is written and the location is empty. A second
        file of the same run and second gets a number. Memory stays flat. Raises RejectsSinkError; what `lines` raises
        goes through, and nothing is written then.
        """
        if moment.tzinfo is None:
            raise ValueError("the moment has no time zone")
        filled = (line.rstrip(b"\n") + b"\n" for line in lines if line.strip())
        first = next(filled, None)
        if first is None:
            return ""
        moment = moment.astimezone(UTC)
        folder = f"{_plain(sync)}/{moment:%Y-%m-%d}"
        return self._store(folder, f"{moment:%H%M%S}-{_plain(run_id)}", chain((first,), filled))


def make_sink(settings: Settings) -> RejectsSink | None:
    """The sink that CIO_REJECTS_URI names; None where it is not set. Raises SettingsError where boto3 is missing."""
    uri = settings.rejects_uri
    if uri is None:
        return None
    if not uri.startswith("s3://"):
        return _Folder(Path(uri))
    if find_spec("boto3") is None:
        raise SettingsError("CIO_REJECTS_URI names an S3 bucket, and boto3 is missing: pip install 'cio-assets[s3]'.")
    external_id = settings.rejects_external_id
    return _Bucket(
        uri,
        role_arn=settings.rejects_role_arn,
        external_id=external_id.get_secret_value() if external_id else None,
        scratch=settings.outbox_dir,
    )


class _Folder(RejectsSink):
    def __init__(self, folder: Path) -> None:
        self._root = folder
        self._lock = Lock()

    def check(self) -> None:
        with self._failures():
            _make_private(self._root)
            with tempfile.TemporaryFile(dir=self._root):
                pass

    def _store(self, folder: str, name: str, lines: Iterable[bytes]) -> str:
        parent = self._root / folder
        part = parent / f".{name}.{token_hex(4)}.part"
        try:
            with self._failures():
                _make_private(parent)
                file = os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0)
            with file:
                for piece in _pieces(lines):
                    with self._failures():
                        _write_all(file, piece)
                with self._failures():
                    os.fsync(file.fileno())
            with self._failures(), self._lock:
                target = next(path for path in (parent / each for each in _numbered(name)) if not path.exists())
                part.rename(target)
        finally:
            with suppress(OSError):  # it has been renamed, or never was
                part.unlink()
        return str(target)

    @contextmanager
    def _failures(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise RejectsSinkError(
                f"CIO_REJECTS_URI: the folder {self._root} cannot be written ({_reason(error)}): "
                "see to its rights and to the room on its disk, or give another."
            ) from None


class _Bucket(RejectsSink):
    def __init__(self, uri: str, *, role_arn: str | None, external_id: str | None, scratch: Path) -> None:
        self._bucket, _, self._prefix = uri.removeprefix("s3://").partition("/")
        self._role_arn = role_arn
        self._external_id = external_id
        self._scratch = scratch
        self._lock = Lock()
        self._written: set[str] = set()

    def check(self) -> None:
        """Begins an upload of several parts and gives it up: that needs the right to write and makes no object."""
        with self._failures(), closing(self._client()) as client:
            refused = _boto("botocore.exceptions").ClientError
            target = {"Bucket": self._bucket, "Key": self._key(".cio-assets-check")}
            upload = client.create_multipart_upload(**target)
            with suppress(refused):  # the right to write alone is enough; what stays behind has no content
                client.abort_multipart_upload(**target, UploadId=upload["UploadId"])

    def _store(self, folder: str, name: str, lines: Iterable[bytes]) -> str:
        with self._spooled(lines) as file:
            with self._lock:
                path = next(each for each in _numbered(f"{folder}/{name}") if each not in self._written)
                self._written.add(path)
            key = self._key(path)
            with self._failures(), closing(self._client()) as client:
                # Threads would hold ten parts in memory.
                config = {"multipart_threshold": _PART, "multipart_chunksize": _PART, "use_threads": False}
                client.upload_fileobj(
                    file,
                    self._bucket,
                    key,
                    ExtraArgs={"ContentType": "application/x-ndjson"},
                    Config=_boto("boto3.s3.transfer").TransferConfig(**config),
                )
        return f"s3://{self._bucket}/{key}"

    def _key(self, path: str) -> str:
        return f"{self._prefix}/{path}" if self._prefix else path

    @contextmanager
    def _spooled(self, lines: Iterable[bytes]) -> Generator[IO[bytes]]:
        """The lines in a file without a name, which a killed process leaves nowhere."""
        with ExitStack() as opened:
            with self._scratch_failures():
                _make_private(self._scratch)
                file = opened.enter_context(tempfile.TemporaryFile(dir=self._scratch, buffering=0))
            for piece in _pieces(lines):
                with self._scratch_failures():
                    _write_all(file, piece)
            with self._scratch_failures():
                file.seek(0)
            yield file

    @contextmanager
    def _scratch_failures(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise RejectsSinkError(
                f"{self._scratch} cannot be written ({_reason(error)}), where refused rows wait "
                "for their upload: see to its rights and to the room on its disk, or give another DAGSTER_HOME."
            ) from None

    def _client(self) -> Any:
        """A client of its own for every file: an assumed role lasts an hour, a run may last longer."""
        session = _boto("boto3.session").Session()
        if self._role_arn:
            session = self._assume_role(session)
        return _service(session, "s3")

    def _assume_role(self, session: Any) -> Any:
        external = {"ExternalId": self._external_id} if self._external_id else {}
        with closing(_service(session, "sts")) as sts:
            answer = sts.assume_role(RoleArn=self._role_arn, RoleSessionName="cio-assets", **external)["Credentials"]
        return _boto("boto3.session").Session(
            aws_access_key_id=answer["AccessKeyId"],
            aws_secret_access_key=answer["SecretAccessKey"],
            aws_session_token=answer["SessionToken"],
            region_name=session.region_name,
        )

    @contextmanager
    def _failures(self) -> Generator[None]:
        try:
            yield
        except RejectsSinkError:
            raise
        except Exception as error:  # boto3 raises its own, urllib3's, ValueError and OSError; all mean: not written
            raise RejectsSinkError(f"CIO_REJECTS_URI: {_said(error, self._bucket)}") from None


def _boto(name: str) -> ModuleType:
    """A module of boto3, which is an extra and slow to import."""
    return import_module(name)


def _service(session: Any, name: str) -> Any:
    # boto3 waits a second for instance metadata, unless it is told otherwise.
    config = _boto("botocore.config").Config(**_TIMEOUTS, retries={"mode": "standard", "total_max_attempts": 4})
    client = session.client(name, region_name=session.region_name or "us-east-1", config=config)
    url = urlsplit(client.meta.endpoint_url)
    if url.scheme != "https" and not _is_loopback(url.hostname or ""):
        raise RejectsSinkError(
            f"CIO_REJECTS_URI: the endpoint of {name.upper()} is {url.scheme}://, and rows are sent encrypted only: "
            f"give AWS_ENDPOINT_URL_{name.upper()} or AWS_ENDPOINT_URL an https:// address."
        )
    return client


_ANSWERED = {
    "NoSuchBucket 404": "the bucket {bucket} is not there ({code}): make it, or correct its name.",
    "AccessDenied AllAccessDisabled AccountProblem 403": (
        "the bucket {bucket} may not be written with these AWS credentials ({code}): allow them s3:PutObject there."
    ),
    "InvalidAccessKeyId SignatureDoesNotMatch ExpiredToken InvalidToken InvalidClientTokenId": (
        "the AWS credentials were refused ({code}): give others."
    ),
    "PermanentRedirect AuthorizationHeaderMalformed IllegalLocationConstraintException 301": (
        "the bucket {bucket} is in another region ({code}): set AWS_REGION to that."
    ),
    "SlowDown ServiceUnavailable InternalError RequestTimeout Throttling 500 503": (
        "S3 could not take the rows ({code}): try again later."
    ),
}
"""Error codes of S3 -> what to do."""

_RAISED = {
    "NoCredentialsError PartialCredentialsError CredentialRetrievalError": (
        "AWS credentials are missing or incomplete ({code}): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
        "AWS_PROFILE, or run on an instance or in a container that has a role."
    ),
    "ProfileNotFound": "AWS_PROFILE names a profile that AWS's configuration files do not have: correct one of them.",
    "SSLError": "the certificate of the endpoint is not trusted: name its authority in AWS_CA_BUNDLE, if it is yours.",
    "EndpointConnectionError ConnectTimeoutError ReadTimeoutError ConnectionClosedError ProxyConnectionError": (
        "S3 cannot be reached ({code}): see to the network, the proxy, AWS_REGION and AWS_ENDPOINT_URL_S3."
    ),
}
"""Exceptions of botocore -> what to do."""


def _said(error: Any, bucket: str) -> str:
    """What to do about a failure of boto3, in our words."""
    table, code = _RAISED, type(error).__name__
    otherwise = "s3://{bucket} cannot be written ({code}): see to AWS's configuration files and AWS_… variables."
    if isinstance(error, _boto("botocore.exceptions").ClientError):
        table, code = _ANSWERED, str(error.response.get("Error", {}).get("Code", ""))
        code = code if re.fullmatch(r"[A-Za-z0-9.]{1,60}", code) else "no error code"
        otherwise = "S3 refused to write to the bucket {bucket} ({code}): its documentation of error codes says why."
        if error.operation_name == "AssumeRole":
            table, otherwise = (
                {},
                (
                    "the role of CIO_REJECTS_ROLE_ARN cannot be assumed ({code}): see to its name, its trust policy, "
                    "CIO_REJECTS_EXTERNAL_ID, and the right sts:AssumeRole of the AWS credentials."
                ),
            )
    text = next((text for codes, text in table.items() if code in codes.split()), otherwise)
    return text.format(bucket=bucket, code=code)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _make_private(folder: Path) -> None:
    """Make the folders that are missing, for their owner alone; `mkdir(parents=True)` leaves parents to the umask."""
    for each in (*reversed(folder.parents), folder):
        if not each.exists():
            each.mkdir(mode=0o700, exist_ok=True)


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _plain(name: str) -> str:
    """A name of the caller's as one part of a path."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:100].lstrip(".") or "_"


def _numbered(name: str) -> Iterator[str]:
    yield f"{name}.jsonl"
    yield from (f"{name}-{number}.jsonl" for number in count(2))


def _pieces(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines in pieces of a megabyte or a little more."""
    gathered: list[bytes] = []
    size = 0
    for line in lines:
        gathered.append(line)
        size += len(line)
        if size >= _PIECE:
            yield b"".join(gathered)
            gathered, size = [], 0
    yield b"".join(gathered)


def _write_all(file: IO[bytes], piece: bytes) -> None:
    """To a file without a buffer: a buffer that a full disk refused is refused again when the file is closed."""
    rest = memoryview(piece)
    while rest:
        rest = rest[file.write(rest) :]
