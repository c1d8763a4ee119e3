"""The network backward through its computational graph, node by node.

An independent second derivation: every node's local gradient is elementary, and nothing is
collected into the closed form of ``layers``. What flows back into a node is the sum over the
nodes that use it, each times its local gradient there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from bncheck.model.layers import Array

Values: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Edge:
    """A node's use of an earlier value: its local gradient, and what it sends back."""

    local: str  # the local gradient, in words of the formulas
    vjp: Callable[[Values, Array], Array]  # of the values and of what flows back into the node


@dataclass(frozen=True, slots=True)
class Node:
    """An elementary operation of the forward pass."""

    name: str
    formula: str
    value: Callable[[Values], Array]
    uses: Mapping[str, Edge]


NODES = (
    Node("h", "h = XW + b", lambda v: v["X"] @ v["W"] + v["b"], {
        "X": Edge("W^T from the right", lambda v, d: d @ v["W"].T),
        "W": Edge("X^T from the left", lambda v, d: v["X"].T @ d),
        "b": Edge("1 in every row", lambda v, d: d.sum(axis=0)),  # noqa: ARG005 - the others need the values
    }),
    Node("mu", "mu = sum_k h_k / N", lambda v: v["h"].sum(axis=0) / len(v["h"]), {
        "h": Edge("1/N in every row", lambda v, d: d / len(v["h"])),
    }),
    Node("c", "c = h - mu", lambda v: v["h"] - v["mu"], {
        "h": Edge("1", lambda v, d: d),  # noqa: ARG005 - likewise
        "mu": Edge("-1 in every row", lambda v, d: -d.sum(axis=0)),  # noqa: ARG005 - likewise
    }),
    Node("square", "square = c c", lambda v: v["c"] * v["c"], {
        "c": Edge("2c", lambda v, d: 2 * v["c"] * d),
    }),
    Node("var", "var = sum_k square_k / N", lambda v: v["square"].sum(axis=0) / len(v["h"]), {
        "square": Edge("1/N in every row", lambda v, d: np.broadcast_to(d / len(v["h"]), v["square"].shape)),
    }),
    Node("root", "root = sqrt(var + eps)", lambda v: np.sqrt(v["var"] + v["eps"]), {
        "var": Edge("1 / (2 root)", lambda v, d: d / (2 * v["root"])),
    }),
    Node("inverse", "inverse = 1 / root", lambda v: 1 / v["root"], {
        "root": Edge("-1 / root^2", lambda v, d: -d / v["root"] ** 2),
    }),
    Node("xhat", "xhat = c inverse", lambda v: v["c"] * v["inverse"], {
        "c": Edge("inverse", lambda v, d: d * v["inverse"]),
        "inverse": Edge("c, summed over the rows", lambda v, d: (d * v["c"]).sum(axis=0)),
    }),
    Node("y", "y = gamma xhat + beta", lambda v: v["gamma"] * v["xhat"] + v["beta"], {
        "xhat": Edge("gamma", lambda v, d: d * v["gamma"]),
        "gamma": Edge("xhat, summed over the rows", lambda v, d: (d * v["xhat"]).sum(axis=0)),
        "beta": Edge("1, summed over the rows", lambda v, d: d.sum(axis=0)),  # noqa: ARG005 - likewise
    }),
    Node("a", "a = max(y, 0)", lambda v: np.where(v["y"].real > 0, v["y"], 0), {
        "y": Edge("1 where y > 0, else 0", lambda v, d: np.where(v["y"].real > 0, d, 0)),
    }),
)  # fmt: skip


def forward(X: Array, W: Array, b: Array, gamma: Array, beta: Array, bn_eps: float) -> tuple[Array, Values]:
    """Return the output a (N,H), and the values at all nodes as the cache."""
    values = run({"X": X, "W": W, "b": b, "gamma": gamma, "beta": beta, "eps": bn_eps})
    return values["a"], values


def backward(dout: Array, cache: Values) -> dict[str, Array]:
    """Return the gradients of the loss sum(dout * a), each node's after the ones that use it."""
    back = backpropagate(dout, cache)
    return {f"d{name}": back[name] for name in ("X", "W", "b", "gamma", "beta", "h")}


def run(given: Values) -> dict[str, Any]:
    """Return the values of all nodes; those that are given are taken as they are."""
    values = dict(given)
    for node in NODES:
        if node.name not in values:
            values[node.name] = node.value(values)
    return values


def backpropagate(dout: Array, values: Values) -> dict[str, Array]:
    """Return dL/dz for every node and input z, summed over the nodes that use it."""
    back: dict[str, Array] = {"a": dout}
    for node in reversed(NODES):
        for name, use in node.uses.items():
            sent = use.vjp(values, back[node.name])
            back[name] = back[name] + sent if name in back else sent
    return back
