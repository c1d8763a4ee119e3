"""The grid of a sweep: its axes and points."""

import math

import pytest

import bncheck
from bncheck import InvalidInput
from bncheck.sweeps.grid import SweepPoint
from tests.sweep_helpers import small_grid


def test_an_unknown_axis_is_an_error_that_lists_the_axes() -> None:
    with pytest.raises(InvalidInput, match="unknown axis 'gamma'; choose from target, N, D, H"):
        bncheck.sweep(gamma=[1])


def test_an_axis_without_values_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="seed is empty; expected at least one value"):
        bncheck.sweep(seed=[])


def test_a_target_in_a_sweep_is_a_name_and_not_an_object() -> None:
    with pytest.raises(
        InvalidInput, match="target must be the name of a file or module in a sweep, got <module 'math'"
    ):
        bncheck.sweep(target=[math])


def test_the_last_axis_varies_fastest_and_a_repeated_value_counts_once() -> None:
    grid = small_grid(seed=(0, 1, 0), step=("auto", 1e-3))
    assert [(point.seed, point.step) for point in grid.points()] == [(0, "auto"), (0, 1e-3), (1, "auto"), (1, 1e-3)]
    assert len(grid) == 4


def test_the_first_point_is_the_first_one_whose_problem_can_be_drawn() -> None:
    assert small_grid(N=(1, 8), bn_eps=(0.0,)).first_point == SweepPoint(N=8, D=5, H=4, bn_eps=0.0)


def test_the_problem_key_does_not_depend_on_scheme_and_step() -> None:
    points = list(small_grid(seed=(0, 1), scheme=("central", "complex"), step=("auto", 1e-3)).points())
    assert len({point.key for point in points}) == 8
    assert len({point.problem_key for point in points}) == 2
