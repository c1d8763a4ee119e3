"""How far a numerical and an analytic gradient may be from the true one, entry by entry.

m is dout where the output is active; means and sums run over the batch. Every function returns
arrays by parameter name that broadcast against the gradient. The constants were measured over
23,000 random problems (N, D, H to 40, scales 1e-8 to 1e6, means to 1e3, eps 1e-12 to 0.5).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bncheck.model.problem import FloatArray
from bncheck.numerical.basepoint import LEAST, UNIT_ROUNDOFF, BasePoint
from bncheck.numerical.schemes import Scheme
from bncheck.numerical.steps import Steps

PerParameter = Mapping[str, FloatArray]

# Rounding of a loss: needed was 0.95 in 99 % of 4,000 problems, 2.1 at most.
ROUNDING_FACTOR = 4.0
# The bias moves every row alike, and rows of equal magnitude then round alike: integer-valued data with a bias of 1,000
# needed 5.9.
ROUNDING_FACTOR_OF_BIAS = 8.0
# Rounding of a gradient: 3.3 was needed of random numbers at N <= 40 and 15.9 at N = 4096, but a
# plain sum of equal numbers, such as a mean loss has, errs by a share of n u: 4 + n is allowed.
CONDITIONING_FACTOR = 4.0
# Products that round to a multiple of float64's least number on the way to a term, each by half of it: a backward pass
# of elementary operations has up to eight.
UNDERFLOWS = 4.0
# If rounding can change sigma by more than this share of itself, first-order bounds do not describe
# what it does to a gradient. With eps 1e-300 and a zero column of W all of sigma is rounding.
MAX_SIGMA_ERROR = 1 / 8


class ErrorBounds(NamedTuple):
    """What an error bar is the sum of, and what it is compared with, by parameter name."""

    truncation: PerParameter
    rounding: PerParameter
    conditioning: PerParameter  # of the numerical value, which is computed in float64
    analytic: PerParameter  # conditioning of an analytic value, in units of its own roundoff over float64's
    size: PerParameter


def compute_bounds(
    base: BasePoint,
    scheme: Scheme,
    steps: Steps,
    names: Sequence[str],
    roundoff_factor: float = 1.0,
    least: float = 0.0,
) -> ErrorBounds:
    """Return the bars of the named parameters' gradients.

    ``roundoff_factor`` is the unit roundoff of the code under test over float64's; ``least`` is the least positive
    number of its arithmetic in the units of dout, 0 if no result is near it.
    """
    size = term_sizes(base, names)
    numerical = conditioning(base, names, base.kappa_for_bounds, least)
    # If N = 1, code that computes xhat as h rstd + (-mu rstd) with fused multiply-add returns O(kappa u) instead of 0.
    analytic = numerical if base.problem.N > 1 else conditioning(base, names, base.kappa, least)
    return ErrorBounds(
        truncation(base, scheme, steps, size),
        rounding(base, scheme, steps, names),
        _without_sigma(base, numerical, base.kappa_for_bounds, 1.0),
        _without_sigma(base, analytic, base.kappa, roundoff_factor),
        size,
    )


def lost_sigma(kappa: FloatArray, N: int, roundoff_factor: float) -> npt.NDArray[np.bool_]:
    """Return, per unit, whether rounding may change sigma by more than ``MAX_SIGMA_ERROR`` of itself, (H,)."""
    lost: npt.NDArray[np.bool_] = (CONDITIONING_FACTOR + N) * UNIT_ROUNDOFF * roundoff_factor * (
        1 + kappa
    ) > MAX_SIGMA_ERROR
    return lost


def _without_sigma(
    base: BasePoint, conditioning: PerParameter, kappa: FloatArray, roundoff_factor: float
) -> PerParameter:
    """Make the conditioning infinite in entries that depend on a sigma that is lost in rounding."""
    lost = lost_sigma(kappa, base.problem.N, roundoff_factor)
    if not lost.any():
        return conditioning
    live = lost & (base.dy != 0).any(axis=0) & (base.problem.gamma != 0)
    infinite = {}
    for name, part in conditioning.items():
        if name == "beta":  # the sum of m, in which no sigma occurs
            infinite[name] = part
        elif name == "X":  # sums over the units that the feature has a weight for
            infinite[name] = np.where((base.abs_w[:, live] > 0).any(axis=1), np.inf, part)
        else:
            infinite[name] = np.where(lost & (part > 0), np.inf, part)
    return infinite


def term_sizes(base: BasePoint, names: Iterable[str]) -> PerParameter:
    """Return S: the size of the terms that each entry is made of before they cancel.

    S_h = |gamma|/sigma (|m| + mean|m| + |xhat| mean|m xhat|); the others are S_h, or the terms
    of dgamma and dbeta, summed in absolute value. If N = 1 every xhat is exactly 0, and S_gamma
    is what it would be at xhat = 1.
    """
    N, (m, mx) = base.problem.N, base.sums
    h = _terms(base, m / N, mx / N, np.abs(base.problem.gamma) / base.sigma)
    return _through_affine(base, names, h, m if N == 1 else mx, m)


def conditioning(base: BasePoint, names: Sequence[str], kappa: FloatArray, least: float) -> PerParameter:
    """Bound what rounding at the base point does to a gradient, analytic or numerical.

    (4 + n) u kS, with kS the size of the terms times their sensitivity to the rounding of
    h - mu, and n the length of the sums; and what products lose that are near ``least``.
    """
    (N, H), (m, mx) = base.dy.shape, base.sums
    h = _terms(base, (m + mx) / N, (m + mx) / N, (1 + kappa) * np.abs(base.problem.gamma) / base.sigma)
    sensitive = _through_affine(base, names, h, (1 + kappa) * m + mx, m)
    terms = {"X": N + H, "W": 2 * N, "b": 2 * N, "gamma": N, "beta": N, "h": N}
    for name, length in terms.items():
        if name in sensitive:
            np.multiply(sensitive[name], (CONDITIONING_FACTOR + length) * UNIT_ROUNDOFF, out=sensitive[name])
    if least:
        for name, lost in _underflow(base, names, least).items():
            np.add(sensitive[name], lost, out=sensitive[name])
    return sensitive


def _underflow(base: BasePoint, names: Sequence[str], least: float) -> PerParameter:
    """Bound what a backward pass loses by rounding products to multiples of ``least``, in whatever order it forms them.

    A product of dout and xhat or gamma reaches dh by a factor of up to (1 + |gamma|) / sigma, its sum over the batch
    by that times |xhat|; the derivative by the variance, formed as a number of its own, by |xhat| / sigma^2; and
    the last product in each by 1, or by sigma |xhat| = |h - mu|.
    """
    (N, H), sigma, gamma = base.dy.shape, base.sigma, np.abs(base.problem.gamma)
    h = (1 + base.abs_xhat) * ((1 + gamma) / sigma) + base.abs_xhat * (sigma + sigma**-2) + 1
    lost = _through_affine(base, names, h, N * (1 + 1 / sigma), np.full(H, float(N)))
    products = {"X": H, "W": N, "b": N}
    return {name: UNDERFLOWS * least * (part + products.get(name, 0)) for name, part in lost.items()}


def _terms(base: BasePoint, shift: FloatArray, slope: FloatArray, scale: FloatArray) -> FloatArray:
    """Return scale (|m| + shift + slope |xhat|), (N,H)."""
    terms: FloatArray = base.abs_xhat * slope
    terms += base.abs_m
    terms += shift
    terms *= scale
    return terms


def _through_affine(
    base: BasePoint, names: Iterable[str], h: FloatArray, gamma: FloatArray, beta: FloatArray
) -> PerParameter:
    """Carry the sizes of the terms of dh on to dX = dh W^T, dW = X^T dh and db = sum dh."""
    carried: Mapping[str, Callable[[], FloatArray]] = {
        "X": lambda: h @ base.abs_w.T,
        "W": lambda: base.abs_x.T @ h,
        "b": lambda: h.sum(axis=0),
        "gamma": gamma.copy,  # these belong to the base point
        "beta": beta.copy,
        "h": lambda: h,
    }
    return {name: carried[name]() for name in names}


def rounding(base: BasePoint, scheme: Scheme, steps: Steps, names: Sequence[str]) -> PerParameter:
    """Bound the rounding of the losses that a numerical gradient subtracts, over the step.

    Per column u [|gamma| (kappa |m|_2 + |m xhat|_2) + |beta| |m|_2
    + 1/4 sqrt(N) |gamma| (kappa |sum m| + |sum m xhat|)]: rounding errors of single outputs add
    up like a random walk, those of mu and var move a whole column at once. Equal rows round
    alike, and so do equal units: the norms are over groups of these. A product near float64's least
    number is rounded by half of that at least.
    """
    p, kappa = base.problem, base.kappa_for_bounds
    scale = base.abs_m.max(axis=0)  # of each unit, so that no square leaves float64
    scale[scale == 0] = 1.0
    gamma, beta, m = np.abs(p.gamma), np.abs(p.beta), base.abs_m / scale
    rows = _groups(p.X)
    single = _norm(m, rows)
    m *= base.abs_xhat
    walk = kappa * single + _norm(m, rows)
    whole = kappa * np.abs(base.dy.sum(axis=0)) + np.abs(np.einsum("nh,nh->h", base.dy, base.xhat))
    whole /= scale
    column = scale * UNIT_ROUNDOFF * (gamma * walk + beta * single + np.sqrt(p.N) / 4 * gamma * whole)
    largest = column.max() or 1.0
    units = largest * _norm(column[:, None] / largest, _groups(p.gamma, p.beta, p.b, p.W.T))
    lost = LEAST * p.N * (1 + gamma) * (1 + 1 / base.sigma)  # by the complex step as well
    losses = {name: (units, lost.sum()) if name == "X" else (column, lost) for name in names}
    factors = {name: ROUNDING_FACTOR_OF_BIAS if name == "b" else ROUNDING_FACTOR for name in names}
    with np.errstate(over="ignore"):  # a vanishing step has an infinite bar
        return {
            name: (factors[name] * scheme.rounding * walked + underflow) / steps[name]
            for name, (walked, underflow) in losses.items()
        }


def _groups(*arrays: FloatArray) -> npt.NDArray[np.intp]:
    """Return for each row the number of its group of rows that are equal in all the arrays.

    By digests: ``np.unique`` of rows compares them as structures, and a Ctrl-C within that comes out as a TypeError.
    """
    for array in arrays:  # equal rows have equal sums, which unequal ones seldom have
        sums = np.sort(array if array.ndim == 1 else np.ascontiguousarray(array).sum(axis=1))
        if (sums[1:] != sums[:-1]).all():
            return np.arange(len(array), dtype=np.intp)
    numbers: dict[bytes, int] = {}
    rows = np.ascontiguousarray(np.column_stack(arrays)) + 0.0  # -0.0 equals 0.0
    found = [numbers.setdefault(blake2b(row, digest_size=16).digest(), len(numbers)) for row in rows]
    return np.array(found, dtype=np.intp)


def _norm(values: FloatArray, groups: npt.NDArray[np.intp]) -> FloatArray:
    """Return the root of the sum of squares along the first axis, of sums over groups."""
    count = int(groups.max()) + 1
    if count < len(values):
        grouped = np.zeros((count, values.shape[1]))
        np.add.at(grouped, groups, values)
        values = grouped
    norm: FloatArray = np.sqrt(np.einsum("nh,nh->h", values, values))
    return norm


def truncation(base: BasePoint, scheme: Scheme, steps: Steps, size: PerParameter) -> PerParameter:
    """Bound the scheme's truncation error, rigorously: see ``Scheme.truncation``.

    St = |gamma|/sigma (|p| + |sum m xhat| sqrt(r/N)) with p = sum m (v - vbar) and
    r = sum (v - vbar)^2 for a move of the column along v; gamma and beta act linearly, and b
    not at all. For X the first part is at most S, which is at hand.
    """
    bounds: dict[str, FloatArray] = {name: np.zeros(1) for name in size}
    radius, m, W, one = base.radius, base.dy, base.abs_w, base.single_row_std
    scale = np.abs(base.problem.gamma) / base.sigma
    slope = scale * np.abs(np.einsum("nh,nh->h", m, base.xhat))
    if "h" in bounds:
        terms = scale * np.abs(m - m.mean(axis=0)) + slope * one
        bounds["h"] = _at_most(terms, scheme.truncation(steps["h"] * one / radius))
    if "X" in bounds:
        tau = (W / radius).max(axis=1) * steps["X"] * one
        bounds["X"] = _at_most(size["X"] + W @ slope * one, scheme.truncation(tau))
    if "W" in bounds:
        spread = base.feature_std[:, None]
        terms = scale * np.abs(base.weight_projection) + slope * spread
        bounds["W"] = _at_most(terms, scheme.truncation(steps["W"] * spread / radius))
    return bounds


def _at_most(terms: FloatArray, share: FloatArray) -> FloatArray:
    """Return terms * share, where nothing at an infinite share is still not known to be 0."""
    if np.isfinite(share).all():
        return terms * share
    return np.where(np.isfinite(share), terms * np.where(np.isfinite(share), share, 1.0), np.inf)
