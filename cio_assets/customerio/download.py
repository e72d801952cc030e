"""Fetches the file behind a signed link: without our credentials, piece by piece, and without a word about the link.

The link itself is a secret: whoever has it has the file. No exception and no log line holds any of it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import requests
import urllib3
from requests.utils import get_environ_proxies

from .errors import AnswerInvalid, RequestRefused, ServiceUnavailable
from .transport import _is_loopback, _reason, _urllib3_silent

_PIECE: Final = 1 << 20
_SCHEMES: Final = ("http", "https")


def download(link: str, to: Path, *, timeout: tuple[float, float] = (10, 90)) -> int:
    """Write the file to `to`, for the owner's eyes only, and answer its bytes; not retried, redirects are followed.

    Raises RequestRefused (4xx: the link has expired), ServiceUnavailable (5xx, no or half an answer) and AnswerInvalid
    (no link at all). OSErrors of writing pass.
    """
    if not isinstance(link, str) or urlsplit(link).scheme not in _SCHEMES:
        raise AnswerInvalid("the answer holds no link to the file")
    with requests.Session() as session:
        session.trust_env = False  # no .netrc: storage refuses a second way to authenticate
        if not _is_loopback(link):
            session.proxies.update(get_environ_proxies(link))
        session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        try:
            with _urllib3_silent(), session.get(link, stream=True, timeout=timeout) as answer:
                if answer.status_code != 200:
                    kind = RequestRefused if 400 <= answer.status_code < 500 else ServiceUnavailable
                    raise kind(f"the file was answered {answer.status_code}", status=answer.status_code)
                return _write(answer, to)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise ServiceUnavailable(f"the file could not be fetched ({_reason(error)})") from None


def _write(answer: requests.Response, to: Path) -> int:
    size = 0
    with os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        for piece in answer.iter_content(_PIECE):
            size += file.write(piece)
    told = answer.headers.get("Content-Length", "")
    if told.isdecimal() and "Content-Encoding" not in answer.headers and size != int(told):
        raise ServiceUnavailable("the file was cut short")
    return size
