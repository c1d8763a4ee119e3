"""The wrong part of a backward pass is located, and its identities and its Taylor test are reported."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bncheck import CheckResult, Verdict, check, random_problem
from bncheck.mistakes import mistake_named
from bncheck.mistakes.injected import FaultyNetwork
from bncheck.model import network
from bncheck.model.layers import Array
from tests.faulty_targets import CorruptedNetwork, combine_terms, diagnosed, multiply

pytestmark = pytest.mark.usefixtures("typical_edge_cases")

VARIANCE_IDENTITY = "sum dh xhat = gamma dgamma eps / sigma^3"


def part(result: CheckResult) -> str:
    assert result.wrong_part is not None
    return result.wrong_part.part


def identities(result: CheckResult, *, satisfied: bool) -> set[str]:
    """Return the formulas of the satisfied or of the violated identities."""
    assert result.wrong_part is not None
    return {i.formula for i in result.wrong_part.identities if i.satisfied is satisfied}


@pytest.mark.parametrize(
    ("code", "expected", "violated"),
    [
        ("BN204", "the variance term", {VARIANCE_IDENTITY}),
        ("BN203", "the mean term", {"sum dh = 0"}),
        ("BN201", "the mean term and the variance term", {"sum dh = 0", VARIANCE_IDENTITY}),
        ("BN205", "a factor of 1/gamma on all three terms", {VARIANCE_IDENTITY}),
        ("BN301", "the sums over the batch (dgamma, dbeta)", {"L = sum gamma dgamma + sum beta dbeta"}),
        ("BN401", "the ReLU mask", {"L = sum gamma dgamma + sum beta dbeta"}),
        ("BN506", "the affine layer (dW)", {"sum X dX = sum W dW", "sum W dW + sum b db = sum h dh"}),
    ],
)
def test_the_wrong_part_and_the_violated_identities_are_reported(code: str, expected: str, violated: set[str]) -> None:
    result = check(random_problem(30, 8, 6, bn_eps=0.1), FaultyNetwork(mistake_named(code)), minimal_example=False)
    assert part(result) == expected
    assert violated <= identities(result, satisfied=False)
    assert result.wrong_part is not None
    assert result.wrong_part.taylor_order == pytest.approx(1.0, abs=0.2)


def test_correct_gradients_satisfy_their_identities_and_have_taylor_order_2() -> None:
    # Only dh is wrong, in one entry; the identities and the Taylor test without dh involve correct gradients.
    result = check(random_problem(30, 8, 6), CorruptedNetwork(multiply("dh", 1.5, (2, 3))), minimal_example=False)
    assert part(result) == "dh, only in row 2 of 30 and column 3 of 6"
    satisfied = {"sum X dX = sum W dW", "L = sum gamma dgamma + sum beta dbeta"}
    assert identities(result, satisfied=True) == satisfied
    assert result.wrong_part is not None
    assert result.wrong_part.taylor_order == pytest.approx(2.0, abs=0.1)


def test_correct_dh_and_dgamma_satisfy_the_identity_of_the_variance_term_at_a_large_eps() -> None:
    target = CorruptedNetwork(multiply("dbeta", 2))
    result = check(random_problem(30, 8, 6, bn_eps=0.5), target, minimal_example=False)
    assert VARIANCE_IDENTITY in identities(result, satisfied=True)


def test_the_wrong_part_of_a_mistake_is_located_from_a_single_gradient() -> None:
    problem, target = random_problem(40, 8, 20, seed=3), FaultyNetwork(mistake_named("BN204"))
    result = check(problem, target, only=["dW"], minimal_example=False)
    assert diagnosed(result) == [("BN204", "dW")]
    assert part(result) == "the variance term"


@pytest.mark.parametrize("option", [{"only": ["dW"]}, {"engine": "full", "sample": 3}])
def test_a_backward_pass_that_was_checked_in_part_is_not_called_the_derivative(option: dict[str, Any]) -> None:
    result = check(random_problem(9, 6, 5), FaultyNetwork(mistake_named("BN107")), minimal_example=False, **option)
    assert part(result) == "the forward pass (forward)"


def test_a_backward_pass_that_was_inconclusive_is_not_called_the_derivative() -> None:
    # Every output of unit 2 is negative, so its gradients are not checked.
    problem, target = random_problem(9, 6, 5), FaultyNetwork(mistake_named("BN107"))
    gamma, beta = problem.gamma.copy(), problem.beta.copy()
    gamma[2], beta[2] = 1e-3, -1e3
    problem = replace(problem, gamma=gamma, beta=beta)
    result = check(problem, target, edge_cases=False, minimal_example=False)
    assert Verdict.INCONCLUSIVE in {g.verdict for g in result.gradients.values()}
    assert part(result) == "the forward pass (forward)"


@pytest.mark.parametrize("coefficient", [0, 1])
def test_a_backward_pass_after_a_forward_pass_of_nan_is_not_compared_with_its_derivative(coefficient: float) -> None:
    def forward(*arrays: Any) -> tuple[Array, network.Cache]:
        a, cache = network.forward(*arrays)
        return np.full_like(a, np.nan), cache

    target = SimpleNamespace(forward=forward, backward=CorruptedNetwork(combine_terms(1, 1, coefficient)).backward)
    assert part(check(random_problem(9, 6, 5), target, minimal_example=False)) == "the forward pass (forward)"
