"""Numerical gradients compared with the exact ones, and the two engines with each other."""

import itertools
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from bncheck import Problem, Verdict, check, random_problem
from bncheck.model.components import BATCHNORM, NETWORK, RELU, Component
from bncheck.model.layers import Array
from bncheck.model.options import CheckOptions
from bncheck.model.problem import FloatArray
from bncheck.model.results import Cause, Measurement, NumericalGradient
from bncheck.numerical.error_bounds import dominant_cause
from bncheck.numerical.measure import measure, with_sigma_error
from bncheck.numerical.schemes import SCHEMES
from bncheck.selftest.problems import hard_problem
from tests.numerical.measuring import COMPONENTS, measure_all, plan_all
from tests.oracles import exact_gradients

STEPS: tuple[float | str, ...] = ("auto", 1e-3, 1e-6, 1e-10)
SHAPES = [(1, 1, 1), (1, 5, 4), (2, 1, 1), (2, 6, 3), (3, 4, 1), (9, 7, 5), (30, 2, 3)]
each_component = pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.name)


def exact_gradients_of(measurement: Measurement) -> Mapping[str, Array]:
    problem, component = measurement.problem, measurement.component
    return exact_gradients(component.name, component.arrays(problem), problem.dout, problem.bn_eps)


@each_component
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_exact_gradient_is_within_the_error_bound(scheme: str, component: Component) -> None:
    for seed, step in itertools.product(range(8), STEPS):
        problem = hard_problem(seed, 4)  # small enough for 50 digits and plain loops
        exact = None
        for engine in ("local", "full"):
            measurement = measure_all(problem, component, scheme=scheme, step=step, engine=engine)
            exact = exact or exact_gradients_of(measurement)
            for name, gradient in measurement.gradients.items():
                bounded = np.isfinite(gradient.error_bound)
                error = np.abs(gradient.value - exact[name])
                assert (error <= gradient.error_bound)[bounded].all(), (seed, step, engine, name)
                assert bounded.any() or step != "auto", (seed, step, engine, name)


@each_component
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("shape", SHAPES)
def test_both_engines_agree_within_the_rounding_bounds(
    scheme: str, shape: tuple[int, int, int], component: Component
) -> None:
    for (seed, x_mean), step in itertools.product(((0, 0.0), (1, 30.0)), STEPS):
        problem = random_problem(*shape, seed=seed, x_mean=x_mean)
        bounds = plan_all(problem, component, scheme=scheme, step=step).bounds
        local = measure_all(problem, component, scheme=scheme, step=step).gradients
        full = measure_all(problem, component, scheme=scheme, step=step, engine="full").gradients
        for name in component.inputs:
            bound = np.broadcast_to(bounds.rounding[name] + bounds.base_rounding[name], local[name].value.shape)
            usable = np.isfinite(full[name].error_bound)
            difference = np.abs(local[name].value - full[name].value)
            assert (difference <= bound)[usable].all(), (seed, step, name)


def test_the_truncation_bound_is_reached_within_a_factor_of_3_where_truncation_dominates() -> None:
    measurement = measure_all(random_problem(3, 3, 2, seed=1), step=1e-2)
    exact = exact_gradients_of(measurement)
    ratios = [
        float((np.abs(gradient.value - exact[name]) / gradient.error_bound).max())
        for name, gradient in measurement.gradients.items()
    ]
    assert max(ratios) > 1 / 3


@pytest.mark.parametrize("engine", ["local", "full"])
@pytest.mark.parametrize("component", [NETWORK, BATCHNORM], ids=lambda component: component.name)
def test_each_unit_can_have_a_different_eps_even_a_negative_one(component: Component, engine: str) -> None:
    for seed, N in itertools.product(range(3), (2, 5)):
        problem = random_problem(N, 3, 4, seed=seed)
        variance = (problem.X @ problem.W + problem.b).var(axis=0)
        eps = np.array([1e-5, 0.3, -1e-7 * variance[2], -0.4 * variance[3]])
        for scheme in SCHEMES:
            options = CheckOptions(scheme, engine, cross_check_entries=64)
            measurement = measure(problem, component, options, component.inputs, bn_eps=eps)
            assert measurement.cross_check is None or measurement.cross_check.agrees
            exact = exact_gradients_by_unit(measurement, eps)
            for name, gradient in measurement.gradients.items():
                error = np.abs(gradient.value - exact[name])
                assert (error <= gradient.error_bound).all(), (seed, N, scheme, name)
                assert np.isfinite(gradient.error_bound).all() or scheme == "forward", (seed, N, scheme, name)


def exact_gradients_by_unit(measurement: Measurement, eps: FloatArray) -> dict[str, FloatArray]:
    """Differentiate each unit as a separate network; dX is the sum over the units."""
    p, component, gradients = measurement.problem, measurement.component, []
    for j in range(p.H):
        unit = Problem(p.X, p.W[:, [j]], p.b[[j]], p.gamma[[j]], p.beta[[j]], p.dout[:, [j]], 1.0)
        gradients.append(exact_gradients(component.name, component.arrays(unit), unit.dout, float(eps[j])))
    return {
        name: sum(g["X"] for g in gradients) if name == "X" else np.concatenate([g[name] for g in gradients], axis=-1)
        for name in measurement.gradients
    }


def test_relu_is_measured_at_the_output_of_batch_norm_with_the_given_eps() -> None:
    problem, eps = random_problem(6, 3, 2, seed=5), np.array([0.5, 2.0])
    y = RELU.arrays(problem, bn_eps=eps)["y"]
    assert not np.array_equal(y > 0, RELU.arrays(problem)["y"] > 0)
    for engine in ("local", "full"):
        measurement = measure(problem, RELU, CheckOptions(engine=engine), ("y",), bn_eps=eps)
        expected = np.where(y > 0, problem.dout, 0)
        np.testing.assert_allclose(measurement.gradients["y"].value, expected, rtol=1e-9, atol=0)
        np.testing.assert_array_equal(measurement.output, np.maximum(y, 0))


def test_conditioning_is_infinite_where_the_arithmetic_of_the_target_cannot_represent_sigma() -> None:
    p = random_problem(6, 3, 3, seed=1)
    W = p.W.copy()
    W[1, 2] = 0.0  # unit 2 does not depend on feature 1
    problem = Problem(p.X, W, p.b + np.array([0, 0, 1e6]), p.gamma, p.beta, p.dout, p.bn_eps)
    for roundoff_factor, is_lost in ((1.0, False), (2.0**29, True)):
        measurement = measure(problem, BATCHNORM, CheckOptions(), BATCHNORM.inputs, roundoff_factor=roundoff_factor)
        infinite = {name: np.isinf(gradient.conditioning) for name, gradient in measurement.gradients.items()}
        assert infinite["h"].all(axis=0).tolist() == [False, False, is_lost]
        assert infinite["gamma"].tolist() == [False, False, is_lost]
        assert not infinite["beta"].any()
        assert np.isinf(measurement.output_bound).all(axis=0).tolist() == [False, False, is_lost]
        assert all(np.isfinite(gradient.error_bound).all() for gradient in measurement.gradients.values())
    # In such a unit the kink guard excludes every output, unless beta is far from 0.
    beta = p.beta + np.array([0, 0, 1e9])
    network_problem = Problem(problem.X, W, problem.b, p.gamma, beta, p.dout, p.bn_eps)
    gradients = measure(network_problem, NETWORK, CheckOptions(), NETWORK.inputs, roundoff_factor=2.0**29).gradients
    assert np.isinf(gradients["X"].conditioning).all(axis=0).tolist() == [True, False, True]
    assert np.isinf(gradients["W"].conditioning).all(axis=0).tolist() == [False, False, True]


def test_the_rounding_bound_of_a_unit_does_not_depend_on_the_dout_of_the_others() -> None:
    p = random_problem(6, 5, 3)
    alone = plan_all(replace(p, dout=1e-200 * p.dout)).bounds.rounding
    together = plan_all(replace(p, dout=p.dout * np.array([1e-200, 1.0, 1e100]))).bounds.rounding
    for name in ("W", "b", "gamma", "beta", "h"):
        np.testing.assert_allclose(together[name][..., 0], alone[name][..., 0], rtol=1e-12, atol=0)


def test_a_problem_scaled_by_a_million_has_the_resolution_of_an_unscaled_one() -> None:
    resolutions = [
        check(random_problem(20, 10, 6, x_std=scale, bn_eps=1e-5 * scale**2)).resolution for scale in (1e-6, 1.0, 1e6)
    ]
    assert max(resolutions) < 1.5 * min(resolutions)


def test_the_dominant_cause_uses_only_evaluated_entries_with_terms() -> None:
    gradient = NumericalGradient(
        value=np.zeros(3),
        evaluated=np.ones(3, bool),
        requested=3,
        error_bound=np.zeros(3),
        truncation=np.array([5.0, 1.0, 1.0]),
        rounding=np.array([1.0, 3.0, 1.0]),
        conditioning=np.array([1.0, 1.0, 9.0]),
        term_size=np.array([1.0, 1.0, 0.0]),
        exact_zero=False,
    )
    without_first = replace(gradient, evaluated=np.array([False, True, True]))
    assert dominant_cause(without_first, 1.0) is Cause.ROUNDING
    assert dominant_cause(gradient, 1.0) is Cause.TRUNCATION
    assert dominant_cause(gradient, 2.0**29) is Cause.CONDITIONING


@pytest.mark.parametrize(("sigma_error", "cause"), [(1e-12, Cause.TRUNCATION), (1.0, Cause.CONDITIONING)])
def test_an_error_of_sigma_is_the_dominant_cause_only_if_it_is_larger_than_the_others(
    sigma_error: float, cause: Cause
) -> None:
    measurement = with_sigma_error(measure_all(random_problem(6, 5, 3), step=1e-2), np.full(3, sigma_error))
    assert dominant_cause(measurement.gradients["X"], 1.0) is cause


@pytest.mark.parametrize("scheme", ["central", "five-point", "richardson"])
def test_a_step_of_a_weight_does_not_shift_h_by_more_than_the_size_of_its_terms(scheme: str) -> None:
    """The standard deviation of a feature that is 1 except in one bit is 4e-18: a step for it alone shifts h by 1e12.

    The rounding of the sum of h over the batch would then carry outputs across the kink that the step itself does not,
    and the full engine would have no usable value for the weights of that feature.
    """
    p = random_problem(3000, 3, 6)
    X = p.X.copy()
    X[:, 1], X[0, 1] = 1.0, 1 + 2.0**-52
    result = check(replace(p, X=X), scheme=scheme, engine="full", only=["dW"])
    assert result.gradients["dW"].unresolved == 0
    assert result.verdict is Verdict.PASS


def test_a_sample_is_drawn_without_replacement_and_counted() -> None:
    result = check(random_problem(6, 5, 4), engine="full", sample=7)
    counts = {name: gradient.checked for name, gradient in result.gradients.items()}
    assert counts == {"dX": 7, "dW": 7, "db": 4, "dgamma": 4, "dbeta": 4, "dh": 7}
    assert result.verdict is Verdict.PASS
    assert (result.checked, result.entries) == (33, 86)
