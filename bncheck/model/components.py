"""The components that bncheck differentiates: the network and each of its layers.

The output of every component has shape (N, H), and its loss is sum(dout * output) with the same dout.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from bncheck.model import layers
from bncheck.model.layers import Array
from bncheck.model.problem import FloatArray, Problem

# Constant added to the variance: a number, or an array of shape (H,) with a value for each unit.
BnEps: TypeAlias = float | FloatArray
# Maps the input arrays, by name, to the output (N, H).
Forward: TypeAlias = Callable[[Mapping[str, Array]], Array]


@dataclass(frozen=True, slots=True)
class Component:
    """The network or one layer that is checked on its own."""

    name: str
    inputs: tuple[str, ...]  # the arrays that have a gradient, in the order of the arguments
    output: str  # the symbol of the output in the formulas: "a", "y", "h"
    run: Callable[[Mapping[str, Array], BnEps], Array]  # maps the inputs and bn_eps to the output (N, H)

    def inputs_when_perturbing(self, perturbed: str) -> tuple[str, ...]:
        """Return the names of the arrays that the forward pass is given while one of its inputs is perturbed."""
        if "X" not in self.inputs or "h" not in self.inputs:
            return self.inputs
        redundant = ("X", "W", "b") if perturbed == "h" else ("h",)  # h replaces X, W and b, or is computed from them
        return tuple(name for name in self.inputs if name not in redundant)

    def forward(self, bn_eps: BnEps) -> Forward:
        """Return the reference forward pass as a function of its input arrays."""
        return lambda arrays: self.run(arrays, bn_eps)

    def arrays(
        self, problem: Problem, names: Iterable[str] | None = None, bn_eps: BnEps | None = None
    ) -> dict[str, FloatArray]:
        """Return the named inputs at a problem, by default all of them; ``bn_eps`` replaces that of the problem."""
        p, wanted = problem, self.inputs if names is None else tuple(names)
        known = {"X": p.X, "W": p.W, "b": p.b, "gamma": p.gamma, "beta": p.beta}
        if "h" in wanted or "y" in wanted:
            known["h"] = layers.affine_forward(p.X, p.W, p.b)[0]
        if "y" in wanted:
            eps = p.bn_eps if bn_eps is None else bn_eps
            known["y"] = layers.batchnorm_forward(known["h"], p.gamma, p.beta, eps)[0]
        return {name: known[name] for name in wanted}


def _run_network(arrays: Mapping[str, Array], bn_eps: BnEps) -> Array:
    """Run the network; if h is given, for the gradient dh, skip the affine layer."""
    h = arrays["h"] if "h" in arrays else AFFINE.run(arrays, bn_eps)
    return RELU.run({"y": BATCHNORM.run({**arrays, "h": h}, bn_eps)}, bn_eps)


def _run_batchnorm(arrays: Mapping[str, Array], bn_eps: BnEps) -> Array:
    return layers.batchnorm_forward(arrays["h"], arrays["gamma"], arrays["beta"], bn_eps)[0]


NETWORK = Component("network", ("X", "W", "b", "gamma", "beta", "h"), "a", _run_network)
BATCHNORM = Component("batchnorm", ("h", "gamma", "beta"), "y", _run_batchnorm)
AFFINE = Component("affine", ("X", "W", "b"), "h", lambda v, _: layers.affine_forward(v["X"], v["W"], v["b"])[0])
RELU = Component("relu", ("y",), "a", lambda v, _: layers.relu_forward(v["y"])[0])
