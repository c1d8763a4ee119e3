"""The full engine: one whole forward pass per perturbed entry, for any black-box forward."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from bncheck.layers import Array
from bncheck.numerical.schemes import Quotient, Scheme
from bncheck.numerical.steps import Steps
from bncheck.pieces import Forward, Piece
from bncheck.problem import FloatArray, Problem
from bncheck.progress import Progress

BoolArray: TypeAlias = npt.NDArray[np.bool_]

# A step that the addition x + s changes by more than this share is lost.
LOST_SHARE = 1 / 8


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What the full engine found of one gradient; arrays of the parameter's shape."""

    value: FloatArray  # NaN where it was not evaluated
    done: BoolArray  # where it was
    unresolved: BoolArray  # the step was lost in the addition, or an output that counts crossed


def full_gradients(
    forward: Forward,
    piece: Piece,
    problem: Problem,
    scheme: Scheme,
    steps: Steps,
    entries: Mapping[str, npt.NDArray[np.intp]],
    progress: Progress,
) -> tuple[dict[str, Evaluated], bool]:
    """Evaluate the listed entries (flat indices by parameter name) by whole forward passes.

    Returns what was found, by parameter name, and whether Ctrl-C ended it early.
    """
    arrays = piece.arrays(problem)
    evaluated = {name: _nothing_yet(arrays[name]) for name in entries}
    done, total = 0, sum(map(len, entries.values()))
    try:
        for name, indices in entries.items():
            beside = {other: arrays[other] for other in piece.beside(name)}
            probe = _Probe(forward, beside, name, problem.dout, scheme, piece.output == "a")
            step = np.broadcast_to(steps[name], arrays[name].shape)
            found = evaluated[name]
            for index in indices:
                where = np.unravel_index(index, step.shape)
                value, resolved = probe.derivative(where, float(step[where]))
                found.value[where], found.unresolved[where] = value, not resolved
                found.done[where] = True
                done += 1
                progress(done, total)
    except KeyboardInterrupt:
        return evaluated, True
    return evaluated, False


def _nothing_yet(array: FloatArray) -> Evaluated:
    return Evaluated(np.full(array.shape, np.nan), np.zeros(array.shape, bool), np.zeros(array.shape, bool))


class _Probe:
    """Moves one entry of one array and contracts what the output does with dout."""

    def __init__(
        self,
        forward: Forward,
        arrays: Mapping[str, FloatArray],
        name: str,
        dout: FloatArray,
        scheme: Scheme,
        kinked: bool,
    ) -> None:
        dtype = np.complex128 if scheme.quotient is Quotient.COMPLEX else np.float64
        self._moved = arrays[name].astype(dtype)
        self._arrays: dict[str, Array] = {**arrays, name: self._moved}
        self._forward, self._dout, self._scheme = forward, dout, scheme
        self._at_rest = forward(self._arrays)
        self._counts = (dout != 0) & kinked  # without ReLU an output may change its sign
        self._active = self._at_rest.real > 0
        self._crossed = self._lost = False

    def derivative(self, where: tuple[np.intp, ...], step: float) -> tuple[float, bool]:
        """Return the scheme's estimate at one entry, and whether it can be relied on."""
        self._crossed = self._lost = False
        value = self._scheme.estimate(lambda m: self._slope(where, m * step))
        return value, not (self._crossed or self._lost)

    def _slope(self, where: tuple[np.intp, ...], step: float) -> float:
        quotient = self._scheme.quotient
        if quotient is Quotient.COMPLEX:
            a, _ = self._output(where, 1j * step)
            return self._contract(a.imag) / step
        above, x_above = self._output(where, step)
        if quotient is Quotient.FORWARD:
            below, x_below, nominal = self._at_rest, float(self._moved[where].real), step
        else:
            (below, x_below), nominal = self._output(where, -step), 2 * step
        # The step actually taken: x + s is rounded.
        taken = x_above - x_below
        self._lost |= not abs(taken - nominal) <= LOST_SHARE * nominal
        change = self._contract((above - below).real)
        return change / taken if taken else math.nan

    def _output(self, where: tuple[np.intp, ...], offset: complex) -> tuple[Array, float]:
        original = self._moved[where]
        try:
            self._moved[where] = original + offset
            a, x = self._forward(self._arrays), float(self._moved[where].real)
        finally:
            self._moved[where] = original
        self._crossed |= bool((((a.real > 0) != self._active) & self._counts).any())
        return a, x

    def _contract(self, change: FloatArray) -> float:
        # Outputs are subtracted before they meet dout: the rounding scales with what changed.
        return float((self._dout * change).sum())
