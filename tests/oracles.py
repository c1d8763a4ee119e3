"""Independent truths: plain loops and 50-digit arithmetic, never bncheck's own formulas."""

from typing import Any

import mpmath
import numpy as np

from bncheck import Problem
from bncheck.problem import FloatArray

DIGITS = 50
# At 50 digits a central difference of this step is exact to 1e-28 of the terms or better.
TINY = mpmath.mpf(10) ** -16


def loop_forward(
    X: Any, W: Any, b: Any, gamma: Any, beta: Any, bn_eps: Any, sqrt: Any, h: Any = None
) -> list[list[Any]]:
    """Run the network entry by entry, in whatever arithmetic the numbers bring."""
    N, D, H = len(X), len(W), len(b)
    if h is None:
        h = [[sum(X[n][d] * W[d][j] for d in range(D)) + b[j] for j in range(H)] for n in range(N)]
    a = [[b[0] * 0] * H for _ in range(N)]
    for j in range(H):
        mu = sum(h[n][j] for n in range(N)) / N
        var = sum((h[n][j] - mu) ** 2 for n in range(N)) / N
        for n in range(N):
            y = gamma[j] * (h[n][j] - mu) / sqrt(var + bn_eps) + beta[j]
            a[n][j] = max(y, y * 0)
    return a


def _listed(array: FloatArray) -> Any:
    """Return nested lists of mpmath numbers that hold the float64 values exactly."""
    return [_listed(row) if row.ndim else mpmath.mpf(float(row)) for row in array]


def exact_gradients(problem: Problem, h: FloatArray | None = None) -> dict[str, FloatArray]:
    """Return every gradient by central differences in 50-digit arithmetic, entry by entry.

    ``h`` is the stored pre-activation for dh; without it dh is left out.
    """
    with mpmath.workdps(DIGITS):
        names = ("X", "W", "b", "gamma", "beta")
        arrays = {name: _listed(getattr(problem, name)) for name in names}
        if h is not None:
            arrays["h"] = _listed(h)
        dout, eps = _listed(problem.dout), mpmath.mpf(problem.bn_eps)

        def loss(moved: str) -> Any:
            from_h = arrays["h"] if moved == "h" else None
            X, W, b, gamma, beta = (arrays[name] for name in names)
            a = loop_forward(X, W, b, gamma, beta, eps, mpmath.sqrt, from_h)
            return sum(
                d * v
                for row, out in zip(dout, a, strict=True)
                for d, v in zip(row, out, strict=True)
            )

        gradients = {}
        for name, array in arrays.items():
            shape = problem.dout.shape if name == "h" else getattr(problem, name).shape
            gradient = np.empty(shape)
            for index in np.ndindex(shape):
                *outer, last = index
                row = array[outer[0]] if outer else array
                original = row[last]
                row[last] = original + TINY
                above = loss(name)
                row[last] = original - TINY
                below = loss(name)
                row[last] = original
                gradient[index] = float((above - below) / (2 * TINY))
            gradients[f"d{name}"] = gradient
        return gradients
