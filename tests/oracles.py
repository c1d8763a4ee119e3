"""Independent truths: plain loops and 50-digit arithmetic, never bncheck's own formulas."""

from collections.abc import Mapping
from typing import Any

import mpmath
import numpy as np

from bncheck.model.problem import FloatArray

DIGITS = 50
# At 50 digits a central difference of this step is exact to 1e-28 of the terms or better.
TINY = mpmath.mpf(10) ** -16


def loop_affine(X: Any, W: Any, b: Any) -> Any:
    """Return h entry by entry, in whatever arithmetic the numbers bring."""
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


def loop_piece(piece: str, arrays: Mapping[str, Any], bn_eps: Any, sqrt: Any) -> Any:
    """Return the output of a piece; the network's from h on where h is given."""
    if piece == "affine":
        return loop_affine(arrays["X"], arrays["W"], arrays["b"])
    if piece == "relu":
        return loop_relu(arrays["y"])
    h = arrays["h"] if "h" in arrays else loop_affine(arrays["X"], arrays["W"], arrays["b"])
    y = loop_batchnorm(h, arrays["gamma"], arrays["beta"], bn_eps, sqrt)
    return y if piece == "batchnorm" else loop_relu(y)


def _listed(array: FloatArray) -> Any:
    """Return nested lists of mpmath numbers that hold the float64 values exactly."""
    return [_listed(row) if row.ndim else mpmath.mpf(float(row)) for row in array]


def exact_gradients(piece: str, values: Mapping[str, FloatArray], dout: FloatArray, bn_eps: float) -> dict[str, Any]:
    """Return every gradient by central differences in 50-digit arithmetic, entry by entry.

    ``values`` holds the piece's inputs; the network's dh is taken at the stored h.
    """
    with mpmath.workdps(DIGITS):
        arrays, weights = {name: _listed(value) for name, value in values.items()}, _listed(dout)

        def loss(moved: str) -> Any:
            given = {k: v for k, v in arrays.items() if k != "h" or moved == "h" or piece == "batchnorm"}
            out = loop_piece(piece, given, mpmath.mpf(bn_eps), mpmath.sqrt)
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
