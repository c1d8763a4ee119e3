"""Implementations with one mistake of the catalogue, used to test that the mistake is detected."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from bncheck.mistakes import Mistake
from bncheck.mistakes.pass_values import PassValues
from bncheck.model.layers import Array
from bncheck.model.options import GRADIENTS

Gradients = dict[str, Any]


class FaultyNetwork:
    """A network that makes a mistake; ``NO_MISTAKE`` gives the correct network."""

    def __init__(self, mistake: Mistake) -> None:
        self._mistake = mistake
        self._previous: Gradients = {}

    def forward(
        self, X: Array, W: Array, b: Array, gamma: Array, beta: Array, bn_eps: float
    ) -> tuple[Array, Mapping[str, Any]]:
        """Return a (N,H), and the inputs as the cache."""
        sizes = {"N": len(X), "D": len(W), "H": len(b)}
        inputs = {"X": X, "W": W, "b": b, "gamma": gamma, "beta": beta, "eps": bn_eps, **sizes}
        # A formula of the backward pass may need dout, which does not change the output.
        return self._mistake.apply_to(PassValues({**inputs, "dout": 0 * X @ W})).a, inputs

    def backward(self, dout: Array, cache: Mapping[str, Any]) -> Gradients:
        """Return all gradients, including dh."""
        values = self._mistake.apply_to(PassValues({**cache, "dout": dout}))
        gradients = {name: values[name] for name in GRADIENTS}
        self._cause_side_effect(dout, values, gradients)
        return gradients

    def _cause_side_effect(self, dout: Array, values: PassValues, gradients: Gradients) -> None:
        """Change dout or W, or add the previous gradients if they have the same shapes, if this is the mistake."""
        if self._mistake.code == "BN801":
            dout[values.y <= 0] = 0
        elif self._mistake.code == "BN802":
            values.W[...] -= 0.01 * gradients["dW"]
        elif self._mistake.code == "BN803":
            if self._previous and self._previous["dX"].shape == gradients["dX"].shape:
                gradients.update({name: value + self._previous[name] for name, value in gradients.items()})
            self._previous = gradients


def faulty_layers(mistake: Mistake) -> SimpleNamespace:
    """Return layer functions of affine and batch norm; the affine ones make the mistake."""

    def affine_forward(x: Array, w: Array, b: Array) -> tuple[Array, PassValues]:
        inputs = PassValues({"X": x, "W": w, "b": b, "N": len(x)})
        return mistake.apply_to(inputs.replaced("dh", 0 * x @ w)).h, inputs

    def affine_backward(dout: Array, cache: PassValues) -> tuple[Array, Array, Array]:
        values = mistake.apply_to(cache.replaced("dh", dout))
        return values.dX, values.dW, values.db

    def batchnorm_forward(x: Array, gamma: Array, beta: Array, bn_param: Mapping[str, Any]) -> tuple[Array, PassValues]:
        values = PassValues({"h": x, "gamma": gamma, "beta": beta, "eps": bn_param["eps"]})
        return values.y, values

    def batchnorm_backward(dout: Array, cache: PassValues) -> tuple[Array, Array, Array]:
        values = cache.replaced("dy", dout)
        return values.dh, values.dgamma, values.dbeta

    return SimpleNamespace(
        affine_forward=affine_forward,
        affine_backward=affine_backward,
        batchnorm_forward=batchnorm_forward,
        batchnorm_backward=batchnorm_backward,
    )
