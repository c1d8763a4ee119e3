"""The local engine of the affine layer and of ReLU, which are linear, so that only rounding limits a difference.

Every entry is perturbed, and the outputs that depend on it are subtracted: for X[n,d] the row h_n + t W_d, for W[d,j]
the column h_j + t X_d, for y[n,j] this output alone.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from bncheck.model.components import AFFINE, RELU, Component
from bncheck.model.layers import relu_forward
from bncheck.model.problem import FloatArray, Problem
from bncheck.numerical.basepoint import MIN_SUBNORMAL, UNIT_ROUNDOFF
from bncheck.numerical.error_bounds import CONDITIONING_FACTOR, ROUNDING_FACTOR, UNDERFLOWS, ErrorBounds
from bncheck.numerical.schemes import Quotient, Response, Scheme
from bncheck.numerical.steps import Steps


def linear_steps(problem: Problem, component: Component, scheme: Scheme, arrays: Mapping[str, FloatArray]) -> Steps:
    """Choose large steps, because only rounding matters: they shift h by its own size, and no y across 0.

    ``arrays`` are the inputs of the component.
    """
    if component is RELU:
        y = np.abs(arrays["y"])
        return {"y": np.where(y > 0, y / 4, 1.0)}
    if scheme.quotient is Quotient.COMPLEX:
        return {name: np.ones(1) for name in AFFINE.inputs}
    scale = h_magnitude(problem).max() or 1.0
    per_feature = {"X": np.abs(problem.W).max(axis=1), "W": np.abs(problem.X).max(axis=0)[:, None]}
    steps = {name: np.where(v > 0, scale / np.where(v > 0, v, 1), 1) for name, v in per_feature.items()}
    return {**steps, "b": np.full(1, scale)}


def linear_bounds(
    problem: Problem,
    component: Component,
    scheme: Scheme,
    steps: Steps,
    names: Sequence[str],
    arrays: Mapping[str, FloatArray],
    underflow_unit: float,
) -> ErrorBounds:
    """Bound rounding and conditioning of the named gradients; the truncation is 0.

    ``underflow_unit`` is that of ``compute_bounds``.
    """
    dout, W, X = np.abs(problem.dout), np.abs(problem.W), np.abs(problem.X)
    N, H = dout.shape
    if component is RELU:
        y = arrays["y"]
        term_size = {"y": np.where(y > 0, dout, 0.0)}
        losses = {"y": term_size["y"] * (np.abs(y) + scheme.max_multiple * steps["y"])}
        sum_lengths = {"y": 1}
    else:
        term_size = {"X": dout @ W.T, "W": X.T @ dout, "b": dout.sum(axis=0)}
        scale = h_magnitude(problem).max()
        row_norms, column_norms = np.linalg.norm(dout, axis=1)[:, None], np.linalg.norm(dout, axis=0)
        max_shift = {"X": W.max(axis=1), "W": X.max(axis=0)[:, None], "b": np.ones(1)}
        norms = {"X": row_norms, "W": column_norms, "b": column_norms}
        losses = {name: norms[name] * (scale + scheme.max_multiple * steps[name] * max_shift[name]) for name in norms}
        sum_lengths = {"X": H, "W": N, "b": N}
    factor = ROUNDING_FACTOR * scheme.rounding * UNIT_ROUNDOFF
    conditioning = {
        name: (CONDITIONING_FACTOR + sum_lengths[name]) * UNIT_ROUNDOFF * term_size[name]
        + UNDERFLOWS * underflow_unit * sum_lengths[name]
        for name in names
    }
    return ErrorBounds(
        {name: np.zeros(1) for name in names},
        {name: (factor * losses[name] + MIN_SUBNORMAL * sum_lengths[name]) / steps[name] for name in names},
        conditioning,
        conditioning,
        {name: term_size[name] for name in names},
    )


def linear_gradients(
    problem: Problem,
    component: Component,
    scheme: Scheme,
    steps: Steps,
    names: Sequence[str],
    arrays: Mapping[str, FloatArray],
) -> dict[str, FloatArray]:
    """Return the numerical gradient of every entry, by parameter name."""
    X, W, dout = problem.X, problem.W, problem.dout

    def derivative(response: Response, step: FloatArray, axis: int | None) -> FloatArray:
        """Subtract the outputs of a response, weight them by dout, and sum along an axis (None: no sum)."""

        def slope(multiple: float) -> FloatArray:
            change = dout * scheme.quotient.times_step(response, multiple * step)
            return (change if axis is None else change.sum(axis=axis)) / (multiple * step)

        return scheme.estimate(slope)

    if component is RELU:
        return {"y": derivative(lambda t: relu_forward(arrays["y"] + t)[0], steps["y"], None)}
    output = component.forward(0.0)(arrays)

    def along(direction: FloatArray, step: FloatArray, axis: int) -> FloatArray:
        return derivative(lambda t: output + t * direction, step, axis)

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


def h_magnitude(problem: Problem) -> FloatArray:
    """Return |X||W| + |b|, (N, H): the size of the terms of h."""
    total: FloatArray = np.abs(problem.X) @ np.abs(problem.W) + np.abs(problem.b)
    return total
