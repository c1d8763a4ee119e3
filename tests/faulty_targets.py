"""Targets with errors of known kinds, for tests of several packages."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np

from bncheck import CheckResult
from bncheck.mistakes import Mistake
from bncheck.mistakes.injected import FaultyNetwork
from bncheck.model import network
from bncheck.model.layers import Array
from tests.python_targets import Gradients, by_hand

# The direct, the mean and the variance term of dh.
Terms: TypeAlias = tuple[Array, Array, Array]
# Changes the gradients in place, or returns another dh.
Corruption: TypeAlias = Callable[[Gradients, network.Cache, Terms], Array | None]


class CorruptedNetwork:
    """The correct network with a corruption of its gradients; dX, dW and db follow from the dh that it returns."""

    forward = staticmethod(network.forward)

    def __init__(self, corrupt: Corruption) -> None:
        self._corrupt = corrupt

    def backward(self, dout: Array, cache: network.Cache) -> Gradients:
        gradients, X, W = network.backward(dout, cache), *cache.affine
        xhat, gamma, sigma = cache.batchnorm
        g = gamma * np.where(cache.relu, dout, 0)
        terms = g / sigma, -np.mean(g, 0) / sigma + 0 * g, -xhat * np.mean(g * xhat, 0) / sigma
        dh = self._corrupt(gradients, cache, terms)
        if dh is not None:
            gradients |= {"dh": dh, "dX": dh @ W.T, "dW": X.T @ dh, "db": dh.sum(axis=0)}
        return gradients


class CorruptedNetworkWithoutDh(CorruptedNetwork):
    """The same network, which does not return dh."""

    def backward(self, dout: Array, cache: network.Cache) -> Gradients:
        return {name: value for name, value in super().backward(dout, cache).items() if name != "dh"}


class CorruptedNetworkInHalfPrecision(CorruptedNetwork):
    """The same network, which returns float16."""

    def backward(self, dout: Array, cache: network.Cache) -> Gradients:
        return {name: value.astype(np.float16) for name, value in super().backward(dout, cache).items()}


def correct_network() -> SimpleNamespace:
    return SimpleNamespace(forward=network.forward, backward=network.backward)


def combine_terms(direct: float, mean: float, variance: float) -> Corruption:
    """Return a corruption that multiplies the three terms of dh by these coefficients."""
    return lambda _, __, terms: np.asarray(direct * terms[0] + mean * terms[1] + variance * terms[2])


def change(name: str, changed: Callable[[Array, network.Cache], Any]) -> Corruption:
    """Return a corruption that replaces one gradient."""

    def corrupt(gradients: Gradients, cache: network.Cache, _: Terms) -> None:
        gradients[name] = changed(gradients[name], cache)

    return corrupt


def multiply(name: str, factor: float, index: Any = ...) -> Corruption:
    """Return a corruption that multiplies a gradient, or some entries of it."""

    def multiplied(value: Array, _: network.Cache) -> Array:
        value = value.copy()
        value[index] *= factor
        return value

    return change(name, multiplied)


def add_noise(name: str) -> Corruption:
    """Return a corruption with random relative errors of 1e-7."""
    return change(name, lambda v, _: v * (1 + 1e-7 * np.random.default_rng(0).standard_normal(v.shape)))


# The network step by step, as a student writes it.
STEPS = {
    "h": "X @ W + b", "x": "h", "mu": "x.mean(axis=0)", "c": "x - mu", "var": "(c * c).mean(axis=0)",
    "std": "np.sqrt(var)", "sigma": "np.sqrt(var + eps)", "xhat": "c / sigma", "y": "gamma * xhat + beta",
    "a": "np.maximum(y, 0)", "dy": "dout * (y > 0)", "dbeta": "dy.sum(axis=0)", "dgamma": "(dy * xhat).sum(axis=0)",
    "g": "dy * gamma", "dx": "(N * g - g.sum(axis=0) - xhat * (g * xhat).sum(axis=0)) / (N * sigma)",
    "db": "dx.sum(axis=0)", "dW": "X.T @ dx", "dX": "dx @ W.T",
}  # fmt: skip


class WrittenMistake:
    """The network with the wrong code that the catalogue shows; the values after it are computed from its results."""

    def __init__(self, mistake: Mistake) -> None:
        self._code = mistake.code_blocks("Wrong")[-1]  # the closed form

    def _values(self, arrays: dict[str, Any]) -> dict[str, Any]:
        N, H = len(arrays["X"]), len(arrays["b"])
        values = by_hand(SimpleNamespace(N=N, D=len(arrays["W"]), H=H, **arrays))
        before = dict(values)
        with np.errstate(all="ignore"):
            exec(self._code, values)
            written = [name for name in STEPS if values[name] is not before[name]]
            for name in list(STEPS)[min(list(STEPS).index(name) for name in written) :]:
                values[name] = values[name] if name in written else eval(STEPS[name], values)
        return values

    def forward(self, *arrays: Any) -> tuple[Array, dict[str, Any]]:
        cache = dict(zip(("X", "W", "b", "gamma", "beta", "bn_eps"), arrays, strict=True))
        return self._values({**cache, "dout": 0 * cache["X"] @ cache["W"]})["a"], cache

    def backward(self, dout: Array, cache: dict[str, Any]) -> Gradients:
        values = self._values({**cache, "dout": dout})
        return {"dh": values["dx"], **{name: values[name] for name in ("dX", "dW", "db", "dgamma", "dbeta")}}


def change_mistake(mistake: Mistake, changed: Callable[[Gradients], Gradients]) -> SimpleNamespace:
    """Return a network that makes a mistake, and then changes its gradients."""
    faulty = FaultyNetwork(mistake)
    return SimpleNamespace(
        forward=faulty.forward, backward=lambda dout, cache: changed(faulty.backward(dout, cache))
    )  # fmt: skip


# Layer functions whose dx lacks the variance term (BN204).
LAYERS = """
import numpy as np
def batchnorm_forward(x, gamma, beta, bn_param):
    sigma = np.sqrt(x.var(axis=0) + bn_param["eps"])
    xhat = (x - x.mean(axis=0)) / sigma
    return gamma * xhat + beta, (xhat, gamma, sigma)
def batchnorm_backward(dout, cache):
    xhat, gamma, sigma = cache
    g = dout * gamma
    return (g - g.mean(axis=0)) / sigma, (dout * xhat).sum(axis=0), dout.sum(axis=0)
"""

# The same batch norm in a composite function.
COMPOSITE = (
    LAYERS
    + """
def affine_forward(x, w, b): return x @ w + b, (x, w)
def affine_backward(dout, cache): return dout @ cache[1].T, cache[0].T @ dout, dout.sum(axis=0)
def relu_forward(x): return np.maximum(x, 0), x
def relu_backward(dout, cache): return dout * (cache > 0)
def affine_bn_relu_forward(x, w, b, gamma, beta, bn_param):
    h, affine = affine_forward(x, w, b)
    y, bn = batchnorm_forward(h, gamma, beta, bn_param)
    return relu_forward(y)[0], (affine, bn, y)
def affine_bn_relu_backward(dout, cache):
    dh, dgamma, dbeta = batchnorm_backward(relu_backward(dout, cache[2]), cache[1])
    return (*affine_backward(dh, cache[0]), dgamma, dbeta)
"""
)

# The lines of batch norm's forward pass, as a student writes them.
FORWARD_LINES = {
    "mu": "x.mean(axis=0)", "v": "x.var(axis=0)", "s": "np.sqrt(v + EPS)",
    "xhat": "(x - mu) / s", "out": "gamma * xhat + beta",
}  # fmt: skip


def layers_with(
    lines: dict[str, str], eps: str, dx: str = "(g - g.mean(0) - xhat * (g * xhat).mean(0)) / s"
) -> SimpleNamespace:
    """Return layer functions with these lines in the forward pass, and the standard backward pass."""
    body = "".join(f"    {name} = {lines.get(name, line)}\n" for name, line in FORWARD_LINES.items())
    source = f"""
def batchnorm_forward(x, gamma, beta, bn_param):
{body.replace("EPS", eps)}    return out, (xhat, gamma, s)
def batchnorm_backward(dout, cache):
    xhat, gamma, s = cache
    g = dout * gamma
    return {dx}, (dout * xhat).sum(axis=0), dout.sum(axis=0)
"""
    functions: dict[str, Any] = {"np": np}
    exec(source, functions)
    return SimpleNamespace(**functions)


def diagnosed(result: CheckResult) -> list[tuple[str | None, str | None]]:
    """Return the code and the gradient of each diagnosis."""
    return [(d.code, d.gradient) for d in result.diagnosis]


def descriptions(result: CheckResult) -> str:
    """Return the descriptions of all diagnoses."""
    return "; ".join(clause for d in result.diagnosis for clause in d.description)
