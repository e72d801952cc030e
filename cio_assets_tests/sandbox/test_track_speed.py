"""The sandbox must never be what a push waits for: its own rate of identify operations, and that it keeps listening."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import orjson
import pytest
import requests

from cio_assets.sandbox import launch

from .conftest import EMPTY
from .track_client import Track, identify

PEOPLE, PER_BATCH, CONNECTIONS = 120_000, 1500, 8
SLOWEST = 30_000  # operations a second; about 90 000 on the machine it was written on
MEGABYTES_PER_MILLION = 2500


def _body(first: int, visits: int) -> bytes:
    people = [
        identify(
            f"user-{n}", email=f"user{n}@x.example", first_name="Zoë", last_name="Łukasz", plan="pro", score=n / 10,
            visits=visits, vip=n % 7 == 0, city="Zürich", country="CH", created_at=1700000000 + n, note="Lorem " * 4,
            segment=f"s{n % 50}",
        )
        for n in range(first, first + PER_BATCH)
    ]  # fmt: skip
    return orjson.dumps({"batch": people})


@pytest.mark.alone
def test_takes_batches_faster_than_anybody_sends_them() -> None:
    bodies = [_body(first, 1) for first in range(0, PEOPLE, PER_BATCH)]
    longest, done = [0.0], Event()
    with launch(**EMPTY) as box, ThreadPoolExecutor(CONNECTIONS + 1) as pool:

        def listen() -> None:
            with requests.Session() as session:
                session.trust_env = False
                while not done.wait(0.02):
                    longest[0] = max(longest[0], session.get(f"{box.url}/_sandbox/health").elapsed.total_seconds())

        listening = pool.submit(listen)
        tracks = [Track(box) for _ in range(CONNECTIONS)]
        begin = time.perf_counter()

        def send(track: Track, turn: int) -> None:
            for body in bodies[turn::CONNECTIONS]:
                assert track.raw(body).status_code == 200

        for future in [pool.submit(send, track, turn) for turn, track in enumerate(tracks)]:
            future.result()
        rate = PEOPLE / (time.perf_counter() - begin)
        done.set()
        listening.result()
        assert rate > SLOWEST
        assert longest[0] < 0.5
        assert box.stats()["operations"] == {"person.identify": PEOPLE}
        person = box.person("id", f"user-{PEOPLE - 1}") or {}
        assert (person["visits"], person["first_name"]) == ("1", "Zoë")
        status = Path(f"/proc/{box.pid}/status").read_text().splitlines()
        (resident,) = [int(line.split()[1]) for line in status if line.startswith("VmRSS")]
        assert resident / 1024 < 150 + MEGABYTES_PER_MILLION * PEOPLE / 1_000_000
        for track in tracks:
            track.session.close()
