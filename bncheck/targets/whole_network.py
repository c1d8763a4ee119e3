"""Targets with the whole-network interface: one forward and one backward function."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bncheck.errors import TargetError
from bncheck.problem import Problem
from bncheck.results import GRADIENTS, Analytic, TargetInfo

# dh is inside the network; whoever does not return it is checked on the rest.
REQUIRED = tuple(name for name in GRADIENTS if name != "dh")


class WholeNetwork:
    """An object with ``forward(X, W, b, gamma, beta, bn_eps)`` and ``backward(dout, cache)``."""

    def __init__(self, implementation: Any, name: str) -> None:
        self._implementation = implementation
        self.info = TargetInfo(name, "network")

    def run(self, problem: Problem) -> Analytic:
        """Run forward and backward on copies of the problem's arrays.

        Raises
        ------
        TargetError
            A function raised, or did not return what the interface says.
        """
        arrays = (problem.X, problem.W, problem.b, problem.gamma, problem.beta)
        returned = self._call("forward", *(array.copy() for array in arrays), problem.bn_eps)
        if not (isinstance(returned, tuple) and len(returned) == 2):
            raise TargetError(
                f"forward of {self.info.name} returned {_told(returned)}; expected (a, cache)"
            )
        a, cache = returned
        gradients = self._call("backward", problem.dout.copy(), cache)
        if not isinstance(gradients, Mapping):
            raise TargetError(
                f"backward of {self.info.name} returned {_told(gradients)}; "
                f"expected a mapping with {', '.join(REQUIRED)}"
            )
        missing = [name for name in REQUIRED if name not in gradients]
        if missing:
            raise TargetError(
                f"backward of {self.info.name} returned no {' and no '.join(missing)}; "
                f"expected {', '.join(REQUIRED)}"
            )
        found = {name: np.asarray(gradients[name]) for name in GRADIENTS if name in gradients}
        return Analytic(np.asarray(a), found)

    def _call(self, name: str, *arguments: Any) -> Any:
        try:
            return getattr(self._implementation, name)(*arguments)
        except Exception as error:
            raise TargetError(
                f"{name} of {self.info.name} raised {type(error).__name__}: {error}"
            ) from error


def _told(value: Any) -> str:
    """Say what a value is, briefly: a tuple of 3, None, a dict."""
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"a {type(value).__name__}"
