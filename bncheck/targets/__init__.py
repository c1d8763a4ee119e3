"""What can be checked: a target answers a problem with its outputs and its gradients."""

from collections.abc import Callable, Mapping
from importlib import import_module
from types import SimpleNamespace
from typing import Any, Protocol

from bncheck.errors import InvalidInput, TargetError
from bncheck.pieces import Piece
from bncheck.problem import Problem
from bncheck.results import Answer, FunctionNote, Remark, TargetInfo
from bncheck.targets.calling import raised
from bncheck.targets.course import CourseFunctions
from bncheck.targets.whole_network import WholeNetwork

# The implementations that bncheck carries itself, by the name that ``run`` takes.
BUILT_IN = {"reference": "bncheck.network", "staged": "bncheck.targets.staged"}

INTERFACES = (
    "batchnorm_forward(x, gamma, beta, bn_param) -> (out, cache) and "
    "batchnorm_backward(dout, cache) -> (dx, dgamma, dbeta), or "
    "forward(X, W, b, gamma, beta, bn_eps) -> (a, cache) and "
    "backward(dout, cache) -> (dX, dW, db, dgamma, dbeta)"
)


def _instance(made: type, name: str) -> Any:
    """Return an instance; or the class itself if it only carries functions and cannot be made so."""
    try:
        return made()
    except (Exception, SystemExit) as error:
        functions = [v for v in vars(made).values() if callable(v) or isinstance(v, staticmethod)]
        if any(isinstance(v, staticmethod) for v in functions):
            return made
        raise TargetError(raised(f"making {name} without arguments", error)) from error


class Target(Protocol):
    """Code under test, whatever its interface."""

    info: TargetInfo
    pieces: tuple[Piece, ...]  # what it has functions for
    notes: tuple[FunctionNote, ...]  # functions that gave nothing to compare
    calling: Callable[[str], None]  # told the name of each function that is called
    interrupted: Callable[[], bool]  # whether a KeyboardInterrupt is Ctrl-C

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """What was worth a remark in the calls so far."""
        ...

    def run(self, piece: Piece, problem: Problem) -> list[Answer]:
        """Run its forward and backward functions of a piece on copies of the problem's arrays."""
        ...


def resolve(target: Any, name: str | None = None) -> Target:
    """Return the target that a built-in's name, or an object or mapping of functions, stands for.

    Raises
    ------
    InvalidInput
        The object carries no known interface.
    TargetError
        It carries half of one.
    """
    if isinstance(target, str) and name is None:
        return WholeNetwork(import_module(BUILT_IN[target]), target)
    if isinstance(target, Mapping):
        target = SimpleNamespace(**{str(key): value for key, value in target.items()})
    name = name or str(getattr(target, "__name__", type(target).__name__))
    if isinstance(target, type) and not isinstance(target.__dict__.get("forward"), staticmethod):
        target = _instance(target, name)
    try:
        course = CourseFunctions.recognised(target)
        missing = [half for half in ("forward", "backward") if not callable(getattr(target, half, None))]
    except Exception as error:
        raise TargetError(raised(f"looking into {name}", error)) from error
    if course:
        return CourseFunctions(target, name)
    if missing:
        raise InvalidInput(f"{name} has no functions that bncheck knows; it looks for {INTERFACES}")
    return WholeNetwork(target, name)
