"""Turns keys into the Authorization header of each API (section 1), and refuses what cannot be a key."""

import base64
import re
from typing import Final

from .errors import CredentialsRefused

APP_KEY_VARIABLE: Final = "CUSTOMERIO_APP_API_KEY"
APP_KEY_FOUND_AT: Final = "Customer.io > Settings > Account settings > API credentials > App API keys"
SITE_ID_VARIABLE: Final = "CUSTOMERIO_SITE_ID"
TRACK_KEY_VARIABLE: Final = "CUSTOMERIO_TRACK_API_KEY"
TRACK_KEYS_FOUND_AT: Final = "Customer.io > Settings > Account settings > API credentials > Tracking API keys"


def bearer(key: str) -> str:
    """The App API's header. White space around the key is dropped. Raises CredentialsRefused if it cannot be one."""
    return f"Bearer {_usable(key, APP_KEY_VARIABLE, APP_KEY_FOUND_AT)}"


def basic(site_id: str, key: str) -> str:
    """The Track API's header; as `bearer`."""
    user = _usable(site_id, SITE_ID_VARIABLE, TRACK_KEYS_FOUND_AT, forbidden=":")  # it would end the user name
    password = _usable(key, TRACK_KEY_VARIABLE, TRACK_KEYS_FOUND_AT)
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def _usable(key: str, variable: str, found_at: str, forbidden: str = " ") -> str:
    key = key.strip()
    if not re.fullmatch(r"[\x21-\x7e]+", key) or forbidden in key:
        fault = "holds white space or characters that no key has" if key else "is empty"
        raise CredentialsRefused(f"{variable} {fault}: copy it from {found_at}.")
    return key
