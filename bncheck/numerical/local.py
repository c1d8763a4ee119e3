"""The local engine: a single-entry move as the closed-form response of the columns it moves.

A move of column j of h along v by t changes its guarded loss to

    L_j(t) = gamma (A + t p) / sqrt((S + 2 t q + t^2 r)/N + eps) + beta B

    A = sum m c             S = sum c^2
    p = sum m (v - vbar)    q = sum c (v - vbar)    r = sum (v - vbar)^2

with c = h - mu and m = dout where y > 0, fixed because guarded outputs have dout = 0. beta B does
not depend on t and is left out. These are values of the forward pass, rearranged: no formula of
the backward pass is used, and ``differentiate`` audits them against whole forward passes.
"""

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from bncheck.model.layers import Array
from bncheck.model.problem import FloatArray
from bncheck.model.progress import Progress
from bncheck.numerical.basepoint import UNIT_ROUNDOFF, BasePoint
from bncheck.numerical.schemes import Quotient, Response, Scheme
from bncheck.numerical.steps import Steps

# Rows or entries of X evaluated at a time, times H: a few arrays of this many numbers stay in cache ...
CACHE_BLOCK_VALUES = 16_384
# ... and rows multiplied at a time: a matrix product takes many, or it mostly rearranges its other factor.
MATMUL_BLOCK_ROWS = 512
# Beyond that many samples per row and column every response is evaluated.
MOST_NODES = 8


def local_gradients(
    base: BasePoint, scheme: Scheme, steps: Steps, names: Iterable[str], progress: Progress
) -> dict[str, FloatArray]:
    """Return the numerical gradient of every entry, by parameter name, without error bars."""
    columns = _Columns.of(base)
    # A step beyond the radius of convergence may land where V is 0 or less; its bar is infinite.
    with np.errstate(divide="ignore", invalid="ignore"):
        return {name: _gradient(name, base, columns, scheme, steps[name], progress) for name in names}


def _gradient(
    name: str, base: BasePoint, columns: "_Columns", scheme: Scheme, step: FloatArray, progress: Progress
) -> FloatArray:
    if name == "X":
        return _through_affine(base, columns, scheme, step, progress)
    if name in ("gamma", "beta"):
        return _linear(base, scheme, step, name)
    still = _DirectionSums(*np.zeros((3, base.problem.H)))
    moves = _row_moves(base) if name == "h" else _weight_moves(base) if name == "W" else still
    return columns.slopes(scheme, moves, step)


class _DirectionSums(NamedTuple):
    """The sums p, q / N and r / N of the directions v, each broadcasting to (moves, H)."""

    p: FloatArray
    q: FloatArray
    r: FloatArray


class _Columns(NamedTuple):
    """The sums gamma A, var + eps and gamma of the columns, each (H,)."""

    gamma: FloatArray
    A: FloatArray
    V: FloatArray

    @classmethod
    def of(cls, base: BasePoint) -> "_Columns":
        gamma = base.problem.gamma
        return cls(gamma, gamma * (base.dy * base.h_centered).sum(axis=0), base.sigma * base.sigma)

    def response(self, moves: _DirectionSums) -> Response:
        """Return the loss of each column as a function of how far it is moved, per move and column."""
        p, q = self.gamma * moves.p, 2 * moves.q

        def response(t: Array) -> Array:
            V = q + t * moves.r
            V *= t
            V += self.V
            loss: Array = t * p
            loss += self.A
            loss /= np.sqrt(V, out=V)
            return loss

        return response

    def changes(self, scheme: Scheme, moves: _DirectionSums, t: FloatArray, multiple: float) -> FloatArray:
        """Return multiple * t times the scheme's quotient there, per move and column."""
        return scheme.quotient.times_step(self.response(moves), multiple * t)

    def slopes(self, scheme: Scheme, moves: _DirectionSums, step: FloatArray) -> FloatArray:
        """Return the derivative along each move, (moves, H)."""
        if moves.p.ndim == 1:
            return scheme.estimate(lambda m: self.changes(scheme, moves, step, m) / (m * step))
        found = np.empty_like(moves.p)
        each = np.broadcast_to(moves.r, (len(found), 1)), np.broadcast_to(step, found.shape)
        for block in _blocks(found):
            r, s = (array[block] for array in each)
            some = _DirectionSums(moves.p[block], moves.q[block], r)
            found[block] = scheme.estimate(
                lambda m, some=some, s=s: self.changes(scheme, some, s, m) / (m * s)  # type: ignore[misc]  # mypy cannot infer the bound defaults
            )
        return found


def _blocks(array: FloatArray) -> Iterator[slice]:
    """Yield the rows of an array in blocks that stay in cache."""
    rows = max(1, CACHE_BLOCK_VALUES // array.shape[1])
    return (slice(start, min(start + rows, len(array))) for start in range(0, len(array), rows))


def _row_moves(base: BasePoint) -> _DirectionSums:
    """Return the moves of single entries of h: v is 1 in one row, (N,H)."""
    N = base.problem.N
    return _DirectionSums(base.dy - base.dy.mean(axis=0), base.h_centered / N, np.full(1, (N - 1) / N**2))


def _weight_moves(base: BasePoint) -> _DirectionSums:
    """Return the moves of single entries of W: v is a column of X, (D,H)."""
    return _DirectionSums(
        base.weight_projection,
        base.x_centered.T @ base.h_centered / base.problem.N,
        (base.feature_std * base.feature_std)[:, None],
    )


def _through_affine(
    base: BasePoint, columns: _Columns, scheme: Scheme, step: FloatArray, progress: Progress
) -> FloatArray:
    """Return dX, (N,D): moving X[n,d] by s_d moves h[n,j] by t = s_d W_dj in every column j.

    The responses of a row's H columns are summed for each d. A column's is wanted at the D points
    |t| <= T_j, where it is smooth: what of it is odd in t, and for the forward scheme what is even,
    is sampled at a few nodes x_k T_j and interpolated. The sums over j are then products of the
    samples (N,H) with the interpolation's weights at t/T (D,H). Where that takes too many
    samples, every response is evaluated.
    """
    N, D = base.problem.N, base.problem.D
    step = np.broadcast_to(step, (D,))
    moves = _row_moves(base)
    moved = step * np.ascontiguousarray(base.problem.W.T)  # a matrix product is fastest without transposing
    max_shift = np.abs(moved).max(axis=1)
    count = nodes_needed(scheme.max_multiple * float((max_shift / base.radius).max()) * base.single_row_std)
    if count > MOST_NODES:
        return _evaluate_every_response(columns, moves, scheme, step, moved.T, progress)
    nodes = _nodes(count)
    share = moved / np.where(max_shift > 0, max_shift, 1.0)[:, None]
    odd_and_even = scheme.quotient is Quotient.FORWARD
    weights = np.empty(((1 + odd_and_even) * count, *share.shape))
    for block in _blocks(share):
        weights[:, block] = _weights(nodes, share[block], odd_and_even)
    weights = weights.reshape(-1, D)

    def samples(rows: slice) -> FloatArray:
        response = columns.response(_DirectionSums(moves.p[rows], moves.q[rows], moves.r))

        def at(multiple: float) -> FloatArray:
            parts = zip(
                *(scheme.quotient.odd_even_parts(response, multiple * x * max_shift) for x in nodes), strict=True
            )
            return np.concatenate([sample for part in parts for sample in part], axis=1) / multiple

        return scheme.estimate(at)

    dX = np.empty((N, D))
    for start in range(0, N, MATMUL_BLOCK_ROWS):
        rows = dX[start : start + MATMUL_BLOCK_ROWS]
        found = [
            samples(slice(start + b.start, start + b.stop)) for b in _blocks(moves.p[start : start + MATMUL_BLOCK_ROWS])
        ]
        np.matmul(np.concatenate(found), weights, out=rows)
        progress((start + len(rows)) * D, N * D)
    return dX / step


def nodes_needed(tau: float) -> int:
    """Return how many samples give a response to within its rounding; ``MOST_NODES`` + 1 for too many.

    ``tau`` is the furthest move over the radius of convergence. What is odd in t is t F(z) with
    z = (t/T)^2 and Taylor coefficients of at most St tau^2i (see ``Scheme.truncation``), what is
    even is smaller. Interpolation at K Chebyshev nodes of [0, 1] leaves of z^i, i >= K, at most
    2/4^K times the binomial of i over K: together 2 (tau/2)^2K / (1 - tau^2)^(K+1) of the terms.
    """
    if not tau < 1:
        return MOST_NODES + 1
    left = (2 * (tau / 2) ** (2 * k) / (1 - tau * tau) ** (k + 1) for k in range(1, MOST_NODES + 1))
    return next((k for k, share in enumerate(left, 1) if share <= UNIT_ROUNDOFF), MOST_NODES + 1)


def _nodes(count: int) -> FloatArray:
    """Return the square roots of the Chebyshev nodes of [0, 1], which are cosines again."""
    x: FloatArray = np.cos((2 * np.arange(count) + 1) * np.pi / (4 * count))
    return x


def _weights(nodes: FloatArray, share: FloatArray, odd_and_even: bool) -> list[FloatArray]:
    """Return what each sample counts at the shares t / T: Lagrange's weights in z = share^2."""
    z, at = share * share, nodes * nodes
    weights = [
        math.prod(((z - o) / (own - o) for o in at if o != own), start=share / x)
        for x, own in zip(nodes, at, strict=True)
    ]
    if odd_and_even:
        weights += [weight * share / x for weight, x in zip(weights, nodes, strict=True)]
    return weights


def _evaluate_every_response(
    columns: _Columns, moves: _DirectionSums, scheme: Scheme, step: FloatArray, moved: FloatArray, progress: Progress
) -> FloatArray:
    """Return dX by evaluating every column's response to the move of every entry."""
    N, D = len(moves.p), len(moved)
    dX = np.empty((N, D))
    for n in range(N):
        row = _DirectionSums(moves.p[n], moves.q[n], moves.r)
        for block in _blocks(moved):
            t, s = moved[block], step[block]
            dX[n, block] = scheme.estimate(
                lambda m, row=row, t=t, s=s: (  # type: ignore[misc]  # mypy cannot infer the bound defaults
                    columns.changes(scheme, row, t, m).sum(axis=1) / (m * s)
                )
            )
        progress((n + 1) * D, N * D)
    return dX


def _linear(base: BasePoint, scheme: Scheme, step: FloatArray, name: str) -> FloatArray:
    """Return dgamma or dbeta, (H,): a column's loss is gamma sum m xhat + beta sum m."""
    weight = (base.dy * base.xhat if name == "gamma" else base.dy).sum(axis=0)
    t = np.broadcast_to(step, weight.shape)
    return scheme.estimate(lambda m: scheme.quotient.times_step(lambda t: t * weight, m * t) / (m * t))
