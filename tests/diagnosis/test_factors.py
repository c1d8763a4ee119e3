"""A factor is named by a rule that gives its value on every problem."""

from collections.abc import Callable

import numpy as np
import pytest

from bncheck import check, random_problem
from bncheck.diagnosis.factors import Factor, common_name
from bncheck.mistakes.pass_values import PassValues
from tests.faulty_targets import CorruptedNetwork, combine_terms, descriptions, multiply

pytestmark = pytest.mark.usefixtures("typical_edge_cases")

Shape = tuple[int, int, int]


def name_of(factor: Callable[[PassValues], float], *shapes: Shape) -> str:
    """Return the name of a factor on problems of these shapes."""
    passes = [PassValues.from_problem(random_problem(*shape)) for shape in shapes]
    return common_name([Factor(np.array([factor(w)]), np.array([1e-12])) for w in passes], passes)


@pytest.mark.parametrize("edge_cases", [False, True])
def test_a_factor_of_8_at_n_8_is_not_called_n(edge_cases: bool) -> None:
    target = CorruptedNetwork(multiply("dbeta", 8))
    result = check(random_problem(8, 6, 5), target, edge_cases=edge_cases, minimal_example=False)
    assert descriptions(result).startswith("it is 8 times the correct value")


@pytest.mark.parametrize("edge_cases", [False, True])
def test_a_number_is_not_called_a_quotient_of_sizes_with_the_same_value(edge_cases: bool) -> None:
    # (N - 1)/H is 1.5 here, and on four of the edge cases.
    target = CorruptedNetwork(multiply("dX", 1.5))
    result = check(random_problem(7, 5, 4), target, edge_cases=edge_cases, minimal_example=False)
    assert result.diagnosis[0].description[0] == "it is 1.5 times the correct value"


def test_a_quotient_of_sizes_is_named_only_if_it_differs_between_the_problems() -> None:
    def factor(w: PassValues) -> float:
        return float((w.N - 1) / w.H)

    assert name_of(factor, (7, 5, 4)) == "1.5"
    assert name_of(factor, (7, 5, 4), (7, 9, 4), (4, 5, 2)) == "1.5"
    assert name_of(factor, (7, 5, 4), (4, 5, 9)) == "(N - 1)/H"


def test_a_hard_coded_size_is_named_only_if_the_factor_differs_between_the_problems() -> None:
    assert name_of(lambda w: float(w.N / 64), (7, 5, 4), (31, 17, 6)) == "N/64"
    assert name_of(lambda w: float(w.N / 64), (7, 5, 4), (7, 17, 6)) == "0.1094"


@pytest.mark.parametrize("factor", [1e-5, 3e-8])
def test_a_factor_near_1_is_never_written_as_1(factor: float) -> None:
    target = CorruptedNetwork(multiply("dW", 1 + factor))
    result = check(random_problem(40, 8, 20, seed=3), target, minimal_example=False)
    assert "it is 1 times" not in descriptions(result)
    assert factor < 1e-6 or "it is 1 + 1e-05 times the correct value" in descriptions(result)


@pytest.mark.parametrize("shape", [(64, 10, 8), (7, 5, 4)])
@pytest.mark.parametrize("factor", [1e-7, 1e-10])
@pytest.mark.parametrize("edge_cases", [False, True])
def test_a_common_factor_near_1_is_not_described_as_rounding(shape: Shape, factor: float, edge_cases: bool) -> None:
    target = CorruptedNetwork(combine_terms(1 + factor, 1 + factor, 1 + factor))
    result = check(random_problem(*shape), target, scheme="complex", edge_cases=edge_cases, minimal_example=False)
    assert result.diagnosis[0].description[0] == f"it is 1 + {factor:.0e} times the correct value"
    assert result.wrong_part is not None
    assert result.wrong_part.part == f"a factor of 1 + {factor:.0e} on all three terms"
