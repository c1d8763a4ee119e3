"""Work handed out to workers that may die: processes of this machine, or whatever else can be asked."""

import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any, Protocol, TypeVar

Item = TypeVar("Item", bound=Hashable)
Done = TypeVar("Done")

# What ended its worker so often is not tried again.
MOST_TRIES = 3
# Items handed out and not yet done, for each worker: enough to keep it busy.
IN_FLIGHT = 4
# Seconds without anything done after which workers are asked whether they are there at all.
PATIENCE = 5.0
# Threads of a matrix product in each worker, by the variable that each BLAS reads.
THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


class Workers(Protocol):
    """Where work is done, several items at a time."""

    @property
    def count(self) -> int:
        """How many items are done at the same time, at present."""

    def submit(self, work: Callable[[Any], Done], item: Any) -> "Future[Done]":
        """Hand out an item."""

    def died(self, error: BaseException) -> bool:
        """Tell whether an error says that a worker died; raise what says it better, if it is neither."""

    def renew(self) -> bool:
        """Make ready again after a death; true if everything that was in flight is lost with it."""

    def idle(self) -> None:
        """Look after the workers: nothing has come for a while."""

    def close(self) -> None:
        """Let go of them, and of what is not done."""


def hand_out(
    work: Callable[[Item], Done], items: Iterator[Item], workers: Workers, given_up: Callable[[Item, str], Done]
) -> Iterator[Done]:
    """Yield what the work makes of each item, as it is done; a bounded number is in flight.

    A worker that dies loses nothing: what it had goes again. What was in flight at several deaths
    is handed out alone, and is ``given_up`` when it dies again.
    """
    tries: dict[Item, int] = {}  # of what is handed out
    again: list[Item] = []
    futures = dict[Future[Done], Item]()
    try:
        while True:
            # After a death one at a time, until it is known whose it was.
            suspects = again or any(tries[item] > 1 for item in futures.values())
            free = (1 if suspects else workers.count * IN_FLIGHT) - len(futures)
            for item in itertools.islice(itertools.chain(_emptied(again), items), max(free, 0)):
                tries[item] = tries.get(item, 0) + 1
                futures[workers.submit(work, item)] = item
            if not futures:
                return
            finished, _ = wait(futures, timeout=PATIENCE, return_when=FIRST_COMPLETED)
            if not finished:
                workers.idle()
            died = False
            for future in finished:
                item = futures.pop(future)
                try:
                    done = future.result()
                except BaseException as error:
                    if not workers.died(error):
                        raise
                    died = True
                    if tries[item] < MOST_TRIES:
                        again.append(item)
                        continue
                    done = given_up(item, f"its worker died {MOST_TRIES} times")
                del tries[item]
                yield done
            if died and workers.renew():
                again += futures.values()
                futures.clear()
    finally:
        workers.close()


def _emptied(items: list[Item]) -> Iterator[Item]:
    while items:
        yield items.pop()


class Processes:
    """So many processes of this machine, made afresh; where one dies all of them are."""

    def __init__(self, jobs: int, made: Callable[[int], Executor] | None = None) -> None:
        self.count, self._made = jobs, made or pool
        self._executor = self._made(jobs)

    def submit(self, work: Callable[[Any], Done], item: Any) -> "Future[Done]":
        """Hand out an item; this is when processes are started."""
        with one_thread_each(), born_deaf():
            return self._executor.submit(work, item)

    def died(self, error: BaseException) -> bool:
        """Tell whether the pool is broken."""
        return isinstance(error, BrokenExecutor)

    def renew(self) -> bool:
        """Make a new pool: a broken one does nothing any more."""
        self.close()
        self._executor = self._made(self.count)
        return True

    def idle(self) -> None:
        """Wait on: a process that dies is noticed."""

    def close(self) -> None:
        """Let go of the processes."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def pool(jobs: int) -> Executor:
    """Return an executor of so many fresh processes."""
    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_deaf)


@contextmanager
def born_deaf() -> Iterator[None]:
    """Let processes that are started now not hear Ctrl-C, from their first moment: it stays blocked in them.

    Here it is delivered afterwards.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # the first worker would start it, and that unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _deaf() -> None:
    """Leave Ctrl-C, which a terminal sends to all, to the process that hands out the work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let workers that are started now use one thread each; several would fight for the cores."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
