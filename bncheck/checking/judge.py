"""The comparison of analytic with numerical values: errors, tolerances and verdicts."""

import math
from typing import Any

import numpy as np

from bncheck.checking.inconclusive import default_tolerance, inconclusive_reasons
from bncheck.model.options import CheckOptions
from bncheck.model.precision import FLOAT64, Precision
from bncheck.model.problem import FloatArray
from bncheck.model.results import BoolArray, Entry, ForwardResult, GradientResult, Measurement, PairOutput
from bncheck.model.verdict import Verdict
from bncheck.numerical.division import safe_divide
from bncheck.targets.arrays import as_float64

# Wrong entries that a result contains.
MAX_WORST_ENTRIES = 3
# What the forward function of each component computes.
LAYER_TITLES = {
    "network": "an affine layer, batch normalization and ReLU",
    "batchnorm": "batch normalization",
    "affine": "an affine layer",
    "relu": "ReLU",
}


def compare(
    pair_output: PairOutput, measurement: Measurement, options: CheckOptions, precision: Precision = FLOAT64
) -> dict[str, GradientResult]:
    """Judge every gradient that was both returned and measured.

    Parameters
    ----------
    pair_output : PairOutput
        The returned arrays.
    measurement : Measurement
        The numerical gradients of the same component.
    options : CheckOptions
        The tolerance.
    precision : Precision, default float64
        The arithmetic of the pair.

    Returns
    -------
    dict of str to GradientResult
        By input name.
    """
    names = [name for name in measurement.gradients if name in pair_output.gradients]
    with np.errstate(all="ignore"):  # the comparisons are written for infinities and NaN
        return {name: _judge_gradient(pair_output, name, measurement, options, precision) for name in names}


def compare_forward(pair_output: PairOutput, measurement: Measurement, precision: Precision = FLOAT64) -> ForwardResult:
    """Judge an output (N, H) entry by entry; the parameters are those of ``compare``."""
    expected, name = measurement.output, "a" if pair_output.forward_name is None else "out"
    output, defect = as_float64(name, pair_output.output, expected.shape)
    with np.errstate(all="ignore"):
        difference = np.abs(output - expected)
        bound = measurement.output_bound * precision.roundoff_factor
        # If sigma is pure rounding error, a correct output may have any value.
        unknown = np.isinf(bound)
        wrong = ~(difference <= bound) & ~unknown & precision.bounds_errors_on(measurement.problem) | bool(defect)
        relative = safe_divide(difference, np.maximum(np.abs(output), np.abs(expected)))
    if not defect and wrong.any():
        title = LAYER_TITLES[pair_output.component.name]
        defect = f"{name} differs from {title} in {wrong.sum():,} of {wrong.size:,} entries"
    elif not defect and unknown.any():
        entries = f"{unknown.sum():,} of {unknown.size:,} entries of {name}"
        defect = f"{entries} cannot be judged: their sigma is pure rounding error"
    is_unsure = precision.is_16_bit or bool(unknown.any())
    return ForwardResult(
        function=pair_output.forward_name,
        component=pair_output.component.name,
        name=name,
        shape=expected.shape,
        entries=wrong.size,
        wrong=int(wrong.sum()),
        verdict=Verdict.FAIL if wrong.any() else Verdict.INCONCLUSIVE if is_unsure else Verdict.PASS,
        max_relative_error=float(relative.max()),
        message=defect,
        usage=pair_output.usage,
        source=pair_output.forward_source,
    )


def _judge_gradient(
    pair_output: PairOutput, parameter: str, measurement: Measurement, options: CheckOptions, precision: Precision
) -> GradientResult:
    """Judge the gradient for an input."""
    numerical, name = measurement.gradients[parameter], pair_output.labels[parameter]
    n, evaluated, size = numerical.value, numerical.evaluated, numerical.term_size
    a, defect = as_float64(name, pair_output.gradients[parameter], n.shape)
    difference, larger = np.abs(a - n), np.maximum(np.abs(a), np.abs(n))
    tolerance = default = default_tolerance(numerical, precision)
    # With rtol alone, a gradient that is exactly 0 keeps the default, because no relative error of it is meaningful.
    if options.uses_allclose_rule and not (options.atol is None and numerical.exact_zero):
        tolerance = (options.atol or 0.0) + (options.rtol or 0.0) * larger
    resolvable = np.isfinite(n) & np.isfinite(default)
    # If sigma is pure rounding error, a correct gradient may have any value.
    judged = np.isfinite(numerical.conditioning) & precision.bounds_errors_on(measurement.problem) | bool(defect)
    # A NaN is never within a tolerance, and a value that is not finite is wrong for any error bound.
    off = (~(difference <= tolerance) & resolvable | ~np.isfinite(a) & np.isfinite(n)) & judged
    wrong = evaluated & off
    unresolved = evaluated & ~off & ~resolvable
    live = _selection(evaluated & (size > 0))
    resolution = _largest(safe_divide(tolerance, size)[live])
    wrong_count, unresolved_count = int(np.count_nonzero(wrong)), int(np.count_nonzero(unresolved))
    if wrong_count:
        verdict, reasons = Verdict.FAIL, [defect] if defect else []
    else:
        precise = resolution if tolerance is default else _largest(safe_divide(default, size)[live])
        reasons = list(inconclusive_reasons(numerical, measurement, unresolved_count, precise, precision))
        verdict = Verdict.INCONCLUSIVE if reasons else Verdict.PASS
    ratio = safe_divide(difference, tolerance)
    relative = safe_divide(difference, larger)

    def entries(score: FloatArray, mask: BoolArray, count: int) -> tuple[Entry, ...]:
        indices = _largest_at(score, mask, count)
        return tuple(Entry(index, float(a[index]), float(n[index]), float(tolerance[index])) for index in indices)

    worst = entries(ratio, wrong, MAX_WORST_ENTRIES) if wrong_count else entries(ratio, evaluated, 1)
    checked = _selection(evaluated)
    value_resolution = safe_divide(_largest(tolerance[checked]), _largest(np.abs(n)[checked]))
    return GradientResult(
        function=pair_output.backward_name,
        component=pair_output.component.name,
        name=name,
        analytic=a,
        numerical=n,
        error_bound=numerical.error_bound,
        tolerance=tolerance,
        term_size=np.broadcast_to(size, n.shape),
        checked=int(np.count_nonzero(evaluated)),
        wrong=wrong_count,
        unresolved=unresolved_count,
        verdict=verdict,
        reasons=tuple(reasons),
        max_relative_error=_largest(relative[checked]),
        largest_relative_error_at=next(iter(entries(relative, evaluated, 1)), None),
        norm_relative_error=_norm_relative_error(a[checked], n[checked], difference[checked]),
        max_absolute_error=_largest(difference[checked]),
        tolerance_ratio=_largest(ratio[checked]),
        resolution=resolution,
        value_resolution=None if numerical.exact_zero else float(value_resolution),
        exact_zero=numerical.exact_zero,
        usage=pair_output.usage,
        worst_entries=worst,
        wrong_rows=_indices(wrong, axis=1) if wrong_count and wrong.ndim == 2 else (),
        wrong_columns=_indices(np.atleast_2d(wrong), axis=0) if wrong_count else (),
        source=pair_output.backward_source,
    )


def _selection(mask: BoolArray) -> Any:
    """Return an index that selects the entries of a mask; if these are all entries, indexing makes no copy."""
    return ... if mask.all() else mask


def _largest(values: FloatArray) -> float:
    """Return the largest value, NaN if any value is NaN; infinite if there are no values."""
    return float(values.max()) if values.size else math.inf


def _largest_at(score: FloatArray, mask: BoolArray, count: int) -> list[tuple[int, ...]]:
    """Return the indices of the largest scores in a mask in descending order; NaN is the largest."""
    if count == 1 and mask.any():  # the usual case, without sorting; argmax returns the first NaN, if any
        flat = np.array([np.argmax(np.where(mask, score, -np.inf))])
    else:
        flat = np.flatnonzero(mask)
        scores = score.ravel()[flat]
        scores = np.where(np.isnan(scores), np.inf, scores)
        if len(flat) > count:
            chosen = np.argpartition(-scores, count)[:count]
            flat, scores = flat[chosen], scores[chosen]
        flat = flat[np.argsort(-scores, kind="stable")]
    return [tuple(int(i) for i in np.unravel_index(k, score.shape)) for k in flat]


def _norm_relative_error(a: FloatArray, n: FloatArray, difference: FloatArray) -> float:
    """Return ||a - n|| / max(||a||, ||n||)."""
    norm_a, norm_n, norm_difference = (math.sqrt(np.vdot(part, part)) for part in (a, n, difference))
    return float(safe_divide(norm_difference, max(norm_a, norm_n)))


def _indices(mask: BoolArray, axis: int) -> tuple[int, ...]:
    """Return the indices of the rows (axis 1) or the columns (axis 0) of a mask in which any entry is true."""
    return tuple(np.flatnonzero(mask.any(axis=axis)).tolist())
