"""Takes personal values and secrets out of texts that end in logs and exceptions."""

import re
from collections.abc import Iterable

LONGEST = 300
_EMAIL = re.compile(r"[^\s@<>\"'(),;:=/?&]+(?:@|%40)[^\s@<>\"'(),;:=/?&]+")
_URL = re.compile(r"\bhttps?://\S+", re.IGNORECASE)
# 20 characters or more of a key's alphabet, with a digit among them: plain words and field names stay readable.
_TOKEN = re.compile(r"(?=[A-Za-z_+/=.-]*\d)[A-Za-z0-9_+/=-][A-Za-z0-9_+/=.-]{18,}[A-Za-z0-9_+/=-]")
_NUMBER = re.compile(r"\+\d[\d ().-]{6,}\d|\d{11,}")
_GRAMMAR = ("field", "operator")
_SPACE = re.compile(r"\s+")


def masked(text: str, values: Iterable[str] = ()) -> str:
    """One line of at most 300 characters without emails, links, long tokens, phone numbers and the given `values`."""
    text = _SPACE.sub(" ", text[: 10 * LONGEST]).strip()
    lowered = text.lower()  # a batch has tens of thousands of values, its answer a few of them
    known = {value for value in values if len(value) > 1 and value.lower() in lowered}
    for value in sorted(known, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "<value>", text, flags=re.IGNORECASE)
    text = _URL.sub("<link>", text)
    text = _EMAIL.sub("<email>", text)
    text = _TOKEN.sub("<token>", text)
    text = _NUMBER.sub("<number>", text)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def strings_in(value: object) -> list[str]:
    """The strings anywhere inside a JSON value, without the field names and operators of a filter."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [found for key, item in value.items() if key not in _GRAMMAR for found in strings_in(item)]
    if isinstance(value, (list, tuple)):
        return [found for item in value for found in strings_in(item)]
    return []


def values_in(value: object) -> list[str]:
    """The strings and numbers anywhere inside a JSON value, as text."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return [str(value)]
    if isinstance(value, dict):
        return [found for item in value.values() for found in values_in(item)]
    if isinstance(value, (list, tuple)):
        return [found for item in value for found in values_in(item)]
    return []
