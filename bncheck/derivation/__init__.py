"""The derivation of the gradients: its equations, and their comparison with finite differences."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bncheck.derivation.checking import DerivativeCheck, check_equation, check_graph, point_of
from bncheck.derivation.equations import EQUATIONS, Equation
from bncheck.errors import unknown_name
from bncheck.model.graph import NODES, Values
from bncheck.model.problem import Problem
from bncheck.model.verdict import Verdict

# The British spelling, by which the equation was named before.
ALIASES = {"centring": "centering"}


class CheckedEquation(NamedTuple):
    """An equation and its comparison with finite differences."""

    equation: Equation
    check: DerivativeCheck


class CheckedNode(NamedTuple):
    """A node or input of the graph, and the check of its gradient."""

    name: str
    edges: Sequence[tuple[str, str]]  # (a node that uses it, its local gradient there)
    check: DerivativeCheck


@dataclass(frozen=True, slots=True)
class Derivation:
    """The checked equations and the checked graph."""

    problem: Problem
    values: Values  # of the forward and the backward pass, by name
    equations: Sequence[CheckedEquation]
    graph: Sequence[CheckedNode]  # from the loss back to the inputs; empty if a single equation was requested

    @property
    def checks(self) -> Sequence[DerivativeCheck]:
        """The checks of all equations and nodes."""
        return [*(checked.check for checked in self.equations), *(checked.check for checked in self.graph)]

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all equations and nodes."""
        return Verdict.worst(check.verdict for check in self.checks)


def derive(problem: Problem, name: str | None = None) -> Derivation:
    """Check the derivation at a problem: every equation and the graph, or one equation.

    Parameters
    ----------
    problem : Problem
        A small one: the Jacobian of an (N, H) array with respect to another has (N H)^2 entries.
    name : str, optional
        "relu", "scale", "centering", "var", "xhat", "dh", "dgamma", "dbeta", "dW", "db" or "dX".

    Returns
    -------
    Derivation

    Raises
    ------
    InvalidInput
        The equation is unknown, or the problem is too large.
    """
    values = point_of(problem)
    equations = EQUATIONS if name is None else [equation_named(name)]
    graph = [
        CheckedNode(c.name, [(node.name, node.edges[c.name].local) for node in NODES if c.name in node.edges], c)
        for c in ([] if name else check_graph(values))
    ]
    return Derivation(problem, values, [CheckedEquation(e, check_equation(e, values)) for e in equations], graph)


def equation_named(name: str) -> Equation:
    """Return the equation with a name, in upper or lower case.

    Raises
    ------
    InvalidInput
        The name is unknown.
    """
    key = name.lower()
    for equation in EQUATIONS:
        if equation.name.lower() == ALIASES.get(key, key):
            return equation
    raise unknown_name("equation", name, [equation.name for equation in EQUATIONS])
