"""Handing out: in batches, a bounded number at a time, and again where a worker is_worker_death."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from bncheck.execution.pool import BATCHES_PER_WORKER, MAX_ATTEMPTS, MAX_BATCH_ITEMS, Batch, run_batch, run_unordered


class Death(Exception):
    """What a worker that is_worker_death leaves."""


class InlinePool:
    """Workers that do a batch where it is handed out, and say that it took so many seconds an item."""

    def __init__(self, seconds: float = 0.0, count: int = 2, lose: bool = False) -> None:
        self.seconds, self.count, self.lose = seconds, count, lose
        self.batches: list[Sequence[Any]] = []
        self.renewed = self.closed = 0
        self.dead = False
        self.broken_at: set[int] = set()  # batches that cannot be handed out

    def submit(self, work: Callable[[Any], Any], batch: Sequence[Any]) -> "Future[Batch[Any]]":
        if len(self.batches) in self.broken_at:
            self.broken_at.remove(len(self.batches))
            raise Death
        self.batches.append(batch)
        future: Future[Batch[Any]] = Future()
        try:
            if self.dead and self.lose:
                raise Death  # a pool that is broken does nothing more
            future.set_result(Batch([work(item) for item in batch], self.seconds * len(batch)))
        except BaseException as error:  # noqa: BLE001 - as an executor does
            self.dead = isinstance(error, Death)
            future.set_exception(error)
        return future

    def is_worker_death(self, error: BaseException) -> bool:
        return isinstance(error, Death)

    def restart(self) -> bool:
        self.renewed += 1
        self.dead = False
        return self.lose

    def on_idle(self) -> None:
        raise AssertionError("something is always done")

    def close(self) -> None:
        self.closed += 1


class Timed(InlinePool):
    """Workers that do a batch as real ones do."""

    def submit(self, work: Callable[[Any], Any], batch: Sequence[Any]) -> "Future[Batch[Any]]":
        self.batches.append(batch)
        future: Future[Batch[Any]] = Future()
        future.set_result(run_batch(work, batch))
        return future


def given_up(item: int, said: str) -> str:
    return f"{item} {said}"


def handed(work: Callable[[int], str], items: Iterator[int], workers: InlinePool) -> list[str]:
    return list(run_unordered(work, items, workers, given_up))


@pytest.mark.parametrize(("seconds", "size"), [(1.0, 1), (0.05, 5), (0.001, MAX_BATCH_ITEMS), (0.0, MAX_BATCH_ITEMS)])
def test_a_batch_takes_a_quarter_of_a_second_or_has_the_most_items(seconds: float, size: int) -> None:
    workers = InlinePool(seconds)
    assert sorted(handed(str, iter(range(500)), workers), key=int) == [str(item) for item in range(500)]
    assert [len(batch) for batch in workers.batches[: 2 * BATCHES_PER_WORKER]] == [1] * 2 * BATCHES_PER_WORKER
    assert {len(batch) for batch in workers.batches[2 * BATCHES_PER_WORKER : -1]} == {size}


def test_a_batch_that_takes_too_long_is_broken_off_and_the_rest_goes_again() -> None:
    def work(item: int) -> str:
        time.sleep(0.3 if item >= 100 else 0)
        return str(item)

    assert run_batch(work, [0, 1, 100, 101, 102]).results == ["0", "1", "100", "101"]
    items = [*range(98), 100, 101, 102, 103]
    workers = Timed()
    assert sorted(handed(work, iter(items), workers), key=int) == [str(item) for item in items]
    assert any(len(batch) > 4 and 103 in batch for batch in workers.batches)
    assert sum(103 in batch for batch in workers.batches) == 2


def test_no_more_is_taken_from_the_items_than_is_in_flight() -> None:
    taken: list[int] = []
    items = (taken.append(item) or item for item in itertools.count())  # type: ignore[func-returns-value]  # noted
    workers = InlinePool(1.0)
    found = run_unordered(str, items, workers, given_up)
    for _ in range(20):
        next(found)
    assert len(taken) <= 20 + 2 * BATCHES_PER_WORKER
    found.close()  # type: ignore[attr-defined]  # it is a generator
    assert workers.closed == 1


@pytest.mark.parametrize("lose", [False, True])
def test_what_kills_its_worker_is_tried_alone_and_given_up_and_all_else_is_done_once(lose: bool) -> None:
    done: list[int] = []

    def work(item: int) -> str:
        if item in (3, 41):
            raise Death
        done.append(item)
        return str(item)

    workers = InlinePool(0.01, lose=lose)
    found = handed(work, iter(range(60)), workers)
    killed = {f"{item} its worker is_worker_death {MAX_ATTEMPTS} times" for item in (3, 41)}
    assert set(found) == {str(item) for item in range(60) if item not in (3, 41)} | killed
    assert len(found) == 60
    assert all([batch for batch in workers.batches if 3 in batch][n] == [3] for n in (1, 2))
    assert sum(3 in batch for batch in workers.batches) == MAX_ATTEMPTS


def test_what_was_in_flight_when_all_workers_were_lost_goes_again() -> None:
    class Hanging(InlinePool):
        def submit(self, work: Callable[[Any], Any], batch: Sequence[Any]) -> "Future[Batch[Any]]":
            future = super().submit(work, batch)
            return Future() if list(batch) == [2] and self.batches.count(batch) == 1 else future

    def work(item: int) -> str:
        if item == 5 and not is_worker_death:
            is_worker_death.append(item)
            raise Death
        return str(item)

    is_worker_death: list[int] = []
    found = handed(work, iter(range(30)), Hanging(0.01, lose=True))
    assert sorted(found, key=int) == [str(item) for item in range(30)]


@pytest.mark.parametrize("moment", [0, 1, 9])
def test_workers_that_are_gone_when_something_is_handed_out_are_renewed(moment: int) -> None:
    workers = InlinePool(0.01)
    workers.broken_at = {moment}
    assert sorted(handed(str, iter(range(60)), workers), key=int) == [str(item) for item in range(60)]


def test_an_error_of_the_work_is_no_death() -> None:
    def work(item: int) -> str:
        raise ZeroDivisionError(item)

    workers = InlinePool()
    with pytest.raises(ZeroDivisionError):
        handed(work, iter(range(3)), workers)
    assert workers.closed == 1
