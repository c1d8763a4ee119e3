import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bncheck import InvalidInput, Problem, check, random_problem
from bncheck.model import network

SIZES = st.integers(1, 12)


@settings(max_examples=200, deadline=None)
@given(N=SIZES, D=SIZES, H=SIZES, seed=st.integers(0, 10**6), x_mean=st.floats(-1e3, 1e3))
def test_no_unit_of_a_random_problem_is_dead(N: int, D: int, H: int, seed: int, x_mean: float) -> None:
    p = random_problem(N, D, H, seed=seed, x_mean=x_mean)
    a, _ = network.forward(p.X, p.W, p.b, p.gamma, p.beta, p.bn_eps)
    assert (a > 0).any(axis=0).all()


def test_arrays_are_drawn_in_the_documented_order() -> None:
    p = random_problem(7, 5, 3, seed=11, x_mean=2.0, x_std=0.5)
    rng = np.random.default_rng(11)
    np.testing.assert_array_equal(p.X, 2.0 + 0.5 * rng.standard_normal((7, 5)))
    np.testing.assert_array_equal(p.W, rng.standard_normal((5, 3)) / np.sqrt(5))
    np.testing.assert_array_equal(p.b, 0.5 * rng.standard_normal(3))
    z, z2 = rng.standard_normal(3), rng.standard_normal(3)
    gamma = np.sign(z) * (0.5 + np.abs(z))
    flipped = np.where(np.sign(p.gamma) == np.sign(gamma), 1, -1)
    np.testing.assert_array_equal(p.gamma, flipped * gamma)
    np.testing.assert_array_equal(p.beta, flipped * (0.5 * gamma * z2))
    np.testing.assert_array_equal(p.dout, rng.standard_normal((7, 3)))


def test_a_problem_s_arrays_are_read_only() -> None:
    p = random_problem(3, 2, 2)
    with pytest.raises(ValueError, match="read-only"):
        p.X[0, 0] = 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"N": 0}, "N must be an integer of at least 1, got 0"),
        ({"D": -2}, "D must be an integer of at least 1, got -2"),
        ({"H": 2.5}, "H must be an integer of at least 1, got 2.5"),
        ({"N": True}, "N must be an integer of at least 1, got True"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
        ({"bn_eps": -1e-5}, "bn_eps must be a number from 0 to 1e+200, such as 1e-5, got -1e-05"),
        ({"bn_eps": float("nan")}, "bn_eps must be a number from 0 to 1e+200, such as 1e-5, got nan"),
        ({"bn_eps": 1e201}, "bn_eps must be a number from 0 to 1e+200, such as 1e-5, got 1e+201"),
        ({"bn_eps": 10**400}, "bn_eps must be a number from 0 to 1e+200"),
        ({"bn_eps": np.float32("inf")}, "bn_eps must be a number from 0 to 1e+200, such as 1e-5, got np.float32(inf)"),
        ({"bn_eps": "1e-5"}, "bn_eps must be a number from 0 to 1e+200, such as 1e-5, got '1e-5'"),
        ({"bn_eps": 1e-5j}, "bn_eps must be a number from 0 to 1e+200, such as 1e-5, got 1e-05j"),
        ({"bn_eps": 0.0, "N": 1}, "bn_eps must be at least 1e-200 if N = 1, because the variance is 0"),
        ({"N": 2**200}, "N must be at most 2**128, got an integer of 201 bits"),
        ({"x_mean": "3"}, "x_mean must be a finite number, got '3'"),
        ({"x_std": 10**400}, "x_std must be a positive finite number, got 1000"),
        ({"x_mean": float("inf")}, "x_mean must be a finite number, got inf"),
        ({"x_std": 0.0}, "x_std must be a positive finite number, got 0.0"),
        ({"x_std": 1e200}, "which overflows when squared"),
        ({"x_std": 1e-200, "bn_eps": 0.0}, "too small to divide by"),
        ({"x_mean": 1e300, "x_std": 1e-3}, "which overflows when squared"),
    ],
)
def test_a_value_out_of_range_is_rejected_with_the_value(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(message)):
        random_problem(**{"N": 4, "D": 3, "H": 2, **arguments})


def test_a_wrong_shape_is_reported_with_the_expected_shape() -> None:
    p = random_problem(4, 3, 2)
    with pytest.raises(InvalidInput, match=r"gamma must have shape \(2,\), since X .*, got \(3,\)"):
        Problem(p.X, p.W, p.b, np.ones(3), p.beta, p.dout, 1e-5)


@pytest.mark.parametrize("name", ["X", "W", "b", "gamma", "beta", "dout"])
@pytest.mark.parametrize(
    ("value", "shown"), [(np.nan, "nan"), (-np.inf, "-inf"), (1e300, "1e+300"), (-1.1e150, "-1.1e+150")]
)
def test_a_value_that_is_not_finite_or_too_large_is_reported_with_its_index_and_a_suggestion(
    name: str, value: float, shown: str
) -> None:
    problem = random_problem(4, 3, 2)
    array = getattr(problem, name).copy()
    array[-1] = value
    index = f"{len(array) - 1}, 0" if array.ndim == 2 else f"{len(array) - 1}"
    with pytest.raises(InvalidInput) as error:
        replace(problem, **{name: array})
    assert str(error.value) == (
        f"every entry of {name} must be finite and at most 1e+150 in magnitude, got {name}[{index}] = {shown}; "
        f"replace the entry, or rescale {name}"
    )


class Unreadable:
    """Cannot be converted to an array, like a tensor that requires a gradient."""

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise RuntimeError("call detach first")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones(2, complex), "beta has dtype complex128 and contains np.complex128(1+0j)"),
        (np.array(["1", "2"]), "beta has dtype <U1 and contains np.str_('1')"),
        (np.array([1.0, None]), "beta has dtype object and contains 1.0"),
        (None, "beta has dtype object and contains None"),
        ([[1.0], [1.0, 2.0]], "beta has type list, which NumPy cannot convert ("),
        (Unreadable(), "beta has type Unreadable, which NumPy cannot convert (call detach first)"),
        (
            np.array([np.longdouble("1e400"), 1]),
            "every entry of beta must be finite and at most 1e+150 in magnitude, got beta[0] = inf",
        ),
    ],
)
def test_a_value_that_is_not_an_array_of_real_numbers_is_rejected_in_one_line(values: Any, message: str) -> None:
    problem = random_problem(4, 3, 2)
    with pytest.raises(InvalidInput) as error:
        Problem(problem.X, problem.W, problem.b, problem.gamma, values, problem.dout, 1e-5)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_integers_booleans_and_lists_are_read_as_real_numbers() -> None:
    problem = Problem([[1, 2], [3, 5]], [[True], [False]], [0], np.ones(1, np.float16), [1], [[1], [2]], 1)  # type: ignore[arg-type]  # lists are converted
    assert {array.dtype for array in (problem.X, problem.W, problem.gamma)} == {np.dtype(np.float64)}
    assert check(problem).verdict is not None


@pytest.mark.parametrize(("X", "W"), [(1e100, 1e100), (1e150, 1.0), (-1e75, 1e75)])
def test_a_pre_activation_whose_terms_overflow_when_squared_is_rejected_at_every_eps(X: float, W: float) -> None:
    p = random_problem(4, 3, 2)
    with pytest.raises(
        InvalidInput, match=r"the terms of the pre-activation XW \+ b reach .*which overflows when squared"
    ):
        Problem(np.full_like(p.X, X), np.full_like(p.W, W), p.b, p.gamma, p.beta, p.dout, 1e-5)


def test_a_large_weight_of_a_feature_that_is_always_0_is_accepted() -> None:
    """The bound by norms is exceeded, but the terms themselves are moderate."""
    p = random_problem(4, 3, 2)
    X, W = p.X.copy(), p.W.copy()
    X[:, 0], W[0], X[0, 1] = 0.0, 1e149, 100.0
    assert Problem(X, W, p.b, p.gamma, p.beta, p.dout, 1e-5).N == 4
