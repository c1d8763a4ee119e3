"""Why a check of a gradient is not precise or complete enough to pass."""

from collections.abc import Iterator

import numpy as np

from bncheck.model.precision import FLOAT64, Precision
from bncheck.model.problem import FloatArray
from bncheck.model.results import MAX_RESOLUTION, Cause, Measurement, NumericalGradient
from bncheck.numerical.division import safe_divide
from bncheck.numerical.error_bounds import dominant_cause

# Largest fraction of excluded outputs with which a check can pass.
MAX_EXCLUDED_FRACTION = 0.1


def default_tolerance(numerical: NumericalGradient, precision: Precision) -> FloatArray:
    """Return the error bound of the numerical value plus the rounding of the analytic one."""
    tolerance: FloatArray = numerical.error_bound + precision.roundoff_factor * numerical.conditioning
    return tolerance


def inconclusive_reasons(
    numerical: NumericalGradient, measurement: Measurement, unresolved: int, resolution: float, precision: Precision
) -> Iterator[str]:
    """Yield why a gradient without wrong entries does not pass; nothing if it passes.

    Messages name parameters in backticks, see ``to_option_spelling``.

    Parameters
    ----------
    numerical : NumericalGradient
        One of the gradients of ``measurement``.
    measurement : Measurement
        The gradients of a component.
    unresolved : int
        Number of entries without a finite numerical value or tolerance.
    resolution : float
        Resolution with the default tolerance.
    precision : Precision
        The arithmetic of the code under test.
    """
    if precision.is_16_bit:
        yield f"the code computes in {precision.name}, and bncheck cannot judge 16-bit arithmetic yet"
        return
    checked, relu = int(np.count_nonzero(numerical.evaluated)), measurement.kink_exclusion
    if checked < numerical.requested:
        yield f"interrupted after {checked:,} of {numerical.requested:,} entries"
    if relu.excluded > MAX_EXCLUDED_FRACTION * relu.outputs:
        change = _suggest_change(None, measurement.automatic_step)
        yield f"{relu.excluded:,} of {relu.outputs:,} outputs are too close to ReLU's kink to check; use {change}"
    if relu.dead_units and measurement.component.name == "network":
        units, their = ("1 unit is", "its") if relu.dead_units == 1 else (f"{relu.dead_units:,} units are", "their")
        yield f"{units} dead or completely excluded, so {their} gradients are not checked"
    if unresolved:
        yield f"{unresolved:,} of {checked:,} entries have no finite numerical value"
    live = numerical.evaluated & (numerical.term_size > 0)
    if checked and not live.any():
        yield "all terms are 0, so there is nothing to check"
    elif live.any() and not resolution <= MAX_RESOLUTION:
        float64_tolerance = default_tolerance(numerical, FLOAT64)
        in_float64 = safe_divide(float64_tolerance, numerical.term_size)[live].max()
        if precision != FLOAT64 and in_float64 <= MAX_RESOLUTION:
            cause, change = f"rounding in {precision.name}", "the same code in float64, or an `x_mean` closer to 0"
        else:
            dominant = dominant_cause(numerical, precision.roundoff_factor)
            cause, change = dominant.value, _suggest_change(dominant, measurement.automatic_step)
        # Without the resolution itself, the gradients that share the reason have the same text.
        yield f"not precise enough (resolution above {MAX_RESOLUTION:.0e}): {cause} dominates; use {change}"


def _suggest_change(cause: Cause | None, automatic: bool) -> str:
    """Return what to change if an error bound is large because of ``cause``; None: if outputs are excluded."""
    if cause is Cause.CONDITIONING:
        return "an `x_mean` closer to 0 or a larger `x_std`"
    if automatic:
        return "`scheme='complex'`" if cause else "another `seed` or `scheme='central'`"
    return f"a {'larger' if cause is Cause.ROUNDING else 'smaller'} `step` or `step='auto'`"
