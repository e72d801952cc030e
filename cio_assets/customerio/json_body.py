"""Reads the JSON of an answer: fast where it is plain, forgiving where real data are odd, exact for huge numbers."""

import json
import math
import re
from typing import Any

import orjson

# orjson reads an integer beyond 64 bits as a float and loses digits: such bodies take the slow way.
_HUGE_NUMBER = re.compile(rb"[:,\[ ]-?\d{19}")
_SURROGATE = re.compile("[\ud800-\udfff]")


def read_json(content: bytes) -> Any:
    """The value in `content`. Lone surrogates (half an emoji, cut by somebody's code) become U+FFFD.

    Raises ValueError if it is not JSON (an HTML error page, an empty body, NaN).
    """
    if not _HUGE_NUMBER.search(content):
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError:
            pass
    try:
        return _whole(json.loads(content, parse_constant=_refuse, parse_float=_float))
    except RecursionError:
        raise ValueError("nested too deep") from None


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _float(text: str) -> float | str:
    """A number beyond the range of a float stays text: infinity would not be JSON again."""
    number = float(text)
    return number if math.isfinite(number) else text


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {_whole(name): _whole(item) for name, item in value.items()}
    return value
