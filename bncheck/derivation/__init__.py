"""The derivation of the gradients: its equations as data, and their check against finite differences."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from bncheck.derivation.checking import DerivativeCheck, check_equation, check_graph, point_of
from bncheck.derivation.equations import EQUATIONS, Equation
from bncheck.errors import InvalidInput
from bncheck.model.graph import NODES, Values
from bncheck.model.problem import Problem
from bncheck.model.results import Verdict


@dataclass(frozen=True, slots=True)
class Derivation:
    """Equations and what their check found; with all of them the graph, node by node."""

    problem: Problem
    values: Values  # at every node
    equations: Sequence[tuple[Equation, DerivativeCheck]]
    graph: Sequence[tuple[str, Sequence[tuple[str, str]], DerivativeCheck]]  # name, (used by, local gradient), found

    @property
    def verdict(self) -> Verdict:
        """The worst of all."""
        return Verdict.worst([c.verdict for _, c in self.equations] + [c.verdict for _, _, c in self.graph])


def derive(problem: Problem, name: str | None = None) -> Derivation:
    """Check the derivation at a problem: every equation and the graph, or one equation.

    Parameters
    ----------
    problem : Problem
        A small one: a Jacobian of (N, H) for (N, H) has (N H)^2 entries.
    name : str, optional
        "relu", "scale", "centring", "var", "xhat", "dh", "dgamma", "dbeta", "dW", "db" or "dX".

    Returns
    -------
    Derivation

    Raises
    ------
    InvalidInput
        There is no such equation, or the problem is too large.
    """
    values = point_of(problem)
    chosen = EQUATIONS if name is None else [equation_named(name)]
    graph = []
    for checked in [] if name else check_graph(values):
        uses = [(node.name, node.uses[checked.name].local) for node in NODES if checked.name in node.uses]
        graph.append((checked.name, uses, checked))
    return Derivation(problem, values, [(e, check_equation(e, values)) for e in chosen], graph)


def equation_named(name: str) -> Equation:
    """Return an equation by its name, in whatever case.

    Raises
    ------
    InvalidInput
        There is none; the message names all.
    """
    known = {equation.name.lower(): equation for equation in EQUATIONS}
    if name.lower() in known:
        return known[name.lower()]
    near = get_close_matches(name.lower(), known, 1, 0.5)
    guess = f"did you mean {known[near[0]].name}? There" if near else "there"
    raise InvalidInput(f"no equation {name!r}; {guess} are {', '.join(e.name for e in EQUATIONS)}")
