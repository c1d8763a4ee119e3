"""What can be checked: a target answers a problem with its outputs and its gradients."""

import inspect
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import SimpleNamespace
from typing import Any, Protocol

from bncheck.errors import InvalidInput, TargetError
from bncheck.model.components import BATCHNORM
from bncheck.model.problem import Problem
from bncheck.model.results import NotChecked, Note, PairOutput, TargetInfo
from bncheck.targets.calling import Pair, format_exception
from bncheck.targets.layer_functions import LayerFunctions, piece_of
from bncheck.targets.usage import Usage
from bncheck.targets.whole_network import WholeNetwork

# The implementations that bncheck carries itself, by the name that ``run`` takes.
BUILT_IN = {"reference": "bncheck.model.network", "staged": "bncheck.model.graph"}

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
        raise TargetError(format_exception(f"making {name} without arguments", error)) from error


class Target(Protocol):
    """Code under test, whatever its interface."""

    info: TargetInfo
    pairs: tuple[Pair, ...]  # the functions that it has
    required: tuple[str, ...]  # functions that it does not have and a complete one would
    not_checked: tuple[NotChecked, ...]  # what it has and no check is known for
    calling: Callable[[str], None]  # told the name of each function that is called
    interrupted: Callable[[], bool]  # whether a KeyboardInterrupt is Ctrl-C

    @property
    def notes(self) -> tuple[Note, ...]:
        """What was worth a remark in the calls so far."""
        ...

    def label(self, name: str) -> str:
        """Return what it calls the gradient for an input."""
        ...

    def takes_features_first(self, pair: Pair) -> bool:
        """Tell whether a pair is right on arrays of shape (features, batch) instead."""
        ...

    def run(self, pair: Pair, problem: Problem, usage: Usage = Usage.ONCE) -> PairOutput:
        """Run a forward and a backward function on copies of the problem's arrays."""
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
    if inspect.isfunction(target) and piece_of(target.__name__) is not None:
        return LayerFunctions(sys.modules[target.__module__], name, target.__name__)
    if isinstance(target, type) and not isinstance(target.__dict__.get("forward"), staticmethod):
        target = _instance(target, name)
    try:
        batchnorm, course = LayerFunctions.is_supported(target, (BATCHNORM,)), LayerFunctions.is_supported(target)
        missing = [half for half in ("forward", "backward") if not callable(getattr(target, half, None))]
    except Exception as error:
        raise TargetError(format_exception(f"looking into {name}", error)) from error
    if batchnorm or (course and missing):
        return LayerFunctions(target, name)
    if missing:
        raise InvalidInput(f"{name} has no functions that bncheck knows; it looks for {INTERFACES}")
    return WholeNetwork(target, name)
