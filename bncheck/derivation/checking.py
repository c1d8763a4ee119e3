"""Check every equation of the derivation, and the gradient of every node of the graph, by central differences.

One entry of a node is perturbed, and the nodes that depend on it are recomputed. The mask of ReLU is fixed, so that no
output crosses the kink. The truncation error is estimated from twice the step; the rounding error is bounded from the
size of the values that are subtracted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bncheck.derivation.equations import EQUATIONS, Equation
from bncheck.errors import InvalidInput, unknown_name
from bncheck.model.graph import NODES, Values, backpropagate, run
from bncheck.model.layers import Array
from bncheck.model.problem import FloatArray, Problem
from bncheck.model.results import MAX_RESOLUTION
from bncheck.model.verdict import Verdict
from bncheck.numerical.basepoint import UNIT_ROUNDOFF
from bncheck.numerical.black_box import black_box_jacobian
from bncheck.numerical.division import safe_divide
from bncheck.numerical.full import FiniteDifference
from bncheck.numerical.schemes import SCHEMES

# Step as a fraction of the scale of a node: the cube root of the roundoff unit balances truncation and rounding.
RELATIVE_STEP = UNIT_ROUNDOFF ** (1 / 3)
# Roundings of an output, in addition to those of its sums.
OUTPUT_ROUNDINGS = 8.0
# Largest number of entries of a Jacobian that is computed and stored (32 MB).
MAX_JACOBIAN_ENTRIES = 4_000_000
# The British spelling, by which the equation was named before.
ALIASES = {"centring": "centering"}
INPUTS = ("X", "W", "b", "gamma", "beta")


@dataclass(frozen=True, slots=True)
class DerivativeCheck:
    """An analytic and a numerical derivative; the arrays have the shape of the output and then that of the node."""

    name: str
    analytic: FloatArray
    numerical: FloatArray
    error_bound: FloatArray  # upper bound on |numerical - exact|, its truncation part estimated
    tolerance: FloatArray  # error bound plus the rounding of the formula
    term_size: FloatArray  # size of the terms of an entry before they cancel; 0 if the formula has no terms

    @property
    def entries(self) -> int:
        """Number of compared entries, including those that are 0 because they belong to another column."""
        return self.analytic.size

    @property
    def difference(self) -> FloatArray:
        """|analytic - numerical|; 0 where the numerical value is unresolved, so that its tolerance is infinite."""
        return np.where(np.isinf(self.tolerance), 0.0, np.abs(self.analytic - self.numerical))

    @property
    def wrong(self) -> int:
        """Number of entries that differ by more than the tolerance, or are not finite."""
        return int((~(self.difference <= self.tolerance)).sum())

    @property
    def verdict(self) -> Verdict:
        """PASS if every entry matches and the resolution is at most ``MAX_RESOLUTION``."""
        if self.wrong:
            return Verdict.FAIL
        return Verdict.PASS if self.resolution <= MAX_RESOLUTION else Verdict.INCONCLUSIVE

    @property
    def resolution(self) -> float:
        """Smallest relative error in a term that the check detects in every entry."""
        live = self.term_size > 0
        return float((self.tolerance[live] / self.term_size[live]).max(initial=0.0))

    @property
    def max_difference(self) -> float:
        """The largest |analytic - numerical|."""
        return float(self.difference.max())

    @property
    def tolerance_ratio(self) -> float:
        """The largest |analytic - numerical| divided by its tolerance."""
        return float(safe_divide(self.difference, self.tolerance).max())


@dataclass(frozen=True, slots=True)
class Derivation:
    """The checked equations and the checked graph."""

    problem: Problem
    values: Values  # of the forward and the backward pass, by name
    equations: Sequence[tuple[Equation, DerivativeCheck]]
    # The name of each node, in backward order; (a node that uses it, its local gradient there) for each of its uses;
    # and the check of its gradient. Empty if a single equation was requested.
    graph: Sequence[tuple[str, Sequence[tuple[str, str]], DerivativeCheck]]

    @property
    def checks(self) -> Sequence[DerivativeCheck]:
        """The checks of all equations and nodes."""
        return [*(check for _, check in self.equations), *(check for _, _, check in self.graph)]

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all equations and nodes."""
        return Verdict.worst(check.verdict for check in self.checks)


def derive(problem: Problem, name: str | None = None) -> Derivation:
    """Check the derivation at a problem: every equation and the graph, or one equation.

    Parameters
    ----------
    problem : Problem
        A small one: the Jacobian of an (N, H) array with respect to another has (N H)^2 entries.
    name : str, optional
        "relu", "scale", "centering", "var", "xhat", "dh", "dgamma", "dbeta", "dW", "db" or "dX", in upper or
        lower case.

    Returns
    -------
    Derivation

    Raises
    ------
    InvalidInput
        The equation is unknown, or the problem is too large.
    """
    values = compute_values(problem)
    if name is not None:
        key = ALIASES.get(name.lower(), name.lower())
        equations = [equation for equation in EQUATIONS if equation.name.lower() == key]
        if not equations:
            raise unknown_name("equation", name, [equation.name for equation in EQUATIONS])
        return Derivation(problem, values, [(equations[0], check_equation(equations[0], values))], [])
    graph = [
        (check.name, [(node.name, node.edges[check.name].local) for node in NODES if check.name in node.edges], check)
        for check in check_graph(values)
    ]
    return Derivation(problem, values, [(equation, check_equation(equation, values)) for equation in EQUATIONS], graph)


def compute_values(problem: Problem) -> Values:
    """Return the values at all nodes of the graph, and dout.

    Raises
    ------
    InvalidInput
        The Jacobians would be too large.
    """
    size = problem.N * problem.H
    if size**2 > MAX_JACOBIAN_ENTRIES:
        raise InvalidInput(
            f"N = {problem.N} and H = {problem.H} make Jacobians of {size:,} by {size:,} entries; "
            f"use N times H up to {int(MAX_JACOBIAN_ENTRIES**0.5):,}"
        )
    inputs = {name: getattr(problem, name) for name in INPUTS}
    return run({**inputs, "eps": problem.bn_eps, "dout": problem.dout})


def check_equation(equation: Equation, values: Values) -> DerivativeCheck:
    """Compare every entry of an equation with a central difference."""
    parts = [np.asarray(part.value(values), float) for part in equation.parts]
    term_size = term_sizes(values)[equation.input] if equation.output == "L" else sum(map(np.abs, parts), np.zeros(1))
    return _compare(equation.name, values, equation.output, equation.input, sum(parts, np.zeros(1)), term_size)


def check_graph(values: Values) -> list[DerivativeCheck]:
    """Check the gradient of every node and input of the graph, in backward order."""
    gradients, sizes = backpropagate(values["dout"], values), term_sizes(values)
    names = [node.name for node in reversed(NODES) if node.name != "a"] + list(INPUTS)
    return [_compare(name, values, "L", name, np.asarray(gradients[name], float), sizes[name]) for name in names]


def _compare(
    name: str, values: Values, output: str, node: str, analytic: FloatArray, term_size: FloatArray
) -> DerivativeCheck:
    numerical, error_bound = derivative(values, output, node)
    N, H = values["h"].shape
    formula_rounding = (OUTPUT_ROUNDINGS + 2 * N + H) * UNIT_ROUNDOFF * (1 + _kappa(values).max())  # relative to terms
    tolerance = error_bound + formula_rounding * term_size
    return DerivativeCheck(name, analytic, numerical, error_bound, tolerance, term_size)


def term_sizes(values: Values) -> Mapping[str, FloatArray]:
    """Return, for every node, the size of the terms of its gradient before they cancel."""
    positive = {name: value if name in ("y", "dout") else np.abs(value) for name, value in values.items()}
    sizes: dict[str, Array] = {"a": np.abs(values["dout"])}
    for node in reversed(NODES):
        for name, edge in node.edges.items():
            sizes[name] = sizes.get(name, 0.0) + np.abs(edge.vjp(positive, sizes[node.name]))
    return sizes


def derivative(values: Values, output: str, node: str) -> tuple[FloatArray, FloatArray]:
    """Differentiate a node, or the loss "L", with respect to another node by central differences.

    Returns
    -------
    value, error_bound : ndarray
        Of the shape of the output (empty for the loss), followed by that of the node.
    """
    is_loss = output == "L"
    output = "y" if is_loss else output  # with dL/dy as the weights, the mask of ReLU stays fixed
    array, base_output = np.asarray(values[node], float), np.asarray(values[output], float)
    weights = np.where(values["y"] > 0, values["dout"], 0.0) if is_loss else np.ones(base_output.shape)
    steps = np.broadcast_to(_steps(values, node), array.shape)
    names = [other.name for other in NODES]
    earlier = names[: names.index(node)] if node in names else []  # if an input is perturbed, no node is fixed
    fixed = {name: values[name] for name in (*INPUTS, "eps", *earlier)}

    def forward(arrays: Mapping[str, Array]) -> Array:
        recomputed: Array = run({**fixed, node: arrays[node].copy()})[output]  # the output may be the node itself
        return recomputed

    difference = FiniteDifference(
        forward, {node: array}, [node], weights, SCHEMES["central"],
        has_kink=False, base_output=base_output, axis=None if is_loss else (),
    )  # fmt: skip
    value, truncation = black_box_jacobian(difference, node, steps)
    rounding = _rounding_by_column(values, output, node, steps)
    if is_loss:
        return value[0], truncation[0] + np.tensordot(np.abs(weights).sum(axis=0), rounding, 1)
    return value, truncation + rounding


def _rounding_by_column(values: Values, output: str, node: str, steps: FloatArray) -> FloatArray:
    """Bound the rounding of the differences, per output column and entry of the node, (H, *node.shape).

    It is 0 in the columns that do not depend on the entry, because they are recomputed from the same numbers.
    """
    (N, H), ones = values["h"].shape, [1] * (steps.ndim - 1)
    scale = (OUTPUT_ROUNDINGS + N) * UNIT_ROUNDOFF * _output_scale(values, output)
    depends = 1.0 if node == "X" else np.eye(H).reshape(H, *ones, H)
    rounding: FloatArray = scale.reshape(H, *ones, 1) * depends / steps
    return rounding


def _kappa(values: Values) -> FloatArray:
    """Return the condition number of h - mu, (H,)."""
    magnitude = (np.abs(values["X"]) @ np.abs(values["W"])).max(axis=0) + np.abs(values["b"])
    kappa: FloatArray = magnitude / values["sigma"]
    return kappa


def _output_scale(values: Values, name: str) -> FloatArray:
    """Return the size of the values that a node is computed from, to which its rounding is proportional, (H,)."""
    sigma, peak = values["sigma"], 1 + np.abs(values["xhat"]).max(axis=0)
    y = np.abs(values["gamma"]) * peak + np.abs(values["beta"])
    scale: FloatArray = {"c": sigma, "var": sigma**2, "xhat": peak}.get(name, y) * (1 + _kappa(values))
    return scale


def _steps(values: Values, name: str) -> FloatArray:
    """Return steps that are a small fraction of the scale on which the later nodes vary."""
    sigma, peak, tiny = values["sigma"], 1 + np.abs(values["xhat"]).max(axis=0), np.finfo(float).tiny
    scale = {
        "h": sigma, "mu": sigma, "c": sigma, "b": sigma, "square": sigma**2, "var": sigma**2, "sigma": sigma,
        "xhat": peak,
        "gamma": np.abs(values["gamma"]) + 1, "beta": np.abs(values["beta"]) + 1,
        "y": np.where(values["y"] != 0, np.abs(values["y"]) / 4 / RELATIVE_STEP, 1.0),
        "W": sigma / np.maximum(np.abs(values["X"]).max(axis=0), tiny)[:, None],
        "X": (sigma / np.maximum(np.abs(values["W"]), tiny)).min(axis=1),
    }[name]  # fmt: skip
    return np.asarray(RELATIVE_STEP * scale, float)
