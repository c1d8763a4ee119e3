"""The computational graph of the network: every value of a forward and a backward pass by name.

The graph is a second derivation of the gradients, independent of the closed form in `layers`. Backpropagation
multiplies elementary local gradients: the gradient of a value is the sum over the nodes that use the value. The named
backward values split dh into the terms that a wrong backward pass may get wrong on their own.
`forward` and `backward` make this module a target, ``staged``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from bncheck.model.layers import Array

Values: TypeAlias = Mapping[str, Any]


class NamedValues(Protocol):
    """Arrays and numbers by name, computed before or on demand."""

    def __getitem__(self, name: str, /) -> Any:
        """Return a value."""


@dataclass(frozen=True, slots=True)
class Edge:
    """How a node depends on an earlier value."""

    local: str  # the local gradient as a formula
    vjp: Callable[[NamedValues, Array], Array]  # (values, gradient of the node) -> part of the earlier value's gradient


@dataclass(frozen=True, slots=True)
class Node:
    """An elementary operation of the forward pass."""

    name: str
    formula: str
    value: Callable[[NamedValues], Array]
    edges: Mapping[str, Edge]  # by the name of the earlier value; none for the mask, which is constant


FORWARD = (
    Node("h", "h = XW + b", lambda v: v["X"] @ v["W"] + v["b"], {
        "X": Edge("W^T from the right", lambda v, d: d @ v["W"].T),
        "W": Edge("X^T from the left", lambda v, d: v["X"].T @ d),
        "b": Edge("1 in every row", lambda _, d: d.sum(axis=0)),
    }),
    Node("mu", "mu = sum_k h_k / N", lambda v: v["h"].sum(axis=0) / len(v["h"]), {
        "h": Edge("1/N in every row", lambda v, d: d / len(v["h"])),
    }),
    Node("c", "c = h - mu", lambda v: v["h"] - v["mu"], {
        "h": Edge("1", lambda _, d: d),
        "mu": Edge("-1 in every row", lambda _, d: -d.sum(axis=0)),
    }),
    Node("square", "square = c c", lambda v: v["c"] * v["c"], {
        "c": Edge("2c", lambda v, d: 2 * v["c"] * d),
    }),
    Node("var", "var = sum_k square_k / N", lambda v: v["square"].sum(axis=0) / len(v["h"]), {
        "square": Edge("1/N in every row", lambda v, d: np.broadcast_to(d / len(v["h"]), v["square"].shape)),
    }),
    Node("sigma", "sigma = sqrt(var + eps)", lambda v: np.sqrt(v["var"] + v["eps"]), {
        "var": Edge("1 / (2 sigma)", lambda v, d: d / (2 * v["sigma"])),
    }),
    Node("xhat", "xhat = c / sigma", lambda v: v["c"] / v["sigma"], {
        "c": Edge("1 / sigma", lambda v, d: d / v["sigma"]),
        "sigma": Edge("-c / sigma^2, summed over the rows", lambda v, d: -(d * v["c"]).sum(axis=0) / v["sigma"] ** 2),
    }),
    Node("y", "y = gamma xhat + beta", lambda v: v["gamma"] * v["xhat"] + v["beta"], {
        "xhat": Edge("gamma", lambda v, d: d * v["gamma"]),
        "gamma": Edge("xhat, summed over the rows", lambda v, d: (d * v["xhat"]).sum(axis=0)),
        "beta": Edge("1, summed over the rows", lambda _, d: d.sum(axis=0)),
    }),
    Node("active", "active = y > 0", lambda v: v["y"].real > 0, {}),
    Node("a", "a = max(y, 0)", lambda v: np.where(v["active"], v["y"], 0), {
        "y": Edge("1 if y > 0, else 0", lambda v, d: np.where(v["active"], d, 0)),
    }),
)  # fmt: skip
NODES = tuple(node for node in FORWARD if node.edges)

# The backward pass has its own 1/sigma, so that a mistake can be made in it without changing xhat.
BACKWARD: Mapping[str, Callable[[NamedValues], Array]] = {
    "dy": lambda v: np.where(v["active"], v["dout"], 0),
    "dbeta": lambda v: v["dy"].sum(axis=0),
    "dgamma": lambda v: (v["dy"] * v["xhat"]).sum(axis=0),
    "g": lambda v: v["dy"] * v["gamma"],
    "rstd": lambda v: 1 / v["sigma"],
    "direct": lambda v: v["g"] * v["rstd"],
    "mean_term": lambda v: -v["g"].mean(axis=0) * v["rstd"],
    "variance_term": lambda v: -v["xhat"] * (v["g"] * v["xhat"]).mean(axis=0) * v["rstd"],
    "dh": lambda v: v["direct"] + v["mean_term"] + v["variance_term"],
    "db": lambda v: v["dh"].sum(axis=0),
    "dW": lambda v: v["X"].T @ v["dh"],
    "dX": lambda v: v["dh"] @ v["W"].T,
}
# Every value, after the ones that it is computed from.
VALUES = {node.name: node.value for node in FORWARD} | dict(BACKWARD)


def forward(X: Array, W: Array, b: Array, gamma: Array, beta: Array, bn_eps: float) -> tuple[Array, Values]:
    """Return the output a (N,H), and the values of all nodes as the cache."""
    values = run({"X": X, "W": W, "b": b, "gamma": gamma, "beta": beta, "eps": bn_eps})
    return values["a"], values


def backward(dout: Array, cache: Values) -> dict[str, Array]:
    """Return the gradients of the loss sum(dout * a)."""
    gradients = backpropagate(dout, cache)
    return {f"d{name}": gradients[name] for name in ("X", "W", "b", "gamma", "beta", "h")}


def run(known: Values) -> dict[str, Any]:
    """Compute the values of the forward pass and, if dout is given, of the backward pass.

    Parameters
    ----------
    known : mapping of str to array or number
        X, W, b, gamma, beta, eps, and values that are used instead of computed ones.

    Returns
    -------
    dict of str to array or number
        All values, including the known ones.
    """
    values = dict(known)
    for name in VALUES if "dout" in known else (node.name for node in FORWARD):
        if name not in values:
            values[name] = VALUES[name](values)
    return values


def backpropagate(dout: Array, values: Values) -> dict[str, Array]:
    """Return dL/dz for every node and input z: the sum of the contributions of its edges."""
    gradients: dict[str, Array] = {"a": dout}
    for node in reversed(NODES):
        for name, edge in node.edges.items():
            contribution = edge.vjp(values, gradients[node.name])
            gradients[name] = gradients[name] + contribution if name in gradients else contribution
    return gradients
