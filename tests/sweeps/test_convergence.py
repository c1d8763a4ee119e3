"""The observed order of a scheme."""

import math
from typing import Any

import numpy as np
import pytest

from bncheck import random_problem
from bncheck.model.components import NETWORK
from bncheck.model.options import CheckOptions
from bncheck.numerical.plan import plan_measurement
from bncheck.sweeps.convergence import _order, observed_orders
from bncheck.sweeps.grid import Grid
from tests.oracles import exact_gradients, loop_component
from tests.sweep_helpers import OPTIONS, invoke


def test_the_observed_orders_are_those_of_theory() -> None:
    steps = tuple(10.0 ** (-i / 4) for i in range(5, 15))
    orders = observed_orders(Grid({"step": steps, "scheme": ("forward", "central", "five-point")}, CheckOptions()))
    for scheme, order in (("forward", 1), ("central", 2), ("five-point", 4)):
        assert set(orders[scheme]) >= {"dW", "dh"}
        for observed in orders[scheme].values():
            assert observed == pytest.approx(order, abs=0.02)
    text = invoke("sweep", "--N", "32", "--D", "20", "--H", "10", "--step", "1e-1..1e-8").stdout
    assert "observed order   central: dX 2.00, dW 2.00" in text


@pytest.mark.parametrize(
    ("errors", "order"),
    [
        # From the third step on, the rounding error exceeds the truncation error.
        ({1e-1: (8e-2, 1e-9), 1e-2: (1e-4, 1e-8), 1e-3: (1e-6, 1e-7), 1e-4: (9e-7, 1e-6), 1e-5: (8e-6, 1e-5)}, 2.0),
        # The order is 3 between the largest steps, 1 between the smallest, and 2 between those that decide.
        ({1e-1: (1e-1, 1e-9), 1e-2: (1e-4, 1e-8), 1e-3: (1e-6, 1e-7), 1e-4: (1e-7, 1e-6)}, 2.0),
        ({1e-1: (1e-2, 1e-9), 1e-3: (1e-8, 1e-9)}, 3.0),
        ({1e-1: (1e-2, 1e-9), 1e-2: (1e-9, 1e-8)}, None),
        ({1e-1: (1e-2, 0.0), 1e-2: (1e-4, 0.0)}, None),
    ],
)
def test_the_order_is_the_slope_at_the_two_smallest_steps_at_which_truncation_exceeds_rounding(
    errors: dict[float, tuple[float, float]], order: float | None
) -> None:
    observed = _order(errors)
    assert observed == (order if order is None else pytest.approx(order, rel=1e-12))


@pytest.mark.parametrize(("shape", "seed", "largest"), [((12, 4, 3), 0, 0.1), ((24, 4, 3), 1, 0.05)])
def test_observed_orders_use_one_loss_that_excludes_the_outputs_of_the_largest_usable_step(
    shape: tuple[int, int, int], seed: int, largest: float
) -> None:
    """The oracle: central differences of a plain loop, compared with 50 digits, at the two steps that decide."""
    # At 0.1 the second problem has a dead unit; at 1e-8 and 1e-9 rounding dominates.
    steps = (0.1, 0.05, 0.03, 0.01, 1e-8, 1e-9)
    axes: dict[str, tuple[Any, ...]] = {**{n: (v,) for n, v in zip("NDH", shape, strict=True)}, "seed": (seed,)}
    problem = random_problem(*shape, seed=seed)
    excluded = {s: plan_measurement(problem, NETWORK, CheckOptions(step=s), ()).problem.dout == 0 for s in steps}
    assert excluded[largest].sum() > excluded[0.03].sum()
    dout = np.where(excluded[largest], 0.0, problem.dout)
    values = {name: getattr(problem, name).copy() for name in ("X", "W", "b", "gamma", "beta")}
    exact = exact_gradients("network", values, dout, problem.bn_eps)

    def error(name: str, step: float) -> float:
        numerical = np.zeros_like(values[name])
        for index in np.ndindex(numerical.shape):
            losses = []
            for change in (step, -step):
                perturbed = {**values, name: values[name].copy()}
                perturbed[name][index] += change
                output = np.array(loop_component("network", perturbed, problem.bn_eps, math.sqrt))
                losses.append(float(np.sum(dout * output)))
            numerical[index] = (losses[0] - losses[1]) / (2 * step)
        return float(np.linalg.norm(numerical - exact[name]))

    orders = observed_orders(Grid({**axes, "step": steps}, CheckOptions()))["central"]
    assert set(orders) == {"dX", "dW", "dh"}
    for name in ("X", "W"):
        expected = math.log(error(name, 0.03) / error(name, 0.01)) / math.log(0.03 / 0.01)
        assert orders[f"d{name}"] == pytest.approx(expected, abs=1e-7)


def test_a_first_problem_that_cannot_be_drawn_has_no_observed_order_and_loses_no_rows() -> None:
    result = invoke("sweep", "--N", "1,8", "--D", "5", "--H", "4", "--bn-eps", "0", "--step", "1e-3,1e-4")
    assert result.exit_code == 1
    assert "2 could not run" in result.stdout
    assert "observed order" not in result.stdout
    assert invoke("sweep", *OPTIONS, "--step", "1e-3").stdout.count("observed order") == 0
