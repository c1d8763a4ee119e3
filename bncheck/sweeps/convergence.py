"""The observed order of a scheme: the power of the step with which its error decreases."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from bncheck.errors import InvalidInput
from bncheck.model import network
from bncheck.model.components import NETWORK
from bncheck.model.options import CheckOptions
from bncheck.model.problem import Problem
from bncheck.numerical.measure import evaluate_locally
from bncheck.numerical.plan import plan_measurement
from bncheck.sweeps.grid import Grid
from bncheck.targets import BUILT_IN

# The largest steps are used: there truncation dominates.
MAX_STEPS = 10


def observed_orders(grid: Grid) -> dict[str, dict[str, float]]:
    """Measure the order of each scheme on the first problem of a grid, with bncheck's own network.

    The outputs that the largest step excludes are excluded for all steps, so that every step differentiates the same
    loss.

    Returns
    -------
    dict
        The orders by scheme and gradient; without the gradients for which truncation exceeds rounding at fewer than
        two steps. Empty if the grid has fewer than two steps, or its first target is not bncheck's own.
    """
    steps = sorted({s for s in grid.axes.get("step", ()) if not isinstance(s, str)}, reverse=True)[:MAX_STEPS]
    point = next(grid.points())
    if len(steps) < 2 or point.target not in BUILT_IN:
        return {}
    try:
        problem = point.draw()
    except InvalidInput:  # the rows of this point report the reason
        return {}
    inputs = [name for name in NETWORK.inputs if f"d{name}" in grid.options.only]
    schemes = dict.fromkeys(grid.axes.get("scheme", ("central",)))
    orders = {scheme: _orders_of_scheme(scheme, problem, steps, inputs) for scheme in schemes}
    return {scheme: by_gradient for scheme, by_gradient in orders.items() if by_gradient}


def _orders_of_scheme(scheme: str, problem: Problem, steps: Sequence[float], inputs: Sequence[str]) -> dict[str, float]:
    """Return the observed order by gradient, from the steps that leave no unit dead."""
    plans = ((step, plan_measurement(problem, NETWORK, CheckOptions(scheme, step=step), ())) for step in steps)
    usable = {step: plan.problem for step, plan in plans if plan.kink_exclusion.dead_units == 0}
    if len(usable) < 2:
        return {}
    shared = next(iter(usable.values()))  # the problem of the largest step
    _, cache = network.forward(shared.X, shared.W, shared.b, shared.gamma, shared.beta, shared.bn_eps)
    exact = network.backward(shared.dout, cache)
    # By gradient and step: the norm of the error, and the norm of the bound on its rounding.
    errors: dict[str, dict[float, tuple[float, float]]] = {name: {} for name in inputs}
    for step in usable:
        plan = plan_measurement(shared, NETWORK, CheckOptions(scheme, step=step), inputs)
        values, bounds = evaluate_locally(plan), plan.bounds
        for name in inputs:
            error = values[name] - exact[f"d{name}"]
            rounding = np.broadcast_to(bounds.rounding[name] + bounds.base_rounding[name], error.shape)
            errors[name][step] = float(np.linalg.norm(error)), float(np.linalg.norm(rounding))
    orders = {f"d{name}": _order(by_step) for name, by_step in errors.items()}
    return {name: order for name, order in orders.items() if order is not None}


def _order(errors: Mapping[float, tuple[float, float]]) -> float | None:
    """Return the slope between the two smallest steps at which the error exceeds the rounding bound."""
    points = [(step, error) for step, (error, rounding) in errors.items() if error > rounding > 0]
    if len(points) < 2:
        return None
    (large_step, large_error), (small_step, small_error) = points[-2:]
    return math.log(large_error / small_error) / math.log(large_step / small_step)
