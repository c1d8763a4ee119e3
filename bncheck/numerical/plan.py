"""The plan of a measurement: the steps, the excluded outputs and the error bounds, chosen before any difference.

The steps are on the scale of sigma, one per column or feature. The kink guard is the rule that excludes the outputs
which a perturbation may carry across ReLU's kink.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bncheck.model.components import AFFINE, BATCHNORM, NETWORK, RELU, BnEps, Component
from bncheck.model.layers import affine_forward
from bncheck.model.options import CheckOptions
from bncheck.model.problem import FloatArray, Problem
from bncheck.model.results import BoolArray, KinkExclusion
from bncheck.numerical.basepoint import UNIT_ROUNDOFF, BasePoint, PerInput
from bncheck.numerical.error_bounds import ROUNDINGS_OF_OUTPUT, ErrorBounds, compute_bounds, output_bound
from bncheck.numerical.linear import linear_bounds, linear_steps
from bncheck.numerical.schemes import Quotient, Scheme, get_scheme

# Complex step as a fraction of sigma. It subtracts nothing, so its truncation can be far below the roundoff unit.
COMPLEX_STEP = 2.0**-66
# Largest fraction of sigma by which an automatic step shifts h, for any cancellation ...
MAX_STEP_FRACTION = 2.0**-6
# ... and the fraction of sigma by which it may always shift a single row, for any batch size.
SINGLE_ROW_FRACTION = 2.0**-9
# Factor on the bound on the change of y by a perturbation: it is tight (measured ratio 1.000), so 1 % covers its own
# rounding.
GUARD_SAFETY_FACTOR = 1.01
# y is rounded by about kappa u, and the mean of equal numbers by a fraction of N u; the code under test may round y
# differently from bncheck.
ROUNDINGS_OF_Y = 8.0


@dataclass(frozen=True, slots=True, eq=False)
class MeasurementPlan:
    """The input of both engines."""

    problem: Problem  # dout is 0 at excluded outputs
    component: Component
    names: tuple[str, ...]  # inputs of the component whose gradients are measured
    scheme: Scheme
    steps: PerInput
    bounds: ErrorBounds
    kink_exclusion: KinkExclusion
    base: BasePoint | None  # of the local engine; None after it has finished
    output: FloatArray  # (N, H), output of the component
    output_bound: FloatArray  # (N, H), upper bound on |output - output of another correct forward pass in float64|
    bn_eps: BnEps  # used instead of the bn_eps of the problem


def plan_measurement(
    problem: Problem,
    component: Component,
    options: CheckOptions,
    names: Sequence[str],
    *,
    bn_eps: BnEps | None = None,
    roundoff_factor: float = 1.0,
    underflow_unit: float = 0.0,
) -> MeasurementPlan:
    """Choose the steps and exclude the outputs that they, or rounding, may carry across ReLU's kink.

    ``bn_eps`` and ``roundoff_factor`` are those of ``measure``, ``underflow_unit`` is that of ``compute_bounds``.
    """
    scheme, is_linear = get_scheme(options.scheme), component in (AFFINE, RELU)
    eps: BnEps = problem.bn_eps if bn_eps is None else bn_eps
    base = BasePoint.from_problem(problem, component, eps)
    if not isinstance(options.step, str):
        steps: PerInput = {name: np.full(1, options.step) for name in component.inputs}
    else:
        steps = linear_steps(base, component, scheme) if is_linear else automatic_steps(base, scheme)
    excluded = can_cross_kink(base, component, scheme, steps, roundoff_factor)
    point = base.excluding(excluded)
    if is_linear:
        bounds = linear_bounds(point, component, scheme, steps, names, underflow_unit)
    else:
        bounds = compute_bounds(point, scheme, steps, names, roundoff_factor, underflow_unit)
    active = base.y > 0 if component.output == "a" else True
    alive = ((point.problem.dout != 0) & active).any(axis=0)
    exclusion = KinkExclusion(int(excluded.sum()), excluded.size, int((~alive).sum()))
    output, bound = _output_and_bound(base, component, roundoff_factor)
    return MeasurementPlan(
        point.problem, component, tuple(names), scheme, steps, bounds, exclusion, point, output, bound, eps
    )


def _output_and_bound(base: BasePoint, component: Component, roundoff_factor: float) -> tuple[FloatArray, FloatArray]:
    """Return the output of a component, and the bound on its difference from another correct forward pass."""
    p = base.problem
    if component is AFFINE:
        magnitude = base.abs_x @ base.abs_w + np.abs(p.b)
        return affine_forward(p.X, p.W, p.b)[0], (ROUNDINGS_OF_OUTPUT + p.D) * UNIT_ROUNDOFF * magnitude
    output = base.y if component is BATCHNORM else np.maximum(base.y, 0.0)
    # ReLU rounds nothing, but the code under test may round its input.
    return output, UNIT_ROUNDOFF * np.abs(base.y) if component is RELU else output_bound(base, roundoff_factor)


def automatic_steps(base: BasePoint, scheme: Scheme) -> PerInput:
    """Choose steps for X, W, b, gamma, beta and h from the scale of the data.

    Rounding grows as 1/step and truncation as step^p, so they balance near delta = (u (1 + kappa))^(1/(p+1)) of sigma,
    where kappa is the cancellation in h - mu.

    References
    ----------
    Dennis & Schnabel (1983), Numerical Methods for Unconstrained Optimization, section 5.4.
    """
    p, sigma = base.problem, base.sigma
    if scheme.quotient is Quotient.COMPLEX:
        delta = np.full_like(sigma, COMPLEX_STEP)
    else:
        delta = np.minimum((UNIT_ROUNDOFF * (1 + base.kappa)) ** (1 / (scheme.order + 1)), MAX_STEP_FRACTION)
    single_row_delta = np.maximum(delta, SINGLE_ROW_FRACTION)
    # If xhat is tiny (var << eps) and beta is 0, all of y is near the kink, so the steps shrink with y.
    with np.errstate(divide="ignore", invalid="ignore"):  # a scale of 0 sets no limit
        relative_y = np.abs(base.y).mean(axis=0) / np.abs(p.gamma)
        q = np.where(relative_y > 0, np.minimum(relative_y, 1.0), 1.0)
        h = q * np.minimum(delta * sigma / base.single_row_std, single_row_delta * sigma)
        x = 1 / (base.abs_w / h).max(axis=1)
        w = delta * sigma / base.feature_std[:, None]
        np.minimum(w, single_row_delta * sigma / np.abs(base.x_centered).max(axis=0)[:, None], out=w)
        np.minimum(w, delta * (base.magnitude + sigma) / base.abs_x.max(axis=0)[:, None], out=w)
        w *= q
        max_xhat = base.abs_xhat.max(axis=0)
        gamma = delta * (np.abs(p.gamma) + np.where(max_xhat > 0, np.abs(p.beta) / max_xhat, 0.0))
        beta = delta * (np.abs(p.gamma) * max_xhat + np.abs(p.beta))
    steps = {"X": x, "W": w, "b": h, "gamma": gamma, "beta": beta, "h": h}
    return {name: np.where(np.isfinite(s) & (s > 0), s, 1.0) for name, s in steps.items()}


def can_cross_kink(
    base: BasePoint, component: Component, scheme: Scheme, steps: PerInput, roundoff_factor: float = 1.0
) -> BoolArray:
    """Return, as (N, H), whether a perturbation of a single entry can carry the output across ReLU's kink.

    ``roundoff_factor`` is the roundoff unit of the code under test divided by float64's.
    """
    near = np.zeros(base.y.shape, bool)
    if component is NETWORK:
        near = np.abs(base.y) < excluded_below(base, scheme, steps, roundoff_factor)
    elif component is RELU:  # y itself is perturbed
        reach = GUARD_SAFETY_FACTOR * scheme.max_multiple * steps["y"]
        near = np.abs(base.y) <= reach + rounding_of_y(base, roundoff_factor)
    return near


def excluded_below(base: BasePoint, scheme: Scheme, steps: PerInput, roundoff_factor: float = 1.0) -> FloatArray:
    """Return the |y| below which an output is excluded from the loss, (N, H).

    A shift of h by t along v changes y by at most |gamma| / (1 - tau) (|xhat| tau + t |v - vbar| / sigma), where tau
    is the step divided by the radius of convergence: |1/sqrt(V(t)) - 1/sqrt(V(0))| is at most tau / (1 - tau) of
    1/sqrt(V(0)), for a complex t as well. The rounding of y in the code under test is added.
    """
    xhat = base.abs_xhat
    s = {name: scheme.max_multiple * np.abs(step) for name, step in steps.items()}
    reach = np.maximum(s["gamma"] * xhat, s["beta"])
    np.maximum(reach, _reach_of_rows(base, s["X"], s["h"]), out=reach)
    np.maximum(reach, _reach_of_weights(base, s["W"]), out=reach)
    reach *= GUARD_SAFETY_FACTOR
    reach += rounding_of_y(base, roundoff_factor)
    return reach


def rounding_of_y(base: BasePoint, roundoff_factor: float) -> FloatArray:
    """Bound the rounding of y in the code under test, (N, H)."""
    gamma, beta = np.abs(base.problem.gamma), np.abs(base.problem.beta)
    roundoff = (ROUNDINGS_OF_Y + base.problem.N) * UNIT_ROUNDOFF * roundoff_factor
    return roundoff * (gamma * (base.abs_xhat + base.kappa) + beta)


def _reach_of_rows(base: BasePoint, x: FloatArray, h: FloatArray) -> FloatArray:
    """Bound the change of y if one row of h is shifted, by an entry of h or of X."""
    t = np.maximum(h, (base.abs_w * x[:, None]).max(axis=0))
    return _reach(base, t * base.single_row_std / base.radius, t * (1 - 1 / base.problem.N))


def _reach_of_weights(base: BasePoint, w: FloatArray) -> FloatArray:
    """Bound the change of y if an entry of W is perturbed, over the D features.

    The largest shift of row k of column j is the maximum of w_dj |x_kd - mean_d| over d. For any scale f of the
    features it is at most the maximum of w_dj f_d times the maximum of |x_kd - mean_d| / f_d. This is exact for a
    fixed step and f = 1. Automatic steps are proportional to 1 / feature_std, so f is feature_std: on 24,000 hard
    problems, 7 had one more excluded output than with the best f.
    """
    deviation, feature_std = np.abs(base.x_centered), base.feature_std
    f = np.ones_like(feature_std)
    if w.size > 1:  # a feature that is constant over the batch shifts nothing, for any step
        w = np.where(deviation.max(axis=0)[:, None] > 0, w, 0.0)
        f = np.where(feature_std > 0, feature_std, 1.0)
    shift = (deviation / f).max(axis=1)[:, None] * (w * f[:, None]).max(axis=0)
    return _reach(base, (w * feature_std[:, None]).max(axis=0) / base.radius, shift)


def _reach(base: BasePoint, tau: FloatArray, shift: FloatArray) -> FloatArray:
    """Return |gamma| / (1 - tau) (|xhat| tau + shift / sigma), infinite from tau = 1 on."""
    bounded_tau = np.where(tau < 1, tau, 0.0)
    scale = np.abs(base.problem.gamma) / (1 - bounded_tau)
    reach: FloatArray = base.abs_xhat * (scale * bounded_tau)
    reach += shift * (scale / base.sigma)
    return reach if (tau < 1).all() else np.where(tau < 1, reach, np.inf)
