"""Settings: what is read from the environment and `.env`, and the one sentence that names a wrong variable."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cio_assets.settings import Settings, SettingsError, default_start_date, load_settings
from cio_assets_tests.warehouse.stage import python

VARIABLES = {
    "CUSTOMERIO_APP_API_KEY",
    "CUSTOMERIO_SITE_ID",
    "CUSTOMERIO_TRACK_API_KEY",
    "CUSTOMERIO_REGION",
    "CUSTOMERIO_APP_URL",
    "CUSTOMERIO_TRACK_URL",
    "CIO_WAREHOUSE",
    "CIO_SCHEMA",
    "CIO_START_DATE",
    "CIO_APP_RPS",
    "CIO_TRACK_RPS",
    "CIO_SYNCS",
    "CIO_REJECTS_URI",
    "CIO_REJECTS_ROLE_ARN",
    "CIO_REJECTS_EXTERNAL_ID",
}
"""Names that section 2 of the design promises and that these settings hold."""


@pytest.fixture(autouse=True)
def _empty_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the developer's, and no `.env` in the working directory."""
    for name in list(os.environ):
        if name.startswith(("CIO_", "CUSTOMERIO_")) or name == "DAGSTER_HOME":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def _load(monkeypatch: pytest.MonkeyPatch, env: Mapping[str, str]) -> Settings:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def _refusal(monkeypatch: pytest.MonkeyPatch, env: Mapping[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        _load(monkeypatch, env)
    return str(caught.value)


def test_nothing_needs_to_be_set(tmp_path: Path) -> None:
    settings = load_settings()

    assert settings.region == "us"
    assert settings.warehouse_schema == "customerio"
    assert (settings.app_rps, settings.track_rps) == (10, 100)
    assert settings.warehouse == str(tmp_path / ".dagster_home" / "warehouse.duckdb")
    assert settings.staging_dir == tmp_path / ".dagster_home" / "staging"
    assert settings.outbox_dir == tmp_path / ".dagster_home" / "outbox"
    assert (settings.syncs_file, settings.rejects_uri) == (None, None)
    assert settings.start_date == default_start_date(datetime.now(UTC).date())
    assert list(tmp_path.iterdir()) == []  # reading settings makes nothing


VALID: list[tuple[str, str, str, Any]] = [
    ("CUSTOMERIO_REGION", "eu", "region", "eu"),
    ("CUSTOMERIO_REGION", " EU ", "region", "eu"),
    ("CUSTOMERIO_APP_URL", "http://127.0.0.1:8085", "app_url", "http://127.0.0.1:8085"),
    ("CUSTOMERIO_APP_URL", "https://proxy.example.com/cio/", "app_url", "https://proxy.example.com/cio"),
    ("CUSTOMERIO_TRACK_URL", "http://127.0.0.1:8085/", "track_url", "http://127.0.0.1:8085"),
    ("CIO_WAREHOUSE", "md:analytics", "warehouse", "md:analytics"),
    ("CIO_WAREHOUSE", "ducklake:/data/lake.ducklake", "warehouse", "ducklake:/data/lake.ducklake"),
    ("CIO_WAREHOUSE", "postgres:dbname=dwh host=db", "warehouse", "postgres:dbname=dwh host=db"),
    ("CIO_WAREHOUSE", "postgresql://u:p@db/dwh", "warehouse", "postgresql://u:p@db/dwh"),
    ("CIO_SCHEMA", "crm_2026", "warehouse_schema", "crm_2026"),
    ("CIO_START_DATE", "2026-01-31", "start_date", date(2026, 1, 31)),
    ("CIO_START_DATE", " 2024-02-29 ", "start_date", date(2024, 2, 29)),
    ("CIO_APP_RPS", "2.5", "app_rps", 2.5),
    ("CIO_TRACK_RPS", "1000", "track_rps", 1000),
]


@pytest.mark.parametrize(("variable", "text", "attribute", "expected"), VALID)
def test_a_variable_is_read(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, attribute: str, expected: object
) -> None:
    assert getattr(_load(monkeypatch, {variable: text}), attribute) == expected


@pytest.mark.parametrize("variable", sorted(VARIABLES))
def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    assert _load(monkeypatch, {variable: ""}) == load_settings()


@pytest.mark.parametrize("around", ["{}", " {}", "{}\n", "\t{} \r\n"])
def test_a_key_is_trimmed(monkeypatch: pytest.MonkeyPatch, around: str) -> None:
    settings = _load(monkeypatch, {"CUSTOMERIO_APP_API_KEY": around.format("app-key")})

    assert settings.require_app_api_key() == "app-key"


def test_track_credentials_are_trimmed(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _load(monkeypatch, {"CUSTOMERIO_SITE_ID": " site\n", "CUSTOMERIO_TRACK_API_KEY": "\ttrack "})

    assert settings.site_id is not None
    assert settings.site_id.get_secret_value() == "site"
    assert settings.track_api_key is not None
    assert settings.track_api_key.get_secret_value() == "track"


@pytest.mark.parametrize("around", ["{} ", "\t{}", " {}\n"])
@pytest.mark.parametrize("uri", ["/tmp/w.duckdb", "postgres:dbname=dwh"])
def test_the_warehouse_is_trimmed(monkeypatch: pytest.MonkeyPatch, around: str, uri: str) -> None:
    assert _load(monkeypatch, {"CIO_WAREHOUSE": around.format(uri)}).warehouse == uri


@pytest.mark.parametrize("key", [None, "", "   "])
def test_a_missing_key_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch, key: str | None) -> None:
    settings = _load(monkeypatch, {} if key is None else {"CUSTOMERIO_APP_API_KEY": key})

    with pytest.raises(SettingsError, match=r"^CUSTOMERIO_APP_API_KEY is not set: .*\.env\.$"):
        settings.require_app_api_key()


def _days_from_now(days: int) -> str:
    return (datetime.now(UTC).date() + timedelta(days=days)).isoformat()


WRONG: list[tuple[str, str]] = [
    ("CUSTOMERIO_REGION", "asia"),
    ("CUSTOMERIO_REGION", "us-east-1"),
    ("CUSTOMERIO_APP_URL", "127.0.0.1:8085"),
    ("CUSTOMERIO_APP_URL", "ftp://example.com"),
    ("CUSTOMERIO_APP_URL", "http://"),
    ("CUSTOMERIO_APP_URL", "https://user:hunter2@example.com"),
    ("CUSTOMERIO_TRACK_URL", "https://example.com/?token=hunter2"),
    ("CUSTOMERIO_TRACK_URL", "https://example.com/a b"),
    ("CIO_WAREHOUSE", "mysql://root:hunter2@db/dwh"),
    ("CIO_WAREHOUSE", "s3://bucket/hunter2"),
    ("CIO_WAREHOUSE", "https://example.com/w.duckdb?key=hunter2"),
    ("CIO_WAREHOUSE", "/"),
    ("CIO_WAREHOUSE", "/proc/version/w.duckdb"),
    ("CIO_SCHEMA", "cio; drop table x"),
    ("CIO_SCHEMA", "1st"),
    ("CIO_SCHEMA", "x" * 64),
    ("CIO_SCHEMA", 'a"b'),
    ("CIO_START_DATE", "last week"),
    ("CIO_START_DATE", "2026-02-30"),
    ("CIO_START_DATE", "31.01.2026"),
    ("CIO_START_DATE", "1999-12-31"),
    ("CIO_START_DATE", _days_from_now(1)),
    ("CIO_START_DATE", "9999-12-31"),
    ("CIO_APP_RPS", "0"),
    ("CIO_APP_RPS", "-1"),
    ("CIO_APP_RPS", "ten"),
    ("CIO_APP_RPS", "10/s"),
    ("CIO_APP_RPS", "nan"),
    ("CIO_APP_RPS", "inf"),
    ("CIO_TRACK_RPS", "0"),
    ("CIO_TRACK_RPS", "NaN"),
    ("CIO_TRACK_RPS", "-inf"),
    ("CIO_TRACK_RPS", "infinity"),
]


@pytest.mark.parametrize(("variable", "text"), WRONG)
def test_a_wrong_value_is_one_sentence_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str
) -> None:
    sentence = _refusal(monkeypatch, {variable: text})

    assert sentence.startswith(f"{variable} ")
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert "hunter2" not in sentence
    assert "pydantic" not in sentence


def test_every_wrong_variable_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = _refusal(
        monkeypatch, {"CUSTOMERIO_REGION": "mars", "CIO_APP_RPS": "0", "CIO_START_DATE": "soon"}
    ).splitlines()

    assert sorted(line.split()[0] for line in lines) == ["CIO_APP_RPS", "CIO_START_DATE", "CUSTOMERIO_REGION"]


def test_the_regions_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = _refusal(monkeypatch, {"CUSTOMERIO_REGION": "asia"})

    assert "us" in sentence
    assert "eu" in sentence


def test_today_is_no_future_start(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _load(monkeypatch, {"CIO_START_DATE": _days_from_now(0)}).start_date == datetime.now(UTC).date()


AS_AN_ORDINARY_USER = """
    import os, sys
    from cio_assets.settings import SettingsError, load_settings
    # as an ordinary user
    os.environ["CIO_WAREHOUSE"] = sys.argv[1]
    try:
        load_settings()
    except SettingsError as error:
        print(error)
"""


@pytest.mark.parametrize("below", ["w.duckdb", "sub/w.duckdb"])
def test_a_warehouse_folder_that_cannot_be_written_is_refused(tmp_path: Path, below: str) -> None:
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o555)
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(parent.stat().st_mode | 0o055)

    done = python(AS_AN_ORDINARY_USER, str(folder / below), ordinary_user=True)

    assert done.stdout.startswith("CIO_WAREHOUSE names a file in a folder that cannot be written"), done.stderr


def test_a_warehouse_file_may_lie_in_a_folder_to_be_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    target = tmp_path / "new" / "deeper" / "w.duckdb"

    assert _load(monkeypatch, {"CIO_WAREHOUSE": str(target)}).warehouse == str(target)


def test_a_relative_warehouse_file_stands_in_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert _load(monkeypatch, {"CIO_WAREHOUSE": "data/w.duckdb"}).warehouse == str(tmp_path / "data" / "w.duckdb")


def test_the_home_folder_may_be_written_as_a_tilde(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    assert _load(monkeypatch, {"CIO_WAREHOUSE": "~/w.duckdb"}).warehouse == str(tmp_path / "w.duckdb")


def test_dagster_home_decides_where_files_stand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = _load(monkeypatch, {"DAGSTER_HOME": str(tmp_path / "elsewhere")})

    assert settings.warehouse == str(tmp_path / "elsewhere" / "warehouse.duckdb")
    assert settings.staging_dir == tmp_path / "elsewhere" / "staging"


def test_every_process_of_this_user_shares_the_request_budget(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one = _load(monkeypatch, {"DAGSTER_HOME": str(tmp_path / "one")}).budget_dir
    other = _load(monkeypatch, {"DAGSTER_HOME": str(tmp_path / "other")}).budget_dir

    assert one == other


def test_dot_env_is_read_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "CUSTOMERIO_APP_API_KEY= from-file \n"
        "CUSTOMERIO_REGION=eu\n"
        "CIO_SCHEMA=from_file\n"
        "#CIO_APP_RPS=1\n"
        "SOMETHING_ELSE=1\n"
    )

    settings = _load(monkeypatch, {"CIO_SCHEMA": "from_environment"})

    assert settings.require_app_api_key() == "from-file"
    assert settings.region == "eu"
    assert settings.warehouse_schema == "from_environment"
    assert settings.app_rps == 10


def test_a_wrong_value_in_dot_env_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("CIO_APP_RPS=none\n")

    with pytest.raises(SettingsError, match=r"^CIO_APP_RPS "):
        load_settings()


def test_the_example_env_file_is_valid(tmp_path: Path) -> None:
    example = Path(__file__).parents[1] / ".env.example"
    text = example.read_text()
    (tmp_path / ".env").write_text(text)

    assert load_settings() == load_settings(_env_file=None)
    assert set(VARIABLES) <= {line.lstrip("#").partition("=")[0] for line in text.splitlines()}


SECRETS = {
    "CUSTOMERIO_APP_API_KEY": "s3cr3t-app",
    "CUSTOMERIO_SITE_ID": "s3cr3t-site",
    "CUSTOMERIO_TRACK_API_KEY": "s3cr3t-track",
    "CIO_WAREHOUSE": "postgres://ann:s3cr3t-db@db.example.com/dwh",
    "CIO_REJECTS_ROLE_ARN": "arn:aws:iam::123456789012:role/rejects",
    "CIO_REJECTS_EXTERNAL_ID": "s3cr3t-external",
}


def test_no_secret_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _load(monkeypatch, SECRETS)

    for text in (repr(settings), str(settings), f"{settings}", settings.model_dump_json(), str(settings.model_dump())):
        assert "s3cr3t" not in text
    assert settings.warehouse == SECRETS["CIO_WAREHOUSE"]


@pytest.mark.parametrize("wrong", [{"CIO_APP_RPS": "0"}, {"CIO_WAREHOUSE": "mysql://ann:s3cr3t-db@db/x"}])
def test_no_secret_is_in_an_error(monkeypatch: pytest.MonkeyPatch, wrong: Mapping[str, str]) -> None:
    with pytest.raises(SettingsError) as caught:
        _load(monkeypatch, {**SECRETS, **wrong})

    cause = caught.value.__cause__
    assert "s3cr3t" not in f"{caught.value!r} {caught.value} {cause!r}"


def test_a_secret_stays_hidden_behind_a_pickled_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError) as caught:
        _load(monkeypatch, {**SECRETS, "CIO_APP_RPS": "0"})

    assert b"s3cr3t" not in pickle.dumps(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        "postgres://ann:s3cr3t@db.example.com:5432/dwh",
        "postgresql://ann:s3cr3t@db.example.com/dwh?sslmode=require",
        "POSTGRES://ann:s3cr3t@db.example.com/dwh",
        "postgres:host=db user=ann password=s3cr3t",
        "postgres:password='a b s3cr3t' host=db",
        "ducklake:postgres:host=db password=s3cr3t",
        "md:analytics?motherduck_token=s3cr3t",
        "MD:analytics?motherduck_token=s3cr3t",
    ],
)
def test_the_label_of_a_warehouse_has_no_password(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    settings = _load(monkeypatch, {"CIO_WAREHOUSE": uri})

    assert "s3cr3t" not in settings.warehouse_label
    assert settings.warehouse_label.lower().startswith(uri.partition(":")[0].lower())


def test_the_label_of_a_file_is_its_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = str(tmp_path / "w.duckdb")

    assert _load(monkeypatch, {"CIO_WAREHOUSE": path}).warehouse_label == path


@pytest.mark.parametrize(
    ("today", "expected"),
    [
        (date(2026, 1, 1), date(2025, 7, 1)),
        (date(2026, 1, 31), date(2025, 7, 1)),
        (date(2026, 6, 30), date(2025, 12, 1)),
        (date(2026, 7, 1), date(2026, 1, 1)),
        (date(2026, 8, 31), date(2026, 2, 1)),  # no 31st of February is looked for
        (date(2025, 12, 31), date(2025, 6, 1)),
        (date(2024, 2, 29), date(2023, 8, 1)),
    ],
)
def test_the_default_start_is_six_months_back(today: date, expected: date) -> None:
    assert default_start_date(today) == expected


@given(st.dates(min_value=date(2013, 1, 1), max_value=date(2999, 12, 31)))
def test_the_default_start_is_a_first_of_month_within_what_the_api_keeps(today: date) -> None:
    start = default_start_date(today)

    assert start.day == 1
    assert 180 < (today - start).days < 216
