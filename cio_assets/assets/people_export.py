"""People from an export: a job that Customer.io runs, whose CSV a signed link opens for a quarter of an hour.

Its columns are in no specification: those named like an identifier are taken as such, every other one is an attribute.
Devices and the times of attributes are not in it.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from cio_assets.catalog import Table
from cio_assets.catalog.people import EVERYBODY, IDENTIFIERS, PEOPLE
from cio_assets.catalog.shape import RowInvalid, Shaper
from cio_assets.customerio import AnswerInvalid, AppClient, Call, CustomerioError, NotFound, RequestRefused
from cio_assets.customerio.download import download
from cio_assets.customerio.errors import ServiceUnavailable
from cio_assets.warehouse import Staging

NOT_TOLD = ("unsubscribed", "timestamps", "devices")
"""Columns of `customer_attributes` that no export tells for sure: the stored values stay."""

PATIENCE = 3600.0
"""Seconds that an export may take."""

_LONGEST_PAUSE = 30.0
_DOWNLOADS = 5
_PIECE = 5000
_CREATE, _POLL, _LINK = "/v1/exports/customers", "/v1/exports/{export_id}", "/v1/exports/{export_id}/download"
_PLAIN = frozenset({*IDENTIFIERS, "created_at", "unsubscribed"})
"""Columns that an export has though it names no attribute."""

Sleep = Callable[[float], object]


class ExportFailed(CustomerioError):
    """An export did not end as it should; says its number in Customer.io, and what to do."""


def read(
    table: Table,
    client: AppClient,
    staging: Staging,
    known: int | None = None,
    sleep: Sleep = time.sleep,
) -> int:
    """Stage everybody from an export, `known` or one that is made now; answers its number.

    A run that died while the export was made goes on with it. Raises what the client raises, and `ExportFailed`.
    """
    number = staging.noted.get("export") or known
    try:
        if number is not None:
            return _stage(table, client, staging, _Export(number, sleep))
    except NotFound:  # Customer.io keeps no export for ever
        pass
    number = _create(client)
    staging.append((), noted={"export": number})
    return _stage(table, client, staging, _Export(number, sleep))


@dataclass(frozen=True)
class _Export:
    number: int
    sleep: Sleep


def _stage(table: Table, client: AppClient, staging: Staging, export: _Export) -> int:
    chain = staging.chain(f"export {export.number}")
    if chain.finished:
        return export.number
    path = staging.folder / "export.csv"
    try:
        _fetch(client, export, _done(client, staging, export), path)
        done = 0 if chain.resume is None else int(chain.resume["rows"])
        rows = islice(_rows(table, path, export.number), done, None)
        while piece := list(islice(rows, _PIECE)):
            done += len(piece)
            staging.page(chain, piece, {"rows": done})
        staging.page(chain, ())
    finally:
        path.unlink(missing_ok=True)
    return export.number


def _create(client: AppClient) -> int:
    answer = client.send(Call("POST", _CREATE, json={"filters": EVERYBODY})).body
    number = answer.get("export", {}).get("id") if isinstance(answer, dict) else None
    if type(number) is not int:
        raise AnswerInvalid(f"POST {_CREATE}: the answer names no export", method="POST", path=_CREATE, status=200)
    return number


def _done(client: AppClient, staging: Staging, of: _Export) -> int:
    """Wait until the export is done; answers how many people it holds."""
    waited, pause, number = 0.0, 1.0, of.number
    while True:
        body = client.send(Call("GET", _POLL, {"export_id": number})).body
        export = body.get("export") if isinstance(body, dict) else None
        if not isinstance(export, dict):
            raise AnswerInvalid(f"GET {_POLL}: the answer holds no export", method="GET", path=_POLL, status=200)
        status = export.get("status")
        if status == "failed" or export.get("failed") is True:
            staging.append((), noted={"export": None})
            raise ExportFailed(f"The export {number} failed in Customer.io: run it again, or set CIO_PEOPLE=auto.")
        if status == "done":
            total = export.get("total")
            if type(total) is not int or total < 1:  # 0 is told until it is done; nobody at all is told by the list
                raise ExportFailed(
                    f"The export {number} does not tell how many people it holds, so that a part could be taken for "
                    "the whole: set CIO_PEOPLE=auto. The table is as it was."
                )
            return total
        if waited >= PATIENCE:
            raise ExportFailed(
                f"The export {number} is still '{status}' after {waited / 60:.0f} minutes: run it again later, it goes "
                "on with the same export, or set CIO_PEOPLE=auto."
            )
        of.sleep(pause)
        waited, pause = waited + pause, min(2 * pause, _LONGEST_PAUSE)


def _fetch(client: AppClient, of: _Export, total: int, path: Path) -> None:
    """Download the whole CSV; every attempt with a link of its own, as each is only good for 15 minutes."""
    said, number = "", of.number
    for attempt in range(_DOWNLOADS):
        if attempt:
            of.sleep(2.0**attempt)
        answer = client.send(Call("GET", _LINK, {"export_id": number})).body
        try:
            download(str(answer.get("url")) if isinstance(answer, dict) else "", path)
            rows = sum(1 for _ in _records(path, number)) - 1
        except (AnswerInvalid, RequestRefused, ServiceUnavailable, ExportFailed) as error:
            said = str(error)
        else:
            if rows >= total:
                return
            said = f"it has {rows} rows and should have {total}"
    raise ExportFailed(
        f"The export {number} could not be downloaded whole in {_DOWNLOADS} attempts (the last: {said}). The table is "
        "as it was: run it again, it goes on with the same export."
    )


def _records(path: Path, number: int) -> Iterator[list[str]]:
    """The CSV's records, the header first; all of the same width."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            width = None
            for record in csv.reader(file, strict=True):
                if not record:  # a blank line
                    continue
                width = width or len(record)
                if len(record) != width:
                    raise ExportFailed(f"The CSV of the export {number} has a record of another width than its header")
                yield record
    except (csv.Error, UnicodeDecodeError):
        raise ExportFailed(f"The CSV of the export {number} cannot be read") from None


def _rows(table: Table, path: Path, number: int) -> Iterator[dict[str, Any]]:
    records = _records(path, number)
    header = next(records, [])
    at = _places(header, number)
    if table.name != PEOPLE and {name.lower() for name in header} <= _PLAIN:
        raise ExportFailed(
            f"The CSV of the export {number} holds no attribute, only identifiers: this workspace exports nothing that "
            "is not named. Set CIO_PEOPLE=auto."
        )
    names = list(header)
    for name, place in at.items():
        names[place] = name
    shaper = Shaper(table)
    for record in records:
        told = {name: value for name, value in zip(names, record, strict=True) if value != ""}
        who = {name: told.get(name) for name in IDENTIFIERS}
        try:
            yield shaper.row(who if table.name == PEOPLE else {"identifiers": who, **_attributes(told)}, {})
        except RowInvalid:
            raise ExportFailed(f"The CSV of the export {number} has a row without a cio_id") from None


def _attributes(told: dict[str, str]) -> dict[str, Any]:
    unsubscribed = told.get("unsubscribed")
    return {"attributes": told} | ({"unsubscribed": unsubscribed} if unsubscribed in ("true", "false") else {})


def _places(header: Sequence[str], number: int) -> dict[str, int]:
    """Where the identifiers stand: a column named exactly so, else one that differs in case."""
    lowered = [name.lower() for name in header]
    found = {
        name: header.index(name) if name in header else lowered.index(name) for name in IDENTIFIERS if name in lowered
    }
    if "cio_id" not in found:
        raise ExportFailed(
            f"The CSV of the export {number} has no column cio_id, by which people are told apart: set CIO_PEOPLE=auto."
        )
    return found
