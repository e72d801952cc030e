"""Settings of the way into Customer.io: the Track credentials, the users' syncs, where refused rows go."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from cio_assets.settings import Settings, SettingsError, load_settings

ROLE = "arn:aws:iam::123456789012:role/a/b"


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


@pytest.mark.parametrize(
    ("variable", "text", "attribute", "expected"),
    [
        ("CIO_REJECTS_URI", "/data/rejects", "rejects_uri", "/data/rejects"),
        ("CIO_REJECTS_URI", " /data/ü 1/ ", "rejects_uri", "/data/ü 1"),
        ("CIO_REJECTS_URI", "s3://rejects", "rejects_uri", "s3://rejects"),
        ("CIO_REJECTS_URI", "s3://rejects/", "rejects_uri", "s3://rejects"),
        ("CIO_REJECTS_URI", "S3://my.bucket-1/customerio/eu//", "rejects_uri", "s3://my.bucket-1/customerio/eu"),
        ("CIO_REJECTS_URI", "s3://rejects/kälte und wärme", "rejects_uri", "s3://rejects/kälte und wärme"),
        ("CIO_REJECTS_URI", "  ", "rejects_uri", None),
        ("CIO_REJECTS_ROLE_ARN", " arn:aws:iam::123456789012:role/a/b ", "rejects_role_arn", ROLE),
        (
            "CIO_REJECTS_ROLE_ARN",
            ROLE.replace("aws", "aws-us-gov"),
            "rejects_role_arn",
            ROLE.replace("aws", "aws-us-gov"),
        ),
    ],
)
def test_a_variable_is_read(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, attribute: str, expected: str | None
) -> None:
    assert getattr(_load(monkeypatch, {variable: text}), attribute) == expected


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("CIO_SYNCS", "nowhere.yaml"),
        ("CIO_SYNCS", "."),
        ("CIO_SYNCS", "x" * 300),
        ("CIO_SYNCS", "~nobody-of-that-name/syncs.yaml"),
        ("CIO_REJECTS_URI", "gs://bucket/x"),
        ("CIO_REJECTS_URI", "https://key:hunter2@bucket.s3.amazonaws.com/x"),
        ("CIO_REJECTS_URI", "s3a://bucket"),
        ("CIO_REJECTS_URI", "s3:bucket/x"),
        ("CIO_REJECTS_URI", "s3:/bucket/x"),
        ("CIO_REJECTS_URI", "s3://"),
        ("CIO_REJECTS_URI", "s3:///x"),
        ("CIO_REJECTS_URI", "s3://a"),
        ("CIO_REJECTS_URI", "s3://key:hunter2@bucket/x"),
        ("CIO_REJECTS_URI", "s3://bucket/x?key=hunter2"),
        ("CIO_REJECTS_URI", "s3://bucket/x#hunter2"),
        ("CIO_REJECTS_URI", "s3://bucket/a/../b"),
        ("CIO_REJECTS_URI", "s3://bucket/a//b"),
        ("CIO_REJECTS_URI", f"s3://bucket/{'ü' * 351}"),
        ("CIO_REJECTS_URI", "/proc/version"),
        ("CIO_REJECTS_URI", "~nobody-of-that-name/rejects"),
        ("CIO_REJECTS_ROLE_ARN", "rejects"),
        ("CIO_REJECTS_ROLE_ARN", "arn:aws:iam::12345:role/rejects"),
        ("CIO_REJECTS_ROLE_ARN", "arn:aws:iam::123456789012:user/hunter2"),
        ("CIO_REJECTS_ROLE_ARN", "arn:aws:iam::123456789012:role/"),
        ("CIO_REJECTS_ROLE_ARN", "arn:aws:sts::123456789012:assumed-role/x/y"),
        ("CIO_REJECTS_EXTERNAL_ID", "hunter2 with spaces"),
        ("CIO_REJECTS_EXTERNAL_ID", "x"),
        ("CIO_REJECTS_EXTERNAL_ID", "hunter2"),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str
) -> None:
    sentence = _refusal(monkeypatch, {variable: text})

    assert sentence.startswith(f"{variable} ")
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert "hunter2" not in sentence
    assert "pydantic" not in sentence


def test_a_role_is_for_a_bucket_only(monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = _refusal(monkeypatch, {"CIO_REJECTS_URI": "/data/rejects", "CIO_REJECTS_ROLE_ARN": ROLE})

    assert sentence.startswith("CIO_REJECTS_ROLE_ARN is a role for s3://bucket/prefix, but CIO_REJECTS_URI is a folder")


def test_an_external_id_goes_with_a_role(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _load(monkeypatch, {"CIO_REJECTS_ROLE_ARN": ROLE, "CIO_REJECTS_EXTERNAL_ID": "dwh:42"})
    assert settings.rejects_external_id is not None
    assert settings.rejects_external_id.get_secret_value() == "dwh:42"

    monkeypatch.delenv("CIO_REJECTS_ROLE_ARN")
    assert "CIO_REJECTS_ROLE_ARN is not set" in _refusal(monkeypatch, {})


def test_a_syncs_file_is_found_from_the_working_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert f" {tmp_path / 'syncs.yaml'}, where there is no file" in _refusal(monkeypatch, {"CIO_SYNCS": "syncs.yaml"})
    (tmp_path / "syncs.yaml").write_text("")
    assert load_settings().syncs_file == tmp_path / "syncs.yaml"


@pytest.mark.parametrize("folder", ["rejects", "~/rejects", "./rejects"])
def test_a_folder_of_refused_rows_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    assert _load(monkeypatch, {"CIO_REJECTS_URI": folder}).rejects_uri == str(tmp_path / "rejects")


@pytest.mark.parametrize(
    ("env", "missing"),
    [
        ({}, "CUSTOMERIO_SITE_ID and CUSTOMERIO_TRACK_API_KEY are not set"),
        ({"CUSTOMERIO_SITE_ID": "s3cr3t"}, "CUSTOMERIO_TRACK_API_KEY is not set"),
        ({"CUSTOMERIO_SITE_ID": " ", "CUSTOMERIO_TRACK_API_KEY": "s3cr3t"}, "CUSTOMERIO_SITE_ID is not set"),
    ],
)
def test_missing_track_credentials_are_asked_for_by_name(
    monkeypatch: pytest.MonkeyPatch, env: Mapping[str, str], missing: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        _load(monkeypatch, env).require_track_credentials()

    assert str(caught.value).startswith(f"{missing}: copy both from Customer.io > Settings")
    assert str(caught.value).endswith("into .env.")
    assert "s3cr3t" not in str(caught.value)


def test_track_credentials_are_a_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    env = {"CUSTOMERIO_SITE_ID": " site\n", "CUSTOMERIO_TRACK_API_KEY": "\ttrack "}

    assert _load(monkeypatch, env).require_track_credentials() == ("site", "track")
