"""Numerical gradients against the truth, and the two engines against each other."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from bncheck import Problem, check, network, random_problem
from bncheck.layers import Array
from bncheck.numerical import differentiate as module
from bncheck.numerical.bars import bars_of
from bncheck.numerical.basepoint import BasePoint
from bncheck.numerical.differentiate import Plan, differentiate, plan_measurement
from bncheck.numerical.full import full_gradients, network_forward
from bncheck.numerical.kinks import within_reach
from bncheck.numerical.local import local_gradients
from bncheck.numerical.schemes import SCHEMES
from bncheck.progress import silent
from bncheck.results import GRADIENTS, Numerical

from .oracles import exact_gradients
from .regimes import hard_problem

PARAMETERS = ("X", "W", "b", "gamma", "beta", "h")
STEPS = (None, 1e-3, 1e-6, 1e-10)


def measure(plan: Plan, engine: str, names: Sequence[str] = GRADIENTS) -> Numerical:
    return differentiate(network_forward(plan.problem.bn_eps), plan, names, engine)


def small_problem(seed: int) -> Problem:
    """N, D, H up to 4, over the hard regimes: small enough for 50 digits and plain loops."""
    return hard_problem(seed, largest=4)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_true_gradient_lies_within_its_error_bar(scheme: str) -> None:
    for seed, step in itertools.product(range(10), STEPS):
        plan = plan_measurement(small_problem(seed), SCHEMES[scheme], step)
        truth = exact_gradients(plan.problem, plan.base.h)
        for engine in ("local", "full"):
            for name, gradient in measure(plan, engine).gradients.items():
                # dh is at the stored h; its rounding is in the bars of the others.
                known = np.isfinite(gradient.error_bar)
                error = np.abs(gradient.value - truth[name])
                assert (error <= gradient.error_bar)[known].all(), (seed, step, engine, name)
                assert known.any() or step is not None, (seed, step, engine, name)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (1, 5, 4), (2, 1, 1), (2, 6, 3), (3, 4, 1), (9, 7, 5), (30, 2, 3)]
)
def test_local_and_full_agree_within_rounding_bars(
    scheme: str, shape: tuple[int, int, int]
) -> None:
    for seed, x_mean in ((0, 0.0), (1, 30.0)):
        for step in STEPS:
            problem = random_problem(*shape, seed=seed, x_mean=x_mean)
            plan = plan_measurement(problem, SCHEMES[scheme], step)
            bars = bars_of(plan.base, plan.scheme, plan.steps, PARAMETERS)
            local, full = measure(plan, "local").gradients, measure(plan, "full").gradients
            for name in PARAMETERS:
                bar = bars.rounding[name] + bars.conditioning[name]
                usable = np.isfinite(full[f"d{name}"].error_bar)
                difference = np.abs(local[f"d{name}"].value - full[f"d{name}"].value)
                assert (difference <= bar)[usable].all(), (seed, step, name)


def test_error_bars_are_not_idle() -> None:
    """The truncation bound is reached within a factor of 3 where truncation dominates."""
    plan = plan_measurement(random_problem(3, 3, 2, seed=1), SCHEMES["central"], 1e-2)
    truth = exact_gradients(plan.problem, plan.base.h)
    shares = [
        float((np.abs(g.value - truth[name]) / g.error_bar).max())
        for name, g in measure(plan, "local").gradients.items()
    ]
    assert max(shares) > 1 / 3


def test_a_problem_scaled_by_a_million_is_resolved_as_well_as_an_unscaled_one() -> None:
    resolutions = [
        check(random_problem(20, 10, 6, x_std=scale, bn_eps=1e-5 * scale**2)).resolution
        for scale in (1e-6, 1.0, 1e6)
    ]
    assert max(resolutions) < 1.5 * min(resolutions)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("step", [None, 1e-3, 1e-2, 1e-1])
def test_no_single_entry_move_carries_an_unguarded_output_across_the_kink(
    scheme: str, step: float | None
) -> None:
    """Brute force: every entry of every parameter, at every multiple of the step."""
    formula = SCHEMES[scheme]
    for seed in range(4):
        problem = (
            hard_problem(seed, largest=9) if step is None else random_problem(7, 5, 4, seed=seed)
        )
        base = BasePoint.of(problem)
        plan = plan_measurement(problem, formula, step)
        near = within_reach(base, formula, plan.steps)
        forward = network_forward(problem.bn_eps)
        outside = {name: getattr(problem, name) for name in PARAMETERS[:5]}
        inside = {"h": base.h, "gamma": problem.gamma, "beta": problem.beta}
        unit = 1j if scheme == "complex" else 1
        for name in PARAMETERS:
            arrays = inside if name == "h" else outside
            active = forward(arrays) > 0
            steps = np.broadcast_to(plan.steps[name], arrays[name].shape)
            for index in np.ndindex(arrays[name].shape):
                for multiple, sign in itertools.product(formula.multiples, (-1, 1)):
                    moved: Array = arrays[name].astype(complex if scheme == "complex" else float)
                    moved[index] += sign * unit * multiple * steps[index]
                    crossed = (forward({**arrays, name: moved}).real > 0) != active
                    assert not (crossed & ~near).any(), (seed, name, index)


def test_the_guard_counts_what_it_takes_out() -> None:
    plan = plan_measurement(random_problem(64, 100, 50), SCHEMES["central"], 1e-2)
    assert plan.kinks.guarded == int((plan.problem.dout == 0).sum()) > 0
    assert plan.kinks.outputs == 3200


def test_an_unguarded_check_of_a_right_weight_gradient_is_wrong_at_512_cubed() -> None:
    """What the guard is for: the engine's own step moves outputs across the kink there."""
    problem = random_problem(512, 512, 512)
    plan = plan_measurement(problem, SCHEMES["central"], None)
    guarded = plan.problem.dout == 0
    _, cache = network.forward(
        problem.X, problem.W, problem.b, problem.gamma, problem.beta, problem.bn_eps
    )
    dW = network.backward(problem.dout, cache)["dW"]
    largest = 0.0
    for j in np.flatnonzero(guarded.any(axis=0)):
        s = np.broadcast_to(plan.steps["W"], problem.W.shape)[:, j]
        h = plan.base.h[:, j, None]

        def loss(h: Array, j: int = int(j)) -> Array:
            gamma, beta = problem.gamma[j], problem.beta[j]
            a = network.forward_from_h(h, gamma, beta, problem.bn_eps)
            total: Array = problem.dout[:, j] @ a
            return total

        n = (loss(h + s * problem.X) - loss(h - s * problem.X)) / (2 * s)
        largest = max(largest, float(np.abs(n - dW[:, j]).max()))
    assert largest > 1e-2
    for seed in (0, 1):
        result = check(random_problem(512, 512, 512, seed=seed), only=["dW"])
        assert result.verdict.value == "pass"


def test_an_entry_whose_step_is_lost_in_the_addition_is_unresolved() -> None:
    problem = random_problem(4, 3, 2, x_mean=1.0)
    plan = plan_measurement(problem, SCHEMES["central"], 1e-17)
    gradient = measure(plan, "full", ["dX"]).gradients["dX"]
    assert np.isinf(gradient.error_bar[np.abs(problem.X) > 0.5]).all()


def test_an_entry_whose_move_crosses_the_kink_is_unresolved() -> None:
    """A guard that were too small, or a forward that is not batch norm, must not lie."""
    problem = random_problem(7, 5, 4, seed=3)
    plan = plan_measurement(problem, SCHEMES["central"], 0.3)
    unguarded = BasePoint.of(problem)
    entries = {"W": np.arange(problem.W.size)}
    evaluated, _ = full_gradients(
        network_forward(problem.bn_eps), unguarded, plan.scheme, plan.steps, entries, silent
    )
    assert evaluated["W"].unresolved.any()


def test_the_audit_notices_a_local_engine_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*arguments: object) -> dict[str, Array]:
        right = local_gradients(*arguments)  # type: ignore[arg-type]  # passed on as they came
        return {**right, "W": right["W"] * (1 + 1e-6)}

    problem = random_problem(16, 10, 8)
    honest = check(problem).audit
    assert honest is not None
    assert honest.agrees
    assert honest.entries == 64
    monkeypatch.setattr(module, "local_gradients", wrong)
    result = check(problem, only=["dW"], rtol=1e-3)
    assert result.audit is not None
    assert not result.audit.agrees
    assert result.gradients["dW"].verdict.value == "pass"
    assert result.verdict.value == "inconclusive"


def test_a_sample_is_drawn_without_repetition_and_counted() -> None:
    result = check(random_problem(6, 5, 4), engine="full", sample=7)
    counts = {name: g.checked for name, g in result.gradients.items()}
    assert counts == {"dX": 7, "dW": 7, "db": 4, "dgamma": 4, "dbeta": 4, "dh": 7}
    assert result.verdict.value == "pass"
    assert (result.checked, result.entries) == (33, 86)
