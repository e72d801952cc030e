"""Odd but real JSON is read; what is not JSON is refused."""

import pytest

from cio_assets.customerio import AppClient, Call
from cio_assets.customerio.json_body import read_json

from .http_server import Say, Server


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b'{"a": 1.5, "b": null}', {"a": 1.5, "b": None}),
        (rb'["\ud800", "\ud83d\ude00", {"x\udc00": 1}]', ["\ufffd", "😀", {"x\ufffd": 1}]),
        (b"[123456789012345678901234567890]", [123456789012345678901234567890]),
        (b'{"a":-9223372036854775809}', {"a": -9223372036854775809}),
        (b'\xef\xbb\xbf{"bom": 1}', {"bom": 1}),
        (b"[1e999]", ["1e999"]),
    ],
)
def test_odd_json(content: bytes, value: object) -> None:
    assert read_json(content) == value


@pytest.mark.parametrize("content", [b"", b"<html>", b"{", b"NaN", b"[Infinity]", b"\xff\xff", b"[" * 100_000])
def test_not_json(content: bytes) -> None:
    with pytest.raises(ValueError):
        read_json(content)


def test_over_the_wire(server: Server, client: AppClient) -> None:
    server.say(Say(body=rb'{"subject":"cut emoji \ud83d"}'))
    assert client.send(Call("GET", "/v1/messages")).body == {"subject": "cut emoji \ufffd"}
