"""Targets: the code under test, loaded, recognized by its interface, and called."""

import inspect
import sys
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from bncheck.errors import InvalidInput, TargetError
from bncheck.model import network
from bncheck.model.components import BATCHNORM, NETWORK
from bncheck.model.problem import Problem
from bncheck.model.results import TargetInfo
from bncheck.targets.calling import Target
from bncheck.targets.exceptions import format_exception
from bncheck.targets.layer_functions import LayerFunctions, component_of, implemented_components, unsupported_functions
from bncheck.targets.pairs import Pair

# The implementations in bncheck itself, by the name that the command line accepts.
BUILT_IN = ("reference", "staged")

INTERFACES = """
  batchnorm_forward(x, gamma, beta, bn_param) -> (out, cache)
  batchnorm_backward(dout, cache) -> (dx, dgamma, dbeta)
or
  forward(X, W, b, gamma, beta, bn_eps) -> (a, cache)
  backward(dout, cache) -> (dX, dW, db, dgamma, dbeta)"""
# Function names that are listed when none of them is known.
MAX_LISTED_FUNCTIONS = 8


class NetworkFunctions(Target):
    """An object with ``forward(X, W, b, gamma, beta, bn_eps)`` and ``backward(dout, cache)``."""

    pairs = (Pair(NETWORK, None, None, optional=False),)

    def __init__(self, implementation: Any, name: str) -> None:
        super().__init__(implementation, TargetInfo(name, "network"))
        self.not_checked = tuple(unsupported_functions(implementation))

    def labels(self, pair: Pair) -> dict[str, str]:
        """Return the names of the gradients: dX, dW, ..., dh."""
        return {name: f"d{name}" for name in pair.component.inputs}

    def more_arguments(self, _: Pair, problem: Problem) -> tuple[list[Any], dict[str, Any]]:
        """Return bn_eps, the sixth argument."""
        return [problem.bn_eps], {}


def resolve(target: Any, name: str | None = None) -> Target:
    """Return the target for the name of a built-in implementation, or for an object or mapping of functions.

    Raises
    ------
    InvalidInput
        The object has no known interface.
    TargetError
        Its attributes cannot be read, or its class cannot be instantiated.
    """
    if target == "staged" and name is None:
        from bncheck.model import graph  # noqa: PLC0415 - slow import (2 ms), only needed for this target

        return NetworkFunctions(graph, target)
    if target == "reference" and name is None:
        return NetworkFunctions(network, target)
    if isinstance(target, Mapping):
        target = SimpleNamespace(**{str(key): value for key, value in target.items()})
    name = name or str(getattr(target, "__name__", type(target).__name__))
    if inspect.isfunction(target) and component_of(target.__name__) is not None:
        return LayerFunctions(sys.modules[target.__module__], name, target.__name__)
    if isinstance(target, type) and not isinstance(target.__dict__.get("forward"), staticmethod):
        target = _instantiate(target)
    try:
        layers = implemented_components(target)
        is_network = callable(getattr(target, "forward", None)) and callable(getattr(target, "backward", None))
    except Exception as error:
        raise TargetError(format_exception(f"reading the attributes of {name}", error)) from error
    if BATCHNORM in layers or (layers and not is_network):
        return LayerFunctions(target, name)
    if is_network:
        return NetworkFunctions(target, name)
    raise InvalidInput(
        f"{name} defines no functions that bncheck can check{_list_functions(target)}. It looks for:{INTERFACES}"
    )


def _instantiate(cls: type) -> Any:
    """Return an instance of a class; the class itself if it cannot be instantiated but has static methods."""
    try:
        return cls()
    except (Exception, SystemExit) as error:
        if any(isinstance(value, staticmethod) for value in vars(cls).values()):
            return cls
        message, newline, frames = format_exception(f"{cls.__name__}()", error).partition("\n")
        raise TargetError(f"{message}; bncheck creates classes without arguments{newline}{frames}") from error


def _list_functions(namespace: Any) -> str:
    """Return the names of the functions of a namespace in parentheses, or an empty string."""
    public = (name for name in dir(namespace) if not name.startswith("_"))
    names = [name for name in public if inspect.isfunction(inspect.getattr_static(namespace, name, None))]
    more = f", and {len(names) - MAX_LISTED_FUNCTIONS} more" if len(names) > MAX_LISTED_FUNCTIONS else ""
    return f" (found: {', '.join(names[:MAX_LISTED_FUNCTIONS])}{more})" if names else ""
