"""What the functions of a target are taken for, by their names and parameters."""

from collections.abc import Mapping
from typing import Any

from bncheck.errors import InvalidInput
from bncheck.model import network
from bncheck.model.components import BATCHNORM
from bncheck.targets.interface import Interface, NetworkFunctions
from bncheck.targets.layer_functions import (
    LAYER_FUNCTION,
    LayerFunctions,
    component_of,
    implemented_components,
    unsupported_functions,
)
from bncheck.targets.local import LocalTarget
from bncheck.targets.target import Target

INTERFACES = """
  batchnorm_forward(x, gamma, beta, bn_param) -> (out, cache)
  batchnorm_backward(dout, cache) -> (dx, dgamma, dbeta)
or
  forward(X, W, b, gamma, beta, bn_eps) -> (a, cache)
  backward(dout, cache) -> (dX, dW, db, dgamma, dbeta)"""
# Function names that are listed when none of them is known.
MAX_LISTED_FUNCTIONS = 8


def resolve(target: Any) -> Interface:
    """Return the interface of a built-in implementation, by name, or of an object or mapping of functions.

    Raises
    ------
    InvalidInput
        The object has no known interface.
    TargetError
        Its attributes cannot be read, or its class cannot be instantiated.
    """
    if target == "staged":
        from bncheck.model import graph  # noqa: PLC0415 - slow import (2 ms), only needed for this target

        return recognize(LocalTarget(graph, target), target)
    if target == "reference":
        return recognize(LocalTarget(network, target), target)
    named = target.get("__name__") if isinstance(target, Mapping) else getattr(target, "__name__", None)
    name = str(named or type(target).__name__)
    return recognize(LocalTarget(target, name), name)


def recognize(target: Target, name: str) -> Interface:
    """Return the interface of a target; ``name`` is that of the command line.

    Raises
    ------
    InvalidInput
        It has no known interface.
    TargetError
        Its attributes cannot be read.
    """
    known = [n for n in target.names if LAYER_FUNCTION.fullmatch(n) or n in ("forward", "backward")]
    functions = target.functions(known)
    if target.only and component_of(target.only) is not None:
        return LayerFunctions(target, functions, name, target.only)
    layers = implemented_components(functions)
    is_network = {"forward", "backward"} <= functions.keys()
    if target.only:
        layers, is_network = [], False
    if BATCHNORM in layers or (layers and not is_network):
        return LayerFunctions(target, functions, name)
    if is_network:
        return NetworkFunctions(target, functions, name, unsupported_functions(functions))
    raise InvalidInput(
        f"{name} defines no functions that bncheck can check{_list_functions(target)}. It looks for:{INTERFACES}"
    )


def _list_functions(target: Target) -> str:
    """Return the names of the functions of a target in parentheses, or an empty string."""
    public = [name for name in target.names if not name.startswith("_")]
    names = [name for name, function in target.functions(public).items() if function.is_routine and function.words]
    more = f", and {len(names) - MAX_LISTED_FUNCTIONS} more" if len(names) > MAX_LISTED_FUNCTIONS else ""
    return f" (found: {', '.join(names[:MAX_LISTED_FUNCTIONS])}{more})" if names else ""
