"""A wrong array that matches no mistake is described by true statements."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bncheck import Problem, Verdict, check, random_problem
from bncheck.model import network
from bncheck.model.layers import Array
from tests.faulty_targets import (
    CorruptedNetwork,
    Corruption,
    add_noise,
    change,
    combine_terms,
    descriptions,
    diagnosed,
    multiply,
)

pytestmark = pytest.mark.usefixtures("typical_edge_cases")

LARGE = random_problem(40, 8, 20, seed=3)

# A corruption, the only gradient that is diagnosed, and a part of its description.
DESCRIBED: dict[str, tuple[Corruption, str, str]] = {
    "other coefficients": (
        combine_terms(0.7, 1.2, 0.4), "dh", "the coefficients of its three terms are 0.7, 1.2, 0.4; expected 1, 1, 1"
    ),
    "gamma and the variance term missing": (
        lambda _, c, t: np.asarray((t[0] + t[1]) / c.batchnorm.gamma),
        "dh", "the coefficients of its three terms are 1/gamma, 1/gamma, 0; expected 1, 1, 1",
    ),
    "a number": (multiply("dW", 3), "dW", "it is 3 times the correct value"),
    "N/H": (lambda g, _, t: np.asarray(len(t[0]) / len(t[0].T) * g["dh"]), "dh", "it is N/H times the correct value"),
    "1/(N - 1)": (
        change("dbeta", lambda v, c: v / (len(c.relu) - 1)), "dbeta", "it is 1/(N - 1) times the correct value"
    ),
    "sigma squared": (change("dgamma", lambda v, c: v * c.batchnorm.sigma**2), "dgamma", "it is sigma^2 times"),
    "2/gamma": (change("dgamma", lambda v, c: 2 * v / c.batchnorm.gamma), "dgamma", "it is 2/gamma times"),
    "the last row": (
        multiply("dh", 2, -1), "dh", "wrong only in row 39, the last of 40; it is 2 times the correct value there"
    ),
    "the remainder after tiles": (
        multiply("dW", 1.5, np.s_[:, 16:]), "dW",
        "wrong only in columns 16-19, the last 4 of 20 (the remainder after tiles of 16?); "
        "it is 1.5 times the correct value there",
    ),
    "every other row": (multiply("dX", 1.01, np.s_[::2]), "dX", "wrong only in rows 0, 2, ... 38; it is 1.01 times"),
    "one entry": (multiply("dW", 1.5, (1, 2)), "dW", "wrong only in row 1 of 8 and column 2 of 20; it differs"),
    "weight decay": (
        change("dW", lambda v, c: v + 0.1 * c.affine.W), "dW", "the error is 0.1 times W: is weight decay included?"
    ),
    "dgamma instead of dbeta": (lambda g, _, __: g.update(dbeta=g["dgamma"]), "dbeta", "it is dgamma"),
    "reversed": (change("dgamma", lambda v, _: v[::-1]), "dgamma", "it is the correct value with its entries reversed"),
    "rounding": (add_noise("dX"), "dX", "and look random: probably rounding"),
    "not zero": (change("db", lambda v, _: v + 1e-3), "db", "it should be 0, but its largest entry is 0.001"),
    "a nan": (
        multiply("dbeta", np.nan, 3), "dbeta", "wrong only in unit 3 of 20; 1 of 1 entries there are nan or infinite"
    ),
    "other numbers": (
        change("dW", lambda v, _: np.random.default_rng(0).standard_normal(v.shape)),
        "dW", "it differs from the correct value",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DESCRIBED)
def test_an_array_that_matches_no_mistake_is_described(name: str) -> None:
    corruption, gradient, expected = DESCRIBED[name]
    result = check(random_problem(40, 8, 20, seed=3), CorruptedNetwork(corruption), minimal_example=False)
    assert result.verdict is Verdict.FAIL
    assert diagnosed(result) == [(None, gradient)]
    assert expected in descriptions(result)


@pytest.mark.parametrize("decay", [0.1, 0.01, 1e-5])
def test_a_small_weight_decay_is_not_described_as_rounding(decay: float) -> None:
    target = CorruptedNetwork(change("dW", lambda v, c: v + decay * c.affine.W))
    result = check(random_problem(40, 8, 6), target, minimal_example=False)
    assert f"the error is {decay:.3g} times W: is weight decay included?" in descriptions(result)


def test_a_single_entry_is_never_described_as_weight_decay() -> None:
    target = CorruptedNetwork(change("dW", lambda v, _: 2 * v + 1))
    result = check(random_problem(2, 1, 1), target, edge_cases=False, minimal_example=False)
    assert "decay" not in descriptions(result)


def test_gradients_in_another_order_are_described_and_match_no_mistake() -> None:
    def backward(dout: Array, cache: network.Cache) -> tuple[Array, ...]:
        g = network.backward(dout, cache)
        return g["dX"], g["dW"], g["dgamma"], g["dbeta"], g["db"]

    target = SimpleNamespace(forward=network.forward, backward=backward)
    result = check(random_problem(9, 6, 5), target, minimal_example=False)
    assert [d.code for d in result.diagnosis] == [None]
    assert "expected dX, dW, db, dgamma, dbeta, got dX, dW, dgamma, dbeta, db" in descriptions(result)


def test_a_constant_error_everywhere_is_described_without_region_and_factor() -> None:
    target = CorruptedNetwork(change("dW", lambda v, _: v + 3e-9))
    result = check(random_problem(40, 8, 6), target, minimal_example=False)
    assert "only" not in descriptions(result)
    assert "is 1 times" not in descriptions(result)


def test_dead_units_are_not_described_as_the_remainder_after_tiles() -> None:
    beta = LARGE.beta.copy()
    beta[:16] = -1e3
    problem = Problem(LARGE.X, LARGE.W, LARGE.b, LARGE.gamma, beta, LARGE.dout, 1e-5)
    target = CorruptedNetwork(combine_terms(1, 1, 0.3))
    result = check(problem, target, edge_cases=False, minimal_example=False)
    assert "only" not in descriptions(result)


@pytest.mark.parametrize(("name", "factor"), [("dX", 1.1), ("dgamma", 1.1), ("dX", 1 + 1e-6)])
def test_a_sampled_check_is_described_from_all_returned_entries(name: str, factor: float) -> None:
    target = CorruptedNetwork(multiply(name, factor))
    result = check(LARGE, target, engine="full", sample=10, edge_cases=False, minimal_example=False)
    assert "nan" not in descriptions(result)
    assert factor != 1.1 or "it is 1.1 times the correct value" in descriptions(result)


@pytest.mark.parametrize("value", [np.inf, np.nan, 1.7e308])
@pytest.mark.parametrize("name", ["dW", "dh"])
def test_extreme_values_are_described_without_a_warning(name: str, value: float) -> None:
    target = CorruptedNetwork(change(name, lambda v, _: value * np.sign(v)))
    assert check(LARGE, target, minimal_example=False).verdict is Verdict.FAIL


# A gradient, the value of wrong shape or type, and the description.
SHAPES: dict[str, tuple[str, Callable[[Array], Any], str]] = {
    "no sum": (
        "dgamma", lambda v: np.ones((9, len(v))),
        "its shape is (9, 5), expected (5,): the sum over the batch is missing",
    ),
    "outer": ("dgamma", lambda v: np.outer(v, v), "its shape is (5, 5), expected (5,)"),
    "flat": ("dX", np.ravel, "its shape is (54,), expected (9, 6): its entries, in this order, are correct"),
    "transposed": ("dX", lambda v: 2 * v.T, "its shape is (6, 9), expected (9, 6)"),
    "a scalar": ("dbeta", lambda v: v[0], "its shape is (), expected (5,)"),
    "complex": ("dW", lambda v: v + 0j, "it is of type complex128, expected real numbers of shape (6, 5)"),
    "empty": ("db", lambda v: v[:0], "its shape is (0,), expected (5,)"),
    "a stack": ("dh", lambda v: np.stack([v, v]), "its shape is (2, 9, 5), expected (9, 5)"),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_a_wrong_shape_or_type_is_described(shape: str) -> None:
    name, changed, expected = SHAPES[shape]
    target = CorruptedNetwork(change(name, lambda v, _: changed(v)))
    result = check(random_problem(9, 6, 5), target, edge_cases=False, minimal_example=False)
    assert (None, name) in diagnosed(result)
    assert all(d.code or any(d.description) for d in result.diagnosis)
    assert next(d.description[0] for d in result.diagnosis if d.gradient == name) == expected


@pytest.mark.parametrize("name", ["a", *SHAPES])
def test_every_diagnosis_has_a_code_or_a_description(name: str) -> None:
    def forward(*arrays: Any) -> tuple[Any, network.Cache]:
        a, cache = network.forward(*arrays)
        return (a.T if name == "a" else a[:, :1]), cache

    corruption = combine_terms(1, 1, 1) if name == "a" else change(SHAPES[name][0], lambda v, _: SHAPES[name][1](v))
    target = SimpleNamespace(forward=forward, backward=CorruptedNetwork(corruption).backward)
    result = check(random_problem(9, 6, 5), target, edge_cases=False, minimal_example=False)
    assert result.diagnosis
    assert all(d.code or any(d.description) for d in result.diagnosis)


def test_without_explanation_a_failure_has_no_diagnosis() -> None:
    target = CorruptedNetwork(combine_terms(2, 2, 2))
    assert check(random_problem(9, 6, 5), target, edge_cases=False, explain=False).diagnosis == ()


def test_a_passed_check_has_no_diagnosis() -> None:
    target = SimpleNamespace(forward=network.forward, backward=network.backward)
    result = check(random_problem(9, 6, 5), target)
    assert (result.diagnosis, result.wrong_part, result.minimal_example) == ((), None, None)
