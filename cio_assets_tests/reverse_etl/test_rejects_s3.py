"""Refused rows in S3: a server process with access keys, roles, policies and certificates."""

from __future__ import annotations

import socket
import time
import urllib.request
from base64 import b64decode
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cio_assets.reverse_etl.rejects_sink import RejectsSinkError
from cio_assets_tests.conftest import PROJECT
from cio_assets_tests.reverse_etl.rejects import (
    MANY_LINES,
    RUN,
    STORED,
    Aws,
    clean_environment,
    failure,
    serve,
    sink_to,
    write,
)
from cio_assets_tests.warehouse.stage import python

ROLE = "arn:aws:iam::123456789012:role/rejects"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    for port in serve(tmp_path_factory.mktemp("moto")):
        yield Aws(f"http://127.0.0.1:{port}")


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(tmp_path, monkeypatch)


@pytest.fixture
def aws(server: Aws, _clean: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    """An empty server with the bucket `rejects`, and access keys to it in the environment."""
    server.post("/moto-api/reset")
    s3 = server.client("s3")
    s3.create_bucket(Bucket="rejects")
    s3.close()
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    _use(monkeypatch, "AKIAEXAMPLEEXAMPLE01", "s3cr3t-of-the-test")
    yield server
    server.post("/moto-api/reset-auth", "inf")


def _use(monkeypatch: pytest.MonkeyPatch, key: str, secret: str) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)


def _allow(action: str) -> str:
    statement = {"Effect": "Allow", "Action": action, "Resource": "*"}
    return orjson.dumps({"Version": "2012-10-17", "Statement": [statement]}).decode()


def _user(aws: Aws, name: str, *actions: str) -> tuple[str, str]:
    """Access keys of a user who may do this alone, once the server is strict."""
    iam = aws.client("iam")
    iam.create_user(UserName=name)
    for number, action in enumerate(actions):
        iam.put_user_policy(UserName=name, PolicyName=f"p{number}", PolicyDocument=_allow(action))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    iam.close()
    return key["AccessKeyId"], key["SecretAccessKey"]


def _strict(aws: Aws) -> None:
    aws.post("/moto-api/reset-auth", "0")


@pytest.mark.parametrize(
    ("uri", "prefix"),
    [
        ("s3://rejects", ""),
        ("s3://rejects/", ""),
        ("S3://rejects/customerio/eu/", "customerio/eu/"),
        ("s3://rejects/kälte und wärme", "kälte und wärme/"),
    ],
)
def test_lines_stand_in_the_bucket(aws: Aws, uri: str, prefix: str) -> None:
    sink = sink_to(uri)
    sink.check()
    assert aws.objects("rejects") == {}

    location = write(sink)

    assert aws.objects("rejects") == {f"{prefix}persons/2026-02-03/123005-{RUN}.jsonl": STORED}
    assert location == f"s3://rejects/{prefix}persons/2026-02-03/123005-{RUN}.jsonl"


def test_checking_leaves_no_unfinished_upload(aws: Aws) -> None:
    sink_to("s3://rejects/x").check()

    s3 = aws.client("s3")
    assert s3.list_multipart_uploads(Bucket="rejects").get("Uploads", []) == []
    s3.close()


def test_nothing_is_uploaded_for_no_lines(aws: Aws) -> None:
    assert write(sink_to("s3://rejects"), lines=[b"", b"\n"]) == ""
    assert aws.objects("rejects") == {}


def test_a_second_object_of_the_same_second_replaces_nothing(aws: Aws) -> None:
    sink = sink_to("s3://rejects")
    for number in range(3):
        write(sink, lines=[b"%d" % number])

    assert sorted(aws.objects("rejects").values()) == [b"0\n", b"1\n", b"2\n"]


def test_nothing_is_uploaded_when_the_lines_break_off(aws: Aws, tmp_path: Path) -> None:
    def lines() -> Iterator[bytes]:
        yield b"{}"
        raise KeyError("the caller's own")

    with pytest.raises(KeyError, match="the caller's own"):
        write(sink_to("s3://rejects"), lines=lines())

    assert aws.objects("rejects") == {}
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_right_to_put_objects_is_enough(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch, *_user(aws, "writer", "s3:PutObject"))
    _strict(aws)
    sink = sink_to("s3://rejects")

    sink.check()
    write(sink)

    aws.post("/moto-api/reset-auth", "inf")
    assert list(aws.objects("rejects").values()) == [STORED]


def test_the_keys_of_a_user_are_used(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch, *_user(aws, "writer", "s3:PutObject", "s3:AbortMultipartUpload"))
    _strict(aws)
    sink = sink_to("s3://rejects")

    sink.check()
    write(sink)

    aws.post("/moto-api/reset-auth", "inf")
    assert list(aws.objects("rejects").values()) == [STORED]


def test_a_profile_is_used(aws: Aws, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    key, secret = _user(aws, "writer", "s3:PutObject", "s3:AbortMultipartUpload")
    (tmp_path / "credentials").write_text(f"[dwh]\naws_access_key_id={key}\naws_secret_access_key={secret}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_PROFILE", "dwh")
    _strict(aws)

    sink_to("s3://rejects").check()

    monkeypatch.setenv("AWS_PROFILE", "dhw")
    assert "AWS_PROFILE names a profile" in failure(sink_to("s3://rejects"))


def test_an_instance_profile_is_used(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", aws.url)

    write(sink_to("s3://rejects"))

    assert list(aws.objects("rejects").values()) == [STORED]


def _role(aws: Aws, *actions: str) -> None:
    iam = aws.client("iam")
    iam.create_role(RoleName="rejects", AssumeRolePolicyDocument=_allow("sts:AssumeRole"))
    for number, action in enumerate(actions):
        iam.put_role_policy(RoleName="rejects", PolicyName=f"p{number}", PolicyDocument=_allow(action))
    iam.close()


def test_a_role_is_assumed(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    _role(aws, "s3:PutObject", "s3:AbortMultipartUpload")
    _use(monkeypatch, *_user(aws, "assumer", "sts:AssumeRole"))
    _strict(aws)

    assert "may not be written with these AWS credentials" in failure(sink_to("s3://rejects"))
    sink = sink_to("s3://rejects", rejects_role_arn=ROLE)
    sink.check()
    write(sink)

    aws.post("/moto-api/reset-auth", "inf")
    assert list(aws.objects("rejects").values()) == [STORED]


def test_the_external_id_is_told_and_the_session_names_nobody(aws: Aws) -> None:
    aws.post("/moto-api/recorder/reset-recording")
    aws.post("/moto-api/recorder/start-recording")
    try:
        sink_to("s3://rejects", rejects_role_arn=ROLE, rejects_external_id="dwh-42").check()
    finally:
        aws.post("/moto-api/recorder/stop-recording")
    with urllib.request.urlopen(aws.url + "/moto-api/recorder/download-recording") as answer:
        requests = [orjson.loads(line) for line in answer.read().splitlines()]

    bodies = [b64decode(each["body"]).decode() for each in requests if each["body_encoded"] and each["body"]]
    assumed = [body for body in bodies if "AssumeRole" in body]
    assert len(assumed) == 1
    assert "ExternalId=dwh-42" in assumed[0]
    assert "RoleSessionName=cio-assets" in assumed[0]


def test_a_role_that_may_not_be_assumed_is_told(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    _role(aws, "s3:PutObject")
    _use(monkeypatch, *_user(aws, "other", "s3:PutObject"))
    _strict(aws)

    said = failure(sink_to("s3://rejects", rejects_role_arn=ROLE))

    assert "the role of CIO_REJECTS_ROLE_ARN cannot be assumed (AccessDenied)" in said


def test_a_role_without_rights_is_told(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    _role(aws)
    _use(monkeypatch, *_user(aws, "assumer", "sts:AssumeRole"))
    _strict(aws)

    assert "allow them s3:PutObject" in failure(sink_to("s3://rejects", rejects_role_arn=ROLE))


@pytest.mark.parametrize("kind", ["key", "secret"])
def test_wrong_keys_are_told_and_not_shown(aws: Aws, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    key, secret = _user(aws, "writer", "s3:*")
    _use(monkeypatch, *{"key": ("AKIANOBODYNOBODY0001", secret), "secret": (key, "s3cr3t-but-wrong")}[kind])
    _strict(aws)

    said = failure(sink_to("s3://rejects"))

    assert "the AWS credentials were refused (" in said
    assert key not in said
    assert secret not in said


def test_a_missing_bucket_is_told(aws: Aws) -> None:
    assert "the bucket nowhere is not there (NoSuchBucket)" in failure(sink_to("s3://nowhere/x"))


def test_missing_credentials_are_told(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    assert "AWS credentials are missing or incomplete" in failure(sink_to("s3://rejects"))
    assert "AWS credentials are missing or incomplete" in failure(sink_to("s3://rejects", rejects_role_arn=ROLE))

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAHALFHALFHALFHALF")
    assert "AWS credentials are missing or incomplete" in failure(sink_to("s3://rejects"))


def test_a_metadata_service_that_never_answers_is_not_waited_for_long(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(RejectsSinkError, match="credentials are missing"):
            sink_to("s3://rejects").check()

    assert time.monotonic() - began < 10


def test_a_server_that_is_not_there_is_told(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{probe.getsockname()[1]}")

        with pytest.raises(RejectsSinkError, match=r"S3 cannot be reached \(EndpointConnectionError\)"):
            sink_to("s3://rejects").check()


@pytest.mark.parametrize(
    "url", ["http://s3.example.com", "http://127.0.0.1.example.com:9000", "http://10.0.0.1:9000", "http://[::2]:9000"]
)
def test_rows_are_sent_encrypted_only(aws: Aws, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)

    said = failure(sink_to("s3://rejects"))

    assert "encrypted only: give AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL an https:// address" in said


def test_the_role_is_asked_for_encrypted_only(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://sts.example.com")

    assert "AWS_ENDPOINT_URL_STS" in failure(sink_to("s3://rejects", rejects_role_arn=ROLE))


@pytest.mark.parametrize("url", ["nonsense", "https://", "ftp://127.0.0.1"])
def test_an_odd_endpoint_is_told(aws: Aws, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)

    assert failure(sink_to("s3://rejects")).startswith("CIO_REJECTS_URI: ")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """A certificate of 127.0.0.1 that nobody knows yet."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("certificate")
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return {name: folder / f"{name}.pem" for name in ("cert", "key")}


def test_an_unknown_certificate_is_refused_and_a_known_one_is_not(
    certificate: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _use(monkeypatch, "AKIAEXAMPLEEXAMPLE01", "s3cr3t-of-the-test")
    for port in serve(tmp_path, "-s", "-c", str(certificate["cert"]), "-k", str(certificate["key"])):
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://127.0.0.1:{port}")
        sink = sink_to("s3://rejects")

        assert "the certificate of the endpoint is not trusted" in failure(sink)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate["cert"]))
        assert "the bucket rejects is not there" in failure(sink)


def test_fifty_megabytes_pass_in_bounded_memory(aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))

    done = python(MANY_LINES, "s3://rejects/large", str(tmp_path / "home"))

    assert done.returncode == 0, done.stderr
    grown, location = done.stdout.split()
    s3 = aws.client("s3")
    size = s3.head_object(Bucket="rejects", Key=location.removeprefix("s3://rejects/"))["ContentLength"]
    s3.close()
    assert size == 50_000_000
    assert float(grown) < 30
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == []
