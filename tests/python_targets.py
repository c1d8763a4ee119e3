"""Targets and correct values for the tests of several packages."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from bncheck import CheckResult
from bncheck.model import network
from bncheck.model.components import Component, Forward
from bncheck.model.layers import Array
from bncheck.model.problem import FloatArray, Problem
from bncheck.numerical.full import IndexArray, PerturbedForward

Gradients: TypeAlias = dict[str, Array]
# The fixture check_file: (source text, name of the file, **options of check).
CheckFile: TypeAlias = Callable[..., CheckResult]


class CorruptedGradients:
    """The correct network, whose gradients are corrupted before they are returned."""

    forward = staticmethod(network.forward)

    def __init__(self, corrupt: Callable[[Gradients], object]) -> None:
        self._corrupt = corrupt

    def backward(self, dout: Array, cache: network.Cache) -> Gradients:
        gradients = network.backward(dout, cache)
        self._corrupt(gradients)
        return gradients


def perturbed(forward: Forward, component: Component, problem: Problem) -> PerturbedForward:
    """Return a forward pass as ``measure`` calls it, for one value of an entry after another."""
    arrays = component.arrays(problem, component.inputs[:-1] if component.name == "network" else component.inputs)

    def outputs(name: str, indices: IndexArray, values: FloatArray) -> Iterator[FloatArray]:
        for index, value in zip(indices, values, strict=True):
            array = arrays[name].copy()
            array.flat[index] = value
            yield forward({**arrays, name: array})

    return outputs


def by_hand(p: Any) -> dict[str, Any]:
    """Return every correct value, in plain NumPy, under the names that the texts of the catalogue use."""
    n: dict[str, Any] = {k: np.array(getattr(p, k)) for k in ("X", "W", "b", "gamma", "beta", "dout")}
    n |= {"N": p.N, "D": p.D, "H": p.H, "eps": p.bn_eps, "np": np}
    x = p.X @ p.W + p.b
    mu, var = x.mean(axis=0), x.var(axis=0)
    sigma = np.sqrt(var + p.bn_eps)
    xhat = (x - mu) / sigma
    y = p.gamma * xhat + p.beta
    dy = p.dout * (y > 0)
    g = dy * p.gamma
    dx = (p.N * g - g.sum(axis=0) - xhat * (g * xhat).sum(axis=0)) / (p.N * sigma)
    n |= {"h": x, "x": x, "mu": mu, "c": x - mu, "var": var, "std": np.sqrt(var), "sigma": sigma, "xhat": xhat}
    n |= {"y": y, "a": np.maximum(y, 0), "dy": dy, "g": g, "dx": dx, "dbeta": dy.sum(axis=0)}
    return n | {"dgamma": (dy * xhat).sum(axis=0), "db": dx.sum(axis=0), "dW": p.X.T @ dx, "dX": dx @ p.W.T}
