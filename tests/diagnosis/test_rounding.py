"""Errors are described as rounding only if they are small, random and numerous."""

import numpy as np
import pytest

from bncheck import Verdict, check, random_problem
from tests.faulty_targets import CorruptedNetwork, add_noise, change, descriptions

pytestmark = pytest.mark.usefixtures("typical_edge_cases")


def test_a_shift_of_every_column_is_not_described_as_rounding() -> None:
    target = CorruptedNetwork(lambda g, cache, _: np.asarray(g["dh"] + 1e-9 * cache.batchnorm.gamma))
    result = check(random_problem(40, 12, 20), target, minimal_example=False)
    assert result.verdict is Verdict.FAIL
    assert "rounding" not in descriptions(result)


def test_an_error_proportional_to_the_size_of_a_gradient_is_not_described_as_rounding() -> None:
    target = CorruptedNetwork(change("dgamma", lambda v, _: v + 3e-8 * np.abs(v)))
    result = check(random_problem(40, 8, 30), target, minimal_example=False)
    assert result.verdict is Verdict.FAIL
    assert "rounding" not in descriptions(result)


def test_a_few_random_errors_are_not_described_as_rounding() -> None:
    # Twelve entries cannot show that errors have no pattern.
    target = CorruptedNetwork(add_noise("dX"))
    result = check(random_problem(4, 4, 3), target, edge_cases=False, minimal_example=False)
    assert result.verdict is Verdict.FAIL
    assert "rounding" not in descriptions(result)
