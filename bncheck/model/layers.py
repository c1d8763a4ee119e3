"""The three layers, each forward pass next to its backward pass.

A cache is what the forward pass stores for its backward pass. The comments above the code give the formulas in the
symbols of the code; a gradient is named after its variable, with a ``d`` in front. The complex step calls the forward
passes with complex arrays. They therefore take no absolute value: ``np.var`` computes ``|.|^2`` of a complex array and
silently loses the derivative of the variance, so the variance is computed by multiplication.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

# float64, or complex128 under the complex step; code under test may use any dtype.
Array: TypeAlias = npt.NDArray[Any]


class AffineCache(NamedTuple):
    """Inputs of ``affine_forward`` that ``affine_backward`` needs."""

    X: Array  # (N, D)
    W: Array  # (D, H)


class BatchNormCache(NamedTuple):
    """Values of ``batchnorm_forward`` that ``batchnorm_backward`` needs."""

    xhat: Array  # (N, H)
    gamma: Array  # (H,)
    sigma: Array  # (H,), sqrt(var + eps)


def affine_forward(X: Array, W: Array, b: Array) -> tuple[Array, AffineCache]:
    """Return h = XW + b, shape (N, H), and the cache."""
    # h = XW + b    (N,D)@(D,H) + (H,) -> (N,H)
    return X @ W + b, AffineCache(X, W)


def affine_backward(dh: Array, cache: AffineCache) -> tuple[Array, Array, Array]:
    """Return dX (N, D), dW (D, H) and db (H,) for the upstream gradient dh (N, H)."""
    X, W = cache
    # dX = dh W^T         (N,H)@(H,D) -> (N,D)
    # dW = X^T dh         (D,N)@(N,H) -> (D,H)
    # db = sum_k dh_k                 -> (H,)
    return dh @ W.T, X.T @ dh, dh.sum(axis=0)


def batchnorm_forward(h: Array, gamma: Array, beta: Array, bn_eps: float | Array) -> tuple[Array, BatchNormCache]:
    """Return y = gamma * xhat + beta, shape (N, H), with the biased variance of the batch, and the cache.

    ``bn_eps`` is a number, or an array of shape (H,) with a value for each unit.
    """
    # mu = mean_k h_k        var = mean_k (h_k - mu)^2        both (H,)
    # xhat = (h - mu) / sqrt(var + eps)                         (N,H)
    N = len(h)
    h_centered = h - h.sum(axis=0) / N
    var = (h_centered * h_centered).sum(axis=0) / N
    sigma = np.sqrt(var + bn_eps)
    xhat = h_centered / sigma
    return gamma * xhat + beta, BatchNormCache(xhat, gamma, sigma)


def batchnorm_backward(dy: Array, cache: BatchNormCache) -> tuple[Array, Array, Array]:
    """Return dh (N, H), dgamma (H,) and dbeta (H,) for the upstream gradient dy (N, H).

    The formula is that of Ioffe & Szegedy (2015), section 3, with the sums over the batch collected.
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
    """Return a = max(y, 0), shape (N, H), and the mask y > 0 as the cache; of a complex y the real part decides."""
    active = y.real > 0
    return np.where(active, y, 0), active


def relu_backward(da: Array, cache: Array) -> Array:
    """Return dy (N, H), which is da where y > 0 and 0 elsewhere."""
    return np.where(cache, da, 0)
