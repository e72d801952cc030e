"""A lock file that several processes queue for in order, and a few bytes of state inside it."""

import contextlib
import os
from collections.abc import Generator
from pathlib import Path

import orjson

from cio_assets.turns import locked

from .errors import LimiterUnavailable

_SIZE = 1024  # bytes written, always as many and in one go; ours are below 700
_MOST = 4096  # bytes read


class LockedFile:
    """`with file.held() as state:` gives this process alone the file's state. Not reentrant, and not for threads."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextlib.contextmanager
    def held(self) -> Generator["State", None, None]:
        """Waits for the lock, in order of arrival. Raises LimiterUnavailable if the file cannot be used."""
        descriptor = self._open()
        try:
            with contextlib.ExitStack() as held:
                try:
                    held.enter_context(locked(descriptor, self._path))
                except OSError as error:
                    raise self._unavailable(error) from None
                yield State(descriptor)
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        # Opened anew for every turn: a file removed under a running process heals itself, and a fork shares no lock.
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        try:
            try:
                return os.open(self._path, flags, 0o666)
            except FileNotFoundError:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                return os.open(self._path, flags, 0o666)
        except OSError as error:
            raise self._unavailable(error) from None

    def _unavailable(self, error: OSError) -> LimiterUnavailable:
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        return LimiterUnavailable(f"the rate limiter cannot use {self._path.parent}: {reason}")


class State:
    """The numbers kept in a locked file, tagged with the boot whose clock they were read from."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self) -> dict[str, list[float]] | None:
        """The numbers; {} from a new file; None if the file is corrupt or of another boot or machine."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        text = os.read(self._descriptor, _MOST).strip(b"\0 \n")
        if not text:
            return {}
        try:
            kept = orjson.loads(text)
            if kept.pop("boot") != _BOOT:
                return None
            return {str(name): [float(value) for value in values] for name, values in kept.items()}
        except (ValueError, TypeError, KeyError, AttributeError):
            return None

    def write(self, numbers: dict[str, list[float]]) -> None:
        """Raises LimiterUnavailable if the disk refuses (full, read-only)."""
        text = orjson.dumps({"boot": _BOOT, **numbers}).ljust(_SIZE)
        try:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, text)
            if os.fstat(self._descriptor).st_size > len(text):
                os.ftruncate(self._descriptor, len(text))
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else type(error).__name__
            raise LimiterUnavailable(f"the rate limiter cannot write its state: {reason}") from None


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


_BOOT = _boot()
