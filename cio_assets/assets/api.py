"""The App API as the assets see it: a client made from the settings, and the clock."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cio_assets.customerio import AppClient, CredentialsRefused, RateLimiter, base_url
from cio_assets.customerio.retry import MAX_ATTEMPTS
from cio_assets.demo_mark import refuse_to_mix
from cio_assets.settings import Settings
from cio_assets.warehouse import Staging

if TYPE_CHECKING:  # they import this module
    from cio_assets.assets.reading import Plan


def utc_now() -> datetime:
    """The time it is."""
    return datetime.now(UTC)


Observer = Callable[[str, int, int], object]
"""Told every few seconds: the table that is read, requests and rows so far."""

OBSERVE_SECONDS = 5.0


def _nothing(_: str) -> None:
    """Nobody reads ahead."""


class AppApi:
    """Makes clients of one workspace's App API that share one budget; `now` is the clock of windows and buckets.

    `sleep` takes seconds: the pauses between looks at what Customer.io is busy with.
    """

    def __init__(
        self,
        settings: Settings,
        now: Callable[[], datetime] = utc_now,
        observer: Observer | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.settings = settings
        self.now = now
        self.sleep = sleep
        self.observer = observer
        self.before_reading: Callable[[str], Plan | None] = _nothing
        """Told the table that an asset is about to read; answers how its rows were asked for, where they were."""
        self.after_reading: Callable[[str], object] = _nothing
        """Told the table that an asset has read."""
        self.after_loading: Callable[[str], object] = _nothing
        """Told the table that an asset has loaded."""
        self._refused: CredentialsRefused | None = None
        self._limiter: RateLimiter | None = None
        self._making = threading.Lock()

    def remember(self, error: CredentialsRefused) -> None:
        """Ask nothing more in this process after a 401: every other request would be refused the same way.

        A 403 is not remembered: it may be about one feature.
        """
        if error.status == 401:
            self._refused = error

    @property
    def url(self) -> str:
        """Base URL in use."""
        return base_url("app", self.settings.region, self.settings.app_url)

    @property
    def workspace(self) -> str:
        """Tells workspaces apart without telling the key."""
        return hashlib.sha256(f"{self.url} {self.settings.require_app_api_key()}".encode()).hexdigest()

    def client(self, max_attempts: int = MAX_ATTEMPTS) -> AppClient:
        """A client to be used in a `with` block.

        Raises `SettingsError` where no key is set, or where a real workspace would be written over the demo's data.
        """
        key = self.settings.require_app_api_key()
        refuse_to_mix(self.settings, self.url)
        if self._refused:
            raise self._refused
        with self._making:  # one for all clients: a process queues once for its turn, however many tables it reads
            self._limiter = self._limiter or RateLimiter(
                self.settings.budget_dir, urlsplit(self.url).netloc, key, self.settings.app_rps
            )
        return AppClient(
            base_url=self.url, key=key, limiter=self._limiter, region=self.settings.region, max_attempts=max_attempts
        )


@contextmanager
def observed(observer: Observer, table: str, client: AppClient, staging: Staging) -> Iterator[None]:
    """Tell `observer` what has been read, every few seconds while the block runs."""
    over = threading.Event()

    def tell() -> None:
        while not over.wait(OBSERVE_SECONDS):
            observer(table, client.usage.snapshot().requests, staging.row_count)

    teller = threading.Thread(target=tell, name=f"progress-{table}", daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()
