"""Targets with the whole-network interface: one forward and one backward function."""

from collections.abc import Mapping
from typing import Any

from bncheck.model.components import NETWORK
from bncheck.model.layers import Array
from bncheck.model.problem import Problem
from bncheck.model.results import NotChecked, TargetInfo
from bncheck.targets.calling import FunctionCaller, Functions, Pair
from bncheck.targets.layer_functions import other_functions


class WholeNetwork(FunctionCaller):
    """An object with ``forward(X, W, b, gamma, beta, bn_eps)`` and ``backward(dout, cache)``."""

    pairs: tuple[Pair, ...] = (Pair(NETWORK, None, None, optional=False),)
    required: tuple[str, ...] = ()

    def __init__(self, implementation: Any, name: str) -> None:
        super().__init__()
        self._implementation = implementation
        self.info = TargetInfo(name, "network")
        self.not_checked: tuple[NotChecked, ...] = tuple(other_functions(implementation))

    def label(self, name: str) -> str:
        """Return what the network calls the gradient for an input: "dX"."""
        return f"d{name}"

    def takes_features_first(self, pair: Pair) -> bool:  # noqa: ARG002 - the signature of a target
        """Return False: a network's arrays have their names, and so their layout."""
        return False

    def functions(self, pair: Pair) -> Functions:
        """Return forward and backward as they are called."""
        function = self._implementation.forward

        def forward(arrays: Mapping[str, Array], problem: Problem) -> tuple[Any, Any]:
            given = [arrays[name] for name in NETWORK.inputs if name != "h"]
            return self.forward("forward", function, *given, problem.bn_eps)

        labels = {name: self.label(name) for name in NETWORK.inputs}
        return Functions(pair, labels, function, forward, self._implementation.backward)
