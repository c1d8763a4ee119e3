"""Many implementations in many styles: a correct one does not fail, and a wrong one does not pass."""

from functools import cache
from typing import Any

import numpy as np
import pytest

from bncheck import CheckResult, Problem, Verdict, check, random_problem
from bncheck.model.problem import FloatArray
from tests.oracles import exact_gradients
from tests.samples import Sample, samples

CORRECT = [sample for sample in samples("correct") if not sample.is_checked_as_file]
WRONG = [sample for sample in samples("wrong") if not sample.is_checked_as_file]
UNDETECTABLE = samples("undetectable")

# The problem of assert_gradients: its three sizes differ.
PROBLEM = random_problem(16, 6, 8)
# Differences in 50-digit arithmetic are slow: one entry takes two passes of plain loops.
SMALL_PROBLEM = random_problem(5, 3, 2)


def default_verdict(sample: Sample, problem: Problem = PROBLEM) -> Verdict:
    return check(problem, sample.load(), explain=False).verdict


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


@pytest.mark.parametrize("sample", CORRECT, ids=str)
def test_a_correct_implementation_passes_unless_the_check_is_not_precise_enough(sample: Sample) -> None:
    expected = Verdict.INCONCLUSIVE if sample.expected.startswith("inconclusive (") else Verdict.PASS
    assert expected is Verdict.INCONCLUSIVE or sample.expected == "pass"
    assert default_verdict(sample) is expected


@pytest.mark.parametrize("sample", CORRECT, ids=str)
def test_a_correct_implementation_has_the_gradients_of_differences_in_50_digits(sample: Sample) -> None:
    precision = float(sample.value("precision", "1e-9"))
    result: CheckResult = check(SMALL_PROBLEM, sample.load(), explain=False, edge_cases=False)
    for gradient in result.gradients.values():
        expected = expected_gradients(gradient.component, result.problem.bn_eps)[gradient.name.lower()]
        largest = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(gradient.analytic, expected, rtol=0, atol=precision * largest)


@pytest.mark.parametrize("sample", WRONG, ids=str)
def test_a_wrong_implementation_does_not_pass(sample: Sample) -> None:
    assert sample.expected == "not pass"
    # Edge cases are slow for a wrong forward pass, and can only worsen the verdict of the problem itself.
    without_edge_cases = check(PROBLEM, sample.load(), explain=False, edge_cases=False).verdict
    if without_edge_cases is Verdict.PASS:
        assert default_verdict(sample) is not Verdict.PASS


@pytest.mark.parametrize("sample", UNDETECTABLE, ids=str)
def test_an_undetectable_mistake_passes_the_default_check(sample: Sample) -> None:
    assert sample.expected.startswith("pass (undetectable: ")
    assert default_verdict(sample) is Verdict.PASS


@pytest.mark.parametrize("sample", [sample for sample in UNDETECTABLE if sample.value("fails with")], ids=str)
def test_an_undetectable_mistake_fails_on_the_problem_that_shows_it(sample: Sample) -> None:
    items = [item.split("=") for item in sample.value("fails with").split()]
    arguments: dict[str, Any] = {name: int(value) if name in "NDH" else float(value) for name, value in items}
    assert default_verdict(sample, random_problem(**arguments)) is Verdict.FAIL


def test_the_implementations_are_at_least_as_many_as_the_requirement() -> None:
    assert len(CORRECT) >= 55
    assert len(WRONG) >= 110
    assert len({sample.code for sample in CORRECT}) == len(CORRECT)
    assert len({sample.code for sample in WRONG + UNDETECTABLE}) == len(WRONG + UNDETECTABLE)


def test_every_sample_says_what_is_expected_in_keys_that_are_described() -> None:
    import tests.samples  # noqa: PLC0415 - its docstring is the description

    folders = ("correct", "wrong", "undetectable", "cannot_run", "hangs")
    keys = {key for folder in folders for sample in samples(folder) for key, _ in sample.header}
    assert all(f"\n{key}  " in str(tests.samples.__doc__) for key in keys), keys
