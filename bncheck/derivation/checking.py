"""The check of every equation, and of what flows back through the graph, by central differences.

One node is moved, entry by entry, and the nodes behind it are computed again; the mask stays that
of the base point, so that nothing crosses ReLU's kink. The truncation error is measured at twice
the step, the rounding bounded from the size of what is subtracted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bncheck.derivation.equations import Equation
from bncheck.errors import InvalidInput
from bncheck.model.graph import NODES, Values, backpropagate, run
from bncheck.model.layers import Array
from bncheck.model.problem import FloatArray, Problem
from bncheck.model.results import MAX_RESOLUTION, Verdict
from bncheck.numerical.basepoint import UNIT_ROUNDOFF

# Moves the node by this share of its scale: the cube root of the unit roundoff balances truncation and rounding.
RELATIVE_STEP = UNIT_ROUNDOFF ** (1 / 3)
# Roundings of an output, besides those of its sums.
OUTPUT_ROUNDINGS = 8.0
# Entries of a Jacobian that are computed and kept at most.
MAX_JACOBIAN_ENTRIES = 4_000_000
INPUTS = ("X", "W", "b", "gamma", "beta")


@dataclass(frozen=True, slots=True)
class DerivativeCheck:
    """A derivative by its formula beside the one by differences; arrays have the derivative's shape."""

    name: str
    analytic: FloatArray
    numerical: FloatArray
    error_bound: FloatArray  # of the numerical value
    tolerance: FloatArray  # that, and the rounding of the formula
    size: FloatArray  # of the terms of an entry before they cancel; 0 where the formula has none

    @property
    def entries(self) -> int:
        """How many entries were compared, zeros in other columns among them."""
        return self.analytic.size

    @property
    def wrong(self) -> int:
        """How many are further off than the tolerance, or not finite."""
        return int((~(np.abs(self.analytic - self.numerical) <= self.tolerance)).sum())

    @property
    def verdict(self) -> Verdict:
        """PASS if every entry agrees, and a term wrong by a thousandth of itself would not have."""
        if self.wrong:
            return Verdict.FAIL
        return Verdict.PASS if self.resolution <= MAX_RESOLUTION else Verdict.INCONCLUSIVE

    @property
    def resolution(self) -> float:
        """The smallest wrong share of a term that would have been seen everywhere."""
        live = self.size > 0
        return float((self.tolerance[live] / self.size[live]).max(initial=0.0))

    @property
    def max_difference(self) -> float:
        """The largest |analytic - numerical|."""
        return float(np.abs(self.analytic - self.numerical).max())

    @property
    def tolerance_ratio(self) -> float:
        """The largest |analytic - numerical| in terms of the tolerance."""
        off = np.abs(self.analytic - self.numerical)
        return float(np.divide(off, self.tolerance, out=np.where(off > 0, np.inf, 0.0), where=self.tolerance > 0).max())


def point_of(problem: Problem) -> Values:
    """Return the values at every node of the graph, dout among them.

    Raises
    ------
    InvalidInput
        The Jacobians would be too large.
    """
    if (problem.N * problem.H) ** 2 > MAX_JACOBIAN_ENTRIES:
        size = problem.N * problem.H
        raise InvalidInput(
            f"N = {problem.N} and H = {problem.H} make Jacobians of {size:,} by {size:,} entries; "
            f"take N times H up to {int(MAX_JACOBIAN_ENTRIES**0.5):,}"
        )
    given = {name: getattr(problem, name) for name in INPUTS}
    return run({**given, "eps": problem.bn_eps, "dout": problem.dout})


def check_equation(equation: Equation, values: Values) -> DerivativeCheck:
    """Hold an equation against differences, every entry, those in other columns among them."""
    analytic = np.asarray(equation.analytic(values), float)
    numerical, bar = derivative(values, equation.output, equation.input)
    if equation.output == "L":
        size = sizes(values)[equation.input]
    else:
        size = sum((np.abs(part.value(values)) for part in equation.parts), np.zeros(analytic.shape))
    return DerivativeCheck(equation.name, analytic, numerical, bar, bar + _rounding(values) * size, size)


def check_graph(values: Values) -> list[DerivativeCheck]:
    """Check what flows back into every node and input of the graph, the node nearest to the loss first."""
    back, size = backpropagate(values["dout"], values), sizes(values)
    checked = []
    for name in [node.name for node in reversed(NODES) if node.name != "a"] + list(INPUTS):
        numerical, bar = derivative(values, "L", name)
        tolerance = bar + _rounding(values) * size[name]
        checked.append(DerivativeCheck(name, np.asarray(back[name], float), numerical, bar, tolerance, size[name]))
    return checked


def sizes(values: Values) -> Mapping[str, FloatArray]:
    """Return for each node the size of the terms that flow back into it, before they cancel."""
    positive = {name: value if name in ("y", "dout") else np.abs(value) for name, value in values.items()}
    back: dict[str, Array] = {"a": np.abs(values["dout"])}
    for node in reversed(NODES):
        for name, edge in node.edges.items():
            back[name] = back.get(name, 0.0) + np.abs(edge.vjp(positive, back[node.name]))
    return back


def derivative(values: Values, output: str, moved: str) -> tuple[FloatArray, FloatArray]:
    """Return the derivative of an output for a node by central differences, and its error bar.

    Both are of the output's shape and then the node's; the loss has no shape.
    """
    node, read = np.asarray(values[moved], float), "y" if output == "L" else output
    weight = np.where(values["y"] > 0, values["dout"], 0.0)  # dL/dy, with the mask as it is
    steps, scale = np.broadcast_to(_step(values, moved), node.shape), _scale(values, read)
    found, bars = [], []
    for index in np.ndindex(node.shape):
        step = float(steps[index])
        once, twice = (_slope(values, moved, index, step * multiple, read) for multiple in (1, 2))
        touched = np.broadcast_to(scale * _reached(values, moved, index), once.shape)
        noise = (OUTPUT_ROUNDINGS + len(values["h"])) * UNIT_ROUNDOFF * touched / step
        if output == "L":
            once, twice, noise = (weight * once).sum(), (weight * twice).sum(), (np.abs(weight) * noise).sum()
        found.append(once)
        bars.append(2 * np.abs(once - twice) + noise)
    shape = () if output == "L" else np.shape(values[output])
    whole = (np.stack(entries, axis=-1).reshape(*shape, *node.shape) for entries in (found, bars))
    return next(whole), next(whole)


def _slope(values: Values, moved: str, index: tuple[int, ...], step: float, read: str) -> Array:
    """Return the central difference of an output, where one entry of a node is moved."""
    above, below = (_output(values, moved, index, offset, read) for offset in (step, -step))
    slope: Array = (above - below) / (2 * step)
    return slope


def _output(values: Values, moved: str, index: tuple[int, ...], offset: float, read: str) -> Array:
    """Return a node where one entry of a node is moved and the nodes behind it are computed again."""
    names = [node.name for node in NODES]
    kept = names[: names.index(moved)] if moved in names else []
    node = np.array(values[moved], float)
    node[index] += offset
    given: dict[str, Any] = {name: values[name] for name in (*INPUTS, "eps", *kept)}
    made = run({**given, moved: node})
    found: Array = made[read]
    return found


def _reached(values: Values, moved: str, index: tuple[int, ...]) -> Array:
    """Return 1 for the columns that a move reaches, and 0 for those that are computed as before."""
    columns = np.ones(len(values["b"]))
    if moved != "X":
        columns[:] = 0
        columns[index[-1]] = 1
    return columns


def _kappa(values: Values) -> FloatArray:
    """Return the cancellation in h - mu, per column."""
    magnitude = (np.abs(values["X"]) @ np.abs(values["W"])).max(axis=0) + np.abs(values["b"])
    found: FloatArray = magnitude / values["sigma"]
    return found


def _scale(values: Values, name: str) -> FloatArray:
    """Return the size of what a node is computed from, per column: its rounding is a share of that."""
    sigma, peak = values["sigma"], 1 + np.abs(values["xhat"]).max(axis=0)
    y = np.abs(values["gamma"]) * peak + np.abs(values["beta"])
    size: FloatArray = {"c": sigma, "var": sigma**2, "xhat": peak}.get(name, y) * (1 + _kappa(values))
    return size


def _step(values: Values, name: str) -> FloatArray:
    """Return steps that move a node by a share of its scale, so that what is behind bends little."""
    sigma, peak, tiny = values["sigma"], 1 + np.abs(values["xhat"]).max(axis=0), np.finfo(float).tiny
    scale = {
        "h": sigma, "mu": sigma, "c": sigma, "b": sigma, "square": sigma**2, "var": sigma**2, "sigma": sigma,
        "xhat": peak,
        "gamma": np.abs(values["gamma"]) + 1, "beta": np.abs(values["beta"]) + 1,
        "y": np.where(values["y"] != 0, np.abs(values["y"]) / 4 / RELATIVE_STEP, 1.0),
        "W": sigma / np.maximum(np.abs(values["X"]).max(axis=0), tiny)[:, None],
        "X": (sigma / np.maximum(np.abs(values["W"]), tiny)).min(axis=1),
    }[name]  # fmt: skip
    steps: FloatArray = np.asarray(RELATIVE_STEP * scale, float)
    return steps


def _rounding(values: Values) -> float:
    """Return the share of its terms that a formula may be rounded by."""
    return float(
        (OUTPUT_ROUNDINGS + 2 * len(values["h"]) + len(values["b"])) * UNIT_ROUNDOFF * (1 + _kappa(values).max())
    )
