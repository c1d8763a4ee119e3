"""The full engine divides by the actual step, and reports the entries that it cannot resolve."""

from dataclasses import replace

import numpy as np
import pytest

from bncheck import Problem, random_problem
from bncheck.model.components import AFFINE, NETWORK
from bncheck.numerical.full import full_gradients, perturb_one_entry_per_column
from bncheck.numerical.schemes import SCHEMES
from tests.numerical.measuring import measure_all, plan_all


def test_an_entry_whose_step_is_lost_in_the_addition_is_unresolved() -> None:
    problem = random_problem(4, 3, 2, x_mean=1.0)
    gradient = measure_all(problem, step=1e-17, engine="full").gradients["X"]
    assert np.isinf(gradient.error_bound[np.abs(problem.X) > 0.5]).all()


def test_the_full_engine_divides_by_the_rounded_step() -> None:
    """h = x, so the slope is 1 for any rounding of x + s."""
    one = np.ones((1, 1))
    problem = Problem(one, one, np.zeros(1), one[0], one[0], one, 1e-5)
    gradient = measure_all(problem, AFFINE, step=2.0**-50 * 1.1, engine="full").gradients["X"]
    assert gradient.value == 1.0


def test_an_entry_whose_perturbation_crosses_the_kink_is_unresolved() -> None:
    """This protects against a guard that excludes too little, and a forward pass that is not batch norm."""
    problem = random_problem(7, 5, 4, seed=3)
    plan = replace(plan_all(problem), problem=problem, steps={"W": np.full(1, 0.3)})  # no output is excluded
    gradients, _ = full_gradients(plan, {"W": np.arange(problem.W.size, dtype=np.intp)})
    assert gradients["W"].unresolved.any()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("H", [5, 40])  # each array alone, and all arrays in the columns of the same passes
def test_an_entry_of_every_column_in_one_pass_matches_the_entries_one_by_one(scheme: str, H: int) -> None:
    problem = random_problem(9, 6, H, seed=3)
    plan = plan_all(problem, scheme=scheme)
    rng = np.random.default_rng(0)
    arrays = NETWORK.arrays(plan.problem)
    rows = {name: rng.integers(len(arrays[name]), size=H) for name in NETWORK.inputs if name != "X"}
    for name, together in perturb_one_entry_per_column(plan, rows).items():
        assert together.evaluated.sum() >= min(H, 8)
        alone, _ = full_gradients(plan, {name: np.flatnonzero(together.evaluated)})
        bound = np.broadcast_to(plan.bounds.rounding[name] + plan.bounds.base_rounding[name], arrays[name].shape)
        difference = np.abs(together.value - alone[name].value)
        assert (difference <= bound)[together.evaluated].all()
        assert not together.unresolved.any()


def test_an_output_that_crosses_makes_only_its_own_column_unresolved() -> None:
    problem = random_problem(9, 6, 5, seed=3)
    steps = {"W": np.array([[1e-9, 1e-9, 5.0, 1e-9, 1e-9]])}
    plan = replace(plan_all(problem), problem=problem, steps=steps)  # no output is excluded
    rows = {"W": np.zeros(5, np.intp)}
    gradients = perturb_one_entry_per_column(plan, rows)
    assert gradients["W"].unresolved[0].tolist() == [False, False, True, False, False]
