"""Sends an outbox: its lanes one after the other, the batches of a lane side by side, each answer into the journal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import orjson

from cio_assets.customerio import limits, overlap
from cio_assets.customerio.track_client import EverythingRefused, OperationRefusal, TrackClient
from cio_assets.reverse_etl.outbox import Lane, Outbox, Parcel

Progress = Callable[[int], object]
"""Told how many operations have been answered so far, after each batch."""


def deliver(outbox: Outbox, client: TrackClient, progress: Progress = lambda _: None) -> None:
    """Send everything; raises what the client raises, once the batches under way have been answered and noted."""
    answered = 0

    def send(parcel: Parcel) -> int:
        # Noted in the sending thread: an answer is in the journal even if another batch stops the run meanwhile.
        try:
            if parcel.lane in (Lane.SEGMENT, Lane.GONE_SEGMENT):
                _change_segments(outbox, client, parcel)
            elif parcel.lane is Lane.ANONYMOUS:
                _note(outbox, parcel, client.send_anonymous_events(parcel.batch))
            else:
                _note(outbox, parcel, client.send_batch(parcel.batch))
        except EverythingRefused as error:
            for one in error.refused:  # the next push begins behind them
                outbox.answered(parcel.lane, parcel.first + one.index, 1, [replace(one, index=0)])
            raise
        return len(parcel.batch.ends)

    for lane in outbox.lanes():
        if not lane.sends:
            continue
        parcels, workers = outbox.parcels(lane), client.workers
        if lane is Lane.ANONYMOUS:
            parcels, workers = _cut(parcels), _SINGLE_WORKERS
        for _, count in overlap(workers, parcels, send):
            answered += count
            progress(answered)


def _note(outbox: Outbox, parcel: Parcel, refusals: Sequence[OperationRefusal]) -> None:
    outbox.answered(parcel.lane, parcel.first, len(parcel.batch.ends), refusals)


_ONE_BY_ONE = 20
"""Anonymous events of one piece of work: they are one request each, so few are under way when a run dies."""
_SINGLE_WORKERS = 16
"""Threads for them: with fewer, 100 requests a second are out of reach over a slow line."""


def _cut(parcels: Iterator[Parcel]) -> Iterator[Parcel]:
    for parcel in parcels:
        for first in range(0, len(parcel.batch.ends), _ONE_BY_ONE):
            yield parcel.part(first, min(first + _ONE_BY_ONE, len(parcel.batch.ends)))


def _change_segments(outbox: Outbox, client: TrackClient, parcel: Parcel) -> None:
    """One request per run of neighbours with the same segment and kind of id, at most 1000 people each."""
    action = "remove_customers" if parcel.lane.removes else "add_customers"
    members: list[dict[str, Any]] = orjson.loads(b"[" + bytes(parcel.batch.content)[:-1] + b"]")
    first = parcel.first
    for (segment, id_type), run in groupby(members, key=lambda member: (member["segment_id"], member["id_type"])):
        ids = [member["id"] for member in run]
        for start in range(0, len(ids), limits.SEGMENT_IDS):
            some = ids[start : start + limits.SEGMENT_IDS]
            refusals = client.change_segment(segment, action, id_type, some)
            outbox.answered(parcel.lane, first, len(some), refusals)
            first += len(some)
