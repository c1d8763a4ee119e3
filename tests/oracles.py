"""Independent reference values: plain loops and 50-digit arithmetic, without bncheck's formulas."""

from collections.abc import Mapping
from typing import Any

import mpmath
import numpy as np

from bncheck.model.problem import FloatArray

DIGITS = 50
# In 50 digits, a central difference with this step has an error of at most 1e-28 of the terms.
TINY = mpmath.mpf(10) ** -16


def loop_affine(X: Any, W: Any, b: Any) -> Any:
    """Return h entry by entry, in the arithmetic of the numbers."""
    N, D, H = len(X), len(W), len(b)
    return [[sum(X[n][d] * W[d][j] for d in range(D)) + b[j] for j in range(H)] for n in range(N)]


def loop_batchnorm(h: Any, gamma: Any, beta: Any, bn_eps: Any, sqrt: Any) -> Any:
    """Return y entry by entry."""
    N, H = len(h), len(gamma)
    y = [[gamma[0] * 0] * H for _ in range(N)]
    for j in range(H):
        mu = sum(h[n][j] for n in range(N)) / N
        var = sum((h[n][j] - mu) ** 2 for n in range(N)) / N
        for n in range(N):
            y[n][j] = gamma[j] * (h[n][j] - mu) / sqrt(var + bn_eps) + beta[j]
    return y


def loop_relu(y: Any) -> Any:
    """Return a entry by entry."""
    return [[max(value, value * 0) for value in row] for row in y]


def loop_component(component: str, arrays: Mapping[str, Any], bn_eps: Any, sqrt: Any) -> Any:
    """Return the output of a component; if h is given, the network starts from h."""
    if component == "affine":
        return loop_affine(arrays["X"], arrays["W"], arrays["b"])
    if component == "relu":
        return loop_relu(arrays["y"])
    h = arrays["h"] if "h" in arrays else loop_affine(arrays["X"], arrays["W"], arrays["b"])
    y = loop_batchnorm(h, arrays["gamma"], arrays["beta"], bn_eps, sqrt)
    return y if component == "batchnorm" else loop_relu(y)


def _to_mpmath(array: FloatArray) -> Any:
    """Convert to nested lists of mpmath numbers that represent the float64 values exactly."""
    return [_to_mpmath(row) if row.ndim else mpmath.mpf(float(row)) for row in array]


def exact_gradients(
    component: str, values: Mapping[str, FloatArray], dout: FloatArray, bn_eps: float
) -> dict[str, Any]:
    """Return every gradient by central differences in 50-digit arithmetic, entry by entry.

    ``values`` are the inputs of the component; dh of the network is evaluated at the given h.
    """
    with mpmath.workdps(DIGITS):
        arrays, weights = {name: _to_mpmath(value) for name, value in values.items()}, _to_mpmath(dout)

        def loss(perturbed: str) -> Any:
            inputs = {k: v for k, v in arrays.items() if k != "h" or perturbed == "h" or component == "batchnorm"}
            out = loop_component(component, inputs, mpmath.mpf(bn_eps), mpmath.sqrt)
            return sum(d * v for ds, vs in zip(weights, out, strict=True) for d, v in zip(ds, vs, strict=True))

        gradients = {}
        for name, array in arrays.items():
            gradient = np.empty(values[name].shape)
            for index in np.ndindex(gradient.shape):
                *outer, last = index
                row = array[outer[0]] if outer else array
                original = row[last]
                row[last] = original + TINY
                above = loss(name)
                row[last] = original - TINY
                below = loss(name)
                row[last] = original
                gradient[index] = float((above - below) / (2 * TINY))
            gradients[name] = gradient
        return gradients
