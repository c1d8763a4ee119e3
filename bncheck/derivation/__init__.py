"""The derivation of the gradients: its equations, and their comparison with finite differences."""

from collections.abc import Sequence
from dataclasses import dataclass

from bncheck.derivation.checking import DerivativeCheck, check_equation, check_graph, compute_values
from bncheck.derivation.equations import EQUATIONS, Equation
from bncheck.errors import unknown_name
from bncheck.model.graph import NODES, Values
from bncheck.model.problem import Problem
from bncheck.model.verdict import Verdict

# The British spelling, by which the equation was named before.
ALIASES = {"centring": "centering"}


@dataclass(frozen=True, slots=True)
class Derivation:
    """The checked equations and the checked graph."""

    problem: Problem
    values: Values  # of the forward and the backward pass, by name
    equations: Sequence[tuple[Equation, DerivativeCheck]]
    # The name of each node, in backward order; (a node that uses it, its local gradient there) for each of its uses;
    # and the check of its gradient. Empty if a single equation was requested.
    graph: Sequence[tuple[str, Sequence[tuple[str, str]], DerivativeCheck]]

    @property
    def checks(self) -> Sequence[DerivativeCheck]:
        """The checks of all equations and nodes."""
        return [*(check for _, check in self.equations), *(check for _, _, check in self.graph)]

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
        "relu", "scale", "centering", "var", "xhat", "dh", "dgamma", "dbeta", "dW", "db" or "dX", in upper or
        lower case.

    Returns
    -------
    Derivation

    Raises
    ------
    InvalidInput
        The equation is unknown, or the problem is too large.
    """
    values = compute_values(problem)
    if name is not None:
        key = ALIASES.get(name.lower(), name.lower())
        equations = [equation for equation in EQUATIONS if equation.name.lower() == key]
        if not equations:
            raise unknown_name("equation", name, [equation.name for equation in EQUATIONS])
        return Derivation(problem, values, [(equations[0], check_equation(equations[0], values))], [])
    graph = [
        (check.name, [(node.name, node.edges[check.name].local) for node in NODES if check.name in node.edges], check)
        for check in check_graph(values)
    ]
    return Derivation(problem, values, [(equation, check_equation(equation, values)) for equation in EQUATIONS], graph)
