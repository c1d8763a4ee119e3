"""The pieces that a gradient can be taken of: the whole network, and each of its layers.

Every piece has an output of shape (N,H) that meets the same dout: the loss is sum(dout * output).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from bncheck.model import layers
from bncheck.model.layers import Array
from bncheck.model.problem import FloatArray, Problem

# The constant inside batch norm's square root: one number, or one per unit, (H,).
BnEps: TypeAlias = float | FloatArray
# The output (N,H) for the arrays that are moved and those that are not, by name.
Forward: TypeAlias = Callable[[Mapping[str, Array]], Array]


@dataclass(frozen=True, slots=True)
class Component:
    """A function of arrays that is checked by itself."""

    name: str
    inputs: tuple[str, ...]  # what its gradients are taken for, in the order of its arguments
    output: str  # what the formulas call it
    run: Callable[[Mapping[str, Array], BnEps], Array]  # of the inputs and bn_eps

    def inputs_when_perturbing(self, moved: str) -> tuple[str, ...]:
        """Return the arrays that the forward pass is given where one of its inputs is moved."""
        if "X" not in self.inputs or "h" not in self.inputs:
            return self.inputs
        inner = ("X", "W", "b") if moved == "h" else ("h",)  # h is what these make, or is made of
        return tuple(name for name in self.inputs if name not in inner)

    def forward(self, bn_eps: BnEps) -> Forward:
        """Return the reference forward pass as a function of its arrays."""
        return lambda arrays: self.run(arrays, bn_eps)

    def arrays(
        self, problem: Problem, names: Iterable[str] | None = None, bn_eps: BnEps | None = None
    ) -> dict[str, FloatArray]:
        """Return the values of its inputs at a problem, or of those that are named.

        ``bn_eps`` replaces the problem's.
        """
        p, wanted = problem, self.inputs if names is None else tuple(names)
        known = {"X": p.X, "W": p.W, "b": p.b, "gamma": p.gamma, "beta": p.beta}
        if "h" in wanted or "y" in wanted:
            known["h"] = layers.affine_forward(p.X, p.W, p.b)[0]
        if "y" in wanted:
            eps = p.bn_eps if bn_eps is None else bn_eps
            known["y"] = layers.batchnorm_forward(known["h"], p.gamma, p.beta, eps)[0]
        return {name: known[name] for name in wanted}


def _run_network(arrays: Mapping[str, Array], bn_eps: BnEps) -> Array:
    """Run the network; from h on where h is given, for the gradient dh."""
    h = arrays["h"] if "h" in arrays else _run_affine(arrays, bn_eps)
    return layers.relu_forward(_run_batchnorm({**arrays, "h": h}, bn_eps))[0]


def _run_batchnorm(arrays: Mapping[str, Array], bn_eps: BnEps) -> Array:
    return layers.batchnorm_forward(arrays["h"], arrays["gamma"], arrays["beta"], bn_eps)[0]


def _run_affine(arrays: Mapping[str, Array], _: BnEps) -> Array:
    return layers.affine_forward(arrays["X"], arrays["W"], arrays["b"])[0]


def _run_relu(arrays: Mapping[str, Array], _: BnEps) -> Array:
    return layers.relu_forward(arrays["y"])[0]


NETWORK = Component("network", ("X", "W", "b", "gamma", "beta", "h"), "a", _run_network)
BATCHNORM = Component("batchnorm", ("h", "gamma", "beta"), "y", _run_batchnorm)
AFFINE = Component("affine", ("X", "W", "b"), "h", _run_affine)
RELU = Component("relu", ("y",), "a", _run_relu)
