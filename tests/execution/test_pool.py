"""The scheduler of a worker pool: batches, a bounded number in flight, retries after a crash."""

import itertools
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from bncheck.execution.pool import (
    BATCHES_PER_WORKER,
    MAX_ATTEMPTS,
    MAX_BATCH_ITEMS,
    BatchResult,
    block_signals_in_children,
    run_batch,
    run_unordered,
)


class WorkerCrashError(Exception):
    """The error of a batch whose worker crashed."""


class InlinePool:
    """A pool that runs each batch in ``submit`` and reports a fixed time per item."""

    def __init__(self, seconds: float = 0.0, worker_count: int = 2, lose: bool = False) -> None:
        self.seconds, self.worker_count, self.lose = seconds, worker_count, lose
        self.batches: list[Sequence[Any]] = []
        self.restarted = self.closed = 0
        self.crashed = False
        self.broken_at: set[int] = set()  # numbers of the batches that cannot be submitted

    def submit(self, work: Callable[[Any], Any], batch: Sequence[Any]) -> "Future[BatchResult[Any]]":
        if len(self.batches) in self.broken_at:
            self.broken_at.remove(len(self.batches))
            raise WorkerCrashError
        self.batches.append(batch)
        future: Future[BatchResult[Any]] = Future()
        try:
            if self.crashed and self.lose:
                raise WorkerCrashError  # a broken pool runs nothing
            future.set_result(BatchResult([work(item) for item in batch], self.seconds * len(batch)))
        except BaseException as error:  # noqa: BLE001 - an executor catches every exception of a task
            self.crashed = isinstance(error, WorkerCrashError)
            future.set_exception(error)
        return future

    def is_worker_crash(self, error: BaseException) -> bool:
        return isinstance(error, WorkerCrashError)

    def restart(self) -> bool:
        self.restarted += 1
        self.crashed = False
        return self.lose

    def on_idle(self) -> None:
        raise AssertionError("a batch is always finished")

    def close(self) -> None:
        self.closed += 1


class TimedPool(InlinePool):
    """A pool that runs each batch with ``run_batch``, which measures its time."""

    def submit(self, work: Callable[[Any], Any], batch: Sequence[Any]) -> "Future[BatchResult[Any]]":
        self.batches.append(batch)
        future: Future[BatchResult[Any]] = Future()
        future.set_result(run_batch(work, batch))
        return future


def on_give_up(item: int) -> str:
    return f"{item}: given up"


def run_all(work: Callable[[int], str], items: Iterator[int], pool: InlinePool) -> list[str]:
    return list(run_unordered(work, items, pool, on_give_up))


@pytest.mark.parametrize(("seconds", "size"), [(1.0, 1), (0.05, 5), (0.001, MAX_BATCH_ITEMS), (0.0, MAX_BATCH_ITEMS)])
def test_a_batch_takes_a_quarter_of_a_second_or_has_the_maximum_number_of_items(seconds: float, size: int) -> None:
    pool = InlinePool(seconds)
    assert sorted(run_all(str, iter(range(500)), pool), key=int) == [str(item) for item in range(500)]
    assert [len(batch) for batch in pool.batches[: 2 * BATCHES_PER_WORKER]] == [1] * 2 * BATCHES_PER_WORKER
    assert {len(batch) for batch in pool.batches[2 * BATCHES_PER_WORKER : -1]} == {size}


def test_a_batch_that_takes_too_long_stops_early_and_its_other_items_are_submitted_again() -> None:
    def work(item: int) -> str:
        time.sleep(0.3 if item >= 100 else 0)
        return str(item)

    assert run_batch(work, [0, 1, 100, 101, 102]).results == ["0", "1", "100", "101"]
    items = [*range(98), 100, 101, 102, 103]
    pool = TimedPool()
    assert sorted(run_all(work, iter(items), pool), key=int) == [str(item) for item in items]
    assert any(len(batch) > 4 and 103 in batch for batch in pool.batches)
    assert sum(103 in batch for batch in pool.batches) == 2


def test_items_are_taken_only_when_they_can_be_submitted() -> None:
    requested: list[int] = []
    items = (requested.append(i) or i for i in itertools.count())  # type: ignore[func-returns-value]  # i is recorded
    pool = InlinePool(1.0)
    results = run_unordered(str, items, pool, on_give_up)
    for _ in range(20):
        next(results)
    assert len(requested) <= 20 + 2 * BATCHES_PER_WORKER
    results.close()  # type: ignore[attr-defined]  # it is a generator
    assert pool.closed == 1


@pytest.mark.parametrize("lose", [False, True])
def test_an_item_that_crashes_its_worker_is_retried_alone_and_given_up_and_the_others_have_a_result(lose: bool) -> None:
    def work(item: int) -> str:
        if item in (3, 41):
            raise WorkerCrashError
        return str(item)

    pool = InlinePool(0.01, lose=lose)
    results = run_all(work, iter(range(60)), pool)
    given_up = {on_give_up(item) for item in (3, 41)}
    assert set(results) == {str(item) for item in range(60) if item not in (3, 41)} | given_up
    assert len(results) == 60
    assert all([batch for batch in pool.batches if 3 in batch][n] == [3] for n in (1, 2))
    assert sum(3 in batch for batch in pool.batches) == MAX_ATTEMPTS


def test_unfinished_batches_are_retried_if_all_workers_are_lost() -> None:
    class HangingPool(InlinePool):
        def submit(self, work: Callable[[Any], Any], batch: Sequence[Any]) -> "Future[BatchResult[Any]]":
            future = super().submit(work, batch)
            return Future() if list(batch) == [2] and self.batches.count(batch) == 1 else future

    def work(item: int) -> str:
        if item == 5 and not crashes:
            crashes.append(item)
            raise WorkerCrashError
        return str(item)

    crashes: list[int] = []
    results = run_all(work, iter(range(30)), HangingPool(0.01, lose=True))
    assert sorted(results, key=int) == [str(item) for item in range(30)]


@pytest.mark.parametrize("moment", [0, 1, 9])
def test_a_pool_that_is_broken_when_a_batch_is_submitted_is_restarted(moment: int) -> None:
    pool = InlinePool(0.01)
    pool.broken_at = {moment}
    assert sorted(run_all(str, iter(range(60)), pool), key=int) == [str(item) for item in range(60)]


def test_a_signal_while_workers_are_started_is_handled_afterwards() -> None:
    finished = []

    def start_workers() -> None:
        with block_signals_in_children():
            # In a thread that does not block it, as those of BLAS.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            signal.raise_signal(signal.SIGINT)
            finished.append("started")

    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            start_workers()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, previous)
    assert finished == ["started"]


def test_an_exception_of_the_work_is_not_a_crash() -> None:
    def work(item: int) -> str:
        raise ZeroDivisionError(item)

    pool = InlinePool()
    with pytest.raises(ZeroDivisionError):
        run_all(work, iter(range(3)), pool)
    assert pool.closed == 1
