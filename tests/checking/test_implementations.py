"""Many implementations in many styles: a correct one does not fail, and a wrong one does not pass."""

from functools import cache

import numpy as np
import pytest

from bncheck import CheckResult, Problem, Verdict, check, random_problem
from bncheck.model.problem import FloatArray
from tests.implementations import Implementation, edited
from tests.implementations.right import RIGHT
from tests.implementations.wrong import UNDETECTABLE, WRONG
from tests.oracles import exact_gradients

# The problem of assert_gradients: its three sizes differ.
PROBLEM = random_problem(16, 6, 8)
# Differences in 50-digit arithmetic are slow: one entry takes two passes of plain loops.
SMALL_PROBLEM = random_problem(5, 3, 2)


def default_verdict(name: str, implementation: Implementation, problem: Problem = PROBLEM) -> Verdict:
    for package in implementation.requires:
        pytest.importorskip(package)
    return check(problem, implementation.load(name), explain=False).verdict


@cache
def expected_gradients(component: str, bn_eps: float) -> dict[str, FloatArray]:
    """Return the gradients on the small problem by the names that layer functions use, in lower case."""
    p = SMALL_PROBLEM
    h = p.X @ p.W + p.b
    y = p.gamma * (h - h.mean(axis=0)) / np.sqrt(h.var(axis=0) + bn_eps) + p.beta
    parameters = {"gamma": p.gamma, "beta": p.beta}
    affine = {"X": p.X, "W": p.W, "b": p.b}
    inputs = {"affine": affine, "batchnorm": {"h": h, **parameters}, "relu": {"y": y}}
    inputs["network"] = {**affine, **parameters, "h": h}
    gradients = exact_gradients(component, inputs[component], p.dout, bn_eps)
    first = {"batchnorm": "h", "relu": "y"}.get(component, "X")
    return {"dx" if name == first else f"d{name.lower()}": value for name, value in gradients.items()}


@pytest.mark.parametrize("name", RIGHT)
def test_a_correct_implementation_passes_unless_the_check_is_not_precise_enough(name: str) -> None:
    expected = Verdict.INCONCLUSIVE if RIGHT[name].inconclusive else Verdict.PASS
    assert default_verdict(name, RIGHT[name]) is expected


@pytest.mark.parametrize("name", RIGHT)
def test_a_correct_implementation_has_the_gradients_of_differences_in_50_digits(name: str) -> None:
    for package in RIGHT[name].requires:
        pytest.importorskip(package)
    result: CheckResult = check(SMALL_PROBLEM, RIGHT[name].load(name), explain=False, edge_cases=False)
    for gradient in result.gradients.values():
        expected = expected_gradients(gradient.component, result.problem.bn_eps)[gradient.name.lower()]
        largest = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(gradient.analytic, expected, rtol=0, atol=RIGHT[name].precision * largest)


@pytest.mark.parametrize("name", [name for name in WRONG if not WRONG[name].undetectable])
def test_a_wrong_implementation_does_not_pass(name: str) -> None:
    # Edge cases are slow for a wrong forward pass, and can only worsen the verdict of the problem itself.
    without_edge_cases = check(PROBLEM, WRONG[name].load(name), explain=False, edge_cases=False).verdict
    if without_edge_cases is Verdict.PASS:
        assert default_verdict(name, WRONG[name]) is not Verdict.PASS


@pytest.mark.parametrize("name", UNDETECTABLE)
def test_an_undetectable_mistake_passes_the_default_check(name: str) -> None:
    assert default_verdict(name, WRONG[name]) is Verdict.PASS


@pytest.mark.parametrize("name", [name for name in UNDETECTABLE if UNDETECTABLE[name].shown_by])
def test_an_undetectable_mistake_fails_on_the_problem_that_shows_it(name: str) -> None:
    problem = random_problem(**UNDETECTABLE[name].shown_by)
    assert default_verdict(name, WRONG[name], problem) is Verdict.FAIL


@pytest.mark.parametrize("old", ["absent", "twice"])
def test_an_edit_that_changes_no_place_or_several_places_is_refused(old: str) -> None:
    with pytest.raises(ValueError, match="expected 1"):
        edited("twice twice once", (old, "new"))


def test_the_implementations_are_at_least_as_many_as_the_requirement() -> None:
    assert len(RIGHT) >= 55
    assert len(WRONG) - len(UNDETECTABLE) >= 110
    assert len({implementation.source for implementation in RIGHT.values()}) == len(RIGHT)
    assert len({implementation.source for implementation in WRONG.values()}) == len(WRONG)
