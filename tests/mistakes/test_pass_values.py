"""The values of a pass: correct without a mistake, and consistent after a value is replaced."""

import copy
from typing import Any

import numpy as np
import pytest

from bncheck import random_problem
from bncheck.mistakes import NO_MISTAKE, Mistake, all_mistakes
from bncheck.mistakes.injected import FaultyNetwork
from bncheck.mistakes.pass_values import VALUE_ORDER, PassValues
from bncheck.model import network
from bncheck.model.components import BATCHNORM

WITH_FORMULAS = [m for m in all_mistakes() if m.replaces]
EXTREME = [((7, 5, 4), 1e200), ((7, 5, 4), 1e-300), ((1, 5, 4), 1e-5), ((1, 5, 4), 1e200)]


@pytest.mark.parametrize("shape", [(7, 5, 4), (1, 3, 2), (2, 1, 1), (4, 9, 9)])
def test_without_a_mistake_the_values_are_those_of_the_network(shape: tuple[int, int, int]) -> None:
    p = random_problem(*shape, seed=sum(shape))
    a, cache = network.forward(p.X, p.W, p.b, p.gamma, p.beta, p.bn_eps)
    values = PassValues.from_problem(p)
    np.testing.assert_allclose(values.a, a, rtol=1e-12, atol=1e-12)
    for name, expected in network.backward(p.dout, cache).items():
        np.testing.assert_allclose(values[name], expected, rtol=1e-9, atol=1e-9, err_msg=name)


def test_replacing_a_value_changes_later_values_and_no_earlier_ones() -> None:
    values = PassValues.from_problem(random_problem(6, 5, 4))
    before = {name: values[name] for name in VALUE_ORDER}
    replaced = values.replaced("g", 2 * values.g)
    assert np.array_equal(replaced.dh, 2 * before["dh"])
    assert all(replaced[name] is before[name] for name in ("h", "xhat", "y", "dy", "dgamma", "dbeta"))


def test_a_replaced_value_stays_replaced_if_an_earlier_value_is_replaced_too() -> None:
    values = PassValues.from_problem(random_problem(6, 5, 4))
    doubled = values.replaced("g", 2 * values.g)
    assert np.array_equal(doubled.replaced("var", 4 * values.var).g, doubled.g)


def test_replacing_rstd_changes_the_backward_pass_only() -> None:
    values = PassValues.from_problem(random_problem(6, 5, 4))
    replaced = values.replaced("rstd", 2 * values.rstd)
    assert np.array_equal(replaced.xhat, values.xhat)
    np.testing.assert_allclose(replaced.dh, 2 * values.dh)


def test_with_another_eps_only_the_values_that_depend_on_eps_are_recomputed() -> None:
    values = PassValues.from_problem(random_problem(6, 5, 4))
    var, sigma = values.var, values.sigma
    other = values.with_eps(0.5)
    assert other.var is var
    np.testing.assert_allclose(other.sigma**2 - sigma**2, 0.5 - values.eps)


def test_an_expression_is_evaluated_with_the_values_as_names() -> None:
    values = PassValues.from_problem(random_problem(6, 5, 4))
    assert np.array_equal(values.evaluate("np.sqrt(var) * N"), np.sqrt(values.var) * 6)


def test_an_unknown_value_is_an_attribute_error_and_values_can_be_copied() -> None:
    values = PassValues.from_problem(random_problem(6, 5, 4))
    with pytest.raises(AttributeError, match=r"^nothing$"):
        _ = values.nothing
    assert copy.copy(values).X is values.X


def test_dout_is_the_upstream_gradient_of_a_layer_that_is_checked_on_its_own() -> None:
    p = random_problem(6, 5, 4)
    assert PassValues.from_problem(p, BATCHNORM).dy is p.dout


def test_a_faulty_network_without_a_mistake_is_correct() -> None:
    p, target = random_problem(6, 5, 4), FaultyNetwork(NO_MISTAKE)
    a, cache = target.forward(p.X, p.W, p.b, p.gamma, p.beta, p.bn_eps)
    expected, correct_cache = network.forward(p.X, p.W, p.b, p.gamma, p.beta, p.bn_eps)
    np.testing.assert_allclose(a, expected, rtol=1e-12)
    for name, value in network.backward(p.dout, correct_cache).items():
        np.testing.assert_allclose(target.backward(p.dout, cache)[name], value, rtol=1e-9, atol=1e-12)


def test_no_two_mistakes_give_the_same_values_on_two_problems() -> None:
    compared: list[tuple[str, list[Any]]] = []
    problems = [random_problem(*shape, bn_eps=eps) for shape, eps in (((7, 5, 4), 0.5), ((4, 5, 9), 1e-5))]
    for mistake in WITH_FORMULAS:
        if mistake.undetectable_because:
            continue
        passes = [mistake.apply_to(PassValues.from_problem(p)) for p in problems]
        arrays = [w[name] for w in passes for name in ("h", "a", "dbeta", "dgamma", "dh", "db", "dW", "dX")]
        for code, other in compared:
            same = all(
                np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=1e-9, atol=1e-12, equal_nan=True)
                for a, b in zip(arrays, other, strict=True)
            )
            assert not same, (mistake.code, code)
        compared.append((mistake.code, arrays))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("mistake", WITH_FORMULAS, ids=lambda m: m.code)
@pytest.mark.parametrize(("shape", "eps"), EXTREME)
def test_a_formula_neither_raises_nor_warns_at_extreme_eps_and_batch_sizes(
    mistake: Mistake, shape: tuple[int, int, int], eps: float
) -> None:
    wrong = mistake.apply_to(PassValues.from_problem(random_problem(*shape, bn_eps=eps)))
    for name in VALUE_ORDER:
        _ = wrong[name]
