"""The smallest problem on which something still fails."""

import time
from collections.abc import Callable, Iterator

from bncheck.errors import BncheckError
from bncheck.model.problem import Problem, random_problem

# The sizes that are tried first, on all axes together, and how much work a try may be (N D H).
TRIAL_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
MAX_TRIAL_WORK = 2**21
# Seeds that are tried of each shape, and shapes and seeds of all.
SEEDS_PER_SHAPE, MAX_TRIALS = 2, 48
# Seconds that all tries together may take, where each is slow.
SEARCH_SECONDS = 3.0


def minimize_problem(fails: Callable[[Problem], bool], problem: Problem) -> Problem | None:
    """Return the smallest random problem found, in (N, D, H) and then the seed, on which ``fails`` is true.

    ``problem`` is one that fails; None if it is not random, or nothing smaller fails.
    """
    if problem.seed is None:
        return None
    search = _Search(fails, problem)
    original = (problem.N, problem.D, problem.H)
    rungs = (tuple(min(k, size) for size in original) for k in TRIAL_SIZES)
    found = next(filter(search.fails, (rung for rung in rungs if rung != original)), original)
    shrinking = True
    while shrinking:
        before = found
        for axis in range(3):
            found = search.minimize_axis(found, axis)
        shrinking = found != before
    return search.failing.get(found)


class _Search:
    """Tries shapes, and remembers what failed."""

    def __init__(self, fails: Callable[[Problem], bool], problem: Problem) -> None:
        self._fails, self._problem = fails, problem
        self._left, self._until = MAX_TRIALS, time.monotonic() + SEARCH_SECONDS
        self._tried: set[tuple[int, ...]] = set()
        self.failing: dict[tuple[int, ...], Problem] = {}

    def fails(self, shape: tuple[int, ...]) -> bool:
        """Tell whether some seed of a shape fails; False for what is too much work to try."""
        if shape not in self._tried:
            self._tried.add(shape)
            first = next(filter(self._fails, self._problems(shape)), None)
            if first is not None:
                self.failing[shape] = first
        return shape in self.failing

    def _problems(self, shape: tuple[int, ...]) -> Iterator[Problem]:
        N, D, H = shape
        p = self._problem
        for seed in range(SEEDS_PER_SHAPE if N * D * H <= MAX_TRIAL_WORK else 0):
            if self._left == 0 or time.monotonic() > self._until:
                return
            self._left -= 1
            try:
                yield random_problem(
                    N, D, H, seed=seed, bn_eps=p.bn_eps, x_mean=p.x_mean or 0.0, x_std=p.x_std or 1.0
                )  # fmt: skip
            except BncheckError:  # such as N = 1 without an eps
                return

    def minimize_axis(self, shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
        """Return a failing shape of the least size on one axis: 1, 2, 3, or by bisection."""

        def at(size: int) -> tuple[int, ...]:
            return (*shape[:axis], size, *shape[axis + 1 :])

        right, wrong = 0, shape[axis]
        while wrong - right > 1:
            size = right + 1 if right < 3 else (right + wrong) // 2
            if self.fails(at(size)):
                wrong = size
            else:
                right = size
        return at(wrong)
