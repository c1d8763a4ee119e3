"""Targets with the whole-network interface: one forward and one backward function."""

from collections.abc import Mapping
from typing import Any

from bncheck.errors import NotImplementedYet, TargetError
from bncheck.layers import Array
from bncheck.pieces import NETWORK, Piece
from bncheck.problem import Problem
from bncheck.results import Answer, FunctionNote, TargetInfo
from bncheck.targets.calling import Caller, shapes, source_of


class WholeNetwork(Caller):
    """An object with ``forward(X, W, b, gamma, beta, bn_eps)`` and ``backward(dout, cache)``."""

    pieces: tuple[Piece, ...] = (NETWORK,)
    notes: tuple[FunctionNote, ...] = ()

    def __init__(self, implementation: Any, name: str) -> None:
        super().__init__()
        self._implementation = implementation
        self.info = TargetInfo(name, "network")

    def run(self, piece: Piece, problem: Problem) -> list[Answer]:
        """Run forward and backward on copies of the problem's arrays.

        Raises
        ------
        TargetError
            A function raised, or did not return what the interface says.
        """
        arrays = {name: getattr(problem, name) for name in piece.inputs if name != "h"}
        a, cache = self._forward(arrays, problem.bn_eps)
        backward = self._implementation.backward
        labels = {name: f"d{name}" for name in piece.inputs}
        found = self.backward("backward", backward, labels, problem.dout, cache)
        expected = shapes(piece, problem)
        return [
            Answer(
                piece=piece,
                forward_name=None,
                backward_name=None,
                output=self.settle("a", a, problem.dout.shape),
                gradients={i: self.settle(labels[i], v, expected[i]) for i, v in found.items()},
                labels=labels,
                forward=lambda arrays: self.differentiable(
                    "forward", self._forward(arrays, problem.bn_eps)[0], problem.dout.shape
                ),
                forward_source=source_of(self._implementation.forward),
                backward_source=source_of(backward),
            )
        ]

    def _forward(self, arrays: Mapping[str, Array], bn_eps: float) -> tuple[Any, Any]:
        function = self._implementation.forward
        try:
            return self.forward("forward", function, *arrays.values(), bn_eps)
        except NotImplementedYet as error:  # the network has no optional piece
            raise TargetError(str(error)) from None
