"""The full engine: one forward pass per perturbed entry, for any forward pass."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from bncheck.model.components import Forward
from bncheck.model.layers import Array
from bncheck.model.problem import FloatArray
from bncheck.model.progress import Progress, silent
from bncheck.model.results import BoolArray
from bncheck.numerical.plan import MeasurementPlan
from bncheck.numerical.schemes import Quotient, Scheme

IndexArray: TypeAlias = npt.NDArray[np.intp]
# Entries that are perturbed in the same pass: by array name, their index arrays, and where their results are stored.
Locations: TypeAlias = Mapping[str, tuple[tuple[IndexArray, ...], IndexArray]]

# Largest relative change of a step by the rounding of x + s; an entry with a larger change is unresolved.
MAX_STEP_ROUNDING = 1 / 8
# Where the result of a single entry is stored.
SINGLE_INDEX = np.zeros(1, np.intp)
# Several arrays are perturbed in the same pass if at least this number of columns remains for each.
MIN_COLUMNS_PER_ARRAY = 8


class SampledGradient(NamedTuple):
    """The evaluated entries of one numerical gradient; arrays have the shape of the parameter."""

    value: FloatArray  # NaN where it was not evaluated
    evaluated: BoolArray
    unresolved: BoolArray  # the step was lost in the addition x + s, or an output that counts crossed the kink

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> "SampledGradient":
        """Return a gradient without evaluated entries."""
        return cls(np.full(shape, np.nan), np.zeros(shape, bool), np.zeros(shape, bool))

    @classmethod
    def complete(cls, value: FloatArray) -> "SampledGradient":
        """Return a gradient in which every entry was evaluated and resolved."""
        return cls(value, np.ones(value.shape, bool), np.zeros(value.shape, bool))

    def store(self, entries: tuple[IndexArray, ...], value: FloatArray, unresolved: BoolArray) -> None:
        """Set the evaluated entries."""
        self.value[entries], self.unresolved[entries], self.evaluated[entries] = value, unresolved, True


def full_gradients(
    plan: MeasurementPlan,
    entries: Mapping[str, IndexArray],
    progress: Progress = silent,
    black_box_forward: Forward | None = None,
) -> tuple[dict[str, SampledGradient], bool]:
    """Differentiate a forward pass in the given entries, with full forward passes.

    Parameters
    ----------
    plan : MeasurementPlan
        Problem, scheme and steps.
    entries : mapping of str to ndarray of int
        Flat indices by parameter name.
    progress : callable, optional
        Called with the number of finished entries and the total.
    black_box_forward : callable, optional
        Maps the input arrays, by name, to the output (N, H). The default is the forward pass of the reference.

    Returns
    -------
    gradients : dict of str to SampledGradient
    interrupted : bool
        Whether Ctrl-C ended the computation early.
    """
    component = plan.component
    names = {*entries, *(other for name in entries for other in component.inputs_when_perturbing(name))}
    arrays = component.arrays(plan.problem, names, plan.bn_eps)
    gradients = {name: SampledGradient.empty(arrays[name].shape) for name in entries}
    forward = black_box_forward or component.forward(plan.bn_eps)
    finished, total = 0, sum(map(len, entries.values()))
    try:
        for name, indices in entries.items():
            inputs = {other: arrays[other] for other in component.inputs_when_perturbing(name)}
            perturbation = Perturbation(
                forward, inputs, [name], plan.problem.dout, plan.scheme,
                has_kink=component.output == "a", base_output=None if black_box_forward else plan.output,
            )  # fmt: skip
            step = np.broadcast_to(plan.steps[name], arrays[name].shape)
            for index in indices:
                entry = np.unravel_index(np.array([index]), step.shape)
                gradients[name].store(entry, *perturbation.derivative({name: (entry, SINGLE_INDEX)}, step[entry]))
                finished += 1
                progress(finished, total)
    except KeyboardInterrupt:
        return gradients, True
    return gradients, False


def perturb_one_entry_per_column(plan: MeasurementPlan, rows: Mapping[str, IndexArray]) -> dict[str, SampledGradient]:
    """Differentiate in one entry of every column of the named arrays, at the given rows, many in the same passes.

    X is excluded. Column j of the output depends only on column j of the other arrays, so that one pair of passes
    differentiates in an entry of each column (Curtis, Powell & Reid 1974). If there are enough columns, the arrays
    of a network share them: each is perturbed in, for example, every fourth column.
    """
    component, H, dout = plan.component, plan.problem.H, plan.problem.dout
    arrays = component.arrays(plan.problem, bn_eps=plan.bn_eps)
    gradients = {name: SampledGradient.empty(arrays[name].shape) for name in rows}
    for group in _share_columns(rows, H):
        locations = {}
        step = np.ones(H)
        for number, name in enumerate(group):
            columns = np.arange(number, H, len(group))
            entries = (rows[name][columns], columns) if arrays[name].ndim == 2 else (columns,)
            locations[name] = entries, columns
            step[columns] = np.broadcast_to(plan.steps[name], arrays[name].shape)[entries]
        inputs = {name: arrays[name] for name in component.inputs_when_perturbing(group[0])}
        perturbation = Perturbation(
            component.forward(plan.bn_eps), inputs, group, dout, plan.scheme,
            has_kink=component.output == "a", base_output=plan.output, axis=0,
        )  # fmt: skip
        value, unresolved = perturbation.derivative(locations, step)
        for name, (entries, columns) in locations.items():
            gradients[name].store(entries, value[columns], unresolved[columns])
    return gradients


def draw_entries(rng: np.random.Generator, size: int, count: int | None) -> IndexArray:
    """Return sorted flat indices: all of them, or ``count`` drawn without replacement."""
    if count is None or count >= size:
        return np.arange(size, dtype=np.intp)
    return np.sort(rng.choice(size, count, replace=False)).astype(np.intp)


def _share_columns(names: Iterable[str], H: int) -> list[list[str]]:
    """Group the arrays that are perturbed in the same passes; h is alone, because it replaces X, W and b."""
    parameters = [name for name in names if name != "h"]
    shared = len(parameters) * MIN_COLUMNS_PER_ARRAY <= H
    groups = [parameters] if shared and parameters else [[name] for name in parameters]
    return [*groups, *([["h"]] if "h" in names else [])]


class Perturbation:
    """Differentiate a forward pass by perturbing one entry of an input, or one entry of each column.

    Parameters
    ----------
    forward : callable
        Maps the input arrays, by name, to the output.
    arrays : mapping of str to ndarray
        All inputs.
    names : iterable of str
        Inputs that are perturbed; they are copied.
    weights : ndarray
        Of the shape of the output; the loss is sum(weights * output) along ``axis``.
    scheme : Scheme
    has_kink : bool
        Whether the derivative is unresolved if an output with a nonzero weight changes its sign.
    base_output : ndarray, optional
        The output without a perturbation; computed if it is not given.
    axis : int, tuple of int or None, default None
        The outputs are summed along this axis: None for all outputs, 0 for each column, () for no sum.
    """

    def __init__(
        self,
        forward: Forward,
        arrays: Mapping[str, FloatArray],
        names: Iterable[str],
        weights: FloatArray,
        scheme: Scheme,
        *,
        has_kink: bool,
        base_output: Array | None = None,
        axis: int | tuple[int, ...] | None = None,
    ) -> None:
        dtype = np.complex128 if scheme.quotient is Quotient.COMPLEX else np.float64
        self._arrays: dict[str, Array] = {**arrays, **{name: arrays[name].astype(dtype) for name in names}}
        self._forward, self._weights, self._scheme, self._axis = forward, weights, scheme, axis
        self._base_output = forward(self._arrays) if base_output is None else base_output
        self._counts = (weights != 0) & has_kink
        self._active = self._base_output.real > 0
        self._unresolved: BoolArray = np.zeros(1, bool)

    def derivative(self, locations: Locations, step: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Return the estimate of the scheme at the locations, and whether it is unresolved."""
        self._unresolved = np.zeros(step.shape, bool)
        x = np.zeros(step.shape)
        for name, (entries, positions) in locations.items():
            x[positions] = self._arrays[name][entries].real
        # A step may make the variance 0, or be lost in the addition; the error bound is then infinite.
        with np.errstate(divide="ignore", invalid="ignore"):
            value = self._scheme.estimate(lambda multiple: self._slope(locations, x, multiple * step))
        return value, self._unresolved

    def _slope(self, locations: Locations, x: FloatArray, step: FloatArray) -> FloatArray:
        """Return the quotient at a step from the unperturbed values x."""
        quotient = self._scheme.quotient
        if quotient is Quotient.COMPLEX:
            return self._loss(self._output(locations, x, x + 1j * step).imag) / step
        x_above = x + step
        above = self._output(locations, x, x_above)
        if quotient is Quotient.FORWARD:
            below, x_below, nominal = self._base_output, x, step
        else:
            x_below, nominal = x - step, 2 * step
            below = self._output(locations, x, x_below)
        # x + s is rounded, so the quotient is divided by the difference of the perturbed values.
        actual = x_above - x_below
        self._unresolved = self._unresolved | ~(np.abs(actual - nominal) <= MAX_STEP_ROUNDING * nominal)
        return self._loss((above - below).real) / actual

    def _output(self, locations: Locations, x: FloatArray, perturbed: Array) -> Array:
        """Return the output with the perturbed values in place of x."""
        try:
            self._set(locations, perturbed)
            output = self._forward(self._arrays)
        finally:
            self._set(locations, x)
        self._unresolved = self._unresolved | (((output.real > 0) != self._active) & self._counts).any(axis=self._axis)
        return output

    def _set(self, locations: Locations, values: Array) -> None:
        """Store values at the locations."""
        for name, (entries, positions) in locations.items():
            self._arrays[name][entries] = values[positions]

    def _loss(self, change: FloatArray) -> FloatArray:
        """Return the change of the loss for a change of the output."""
        # Outputs are subtracted before they are weighted, so that the rounding scales with their change.
        loss: FloatArray = (self._weights * change).sum(axis=self._axis)
        return loss
