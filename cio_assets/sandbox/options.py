"""What a sandbox can be told at its start, as a dataclass and as command line arguments of the same names."""

import argparse
from dataclasses import dataclass, fields
from datetime import UTC, datetime


@dataclass
class SandboxOptions:
    """Sizes, clock, limits and awkwardness of one sandbox; None means "derived from the others"."""

    port: int = 8085
    people: int = 2000
    campaigns: int = 20
    broadcasts: int = 10
    newsletters: int = 10
    segments: int = 30
    objects: int = 60
    deliveries: int | None = None
    activities: int | None = None
    days: int = 200
    seed: int = 1
    now: float | str | None = None
    freeze: bool = False
    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    faults: str = ""
    app_rps: int = 10
    app_key: str = "sandbox-app-key"
    track_rps: int = 100
    site_id: str = "sandbox-site-id"
    track_key: str = "sandbox-track-key"
    region: str = "us"
    environment_id: int = 12345
    email_updates: bool = False
    tls_certificate: str | None = None
    tls_key: str | None = None
    week_start: str = "sunday"
    attributes_shape: str = "bare"
    export_seconds: float = 0.5
    export_columns: str = "all"

    @property
    def delivery_count(self) -> int:
        """How many deliveries the world starts with."""
        return 15 * self.people if self.deliveries is None else self.deliveries

    @property
    def activity_count(self) -> int:
        """How many activities the world starts with."""
        return 2 * self.people if self.activities is None else self.activities


HELP = {
    "port": "TCP port on 127.0.0.1; 0 picks a free one",
    "deliveries": "default 15 x people",
    "activities": "default 2 x people",
    "days": "deliveries are spread over this many days",
    "now": "ISO time or unix seconds that anchors the world; default the real now",
    "freeze": "the sandbox clock stands still",
    "faults": 'random faults, e.g. "500=0.02,reset=0.02,stall_seconds=5,seed=1"; of the Track API alone: '
    "bare207, batch400; of pages after the first: overlap, stale-cursor; of new exports: export_failed",
    "app_rps": "App API requests allowed in any sliding second; 0 = unlimited",
    "app_key": "App API key (Bearer)",
    "track_rps": "Track API requests allowed in any sliding second; 0 = unlimited",
    "site_id": "user name of the Track API",
    "track_key": "password of the Track API",
    "region": "what GET /api/v1/accounts/region answers",
    "environment_id": "workspace id that GET /api/v1/accounts/region answers",
    "email_updates": "an email that is set may be changed by id, as a workspace setting allows; else only by cio_id",
    "tls_certificate": "PEM file: serve https, as the official clients insist on",
    "tls_key": "PEM file of the certificate's key",
    "week_start": "first day of a week of metrics",
    "export_seconds": "how long an export is pending",
    "export_columns": "attributes of an export that names none: all, as columns, or only those that are named",
    "attributes_shape": "items of POST /v1/customers/attributes: bare, wrapped in {customer: ...}, or mixed",
}
CHOICES = {"region": ("us", "eu"), "week_start": ("sunday", "monday"), "attributes_shape": ("bare", "wrapped", "mixed"),
           "export_columns": ("all", "named")}  # fmt: skip
TYPES = {"latency_ms": float, "jitter_ms": float, "deliveries": int, "activities": int, "now": str,
         "tls_certificate": str, "tls_key": str}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one `--option` per field of SandboxOptions to a parser."""
    for field in fields(SandboxOptions):
        flag = "--" + field.name.replace("_", "-")
        text = HELP.get(field.name)
        if field.default is False:
            parser.add_argument(flag, action="store_true", help=text)
            continue
        kind = TYPES.get(field.name, type(field.default))
        parser.add_argument(flag, type=kind, default=field.default, help=text, choices=CHOICES.get(field.name))


def options_from_args(namespace: argparse.Namespace) -> SandboxOptions:
    """Read the options back from a parsed namespace; names it does not hold keep their default."""
    known = {field.name for field in fields(SandboxOptions)}
    return SandboxOptions(**{name: value for name, value in vars(namespace).items() if name in known})


def parse_time(value: float | str) -> float:
    """Unix seconds from a number, a numeric string or an ISO time (UTC where no zone is given)."""
    try:
        return float(value)
    except ValueError:
        moment = datetime.fromisoformat(str(value))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
