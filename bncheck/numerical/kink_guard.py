"""The kink guard: which outputs lie so near ReLU's kink that some perturbation may cross it."""

import numpy as np
import numpy.typing as npt

from bncheck.model.problem import FloatArray
from bncheck.numerical.basepoint import UNIT_ROUNDOFF, BasePoint
from bncheck.numerical.schemes import Scheme
from bncheck.numerical.steps import Steps

# The bound is sharp (measured |dy| / reach: 1.000), so it gets one per cent to round in.
GUARD_SAFETY_FACTOR = 1.01
# y itself is rounded by about kappa u, and the mean of equal numbers by a share of N u; a code
# under test may round it otherwise than we do.
ROUNDING_OF_Y = 8.0


def can_cross_kink(
    base: BasePoint, scheme: Scheme, steps: Steps, roundoff_factor: float = 1.0
) -> npt.NDArray[np.bool_]:
    """Return, as (N,H), where |y| is less than any single-entry perturbation can move it.

    ``roundoff_factor`` is the unit roundoff of the code under test over float64's.
    """
    near: npt.NDArray[np.bool_] = np.abs(base.y) < excluded_below(base, scheme, steps, roundoff_factor)
    return near


def excluded_below(base: BasePoint, scheme: Scheme, steps: Steps, roundoff_factor: float = 1.0) -> FloatArray:
    """Return the |y| below which an output is excluded from the loss, (N,H).

    A move of h along v by t changes y by at most
    |gamma| / (1 - tau) (|xhat| tau + t |v - vbar| / sigma), tau the step over the radius of
    convergence: |1/sqrt(V(t)) - 1/sqrt(V(0))| is at most tau / (1 - tau) of 1/sqrt(V(0)), for a
    complex t as well. Rounding in the code under test adds to it.
    """
    xhat, largest = base.abs_xhat, scheme.max_multiple
    s = {name: largest * np.abs(step) for name, step in steps.items()}
    reach = np.maximum(s["gamma"] * xhat, s["beta"])
    np.maximum(reach, _reach_of_rows(base, s["X"], s["h"], xhat), out=reach)
    np.maximum(reach, _reach_of_weights(base, s["W"], xhat), out=reach)
    reach *= GUARD_SAFETY_FACTOR
    reach += rounding_of_y(base, roundoff_factor)
    return reach


def rounding_of_y(base: BasePoint, roundoff_factor: float) -> FloatArray:
    """Return what rounding in the code under test may change y by, (N,H)."""
    gamma, beta = np.abs(base.problem.gamma), np.abs(base.problem.beta)
    uncertain = (ROUNDING_OF_Y + base.problem.N) * UNIT_ROUNDOFF * roundoff_factor
    rounding: FloatArray = uncertain * (gamma * (base.abs_xhat + base.kappa) + beta)
    return rounding


def _reach_of_rows(base: BasePoint, x: FloatArray, h: FloatArray, xhat: FloatArray) -> FloatArray:
    """Return how far y moves when one row of h does, by an entry of h itself or of X."""
    p = base.problem
    t = np.maximum(h, (base.abs_w * x[:, None]).max(axis=0))
    return _reach(base, xhat, t * base.single_row_std / base.radius, t * (1 - 1 / p.N))


def _reach_of_weights(base: BasePoint, w: FloatArray, xhat: FloatArray) -> FloatArray:
    """Bound how far y moves when an entry of W does, over the D features.

    The furthest that row k of column j is moved is the largest of w_dj |x_kd - mean_d| over d. For
    any scale f of the features that is at most the largest w_dj f_d times the largest
    |x_kd - mean_d| / f_d: exactly that for a fixed step and f = 1. Automatic steps go with one over the
    spread, which f is then: of 24,000 hard problems 7 had one output more guarded than with the sharpest f.
    """
    deviation, spread = np.abs(base.x_centered), base.feature_std
    f = np.ones_like(spread)
    if w.size > 1:  # a feature that is the same in the whole batch moves nothing, whatever its step
        w = np.where(deviation.max(axis=0)[:, None] > 0, w, 0.0)
        f = np.where(spread > 0, spread, 1.0)
    moved = (deviation / f).max(axis=1)[:, None] * (w * f[:, None]).max(axis=0)
    return _reach(base, xhat, (w * spread[:, None]).max(axis=0) / base.radius, moved)


def _reach(base: BasePoint, xhat: FloatArray, tau: FloatArray, moved: FloatArray) -> FloatArray:
    """Return |gamma| / (1 - tau) (|xhat| tau + moved / sigma), infinite from tau = 1 on."""
    inside = np.where(tau < 1, tau, 0.0)
    scale = np.abs(base.problem.gamma) / (1 - inside)
    reach: FloatArray = xhat * (scale * inside)
    reach += moved * (scale / base.sigma)
    return reach if (tau < 1).all() else np.where(tau < 1, reach, np.inf)
