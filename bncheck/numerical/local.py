"""The local engine: each perturbation as the closed-form response of the columns that it shifts.

A shift of column j of h along v by t changes its loss to

    L_j(t) = gamma (A + t p) / sqrt((S + 2 t q + t^2 r)/N + eps) + beta B

    A = sum dy c             S = sum c^2
    p = sum dy (v - vbar)    q = sum c (v - vbar)    r = sum (v - vbar)^2

with c = h - mu and dy = dout where y > 0, which is fixed because excluded outputs have dout = 0. beta B does not
depend on t and is left out. These are rearranged values of the forward pass: no formula of the backward pass is used,
and the cross-check compares them with full forward passes.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from bncheck.model.layers import Array
from bncheck.model.problem import FloatArray
from bncheck.model.progress import Progress
from bncheck.numerical.basepoint import UNIT_ROUNDOFF, BasePoint, PerInput
from bncheck.numerical.schemes import Quotient, Response, Scheme

# Values of an array that is evaluated at a time: a few such arrays fit into the cache.
CACHE_BLOCK_VALUES = 16_384
# Rows of a matrix product at a time: with fewer rows it spends most of its time on rearranging the other factor.
MATMUL_BLOCK_ROWS = 512
# Most samples per row and column for which interpolation is used; if it needs more, every response is evaluated.
MAX_NODES = 8


def local_gradients(
    base: BasePoint, scheme: Scheme, steps: PerInput, names: Iterable[str], progress: Progress
) -> dict[str, FloatArray]:
    """Return the numerical gradient of every entry, by input name."""
    gamma = base.problem.gamma
    columns = _Columns(gamma, gamma * (base.dy * base.h_centered).sum(axis=0), base.sigma * base.sigma)
    engines: Mapping[str, Callable[[], FloatArray]] = {
        "X": lambda: _through_affine(base, columns, scheme, steps["X"], progress),
        "W": lambda: columns.slopes(scheme, _weight_sums(base), steps["W"]),
        "b": lambda: np.zeros(base.problem.H),  # batch norm cancels a shift by b, so the response is constant
        "gamma": lambda: _linear(scheme, (base.dy * base.xhat).sum(axis=0), steps["gamma"]),
        "beta": lambda: _linear(scheme, base.dy.sum(axis=0), steps["beta"]),
        "h": lambda: columns.slopes(scheme, _row_sums(base), steps["h"]),
    }
    # A step beyond the radius of convergence may make V 0 or negative; its error bound is infinite.
    with np.errstate(divide="ignore", invalid="ignore"):
        return {name: engines[name]() for name in names}


class _DirectionSums(NamedTuple):
    """The sums of the directions v, each broadcastable to (directions, H); ``q`` and ``r`` hold q/N and r/N."""

    p: FloatArray
    q: FloatArray
    r: FloatArray


class _Columns(NamedTuple):
    """The values of the columns, each (H,); ``A`` holds gamma A, and ``V`` is S/N + eps = sigma^2."""

    gamma: FloatArray
    A: FloatArray
    V: FloatArray

    def response(self, sums: _DirectionSums) -> Response:
        """Return the loss of each column as a function of its shift, per direction and column."""
        p, q = self.gamma * sums.p, 2 * sums.q

        def response(t: Array) -> Array:
            V = q + t * sums.r
            V *= t
            V += self.V
            loss: Array = t * p
            loss += self.A
            loss /= np.sqrt(V, out=V)
            return loss

        return response

    def slopes(self, scheme: Scheme, sums: _DirectionSums, step: FloatArray) -> FloatArray:
        """Return the derivative along each direction, (directions, H)."""
        slopes = np.empty_like(sums.p)
        r, steps = np.broadcast_to(sums.r, (len(slopes), 1)), np.broadcast_to(step, slopes.shape)
        for block in _blocks(slopes):
            response = self.response(_DirectionSums(sums.p[block], sums.q[block], r[block]))
            slopes[block] = scheme.derivative(response, steps[block])
        return slopes


def _blocks(array: FloatArray) -> Iterator[slice]:
    """Yield slices of the rows of an array, in blocks that fit into the cache."""
    rows = max(1, CACHE_BLOCK_VALUES // array.shape[1])
    return (slice(start, min(start + rows, len(array))) for start in range(0, len(array), rows))


def _row_sums(base: BasePoint) -> _DirectionSums:
    """Return the sums for single entries of h, where v is 1 in one row, (N, H)."""
    N = base.problem.N
    return _DirectionSums(base.dy - base.dy.mean(axis=0), base.h_centered / N, np.full(1, (N - 1) / N**2))


def _weight_sums(base: BasePoint) -> _DirectionSums:
    """Return the sums for single entries of W, where v is a column of X, (D, H)."""
    return _DirectionSums(
        base.weight_projection,
        base.x_centered.T @ base.h_centered / base.problem.N,
        (base.feature_std * base.feature_std)[:, None],
    )


def _through_affine(
    base: BasePoint, columns: _Columns, scheme: Scheme, step: FloatArray, progress: Progress
) -> FloatArray:
    """Return dX, (N, D): perturbing X[n,d] by s_d shifts h[n,j] by t = s_d W_dj in every column j.

    The responses of the H columns of a row are summed for each d. The response of column j is needed at the D points t,
    with T_j = max_d |s_d W_dj|, where it is smooth: its odd part in t, and for the forward scheme its even part, is
    sampled at the nodes x_k T_j and interpolated. The sums over j are then a product of the samples of all nodes,
    (N, nodes H), with the interpolation weights at t/T_j, (nodes H, D). If that needs too many samples, every response
    is evaluated.
    """
    N, D = base.problem.N, base.problem.D
    step = np.broadcast_to(step, (D,))
    sums = _row_sums(base)
    transposed = np.ascontiguousarray(base.problem.W.T)  # a matrix product is fastest without transposing
    shifts = step * transposed
    max_shift = np.abs(shifts).max(axis=1)
    count = nodes_needed(scheme.max_multiple * float((max_shift / base.radius).max()) * base.single_row_std)
    if count > MAX_NODES:
        return _evaluate_every_response(columns, sums, scheme, step, transposed.T, progress)
    # The square roots of the Chebyshev nodes of [0, 1], which are cosines as well.
    nodes = np.cos((2 * np.arange(count) + 1) * np.pi / (4 * count))
    relative = shifts / np.where(max_shift > 0, max_shift, 1.0)[:, None]
    odd_and_even = scheme.quotient is Quotient.FORWARD
    weights = np.empty(((1 + odd_and_even) * count, *relative.shape))
    for block in _blocks(relative):
        weights[:, block] = _weights(nodes, relative[block], odd_and_even)
    weights = weights.reshape(-1, D)

    def samples(rows: slice) -> FloatArray:
        response = columns.response(_DirectionSums(sums.p[rows], sums.q[rows], sums.r))

        def slope(multiple: float) -> FloatArray:
            parts = zip(
                *(scheme.quotient.odd_even_parts(response, multiple * x * max_shift) for x in nodes), strict=True
            )
            return np.concatenate([sample for part in parts for sample in part], axis=1) / multiple

        return scheme.estimate(slope)

    dX = np.empty((N, D))
    for start in range(0, N, MATMUL_BLOCK_ROWS):
        rows = slice(start, start + MATMUL_BLOCK_ROWS)
        blocks = [samples(slice(start + b.start, start + b.stop)) for b in _blocks(sums.p[rows])]
        np.matmul(np.concatenate(blocks), weights, out=dX[rows])
        progress(min(start + MATMUL_BLOCK_ROWS, N) * D, N * D)
    return dX / step


def nodes_needed(tau: float) -> int:
    """Return the number of samples that interpolate a response to within its rounding; ``MAX_NODES`` + 1 if too many.

    ``tau`` is the largest shift divided by the radius of convergence. The odd part in t is t F(z) with z = (t/T)^2 and
    Taylor coefficients of at most St tau^2i (see ``Scheme.truncation``); the even part is smaller. Interpolation at K
    Chebyshev nodes of [0, 1] leaves at most 2/4^K times the binomial of i over K of each z^i, i >= K: in total
    2 (tau/2)^2K / (1 - tau^2)^(K+1) of the terms.
    """
    if not tau < 1:
        return MAX_NODES + 1
    errors = (2 * (tau / 2) ** (2 * k) / (1 - tau * tau) ** (k + 1) for k in range(1, MAX_NODES + 1))
    return next((k for k, error in enumerate(errors, 1) if error <= UNIT_ROUNDOFF), MAX_NODES + 1)


def _weights(nodes: FloatArray, relative: FloatArray, odd_and_even: bool) -> list[FloatArray]:
    """Return the weight of each sample at the relative shifts t/T.

    Lagrange's weights in z = (t/T)^2, times (t/T)/x for the odd part, and times its square for the even part.
    """
    z, squares = relative * relative, nodes * nodes
    weights = [
        math.prod(((z - other) / (square - other) for other in squares if other != square), start=relative / x)
        for x, square in zip(nodes, squares, strict=True)
    ]
    if odd_and_even:
        weights += [weight * relative / x for weight, x in zip(weights, nodes, strict=True)]
    return weights


def _evaluate_every_response(
    columns: _Columns, sums: _DirectionSums, scheme: Scheme, step: FloatArray, W: FloatArray, progress: Progress
) -> FloatArray:
    """Return dX by evaluating the response of every column to the perturbation of every entry."""
    N, D = len(sums.p), len(W)
    dX = np.empty((N, D))

    def derivative(n: int, block: slice) -> FloatArray:
        response = columns.response(_DirectionSums(sums.p[n], sums.q[n], sums.r))
        return scheme.derivative(lambda s: response(s[:, None] * W[block]), step[block], lambda loss: loss.sum(axis=1))

    for n in range(N):
        for block in _blocks(W):
            dX[n, block] = derivative(n, block)
        progress((n + 1) * D, N * D)
    return dX


def _linear(scheme: Scheme, weight: FloatArray, step: FloatArray) -> FloatArray:
    """Return dgamma or dbeta, (H,): the loss of a column is gamma sum dy xhat + beta sum dy, linear with a weight."""
    return scheme.derivative(lambda t: t * weight, np.broadcast_to(step, weight.shape))
