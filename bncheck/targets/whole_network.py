"""Targets with one forward and one backward function for the whole network."""

from collections.abc import Callable
from typing import Any

from bncheck.model.components import NETWORK
from bncheck.model.problem import Problem
from bncheck.model.results import NotChecked, TargetInfo
from bncheck.targets.calling import FunctionCaller
from bncheck.targets.layer_functions import unsupported_functions
from bncheck.targets.pairs import Pair


class WholeNetwork(FunctionCaller):
    """An object with ``forward(X, W, b, gamma, beta, bn_eps)`` and ``backward(dout, cache)``."""

    pairs: tuple[Pair, ...] = (Pair(NETWORK, None, None, optional=False),)
    required: tuple[str, ...] = ()

    def __init__(self, implementation: Any, name: str) -> None:
        super().__init__(implementation, TargetInfo(name, "network"))
        self.not_checked: tuple[NotChecked, ...] = tuple(unsupported_functions(implementation))

    def labels(self, pair: Pair) -> dict[str, str]:
        """Return the names of the gradients: dX, dW, ..., dh."""
        return {name: f"d{name}" for name in pair.component.inputs}

    def more_arguments(
        self,
        function: Callable[..., Any],  # noqa: ARG002 - the interface is fixed, so the signature is not inspected
        pair: Pair,  # noqa: ARG002 - a network has a single pair
        problem: Problem,
    ) -> tuple[list[Any], dict[str, Any]]:
        """Return bn_eps, the sixth argument."""
        return [problem.bn_eps], {}

    def takes_features_first(self, pair: Pair) -> bool:  # noqa: ARG002 - a network has a single pair
        """Return False: the arguments of a network have names, which fix their layout."""
        return False
