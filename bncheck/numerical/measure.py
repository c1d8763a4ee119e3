"""Measure the gradients of a component at a problem, with error bounds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from bncheck.model.components import AFFINE, BATCHNORM, NETWORK, RELU, BnEps, Component
from bncheck.model.options import CheckOptions
from bncheck.model.problem import FloatArray, Problem
from bncheck.model.progress import Progress, silent
from bncheck.model.results import CrossCheck, Measurement, NumericalGradient
from bncheck.numerical.basepoint import MIN_SUBNORMAL
from bncheck.numerical.black_box import black_box_gradients, reduce_steps
from bncheck.numerical.division import safe_divide
from bncheck.numerical.full import (
    PerturbedForward,
    SampledGradient,
    draw_entries,
    full_gradients,
    perturb_one_entry_per_column,
)
from bncheck.numerical.linear import linear_gradients
from bncheck.numerical.local import local_gradients
from bncheck.numerical.plan import MeasurementPlan, plan_measurement

# A relative error d of sigma changes each of the three terms of dx by at most 3 d.
SIGMA_ERROR_FACTOR = 3.0
# If the largest |dout| is within these magnitudes, no intermediate result overflows or underflows.
MIN_DOUT, MAX_DOUT = 2.0**-128, 2.0**128
# If the largest |dout| of a unit has at least this magnitude, the gradients of the unit are far from float64's smallest
# number.
MIN_DOUT_OF_UNIT = 2.0**-800
# If a forward pass is expensive, the cross-check recomputes fewer entries of X: the first constant limits the number of
# products of all passes, and the second one is the smallest number of entries.
CROSS_CHECK_PRODUCTS, MIN_CROSS_CHECK_ENTRIES = 2**21, 8

# This statement allocates an array and frees it immediately, which only changes thresholds of glibc for the process.
# By default, glibc requests every array above 128 KB from the system and returns as much free memory to it; the page
# faults of new memory then take a third of the time of a check. After glibc has freed an array of almost 32 MB, the
# largest size that changes the thresholds, it keeps arrays up to that size and up to twice as much free memory.
np.empty(2**25 - 2**16, np.uint8)


def measure(
    problem: Problem,
    component: Component,
    options: CheckOptions,
    names: Sequence[str],
    *,
    bn_eps: BnEps | None = None,
    roundoff_factor: float = 1.0,
    black_box_forward: PerturbedForward | None = None,
    progress: Progress = silent,
) -> Measurement:
    """Measure the gradients of a component for the named inputs, with an error bound for each entry.

    Parameters
    ----------
    problem : Problem
        Point at which the gradients are measured.
    component : Component
        The network or the layer to differentiate.
    options : CheckOptions
        Scheme, step, engine, sample and cross-check.
    names : sequence of str
        Inputs of the component.
    bn_eps : float or array, shape (H,), optional
        Replaces the bn_eps of the problem, for all units or for each. To impose a sigma', pass sigma'^2 - var, which
        may be negative as long as sigma' > 0. The default is the bn_eps of the problem.
    roundoff_factor : float, default 1
        Roundoff unit of the code under test divided by float64's: 2^29 for float32, 2^42 for float16, 2^45 for
        bfloat16. Outputs that rounding in that arithmetic may carry across ReLU's kink are excluded, and the
        conditioning is infinite where that arithmetic cannot represent sigma.
    black_box_forward : callable, optional
        A forward pass that is not the reference's. The full engine differentiates it, and its truncation error is
        estimated from several steps instead of bounded.
    progress : callable, optional
        Called with the number of finished entries and the total.

    Returns
    -------
    Measurement
    """
    scaled, exponent, underflow_unit = _scale_dout(problem)
    plan = plan_measurement(
        scaled, component, options, names,
        bn_eps=bn_eps, roundoff_factor=roundoff_factor, underflow_unit=underflow_unit,
    )  # fmt: skip
    rng = np.random.default_rng([problem.seed or 0, 1])  # independent of the stream that draws the problem
    is_black_box, comparison = black_box_forward is not None, None
    plan, gradients, interrupted = _evaluate(plan, options, black_box_forward, rng, progress)
    if options.engine == "local" and options.cross_check_entries and not is_black_box:
        values = {name: gradient.value for name, gradient in gradients.items()}
        comparison = _cross_check(plan, values, options.cross_check_entries, rng)
    measured = _add_bounds(plan, gradients, options.sample, is_black_box=is_black_box)
    measured_problem = plan.problem
    if exponent:
        measured_problem = replace(problem, dout=np.where(measured_problem.dout == 0, 0.0, problem.dout))
        with np.errstate(over="ignore"):  # a value beyond float64 and its bound are infinite
            measured = {name: _scale_gradient(gradient, exponent) for name, gradient in measured.items()}
            if comparison:
                difference = float(np.ldexp(comparison.max_difference, exponent))
                comparison = comparison._replace(max_difference=difference)
    return Measurement(
        problem=measured_problem,
        component=component,
        gradients=measured,
        output=plan.output,
        output_bound=plan.output_bound,
        kink_exclusion=plan.kink_exclusion,
        automatic_step=options.step == "auto",
        cross_check=comparison,
        black_box=is_black_box,
        interrupted=interrupted,
    )


def _evaluate(
    plan: MeasurementPlan,
    options: CheckOptions,
    black_box_forward: PerturbedForward | None,
    rng: np.random.Generator,
    progress: Progress,
) -> tuple[MeasurementPlan, dict[str, SampledGradient], bool]:
    """Run one of the engines; return the plan with its final bounds, the gradients, and whether Ctrl-C interrupted."""
    if black_box_forward is None and options.engine == "local":
        gradients = {name: SampledGradient.complete(value) for name, value in evaluate_locally(plan, progress).items()}
        return replace(plan, base=None), gradients, False  # free the base point, which is as large as X
    arrays = plan.component.arrays(plan.problem)
    flat_indices = {name: draw_entries(rng, arrays[name].size, options.sample) for name in plan.names}
    if black_box_forward is None:
        return plan, *full_gradients(plan, flat_indices, progress)
    plan = reduce_steps(plan) if options.step == "auto" else plan
    gradients, bounds, interrupted = black_box_gradients(plan, black_box_forward, flat_indices, progress)
    return replace(plan, bounds=bounds), gradients, interrupted


def evaluate_locally(plan: MeasurementPlan, progress: Progress = silent) -> dict[str, FloatArray]:
    """Run the local engine; return the numerical gradient of every entry, by input name."""
    assert plan.base is not None
    if plan.component in (AFFINE, RELU):
        return linear_gradients(plan.base, plan.component, plan.scheme, plan.steps, plan.names)
    return local_gradients(plan.base, plan.scheme, plan.steps, plan.names, progress)


def _cross_check(
    plan: MeasurementPlan, values: Mapping[str, FloatArray], max_entries: int, rng: np.random.Generator
) -> CrossCheck:
    """Recompute random entries with full forward passes and compare them with the local values.

    At most ``max_entries`` entries of X are recomputed, each with its own passes; of the other inputs at most one
    entry per column, in shared passes. Both engines evaluate the same quotients at the same steps, so they have the
    same truncation error and may differ by rounding, and each by the rounding of its own base point.
    """
    p, bounds = plan.problem, plan.bounds
    rows = {name: rng.integers(len(value), size=p.H) for name, value in values.items() if name != "X"}
    gradients = perturb_one_entry_per_column(plan, rows)
    if "X" in values:
        count = min(max_entries, max(MIN_CROSS_CHECK_ENTRIES, CROSS_CHECK_PRODUCTS // (p.N * p.D * p.H)))
        flat_indices = {"X": draw_entries(rng, values["X"].size, count)}
        gradient_of_x, interrupted = full_gradients(plan, flat_indices)
        if interrupted:  # a partial cross-check is not reported
            raise KeyboardInterrupt
        gradients |= gradient_of_x
    differences, ratios = [np.zeros(0)], [np.zeros(0)]
    for name, gradient in gradients.items():
        bound = np.broadcast_to(bounds.rounding[name] + 2 * bounds.base_rounding[name], gradient.value.shape)
        usable = gradient.evaluated & ~gradient.unresolved & np.isfinite(bound + bounds.truncation[name])
        difference = np.abs(gradient.value - values[name])[usable]
        differences.append(difference)
        ratios.append(safe_divide(difference, bound[usable]))
    difference, ratio = np.concatenate(differences), np.concatenate(ratios)
    return CrossCheck(len(ratio), float(difference.max(initial=0.0)), float(ratio.max(initial=0.0)))


def with_sigma_error(measurement: Measurement, sigma_error: FloatArray) -> Measurement:
    """Return a measurement for code whose sigma is known up to a relative error.

    Parameters
    ----------
    measurement : Measurement
        Measurement with the sigma of the reference.
    sigma_error : array, shape (H,)
        Relative error of the sigma of each unit, divided by the ``roundoff_factor`` of ``measure``: it is added to the
        conditioning, which the judge multiplies by that factor.
    """
    # An entry of X depends on every unit whose gamma is not 0.
    error_for = {"X": sigma_error[measurement.problem.gamma != 0].max(initial=0.0)}
    gradients = dict(measurement.gradients)
    for name, gradient in measurement.gradients.items():
        if name != "beta":
            with np.errstate(invalid="ignore"):  # an infinite error times terms of 0
                added = SIGMA_ERROR_FACTOR * error_for.get(name, sigma_error) * gradient.term_size
            conditioning = gradient.conditioning + np.where(gradient.term_size > 0, added, 0.0)
            gradients[name] = replace(gradient, conditioning=conditioning)
    return replace(measurement, gradients=gradients)


def _scale_dout(problem: Problem) -> tuple[Problem, int, float]:
    """Scale dout by a power of two to a maximum of about 1 if a product with it could overflow or underflow.

    A gradient is linear in dout, so this is exact; the power is limited so that no entry of dout underflows. Returns
    the scaled problem, the exponent, and the ``underflow_unit`` of ``compute_bounds``. To undo the scaling, multiply
    the gradients of the scaled problem by 2^exponent.
    """
    magnitude = np.abs(problem.dout)
    unit_max = magnitude.max(axis=0)
    live = unit_max[unit_max > 0]
    if not live.size:
        return problem, 0, 0.0
    exponent, is_tiny = 0, bool(live.min() < MIN_DOUT_OF_UNIT)
    if is_tiny or not MIN_DOUT <= live.max() <= MAX_DOUT:
        exponent = math.frexp(live.max())[1]
        smallest = math.frexp(magnitude[magnitude > 0].min())[1]
        exponent = min(exponent, max(smallest - np.finfo(np.float64).minexp - 1, 0))
    underflow_unit = math.ldexp(MIN_SUBNORMAL, -exponent) if is_tiny else 0.0
    return replace(problem, dout=np.ldexp(problem.dout, -exponent)), exponent, underflow_unit


def _scale_gradient(gradient: NumericalGradient, exponent: int) -> NumericalGradient:
    """Multiply a gradient by 2^exponent."""
    names = ("value", "error_bound", "truncation", "rounding", "conditioning", "term_size")
    return replace(gradient, **{name: np.ldexp(getattr(gradient, name), exponent) for name in names})


def _add_bounds(
    plan: MeasurementPlan, gradients: Mapping[str, SampledGradient], sample: int | None, *, is_black_box: bool
) -> dict[str, NumericalGradient]:
    """Combine the evaluated entries with their error bounds."""
    zeros = set() if is_black_box else _exact_zeros(plan)
    bounds, measured = plan.bounds, {}
    for name, gradient in gradients.items():
        error_bound = bounds.truncation[name] + bounds.rounding[name] + bounds.base_rounding[name]
        if gradient.unresolved.any():
            error_bound[gradient.unresolved] = np.inf
        measured[name] = NumericalGradient(
            value=gradient.value,
            evaluated=gradient.evaluated,
            requested=min(sample or gradient.value.size, gradient.value.size),
            error_bound=error_bound,
            truncation=bounds.truncation[name],
            rounding=bounds.rounding[name],
            conditioning=bounds.conditioning[name],
            term_size=bounds.term_size[name],
            exact_zero=name in zeros,
        )
    return measured


def _exact_zeros(plan: MeasurementPlan) -> set[str]:
    """Return the inputs whose gradient is exactly 0: b, which batch norm cancels, and most others if N = 1."""
    if plan.problem.N == 1 and plan.component in (NETWORK, BATCHNORM):
        return {"X", "W", "b", "gamma", "h"}
    return {"b"} if plan.component is NETWORK else set()
