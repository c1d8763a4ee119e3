"""Analytic against numerical: errors, tolerances, and the verdict on each gradient."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from bncheck.model.options import CheckOptions
from bncheck.model.precision import FLOAT64, Precision
from bncheck.model.problem import FloatArray
from bncheck.model.results import (
    MAX_RESOLUTION,
    Cause,
    Entry,
    ForwardResult,
    GradientResult,
    Measurement,
    NumericalGradient,
    PairOutput,
)
from bncheck.model.verdict import Verdict
from bncheck.numerical.error_bounds import dominant_cause

# So is one of which more than this share of the outputs was guarded.
MAX_EXCLUDED_FRACTION = 0.1
# What is no reason for a warning: the comparisons are written for infinities and NaN.
IGNORE_FP_ERRORS: Mapping[str, Any] = {"divide": "ignore", "invalid": "ignore", "over": "ignore"}
# How many of the worst entries are kept.
MAX_WORST_ENTRIES = 3


def compare(
    answer: PairOutput, measured: Measurement, method: CheckOptions, precision: Precision = FLOAT64
) -> dict[str, GradientResult]:
    """Judge every gradient that was both returned and measured; by the name of its input.

    ``precision`` is the arithmetic of the whole answer: of the forward and the backward pass together.
    """
    both = [name for name in measured.gradients if name in answer.gradients]
    with np.errstate(**IGNORE_FP_ERRORS):
        return {name: _judge(answer, name, measured, method, precision) for name in both}


def compare_forward(answer: PairOutput, measured: Measurement, precision: Precision = FLOAT64) -> ForwardResult:
    """Judge an output (N,H) against the reference's own, entry by entry."""
    expected, name = measured.output, "a" if answer.forward_name is None else "out"
    found, note = as_float64(name, answer.output, expected.shape)
    with np.errstate(**IGNORE_FP_ERRORS):
        difference = np.abs(found - expected)
        bound = measured.output_bound * precision.roundoff_factor
        # Where rounding alone makes sigma, a right output may be anything.
        unknown = np.isinf(bound)
        wrong = ~(difference <= bound) & ~unknown & precision.bounds_errors_on(measured.problem)
        if note:
            wrong = np.ones_like(wrong)
        relative = _over(difference, np.maximum(np.abs(found), np.abs(expected)))
    what = {"network": "batch norm's", "batchnorm": "batch norm's"}.get(answer.component.name)
    if not note and wrong.any():
        note = f"{wrong.sum():,} of {wrong.size:,} entries of {name} are not {what or 'right'}"
    elif not note and unknown.any():
        many = f"{unknown.sum():,} of {unknown.size:,} entries of {name}"
        note = f"{many} cannot be judged: rounding alone makes their sigma"
    unsure = precision.is_16_bit or bool(unknown.any())
    return ForwardResult(
        function=answer.forward_name,
        component=answer.component.name,
        name=name,
        shape=expected.shape,
        entries=wrong.size,
        wrong=int(wrong.sum()),
        verdict=Verdict.FAIL if wrong.any() else Verdict.INCONCLUSIVE if unsure else Verdict.PASS,
        max_relative_error=float(relative.max()),
        message=note,
        usage=answer.usage,
        source=answer.forward_source,
    )


def _judge(
    answer: PairOutput, parameter: str, measurement: Measurement, method: CheckOptions, precision: Precision
) -> GradientResult:
    measured, name = measurement.gradients[parameter], answer.labels[parameter]
    returned = answer.gradients[parameter]
    n, done, size = measured.value, measured.evaluated, measured.term_size
    a, problem_with_it = as_float64(name, returned, n.shape)
    own = _default_tolerance(measured, precision)
    tolerance = _tolerance(a, measured, method, own)
    difference = np.abs(a - n)
    resolvable = np.isfinite(n) & np.isfinite(own)
    # Where rounding alone makes sigma a right gradient may be anything.
    bounded = precision.bounds_errors_on(measurement.problem)
    judged = np.isfinite(measured.conditioning) & bounded | bool(problem_with_it)
    # Written so that a NaN is within nothing; and a non-finite value needs no error bar.
    off = (~(difference <= tolerance) & resolvable | ~np.isfinite(a) & np.isfinite(n)) & judged
    wrong = done & off
    unresolved = done & ~off & ~resolvable
    live = done & (size > 0)
    those, alive = _those(done), _those(live)
    resolution = _largest(alive(_over(tolerance, size)))
    checked, count, undecided = (int(np.count_nonzero(where)) for where in (done, wrong, unresolved))
    reasons = [problem_with_it] if problem_with_it else []
    verdict = Verdict.FAIL
    if not count:
        blunt = resolution if tolerance is own else _largest(alive(_over(own, size)))
        reasons = _inconclusive_reasons(measured, measurement, checked, undecided, blunt, precision)
        verdict = Verdict.INCONCLUSIVE if reasons else Verdict.PASS
    of_tolerance = _over(difference, tolerance)
    absolute = np.abs(n)
    relative = _over(difference, np.maximum(np.abs(a), absolute))

    def entries(score: FloatArray, where: npt.NDArray[np.bool_], count: int) -> tuple[Entry, ...]:
        return tuple(
            Entry(index, float(a[index]), float(n[index]), float(tolerance[index]))
            for index in _largest_at(score, where, count)
        )

    worst = entries(of_tolerance, wrong, MAX_WORST_ENTRIES) if count else entries(of_tolerance, done, 1)
    return GradientResult(
        function=answer.backward_name,
        component=answer.component.name,
        name=name,
        analytic=a,
        numerical=n,
        error_bound=measured.error_bound,
        tolerance=tolerance,
        term_size=size if size.shape == n.shape else np.broadcast_to(size, n.shape),
        checked=checked,
        wrong=count,
        unresolved=undecided,
        verdict=verdict,
        reasons=tuple(reasons),
        max_relative_error=_largest(those(relative)),
        largest_relative_error_at=next(iter(entries(relative, done, 1)), None),
        norm_relative_error=_norm_relative(those(a), those(n), those(difference)),
        max_absolute_error=_largest(those(difference)),
        tolerance_ratio=_largest(those(of_tolerance)),
        resolution=resolution,
        value_resolution=None if measured.exact_zero else _share(_largest(those(tolerance)), _largest(those(absolute))),
        exact_zero=measured.exact_zero,
        usage=answer.usage,
        worst_entries=worst,
        wrong_rows=_indices(wrong, axis=0) if count and wrong.ndim == 2 else (),
        wrong_columns=_indices(wrong, axis=wrong.ndim - 1) if count else (),
        source=answer.backward_source,
    )


def as_float64(name: str, returned: npt.NDArray[np.generic], shape: tuple[int, ...]) -> tuple[FloatArray, str]:
    """Return what a target gave as float64, or NaN everywhere and what is the matter with it."""
    if returned.shape == shape and returned.dtype.kind in "fiu":
        return returned.astype(np.float64, copy=False), ""
    if returned.dtype.kind not in "fiu":
        kind = (
            "None" if returned.dtype == object and returned.size == 1 and returned.item(0) is None else returned.dtype
        )
        return np.full(shape, np.nan), f"{name} is {kind}; expected real numbers of shape {shape}"
    text = f"{name} has shape {returned.shape}; expected {shape}"
    if returned.shape == shape[::-1]:
        text += ": is it transposed?"
    elif returned.ndim > len(shape) and returned.shape[-1:] == shape:
        text += ": was the sum over the batch axis left out?"
    elif returned.ndim < len(shape):
        text += ": was it summed over too many axes?"
    return np.full(shape, np.nan), text


def _inconclusive_reasons(
    measured: NumericalGradient, whole: Measurement, checked: int, unresolved: int, blunt: float, precision: Precision
) -> list[str]:
    """Say what the check could not have seen; nothing if it could have seen everything."""
    if precision.is_16_bit:
        return [f"the code computes in {precision.name}, and bncheck cannot judge 16-bit arithmetic yet"]
    reasons = []
    kinks = whole.kink_exclusion
    if checked < measured.requested:
        reasons.append(f"interrupted after {checked:,} of {measured.requested:,} entries")
    if kinks.excluded > MAX_EXCLUDED_FRACTION * kinks.outputs:
        reasons.append(
            f"{kinks.excluded:,} of {kinks.outputs:,} outputs are within reach of ReLU's kink "
            f"and guarded: take {_suggest_change(None, whole.automatic_step)}"
        )
    if kinks.dead_units and whole.component.name == "network":
        reasons.append(f"{kinks.dead_units:,} units have nothing left in the loss")
    if unresolved:
        reasons.append(f"{unresolved:,} of {checked:,} entries have no usable numerical value")
    if not (measured.evaluated & (measured.term_size > 0)).any():
        if checked:
            reasons.append("all its terms are 0: there is nothing to check")
    elif not blunt <= MAX_RESOLUTION:
        own = _default_tolerance(measured, FLOAT64)
        live = measured.evaluated & (measured.term_size > 0)
        if precision != FLOAT64 and _largest(_over(own, measured.term_size)[live]) <= MAX_RESOLUTION:
            cause, change = f"rounding in {precision.name}", "the same code in float64, or an --x-mean nearer to 0"
        else:
            widest = dominant_cause(measured, precision.roundoff_factor)
            cause, change = widest.value, _suggest_change(widest, whole.automatic_step)
        reasons.append(f"too blunt (resolution above {MAX_RESOLUTION:.0e}): {cause} dominates; take {change}")
    return reasons


def _suggest_change(cause: Cause | None, automatic: bool) -> str:
    """Say what to take instead where an error bar is wide, or, without a cause, a guard."""
    if cause is Cause.CONDITIONING:
        return "an --x-mean nearer to 0, or a larger --x-std"
    if automatic:
        return "--scheme complex" if cause else "another --seed, or --scheme central"
    return f"a {'larger' if cause is Cause.ROUNDING else 'smaller'} --step, or leave it at auto"


def _default_tolerance(measured: NumericalGradient, precision: Precision) -> FloatArray:
    """Return the error bar of the numerical value and the rounding of the analytic one."""
    tolerance: FloatArray = measured.error_bound + precision.roundoff_factor * measured.conditioning
    return tolerance


def _tolerance(a: FloatArray, measured: NumericalGradient, method: CheckOptions, own: FloatArray) -> FloatArray:
    """Return by how much a right gradient may differ: its ``own`` tolerance, or the usual rule.

    With rtol alone a gradient that is exactly 0 keeps its error bars, for no relative error of
    it means anything.
    """
    if not method.uses_allclose_rule or (method.atol is None and measured.exact_zero):
        return own
    larger: FloatArray = np.maximum(np.abs(a), np.abs(measured.value))
    return (method.atol or 0.0) + (method.rtol or 0.0) * larger


def _over(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return numerator / denominator with 0/0 = 0 (two equal numbers agree); within ``IGNORE_FP_ERRORS``."""
    return np.where(numerator == 0, 0.0, numerator / denominator)


def _those(where: npt.NDArray[np.bool_]) -> Callable[[FloatArray], FloatArray]:
    """Return what takes of an array the entries there; mostly these are all, and nothing is copied."""
    return (lambda values: values) if where.all() else (lambda values: values[where])


def _largest(values: FloatArray) -> float:
    """Return the largest value, NaN if any is; infinite where there is none."""
    return float(values.max()) if values.size else math.inf


def _largest_at(score: FloatArray, where: npt.NDArray[np.bool_], count: int) -> list[tuple[int, ...]]:
    """Return the indices of the largest scores there, the largest first; a NaN is largest."""
    if count == 1 and where.any():
        best = np.where(where, score, -np.inf)
        return [tuple(int(i) for i in np.unravel_index(int(np.argmax(best)), score.shape))]  # of a NaN, if there is one
    flat = np.flatnonzero(where)
    found = score.ravel()[flat]
    found = np.where(np.isnan(found), np.inf, found)
    if len(flat) > count:
        chosen = np.argpartition(-found, count)[:count]
        flat, found = flat[chosen], found[chosen]
    order = np.argsort(-found, kind="stable")
    return [tuple(int(i) for i in np.unravel_index(k, score.shape)) for k in flat[order]]


def _norm_relative(a: FloatArray, n: FloatArray, difference: FloatArray) -> float:
    of_a, of_n, off = (math.sqrt(np.vdot(part, part)) for part in (a, n, difference))
    return _share(off, max(of_a, of_n))


def _share(part: float, whole: float) -> float:
    """Do what ``_over`` does for two numbers, of which none is negative."""
    return part / whole if whole else 0.0 if part == 0 else part * math.inf


def _indices(where: npt.NDArray[np.bool_], axis: int) -> tuple[int, ...]:
    """Return the indices along an axis at which anything is true."""
    others = tuple(a for a in range(where.ndim) if a != axis)
    return tuple(int(i) for i in np.flatnonzero(where.any(axis=others)))
