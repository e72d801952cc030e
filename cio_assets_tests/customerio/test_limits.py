"""The right host for a region, on both APIs."""

import pytest

from cio_assets.customerio import base_url


def test_hosts_by_region() -> None:
    assert base_url("app") == "https://api.customer.io"
    assert base_url("app", " EU ") == "https://api-eu.customer.io"
    assert base_url("track", "us") == "https://track.customer.io"
    assert base_url("track", "eu", "") == "https://track-eu.customer.io"
    assert base_url("app", "eu", " http://127.0.0.1:8085/ ") == "http://127.0.0.1:8085"


@pytest.mark.parametrize("url", ["127.0.0.1:8085", "ftp://x", "https://", "https://me:secret@x", "https://x/?a=1"])
def test_bad_override(url: str) -> None:
    with pytest.raises(ValueError) as caught:
        base_url("app", "us", url)
    assert "secret" not in str(caught.value)


def test_unknown_region() -> None:
    with pytest.raises(ValueError, match="use us or eu"):
        base_url("app", "ap")
