"""Backward passes that are wrong on purpose, and the gradients that each must fail at."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bncheck import network
from bncheck.layers import Array

Gradients = dict[str, Array]


@dataclass(frozen=True)
class Parts:
    """What a backward pass is written with."""

    dout: Array
    dy: Array
    X: Array
    W: Array
    h: Array
    xhat: Array
    gamma: Array
    sigma: Array
    var: Array
    eps: float

    def gradients(self, **replaced: Array) -> Gradients:
        """Return the right gradients with some replaced, and what follows from dh with it."""
        mean_dy, mean_dyx = self.dy.mean(axis=0), (self.dy * self.xhat).mean(axis=0)
        dh = replaced.get("dh", self.gamma / self.sigma * (self.dy - mean_dy - self.xhat * mean_dyx))
        right = {
            "dX": dh @ self.W.T,
            "dW": self.X.T @ dh,
            "db": dh.sum(axis=0),
            "dgamma": (self.dy * self.xhat).sum(axis=0),
            "dbeta": self.dy.sum(axis=0),
            "dh": dh,
        }
        return {**right, **replaced}

    def terms(self, direct: float, mean: float, variance: float, sigma: Array | None = None) -> Array:
        """Return dh with its three terms weighted; right is 1, 1, 1."""
        g = self.gamma * self.dy
        path = direct * g - mean * g.mean(axis=0) - variance * self.xhat * (g * self.xhat).mean(axis=0)
        dh: Array = path / (self.sigma if sigma is None else sigma)
        return dh

    def masked(self, dy: Array) -> Gradients:
        """Return everything that follows from another dy."""
        return Parts(**{**vars(self), "dy": dy}).gradients()


@dataclass(frozen=True)
class Wrong:
    """One mistake: its name, what it returns, and the gradients it must fail at."""

    name: str
    backward: Callable[[Parts], Gradients]
    fails: frozenset[str]


class Target:
    """A network with the right forward pass and one of these backward passes."""

    def __init__(self, backward: Callable[[Parts], Gradients]) -> None:
        self._backward = backward

    def forward(self, X: Array, W: Array, b: Array, gamma: Array, beta: Array, bn_eps: float) -> tuple[Array, Parts]:
        h = X @ W + b
        a, cache = network.forward(X, W, b, gamma, beta, bn_eps)
        xhat, _, sigma = cache.batchnorm
        return a, Parts(a, a > 0, X, W, h, xhat, gamma, sigma, sigma**2 - bn_eps, bn_eps)

    def backward(self, dout: Array, cache: Parts) -> Gradients:
        return self._backward(Parts(**{**vars(cache), "dout": dout, "dy": dout * cache.dy}))


def _n(parts: Parts) -> int:
    return len(parts.dy)


_ALL_DH = frozenset({"dX", "dW", "db", "dh"})
# Where the columns of dh still sum to 0, db cannot tell.
_BALANCED = frozenset({"dX", "dW", "dh"})
_PARAMETERS = frozenset({"dgamma", "dbeta"})

WRONG = (
    Wrong("statistics taken constant", lambda p: p.gradients(dh=p.terms(1, 0, 0)), _ALL_DH),
    Wrong("mean path dropped", lambda p: p.gradients(dh=p.terms(1, 0, 1)), _ALL_DH),
    Wrong("variance path dropped", lambda p: p.gradients(dh=p.terms(1, 1, 0)), _BALANCED),
    Wrong("direct path dropped", lambda p: p.gradients(dh=p.terms(0, 1, 1)), _ALL_DH),
    Wrong("sign of the mean path", lambda p: p.gradients(dh=p.terms(1, -1, 1)), _ALL_DH),
    Wrong("sign of the variance path", lambda p: p.gradients(dh=p.terms(1, 1, -1)), _BALANCED),
    Wrong("sign of everything", lambda p: p.gradients(dh=p.terms(-1, -1, -1)), _BALANCED),
    Wrong("N - 1 for N in the mean path", lambda p: p.gradients(dh=p.terms(1, _n(p) / (_n(p) - 1), 1)), _ALL_DH),
    Wrong("N - 1 for N in the variance path", lambda p: p.gradients(dh=p.terms(1, 1, _n(p) / (_n(p) - 1))), _BALANCED),
    Wrong(
        "N from the wrong axis",
        lambda p: p.gradients(dh=p.terms(1, _n(p) / len(p.gamma), _n(p) / len(p.gamma))),
        _ALL_DH,
    ),
    Wrong("1/N missing", lambda p: p.gradients(dh=p.terms(1, _n(p), _n(p))), _ALL_DH),
    Wrong("gamma missing", lambda p: p.gradients(dh=p.terms(1, 1, 1) / p.gamma), _BALANCED),
    Wrong("eps missing", lambda p: p.gradients(dh=p.terms(1, 1, 1, np.sqrt(p.var))), _BALANCED),
    Wrong("sign of eps", lambda p: p.gradients(dh=p.terms(1, 1, 1, np.sqrt(p.var - p.eps))), _BALANCED),
    Wrong(
        "std stored under the name var",
        lambda p: p.gradients(dh=p.terms(1, 1, 1, np.sqrt(np.sqrt(p.var) + p.eps))),
        _BALANCED,
    ),
    Wrong(
        "only the diagonal",
        lambda p: p.gradients(dh=p.gamma * p.dy * (_n(p) - 1 - p.xhat**2) / (_n(p) * p.sigma)),
        _ALL_DH,
    ),
    Wrong("mask missing", lambda p: p.masked(p.dout), _BALANCED | _PARAMETERS),
    Wrong("mask taken from dout", lambda p: p.masked(p.dout * (p.dout > 0)), _BALANCED | _PARAMETERS),
    Wrong("mask turned round", lambda p: p.masked(np.where(p.dy == 0, p.dout, 0)), _BALANCED | _PARAMETERS),
    Wrong(
        "mean for sum", lambda p: p.gradients(dgamma=(p.dy * p.xhat).mean(axis=0), dbeta=p.dy.mean(axis=0)), _PARAMETERS
    ),
    Wrong("not summed over the batch", lambda p: p.gradients(dgamma=p.dy * p.xhat, dbeta=p.dy), _PARAMETERS),
    Wrong(
        "a scalar for dgamma",
        lambda p: p.gradients(dgamma=np.full_like(p.gamma, (p.dy * p.xhat).mean())),
        frozenset({"dgamma"}),
    ),
    Wrong("h for xhat in dgamma", lambda p: p.gradients(dgamma=(p.dy * p.h).sum(axis=0)), frozenset({"dgamma"})),
    Wrong(
        "dgamma and dbeta swapped",
        lambda p: p.gradients(dgamma=p.dy.sum(axis=0), dbeta=(p.dy * p.xhat).sum(axis=0)),
        _PARAMETERS,
    ),
    Wrong("db = sum dy", lambda p: p.gradients(db=p.dy.sum(axis=0)), frozenset({"db"})),
    Wrong("dW from dy", lambda p: p.gradients(dW=p.X.T @ p.dy), frozenset({"dW"})),
    Wrong("dX from dy", lambda p: p.gradients(dX=p.dy @ p.W.T), frozenset({"dX"})),
    Wrong("sign of dW", lambda p: p.gradients(dW=-p.X.T @ p.terms(1, 1, 1)), frozenset({"dW"})),
    Wrong("dW averaged over the batch", lambda p: p.gradients(dW=p.X.T @ p.terms(1, 1, 1) / _n(p)), frozenset({"dW"})),
    Wrong("W's rows reversed in dX", lambda p: p.gradients(dX=p.terms(1, 1, 1) @ p.W[::-1].T), frozenset({"dX"})),
)
