"""The network backward through its computational graph, node by node.

An independent second derivation: every node's local gradient is elementary, and nothing is
collected into the closed form of ``layers``.
"""

from typing import NamedTuple

import numpy as np

from bncheck.layers import Array


class Cache(NamedTuple):
    """The values at the nodes of the forward pass."""

    X: Array
    W: Array
    gamma: Array
    c: Array
    root: Array
    inverse: Array
    xhat: Array
    y: Array


def forward(X: Array, W: Array, b: Array, gamma: Array, beta: Array, bn_eps: float) -> tuple[Array, Cache]:
    """Return the output a (N,H), and the cache."""
    h = X @ W + b
    mu = h.sum(axis=0) / len(h)
    c = h - mu
    square = c * c
    var = square.sum(axis=0) / len(h)
    root = np.sqrt(var + bn_eps)
    inverse = 1 / root
    xhat = c * inverse
    y = gamma * xhat + beta
    return np.where(y.real > 0, y, 0), Cache(X, W, gamma, c, root, inverse, xhat, y)


def backward(dout: Array, cache: Cache) -> dict[str, Array]:
    """Return the gradients of the loss sum(dout * a), each node's after the one behind it."""
    X, W, gamma, c, root, inverse, xhat, y = cache
    N = len(y)
    dy = np.where(y > 0, dout, 0)
    dbeta = dy.sum(axis=0)  # y = gamma xhat + beta
    dgamma = (dy * xhat).sum(axis=0)
    dxhat = dy * gamma
    dinverse = (dxhat * c).sum(axis=0)  # xhat = c * inverse
    dc = dxhat * inverse
    droot = -dinverse / root**2  # inverse = 1 / root
    dvar = droot / (2 * root)  # root = sqrt(var + eps)
    dsquare = np.broadcast_to(dvar / N, c.shape)  # var = sum square / N
    dc = dc + 2 * c * dsquare  # square = c c
    dmu = -dc.sum(axis=0)  # c = h - mu
    dh = dc + dmu / N  # mu = sum h / N
    db = dh.sum(axis=0)  # h = XW + b
    return {"dX": dh @ W.T, "dW": X.T @ dh, "db": db, "dgamma": dgamma, "dbeta": dbeta, "dh": dh}
