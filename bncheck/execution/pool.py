"""Work handed out to workers that may die: processes of this machine, or whatever else can be asked."""

import itertools
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

Item = TypeVar("Item", bound=Hashable)
Done = TypeVar("Done")

# What ended its worker so often is not tried again.
MAX_ATTEMPTS = 3
# Batches handed out and not yet done, for each worker: enough to keep it busy ...
BATCHES_PER_WORKER = 4
# ... where one takes so many seconds, in which handing it out takes no time to speak of; and its most items.
BATCH_SECONDS, MAX_BATCH_ITEMS = 0.25, 32
# Seconds without anything done after which workers are asked whether they are there at all.
IDLE_POLL_SECONDS = 5.0
# Threads of a matrix product in each worker, by the variable that each BLAS reads.
BLAS_THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


class WorkerPool(Protocol):
    """Where work is done, several batches of items at a time."""

    @property
    def count(self) -> int:
        """How many batches are done at the same time, at present."""

    def submit(self, work: Callable[[Any], Done], batch: Sequence[Any]) -> "Future[Batch[Done]]":
        """Hand out a batch, to be ``done``."""

    def is_worker_death(self, error: BaseException) -> bool:
        """Tell whether an error says that a worker died; raise what says it better, if it is neither."""

    def restart(self) -> bool:
        """Make ready again after a death; true if everything that was in flight is lost with it."""

    def on_idle(self) -> None:
        """Look after the workers: nothing has come for a while."""

    def close(self) -> None:
        """Let go of them, and of what is not done."""


class Batch(NamedTuple, Generic[Done]):
    """What came of a batch, or of its beginning."""

    results: list[Done]
    seconds: float  # on the worker


def run_batch(work: Callable[[Item], Done], batch: Sequence[Item]) -> Batch[Done]:
    """Do a batch, or of one that takes longer than it should the beginning: this is what a worker is asked for."""
    started, found = time.perf_counter(), list[Done]()
    for item in batch:
        found.append(work(item))
        if time.perf_counter() - started > 2 * BATCH_SECONDS:
            break
    return Batch(found, time.perf_counter() - started)


def run_unordered(
    work: Callable[[Item], Done], items: Iterator[Item], workers: WorkerPool, given_up: Callable[[Item, str], Done]
) -> Iterator[Done]:
    """Yield what the work makes of each item, as it is done; a bounded number is in flight.

    A worker that dies loses nothing: what it had goes again. What was in flight at a death is
    handed out one by one, and is ``given_up`` when that ends its worker again and again.
    """
    in_flight = _Scheduler(work, items, workers, given_up)
    try:
        while in_flight.submit_batches():
            yield from in_flight.completed_items()
    finally:
        workers.close()


class _Scheduler(Generic[Item, Done]):
    """What is handed out and not done, and what goes again."""

    def __init__(
        self,
        work: Callable[[Item], Done],
        items: Iterator[Item],
        workers: WorkerPool,
        given_up: Callable[[Item, str], Done],
    ) -> None:
        self._work, self._items, self._workers, self._given_up = work, items, workers, given_up
        self._futures = dict[Future[Batch[Done]], Sequence[Item]]()
        self._tries: dict[Item, int] = {}  # of what is in flight or goes again
        self._retry_items: list[Item] = []
        self._size = 1  # of a batch

    def submit_batches(self) -> bool:
        """Hand out what there is room for, and tell whether anything is in flight."""
        # After a death one at a time, until it is known whose it was.
        suspects = self._retry_items or any(self._tries[item] > 1 for batch in self._futures.values() for item in batch)
        most = 1 if suspects else self._workers.count * BATCHES_PER_WORKER
        while len(self._futures) < most:
            batch = [self._retry_items.pop()] if self._retry_items else list(itertools.islice(self._items, self._size))
            if not batch:
                break
            try:
                self._futures[self._workers.submit(self._work, batch)] = batch
            except Exception as error:
                if not self._workers.is_worker_death(error):
                    raise
                self._items = itertools.chain(batch, self._items)
                if self._futures:  # of which some tell of the same death
                    break
                self._workers.restart()
                continue
            for item in batch:
                self._tries[item] = self._tries.get(item, 0) + 1
        return bool(self._futures)

    def completed_items(self) -> Iterator[Done]:
        """Wait a while, and yield what is done by then."""
        finished, _ = wait(self._futures, timeout=IDLE_POLL_SECONDS, return_when=FIRST_COMPLETED)
        if not finished:
            self._workers.on_idle()
        lost: list[Item] = []
        for future in finished:
            batch = self._futures.pop(future)
            try:
                found, seconds = future.result()
            except BaseException as error:
                if not self._workers.is_worker_death(error):
                    raise
                lost += batch
                continue
            self._size = max(1, min(MAX_BATCH_ITEMS, int(BATCH_SECONDS / max(seconds / len(found), 1e-9))))
            for item in batch:
                del self._tries[item]
            self._items = itertools.chain(batch[len(found) :], self._items)
            yield from found
        if lost and self._workers.restart():
            lost += itertools.chain.from_iterable(self._futures.values())
            self._futures.clear()
        yield from self._retry_or_give_up(lost)

    def _retry_or_give_up(self, lost: Iterable[Item]) -> Iterator[Done]:
        """Let what is lost go again, or give it up."""
        for item in lost:
            if self._tries[item] < MAX_ATTEMPTS:
                self._retry_items.append(item)
            else:
                del self._tries[item]
                yield self._given_up(item, f"its worker died {MAX_ATTEMPTS} times")


class ProcessPool:
    """So many processes of this machine, made afresh; where one dies all of them are."""

    def __init__(self, jobs: int, made: Callable[[int], Executor] | None = None) -> None:
        self.count, self._made = jobs, made or create_process_pool
        self._executor = self._made(jobs)

    def submit(self, work: Callable[[Any], Done], batch: Sequence[Any]) -> "Future[Batch[Done]]":
        """Hand out a batch; this is when processes are started."""
        with one_thread_each(), block_sigint_in_children():
            return self._executor.submit(run_batch, work, batch)

    def is_worker_death(self, error: BaseException) -> bool:
        """Tell whether the pool is broken."""
        return isinstance(error, BrokenExecutor)

    def restart(self) -> bool:
        """Make a new pool: a broken one does nothing any more."""
        self.close()
        self._executor = self._made(self.count)
        return True

    def on_idle(self) -> None:
        """Wait on: a process that dies is noticed."""

    def close(self) -> None:
        """Let go of the processes."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def create_process_pool(jobs: int) -> Executor:
    """Return an executor of so many fresh processes."""
    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_ignore_sigint)


@contextmanager
def block_sigint_in_children() -> Iterator[None]:
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


def _ignore_sigint() -> None:
    """Leave Ctrl-C, which a terminal sends to all, to the process that hands out the work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let workers that are started now use one thread each; several would fight for the cores."""
    before = {name: os.environ.get(name) for name in BLAS_THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(BLAS_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
