"""The equations of the derivation: their texts, from equations.toml, and the parts of each derivative.

An equation is the derivative of one node of the graph (`bncheck.model.graph`), or of the loss, with respect to another
node. Its parts are functions of the values at the nodes. They add up to the derivative, whose shape is the shape of
the output followed by the shape of the input: (K,L,I,J) if both are matrices.
"""

import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bncheck.model.graph import Values
from bncheck.model.layers import Array


@dataclass(frozen=True, slots=True)
class Part:
    """A summand of a derivative."""

    formula: str
    value: Callable[[Values], Array]


@dataclass(frozen=True, slots=True)
class Equation:
    """One equation of the derivation."""

    name: str  # the argument of ``bncheck derive``
    output: str  # the node that is differentiated; "L" is the loss
    input: str  # the node that the derivative is taken with respect to
    formula: str
    latex: str
    rule: str
    reason: str  # one sentence
    algebra: Sequence[str]  # intermediate steps: paragraphs, and formulas, which start with two spaces
    parts: Sequence[Part]


def _entrywise(v: Values, entry: Array) -> Array:
    """Return delta_ik delta_jl entry_kl, (N,H,N,H)."""
    (N, H), rows = v["h"].shape, np.eye(len(v["h"]))
    block: Array = np.einsum("ki,lj,kl->klij", rows, np.eye(H), np.broadcast_to(entry, (N, H)))
    return block


def _columnwise(v: Values, pair: Array) -> Array:
    """Return delta_jl pair_kil, (N,H,N,H): all pairs of rows of the same column."""
    N, H = v["h"].shape
    block: Array = np.einsum("lj,kil->klij", np.eye(H), np.broadcast_to(pair, (N, N, H)))
    return block


def _column_to_scalar(entry: Array) -> Array:
    """Return delta_jl entry_il, (H,N,H)."""
    block: Array = np.einsum("lj,il->lij", np.eye(entry.shape[1]), entry)
    return block


PARTS = {
    "relu": (Part("δ_ik δ_jl (y > 0)", lambda v: _entrywise(v, v["y"] > 0)),),
    "scale": (Part("γ_l δ_ik δ_jl", lambda v: _entrywise(v, v["gamma"])),),
    "centering": (
        Part("δ_ik δ_jl", lambda v: _entrywise(v, np.ones(1))),
        Part("−δ_jl/N", lambda v: _columnwise(v, np.full(1, -1 / len(v["h"])))),
    ),
    "var": (Part("2/N (h_il − μ_l) δ_jl", lambda v: 2 / len(v["c"]) * _column_to_scalar(v["c"])),),
    "xhat": (
        Part("δ_ik δ_jl/σ_l", lambda v: _entrywise(v, v["rstd"])),
        Part("−δ_jl/(N σ_l)", lambda v: _columnwise(v, -v["rstd"] / len(v["h"]))),
        Part(
            "−δ_jl c_kl c_il/(N σ_l³)",
            lambda v: _columnwise(v, -np.einsum("kl,il->kil", v["c"], v["c"]) * v["rstd"] ** 3 / len(v["h"])),
        ),
    ),
    "dh": (
        Part("g/σ", lambda v: v["direct"]),
        Part("−mean g/σ", lambda v: v["mean_term"] + 0 * v["h"]),
        Part("−xhat mean(g xhat)/σ", lambda v: v["variance_term"]),
    ),
    "dgamma": (Part("sum_k dy xhat", lambda v: v["dgamma"]),),
    "dbeta": (Part("sum_k dy", lambda v: v["dbeta"]),),
    "dW": (Part("X^T dh", lambda v: v["dW"]),),
    "db": (Part("sum_k dh", lambda v: 0 * v["gamma"]),),
    "dX": (Part("dh W^T", lambda v: v["dX"]),),
}


def _read_equations() -> Iterator[Equation]:
    """Read the texts of the equations, and add their parts."""
    text = Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
    for fields in tomllib.loads(text)["equations"]:
        algebra = fields.pop("algebra").split("\n")
        yield Equation(**fields, algebra=algebra, parts=PARTS[fields["name"]])


# In the order of the derivation.
EQUATIONS = tuple(_read_equations())
