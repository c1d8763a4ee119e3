"""The cross-check: random entries of the local engine, recomputed with full forward passes."""

from collections.abc import Mapping

import numpy as np

from bncheck.model.problem import FloatArray
from bncheck.model.progress import silent
from bncheck.model.results import CrossCheck
from bncheck.numerical.division import safe_divide
from bncheck.numerical.full import draw_entries, full_gradients, perturb_one_entry_per_column
from bncheck.numerical.plan import MeasurementPlan

# If a forward pass is expensive, fewer entries of X are recomputed: about this number of products, but at least
# this number of entries.
CROSS_CHECK_PRODUCTS, MIN_CROSS_CHECK_ENTRIES = 2**21, 8


def cross_check(
    plan: MeasurementPlan, values: Mapping[str, FloatArray], max_entries: int, rng: np.random.Generator
) -> CrossCheck:
    """Recompute random entries with full forward passes and compare them with the local values.

    At most ``max_entries`` entries of X are recomputed, each with its own passes; of the other arrays one entry in
    every column, in shared passes. Both engines evaluate the same quotients at the same steps, so they have the same
    truncation error and may differ by rounding, and each by the conditioning of its own base point.
    """
    p, bounds = plan.problem, plan.bounds
    forward = plan.component.forward(plan.bn_eps)
    rows = {name: rng.integers(len(value), size=p.H) for name, value in values.items() if name != "X"}
    gradients = perturb_one_entry_per_column(plan, forward, rows, base_output=plan.output)
    if "X" in values:
        count = min(max_entries, max(MIN_CROSS_CHECK_ENTRIES, CROSS_CHECK_PRODUCTS // (p.N * p.D * p.H)))
        entries = {"X": draw_entries(rng, values["X"].size, count)}
        gradient_of_x, interrupted = full_gradients(plan, forward, entries, silent, base_output=plan.output)
        if interrupted:  # a partial cross-check proves nothing
            raise KeyboardInterrupt
        gradients |= gradient_of_x
    differences, ratios = [np.zeros(0)], [np.zeros(0)]
    for name, gradient in gradients.items():
        bound = np.broadcast_to(bounds.rounding[name] + 2 * bounds.conditioning[name], gradient.value.shape)
        usable = gradient.evaluated & ~gradient.unresolved & np.isfinite(bound + bounds.truncation[name])
        difference = np.abs(gradient.value - values[name])[usable]
        differences.append(difference)
        ratios.append(safe_divide(difference, bound[usable]))
    difference, ratio = np.concatenate(differences), np.concatenate(ratios)
    return CrossCheck(len(ratio), float(difference.max(initial=0.0)), float(ratio.max(initial=0.0)))
