"""The kink guard: the rule that excludes outputs which a perturbation may carry across ReLU's kink."""

import numpy as np

from bncheck.model.components import NETWORK, RELU, Component
from bncheck.model.problem import FloatArray
from bncheck.model.results import BoolArray
from bncheck.numerical.basepoint import UNIT_ROUNDOFF, BasePoint
from bncheck.numerical.schemes import Scheme
from bncheck.numerical.steps import Steps

# The bound is tight (measured ratio 1.000); 1 % covers its own rounding.
GUARD_SAFETY_FACTOR = 1.01
# y is rounded by about kappa u, and the mean of equal numbers by a fraction of N u; the code under test may round y
# differently from bncheck.
ROUNDINGS_OF_Y = 8.0


def can_cross_kink(
    base: BasePoint, component: Component, scheme: Scheme, steps: Steps, roundoff_factor: float = 1.0
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


def excluded_below(base: BasePoint, scheme: Scheme, steps: Steps, roundoff_factor: float = 1.0) -> FloatArray:
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
    rounding: FloatArray = roundoff * (gamma * (base.abs_xhat + base.kappa) + beta)
    return rounding


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
