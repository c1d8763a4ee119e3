"""A mistake is identified if, and only if, it gives the returned arrays."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bncheck import Problem, Verdict, check, random_problem
from bncheck.mistakes import Mistake, all_mistakes, mistake_named
from bncheck.mistakes.injected import FaultyNetwork, faulty_layers
from bncheck.mistakes.pass_values import PassValues
from bncheck.model import network
from bncheck.model.diagnosis_records import Terms
from bncheck.model.layers import Array
from tests import faulty_targets
from tests.faulty_targets import (
    CorruptedNetwork,
    CorruptedNetworkInHalfPrecision,
    CorruptedNetworkWithoutDh,
    WrittenMistake,
    change,
    change_mistake,
    combine_terms,
    descriptions,
    diagnosed,
    layers_with,
    multiply,
)
from tests.python_targets import Gradients

pytestmark = pytest.mark.usefixtures("typical_edge_cases")

LARGE = random_problem(40, 8, 20, seed=3)
# gamma from 1e-7 to 1e7, so that the columns of the gradients differ in size.
GAMMA = np.logspace(-7, 7, 20) * LARGE.gamma
WITH_SMALL_COLUMNS = Problem(LARGE.X, LARGE.W, LARGE.b, GAMMA, np.logspace(-7, 7, 20) * LARGE.beta, LARGE.dout, 1e-5)

DETECTABLE = [m for m in all_mistakes() if not m.undetectable_because]
# The dX and dW of BN701 do not exist, so a network cannot return them.
WRITTEN = [m for m in DETECTABLE if m.replaces and not m.layer_only and m.code != "BN701"]
# These forward passes are written without their backward pass, which the catalogue replaces as well.
FORWARD_ONLY = ("BN102", "BN103", "BN107")


@pytest.mark.parametrize("mistake", WRITTEN, ids=lambda m: m.code)
def test_a_mistake_is_identified_in_code_that_differs_from_the_formula(mistake: Mistake) -> None:
    result = check(random_problem(9, 6, 5, seed=1), WrittenMistake(mistake), minimal_example=False)
    first, *others = result.diagnosis
    assert (first.code, first.alternatives) == (mistake.code, ())
    assert (first.relative_distance or 0.0) < 1e-9
    assert {d.code for d in others} <= ({None} if mistake.code in FORWARD_ONLY else set())


@pytest.mark.parametrize("mistake", [m for m in DETECTABLE if m not in WRITTEN], ids=lambda m: m.code)
def test_a_mistake_that_no_line_of_a_network_makes_is_identified(mistake: Mistake) -> None:
    target = faulty_layers(mistake) if mistake.layer_only else FaultyNetwork(mistake)
    result = check(random_problem(9, 6, 5, seed=1), target, minimal_example=False)
    assert [(d.code, d.alternatives) for d in result.diagnosis] == [(mistake.code, ())]
    if not mistake.is_side_effect:
        assert result.verdict is Verdict.FAIL
        assert (result.diagnosis[0].relative_distance or 0.0) < 1e-12


def test_an_undetectable_mistake_passes() -> None:
    assert check(random_problem(9, 6, 5), FaultyNetwork(mistake_named("BN404"))).verdict is Verdict.PASS


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_mistake_is_identified_in_low_precision(dtype: type) -> None:
    target = change_mistake(mistake_named("BN204"), lambda g: {name: value.astype(dtype) for name, value in g.items()})
    result = check(random_problem(30, 6, 5), target, minimal_example=False)
    assert diagnosed(result) == [("BN204", "dh")]
    assert result.diagnosis[0].relative_distance is not None
    assert result.diagnosis[0].relative_distance > 1e-9


def test_gradients_that_follow_from_a_mistake_are_listed_with_it() -> None:
    (diagnosis,) = check(
        random_problem(9, 6, 5), FaultyNetwork(mistake_named("BN201")), minimal_example=False
    ).diagnosis
    assert (diagnosis.gradient, diagnosis.also_explains) == ("dh", ("dW", "dX", "db"))
    assert diagnosis.name == mistake_named("BN201").name
    assert diagnosis.terms == Terms(1.0, 0.0, 0.0, 0.0, True, ("1", "0", "0"))


def test_a_mistake_that_only_an_edge_case_reveals_is_identified() -> None:
    problem = random_problem(20, 6, 5, bn_eps=1e-13)
    result = check(problem, FaultyNetwork(mistake_named("BN602")), minimal_example=False)
    assert all(g.verdict is Verdict.PASS for g in result.gradients.values())
    assert diagnosed(result) == [("BN602", "dh")]


def test_mistakes_that_the_problem_does_not_distinguish_are_all_listed() -> None:
    # With N = 2 the factors N / (N - 1), 2 and N are the same.
    problem, target = random_problem(2, 6, 5, bn_eps=0.1), FaultyNetwork(mistake_named("BN216"))
    (diagnosis,) = check(problem, target, edge_cases=False, minimal_example=False).diagnosis
    assert {diagnosis.code, *diagnosis.alternatives} == {"BN214", "BN216", "BN233"}


def test_the_standard_backward_pass_of_a_wrong_forward_pass_is_explained_with_it() -> None:
    result = check(random_problem(9, 6, 5), FaultyNetwork(mistake_named("BN101")), minimal_example=False)
    (diagnosis,) = result.diagnosis
    assert (diagnosis.code, diagnosis.gradient) == ("BN101", "a")
    assert set(diagnosis.also_explains) == {"dW", "dX"}
    assert result.wrong_part is not None
    assert result.wrong_part.part == "the forward pass (forward); the backward pass is not its derivative"


def test_the_correct_derivative_of_a_wrong_forward_pass_gets_no_diagnosis() -> None:
    result = check(random_problem(9, 6, 5), FaultyNetwork(mistake_named("BN107")), minimal_example=False)
    assert diagnosed(result) == [("BN107", "a")]
    assert result.diagnosis[0].also_explains == ()
    assert result.wrong_part is not None
    assert result.wrong_part.part == "the forward pass (forward); the backward pass is its correct derivative"


def test_two_mistakes_are_both_identified() -> None:
    def corrupt(g: Gradients, _: network.Cache, terms: faulty_targets.Terms) -> Array:
        g["dgamma"] /= len(terms[0])
        return terms[0] + terms[1]

    result = check(random_problem(9, 6, 5), CorruptedNetwork(corrupt), minimal_example=False)
    assert diagnosed(result) == [("BN301", "dgamma"), ("BN204", "dh")]


def test_a_mistake_after_another_one_is_identified() -> None:
    target = change_mistake(mistake_named("BN204"), lambda g: {**g, "dW": -g["dW"]})
    result = check(random_problem(9, 6, 5), target, minimal_example=False)
    assert diagnosed(result) == [("BN204", "dh"), ("BN506", "dW")]
    assert result.diagnosis[0].also_explains == ("dX",)


def test_the_mistake_that_leaves_the_next_error_explained_comes_first() -> None:
    """dbeta matches a mask that is missing everywhere or in the sums only; a second mistake in dh decides."""

    class TwoMistakes(FaultyNetwork):
        def backward(self, dout: Array, cache: Any) -> Gradients:
            first, second = mistake_named("BN401"), mistake_named("BN231")
            w = second.apply_to(first.apply_to(PassValues({**cache, "dout": dout})))
            return {name: getattr(w, name) for name in ("dX", "dW", "db", "dgamma", "dbeta", "dh")}

    result = check(random_problem(9, 6, 5), TwoMistakes(mistake_named("BN401")), minimal_example=False)
    assert diagnosed(result) == [("BN401", "dbeta"), ("BN231", "dh")]
    assert "BN313" in result.diagnosis[0].alternatives


def test_a_mistake_in_one_of_two_gradients_is_reported_as_such() -> None:
    target = CorruptedNetwork(change("dgamma", lambda v, cache: v / len(cache.relu)))
    result = check(random_problem(9, 6, 5), target, minimal_example=False)
    assert result.diagnosis[0].message.endswith("Only dgamma is affected.")


@pytest.mark.parametrize(
    ("code", "message"), [("BN801", "dout"), ("BN802", " W "), ("BN803", "second")]
)  # fmt: skip
def test_a_side_effect_is_identified_by_its_note(code: str, message: str) -> None:
    result = check(random_problem(9, 6, 5), FaultyNetwork(mistake_named(code)))
    (diagnosis,) = result.diagnosis
    assert (diagnosis.code, diagnosis.gradient) == (code, None)
    assert message in diagnosis.message


def test_correct_code_that_fails_a_strict_rtol_matches_no_mistake() -> None:
    result = check(LARGE, faulty_targets.correct_network(), rtol=1e-9, atol=0.0, minimal_example=False)
    assert result.verdict is Verdict.FAIL
    assert {d.code for d in result.diagnosis} <= {None}


@pytest.mark.parametrize("scheme", ["central", "complex"])
def test_a_single_wrong_entry_matches_no_mistake(scheme: str) -> None:
    target = CorruptedNetwork(multiply("dh", 1 + 1e-7, (3, 4)))
    result = check(LARGE, target, scheme=scheme, minimal_example=False)
    assert diagnosed(result) in ([(None, "dh")], [])
    if scheme == "complex":
        assert "only in row 3 of 40 and column 4 of 20" in descriptions(result)


@pytest.mark.parametrize("factor", [0.3, 0.51])
def test_in_half_precision_a_coefficient_does_not_match_another_one(factor: float) -> None:
    result = check(LARGE, CorruptedNetworkInHalfPrecision(combine_terms(1, 1, factor)), minimal_example=False)
    assert {d.code for d in result.diagnosis} <= {None}


def test_the_standard_mask_after_a_leaky_forward_pass_is_not_another_mistake() -> None:
    def forward(*arrays: Any) -> tuple[Array, network.Cache]:
        _, cache = network.forward(*arrays)
        y = arrays[3] * cache.batchnorm.xhat + arrays[4]
        return np.where(y > 0, y, 0.01 * y), cache

    target = SimpleNamespace(forward=forward, backward=network.backward)
    assert diagnosed(check(LARGE, target, minimal_example=False)) == [("BN408", "a")]


def test_an_error_in_a_small_column_prevents_a_match() -> None:
    def corrupt(_: Gradients, __: network.Cache, terms: faulty_targets.Terms) -> Array:
        dh = terms[0] + terms[1]
        dh[:, 0] *= -3
        return dh

    result = check(WITH_SMALL_COLUMNS, CorruptedNetwork(corrupt), edge_cases=False, minimal_example=False)
    assert "BN204" not in {d.code for d in result.diagnosis}


def test_gradients_of_nan_only_match_no_mistake() -> None:
    def corrupt(g: Gradients, _: network.Cache, __: faulty_targets.Terms) -> None:
        g.update({name: np.full_like(g[name], np.nan) for name in ("dh", "dX", "dW", "db")})

    result = check(random_problem(1, 4, 3), CorruptedNetwork(corrupt), edge_cases=False, minimal_example=False)
    assert {d.code for d in result.diagnosis} == {None}


def test_a_match_on_a_single_problem_is_marked_as_such() -> None:
    target = CorruptedNetwork(lambda g, _, __: 2 * g["dh"])
    result = check(random_problem(2, 4, 3), target, edge_cases=False, minimal_example=False)
    assert "this diagnosis is based on one problem only" in descriptions(result)


def test_a_difference_of_more_than_rounding_prevents_a_match() -> None:
    result = check(random_problem(40, 8, 6), CorruptedNetwork(combine_terms(1, 1, 1e-10)), minimal_example=False)
    assert diagnosed(result) == [(None, "dh")]


def test_if_dh_is_not_returned_a_mistake_must_explain_all_gradients_after_it() -> None:
    class NoiseInDX(CorruptedNetworkWithoutDh):
        def backward(self, dout: Array, cache: network.Cache) -> Gradients:
            g = super().backward(dout, cache)
            return {**g, "dX": np.random.default_rng(0).standard_normal(g["dX"].shape)}

    result = check(random_problem(40, 8, 6), NoiseInDX(combine_terms(1, 1, 0)), minimal_example=False)
    assert {d.code for d in result.diagnosis} == {None}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("eps", [1e200, 1e-300])
def test_a_failure_at_an_extreme_eps_is_explained_without_a_warning(eps: float) -> None:
    result = check(random_problem(9, 6, 5, bn_eps=eps), FaultyNetwork(mistake_named("BN301")), minimal_example=False)
    assert diagnosed(result) == [("BN301", "dbeta")]


# The lines of the forward pass that each mistake replaces.
FORWARD_MISTAKES: dict[str, dict[str, str]] = {
    "BN101": {"v": "x.var(axis=0, ddof=1) if len(x) > 1 else np.full(x.shape[1], np.nan)"},
    "BN102": {"s": "(v + EPS) ** 2"},
    "BN103": {"s": "v + EPS"},
    "BN104": {"s": "np.sqrt(x.std(axis=0) + EPS)"},
    "BN105": {"xhat": "x / s"},
    "BN106": {"v": "(x ** 2).mean(axis=0)"},
    "BN108": {"mu": "x.mean(axis=1)[:, None]", "v": "x.var(axis=1)[:, None]"},
    "BN109": {"mu": "x.mean()", "v": "x.var()"},
    "BN111": {"out": "xhat + beta"},
    "BN112": {"out": "gamma * xhat"},
    "BN113": {"out": "beta * xhat + gamma"},
    "BN115": {"v": "((x - mu) ** 2).sum(axis=0)"},
    "BN116": {"xhat": "(x - mu) * s"},
    "BN606": {"s": "np.sqrt(v) + EPS"},
}


@pytest.mark.parametrize("code", FORWARD_MISTAKES)
def test_a_forward_mistake_is_identified_if_eps_is_hard_coded(code: str) -> None:
    problem = random_problem(16, 5, 4)
    first, *_ = check(problem, layers_with(FORWARD_MISTAKES[code], "1e-8"), minimal_example=False).diagnosis
    assert (first.code, first.alternatives, first.gradient) == (code, (), "out")
    assert first.description == ("the code uses eps = 1e-08 instead of the given value",)
    with_given_eps = layers_with(FORWARD_MISTAKES[code], "bn_param['eps']")
    expected, *_ = check(problem, with_given_eps, edge_cases=False, minimal_example=False).diagnosis
    assert expected.also_explains == first.also_explains


@pytest.mark.parametrize("eps", ["1e-12", "2.5e-4", "0.1", "0.5", "np.finfo(float).eps"])
def test_a_hard_coded_eps_is_computed_from_the_output(eps: str) -> None:
    target = layers_with(FORWARD_MISTAKES["BN103"], eps)
    first, *_ = check(random_problem(16, 5, 4), target, minimal_example=False).diagnosis
    assert first.code == "BN103"
    assert first.description == (f"the code uses eps = {eval(eps):.3g} instead of the given value",)


def test_constants_that_one_problem_does_not_distinguish_are_all_listed() -> None:
    target = layers_with(FORWARD_MISTAKES["BN115"], "1e-12")
    first, *_ = check(random_problem(16, 5, 4), target, edge_cases=False, minimal_example=False).diagnosis
    expected = "the code uses eps = 2.22e-16 or 1e-12 or 1e-15 or 1e-16 instead of the given value"
    assert first.description[0] == expected


def test_batch_norm_with_a_hard_coded_eps_is_described() -> None:
    (diagnosis,) = check(random_problem(16, 5, 4), layers_with({}, "0.5"), minimal_example=False).diagnosis
    expected = ("it is batch norm with eps = 0.5 instead of the given value",)
    assert (diagnosis.code, diagnosis.description) == (None, expected)


def test_a_backward_mistake_is_identified_after_a_forward_mistake_with_a_hard_coded_eps() -> None:
    target = layers_with(FORWARD_MISTAKES["BN101"], "1e-8", dx="(g - g.mean(0)) / s")
    result = check(random_problem(16, 5, 4), target, minimal_example=False)
    assert diagnosed(result) == [("BN101", "out"), ("BN204", "dx")]


def test_a_forward_pass_that_no_constant_eps_explains_matches_no_mistake() -> None:
    target = layers_with({"s": "np.sqrt(v + 1e-8) ** 1.01"}, "1e-8")
    first, *_ = check(random_problem(16, 5, 4), target, minimal_example=False).diagnosis
    assert (first.code, first.gradient) == (None, "out")
    assert "eps" not in "; ".join(first.description)
