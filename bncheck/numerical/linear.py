"""The local engine of the affine layer and of ReLU, which are linear, so that only rounding limits a difference.

Every entry is perturbed, and the outputs that depend on it are subtracted: for X[n,d] the row h_n + t W_d, for W[d,j]
the column h_j + t X_d, for y[n,j] this output alone.
"""

from collections.abc import Sequence

import numpy as np

from bncheck.model.components import AFFINE, RELU, Component
from bncheck.model.layers import affine_forward, relu_forward
from bncheck.model.problem import FloatArray
from bncheck.numerical.basepoint import MIN_SUBNORMAL, UNIT_ROUNDOFF, BasePoint, PerInput
from bncheck.numerical.error_bounds import CONDITIONING_FACTOR, ROUNDING_FACTOR, UNDERFLOWS, ErrorBounds
from bncheck.numerical.schemes import Quotient, Scheme


def linear_steps(base: BasePoint, component: Component, scheme: Scheme) -> PerInput:
    """Choose large steps, because only rounding matters: they shift h by its own size, and no y across 0."""
    if component is RELU:
        y = np.abs(base.y)
        return {"y": np.where(y > 0, y / 4, 1.0)}
    if scheme.quotient is Quotient.COMPLEX:
        return {name: np.ones(1) for name in AFFINE.inputs}
    scale = base.magnitude.max() or 1.0
    per_feature = {"X": base.abs_w.max(axis=1), "W": base.abs_x.max(axis=0)[:, None]}
    steps = {name: np.where(v > 0, scale / np.where(v > 0, v, 1), 1) for name, v in per_feature.items()}
    return {**steps, "b": np.full(1, scale)}


def linear_bounds(
    base: BasePoint, component: Component, scheme: Scheme, steps: PerInput, names: Sequence[str], underflow_unit: float
) -> ErrorBounds:
    """Bound rounding and conditioning of the named gradients; the truncation is 0.

    ``underflow_unit`` is that of ``compute_bounds``.
    """
    dout, (N, H) = np.abs(base.problem.dout), base.problem.dout.shape
    if component is RELU:
        term_size = {"y": np.where(base.y > 0, dout, 0.0)}
        losses = {"y": term_size["y"] * (np.abs(base.y) + scheme.max_multiple * steps["y"])}
        sum_lengths = {"y": 1}
    else:
        term_size = {"X": dout @ base.abs_w.T, "W": base.abs_x.T @ dout, "b": dout.sum(axis=0)}
        max_shift = {"X": base.abs_w.max(axis=1), "W": base.abs_x.max(axis=0)[:, None], "b": np.ones(1)}
        column_norms = np.linalg.norm(dout, axis=0)
        norms = {"X": np.linalg.norm(dout, axis=1)[:, None], "W": column_norms, "b": column_norms}
        shifts = {name: scheme.max_multiple * steps[name] * max_shift[name] for name in norms}
        losses = {name: norms[name] * (base.magnitude.max() + shift) for name, shift in shifts.items()}
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
    base: BasePoint, component: Component, scheme: Scheme, steps: PerInput, names: Sequence[str]
) -> dict[str, FloatArray]:
    """Return the numerical gradient of every entry, by input name."""
    X, W, b, dout = base.problem.X, base.problem.W, base.problem.b, base.problem.dout
    if component is RELU:
        gradient = scheme.derivative(lambda t: relu_forward(base.y + t)[0], steps["y"], lambda change: dout * change)
        return {"y": gradient + 0.0}  # turns -0.0 into 0.0
    output, _ = affine_forward(X, W, b)
    shapes = {"X": W.shape[:1], "W": W.shape, "b": b.shape}
    step = {name: np.broadcast_to(steps[name], shapes[name]) for name in names}

    def derivative(direction: FloatArray, step: FloatArray, axis: int) -> FloatArray:
        """Differentiate the loss along a direction of h, and sum it over an axis."""
        return scheme.derivative(lambda t: output + t * direction, step, lambda change: (dout * change).sum(axis=axis))

    engines = {
        "X": lambda: np.stack([derivative(w, s, 1) for w, s in zip(W, step["X"], strict=True)], axis=1),
        "W": lambda: np.stack([derivative(x[:, None], s, 0) for x, s in zip(X.T, step["W"], strict=True)]),
        "b": lambda: derivative(np.ones(1), step["b"], 0),
    }
    return {name: engines[name]() for name in names}
