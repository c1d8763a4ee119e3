"""The observed order of a scheme: with which power of the step its error falls."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from bncheck.errors import InvalidInput
from bncheck.model import network
from bncheck.model.components import NETWORK
from bncheck.model.options import CheckOptions
from bncheck.model.problem import FloatArray, Problem
from bncheck.numerical.measure import evaluate_locally
from bncheck.numerical.plan import plan_measurement
from bncheck.sweeps.sweep import Grid
from bncheck.targets import BUILT_IN

# Truncation is seen at the largest steps.
MOST_STEPS = 10


def observed_orders(grid: Grid) -> dict[str, dict[str, float]]:
    """Return with which power of the step the error of bncheck's own network falls, by scheme and gradient.

    One problem is guarded for the largest step, so that every step differentiates the same loss.
    Read off where truncation is well above rounding, at the smallest such steps.
    """
    steps = sorted({s for s in grid.axes.get("step", ()) if not isinstance(s, str)}, reverse=True)[:MOST_STEPS]
    point = next(grid.points())
    if len(steps) < 2 or point.target not in BUILT_IN:
        return {}
    try:
        problem = point.draw()
    except InvalidInput:  # the rows of this point report why
        return {}
    orders = {}
    for scheme in dict.fromkeys(grid.axes.get("scheme", ("central",))):
        usable = [
            s
            for s in steps
            if plan_measurement(problem, NETWORK, CheckOptions(scheme, step=s), ()).kink_exclusion.dead_units == 0
        ]
        if len(usable) < 2:
            continue
        inputs = [name for name in NETWORK.inputs if f"d{name}" in grid.method.only]
        guarded = plan_measurement(problem, NETWORK, CheckOptions(scheme, step=usable[0]), ()).problem
        _, cache = network.forward(guarded.X, guarded.W, guarded.b, guarded.gamma, guarded.beta, guarded.bn_eps)
        truth = network.backward(guarded.dout, cache)
        errors = [_errors(guarded, CheckOptions(scheme, step=s), inputs, truth) for s in usable]
        found = {f"d{name}": _order(usable, [error[name] for error in errors]) for name in inputs}
        orders[scheme] = {name: order for name, order in found.items() if order is not None}
    return {scheme: found for scheme, found in orders.items() if found}


def _errors(
    problem: Problem, method: CheckOptions, inputs: Sequence[str], truth: Mapping[str, FloatArray]
) -> dict[str, tuple[float, float]]:
    """Return the norm of each gradient's error, and what of it rounding may make."""
    ground = plan_measurement(problem, NETWORK, method, inputs)
    values = evaluate_locally(ground)
    bars = ground.bounds
    return {
        name: (
            float(np.linalg.norm(values[name] - truth[f"d{name}"])),
            float(np.linalg.norm(np.broadcast_to(bars.rounding[name] + bars.conditioning[name], values[name].shape))),
        )
        for name in inputs
    }


def _order(steps: Sequence[float], errors: Sequence[tuple[float, float]]) -> float | None:
    above = [(s, e) for s, (e, rounding) in zip(steps, errors, strict=True) if e > rounding > 0]
    if len(above) < 2:
        return None
    (larger, more), (smaller, less) = above[-2:]
    return math.log(more / less) / math.log(larger / smaller)
