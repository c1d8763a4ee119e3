"""The network affine, batch norm, ReLU: its forward pass and its analytic backward pass.

This module is a target: it has the interface of a network implementation, ``forward(X, W, b, gamma, beta, bn_eps)``
and ``backward(dout, cache)``.
"""

from typing import NamedTuple

from bncheck.model import layers
from bncheck.model.layers import Array


class Cache(NamedTuple):
    """Caches of the three layers, for ``backward``."""

    affine: layers.AffineCache
    batchnorm: layers.BatchNormCache
    relu: Array  # (N, H), y > 0


def forward(X: Array, W: Array, b: Array, gamma: Array, beta: Array, bn_eps: float) -> tuple[Array, Cache]:
    """Run the network on a batch.

    Parameters
    ----------
    X : array, shape (N, D)
    W : array, shape (D, H)
    b, gamma, beta : array, shape (H,)
    bn_eps : float
        Constant added to the variance.

    Returns
    -------
    a : array, shape (N, H)
        The output, max(y, 0).
    cache : Cache
        For ``backward``.
    """
    h, affine = layers.affine_forward(X, W, b)
    y, batchnorm = layers.batchnorm_forward(h, gamma, beta, bn_eps)
    a, relu = layers.relu_forward(y)
    return a, Cache(affine, batchnorm, relu)


def backward(dout: Array, cache: Cache) -> dict[str, Array]:
    """Return the gradients of the loss sum(dout * a).

    Parameters
    ----------
    dout : array, shape (N, H)
        The upstream gradient dL/da.
    cache : Cache
        From ``forward``.

    Returns
    -------
    dict of str to array
        dX (N, D), dW (D, H), db, dgamma, dbeta (H,), and dh (N, H), the gradient of the pre-activation.
    """
    dy = layers.relu_backward(dout, cache.relu)
    dh, dgamma, dbeta = layers.batchnorm_backward(dy, cache.batchnorm)
    dX, dW, db = layers.affine_backward(dh, cache.affine)
    return {"dX": dX, "dW": dW, "db": db, "dgamma": dgamma, "dbeta": dbeta, "dh": dh}
