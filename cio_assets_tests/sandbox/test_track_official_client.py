"""Every call of the official Python client, as it is, over TLS: it insists on https."""

import datetime as dt
import ipaddress
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from customerio import CustomerIO, CustomerIOException

from cio_assets.sandbox import Sandbox, launch

from .client import NOW
from .conftest import EMPTY
from .track_client import ULID


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Write a certificate of 127.0.0.1 that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sandbox")])
    today = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return files


@pytest.fixture(scope="module")
def running(certificate: tuple[Path, Path]) -> Iterator[Sandbox]:
    with launch(**EMPTY, tls_certificate=str(certificate[0]), tls_key=str(certificate[1])) as box:
        assert box.url.startswith("https://127.0.0.1:")
        yield box


@pytest.fixture
def client(running: Sandbox, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[CustomerIO]:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    port = int(running.url.rpartition(":")[2])
    with CustomerIO(running.site_id, running.track_key, host="127.0.0.1", port=port) as official:
        yield official


def events(box: Sandbox, name: str) -> list[dict[str, object]]:
    return [row for row in box.truth("track_events") if row["name"] == name]


def test_identify(running: Sandbox, client: CustomerIO) -> None:
    moment = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
    client.identify(id="5", email="five@x.example", name="Zoë", plan="premium", created_at=moment, score=1.5,
                    missing=float("nan"), vip=True)  # fmt: skip
    attributes = running.person("id", "5") or {}
    assert attributes["email"] == "five@x.example"
    assert {name: attributes.get(name) for name in ("name", "plan", "created_at", "score", "missing", "vip")} == {
        "name": "Zoë", "plan": "premium", "created_at": str(int(moment.timestamp())), "score": "1.5", "missing": None,
        "vip": "true",
    }  # fmt: skip
    client.identify(id="five@x.example", plan="basic")
    assert (running.person("id", "5") or {})["plan"] == "basic"


def test_track(running: Sandbox, client: CustomerIO) -> None:
    for _ in range(2):
        client.track("t 1/ü", "purchase", {"price": 23.45, "at": dt.datetime(2026, 1, 2)}, id=ULID, timestamp=NOW - 5)
    (event,) = events(running, "purchase")
    assert (event["id"], event["identifiers"], event["timestamp"]) == (ULID, {"id": "t 1/ü"}, NOW - 5)
    assert event["attributes"] == {"price": 23.45, "at": 1767312000}
    assert running.person("id", "t 1/ü")


def test_track_anonymous(running: Sandbox, client: CustomerIO) -> None:
    client.track_anonymous("anon-9", "looked", {"at": "shop"}, timestamp=NOW - 5)
    assert events(running, "looked")[0]["cio_id"] is None
    client.identify(id="known", anonymous_id="anon-9")
    assert events(running, "looked")[0]["cio_id"] == (running.person("id", "known") or {})["cio_id"]
    client.track_anonymous(None, "nobody")
    assert events(running, "nobody")[0]["identifiers"] == {}


def test_pageview(running: Sandbox, client: CustomerIO) -> None:
    client.pageview("viewer", "https://x.example/", referrer="https://y.example/")
    (event,) = events(running, "https://x.example/")
    assert (event["type"], event["attributes"]) == ("page", {"referrer": "https://y.example/"})


def test_backfill(running: Sandbox, client: CustomerIO) -> None:
    client.backfill("late", "signup", dt.datetime(2025, 1, 2, tzinfo=dt.UTC), source="web")
    (event,) = events(running, "signup")
    assert (event["timestamp"], event["attributes"]) == (1735776000, {"source": "web"})


def test_delete(running: Sandbox, client: CustomerIO) -> None:
    client.identify(id="gone")
    client.delete("gone")
    assert running.person("id", "gone") is None


def test_devices(running: Sandbox, client: CustomerIO) -> None:
    client.add_device("owner", "token/1", "ios", last_used=NOW - 9, attributes={"app_version": "2"})
    client.add_device("owner", "token 2", "android")
    cio_id = (running.person("id", "owner") or {})["cio_id"]
    rows = [row for row in running.truth("devices") if row["cio_id"] == cio_id]
    assert [(row["token"], row["platform"]) for row in rows] == [("token/1", "ios"), ("token 2", "android")]
    client.delete_device("owner", "token/1")
    assert [row["token"] for row in running.truth("devices") if row["cio_id"] == cio_id] == ["token 2"]


def test_suppress_and_unsuppress(running: Sandbox, client: CustomerIO) -> None:
    client.identify(id="hidden", email="hidden@x.example")
    client.suppress("hidden")
    client.identify(id="hidden", a=1)
    assert running.person("id", "hidden") is None
    assert [row["id"] for row in running.truth("suppressed")] == ["hidden"]
    client.unsuppress("hidden")
    client.identify(id="hidden", a=1)
    assert (running.person("id", "hidden") or {})["a"] == "1"


def test_merge_customers(running: Sandbox, client: CustomerIO) -> None:
    client.identify(id="first", plan="pro")
    client.identify(id="second", email="second@x.example", plan="free", city="Ulm")
    client.merge_customers("id", "first", "email", "second@x.example")
    attributes = running.person("id", "first") or {}
    assert (attributes["plan"], attributes["city"]) == ("pro", "Ulm")
    assert running.person("id", "second") is None
    client.merge_customers("id", "first", "cio_id", attributes["cio_id"])
    assert running.person("id", "first")


def test_batch(running: Sandbox, client: CustomerIO) -> None:
    operations = [
        {"type": "person", "action": "identify", "identifiers": {"id": f"b{n}"}, "attributes": {"text": "Zoë 🦊" * 20}}
        for n in range(600)
    ]
    assert client.batch(operations).status_code == 200
    assert all(running.person("id", f"b{n}") for n in (0, 599))
    response = client.batch([operations[0], {"type": "person", "action": "identify", "identifiers": {}}])
    assert (response.status_code, response.json()["errors"][0]["batch_index"]) == (207, 1)


def test_refusals_are_exceptions(running: Sandbox, client: CustomerIO) -> None:
    with pytest.raises(CustomerIOException, match="event name cannot be longer than 100 bytes"):
        client.track("x", "n" * 101)
    wrong = CustomerIO(running.site_id, "wrong", host="127.0.0.1", port=client.port)
    with wrong, pytest.raises(CustomerIOException, match="401"):
        wrong.identify(id="x")


def test_a_server_error_is_retried(running: Sandbox, client: CustomerIO) -> None:
    running.faults(rules=[{"kind": "500", "times": 1}])
    client.identify(id="retried")
    assert running.person("id", "retried")
    assert running.stats()["injected"] == {"500": 1}
