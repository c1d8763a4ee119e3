"""The kink guard excludes every output that a perturbation may carry across ReLU's kink, and few others."""

import itertools

import numpy as np
import pytest

from bncheck import Problem, Verdict, check, random_problem
from bncheck.model import network
from bncheck.model.components import NETWORK, RELU, Component
from bncheck.model.layers import Array
from bncheck.model.options import CheckOptions
from bncheck.numerical.basepoint import BasePoint
from bncheck.numerical.measure import measure
from bncheck.numerical.plan import can_cross_kink
from bncheck.numerical.schemes import SCHEMES
from bncheck.selftest.problems import hard_problem
from tests.numerical.measuring import plan_all


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("step", ["auto", 1e-3, 1e-2, 1e-1])
@pytest.mark.parametrize("x_std", [1.0, 100.0])
def test_no_perturbation_of_a_single_entry_carries_an_included_output_across_the_kink(
    scheme: str, step: float | str, x_std: float
) -> None:
    """Brute force: every entry of every parameter, at every multiple of the step."""
    formula = SCHEMES[scheme]
    unit: complex = 1j if scheme == "complex" else 1
    for seed in range(8):
        p = random_problem(7, 5, 4, seed=seed, x_std=x_std)
        # If X and W are both large, a perturbation of gamma changes y the most.
        problem = Problem(p.X, x_std * p.W, p.b, p.gamma, p.beta, p.dout, p.bn_eps)
        if step == "auto" and x_std == 1.0:
            problem = hard_problem(seed, 9)
        steps = plan_all(problem, scheme=scheme, step=step).steps
        excluded = can_cross_kink(BasePoint.from_problem(problem), NETWORK, formula, steps)
        forward, values = NETWORK.forward(problem.bn_eps), NETWORK.arrays(problem)
        for name in NETWORK.inputs:
            arrays = {other: values[other] for other in NETWORK.inputs_when_perturbing(name)}
            active = forward(arrays) > 0
            step_of = np.broadcast_to(steps[name], arrays[name].shape)
            for index in np.ndindex(arrays[name].shape):
                for multiple, sign in itertools.product(formula.multiples, (-1, 1)):
                    perturbed: Array = arrays[name].astype(complex if scheme == "complex" else float)
                    perturbed[index] += sign * unit * multiple * step_of[index]
                    crossed = (forward({**arrays, name: perturbed}).real > 0) != active
                    assert not (crossed & ~excluded).any(), (seed, name, index)


def test_an_output_that_only_gamma_can_carry_across_the_kink_is_excluded() -> None:
    """X and W are large, so that no other perturbation changes y as much."""
    p = random_problem(7, 5, 1, x_std=100.0)
    W, step = 100 * p.W, 0.1
    xhat = BasePoint.from_problem(Problem(p.X, W, p.b, p.gamma, p.beta, p.dout, p.bn_eps)).xhat[:, 0]
    row = int(np.argmax(np.abs(xhat)))
    assert abs(xhat[row]) > 1.6
    beta = 1.5 * step - p.gamma * xhat[row]  # y = 1.5 steps; gamma changes it by |xhat| steps
    problem = Problem(p.X, W, p.b, p.gamma, beta, p.dout, p.bn_eps)
    assert plan_all(problem, step=step).problem.dout[row, 0] == 0


@pytest.mark.parametrize("component", [NETWORK, RELU], ids=lambda component: component.name)
def test_an_output_that_can_round_to_either_side_of_0_in_the_arithmetic_of_the_target_is_excluded(
    component: Component,
) -> None:
    p = random_problem(8, 5, 3, seed=2)
    y = BasePoint.from_problem(p).y
    beta = p.beta - y[4] + 1e-6 * np.abs(p.gamma)  # one output of each unit is a millionth of its scale
    problem = Problem(p.X, p.W, p.b, p.gamma, beta, p.dout, p.bn_eps)
    for roundoff_factor, excluded in ((1.0, 0), (2.0**29, 3)):
        options = CheckOptions("complex")
        measurement = measure(problem, component, options, component.inputs, roundoff_factor=roundoff_factor)
        assert measurement.kink_exclusion.excluded == excluded
        assert ((measurement.problem.dout[4] == 0) == bool(excluded)).all()


def test_the_guard_counts_the_excluded_outputs() -> None:
    plan = plan_all(random_problem(64, 100, 50), step=1e-2)
    assert plan.kink_exclusion.excluded == int((plan.problem.dout == 0).sum()) > 0
    assert plan.kink_exclusion.outputs == 3200


@pytest.mark.parametrize(("fraction", "verdict"), [(0.05, Verdict.PASS), (0.3, Verdict.INCONCLUSIVE)])
def test_a_check_that_excludes_more_than_a_tenth_of_the_outputs_is_inconclusive(
    fraction: float, verdict: Verdict
) -> None:
    """Samples that are 0, next to pairs of opposite samples, have y = beta = 0; the rest is precise enough to pass."""
    N, D, H = 40, 5, 4
    rng, zeros = np.random.default_rng(0), round(fraction * N)
    half = rng.standard_normal(((N - zeros) // 2, D))
    X, dout = np.concatenate([half, -half, np.zeros((zeros, D))]), rng.standard_normal((N, H))
    problem = Problem(X, rng.standard_normal((D, H)), np.zeros(H), np.ones(H), np.zeros(H), dout, 1e-5)
    result = check(problem)
    assert result.kink_exclusion.excluded == fraction * result.kink_exclusion.outputs
    assert result.resolution < 1e-6
    assert result.kink_exclusion.dead_units == 0
    assert result.verdict is verdict


@pytest.mark.parametrize("scheme", ["five-point", "richardson"])
def test_a_default_initialization_on_small_data_keeps_almost_all_outputs(scheme: str) -> None:
    """If beta is 0 and var far below eps, every y is near the kink, and the steps shrink with y."""
    p = random_problem(64, 20, 10, x_std=1e-6, bn_eps=1e-3)
    problem = Problem(p.X, p.W, p.b, np.ones(10), np.zeros(10), p.dout, p.bn_eps)
    exclusion = plan_all(problem, scheme=scheme).kink_exclusion
    assert exclusion.excluded <= 0.02 * exclusion.outputs


def test_without_the_guard_a_check_of_a_correct_weight_gradient_is_wrong_at_512_cubed() -> None:
    """The automatic step carries outputs across the kink there."""
    problem = random_problem(512, 512, 512)
    plan = plan_all(problem)
    h = problem.X @ problem.W + problem.b
    _, cache = network.forward(problem.X, problem.W, problem.b, problem.gamma, problem.beta, problem.bn_eps)
    dW = network.backward(problem.dout, cache)["dW"]
    largest = 0.0
    for j in np.flatnonzero((plan.problem.dout == 0).any(axis=0)):
        s = np.broadcast_to(plan.steps["W"], problem.W.shape)[:, j]
        arrays = {"gamma": problem.gamma[j], "beta": problem.beta[j]}
        forward = NETWORK.forward(problem.bn_eps)
        above = problem.dout[:, j] @ forward({**arrays, "h": h[:, j, None] + s * problem.X})
        below = problem.dout[:, j] @ forward({**arrays, "h": h[:, j, None] - s * problem.X})
        largest = max(largest, float(np.abs((above - below) / (2 * s) - dW[:, j]).max()))
    assert largest > 1e-2
    for seed in (0, 1):
        assert check(random_problem(512, 512, 512, seed=seed), only=["dW"]).verdict is Verdict.PASS
