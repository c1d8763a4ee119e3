"""Finite-difference steps: one per column or feature, on the scale of sigma."""

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from bncheck.model.problem import FloatArray
from bncheck.numerical.basepoint import UNIT_ROUNDOFF, BasePoint
from bncheck.numerical.schemes import Quotient, Scheme

# Complex step as a fraction of sigma. It subtracts nothing, so its truncation can be far below the roundoff unit.
COMPLEX_STEP = 2.0**-66
# Largest fraction of sigma by which an automatic step shifts h, for any cancellation ...
MAX_STEP_FRACTION = 2.0**-6
# ... and the fraction of sigma by which it may always shift a single row, for any batch size.
SINGLE_ROW_FRACTION = 2.0**-9

# Absolute steps by parameter name, each broadcastable to the parameter, in its units.
Steps: TypeAlias = Mapping[str, FloatArray]


def automatic_steps(base: BasePoint, scheme: Scheme) -> Steps:
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
