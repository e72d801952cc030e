"""Does one piece of work per item with a few threads, so that the budget is used while answers are under way."""

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class HasWorkers(Protocol):
    @property
    def workers(self) -> int: ...


def overlap(
    client_or_workers: HasWorkers | int, work_items: Iterable[Item], work: Callable[[Item], Result]
) -> Generator[tuple[Item, Result], None, None]:
    """Yields `(item, work(item))` in order of completion. At most twice as many items as workers are taken ahead.

    The first exception (of `work` or of the iterable) cancels what has not started, lets what runs finish, and is
    raised; results that were ready before it are yielded first. Closing the generator stops it the same way.
    KeyboardInterrupt and the like do not wait for what runs: closing the client wakes that from its waits.
    """
    workers = client_or_workers if isinstance(client_or_workers, int) else client_or_workers.workers
    pending: dict[Future[Result], Item] = {}
    executor = ThreadPoolExecutor(max(1, workers), thread_name_prefix="customerio")
    patient = True
    try:
        for item in work_items:
            pending[executor.submit(work, item)] = item
            # Full: wait for the first result. Not full: hand over what is ready and go on.
            full = len(pending) >= 2 * workers
            yield from _finished(pending, timeout=None if full else 0)
        while pending:
            yield from _finished(pending, timeout=None)
    except (Exception, GeneratorExit):
        raise
    except BaseException:
        patient = False
        raise
    finally:
        executor.shutdown(wait=patient, cancel_futures=True)


def _finished(pending: dict[Future[Result], Item], timeout: float | None) -> Iterator[tuple[Item, Result]]:
    done = wait(pending, timeout, return_when=FIRST_COMPLETED).done
    failed = [future for future in done if future.exception() is not None]
    for future in done.difference(failed):
        yield pending.pop(future), future.result()
    for future in failed:
        future.result()
