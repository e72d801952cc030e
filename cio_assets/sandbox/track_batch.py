"""`/api/v2/entity` and `/api/v2/batch`: sizes, checks one by one, and the 207 that names what was refused."""

import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import orjson

from cio_assets.sandbox.stats import Stats
from cio_assets.sandbox.track_checks import Checked, Refusal, as_json, invalid
from cio_assets.sandbox.track_operations import check
from cio_assets.sandbox.track_writer import Writer

OPERATION_BYTES, BATCH_BYTES = 32_768, 500_000
BEGIN = re.compile(rb'\s*\{\s*"batch"\s*:\s*\[\s*')
BETWEEN = re.compile(r"\s*,\s*")
KEYS = ("batch_index", "reason", "field", "message")
TOO_LARGE = invalid("", f"operation must be smaller than {OPERATION_BYTES} bytes")
DECODER = json.JSONDecoder()
Errors = list[dict[str, Any]]


class Batches:
    """Answers the two endpoints of version 2."""

    def __init__(self, writer: Writer, stats: Stats) -> None:
        self._writer = writer
        self._stats = stats
        self._bare = 0

    def entity(self, document: Any, raw: bytes, now: int) -> tuple[int, Errors]:
        """Apply one operation; returns the status and the errors."""
        refusal = TOO_LARGE if len(raw) > OPERATION_BYTES else None
        text = _attributes(document)
        refusal = refusal or check(document, text) or self._writer.refuse(document)
        if refusal:
            self._stats.operations_refused += 1
            return 400, [_error(refusal)]
        self._writer.apply(document, text or b"", now)
        self._stats.operations[f"{document['type']}.{document['action']}"] += 1
        return 200, []

    def batch(self, document: Any, raw: bytes, now: int, late_fault: Callable[[], str | None]) -> tuple[int, Errors]:
        """Apply what can be applied of a batch; returns the status and the errors."""
        if len(raw) > BATCH_BYTES:
            return 400, [_error(invalid("batch", f"batch must be smaller than {BATCH_BYTES} bytes"))]
        if type(document) is not dict or document.keys() != {"batch"} or type(document["batch"]) is not list:
            return 400, [_error(invalid("batch", "the body must be an object with the array batch and nothing else"))]
        operations = document["batch"]
        too_large = _too_large(operations, raw)
        texts: list[bytes | None] = []
        errors: Errors = []
        refused: set[int] = set()
        for index, operation in enumerate(operations):
            text = _attributes(operation)
            texts.append(text)
            refusal = TOO_LARGE if index in too_large else check(operation, text) or self._refuse(operation)
            if refusal:
                errors.append({"batch_index": index} | _error(refusal))
                refused.add(index)
        fault = late_fault() if errors else None
        self._stats.operations_refused += len(operations) if fault == "batch400" else len(errors)
        if fault == "batch400":
            return 400, [_error(invalid("batch", "the batch holds invalid operations"))]
        apply = self._writer.apply
        accepted: Counter[tuple[str, str]] = Counter()
        for index, (operation, text) in enumerate(zip(operations, texts, strict=True)):
            if index not in refused:
                apply(operation, text or b"", now)
                accepted[operation["type"], operation["action"]] += 1
        self._stats.operations.update({f"{kind}.{action}": count for (kind, action), count in accepted.items()})
        if fault == "bare207":
            for error in errors:
                del error[KEYS[self._bare % len(KEYS)]]
                self._bare += 1
        return (207, errors) if errors else (200, [])

    def _refuse(self, operation: dict[str, Any]) -> Checked:
        if operation["type"] == "person" and "cio_relationships" not in operation:
            return None
        return self._writer.refuse(operation)


def _attributes(operation: Any) -> bytes | None:
    """Return the JSON of an operation's attributes, b"" without any, None where it is nested too deep."""
    if type(operation) is not dict or not (attributes := operation.get("attributes")):
        return b""
    return as_json(attributes)


def _error(refusal: Refusal) -> dict[str, Any]:
    reason, field, message = refusal
    return {"reason": reason, "field": field, "message": message}


def _too_large(operations: list[Any], raw: bytes) -> set[int]:
    """Return the places of the operations that are larger, as they were sent, than an operation may be."""
    if len(raw) <= OPERATION_BYTES:
        return set()
    try:
        sizes = [len(orjson.dumps(operation)) for operation in operations]
    except TypeError:  # one is nested too deep for that
        return _measured(raw)
    # Blanks and escapes make an operation longer than its shortest JSON; often there are too few to matter.
    spare = len(raw) - sum(sizes)
    return set() if max(sizes, default=0) + spare <= OPERATION_BYTES else _measured(raw)


def _measured(raw: bytes) -> set[int]:
    begin = BEGIN.match(raw)
    if begin is None:
        return set()
    text, ascii_only = raw[begin.end() :].decode(), raw.isascii()
    place, found, index = 0, set(), 0
    while text[place : place + 1] != "]":
        _, end = DECODER.raw_decode(text, place)
        size = end - place
        if size > OPERATION_BYTES or (not ascii_only and len(text[place:end].encode()) > OPERATION_BYTES):
            found.add(index)
        index += 1
        comma = BETWEEN.match(text, end)
        if comma is None:
            break
        place = comma.end()
    return found
