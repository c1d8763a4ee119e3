"""Error bounds: upper bounds, entry by entry, on the errors of a numerical and an analytic gradient.

dy is dout where the output is active; means and sums run over the batch; u is the roundoff unit of float64; S is the
size of the terms of an entry before they cancel; kappa is the size of the terms of h divided by sigma. The bounds of
gradients are arrays by input name that broadcast against the gradient. Unless a constant says otherwise, it was
measured on 23,000 random problems (N, D, H up to 40, scales 1e-8 to 1e6, means up to 1e3, eps 1e-12 to 0.5).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bncheck.model.problem import FloatArray
from bncheck.model.results import BoolArray, Cause, NumericalGradient
from bncheck.numerical.basepoint import MIN_SUBNORMAL, UNIT_ROUNDOFF, BasePoint, PerInput
from bncheck.numerical.division import safe_divide
from bncheck.numerical.schemes import Scheme

# Safety factor on the rounding of a loss: 0.95 was needed in 99 % of 4,000 problems, at most 2.1.
ROUNDING_FACTOR = 4.0
# The same for b. The bias shifts every row equally, and rows of equal magnitude then round equally: integer data with
# a bias of 1,000 needed 5.9.
ROUNDING_FACTOR_OF_BIAS = 8.0
# Rounding of a gradient in units of u: random numbers needed 3.3 at N <= 40 and 15.9 at N = 4096, but the error of a
# plain sum of n equal numbers, as in a mean loss, is a fraction of n u. The bound allows 4 + n.
CONDITIONING_FACTOR = 4.0
# Largest loss by underflow in a term of a backward pass of elementary operations, as a multiple of the smallest
# positive number: up to eight products on the way to the term each lose up to half of this number.
UNDERFLOWS = 4.0
# Largest relative change of sigma by rounding for which first-order bounds are valid. With eps 1e-300 and a zero
# column of W, sigma is nothing but rounding.
MAX_SIGMA_ERROR = 1 / 8
# Roundings of an output, in addition to those of the sums over N and D.
ROUNDINGS_OF_OUTPUT = 8


class ErrorBounds(NamedTuple):
    """Parts of the error bounds of several gradients, by input name."""

    truncation: PerInput  # truncation error of the scheme
    rounding: PerInput  # rounding of the subtracted losses, divided by the step
    base_rounding: PerInput  # effect of the rounding of the base point, in float64, on the numerical value
    conditioning: PerInput  # rounding of an analytic value in float64; in other arithmetic times roundoff_factor
    term_size: PerInput  # S: size of the terms of an entry before they cancel


def compute_bounds(
    base: BasePoint,
    scheme: Scheme,
    steps: PerInput,
    names: Sequence[str],
    roundoff_factor: float = 1.0,
    underflow_unit: float = 0.0,
) -> ErrorBounds:
    """Bound the errors of the gradients for the named inputs.

    Parameters
    ----------
    base : BasePoint
    scheme : Scheme
    steps : mapping of str to ndarray
        Absolute finite-difference steps, broadcastable to the input, in its units.
    names : sequence of str
        Inputs: "X", "W", "b", "gamma", "beta", "h".
    roundoff_factor : float, default 1
        Roundoff unit of the code under test divided by float64's.
    underflow_unit : float, default 0
        Smallest positive number of the arithmetic, in units of dout; 0 if no result is near it.

    Returns
    -------
    ErrorBounds
        Infinite where the step is outside the radius of convergence or sigma is lost in rounding.
    """
    term_size = term_sizes(base, names)
    numerical = conditioning(base, names, base.kappa_for_bounds, underflow_unit)
    # If N = 1, code that computes xhat as h rstd + (-mu rstd) with fused multiply-add returns O(kappa u) instead of 0.
    analytic = numerical if base.problem.N > 1 else conditioning(base, names, base.kappa, underflow_unit)
    return ErrorBounds(
        truncation(base, scheme, steps, term_size),
        rounding(base, scheme, steps, names),
        _infinite_without_sigma(base, numerical, base.kappa_for_bounds, 1.0),
        _infinite_without_sigma(base, analytic, base.kappa, roundoff_factor),
        term_size,
    )


def dominant_cause(gradient: NumericalGradient, roundoff_factor: float) -> Cause:
    """Return the largest part of the tolerance, in the entry where the tolerance is largest relative to the terms.

    ``roundoff_factor`` is the roundoff unit of the code under test divided by float64's; it multiplies the
    conditioning. Entries that were not evaluated or have no terms are ignored.
    """
    parts = {
        Cause.TRUNCATION: gradient.truncation,
        Cause.ROUNDING: gradient.rounding,
        Cause.CONDITIONING: roundoff_factor * gradient.conditioning,
    }
    relative = safe_divide(sum(parts.values(), np.zeros(1)), gradient.term_size)
    relative = np.where(gradient.evaluated & (gradient.term_size > 0), relative, -1.0)
    index = np.unravel_index(int(np.argmax(relative)), relative.shape)
    return max(parts, key=lambda cause: float(np.broadcast_to(parts[cause], relative.shape)[index]))


def output_bound(base: BasePoint, roundoff_factor: float) -> FloatArray:
    """Bound the difference between two correct forward passes in float64, (N, H).

    In other arithmetic the bound is larger by ``roundoff_factor``, which is not included. It is infinite for a unit
    whose sigma is lost in rounding.
    """
    gamma, beta, xhat, kappa = np.abs(base.problem.gamma), np.abs(base.problem.beta), base.abs_xhat, base.kappa
    factor = (ROUNDINGS_OF_OUTPUT + base.problem.N + base.problem.D) * UNIT_ROUNDOFF
    scale = factor * gamma * (1 + kappa)
    bound: FloatArray = xhat * scale
    bound += scale + factor * beta
    bound[:, _is_sigma_lost(kappa, base.problem.N, roundoff_factor)] = np.inf
    return bound


def _is_sigma_lost(kappa: FloatArray, N: int, roundoff_factor: float) -> BoolArray:
    """Return, per unit, whether rounding may change sigma by more than ``MAX_SIGMA_ERROR`` of itself, (H,)."""
    error = (CONDITIONING_FACTOR + N) * UNIT_ROUNDOFF * roundoff_factor * (1 + kappa)
    return error > MAX_SIGMA_ERROR


def _infinite_without_sigma(
    base: BasePoint, conditioning: PerInput, kappa: FloatArray, roundoff_factor: float
) -> PerInput:
    """Make the conditioning infinite in entries that depend on a sigma that is lost in rounding."""
    lost = _is_sigma_lost(kappa, base.problem.N, roundoff_factor)
    if not lost.any():
        return conditioning
    live = lost & (base.dy != 0).any(axis=0) & (base.problem.gamma != 0)
    result = {}
    for name, part in conditioning.items():
        if name == "beta":  # the sum of dy does not contain sigma
            result[name] = part
        elif name == "X":  # a sum over the units for which the feature has a weight
            result[name] = np.where((base.abs_w[:, live] > 0).any(axis=1), np.inf, part)
        else:
            result[name] = np.where(lost & (part > 0), np.inf, part)
    return result


def term_sizes(base: BasePoint, names: Iterable[str]) -> PerInput:
    """Return S, the size of the terms of each entry before they cancel.

    S_h = |gamma|/sigma (|dy| + mean|dy| + |xhat| mean|dy xhat|); the others are sums of S_h, or of the absolute terms
    of dgamma and dbeta. If N = 1, every xhat is exactly 0, and S_gamma is computed as if xhat were 1.
    """
    N, (dy, dy_xhat) = base.problem.N, base.abs_sums
    h = _terms(base, dy / N, dy_xhat / N, np.abs(base.problem.gamma) / base.sigma)
    return _through_affine(base, names, h, dy if N == 1 else dy_xhat, dy)


def conditioning(base: BasePoint, names: Sequence[str], kappa: FloatArray, underflow_unit: float) -> PerInput:
    """Bound the effect of rounding at the base point on a gradient, analytic or numerical.

    The bound is (4 + n) u kS, where kS is the size of the terms times their sensitivity to the rounding of h - mu, and
    n the length of the sums; products near ``underflow_unit`` add their loss.
    """
    (N, H), (dy, dy_xhat) = base.dy.shape, base.abs_sums
    mean = (dy + dy_xhat) / N
    h = _terms(base, mean, mean, (1 + kappa) * np.abs(base.problem.gamma) / base.sigma)
    bounds = _through_affine(base, names, h, (1 + kappa) * dy + dy_xhat, dy)
    sum_lengths = {"X": N + H, "W": 2 * N, "b": 2 * N, "gamma": N, "beta": N, "h": N}
    for name, bound in bounds.items():
        np.multiply(bound, (CONDITIONING_FACTOR + sum_lengths[name]) * UNIT_ROUNDOFF, out=bound)
    if underflow_unit:
        for name, underflow in _underflow(base, names, underflow_unit).items():
            np.add(bounds[name], underflow, out=bounds[name])
    return bounds


def _underflow(base: BasePoint, names: Sequence[str], underflow_unit: float) -> PerInput:
    """Bound the loss from products that round to multiples of ``underflow_unit``, in any order of the operations.

    A product of dout and xhat or gamma enters dh with a factor of up to (1 + |gamma|) / sigma, its sum over the batch
    with that times |xhat|; the derivative with respect to the variance, if it is computed as a number, with
    |xhat| / sigma^2; and the last product of each term with 1, or with sigma |xhat| = |h - mu|.
    """
    (N, H), sigma, gamma = base.dy.shape, base.sigma, np.abs(base.problem.gamma)
    h = (1 + base.abs_xhat) * ((1 + gamma) / sigma) + base.abs_xhat * (sigma + sigma**-2) + 1
    bounds = _through_affine(base, names, h, N * (1 + 1 / sigma), np.full(H, float(N)))
    products = {"X": H, "W": N, "b": N}
    return {name: UNDERFLOWS * underflow_unit * (part + products.get(name, 0)) for name, part in bounds.items()}


def _terms(base: BasePoint, shift: FloatArray, slope: FloatArray, scale: FloatArray) -> FloatArray:
    """Return scale (|dy| + shift + slope |xhat|), (N, H)."""
    terms: FloatArray = base.abs_xhat * slope
    terms += base.abs_dy
    terms += shift
    terms *= scale
    return terms


def _through_affine(
    base: BasePoint, names: Iterable[str], h: FloatArray, gamma: FloatArray, beta: FloatArray
) -> dict[str, FloatArray]:
    """Propagate sizes of the terms of dh to dX = dh W^T, dW = X^T dh and db = sum dh."""
    propagate: Mapping[str, Callable[[], FloatArray]] = {
        "X": lambda: h @ base.abs_w.T,
        "W": lambda: base.abs_x.T @ h,
        "b": lambda: h.sum(axis=0),
        "gamma": gamma.copy,  # the base point caches these two arrays, and the caller modifies the result
        "beta": beta.copy,
        "h": lambda: h,
    }
    return {name: propagate[name]() for name in names}


def rounding(base: BasePoint, scheme: Scheme, steps: PerInput, names: Sequence[str]) -> PerInput:
    """Bound the rounding of the losses that a numerical gradient subtracts, divided by the step.

    Per column it is u [|gamma| (kappa |dy|_2 + |dy xhat|_2) + |beta| |dy|_2
    + 1/4 sqrt(N) |gamma| (kappa |sum dy| + |sum dy xhat|)]: rounding errors of single outputs add up like a random
    walk, those of mu and var shift an entire column. Equal rows round equally, and so do equal units, so the norms are
    over groups of them. A product near float64's smallest positive number loses up to half of it.
    """
    p, kappa = base.problem, base.kappa_for_bounds
    scale = base.abs_dy.max(axis=0)  # of each unit, so that no square overflows or underflows
    scale[scale == 0] = 1.0
    gamma, beta, dy = np.abs(p.gamma), np.abs(p.beta), base.abs_dy / scale
    rows = _group_equal_rows(p.X)
    dy_norm = _group_norm(dy, rows)
    dy *= base.abs_xhat
    random_walk = kappa * dy_norm + _group_norm(dy, rows)
    common_shift = kappa * np.abs(base.dy.sum(axis=0)) + np.abs(np.einsum("nh,nh->h", base.dy, base.xhat))
    common_shift /= scale
    column = scale * UNIT_ROUNDOFF * (gamma * random_walk + beta * dy_norm + np.sqrt(p.N) / 4 * gamma * common_shift)
    largest = column.max() or 1.0
    all_columns = largest * _group_norm(column[:, None] / largest, _group_equal_rows(p.gamma, p.beta, p.b, p.W.T))
    underflow = MIN_SUBNORMAL * p.N * (1 + gamma) * (1 + 1 / base.sigma)  # affects the complex step as well
    losses = {name: (all_columns, underflow.sum()) if name == "X" else (column, underflow) for name in names}
    factors = {name: ROUNDING_FACTOR_OF_BIAS if name == "b" else ROUNDING_FACTOR for name in names}
    with np.errstate(over="ignore"):  # the bound of a vanishing step is infinite
        return {
            name: (factors[name] * scheme.rounding * roundoff + lost) / steps[name]
            for name, (roundoff, lost) in losses.items()
        }


def _group_equal_rows(*arrays: FloatArray) -> npt.NDArray[np.intp]:
    """Return, for each row, the number of the group of rows that are equal to it in all arrays.

    Rows are compared by digests: ``np.unique`` compares rows as structures, and Ctrl-C during that comparison raises
    TypeError instead of KeyboardInterrupt.
    """
    for array in arrays:  # if all sums differ, all rows differ, which is the usual case
        sums = np.sort(array if array.ndim == 1 else np.ascontiguousarray(array).sum(axis=1))
        if (sums[1:] != sums[:-1]).all():
            return np.arange(len(array), dtype=np.intp)
    numbers: dict[bytes, int] = {}
    rows = np.ascontiguousarray(np.column_stack(arrays)) + 0.0  # turns -0.0 into 0.0
    groups = [numbers.setdefault(blake2b(row, digest_size=16).digest(), len(numbers)) for row in rows]
    return np.array(groups, dtype=np.intp)


def _group_norm(values: FloatArray, groups: npt.NDArray[np.intp]) -> FloatArray:
    """Return the Euclidean norm, along the first axis, of the sums over groups of rows."""
    count = int(groups.max()) + 1
    if count < len(values):
        grouped = np.zeros((count, values.shape[1]))
        np.add.at(grouped, groups, values)
        values = grouped
    norm: FloatArray = np.sqrt(np.einsum("nh,nh->h", values, values))
    return norm


def truncation(base: BasePoint, scheme: Scheme, steps: PerInput, term_size: PerInput) -> PerInput:
    """Bound the truncation error of the scheme rigorously, see ``Scheme.truncation``.

    St = |gamma|/sigma (|p| + |sum dy xhat| sqrt(r/N)), with p = sum dy (v - vbar) and r = sum (v - vbar)^2, bounds the
    terms of a column of h that is shifted along v. The loss is linear in gamma and beta, and does not depend on b. For
    X, S replaces the part with |p|: it is larger, but already computed.
    """
    bounds: dict[str, FloatArray] = {name: np.zeros(1) for name in term_size}
    radius, dy, W, row_std = base.radius, base.dy, base.abs_w, base.single_row_std
    scale = np.abs(base.problem.gamma) / base.sigma
    slope = scale * np.abs(np.einsum("nh,nh->h", dy, base.xhat))
    if "h" in bounds:
        terms = scale * np.abs(dy - dy.mean(axis=0)) + slope * row_std
        bounds["h"] = _bound_product(terms, scheme.truncation(steps["h"] * row_std / radius))
    if "X" in bounds:
        tau = (W / radius).max(axis=1) * steps["X"] * row_std
        bounds["X"] = _bound_product(term_size["X"] + W @ slope * row_std, scheme.truncation(tau))
    if "W" in bounds:
        feature_std = base.feature_std[:, None]
        terms = scale * np.abs(base.weight_projection) + slope * feature_std
        bounds["W"] = _bound_product(terms, scheme.truncation(steps["W"] * feature_std / radius))
    return bounds


def _bound_product(terms: FloatArray, relative: FloatArray) -> FloatArray:
    """Return terms * relative, which is infinite if ``relative`` is, even for terms of 0."""
    if np.isfinite(relative).all():
        return terms * relative
    return np.where(np.isfinite(relative), terms * np.where(np.isfinite(relative), relative, 1.0), np.inf)
