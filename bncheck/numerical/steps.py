"""Finite-difference steps: one per column or feature, on the scale of the column's own sigma."""

from collections.abc import Iterable, Mapping

import numpy as np

from bncheck.model.problem import FloatArray
from bncheck.numerical.basepoint import UNIT_ROUNDOFF, BasePoint
from bncheck.numerical.schemes import Quotient, Scheme

# A complex step subtracts nothing, so it can be so small that its truncation is far below u.
COMPLEX_STEP = 2.0**-66
# No automatic step moves h by more than this share of sigma, however large the cancellation ...
MAX_STEP_FRACTION = 2.0**-6
# ... and a single row's move may always be this share of sigma, however large the batch.
SINGLE_ROW_SHARE = 2.0**-9

Steps = Mapping[str, FloatArray]


def fixed_steps(step: float, names: Iterable[str]) -> Steps:
    """Return the same absolute step for everything that is named."""
    return {name: np.full(1, step) for name in names}


def automatic_steps(base: BasePoint, scheme: Scheme) -> Steps:
    """Return scale-aware steps that broadcast against X, W, b, gamma, beta and h.

    Rounding grows as 1/step and truncation as step^p, so the two balance near
    delta = (u (1 + kappa))^(1/(p+1)) of sigma (Dennis & Schnabel 1983, section 5.4), where kappa
    is the cancellation in h - mu. A step is absolute, in the units of what it moves.
    """
    p, sigma = base.problem, base.sigma
    if scheme.quotient is Quotient.COMPLEX:
        delta = np.full_like(sigma, COMPLEX_STEP)
    else:
        delta = np.minimum((UNIT_ROUNDOFF * (1 + base.kappa)) ** (1 / (scheme.order + 1)), MAX_STEP_FRACTION)
    wide = np.maximum(delta, SINGLE_ROW_SHARE)
    # Where xhat is tiny (var << eps) and beta is 0, all of y lies near the kink: move less.
    with np.errstate(divide="ignore", invalid="ignore"):  # a zero scale sets no limit
        nearness = np.abs(base.y).mean(axis=0) / np.abs(p.gamma)
        q = np.where(nearness > 0, np.minimum(nearness, 1.0), 1.0)
        h = q * np.minimum(delta * sigma / base.single_row_std, wide * sigma)
        x = 1 / (base.abs_w / h).max(axis=1)
        w = delta * sigma / base.feature_std[:, None]
        np.minimum(w, wide * sigma / np.abs(base.x_centered).max(axis=0)[:, None], out=w)
        np.minimum(w, delta * (base.magnitude + sigma) / base.abs_x.max(axis=0)[:, None], out=w)
        w *= q
        largest = base.abs_xhat.max(axis=0)
        gamma = delta * (np.abs(p.gamma) + np.where(largest > 0, np.abs(p.beta) / largest, 0.0))
        beta = delta * (np.abs(p.gamma) * largest + np.abs(p.beta))
    steps = {"X": x, "W": w, "b": h, "gamma": gamma, "beta": beta, "h": h}
    return {name: np.where(np.isfinite(s) & (s > 0), s, 1.0) for name, s in steps.items()}
