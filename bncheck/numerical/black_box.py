"""Differentiation of a black box: a forward pass of which nothing is known, so that its errors are estimated."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from bncheck.model.problem import FloatArray
from bncheck.model.progress import Progress
from bncheck.numerical.error_bounds import ErrorBounds
from bncheck.numerical.full import (
    FiniteDifference,
    IndexArray,
    Location,
    PerturbedForward,
    SampledGradient,
    full_gradients,
)
from bncheck.numerical.plan import MeasurementPlan

# Factor on the automatic steps: a black box may be nonlinear on a smaller scale than batch norm.
STEP_REDUCTION = 1 / 8
# Multiples of the step at which the derivative is repeated, to estimate its truncation and its rounding.
DOUBLE_STEP, NEARBY_STEP = 2.0, 1.01
# Largest relative difference between the estimates at s and 2s; above it, neither step is small enough.
MAX_STEP_DIFFERENCE = 1e-3
# Safety factor on the scatter between nearby steps; bounds the rounding of a black-box forward pass.
SCATTER_SAFETY_FACTOR = 32.0


def reduce_steps(plan: MeasurementPlan) -> MeasurementPlan:
    """Return a plan with smaller steps, whose rounding bounds are larger by the same factor."""
    rounding = {name: bound / STEP_REDUCTION for name, bound in plan.bounds.rounding.items()}
    steps = {name: STEP_REDUCTION * step for name, step in plan.steps.items()}
    return replace(plan, steps=steps, bounds=plan.bounds._replace(rounding=rounding))


def black_box_gradients(
    plan: MeasurementPlan, forward: PerturbedForward, flat_indices: Mapping[str, IndexArray], progress: Progress
) -> tuple[dict[str, SampledGradient], ErrorBounds, bool]:
    """Differentiate a black box and estimate the error bounds from several steps.

    Parameters
    ----------
    plan, forward, flat_indices, progress
        As for ``full_gradients``.

    Returns
    -------
    gradients : dict of str to SampledGradient
    bounds : ErrorBounds
        Estimated; those of the plan if the first evaluation was interrupted.
    interrupted : bool
        Whether Ctrl-C ended the computation early.
    """
    gradients, interrupted = full_gradients(plan, flat_indices, progress, forward)
    if interrupted:
        return gradients, plan.bounds, True
    repeated = []
    for multiple in (DOUBLE_STEP, NEARBY_STEP):
        other = replace(plan, steps={name: multiple * step for name, step in plan.steps.items()})
        others, stopped = full_gradients(other, flat_indices, black_box_forward=forward)
        interrupted |= stopped
        repeated.append(others)
    return gradients, _estimate_bounds(plan.bounds, gradients, *repeated), interrupted


def _estimate_bounds(
    bounds: ErrorBounds,
    gradients: Mapping[str, SampledGradient],
    at_double_step: Mapping[str, SampledGradient],
    at_nearby_step: Mapping[str, SampledGradient],
) -> ErrorBounds:
    """Estimate the truncation from the step 2s, and the rounding from the scatter between nearby steps."""
    truncation, rounding, term_size = {}, {}, dict(bounds.term_size)
    base_rounding, conditioning = dict(bounds.base_rounding), dict(bounds.conditioning)
    for name, gradient in gradients.items():
        double, nearby = at_double_step[name], at_nearby_step[name]
        factor = _steepness(gradient, term_size[name])
        base_rounding[name], conditioning[name] = factor**2 * base_rounding[name], factor**2 * conditioning[name]
        term_size[name] = factor * term_size[name]
        error = _estimate_truncation(gradient.value, double.value) + bounds.truncation[name]
        is_unusable = double.unresolved | nearby.unresolved | (error > MAX_STEP_DIFFERENCE * term_size[name])
        truncation[name] = np.where(is_unusable, np.inf, error)
        scatter = np.where(gradient.evaluated, np.abs(gradient.value - nearby.value), 0.0)
        # The root mean square of all entries, because the scatter of a few entries is too small a sample.
        rounding[name] = bounds.rounding[name] + SCATTER_SAFETY_FACTOR * float(np.sqrt((scatter * scatter).mean()))
    return ErrorBounds(truncation, rounding, base_rounding, conditioning, term_size)


def _steepness(gradient: SampledGradient, term_size: FloatArray) -> float:
    """Return how many times larger than the terms of batch norm the gradient is, at least 1.

    The scale on which such a black box varies is smaller by this factor, and its cancellation larger.
    """
    largest, terms = np.abs(gradient.value[gradient.evaluated]).max(initial=0.0), term_size.max()
    return max(1.0, largest / terms) if terms and np.isfinite(largest) else 1.0


def _estimate_truncation(at_step: FloatArray, at_double_step: FloatArray) -> FloatArray:
    """Bound the truncation error at s: the error at 2s is at least 1.5 times as large, so twice the difference does."""
    return 2 * np.abs(at_step - at_double_step)


def black_box_jacobian(difference: FiniteDifference, name: str, steps: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Differentiate dout times every output in every entry of one input.

    Parameters
    ----------
    difference : FiniteDifference
        Forward pass, dout and scheme; with ``axis=()`` for one derivative per output, None for the loss.
    name : str
        The input.
    steps : ndarray
        Absolute steps, of the shape of the input, in its units.

    Returns
    -------
    value, truncation : ndarray
        The derivative and its estimated truncation error, infinite where the derivative is unresolved. The shape is
        that of a derivative in one entry, (1,) for the loss, followed by that of the input.
    """
    values, truncation = [], []
    for index in np.ndindex(steps.shape):
        locations = {name: Location(tuple(np.array([i]) for i in index))}
        value, unresolved = difference.derivative(locations, steps[index][None])
        double, double_unresolved = difference.derivative(locations, DOUBLE_STEP * steps[index][None])
        values.append(value)
        truncation.append(np.where(unresolved | double_unresolved, np.inf, _estimate_truncation(value, double)))
    shape = (*values[0].shape, *steps.shape)
    return np.stack(values, axis=-1).reshape(shape), np.stack(truncation, axis=-1).reshape(shape)
