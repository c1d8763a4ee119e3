"""Search for the smallest problem on which a target still fails in the same way."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import count
from typing import TypeAlias

import numpy as np

from bncheck.checking.target_check import TargetCheck
from bncheck.diagnosis import diagnose
from bncheck.diagnosis.wrong_part import find_faults
from bncheck.errors import BncheckError, TargetError
from bncheck.model.diagnosis_records import Diagnosis
from bncheck.model.options import CheckOptions
from bncheck.model.problem import Problem, random_problem
from bncheck.model.results import PairResult

Shape: TypeAlias = tuple[int, ...]  # (N, D, H)

# Sizes that are tried first, the same for all axes.
TRIAL_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
# The largest N D H of a trial.
MAX_TRIAL_WORK = 2**21
SEEDS_PER_SHAPE = 2
# Limits of the search, in checks and in seconds.
MAX_TRIALS, SEARCH_SECONDS = 48, 3.0


def find_minimal_example(
    start: Problem, failing: PairResult, diagnosis: Diagnosis, checked: TargetCheck, options: CheckOptions
) -> Problem | None:
    """Search for the smallest problem on which the same function fails in the same way.

    Parameters
    ----------
    start : Problem
        A problem on which it fails.
    failing : PairResult
        The result there.
    diagnosis : Diagnosis
        Its first diagnosis. If a mistake was identified, the same one must match; if not, the same part must be wrong.
    checked : TargetCheck
        The target.
    options : CheckOptions
        Options of the trials.

    Returns
    -------
    Problem or None
        None if no smaller problem fails, or ``start`` is not random.
    """
    options, is_finite = replace(options, cross_check_entries=0), _is_finite(failing)
    part = find_faults(failing, diagnosis.code)[0].part

    def fails(problem: Problem) -> bool:
        try:
            with np.errstate(all="ignore"):  # warnings about a problem that the user did not request are of no use
                results = TargetCheck(checked.interface, options, ended=tuple(checked.ended)).examine(problem).plain
        except TargetError:
            return False
        similar = [r for r in results if r.function_key == failing.function_key and _is_finite(r) == is_finite]
        diagnoses = ((r, d) for r in similar for d in diagnose([r]) if d.gradient == diagnosis.gradient)
        if diagnosis.code is None:
            return any(find_faults(r, None)[0].part == part for r, _ in diagnoses)
        return any(diagnosis.code in (d.code, *d.alternatives) for _, d in diagnoses)

    return minimize_problem(fails, start)


def _is_finite(result: PairResult) -> bool:
    return all(np.isfinite(g.analytic).all() for g in result.gradients.values())


def minimize_problem(fails: Callable[[Problem], bool], problem: Problem) -> Problem | None:
    """Search for the smallest random problem, in (N, D, H) and then the seed, on which a predicate is true.

    Parameters
    ----------
    fails : callable
        The predicate.
    problem : Problem
        A problem on which it is true.

    Returns
    -------
    Problem or None
        None if ``problem`` is not random, or the predicate is true on no smaller one.
    """
    if problem.seed is None:
        return None
    deadline, trials = time.monotonic() + SEARCH_SECONDS, count()
    x_mean, x_std = problem.x_mean or 0.0, problem.x_std or 1.0

    @cache
    def failing_problem(shape: Shape) -> Problem | None:
        """Return a failing problem of a shape; None if there is none, or the limits of the search are reached."""
        N, D, H = shape
        for seed in range(SEEDS_PER_SHAPE if N * D * H <= MAX_TRIAL_WORK else 0):
            if next(trials) >= MAX_TRIALS or time.monotonic() > deadline:
                return None
            try:
                candidate = random_problem(N, D, H, seed=seed, bn_eps=problem.bn_eps, x_mean=x_mean, x_std=x_std)
            except BncheckError:  # for example N = 1 without eps
                return None
            if fails(candidate):
                return candidate
        return None

    original = (problem.N, problem.D, problem.H)
    shapes = (tuple(min(size, limit) for limit in original) for size in TRIAL_SIZES)
    smallest = next((shape for shape in shapes if shape != original and failing_problem(shape)), original)
    previous = None
    while smallest != previous:
        previous = smallest
        for axis in range(3):
            smallest = _minimize_axis(failing_problem, smallest, axis)
    return failing_problem(smallest) if smallest != original else None


def _minimize_axis(failing_problem: Callable[[Shape], Problem | None], shape: Shape, axis: int) -> Shape:
    """Return a failing shape with the smallest size of one axis: 1, 2, 3, or by bisection."""

    def resized(size: int) -> Shape:
        return (*shape[:axis], size, *shape[axis + 1 :])

    passing, failing = 0, shape[axis]
    while failing - passing > 1:
        size = passing + 1 if passing < 3 else (passing + failing) // 2
        if failing_problem(resized(size)):
            failing = size
        else:
            passing = size
    return resized(failing)
