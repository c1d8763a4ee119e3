"""Unordered parallel map that survives worker crashes."""

import itertools
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import connection, resource_tracker
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from bncheck.execution import processes

Item = TypeVar("Item", bound=Hashable)
Result = TypeVar("Result")

# After this number of crashes, an item is not retried.
MAX_ATTEMPTS = 3
# Batches in flight for each worker: a worker has the next batch while the results of the last one are collected.
BATCHES_PER_WORKER = 4
# Intended run time and largest number of items of a batch; scheduling a batch takes a small part of this time.
BATCH_SECONDS, MAX_BATCH_ITEMS = 0.25, 32
# Seconds without a result after which the pool checks that it has workers.
IDLE_POLL_SECONDS = 5.0
# The signals that a terminal sends to every process of a command; the parent process handles them for its workers.
TERMINAL_SIGNALS = (signal.SIGINT, signal.SIGHUP)
# Environment variables with the number of threads of a matrix product, one for each BLAS.
BLAS_THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


class BatchResult(NamedTuple, Generic[Result]):
    """The results of the items of a batch, or of its first items if it stopped early."""

    results: list[Result]
    seconds: float  # run time on the worker


class WorkerPool(Protocol):
    """Workers that run batches of items."""

    @property
    def worker_count(self) -> int:
        """The number of batches that can run at the same time now: one per process, or per thread of Dask workers."""

    def submit(self, run_item: Callable[[Any], Result], batch: Sequence[Any]) -> "Future[BatchResult[Result]]":
        """Schedule ``run_batch(run_item, batch)`` on a worker."""

    def is_worker_crash(self, error: BaseException) -> bool:
        """Return whether the error of a batch means that its worker crashed.

        Raises
        ------
        InvalidInput
            The pool cannot continue, and the error of the batch does not say why: for example a lost connection.
        """

    def restart(self) -> bool:
        """Replace crashed workers; return whether all batches in flight are lost."""

    def on_idle(self) -> None:
        """Check the workers after a while without a result."""

    def close(self) -> None:
        """Cancel pending batches and release the workers."""


def run_batch(run_item: Callable[[Item], Result], batch: Sequence[Item]) -> BatchResult[Result]:
    """Run a batch; stop early with the finished items after 2 * BATCH_SECONDS."""
    started, results = time.perf_counter(), list[Result]()
    for item in batch:
        results.append(run_item(item))
        if time.perf_counter() - started > 2 * BATCH_SECONDS:
            break
    return BatchResult(results, time.perf_counter() - started)


def run_unordered(
    run_item: Callable[[Item], Result], items: Iterator[Item], pool: WorkerPool, on_give_up: Callable[[Item], Result]
) -> Iterator[Result]:
    """Yield ``run_item(item)`` for each item, as it is finished, with a bounded number of items in flight.

    After a worker crash the items in flight are retried one by one, which shows the item that causes it.

    Parameters
    ----------
    run_item : callable
        It is sent to the workers, as are the items.
    items : iterator of Item
        Items are taken only when they can be submitted; all must be different.
    pool : WorkerPool
        It is closed at the end.
    on_give_up : callable
        Called with an item that crashed its worker MAX_ATTEMPTS times; its return value is the result of the item.
    """
    scheduler = _Scheduler(run_item, items, pool, on_give_up)
    try:
        while scheduler.submit_batches():
            yield from scheduler.completed_items()
    finally:
        pool.close()


@dataclass(slots=True)
class _Scheduler(Generic[Item, Result]):
    """The batches in flight, and the items to retry; the first four fields are those of ``run_unordered``."""

    run_item: Callable[[Item], Result]
    items: Iterator[Item]
    pool: WorkerPool
    on_give_up: Callable[[Item], Result]
    futures: dict["Future[BatchResult[Result]]", Sequence[Item]] = field(default_factory=dict)
    attempts: Counter[Item] = field(default_factory=Counter)  # of the items that are in flight or will be retried
    retry_items: list[Item] = field(default_factory=list)
    batch_items: int = 1  # number of items in the next batch

    def submit_batches(self) -> bool:
        """Submit batches until the workers are busy; return whether any batch is in flight."""
        retrying = self.retry_items or any(self.attempts[item] > 1 for batch in self.futures.values() for item in batch)
        # One item at a time while retrying: its worker crashes again only if this item is the cause.
        limit = 1 if retrying else self.pool.worker_count * BATCHES_PER_WORKER
        while len(self.futures) < limit and (batch := self._next_batch()):
            try:
                self.futures[self.pool.submit(self.run_item, batch)] = batch
            except Exception as error:
                if not self.pool.is_worker_crash(error):
                    raise
                self.items = itertools.chain(batch, self.items)
                if self.futures:  # they report the same crash
                    break
                self.pool.restart()
                continue
            self.attempts.update(batch)
        return bool(self.futures)

    def _next_batch(self) -> list[Item]:
        return [self.retry_items.pop()] if self.retry_items else [*itertools.islice(self.items, self.batch_items)]

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
                if not self.pool.is_worker_crash(error):
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
                yield self.on_give_up(item)


def create_process_pool(worker_count: int) -> Executor:
    """Create an executor whose workers are new processes."""
    _start_resource_tracker()
    return ProcessPoolExecutor(worker_count, mp_context=multiprocessing.get_context("spawn"), initializer=start_worker)


def _start_resource_tracker() -> None:
    """Start the process that removes the semaphores of the pool if this process is killed; it need not warn of that."""
    with block_signals_in_children():
        sys.warnoptions.append("ignore:resource_tracker:UserWarning")
        resource_tracker.ensure_running()
        sys.warnoptions.pop()


def start_worker() -> None:
    """Prepare a worker process: it ignores the signals of a terminal and ends with its parent."""
    for number in TERMINAL_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    processes.prepare_process()


def _end_with_parent() -> None:
    """End this process when its parent ends; reading from a queue would not show that, the worker holds both ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    processes.terminate_children()
    os._exit(1)


class ProcessPool:
    """Pool of local processes. A crash breaks the whole pool, which is then recreated."""

    def __init__(self, worker_count: int, executor_factory: Callable[[int], Executor] = create_process_pool) -> None:
        self.worker_count, self._executor_factory = worker_count, executor_factory
        self._executor = executor_factory(worker_count)

    def submit(self, run_item: Callable[[Any], Result], batch: Sequence[Any]) -> "Future[BatchResult[Result]]":
        """Schedule a batch; the executor starts its processes here."""
        with one_thread_each(), block_signals_in_children():
            return self._executor.submit(run_batch, run_item, batch)

    def is_worker_crash(self, error: BaseException) -> bool:
        """Return whether the pool is broken."""
        return isinstance(error, BrokenExecutor)

    def restart(self) -> bool:
        """Replace the broken pool; all batches in flight are lost."""
        self.close()
        self._executor = self._executor_factory(self.worker_count)
        return True

    def on_idle(self) -> None:
        """Do nothing: the executor detects a crashed process."""

    def close(self) -> None:
        """Cancel pending batches and let the processes exit."""
        self._executor.shutdown(wait=False, cancel_futures=True)


@contextmanager
def block_signals_in_children() -> Iterator[None]:
    """Block the signals of a terminal while children are spawned; a child inherits this and is safe while it starts.

    In this process, a signal that arrives meanwhile is handled afterwards: an exception would leave a child without
    its data, and the child would print a traceback.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, TERMINAL_SIGNALS)
    try:
        with _postpone_handlers():  # the system gives a blocked signal to another thread, such as one of BLAS
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextmanager
def _postpone_handlers() -> Iterator[None]:
    """Call the handlers of signals at the end of the section."""
    received: list[int] = []
    previous = {number: signal.getsignal(number) for number in (*TERMINAL_SIGNALS, signal.SIGTERM)}
    is_main_thread = threading.current_thread() is threading.main_thread()  # no other may change a handler
    handlers = {number: handler for number, handler in previous.items() if is_main_thread and callable(handler)}
    for number in handlers:
        signal.signal(number, lambda number, _: received.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for arrived in received:
            signal.raise_signal(arrived)


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
