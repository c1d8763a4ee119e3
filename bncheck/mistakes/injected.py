"""Implementations that make one mistake of the catalogue, to prove that it is caught."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from bncheck.mistakes import Mistake
from bncheck.mistakes.pass_values import PassValues
from bncheck.model.layers import Array

Gradients = dict[str, Any]
GRADIENTS = ("dX", "dW", "db", "dgamma", "dbeta", "dh")


class FaultyNetwork:
    """A whole network that makes a mistake, and says so in its gradients or its conduct."""

    def __init__(self, mistake: Mistake) -> None:
        self._mistake = mistake
        self._before: Gradients = {}

    def forward(
        self, X: Array, W: Array, b: Array, gamma: Array, beta: Array, bn_eps: float
    ) -> tuple[Array, Mapping[str, Any]]:
        """Return a, and the inputs as the cache."""
        sizes = {"N": len(X), "D": len(W), "H": len(b)}
        given = {"X": X, "W": W, "b": b, "gamma": gamma, "beta": beta, "eps": bn_eps, **sizes}
        # A forward pass knows no dout; what a mistake makes of the backward pass is not looked at.
        return self._mistake.apply_to(PassValues({**given, "dout": 0 * X @ W})).a, given

    def backward(self, dout: Array, cache: Mapping[str, Any]) -> Gradients:
        """Return the gradients, dh among them."""
        w = self._mistake.apply_to(PassValues({**cache, "dout": dout}))
        gradients = {name: getattr(w, name) for name in GRADIENTS}
        conduct = SIDE_EFFECTS.get(self._mistake.code)
        return conduct(self, dout, w, gradients) if conduct else gradients

    def writes_into_dout(self, dout: Array, w: PassValues, gradients: Gradients) -> Gradients:
        """Mask dout in place."""
        dout[w.y <= 0] = 0
        return gradients

    def steps(self, _: Array, w: PassValues, gradients: Gradients) -> Gradients:
        """Take a step of gradient descent along dW."""
        W: Array = w.W
        W -= 0.01 * gradients["dW"]
        return gradients

    def accumulates(self, _: Array, __: PassValues, gradients: Gradients) -> Gradients:
        """Add the gradients of the call before, if they have the same shapes."""
        if self._before and self._before["dX"].shape == gradients["dX"].shape:
            gradients = {name: value + self._before[name] for name, value in gradients.items()}
        self._before = gradients
        return gradients


SIDE_EFFECTS: Mapping[str, Callable[[FaultyNetwork, Array, PassValues, Gradients], Gradients]] = {
    "BN801": FaultyNetwork.writes_into_dout,
    "BN802": FaultyNetwork.steps,
    "BN803": FaultyNetwork.accumulates,
}


def faulty_layers(mistake: Mistake) -> SimpleNamespace:
    """Return course functions of affine and batch norm, of which one makes the mistake."""

    def affine_forward(x: Array, w: Array, b: Array) -> tuple[Array, PassValues]:
        made = mistake.apply_to(PassValues({"X": x, "W": w, "b": b, "N": len(x), "dh": 0 * x @ w}))
        return made.h, PassValues({"X": x, "W": w, "b": b, "N": len(x)})

    def affine_backward(dout: Array, cache: PassValues) -> tuple[Array, Array, Array]:
        made = mistake.apply_to(cache.replaced("dh", dout))
        return made.dX, made.dW, made.db

    def batchnorm_forward(x: Array, gamma: Array, beta: Array, bn_param: Mapping[str, Any]) -> tuple[Array, PassValues]:
        made = PassValues({"h": x, "gamma": gamma, "beta": beta, "eps": bn_param["eps"]})
        return made.y, made

    def batchnorm_backward(dout: Array, cache: PassValues) -> tuple[Array, Array, Array]:
        made = cache.replaced("dy", dout)
        return made.dh, made.dgamma, made.dbeta

    return SimpleNamespace(**{name: function for name, function in locals().items() if name != "mistake"})
