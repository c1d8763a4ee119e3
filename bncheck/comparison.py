"""Analytic against numerical: errors, tolerances, and the verdict on each gradient."""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from bncheck.numerical.basepoint import BasePoint, U
from bncheck.numerical.differentiate import Plan
from bncheck.problem import FloatArray
from bncheck.results import (
    Analytic,
    Cause,
    Entry,
    ForwardResult,
    GradientResult,
    Method,
    NumericalGradient,
    Verdict,
)

# A check that would not have seen a term wrong by this share of itself is too blunt to pass.
BLUNT = 1e-3
# So is one of which more than this share of the outputs was guarded.
LARGEST_GUARDED = 0.1
# How many of the worst entries are kept.
WORST_KEPT = 3


def compare(
    analytic: Mapping[str, npt.NDArray[np.generic]],
    numerical: Mapping[str, NumericalGradient],
    plan: Plan,
    method: Method,
) -> dict[str, GradientResult]:
    """Judge every gradient that is in both mappings; GradientResult by name.

    The plan says what was guarded, and with which steps: too blunt a check is inconclusive.
    """
    return {
        name: _judge(name, analytic[name], measured, plan, method)
        for name, measured in numerical.items()
        if name in analytic
    }


def compare_forward(analytic: Analytic, plan: Plan) -> ForwardResult:
    """Judge a target's output a (N,H) against batch norm's own, entry by entry."""
    base = plan.base
    expected = np.maximum(base.y, 0.0)
    found, problem_with_it = _as_numbers("a", analytic.output, expected.shape)
    if problem_with_it:
        return ForwardResult(None, "a", Verdict.FAIL, math.inf, problem_with_it)
    with np.errstate(invalid="ignore"):
        difference = np.abs(found - expected)
    wrong = ~(difference <= rounding_of_output(base))
    relative = _over(difference, np.maximum(np.abs(found), np.abs(expected)))
    note = f"{wrong.sum():,} of {wrong.size:,} entries of a are not batch norm's"
    return ForwardResult(
        function=None,
        name="a",
        verdict=Verdict.FAIL if wrong.any() else Verdict.PASS,
        max_relative_error=float(relative.max()),
        note=note if wrong.any() else "",
    )


def rounding_of_output(base: BasePoint) -> FloatArray:
    """Bound how far apart two float64 forward passes may come out, as (N,H)."""
    gamma, beta = np.abs(base.problem.gamma), np.abs(base.problem.beta)
    factor = 8 + math.sqrt(base.problem.N + base.problem.D)
    bound: FloatArray = factor * U * (gamma * (1 + base.kappa) * (1 + np.abs(base.xhat)) + beta)
    return bound


def _judge(
    name: str,
    returned: npt.NDArray[np.generic],
    measured: NumericalGradient,
    plan: Plan,
    method: Method,
) -> GradientResult:
    n, done, size = measured.value, measured.done, measured.size
    a, problem_with_it = _as_numbers(name, returned, n.shape)
    tolerance = _tolerance(a, measured, method)
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.abs(a - n)
    resolvable = np.isfinite(n) & np.isfinite(measured.error_bar)
    # Written so that a NaN is within nothing; and a non-finite value needs no error bar.
    off = ~(difference <= tolerance) & resolvable | ~np.isfinite(a) & np.isfinite(n)
    wrong = done & off
    unresolved = done & ~off & ~resolvable
    live = done & (size > 0)
    reasons = [problem_with_it] if problem_with_it else []
    verdict = Verdict.FAIL
    if not wrong.any():
        reasons = _why_inconclusive(measured, plan, int(unresolved.sum()), live)
        verdict = Verdict.INCONCLUSIVE if reasons else Verdict.PASS
    of_tolerance = _over(difference, tolerance)
    relative = _over(difference, np.maximum(np.abs(a), np.abs(n)))

    def entries(score: FloatArray, where: npt.NDArray[np.bool_], count: int) -> tuple[Entry, ...]:
        return tuple(
            Entry(index, float(a[index]), float(n[index]), float(tolerance[index]))
            for index in _largest_at(score, where, count)
        )

    worst = entries(of_tolerance, wrong, WORST_KEPT) or entries(of_tolerance, done, 1)
    return GradientResult(
        function=None,
        name=name,
        analytic=a,
        numerical=n,
        error_bar=measured.error_bar,
        tolerance=tolerance,
        checked=int(done.sum()),
        wrong=int(wrong.sum()),
        unresolved=int(unresolved.sum()),
        verdict=verdict,
        reasons=tuple(reasons),
        max_relative_error=_largest(relative, done),
        largest_relative=next(iter(entries(relative, done, 1)), None),
        norm_relative_error=_norm_relative(a[done], n[done]),
        max_absolute_error=_largest(difference, done),
        of_tolerance=_largest(of_tolerance, done),
        resolution=_largest(_over(tolerance, size), live),
        value_resolution=None if measured.zero else _value_resolution(tolerance, n, done),
        zero=measured.zero,
        worst=next(iter(worst), None),
        next_worst=worst[1:],
        rows=_indices(wrong, axis=0) if wrong.ndim == 2 else (),
        columns=_indices(wrong, axis=wrong.ndim - 1),
    )


def _as_numbers(
    name: str, returned: npt.NDArray[np.generic], shape: tuple[int, ...]
) -> tuple[FloatArray, str]:
    """Return what a target gave as float64, or NaN everywhere and what is the matter with it."""
    if returned.shape == shape and returned.dtype.kind in "fiu":
        return returned.astype(np.float64), ""
    found = f"{name} is {returned.dtype} of shape {returned.shape}"
    return np.full(shape, np.nan), f"{found}; expected real numbers of shape {shape}"


def _why_inconclusive(
    measured: NumericalGradient, plan: Plan, unresolved: int, live: npt.NDArray[np.bool_]
) -> list[str]:
    """Say what the check could not have seen; nothing if it could have seen everything."""
    reasons = []
    kinks = plan.kinks
    checked = int(measured.done.sum())
    if checked < measured.asked:
        reasons.append(f"interrupted after {checked:,} of {measured.asked:,} entries")
    if kinks.guarded > LARGEST_GUARDED * kinks.outputs:
        reasons.append(
            f"{kinks.guarded:,} of {kinks.outputs:,} outputs are within reach of ReLU's kink "
            f"and guarded: take {_way_out(None, plan)}"
        )
    if kinks.dead_units:
        reasons.append(f"{kinks.dead_units:,} units have no active output left in the loss")
    if unresolved:
        reasons.append(f"{unresolved:,} of {checked:,} entries have no usable numerical value")
    if not live.any():
        if checked:
            reasons.append("all its terms are 0: there is nothing to check")
        return reasons
    # The measurement's own bars, whatever tolerance was asked for.
    seen = _largest(_over(measured.error_bar + measured.conditioning, measured.size), live)
    if not seen <= BLUNT:
        reasons.append(
            f"too blunt (resolution above {BLUNT:.0e}): {measured.widest.value} dominates; "
            f"take {_way_out(measured.widest, plan)}"
        )
    return reasons


def _way_out(cause: Cause | None, plan: Plan) -> str:
    """Say what to take instead where an error bar is wide, or, without a cause, a guard."""
    if cause is Cause.CONDITIONING:
        return "an --x-mean nearer to 0, or a larger --x-std"
    if plan.automatic:
        return "--scheme complex" if cause else "another --seed, or --scheme central"
    return f"a {'larger' if cause is Cause.ROUNDING else 'smaller'} --step, or leave it at auto"


def _tolerance(a: FloatArray, measured: NumericalGradient, method: Method) -> FloatArray:
    """Return by how much a right gradient may differ, entry by entry.

    The error bar of the numerical value and the rounding of the analytic one; or what rtol and
    atol ask for, but with rtol alone a gradient that is exactly 0 keeps its error bars, for no
    relative error of it means anything.
    """
    if not method.usual_rule or (method.atol is None and measured.zero):
        return measured.error_bar + measured.conditioning
    larger: FloatArray = np.maximum(np.abs(a), np.abs(measured.value))
    return (method.atol or 0.0) + (method.rtol or 0.0) * larger


def _over(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return numerator / denominator with 0/0 = 0 (two equal numbers agree)."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(numerator == 0, 0.0, numerator / denominator)


def _largest(values: FloatArray, where: npt.NDArray[np.bool_]) -> float:
    """Return the largest value there, NaN if any is; infinite where there is nothing."""
    return float(values[where].max()) if where.any() else math.inf


def _largest_at(
    score: FloatArray, where: npt.NDArray[np.bool_], count: int
) -> list[tuple[int, ...]]:
    """Return the indices of the largest scores there, the largest first; a NaN is largest."""
    flat = np.flatnonzero(where)
    found = np.nan_to_num(score.ravel()[flat], nan=np.inf, posinf=np.inf)
    if len(flat) > count:
        chosen = np.argpartition(-found, count)[:count]
        flat, found = flat[chosen], found[chosen]
    order = np.argsort(-found, kind="stable")
    return [tuple(int(i) for i in np.unravel_index(k, score.shape)) for k in flat[order]]


def _norm_relative(a: FloatArray, n: FloatArray) -> float:
    with np.errstate(invalid="ignore", over="ignore"):
        norms = np.linalg.norm(a - n), max(np.linalg.norm(a), np.linalg.norm(n))
    return float(_over(np.asarray(norms[0]), np.asarray(norms[1])))


def _value_resolution(tolerance: FloatArray, n: FloatArray, done: npt.NDArray[np.bool_]) -> float:
    widest, largest = _largest(tolerance, done), _largest(np.abs(n), done)
    return float(_over(np.asarray(widest), np.asarray(largest)))


def _indices(where: npt.NDArray[np.bool_], axis: int) -> tuple[int, ...]:
    """Return the indices along an axis at which anything is true."""
    return tuple(int(i) for i in np.unique(np.nonzero(where)[axis]))
