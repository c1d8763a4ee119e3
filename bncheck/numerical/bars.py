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

from bncheck.numerical.basepoint import BasePoint, U
from bncheck.numerical.schemes import Scheme
from bncheck.numerical.steps import Steps
from bncheck.problem import FloatArray

PerParameter = Mapping[str, FloatArray]

# Rounding of a loss: needed was 0.95 in 99 % of 4,000 problems, 2.1 at most.
ROUNDING_FACTOR = 4.0
# Rounding of a gradient: 3.3 was needed of random numbers at N <= 40 and 15.9 at N = 4096, but a
# plain sum of equal numbers, such as a mean loss has, errs by a share of n u: 4 + n is allowed.
CONDITIONING_FACTOR = 4.0


class Bars(NamedTuple):
    """What an error bar is the sum of, and what it is compared with, by parameter name."""

    truncation: PerParameter
    rounding: PerParameter
    conditioning: PerParameter
    size: PerParameter


def bars_of(base: BasePoint, scheme: Scheme, steps: Steps, names: Sequence[str]) -> Bars:
    """Return the bars of the named parameters' gradients."""
    size = sizes(base, names)
    return Bars(
        truncation(base, scheme, steps, size), rounding(base, scheme, steps, names), conditioning(base, names), size
    )


def sizes(base: BasePoint, names: Iterable[str]) -> PerParameter:
    """Return S: the size of the terms that each entry is made of before they cancel.

    S_h = |gamma|/sigma (|m| + mean|m| + |xhat| mean|m xhat|); the others are S_h, or the terms
    of dgamma and dbeta, summed in absolute value. If N = 1 every xhat is exactly 0, and S_gamma
    is what it would be at xhat = 1.
    """
    N, (m, mx) = base.problem.N, base.sums
    h = _terms(base, m / N, mx / N, np.abs(base.problem.gamma) / base.sigma)
    return _through_affine(base, names, h, m if N == 1 else mx, m)


def conditioning(base: BasePoint, names: Sequence[str]) -> PerParameter:
    """Bound what rounding at the base point does to a gradient, analytic or numerical.

    (4 + n) u kS, with kS the size of the terms times their sensitivity to the rounding of
    h - mu, and n the length of the sums.
    """
    (N, H), (m, mx), kappa = base.m.shape, base.sums, base.kappa_in_bars
    h = _terms(base, (m + mx) / N, (m + mx) / N, (1 + kappa) * np.abs(base.problem.gamma) / base.sigma)
    sensitive = _through_affine(base, names, h, (1 + kappa) * m + mx, m)
    terms = {"X": N + H, "W": 2 * N, "b": 2 * N, "gamma": N, "beta": N, "h": N}
    for name, length in terms.items():
        if name in sensitive:
            np.multiply(sensitive[name], (CONDITIONING_FACTOR + length) * U, out=sensitive[name])
    return sensitive


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


def rounding(base: BasePoint, scheme: Scheme, steps: Steps, names: Iterable[str]) -> PerParameter:
    """Bound the rounding of the losses that a numerical gradient subtracts, over the step.

    Per column u [|gamma| (kappa |m|_2 + |m xhat|_2) + |beta| |m|_2
    + 1/4 sqrt(N) |gamma| (kappa |sum m| + |sum m xhat|)]: rounding errors of single outputs add
    up like a random walk, those of mu and var move a whole column at once. Equal rows round
    alike, and so do equal units: the norms are over groups of these.
    """
    p, kappa = base.problem, base.kappa_in_bars
    scale = base.abs_m.max() or 1.0  # so that no square leaves float64
    gamma, beta, m = np.abs(p.gamma), np.abs(p.beta), base.abs_m / scale
    rows = _groups(p.X)
    single = _norm(m, rows)
    m *= base.abs_xhat
    walk = kappa * single + _norm(m, rows)
    whole = kappa * np.abs(base.m.sum(axis=0)) + np.abs(np.einsum("nh,nh->h", base.m, base.xhat))
    whole /= scale
    column = U * (gamma * walk + beta * single + np.sqrt(p.N) / 4 * gamma * whole)
    units = _groups(p.gamma, p.beta, p.b, p.W.T)
    loss = {name: _norm(column[:, None], units)[0] if name == "X" else column for name in names}
    factor = ROUNDING_FACTOR * scheme.rounding * scale
    with np.errstate(over="ignore"):  # a vanishing step has an infinite bar
        return {name: factor * loss[name] / steps[name] for name in names}


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
    sigma, m, W, one = base.sigma, base.m, base.abs_w, base.spread_of_one
    scale = np.abs(base.problem.gamma) / sigma
    slope = scale * np.abs(np.einsum("nh,nh->h", m, base.xhat))
    if "h" in bounds:
        terms = scale * np.abs(m - m.mean(axis=0)) + slope * one
        bounds["h"] = _at_most(terms, scheme.truncation(steps["h"] * one / sigma))
    if "X" in bounds:
        tau = (W / sigma).max(axis=1) * steps["X"] * one
        bounds["X"] = _at_most(size["X"] + W @ slope * one, scheme.truncation(tau))
    if "W" in bounds:
        spread = base.spread[:, None]
        terms = scale * np.abs(base.along) + slope * spread
        bounds["W"] = _at_most(terms, scheme.truncation(steps["W"] * spread / sigma))
    return bounds


def _at_most(terms: FloatArray, share: FloatArray) -> FloatArray:
    """Return terms * share, where nothing at an infinite share is still not known to be 0."""
    if np.isfinite(share).all():
        return terms * share
    return np.where(np.isfinite(share), terms * np.where(np.isfinite(share), share, 1.0), np.inf)
