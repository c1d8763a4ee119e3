"""The affine piece and ReLU: no curvature, so a difference at any step is exact but for rounding.

Each entry is still moved, and the outputs that it moves are still subtracted: for X[n,d] the row
h_n + t W_d, for W[d,j] the column h_j + t X_d, for y[n,j] itself alone.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from bncheck.model.components import AFFINE, RELU, Component
from bncheck.model.layers import relu_forward
from bncheck.model.problem import FloatArray, Problem
from bncheck.numerical.basepoint import LEAST, UNIT_ROUNDOFF
from bncheck.numerical.error_bounds import CONDITIONING_FACTOR, ROUNDING_FACTOR, UNDERFLOWS, ErrorBounds
from bncheck.numerical.schemes import Quotient, Response, Scheme
from bncheck.numerical.steps import Steps


def linear_steps(problem: Problem, piece: Component, scheme: Scheme, arrays: Mapping[str, FloatArray]) -> Steps:
    """Return steps that move h by its own size, and no y across 0; large, for rounding.

    ``arrays`` are the inputs of the piece.
    """
    if piece is RELU:
        y = np.abs(arrays["y"])
        return {"y": np.where(y > 0, y / 4, 1.0)}
    if scheme.quotient is Quotient.COMPLEX:
        return {name: np.ones(1) for name in AFFINE.inputs}
    scale = magnitude(problem).max() or 1.0
    per_feature = {"X": np.abs(problem.W).max(axis=1), "W": np.abs(problem.X).max(axis=0)[:, None]}
    steps = {name: np.where(v > 0, scale / np.where(v > 0, v, 1), 1) for name, v in per_feature.items()}
    return {**steps, "b": np.full(1, scale)}


def linear_bars(
    problem: Problem,
    piece: Component,
    scheme: Scheme,
    steps: Steps,
    names: Sequence[str],
    arrays: Mapping[str, FloatArray],
    least: float,
) -> ErrorBounds:
    """Return the bars of the named gradients: rounding and conditioning, no truncation.

    ``least`` is that of ``compute_bounds``.
    """
    m, W, X = np.abs(problem.dout), np.abs(problem.W), np.abs(problem.X)
    N, H = m.shape
    if piece is RELU:
        y = arrays["y"]
        size = {"y": np.where(y > 0, m, 0.0)}
        reached = {"y": size["y"] * (np.abs(y) + scheme.max_multiple * steps["y"])}
        terms = {"y": 1}
    else:
        size = {"X": m @ W.T, "W": X.T @ m, "b": m.sum(axis=0)}
        scale, rows, columns = (magnitude(problem).max(), np.linalg.norm(m, axis=1), np.linalg.norm(m, axis=0))
        max_shift = {"X": W.max(axis=1), "W": X.max(axis=0)[:, None], "b": np.ones(1)}
        norms = {"X": rows[:, None], "W": columns, "b": columns}
        reached = {name: norms[name] * (scale + scheme.max_multiple * steps[name] * max_shift[name]) for name in size}
        terms = {"X": H, "W": N, "b": N}
    factor = ROUNDING_FACTOR * scheme.rounding * UNIT_ROUNDOFF
    conditioning = {
        name: (CONDITIONING_FACTOR + terms[name]) * UNIT_ROUNDOFF * size[name] + UNDERFLOWS * least * terms[name]
        for name in names
    }
    return ErrorBounds(
        {name: np.zeros(1) for name in names},
        {name: (factor * reached[name] + LEAST * terms[name]) / steps[name] for name in names},
        conditioning,
        conditioning,
        {name: size[name] for name in names},
    )


def linear_gradients(
    problem: Problem,
    piece: Component,
    scheme: Scheme,
    steps: Steps,
    names: Sequence[str],
    arrays: Mapping[str, FloatArray],
) -> dict[str, FloatArray]:
    """Return the numerical gradient of every entry, by parameter name, without error bars."""
    X, W, dout = problem.X, problem.W, problem.dout
    output = piece.forward(0.0)(arrays)

    def slope(response: Response, step: FloatArray, axis: int | None) -> FloatArray:
        """Subtract the outputs that the response moves, and sum what dout makes of it."""

        def at(multiple: float) -> FloatArray:
            change = dout * scheme.quotient.times_step(response, multiple * step)
            return (change if axis is None else change.sum(axis=axis)) / (multiple * step)

        return scheme.estimate(at)

    if piece is RELU:
        return {"y": slope(lambda t: relu_forward(arrays["y"] + t)[0], steps["y"], None)}

    def along(direction: FloatArray, step: FloatArray, axis: int) -> FloatArray:
        return slope(lambda t: output + t * direction, step, axis)

    values: dict[str, FloatArray] = {}
    features = range(problem.D)
    if "X" in names:
        s = np.broadcast_to(steps["X"], (problem.D,))
        values["X"] = np.stack([along(W[d], s[d], 1) for d in features], axis=1)
    if "W" in names:
        s = np.broadcast_to(steps["W"], W.shape)
        values["W"] = np.stack([along(X[:, d, None], s[d], 0) for d in features])
    if "b" in names:
        values["b"] = along(np.ones(1), np.broadcast_to(steps["b"], problem.b.shape), 0)
    return values


def magnitude(problem: Problem) -> FloatArray:
    """Return |X||W| + |b|, (N,H): what h is a sum of."""
    total: FloatArray = np.abs(problem.X) @ np.abs(problem.W) + np.abs(problem.b)
    return total
