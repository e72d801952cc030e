"""Reads what the Track API says about operations, whatever keys its errors have or lack (section 9)."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .json_body import read_json

LONGEST_MESSAGE = 500  # characters
UNEXPLAINED = "unexplained"


@dataclass(frozen=True)
class OperationRefusal:
    """Why one operation was refused.

    `index` is its place in the batch; `reason` the service's, or "refused" where it gave none; `field` "" where it gave
    none. `message` are the service's words and MAY HOLD PERSONAL VALUES: for the warehouse only, never for a log.
    """

    index: int
    reason: str
    field: str
    message: str = dataclasses.field(repr=False)


@dataclass(frozen=True)
class Verdict:
    """The operations that an answer names as refused, by place; `complete` if it speaks of no others."""

    refused: Mapping[int, OperationRefusal]
    complete: bool


def read_verdict(status: int, content: bytes, count: int) -> Verdict:
    """What an answer says of `count` operations. A 200 without errors accepts them all; a 207 has to name some."""
    errors = _errors(content)
    refused: dict[int, OperationRefusal] = {}
    for error in errors:
        place = _place(error, count)
        if place is not None:
            refused.setdefault(place, _refusal(place, error))
    nothing_wrong = not errors and status != 207 and 200 <= status < 300
    return Verdict(
        refused, nothing_wrong or (bool(errors) and all(_place(error, count) is not None for error in errors))
    )


def read_single(status: int, content: bytes) -> OperationRefusal | None:
    """What an answer says of the only operation of its request; None if it was accepted."""
    errors = _errors(content)
    if errors:
        return _refusal(0, errors[0])
    if 200 <= status < 300:
        return OperationRefusal(0, UNEXPLAINED, "", "") if status == 207 else None
    return OperationRefusal(0, "refused", "", "")


def _errors(content: bytes) -> Sequence[Any]:
    """`errors[]` of version 2, or the texts of version 1's `meta.error` and `meta.errors`."""
    if content in (b"{}", b""):
        return ()
    try:
        body = read_json(content)
    except ValueError:
        return ()
    if not isinstance(body, Mapping):
        return ()
    meta = body.get("meta")
    meta = meta if isinstance(meta, Mapping) else {}
    for errors in (body.get("errors"), meta.get("errors"), meta.get("error")):
        if errors:
            return errors if isinstance(errors, list) else [errors]
    return ()


def _place(error: Any, count: int) -> int | None:
    index = error.get("batch_index") if isinstance(error, Mapping) else None
    if isinstance(index, str) and index.isascii() and index.isdigit() and len(index) < 10:
        index = int(index)
    return index if type(index) is int and 0 <= index < count else None


def _refusal(place: int, error: Any) -> OperationRefusal:
    if not isinstance(error, Mapping):
        error = {"message": error if isinstance(error, str) else None}
    message = _text(error.get("message")) or _text(error.get("detail"))
    texts = [_text(error.get(name)).strip() for name in ("reason", "field")]
    reason, field = (text if _WORD.fullmatch(text) else "" for text in texts)
    # What is no word goes where personal values may stand.
    unsaid = [text for text, word in zip(texts, (reason, field), strict=True) if text and not word]
    words = ": ".join(filter(None, [*unsaid, message]))[:LONGEST_MESSAGE]
    return OperationRefusal(place, reason or "refused", field, words)


# A reason or a field's name is counted and logged: one word, as code has it. Anything else could be somebody's data.
_WORD = re.compile(r"(?!.*\d{5})[A-Za-z][\w.\[\]-]{0,99}")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
