"""Unordered parallel map that survives worker crashes."""

import itertools
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

Item = TypeVar("Item", bound=Hashable)
Result = TypeVar("Result")

# Crashes after which an item is not retried any more.
MAX_ATTEMPTS = 3
# Batches in flight for each worker: enough to keep it busy while results are collected.
BATCHES_PER_WORKER = 4
# A batch has as many items as take BATCH_SECONDS, so that the time for scheduling is negligible, but at most
# MAX_BATCH_ITEMS.
BATCH_SECONDS, MAX_BATCH_ITEMS = 0.25, 32
# Seconds without a result after which the pool checks that it has workers.
IDLE_POLL_SECONDS = 5.0
# Environment variables with the number of threads of a matrix product, one for each BLAS.
BLAS_THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


class Batch(NamedTuple, Generic[Result]):
    """The results of a batch, or of its first items."""

    results: list[Result]
    seconds: float  # run time on the worker


class WorkerPool(Protocol):
    """Workers that run batches of items."""

    @property
    def count(self) -> int:
        """The number of batches that can run at the same time now."""

    def submit(self, work: Callable[[Any], Result], batch: Sequence[Any]) -> "Future[Batch[Result]]":
        """Schedule ``run_batch(work, batch)`` on a worker."""

    def is_worker_death(self, error: BaseException) -> bool:
        """Return whether an error means that a worker crashed; raise a better error if there is one."""

    def restart(self) -> bool:
        """Replace crashed workers; return whether all batches in flight are lost."""

    def on_idle(self) -> None:
        """Check the workers after a while without a result."""

    def close(self) -> None:
        """Cancel pending batches and release the workers."""


def run_batch(work: Callable[[Item], Result], batch: Sequence[Item]) -> Batch[Result]:
    """Run a batch; stop early with the finished items after 2 * BATCH_SECONDS."""
    started, results = time.perf_counter(), list[Result]()
    for item in batch:
        results.append(work(item))
        if time.perf_counter() - started > 2 * BATCH_SECONDS:
            break
    return Batch(results, time.perf_counter() - started)


def run_unordered(
    work: Callable[[Item], Result], items: Iterator[Item], pool: WorkerPool, on_give_up: Callable[[Item, str], Result]
) -> Iterator[Result]:
    """Yield ``work(item)`` for each item, as it is finished, with a bounded number of items in flight.

    After a worker crash the items in flight are retried one by one, which shows the item that causes it.

    Parameters
    ----------
    work : callable
        It is sent to the workers, as are the items.
    items : iterator of Item
        Items are taken only when they can be submitted; all must be different.
    pool : WorkerPool
        It is closed at the end.
    on_give_up : callable
        Called with an item that crashed its worker MAX_ATTEMPTS times, and a message; its return value is the result.
    """
    scheduler = _Scheduler(work, items, pool, on_give_up)
    try:
        while scheduler.submit_batches():
            yield from scheduler.completed_items()
    finally:
        pool.close()


@dataclass(slots=True)
class _Scheduler(Generic[Item, Result]):
    """The batches in flight, and the items to retry; the first four fields are those of ``run_unordered``."""

    work: Callable[[Item], Result]
    items: Iterator[Item]
    pool: WorkerPool
    on_give_up: Callable[[Item, str], Result]
    futures: dict["Future[Batch[Result]]", Sequence[Item]] = field(default_factory=dict)
    attempts: dict[Item, int] = field(default_factory=dict)  # of the items that are in flight or will be retried
    retry_items: list[Item] = field(default_factory=list)
    batch_items: int = 1  # number of items in the next batch

    def submit_batches(self) -> bool:
        """Submit batches until the workers are busy; return whether any batch is in flight."""
        retrying = self.retry_items or any(self.attempts[item] > 1 for batch in self.futures.values() for item in batch)
        limit = 1 if retrying else self.pool.count * BATCHES_PER_WORKER
        while len(self.futures) < limit and (batch := self._next_batch()):
            try:
                self.futures[self.pool.submit(self.work, batch)] = batch
            except Exception as error:
                if not self.pool.is_worker_death(error):
                    raise
                self.items = itertools.chain(batch, self.items)
                if self.futures:  # they report the same crash
                    break
                self.pool.restart()
                continue
            for item in batch:
                self.attempts[item] = self.attempts.get(item, 0) + 1
        return bool(self.futures)

    def _next_batch(self) -> list[Item]:
        if self.retry_items:
            return [self.retry_items.pop()]
        return list(itertools.islice(self.items, self.batch_items))

    def completed_items(self) -> Iterator[Result]:
        """Wait for a batch, for at most IDLE_POLL_SECONDS, and yield the results of all finished batches."""
        finished, _ = wait(self.futures, timeout=IDLE_POLL_SECONDS, return_when=FIRST_COMPLETED)
        if not finished:
            self.pool.on_idle()
        lost: list[Item] = []
        for future in finished:
            batch = self.futures.pop(future)
            try:
                results, seconds = future.result()
            except BaseException as error:
                if not self.pool.is_worker_death(error):
                    raise
                lost += batch
                continue
            self.batch_items = max(1, min(MAX_BATCH_ITEMS, int(BATCH_SECONDS * len(results) / max(seconds, 1e-9))))
            for item in batch:
                del self.attempts[item]
            self.items = itertools.chain(batch[len(results) :], self.items)
            yield from results
        if lost and self.pool.restart():
            lost += itertools.chain.from_iterable(self.futures.values())
            self.futures.clear()
        yield from self._retry_or_give_up(lost)

    def _retry_or_give_up(self, lost: Iterable[Item]) -> Iterator[Result]:
        """Retry the lost items that have attempts left, and yield a result for the others."""
        for item in lost:
            if self.attempts[item] < MAX_ATTEMPTS:
                self.retry_items.append(item)
            else:
                del self.attempts[item]
                yield self.on_give_up(item, f"the worker process crashed {MAX_ATTEMPTS} times on this check")


class ProcessPool:
    """Pool of local processes. A crash breaks the whole pool, which is then recreated."""

    def __init__(self, jobs: int, executor_factory: Callable[[int], Executor] | None = None) -> None:
        self.count, self._executor_factory = jobs, executor_factory or create_process_pool
        self._executor = self._executor_factory(jobs)

    def submit(self, work: Callable[[Any], Result], batch: Sequence[Any]) -> "Future[Batch[Result]]":
        """Schedule a batch; the executor starts its processes here."""
        with one_thread_each(), block_sigint_in_children():
            return self._executor.submit(run_batch, work, batch)

    def is_worker_death(self, error: BaseException) -> bool:
        """Return whether the pool is broken."""
        return isinstance(error, BrokenExecutor)

    def restart(self) -> bool:
        """Replace the broken pool; everything in flight is lost."""
        self.close()
        self._executor = self._executor_factory(self.count)
        return True

    def on_idle(self) -> None:
        """Do nothing: the executor detects a crashed process."""

    def close(self) -> None:
        """Cancel pending batches and let the processes exit."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def create_process_pool(jobs: int) -> Executor:
    """Create an executor with a number of new processes that ignore SIGINT."""
    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_ignore_sigint)


@contextmanager
def block_sigint_in_children() -> Iterator[None]:
    """Block SIGINT while children are spawned, so that they inherit the blocked signal.

    In this process, a signal that arrives meanwhile is delivered afterwards.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # the first worker would start it, which unblocks the signal
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _ignore_sigint() -> None:
    """Ignore Ctrl-C, which a terminal sends to all processes: the parent process handles it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Limit children that are spawned meanwhile to one BLAS thread each; more would compete for the cores."""
    previous = {name: os.environ[name] for name in BLAS_THREAD_VARIABLES if name in os.environ}
    os.environ.update(dict.fromkeys(BLAS_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name in BLAS_THREAD_VARIABLES:
            os.environ.pop(name, None)
        os.environ.update(previous)
