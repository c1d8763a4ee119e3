"""The three layers, each forward beside its backward.

A cache is whatever the forward pass keeps for its backward pass. Arrays are written as in the
formulas above the code; a gradient carries the name of what it is taken for, with a ``d`` before
it. Forward passes accept complex arrays (the complex step goes through them), so nothing here
may take an absolute value: the variance squares by multiplication, since ``np.var`` takes
``|.|^2`` of a complex array and silently drops the variance path.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

# Of float64 or, under the complex step, complex128; whatever a code under test is made for.
Array: TypeAlias = npt.NDArray[Any]


class AffineCache(NamedTuple):
    """What ``affine_backward`` needs: the inputs of the forward pass."""

    X: Array
    W: Array


class BatchNormCache(NamedTuple):
    """What ``batchnorm_backward`` needs: xhat (N,H), gamma (H,), sigma (H,) = sqrt(var + eps)."""

    xhat: Array
    gamma: Array
    sigma: Array


def affine_forward(X: Array, W: Array, b: Array) -> tuple[Array, AffineCache]:
    """Return h (N,H) = XW + b, and the cache."""
    # h = XW + b    (N,D)@(D,H) + (H,) -> (N,H)
    return X @ W + b, AffineCache(X, W)


def affine_backward(dh: Array, cache: AffineCache) -> tuple[Array, Array, Array]:
    """Return dX (N,D), dW (D,H) and db (H,) for the upstream gradient dh (N,H)."""
    X, W = cache
    # dX = dh W^T         (N,H)@(H,D) -> (N,D)
    # dW = X^T dh         (D,N)@(N,H) -> (D,H)
    # db = sum_k dh_k                 -> (H,)
    return dh @ W.T, X.T @ dh, dh.sum(axis=0)


def batchnorm_forward(h: Array, gamma: Array, beta: Array, bn_eps: float | Array) -> tuple[Array, BatchNormCache]:
    """Return y (N,H) = gamma * xhat + beta with biased statistics of the batch, and the cache.

    ``bn_eps`` is a number, or one per unit, (H,).
    """
    # mu = mean_k h_k        var = mean_k (h_k - mu)^2        both (H,)
    # xhat = (h - mu) / sqrt(var + eps)                         (N,H)
    N = len(h)
    centred = h - h.sum(axis=0) / N
    var = (centred * centred).sum(axis=0) / N
    sigma = np.sqrt(var + bn_eps)
    xhat = centred / sigma
    return gamma * xhat + beta, BatchNormCache(xhat, gamma, sigma)


def batchnorm_backward(dy: Array, cache: BatchNormCache) -> tuple[Array, Array, Array]:
    """Return dh (N,H), dgamma (H,) and dbeta (H,) for the upstream gradient dy (N,H).

    The formula is Ioffe & Szegedy (2015), section 3, with the sums over the batch collected.
    """
    xhat, gamma, sigma = cache
    N = len(dy)
    # dbeta = sum_k dy_k        dgamma = sum_k dy_k xhat_k                      (H,)
    # dh = gamma / (N sigma) (N dy - dbeta - xhat dgamma)                       (N,H)
    dbeta = dy.sum(axis=0)
    dgamma = (dy * xhat).sum(axis=0)
    dh = gamma / (N * sigma) * (N * dy - dbeta - xhat * dgamma)
    return dh, dgamma, dbeta


def relu_forward(y: Array) -> tuple[Array, Array]:
    """Return a (N,H) = max(y, 0), and the cache; of a complex y the real part decides."""
    active = y.real > 0
    return np.where(active, y, 0), active


def relu_backward(da: Array, cache: Array) -> Array:
    """Return dy (N,H) = da where y > 0, and 0 elsewhere."""
    return np.where(cache, da, 0)
