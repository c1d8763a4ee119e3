"""The local engine: a single-entry move as the closed-form response of the columns it moves.

A move of column j of h along v by t changes its guarded loss to

    L_j(t) = gamma (A + t p) / sqrt((S + 2 t q + t^2 r)/N + eps) + beta B

    A = sum m c             S = sum c^2
    p = sum m (v - vbar)    q = sum c (v - vbar)    r = sum (v - vbar)^2

with c = h - mu and m = dout where y > 0, fixed because guarded outputs have dout = 0. beta B does
not depend on t and is left out. These are values of the forward pass, rearranged: no formula of
the backward pass is used, and ``differentiate`` audits them against whole forward passes.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from bncheck.layers import Array
from bncheck.numerical.basepoint import BasePoint
from bncheck.numerical.schemes import Scheme
from bncheck.numerical.steps import Steps
from bncheck.problem import FloatArray
from bncheck.progress import Progress

# Entries of X evaluated at a time, times H: a few arrays of this many numbers stay in cache.
BLOCK = 16_384


def local_gradients(
    base: BasePoint, scheme: Scheme, steps: Steps, names: Iterable[str], progress: Progress
) -> dict[str, FloatArray]:
    """Return the numerical gradient of every entry, by parameter name, without error bars."""
    columns = _Columns.of(base)
    values: dict[str, FloatArray] = {}
    for name in names:
        if name == "X":
            values[name] = _by_rows(base, columns, scheme, steps["X"], progress)
        elif name == "h":
            values[name] = columns.slopes(scheme, _row_moves(base), steps["h"])
        elif name == "W":
            values[name] = columns.slopes(scheme, _weight_moves(base), steps["W"])
        elif name == "b":
            still = _Moves(np.zeros(1), np.zeros(1), np.zeros(1))
            values[name] = columns.slopes(scheme, still, steps["b"])
        else:
            values[name] = _linear(base, scheme, steps[name], name)
    return values


@dataclass(frozen=True, slots=True)
class _Moves:
    """The sums p, q / N and r / N of the directions v, each broadcasting to (moves, H)."""

    p: FloatArray
    q: FloatArray
    r: FloatArray


@dataclass(frozen=True, slots=True)
class _Columns:
    """The sums A, var + eps and gamma of the columns, each (H,)."""

    gamma: FloatArray
    A: FloatArray
    V: FloatArray

    @classmethod
    def of(cls, base: BasePoint) -> "_Columns":
        return cls(base.problem.gamma, (base.m * base.c).sum(axis=0), base.sigma * base.sigma)

    def changes(self, scheme: Scheme, moves: _Moves, t: FloatArray, multiple: float) -> FloatArray:
        """Return multiple * t times the scheme's quotient there, per move and column."""

        def response(t: Array) -> Array:
            V = self.V + t * (2 * moves.q + t * moves.r)
            numerator: Array = self.gamma * (self.A + t * moves.p)
            return numerator / np.sqrt(V)

        return scheme.quotient.change(response, multiple * t)

    def slopes(self, scheme: Scheme, moves: _Moves, step: FloatArray) -> FloatArray:
        """Return the derivative along each move, (moves, H)."""
        return scheme.estimate(lambda m: self.changes(scheme, moves, step, m) / (m * step))


def _row_moves(base: BasePoint) -> _Moves:
    """Return the moves of single entries of h: v is 1 in one row, (N,H)."""
    N = base.problem.N
    return _Moves(base.m - base.m.mean(axis=0), base.c / N, np.full(1, (N - 1) / N**2))


def _weight_moves(base: BasePoint) -> _Moves:
    """Return the moves of single entries of W: v is a column of X, (D,H)."""
    v = base.problem.X - base.problem.X.mean(axis=0)
    N = base.problem.N
    return _Moves(v.T @ base.m, v.T @ base.c / N, (v * v).sum(axis=0)[:, None] / N)


def _by_rows(base: BasePoint, columns: _Columns, scheme: Scheme, step: FloatArray, progress: Progress) -> FloatArray:
    """Return dX, (N,D): moving X[n,d] moves h[n,j] by W[d,j] in every column j."""
    N, D, H = base.problem.N, base.problem.D, base.problem.H
    step = np.broadcast_to(step, (D,))
    moves = _row_moves(base)
    dX = np.empty((N, D))
    rows = max(1, BLOCK // H)
    for n in range(N):
        row = _Moves(moves.p[n], moves.q[n], moves.r)
        for start in range(0, D, rows):
            block = slice(start, start + rows)
            t, s = step[block, None] * base.problem.W[block], step[block]
            dX[n, block] = scheme.estimate(
                lambda m, row=row, t=t, s=s: (  # type: ignore[misc]  # mypy cannot infer the bound defaults
                    columns.changes(scheme, row, t, m).sum(axis=1) / (m * s)
                )
            )
        progress((n + 1) * D, N * D)
    return dX


def _linear(base: BasePoint, scheme: Scheme, step: FloatArray, name: str) -> FloatArray:
    """Return dgamma or dbeta, (H,): a column's loss is gamma sum m xhat + beta sum m."""
    weight = (base.m * base.xhat if name == "gamma" else base.m).sum(axis=0)
    t = np.broadcast_to(step, weight.shape)
    return scheme.estimate(lambda m: scheme.quotient.change(lambda t: t * weight, m * t) / (m * t))
