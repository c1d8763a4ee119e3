import re
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bncheck import InvalidInput, Problem, check, random_problem
from bncheck.model import network
from bncheck.model.problem import memory_of_a_check

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
    ("arguments", "said"),
    [
        ({"N": 0}, "N is 0; it must be a whole number, 1 or larger"),
        ({"D": -2}, "D is -2"),
        ({"H": 2.5}, "H is 2.5"),
        ({"N": True}, "N is True"),
        ({"seed": -1}, "seed is -1"),
        ({"bn_eps": -1e-5}, "bn_eps is -1e-05"),
        ({"bn_eps": float("nan")}, "bn_eps is nan"),
        ({"bn_eps": 1e201}, "bn_eps is 1e+201; it must be a number from 0 to 1e+200"),
        ({"bn_eps": 10**400}, "it must be a number from 0 to 1e+200"),
        ({"bn_eps": np.float32("inf")}, "bn_eps is np.float32(inf); it must be a number"),
        ({"bn_eps": "1e-5"}, "bn_eps is '1e-5'; it must be a number"),
        ({"bn_eps": 1e-5j}, "bn_eps is 1e-05j; it must be a number"),
        ({"bn_eps": 0.0, "N": 1}, "bn_eps is 0.0 with N = 1"),
        ({"x_mean": float("inf")}, "x_mean is inf"),
        ({"x_std": 0.0}, "x_std is 0.0"),
        ({"x_std": 1e200}, "whose square float64 cannot hold"),
        ({"x_std": 1e-200, "bn_eps": 0.0}, "too small to divide by"),
        ({"x_mean": 1e300, "x_std": 1e-3}, "whose square float64 cannot hold"),
    ],
)
def test_a_value_out_of_range_is_shown_and_refused(arguments: dict[str, float], said: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(said)):
        random_problem(**{"N": 4, "D": 3, "H": 2, **arguments})  # type: ignore[arg-type]  # on purpose


def test_a_size_beyond_memory_is_refused_before_anything_is_allocated() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput, match=r"needs about 1\d\d\.\d TB of memory and this machine"):
            random_problem(10**6, 10**6, 50)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10**6


@pytest.mark.parametrize("shape", [(300, 300, 300), (600, 600, 8), (600, 8, 600), (8, 600, 600)])
def test_the_stated_memory_is_enough_for_a_check_and_not_twice_too_much(shape: tuple[int, int, int]) -> None:
    tracemalloc.start()
    try:
        check(random_problem(*shape))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.5 < peak / memory_of_a_check(*shape) < 1


def test_a_problem_made_by_hand_says_which_shape_does_not_fit() -> None:
    p = random_problem(4, 3, 2)
    with pytest.raises(InvalidInput, match=r"gamma has shape \(3,\).*it must be \(2,\)"):
        Problem(p.X, p.W, p.b, np.ones(3), p.beta, p.dout, 1e-5)


@pytest.mark.parametrize("name", ["X", "W", "b", "gamma", "beta", "dout"])
@pytest.mark.parametrize(
    ("value", "shown"), [(np.nan, "nan"), (-np.inf, "-inf"), (1e300, "1e+300"), (-1.1e150, "-1.1e+150")]
)
def test_a_value_that_no_check_can_use_is_refused_with_its_place_and_a_suggestion(
    name: str, value: float, shown: str
) -> None:
    problem = random_problem(4, 3, 2)
    array = getattr(problem, name).copy()
    array[-1] = value
    place = f"{len(array) - 1}, 0" if array.ndim == 2 else f"{len(array) - 1}"
    with pytest.raises(InvalidInput) as refused:
        replace(problem, **{name: array})
    assert str(refused.value) == (
        f"{name}[{place}] is {shown}; every entry must be finite and at most 1e+150 in magnitude: "
        f"replace the entry, or rescale {name}"
    )


class Unreadable:
    """Refuses to become an array, as a tensor that requires a gradient does."""

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise RuntimeError("call detach first")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.ones(2, complex), "beta has dtype complex128 and holds np.complex128(1+0j)"),
        (np.array(["1", "2"]), "beta has dtype <U1 and holds np.str_('1')"),
        (np.array([1.0, None]), "beta has dtype object and holds 1.0"),
        (None, "beta has dtype object and holds None"),
        ([[1.0], [1.0, 2.0]], "beta is of type list, which NumPy cannot convert ("),
        (Unreadable(), "beta is of type Unreadable, which NumPy cannot convert (call detach first)"),
        (np.array([np.longdouble("1e400"), 1]), "beta[0] is inf; every entry must be finite"),
    ],
)
def test_what_is_not_an_array_of_real_numbers_is_refused_in_one_sentence(values: object, said: str) -> None:
    problem = random_problem(4, 3, 2)
    with pytest.raises(InvalidInput) as refused:
        Problem(problem.X, problem.W, problem.b, problem.gamma, values, problem.dout, 1e-5)  # type: ignore[arg-type]  # on purpose
    assert str(refused.value).startswith(said)
    assert "\n" not in str(refused.value)


def test_integers_booleans_and_lists_are_read_as_real_numbers() -> None:
    problem = Problem([[1, 2], [3, 5]], [[True], [False]], [0], np.ones(1, np.float16), [1], [[1], [2]], 1)  # type: ignore[arg-type]  # on purpose
    assert {array.dtype for array in (problem.X, problem.W, problem.gamma)} == {np.dtype(np.float64)}
    assert check(problem).verdict is not None


@pytest.mark.parametrize(("X", "W"), [(1e100, 1e100), (1e150, 1.0), (-1e75, 1e75)])
def test_terms_of_the_pre_activation_that_overflow_when_squared_are_refused_at_every_eps(X: float, W: float) -> None:
    p = random_problem(4, 3, 2)
    with pytest.raises(InvalidInput, match=r"the terms of the pre-activation XW \+ b reach .*whose square"):
        Problem(np.full_like(p.X, X), np.full_like(p.W, W), p.b, p.gamma, p.beta, p.dout, 1e-5)


def test_a_large_weight_that_meets_zeros_only_is_accepted() -> None:
    """The quick bound by norms is exceeded, the terms themselves are moderate."""
    p = random_problem(4, 3, 2)
    X, W = p.X.copy(), p.W.copy()
    X[:, 0], W[0], X[0, 1] = 0.0, 1e149, 100.0
    assert Problem(X, W, p.b, p.gamma, p.beta, p.dout, 1e-5).N == 4
