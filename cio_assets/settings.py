"""Every environment variable, read once and validated; secrets are masked. It opens no file, socket or database."""

from __future__ import annotations

import os
import re
import tempfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

WAREHOUSE_FORMS = "a DuckDB file path, md:DATABASE, ducklake:… or postgres:…"
_RESERVED_SCHEMAS = (
    "information_schema", "pg_catalog", "memory", "wh", "temp", "system", "_cio_stage", "_cio_push", "reverse_etl"
)  # fmt: skip
REJECTS_FORMS = "a folder or s3://bucket/prefix"


class SettingsError(Exception):
    """One sentence for each setting that is missing or wrong; safe to print (it holds no secret)."""


def default_start_date(today: date) -> date:
    """First day of the month six months before `today`: as far back as `GET /v1/messages` reaches by default."""
    month = today.year * 12 + today.month - 1 - 6
    return date(month // 12, month % 12 + 1, 1)


def _scheme(uri: str) -> re.Match[str] | None:
    """The scheme of a warehouse URI (group 1); None for a file path, which may hold colons further on."""
    return re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", uri)


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _absolute(path: Path) -> Path:
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        raise ValueError("names the home of a user who is not there: give another path") from None


def _folder(text: str) -> Path:
    path = _absolute(Path(text))
    try:
        is_file = path.exists() and not path.is_dir()
    except (OSError, ValueError):  # whoever writes there says what is wrong
        return path
    if is_file:
        raise ValueError(f"names a file: give {REJECTS_FORMS}")
    return path


def _iso_date(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return date.fromisoformat(value.strip())
    except ValueError:
        raise ValueError("is not an ISO date such as 2026-01-31") from None


def _days(value: object) -> object:
    if isinstance(value, str) and not value.strip().isdecimal():
        raise ValueError("is not a number of days such as 30")
    days = int(value) if isinstance(value, (str, int)) else 0
    if not 1 <= days <= 3660:
        raise ValueError("is not a number of days from 1 to 3660")
    return days


class Settings(BaseSettings):
    """The settings of one workspace (section 2 of the design names the variables)."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        str_strip_whitespace=True,
        hide_input_in_errors=True,
        populate_by_name=True,
    )

    app_api_key: SecretStr | None = Field(None, validation_alias="CUSTOMERIO_APP_API_KEY")
    site_id: SecretStr | None = Field(None, validation_alias="CUSTOMERIO_SITE_ID")
    track_api_key: SecretStr | None = Field(None, validation_alias="CUSTOMERIO_TRACK_API_KEY")
    region: Annotated[Literal["us", "eu"], BeforeValidator(_lower)] = Field("us", validation_alias="CUSTOMERIO_REGION")
    app_url: str | None = Field(None, validation_alias="CUSTOMERIO_APP_URL")
    track_url: str | None = Field(None, validation_alias="CUSTOMERIO_TRACK_URL")
    warehouse_uri: SecretStr | None = Field(None, validation_alias="CIO_WAREHOUSE")
    data_path: str | None = Field(None, validation_alias="CIO_DATA_PATH")
    warehouse_schema: str = Field("customerio", validation_alias="CIO_SCHEMA")
    start: Annotated[date | None, BeforeValidator(_iso_date)] = Field(None, validation_alias="CIO_START_DATE")
    app_rps: float = Field(10, gt=0, allow_inf_nan=False, validation_alias="CIO_APP_RPS")
    track_rps: float = Field(100, gt=0, allow_inf_nan=False, validation_alias="CIO_TRACK_RPS")
    relationships: Annotated[Literal["cheapest", "people"], BeforeValidator(_lower)] = Field(
        "cheapest", validation_alias="CIO_RELATIONSHIPS"
    )
    syncs_file: Path | None = Field(None, validation_alias="CIO_SYNCS")
    rejects_uri: str | None = Field(None, validation_alias="CIO_REJECTS_URI")
    rejects_role_arn: str | None = Field(None, validation_alias="CIO_REJECTS_ROLE_ARN")
    rejects_external_id: SecretStr | None = Field(None, validation_alias="CIO_REJECTS_EXTERNAL_ID")
    schedules: Annotated[Literal["on", "off"], BeforeValidator(_lower)] = Field("off", validation_alias="CIO_SCHEDULES")
    timezone: str = Field("UTC", validation_alias="CIO_TIMEZONE")
    trailing_days: Annotated[int, BeforeValidator(_days)] = Field(30, validation_alias="CIO_TRAILING_DAYS")
    trailing_days_weekly: Annotated[int, BeforeValidator(_days)] = Field(
        180, validation_alias="CIO_TRAILING_DAYS_WEEKLY"
    )
    full_every_days: Annotated[int, BeforeValidator(_days)] = Field(7, validation_alias="CIO_FULL_EVERY_DAYS")
    people: Annotated[Literal["auto", "full", "changed", "export"], BeforeValidator(_lower)] = Field(
        "auto", validation_alias="CIO_PEOPLE"
    )
    dagster_home: Path = Field(Path(".dagster_home"), validation_alias="DAGSTER_HOME")

    @field_validator("app_api_key", "site_id", "track_api_key", mode="before")
    @classmethod
    def _trim(cls, value: object) -> object:
        return value.strip() if isinstance(value, str) else value

    @field_validator("syncs_file", "rejects_uri", "rejects_role_arn", "rejects_external_id", mode="before")
    @classmethod
    def _blank_is_not_set(cls, value: object) -> object:
        return value.strip() or None if isinstance(value, str) else value

    @field_validator("app_url", "track_url")
    @classmethod
    def _http_url(cls, value: str | None) -> str | None:
        if value is not None and not re.match(r"https?://[^/\s@]+(/[^\s?#]*)?$", value):
            raise ValueError("is not a base URL such as http://127.0.0.1:8085 (http or https, no query, no user)")
        return value.rstrip("/") if value else value

    @field_validator("warehouse_uri")
    @classmethod
    def _warehouse(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        uri = value.get_secret_value()
        scheme = _scheme(uri)
        if scheme:
            uri = scheme[0].lower() + uri[scheme.end() :]
        if scheme and scheme[1].lower() not in ("md", "ducklake", "postgres", "postgresql"):
            raise ValueError(f"starts with '{scheme[1]}:', which is no warehouse we can attach: give {WAREHOUSE_FORMS}")
        if not scheme:
            try:
                path = Path(uri).expanduser()
                folder = path.is_dir()
                existing = next((parent for parent in path.absolute().parents if parent.exists()), path)
                writable = existing.is_dir() and os.access(existing, os.W_OK)
            except (PermissionError, RuntimeError):  # RuntimeError: ~nobody
                folder = writable = False
            if folder:
                raise ValueError(f"names a folder: give {WAREHOUSE_FORMS}")
            if not writable:
                raise ValueError(f"names a file in a folder that cannot be written: give {WAREHOUSE_FORMS}")
        return SecretStr(uri)

    @field_validator("warehouse_schema")
    @classmethod
    def _schema(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", value):
            raise ValueError("is not a schema name: letters, digits and _ only, not starting with a digit")
        if value.lower() in _RESERVED_SCHEMAS:
            raise ValueError("is a name that databases keep for themselves: give another")
        return value

    @field_validator("syncs_file")
    @classmethod
    def _syncs(cls, value: Path | None) -> Path | None:
        if value is None:
            return None
        path = _absolute(value)
        try:
            found = path.is_file()
            folder = path.is_dir()
        except OSError as error:  # a folder above it that cannot be entered, a name too long
            raise ValueError(f"names {path}, which cannot be read ({error.strerror})") from None
        if not found:
            what = "which is a folder" if folder else "where there is no file"
            raise ValueError(f"names {path}, {what}: give the path of a YAML file of syncs")
        return path

    @field_validator("rejects_uri")
    @classmethod
    def _rejects(cls, value: str | None) -> str | None:
        scheme = _scheme(value) if value else None
        if value is None or scheme is None:
            return None if value is None else str(_folder(value))
        if scheme[1].lower() != "s3":
            raise ValueError(f"starts with '{scheme[1]}:', where refused rows cannot be written: give {REJECTS_FORMS}")
        slashes, bucket, prefix = value[scheme.end() :][:2], *value[scheme.end() + 2 :].partition("/")[::2]
        prefix = prefix.strip("/")
        if slashes != "//" or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]", bucket):
            raise ValueError("names no bucket: give s3://bucket/prefix, without keys, port or host in it")
        odd = re.search(r"[?#\\\x00-\x1f\x7f]", prefix) or {"", ".", ".."} & set(prefix.split("/") if prefix else [])
        if odd or len(prefix.encode()) > 700:  # a key has at most 1024 bytes, ours add up to 200
            raise ValueError("has a prefix that is no plain path of at most 700 bytes: give s3://bucket/prefix")
        return f"s3://{bucket}/{prefix}".rstrip("/")

    @field_validator("rejects_role_arn")
    @classmethod
    def _role(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        if not re.fullmatch(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}", value, re.ASCII):
            raise ValueError("is not the ARN of a role, such as arn:aws:iam::123456789012:role/rejects")
        uri = info.data.get("rejects_uri")
        if uri and not uri.startswith("s3://"):
            raise ValueError("is a role for s3://bucket/prefix, but CIO_REJECTS_URI is a folder: change one of them")
        return value

    @field_validator("rejects_external_id")
    @classmethod
    def _external_id(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None:
            return None
        if not re.fullmatch(r"[\w+=,.@:/-]{2,1224}", value.get_secret_value(), re.ASCII):
            raise ValueError("is not an external id: 2 to 1224 letters, digits and any of _ + = , . @ : / -")
        if "rejects_role_arn" in info.data and info.data["rejects_role_arn"] is None:
            raise ValueError("goes with a role, but CIO_REJECTS_ROLE_ARN is not set: set both or neither")
        return value

    @field_validator("timezone")
    @classmethod
    def _iana(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError("is not a time zone's IANA name such as UTC or Europe/Berlin")
        return value

    @field_validator("trailing_days_weekly")
    @classmethod
    def _weekly_holds_nightly(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("trailing_days", 1):
            raise ValueError("is less than CIO_TRAILING_DAYS: give at least as many days")
        return value

    @field_validator("dagster_home")
    @classmethod
    def _home(cls, value: Path) -> Path:
        if re.search(r"[%?#*\[\]]", str(value)):
            raise ValueError("holds one of % ? # * [ ], which Dagster's storage cannot have in its path: give another")
        try:
            return value.expanduser()
        except RuntimeError:
            raise ValueError("names the home of a user who is not there: give another folder") from None

    @field_validator("start")
    @classmethod
    def _not_in_the_future(cls, value: date | None) -> date | None:
        if value is not None and value > datetime.now(UTC).date():
            raise ValueError("lies in the future: give a date that has begun, such as 2026-01-01")
        if value is not None and value.year < 2012:
            raise ValueError("lies before Customer.io existed (2012): give a later date")
        return value

    @property
    def start_date(self) -> date:
        """First daily partition of deliveries, a UTC day."""
        return self.start or default_start_date(datetime.now(UTC).date())

    @property
    def warehouse(self) -> str:
        """The warehouse URI or DuckDB file path; may hold a password: print `warehouse_label` instead."""
        if self.warehouse_uri is not None:
            uri = self.warehouse_uri.get_secret_value()
            return uri if _scheme(uri) else str(Path(uri).expanduser().absolute())
        return str(self.dagster_home.absolute() / "warehouse.duckdb")

    @property
    def warehouse_label(self) -> str:
        """The warehouse for people to read, without credentials."""
        scheme = _scheme(self.warehouse)
        if scheme is None:
            return self.warehouse
        return self.warehouse.split("?")[0] if scheme[1] == "md" else f"{scheme[1]}:…"

    @property
    def staging_dir(self) -> Path:
        """Where pages wait for their load; holds personal data, as the warehouse does."""
        return self.dagster_home.absolute() / "staging"

    @property
    def outbox_dir(self) -> Path:
        """Where rows wait for their push; holds personal data, as the warehouse does."""
        return self.dagster_home.absolute() / "outbox"

    @property
    def budget_dir(self) -> Path:
        """Where every process of this user on this machine finds the request budgets, whatever its DAGSTER_HOME."""
        user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
        return Path(tempfile.gettempdir()) / f"cio-assets-{user}"

    def require_app_api_key(self) -> str:
        """The App API key, or a `SettingsError` that names the variable."""
        if self.app_api_key is None or not self.app_api_key.get_secret_value():
            raise SettingsError(
                "CUSTOMERIO_APP_API_KEY is not set: make an App API key in Customer.io (Settings > Account settings > "
                "API credentials > App API keys) and put it into the environment or into .env."
            )
        return self.app_api_key.get_secret_value()

    def require_track_credentials(self) -> tuple[str, str]:
        """Site id and Track API key, or a `SettingsError` that names what is missing of the two."""
        site_id = self.site_id.get_secret_value() if self.site_id else ""
        key = self.track_api_key.get_secret_value() if self.track_api_key else ""
        missing = [
            name
            for name, value in (("CUSTOMERIO_SITE_ID", site_id), ("CUSTOMERIO_TRACK_API_KEY", key))
            if not value.strip()
        ]
        if missing:
            raise SettingsError(
                f"{' and '.join(missing)} {'are' if missing[1:] else 'is'} not set: copy both from Customer.io > "
                "Settings > Account settings > API credentials > Tracking API keys into the environment or into .env."
            )
        return site_id, key


def load_settings(**overrides: object) -> Settings:
    """Read the environment and `.env` (or the file CIO_ENV_FILE names).

    Raises `SettingsError` with one sentence for each wrong variable.
    """
    source: dict[str, object] = {"_env_file": os.environ.get("CIO_ENV_FILE", ".env")}
    try:
        return Settings(**source | overrides)  # pyright: ignore[reportArgumentType]  # the overrides are validated by pydantic
    except UnicodeDecodeError:
        raise SettingsError(f"{source['_env_file']} is not UTF-8 text: save it as such.") from None
    except ValidationError as error:
        raise SettingsError("\n".join(_sentence(dict(problem)) for problem in error.errors())) from None


def _sentence(problem: dict) -> str:
    variable = str(problem["loc"][0]).upper() if problem["loc"] else "settings"
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "literal_error":
        message = f"must be {problem['ctx']['expected'].replace(chr(39), '')}"
    elif problem["type"] in ("float_parsing", "greater_than", "finite_number"):
        message = "must be a number of requests per second greater than 0"
    return f"{variable} {message}."
