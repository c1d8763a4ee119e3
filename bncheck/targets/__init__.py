"""What can be checked: a target answers a problem with its output and its gradients."""

from typing import Any, Protocol

from bncheck import network
from bncheck.errors import InvalidInput
from bncheck.problem import Problem
from bncheck.results import Analytic, TargetInfo
from bncheck.targets.whole_network import WholeNetwork

# The implementations that bncheck carries itself, by the name that ``run`` takes.
BUILT_IN = {"reference": network}


class Target(Protocol):
    """Code under test, whatever its interface."""

    @property
    def info(self) -> TargetInfo:
        """What it is called and how it is called."""
        ...

    def run(self, problem: Problem) -> Analytic:
        """Run its forward and backward pass on copies of the problem's arrays."""
        ...


def resolve(target: Any) -> Target:
    """Return the target that a name or an object stands for.

    Parameters
    ----------
    target : str or object
        A built-in's name, or any object or namespace that carries
        ``forward(X, W, b, gamma, beta, bn_eps) -> (a, cache)`` and ``backward(dout, cache)``.

    Raises
    ------
    InvalidInput
        No such name, or the object carries no known interface.
    """
    if isinstance(target, str):
        if target not in BUILT_IN:
            raise InvalidInput(f"no target {target!r}; there is {', '.join(BUILT_IN)}")
        return WholeNetwork(BUILT_IN[target], target)
    missing = [
        name for name in ("forward", "backward") if not callable(getattr(target, name, None))
    ]
    if missing:
        raise InvalidInput(
            f"the target {target!r} has no {' and no '.join(missing)}; a network is an object with "
            "forward(X, W, b, gamma, beta, bn_eps) -> (a, cache) and backward(dout, cache)"
        )
    return WholeNetwork(target, getattr(target, "__name__", type(target).__name__))
