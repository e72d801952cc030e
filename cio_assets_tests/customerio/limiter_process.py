"""A process that spends from a shared budget: `python -m … URL DIRECTORY NAME THREADS SECONDS`, or holds a slot."""

import sys
import threading
import time
from pathlib import Path

from cio_assets.customerio import AppClient, Call, RateLimiter


def spend(url: str, directory: str, name: str, threads: int, seconds: float) -> None:
    limiter = RateLimiter(Path(directory), "h", "k", 10)
    with AppClient(base_url=url, key="k", limiter=limiter) as client:
        end = time.monotonic() + seconds

        def go() -> None:
            while time.monotonic() < end:
                client.send(Call("GET", "/v1/messages", query={"who": name}))

        workers = [threading.Thread(target=go) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()


def hold(directory: str) -> None:
    with RateLimiter(Path(directory), "h", "k", 10).slot():
        print("held", flush=True)
        time.sleep(60)


if __name__ == "__main__":
    if sys.argv[1] == "hold":
        hold(sys.argv[2])
    else:
        spend(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5]))
