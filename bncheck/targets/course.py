"""Targets in the style of a course: a forward and a backward function for each layer."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from bncheck.errors import NotImplementedYet, TargetError
from bncheck.layers import Array
from bncheck.pieces import AFFINE, BATCHNORM, NETWORK, RELU, Piece
from bncheck.problem import Problem
from bncheck.results import Answer, FunctionNote, TargetInfo, Verdict
from bncheck.targets.calling import Caller, shapes, source_of

_BN = r"(?:batch_?norm(?:alization)?(?:_?1d)?|bn)"
_AFFINE = r"(?:affine|linear|fc|dense)"
# What the functions of each piece may be called, and their arguments in order; the network's
# composites last, for they follow from the layers.
STEMS = {AFFINE: _AFFINE, BATCHNORM: _BN, RELU: "relu", NETWORK: f"{_AFFINE}_?{_BN}_?relu"}
ARGUMENTS = {
    AFFINE: ("X", "W", "b"),
    BATCHNORM: ("h", "gamma", "beta"),
    RELU: ("y",),
    NETWORK: ("X", "W", "b", "gamma", "beta"),
}
FORWARD, BACKWARD = "forward|fwd|fprop", "backward|bwd|bprop|backprop"
# What the input of a layer is called there, whatever it is in the network.
LABELS = {"X": "dx", "h": "dx", "y": "dx", "W": "dw"}


def functions_of(namespace: Any, piece: Piece, direction: str) -> dict[tuple[str, str], str]:
    """Return the names of a piece's functions by stem and suffix: ("batchnorm", ""), ("bn", "_alt"), ...

    One with a suffix that cannot be called as such a function is something else, such as a test.
    """
    pattern = re.compile(rf"({STEMS[piece]})_?(?:{direction})(?:_pass)?(\d*|_\w+)", re.IGNORECASE)
    arguments = [None] * (2 if direction == BACKWARD else len(ARGUMENTS[piece]))
    found = {}
    for name in map(str, dir(namespace)):
        match = pattern.fullmatch(name)
        function = getattr(namespace, name, None) if match else None
        if match and callable(function) and (not match[2] or _takes(function, arguments)):
            found[match[1].lower(), match[2]] = name
    return found


def _takes(function: Callable[..., Any], arguments: list[None]) -> bool:
    try:
        inspect.signature(function).bind_partial(*arguments)
    except TypeError:
        return False
    except ValueError:  # it does not tell
        return True
    return True


class CourseFunctions(Caller):
    """A namespace of functions such as ``batchnorm_forward`` and ``batchnorm_backward``."""

    def __init__(self, namespace: Any, name: str) -> None:
        super().__init__()
        self._namespace = namespace
        self.info = TargetInfo(name, "course")
        self._pairs = {piece: list(self._paired(piece)) for piece in STEMS}
        self.pieces = tuple(piece for piece, pairs in self._pairs.items() if pairs)
        self.notes: tuple[FunctionNote, ...] = ()

    @classmethod
    def recognised(cls, namespace: Any) -> bool:
        """Tell whether there is a batch norm of this kind, or one half of it."""
        return any(functions_of(namespace, BATCHNORM, d) for d in (FORWARD, BACKWARD))

    def _paired(self, piece: Piece) -> Iterator[tuple[str, str]]:
        """Yield each backward function with its forward: of its own stem and suffix, or the nearest."""
        forwards = functions_of(self._namespace, piece, FORWARD)
        backwards = functions_of(self._namespace, piece, BACKWARD)
        for (stem, suffix), backward in sorted(backwards.items(), key=lambda item: item[0][1]):
            near = [(stem, suffix), (stem, ""), *((other, s) for s in (suffix, "") for other, _ in forwards)]
            forward = next((forwards[key] for key in near if key in forwards), None)
            if forward:
                yield forward, backward
            elif piece is BATCHNORM:
                raise TargetError(f"{backward} has no forward function beside it")
        if piece is BATCHNORM and not backwards:
            raise TargetError(f"{', '.join(forwards.values())} has no backward function beside it")

    def run(self, piece: Piece, problem: Problem) -> list[Answer]:
        """Run every backward function of a piece, each after its forward, on copies.

        What is optional (everything but the plain pair of batch norm) and is not written yet, or
        raises, becomes a note.

        Raises
        ------
        TargetError
            Batch norm's forward or backward gave no answer.
        """
        answers = []
        for forward, backward in self._pairs[piece]:
            required = piece is BATCHNORM and (forward, backward) == self._pairs[piece][0]
            try:
                answers.append(self._answer(piece, forward, backward, problem))
            except TargetError as error:
                if required:
                    raise
                verdict = None if isinstance(error, NotImplementedYet) else Verdict.FAIL
                name, _, text = str(error).partition(" ")
                note = FunctionNote(name, text, verdict, source_of(getattr(self._namespace, name, None)))
                self.notes += (note,) if note not in self.notes else ()
        return answers

    def _answer(self, piece: Piece, forward: str, backward: str, problem: Problem) -> Answer:
        arrays = piece.arrays(problem)
        inputs = ARGUMENTS[piece]
        out, cache = self._forward(forward, inputs, arrays, problem)
        labels = {name: LABELS.get(name, f"d{name}") for name in inputs}
        found = self.backward(backward, getattr(self._namespace, backward), labels, problem.dout, cache)
        expected = shapes(piece, problem)
        return Answer(
            piece=piece,
            forward_name=forward,
            backward_name=backward,
            output=self.settle(f"out of {forward}", out, problem.dout.shape),
            gradients={
                name: self.settle(f"{labels[name]} of {backward}", value, expected[name])
                for name, value in found.items()
            },
            labels=labels,
            forward=lambda moved: self.differentiable(
                forward, self._forward(forward, inputs, moved, problem)[0], problem.dout.shape
            ),
            forward_source=source_of(getattr(self._namespace, forward)),
            backward_source=source_of(getattr(self._namespace, backward)),
        )

    def _forward(
        self, name: str, inputs: tuple[str, ...], arrays: Mapping[str, Array], problem: Problem
    ) -> tuple[Any, Any]:
        function = getattr(self._namespace, name)
        given = [arrays[i] for i in inputs]
        if "gamma" not in inputs:
            return self.forward(name, function, *given)
        more, named = _parameters(function, len(inputs), problem)
        return self.forward(name, function, *given, *more, **named)


def _parameters(function: Callable[..., Any], given: int, problem: Problem) -> tuple[list[Any], dict[str, Any]]:
    """Return what a batch norm takes after gamma and beta, by position and by name, as its names tell.

    Course code takes a dict ("bn_param"); other code takes eps, a mode, momentum, running
    statistics, each by itself.
    """
    H, eps = problem.H, problem.bn_eps
    known: dict[str, Any] = {"mode": "train", "momentum": 0.9, "train": True, "training": True, "is_training": True}
    known |= {f"{kind}_{what}": value for kind in ("running", "moving") for what, value in _statistics(H)}
    everything = {**known, "eps": eps, "epsilon": eps, "bn_eps": eps}
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return [dict(everything)], {}
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for number, parameter in enumerate(parameters):
        name = parameter.name.lower()
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional.append(dict(everything))
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            named |= {} if positional else {"eps": eps}  # a wrapper's *args, **named: the dict is enough
            continue
        if number < given and parameter.kind is not parameter.KEYWORD_ONLY:
            continue
        if "eps" in name:
            value: Any = eps
        elif name in known or "train" in name:
            value = known.get(name, True)
        elif parameter.default is parameter.empty or "param" in name:
            value = dict(everything)
        else:
            value = parameter.default
        if parameter.kind is parameter.KEYWORD_ONLY:
            named[parameter.name] = value
        else:
            positional.append(value)
    return positional, named


def _statistics(H: int) -> list[tuple[str, Array]]:
    return [("mean", np.zeros(H)), ("var", np.ones(H))]
