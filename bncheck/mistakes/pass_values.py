"""Every quantity of a forward and a backward pass by its name, any of which can be replaced."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bncheck.model.components import AFFINE, BATCHNORM, NETWORK, RELU, Component
from bncheck.model.layers import Array
from bncheck.model.problem import Problem

# What each is computed from stands before it. The backward pass has its 1/sigma and its three
# terms to itself, so that a mistake can be made in one of them alone.
FORMULAS: Mapping[str, Callable[["PassValues"], Array]] = {
    "h": lambda w: w.X @ w.W + w.b,
    "mu": lambda w: w.h.mean(axis=0),
    "c": lambda w: w.h - w.mu,
    "var": lambda w: (w.c * w.c).mean(axis=0),
    "sigma": lambda w: np.sqrt(w.var + w.eps),
    "xhat": lambda w: w.c / w.sigma,
    "y": lambda w: w.gamma * w.xhat + w.beta,
    "active": lambda w: w.y > 0,
    "a": lambda w: np.where(w.active, w.y, 0.0),
    "dy": lambda w: np.where(w.active, w.dout, 0.0),
    "dbeta": lambda w: w.dy.sum(axis=0),
    "dgamma": lambda w: (w.dy * w.xhat).sum(axis=0),
    "g": lambda w: w.dy * w.gamma,
    "rstd": lambda w: 1 / w.sigma,
    "direct": lambda w: w.g * w.rstd,
    "mean_term": lambda w: -w.g.mean(axis=0) * w.rstd,
    "variance_term": lambda w: -w.xhat * (w.g * w.xhat).mean(axis=0) * w.rstd,
    "dh": lambda w: w.direct + w.mean_term + w.variance_term,
    "db": lambda w: w.dh.sum(axis=0),
    "dW": lambda w: w.X.T @ w.dh,
    "dX": lambda w: w.dh @ w.W.T,
}
ORDER = tuple(FORMULAS)
# What a layer by itself computes, out of these.
COMPONENT_VALUES = {
    NETWORK: frozenset(ORDER),
    AFFINE: frozenset({"h", "db", "dW", "dX"}),
    BATCHNORM: frozenset(ORDER[ORDER.index("mu") : ORDER.index("y") + 1])
    | frozenset(ORDER[ORDER.index("dbeta") : ORDER.index("dh") + 1]),
    RELU: frozenset({"active", "a", "dy"}),
}
# What dout is the gradient of, where a layer stands by itself.
UPSTREAM = {AFFINE: "dh", BATCHNORM: "dy"}


class PassValues:
    """The values of a pass: ``w.xhat``; each is computed when it is first asked for.

    The batch's sizes are N, D and H, the constant eps; the others are named as in ``layers``.
    """

    def __init__(self, given: Mapping[str, Any], computed: Mapping[str, Any] | None = None) -> None:
        self._given, self._computed = dict(given), dict(computed or {})

    @classmethod
    def of(cls, problem: Problem, piece: Component = NETWORK) -> "PassValues":
        """Return the right workings of a problem; of a layer, with dout as what comes to it."""
        arrays = {name: getattr(problem, name) for name in ("X", "W", "b", "gamma", "beta", "dout", "N", "D", "H")}
        upstream = {UPSTREAM[piece]: problem.dout} if piece in UPSTREAM else {}
        return cls({**arrays, "eps": problem.bn_eps, **upstream})

    def __getattr__(self, name: str) -> Any:
        if name in FORMULAS and name not in self._given and name not in self._computed:
            with np.errstate(all="ignore"):
                self._computed[name] = FORMULAS[name](self)
        found = self._given if not name.startswith("_") and name in self._given else self._computed
        try:
            return found[name]
        except KeyError:
            raise AttributeError(name) from None

    def with_eps(self, eps: float) -> "PassValues":
        """Return the correct values for another eps; those that do not depend on it are not computed again."""
        before = ORDER[: ORDER.index("sigma")]
        return PassValues({**self._given, "eps": eps}, {k: v for k, v in self._computed.items() if k in before})

    def replaced(self, name: str, value: Any) -> "PassValues":
        """Return them with one value replaced; what stands after it follows from that."""
        before = ORDER[: ORDER.index(name)]
        kept = {k: v for k, v in self._computed.items() if k in before}
        return PassValues({**self._given, name: value}, kept)
