import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bncheck import InvalidInput, Problem, check, network, random_problem
from bncheck.problem import memory_of_a_check

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
        ({"bn_eps": 0.0, "N": 1}, "bn_eps is 0.0 with N = 1"),
        ({"x_mean": float("inf")}, "x_mean is inf"),
        ({"x_std": 0.0}, "x_std is 0.0"),
        ({"x_std": 1e200}, "whose square float64 cannot hold"),
        ({"x_std": 1e-200, "bn_eps": 0.0}, "too small to divide by"),
        ({"x_mean": 1e300, "x_std": 1e-3}, "whose square float64 cannot hold"),
    ],
)
def test_a_value_out_of_range_is_shown_and_refused(arguments: dict[str, float], said: str) -> None:
    with pytest.raises(InvalidInput, match=said.replace(".", r"\.")):
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
