"""The full engine: one whole forward pass per perturbed entry, for any black-box forward."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from bncheck.model.components import BnEps, Component, Forward
from bncheck.model.layers import Array
from bncheck.model.problem import FloatArray, Problem
from bncheck.model.progress import Progress
from bncheck.numerical.schemes import Quotient, Scheme
from bncheck.numerical.steps import Steps

BoolArray: TypeAlias = npt.NDArray[np.bool_]
IndexArray: TypeAlias = npt.NDArray[np.intp]
# By name: where in an array, and to which columns of the output that belongs.
Moves: TypeAlias = Mapping[str, tuple[tuple[IndexArray, ...], IndexArray]]

# A step that the addition x + s changes by more than this share is lost.
MAX_STEP_ROUNDING = 1 / 8
# The one place of a single entry.
SINGLE_INDEX = np.zeros(1, np.intp)
# Arrays share the columns of a pass where each still has so many.
LEAST_SHARED = 8


class SampledGradient(NamedTuple):
    """What the full engine found of one gradient; arrays of the parameter's shape."""

    value: FloatArray  # NaN where it was not evaluated
    evaluated: BoolArray  # where it was
    unresolved: BoolArray  # the step was lost in the addition, or an output that counts crossed


def full_gradients(
    forward: Forward,
    piece: Component,
    problem: Problem,
    scheme: Scheme,
    steps: Steps,
    entries: Mapping[str, IndexArray],
    progress: Progress,
    *,
    base_output: FloatArray | None = None,
    bn_eps: BnEps | None = None,
) -> tuple[dict[str, SampledGradient], bool]:
    """Evaluate the listed entries (flat indices by parameter name) by whole forward passes.

    ``base_output`` is the output where nothing is moved, if it is known. ``bn_eps`` replaces the problem's in the
    inputs of the piece. Returns what was found, by parameter name, and whether Ctrl-C ended it early.
    """
    arrays = piece.arrays(
        problem, {*entries, *(other for name in entries for other in piece.inputs_when_perturbing(name))}, bn_eps
    )
    evaluated = {name: _nothing_yet(arrays[name]) for name in entries}
    done, total = 0, sum(map(len, entries.values()))
    try:
        for name, indices in entries.items():
            beside = {other: arrays[other] for other in piece.inputs_when_perturbing(name)}
            probe = _Perturbation(forward, beside, [name], problem.dout, scheme, piece.output == "a", base_output)
            step = np.broadcast_to(steps[name], arrays[name].shape)
            found = evaluated[name]
            for index in indices:
                where = np.unravel_index(np.array([index]), step.shape)
                value, unresolved = probe.derivative({name: (where, SINGLE_INDEX)}, step[where])
                found.value[where], found.unresolved[where] = value, unresolved
                found.evaluated[where] = True
                done += 1
                progress(done, total)
    except KeyboardInterrupt:
        return evaluated, True
    return evaluated, False


def perturb_one_entry_per_column(
    forward: Forward,
    piece: Component,
    problem: Problem,
    scheme: Scheme,
    steps: Steps,
    rows: Mapping[str, IndexArray],
    *,
    base_output: FloatArray | None = None,
    bn_eps: BnEps | None = None,
) -> dict[str, SampledGradient]:
    """Evaluate an entry in every column of the named arrays, at the given rows, many in the same forward passes.

    For arrays other than X: column j of the output depends on column j of them alone, so one pair
    of passes carries a perturbed entry for each column (Curtis, Powell & Reid 1974). Where there
    are columns enough the arrays of a network share them, each having every fourth, say.
    """
    arrays = piece.arrays(problem, bn_eps=bn_eps)
    evaluated = {name: _nothing_yet(arrays[name]) for name in rows}
    together = [name for name in rows if name != "h"]  # h is given instead of X, W and b
    shared = len(together) * LEAST_SHARED <= problem.H
    groups = [together] if shared and together else [[name] for name in together]
    for group in [*groups, *([["h"]] if "h" in rows else [])]:
        beside = {other: arrays[other] for other in piece.inputs_when_perturbing(group[0])}
        probe = _Perturbation(forward, beside, group, problem.dout, scheme, piece.output == "a", base_output, axis=0)
        columns = {name: np.arange(number, problem.H, len(group)) for number, name in enumerate(group)}
        moves = {
            name: ((rows[name][of_it], of_it) if arrays[name].ndim == 2 else (of_it,), of_it)
            for name, of_it in columns.items()
        }
        step = np.ones(problem.H)
        for name, (where, of_it) in moves.items():
            step[of_it] = np.broadcast_to(steps[name], arrays[name].shape)[where]
        value, unresolved = probe.derivative(moves, step)
        for name, (where, of_it) in moves.items():
            found = evaluated[name]
            found.value[where], found.unresolved[where], found.evaluated[where] = value[of_it], unresolved[of_it], True
    return evaluated


def _nothing_yet(array: FloatArray) -> SampledGradient:
    return SampledGradient(np.full(array.shape, np.nan), np.zeros(array.shape, bool), np.zeros(array.shape, bool))


class _Perturbation:
    """Moves an entry of an array, or one in each column, and contracts what the output does with dout.

    A move says by the array's name where its entries are, and to which columns they belong.
    """

    def __init__(
        self,
        forward: Forward,
        arrays: Mapping[str, FloatArray],
        names: Iterable[str],
        dout: FloatArray,
        scheme: Scheme,
        kinked: bool,
        base_output: Array | None,
        *,
        axis: int | None = None,  # that the outputs which an entry moves are summed over
    ) -> None:
        dtype = np.complex128 if scheme.quotient is Quotient.COMPLEX else np.float64
        self._arrays: dict[str, Array] = {**arrays, **{name: arrays[name].astype(dtype) for name in names}}
        self._forward, self._dout, self._scheme, self._axis = forward, dout, scheme, axis
        self._at_rest = forward(self._arrays) if base_output is None else base_output
        self._counts = (dout != 0) & kinked  # without ReLU an output may change its sign
        self._active = self._at_rest.real > 0
        self._unreliable: BoolArray = np.zeros(1, bool)

    def derivative(self, moves: Moves, step: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Return the scheme's estimate at the entries, and where it cannot be relied on."""
        self._unreliable = np.zeros(step.shape, bool)
        # A step may land where the variance is 0, or be lost in the addition; the bound is infinite there.
        with np.errstate(divide="ignore", invalid="ignore"):
            value = self._scheme.estimate(lambda m: self._slope(moves, m * step))
        return value, self._unreliable

    def _slope(self, moves: Moves, step: FloatArray) -> FloatArray:
        quotient = self._scheme.quotient
        if quotient is Quotient.COMPLEX:
            a, _ = self._output(moves, 1j * step)
            return self._contract(a.imag) / step
        above, x_above = self._output(moves, step)
        if quotient is Quotient.FORWARD:
            (below, x_below), nominal = (self._at_rest, self._perturbed_values(moves, step)), step
        else:
            (below, x_below), nominal = self._output(moves, -step), 2 * step
        # The step actually taken: x + s is rounded.
        taken = x_above - x_below
        self._unreliable |= ~(np.abs(taken - nominal) <= MAX_STEP_ROUNDING * nominal)
        return self._contract((above - below).real) / taken

    def _output(self, moves: Moves, offset: Array) -> tuple[Array, FloatArray]:
        """Return the output with the entries moved, and what they were moved to."""
        originals = {name: self._arrays[name][where] for name, (where, _) in moves.items()}
        try:
            for name, (where, columns) in moves.items():
                self._arrays[name][where] = originals[name] + offset[columns]
            a, x = self._forward(self._arrays), self._perturbed_values(moves, offset)
        finally:
            for name, (where, _) in moves.items():
                self._arrays[name][where] = originals[name]
        self._unreliable |= (((a.real > 0) != self._active) & self._counts).any(axis=self._axis)
        return a, x

    def _perturbed_values(self, moves: Moves, like: Array) -> FloatArray:
        x = np.zeros(like.shape)
        for name, (where, columns) in moves.items():
            x[columns] = self._arrays[name][where].real
        return x

    def _contract(self, change: FloatArray) -> FloatArray:
        # Outputs are subtracted before they meet dout: the rounding scales with what changed.
        contracted: FloatArray = (self._dout * change).sum(axis=self._axis)
        return contracted
