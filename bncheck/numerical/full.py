"""The full engine: one forward pass per perturbed entry, for any forward pass."""

from collections.abc import Callable, Iterable, Iterator, Mapping
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
# Maps the name of an input, flat indices and values to the outputs (N, H) of a custom forward pass: in each output one
# entry of that input has the value.
PerturbedForward: TypeAlias = Callable[[str, IndexArray, FloatArray], Iterator[FloatArray]]

# Largest relative change of a step by the rounding of x + s; an entry with a larger change is unresolved.
MAX_STEP_ROUNDING = 1 / 8
# Several inputs are perturbed in the same pass if at least this number of columns remains for each.
MIN_COLUMNS_PER_INPUT = 8


class Location(NamedTuple):
    """The entries of one input that are perturbed in the same pass."""

    indices: tuple[IndexArray, ...]  # index arrays, one for each dimension of the input
    result_positions: IndexArray = np.zeros(1, np.intp)  # position of the result of each entry; one entry: 0


class SampledGradient(NamedTuple):
    """The evaluated entries of one numerical gradient; arrays have the shape of the input."""

    value: FloatArray  # NaN where it was not evaluated
    evaluated: BoolArray
    unresolved: BoolArray  # the step was lost in the addition x + s, or an output with nonzero dout crossed the kink

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> "SampledGradient":
        """Return a gradient without evaluated entries."""
        return cls(np.full(shape, np.nan), np.zeros(shape, bool), np.zeros(shape, bool))

    @classmethod
    def complete(cls, value: FloatArray) -> "SampledGradient":
        """Return a gradient in which every entry was evaluated and resolved."""
        return cls(value, np.ones(value.shape, bool), np.zeros(value.shape, bool))

    def store(self, indices: tuple[IndexArray, ...], value: FloatArray, unresolved: BoolArray) -> None:
        """Set the evaluated entries."""
        self.value[indices], self.unresolved[indices], self.evaluated[indices] = value, unresolved, True


def full_gradients(
    plan: MeasurementPlan,
    flat_indices: Mapping[str, IndexArray],
    progress: Progress = silent,
    black_box_forward: PerturbedForward | None = None,
) -> tuple[dict[str, SampledGradient], bool]:
    """Differentiate a forward pass in the given entries, with full forward passes.

    Parameters
    ----------
    plan : MeasurementPlan
        Problem, scheme and steps.
    flat_indices : mapping of str to ndarray of int
        Flat indices of the entries to differentiate in, by input name.
    progress : callable, optional
        Called with the number of finished entries and the total.
    black_box_forward : callable, optional
        A forward pass to differentiate instead of the reference's.

    Returns
    -------
    gradients : dict of str to SampledGradient
    interrupted : bool
        Whether Ctrl-C ended the computation early.
    """
    component = plan.component
    names = {*flat_indices, *(other for name in flat_indices for other in component.inputs_when_perturbing(name))}
    arrays = component.arrays(plan.problem, names, plan.bn_eps)
    gradients = {name: SampledGradient.empty(arrays[name].shape) for name in flat_indices}
    finished, total = 0, sum(map(len, flat_indices.values()))
    try:
        for name, indices_of_input in flat_indices.items():
            inputs = {other: arrays[other] for other in component.inputs_when_perturbing(name)}
            step = np.broadcast_to(plan.steps[name], arrays[name].shape)
            forward = component.forward(plan.bn_eps)
            if black_box_forward:
                values = _perturbed_values(inputs[name], step, indices_of_input, plan.scheme)
                forward = _replay(black_box_forward(name, *values))
            difference = FiniteDifference(
                forward, inputs, [name], plan.problem.dout, plan.scheme,
                has_kink=component.output == "a", base_output=None if black_box_forward else plan.output,
            )  # fmt: skip
            for flat_index in indices_of_input:
                indices = np.unravel_index(np.array([flat_index]), step.shape)
                gradients[name].store(indices, *difference.derivative({name: Location(indices)}, step[indices]))
                finished += 1
                progress(finished, total)
    except KeyboardInterrupt:
        return gradients, True
    return gradients, False


def _perturbed_values(
    array: FloatArray, step: FloatArray, flat_indices: IndexArray, scheme: Scheme
) -> tuple[IndexArray, FloatArray]:
    """Return the entries and values of all passes of ``FiniteDifference``, in its order: first one without a change."""
    x, s = array.ravel()[flat_indices], step.ravel()[flat_indices]
    signs = (1.0,) if scheme.quotient is Quotient.FORWARD else (1.0, -1.0)
    values = np.stack([x + sign * (multiple * s) for multiple in scheme.multiples for sign in signs], axis=1)
    indices = np.repeat(flat_indices, values.shape[1])
    return np.insert(indices, 0, 0), np.insert(values.ravel(), 0, array.flat[0])


def _replay(outputs: Iterator[FloatArray]) -> Forward:
    """Return a forward pass whose outputs are known in the order of its calls."""
    return lambda _: next(outputs)


def perturb_one_entry_per_column(plan: MeasurementPlan, rows: Mapping[str, IndexArray]) -> dict[str, SampledGradient]:
    """Differentiate in one entry per column of every named input except X, in shared passes.

    Column j of the output depends only on column j of these inputs, so that the passes of one entry differentiate in
    an entry of each column (Curtis, Powell & Reid 1974). ``rows`` has the row of the entry in each column, (H,); it is
    ignored for vectors. If there are enough columns, the inputs share the columns: each of k inputs is perturbed only
    in every k-th column.
    """
    component, H, dout = plan.component, plan.problem.H, plan.problem.dout
    arrays = component.arrays(plan.problem, bn_eps=plan.bn_eps)
    gradients = {name: SampledGradient.empty(arrays[name].shape) for name in rows}
    for group in _share_columns(rows, H):
        locations, step = {}, np.ones(H)
        for number, name in enumerate(group):
            columns = np.arange(number, H, len(group))
            indices = (rows[name][columns], columns)[-arrays[name].ndim :]  # a vector has no rows
            locations[name] = Location(indices, columns)
            step[columns] = np.broadcast_to(plan.steps[name], arrays[name].shape)[indices]
        inputs = {name: arrays[name] for name in component.inputs_when_perturbing(group[0])}
        difference = FiniteDifference(
            component.forward(plan.bn_eps), inputs, group, dout, plan.scheme,
            has_kink=component.output == "a", base_output=plan.output, axis=0,
        )  # fmt: skip
        value, unresolved = difference.derivative(locations, step)
        for name, (indices, columns) in locations.items():
            gradients[name].store(indices, value[columns], unresolved[columns])
    return gradients


def draw_entries(rng: np.random.Generator, size: int, count: int | None) -> IndexArray:
    """Return sorted flat indices: all of them, or ``count`` drawn without replacement."""
    if count is None or count >= size:
        return np.arange(size, dtype=np.intp)
    return np.sort(rng.choice(size, count, replace=False)).astype(np.intp)


def _share_columns(names: Iterable[str], H: int) -> list[list[str]]:
    """Group the inputs that are perturbed in the same passes, which therefore need the same input arrays.

    If h is perturbed, the forward pass starts at h instead of X, W and b, so h has its own passes.
    """
    others = [name for name in names if name != "h"]
    is_shared = len(others) * MIN_COLUMNS_PER_INPUT <= H
    groups = [others] if is_shared and others else [[name] for name in others]
    return [*groups, *([["h"]] if "h" in names else [])]


class FiniteDifference:
    """Differentiate a forward pass by perturbing one entry of an input, or one entry of each column.

    Parameters
    ----------
    forward : callable
        Maps the input arrays, by name, to the output.
    arrays : mapping of str to ndarray
        All inputs.
    names : iterable of str
        Inputs that are perturbed; they are copied.
    dout : ndarray
        Upstream gradient, of the shape of the output; the loss is sum(dout * output) along ``axis``.
    scheme : Scheme
    has_kink : bool
        Whether the derivative is unresolved if an output with nonzero dout changes its sign.
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
        dout: FloatArray,
        scheme: Scheme,
        *,
        has_kink: bool,
        base_output: Array | None = None,
        axis: int | tuple[int, ...] | None = None,
    ) -> None:
        dtype = np.complex128 if scheme.quotient is Quotient.COMPLEX else np.float64
        self._arrays: dict[str, Array] = {**arrays, **{name: arrays[name].astype(dtype) for name in names}}
        self._forward, self._dout, self._scheme, self._axis = forward, dout, scheme, axis
        self._base_output = forward(self._arrays) if base_output is None else base_output
        self._in_loss = (dout != 0) & has_kink  # outputs that must not cross the kink
        self._active = self._base_output.real > 0
        self._unresolved: BoolArray = np.zeros(1, bool)

    def derivative(self, locations: Mapping[str, Location], step: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Return the estimate of the scheme at the locations, and whether it is unresolved."""
        self._unresolved = np.zeros(step.shape, bool)
        x = np.zeros(step.shape)
        for name, (indices, positions) in locations.items():
            x[positions] = self._arrays[name][indices].real
        # A step may make the variance 0, or be lost in the addition; the error bound is then infinite.
        with np.errstate(divide="ignore", invalid="ignore"):
            value = self._scheme.estimate(lambda multiple: self._slope(locations, x, multiple * step))
        return value, self._unresolved

    def _slope(self, locations: Mapping[str, Location], x: FloatArray, step: FloatArray) -> FloatArray:
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

    def _output(self, locations: Mapping[str, Location], x: FloatArray, perturbed: Array) -> Array:
        """Return the output with the perturbed values in place of x."""
        try:
            self._set(locations, perturbed)
            output = self._forward(self._arrays)
        finally:
            self._set(locations, x)
        self._unresolved = self._unresolved | (((output.real > 0) != self._active) & self._in_loss).any(axis=self._axis)
        return output

    def _set(self, locations: Mapping[str, Location], values: Array) -> None:
        """Store values at the locations."""
        for name, (indices, positions) in locations.items():
            self._arrays[name][indices] = values[positions]

    def _loss(self, change: FloatArray) -> FloatArray:
        """Return the change of the loss for a change of the output."""
        # Outputs are subtracted before they are multiplied by dout, so that the rounding scales with their change.
        loss: FloatArray = (self._dout * change).sum(axis=self._axis)
        return loss
