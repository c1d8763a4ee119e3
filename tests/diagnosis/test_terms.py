"""The coefficients of the three terms of dx are computed, and named where a rule gives them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from bncheck import Verdict, check, random_problem
from bncheck.diagnosis.terms import VARIES_BY_UNIT
from bncheck.model import network
from bncheck.model.diagnosis_records import Terms
from bncheck.model.layers import Array
from tests.faulty_targets import (
    CorruptedNetwork,
    CorruptedNetworkInHalfPrecision,
    CorruptedNetworkWithoutDh,
    Corruption,
    combine_terms,
    descriptions,
    diagnosed,
)
from tests.python_targets import Gradients

pytestmark = pytest.mark.usefixtures("typical_edge_cases")


def multiply_variance_term(factor: Callable[[network.Cache], Array]) -> Corruption:
    return lambda _, cache, terms: np.asarray(terms[0] + terms[1] + factor(cache) * terms[2])


def test_the_coefficients_of_the_three_terms_are_computed() -> None:
    result = check(random_problem(40, 8, 20), CorruptedNetwork(combine_terms(0.7, 1.2, 0.4)), minimal_example=False)
    assert result.diagnosis[0].terms == Terms(0.7, 1.2, 0.4, 0.0, True, ("0.7", "1.2", "0.4"))


def test_the_coefficients_are_computed_from_dw_if_dh_is_not_returned_and_dx_follows() -> None:
    target = CorruptedNetworkWithoutDh(combine_terms(1.0, 1.0, 0.3))
    result = check(random_problem(40, 8, 20), target, minimal_example=False)
    assert diagnosed(result) == [(None, "dW")]
    assert result.diagnosis[0].terms == Terms(1.0, 1.0, 0.3, 0.0, True, ("1", "1", "0.3"))


# A corruption, the labels of the three coefficients, and the wrong part.
LABELS: dict[str, tuple[Corruption, tuple[str, str, str], str]] = {
    "a power of sigma": (
        multiply_variance_term(lambda c: c.batchnorm.sigma**-3), ("1", "1", VARIES_BY_UNIT), "the variance term"
    ),
    "gamma": (multiply_variance_term(lambda c: 3 / c.batchnorm.gamma), ("1", "1", "3/gamma"), "the variance term"),
    "sigma in the direct term": (
        lambda _, c, t: np.asarray(t[0] / c.batchnorm.sigma + t[1] + t[2]), ("1/sigma", "1", "1"), "the direct term"
    ),
    "both signs": (combine_terms(1, -1, -1), ("1", "-1", "-1"), "the mean term and the variance term"),
    "2/N in one term": (
        lambda _, __, t: np.asarray(t[0] + 2 * t[1] / len(t[0]) + t[2]), ("1", "2/N", "1"), "the mean term"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LABELS)
def test_each_coefficient_is_named(name: str) -> None:
    corruption, expected, part = LABELS[name]
    result = check(random_problem(40, 8, 6, seed=2), CorruptedNetwork(corruption), minimal_example=False)
    assert result.diagnosis[0].terms is not None
    assert result.diagnosis[0].terms.labels == expected
    assert result.wrong_part is not None
    assert result.wrong_part.part == part


def test_a_common_coefficient_is_reported_as_a_factor_on_all_three_terms() -> None:
    target = CorruptedNetwork(lambda _, c, t: np.asarray(sum(t) / c.batchnorm.gamma * c.batchnorm.gamma.sum()))
    result = check(random_problem(40, 8, 6, seed=2), target, minimal_example=False)
    label = f"{result.problem.gamma.sum():.4g}/gamma"
    assert result.diagnosis[0].terms is not None
    assert result.diagnosis[0].terms.labels == (label, label, label)
    assert result.wrong_part is not None
    assert result.wrong_part.part == f"a factor of {label} on all three terms"


def test_gradients_that_follow_from_wrong_coefficients_get_no_diagnosis_although_these_depend_on_n() -> None:
    target = CorruptedNetworkWithoutDh(lambda _, __, t: np.asarray(2 * t[0] / len(t[0]) + t[1] + t[2]))
    assert diagnosed(check(random_problem(40, 8, 6), target, minimal_example=False)) == [(None, "dW")]


def test_a_term_too_small_to_be_measured_gets_no_coefficient() -> None:
    problem = random_problem(20, 6, 5, bn_eps=1e10)
    result = check(problem, CorruptedNetwork(lambda g, _, __: g["dh"] + 1), minimal_example=False)
    assert all(d.terms is None or not d.terms.exact for d in result.diagnosis)


def test_a_coefficient_near_1_is_not_reported_as_1() -> None:
    target = CorruptedNetwork(combine_terms(1, 1, 1 + 2e-8))
    terms = check(random_problem(40, 8, 6), target, scheme="complex", minimal_example=False).diagnosis[0].terms
    assert terms is not None
    assert terms.labels == ("1", "1", "1 + 2e-08")


def test_a_dead_unit_does_not_hide_the_coefficients_of_the_other_units() -> None:
    problem = random_problem(40, 8, 6)
    beta = problem.beta.copy()
    beta[2] = -1e3
    target = CorruptedNetwork(combine_terms(0.7, 1.2, 0.4))
    result = check(replace(problem, beta=beta), target, edge_cases=False, minimal_example=False)
    terms = result.diagnosis[0].terms
    assert terms is not None
    assert (terms.exact, terms.labels) == (True, ("0.7", "1.2", "0.4"))
    assert "unexplained" not in descriptions(result)


def test_the_rounding_of_half_precision_is_not_called_unexplained() -> None:
    target = CorruptedNetworkInHalfPrecision(combine_terms(-3, 5, 7))
    result = check(random_problem(40, 8, 6), target, edge_cases=False, minimal_example=False)
    assert result.verdict is Verdict.FAIL
    assert "unexplained" not in descriptions(result)


def test_a_fit_of_all_units_is_not_called_unexplained_if_single_units_have_too_few_rows() -> None:
    target = CorruptedNetwork(combine_terms(0.7, 1.2, 0.4))
    result = check(random_problem(3, 8, 6), target, edge_cases=False, minimal_example=False)
    assert result.verdict is Verdict.FAIL
    assert "unexplained" not in descriptions(result)


def test_coefficients_that_are_known_on_some_problems_only_do_not_prevent_the_diagnosis_of_the_others() -> None:
    class WrongDWOrDX(CorruptedNetworkWithoutDh):
        """dW has a wrong coefficient for N >= 5; dX is wrong for a smaller N."""

        def backward(self, dout: Array, cache: network.Cache) -> Gradients:
            wrong, correct = super().backward(dout, cache), network.backward(dout, cache)
            name = "dW" if len(dout) >= 5 else "dX"
            value = wrong[name] if name == "dW" else np.random.default_rng(0).standard_normal(wrong[name].shape)
            return {**{key: correct[key] for key in wrong}, name: value}

    result = check(random_problem(40, 8, 6), WrongDWOrDX(combine_terms(1, 1, 0.3)), minimal_example=False)
    assert diagnosed(result) == [(None, "dW")]
