"""Numerical gradients against the truth, and the two engines against each other."""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import mpmath as mp
import numpy as np
import pytest

from bncheck import Problem, check, random_problem
from bncheck.model import network
from bncheck.model.components import AFFINE, BATCHNORM, NETWORK, RELU, Component
from bncheck.model.layers import Array
from bncheck.model.options import CheckOptions
from bncheck.model.problem import FloatArray
from bncheck.model.progress import silent
from bncheck.model.results import Cause, Measurement, Verdict
from bncheck.numerical.basepoint import BasePoint
from bncheck.numerical.full import full_gradients, perturb_one_entry_per_column
from bncheck.numerical.kink_guard import can_cross_kink
from bncheck.numerical.local import MOST_NODES, local_gradients, nodes_needed
from bncheck.numerical.measure import MeasurementPlan, _dominant_cause, measure, plan_measurement
from bncheck.numerical.schemes import SCHEMES
from bncheck.selftest.problems import hard_problem
from tests.oracles import exact_gradients

PIECES = (NETWORK, BATCHNORM, AFFINE, RELU)
STEPS: tuple[float | str, ...] = ("auto", 1e-3, 1e-6, 1e-10)
SHAPES = [(1, 1, 1), (1, 5, 4), (2, 1, 1), (2, 6, 3), (3, 4, 1), (9, 7, 5), (30, 2, 3)]


def measured(problem: Problem, piece: Component = NETWORK, **method: object) -> Measurement:
    return measure(problem, piece, CheckOptions(**method), piece.inputs)  # type: ignore[arg-type]  # as they come


def prepared(problem: Problem, piece: Component = NETWORK, **method: object) -> MeasurementPlan:
    return plan_measurement(problem, piece, CheckOptions(**method), piece.inputs)  # type: ignore[arg-type]  # as they come


def truth(measurement: Measurement) -> Mapping[str, Array]:
    problem, piece = measurement.problem, measurement.component
    return exact_gradients(piece.name, piece.arrays(problem), problem.dout, problem.bn_eps)


@pytest.mark.parametrize("piece", PIECES, ids=lambda piece: piece.name)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_true_gradient_lies_within_its_error_bar(scheme: str, piece: Component) -> None:
    for seed, step in itertools.product(range(8), STEPS):
        problem = hard_problem(seed, largest=4)  # small enough for 50 digits and plain loops
        exact = None
        for engine in ("local", "full"):
            found = measured(problem, piece, scheme=scheme, step=step, engine=engine)
            exact = exact or truth(found)
            for name, gradient in found.gradients.items():
                known = np.isfinite(gradient.error_bound)
                error = np.abs(gradient.value - exact[name])
                assert (error <= gradient.error_bound)[known].all(), (seed, step, engine, name)
                assert known.any() or step != "auto", (seed, step, engine, name)


@pytest.mark.parametrize("piece", PIECES, ids=lambda piece: piece.name)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("shape", SHAPES)
def test_local_and_full_agree_within_rounding_bars(scheme: str, shape: tuple[int, int, int], piece: Component) -> None:
    for (seed, x_mean), step in itertools.product(((0, 0.0), (1, 30.0)), STEPS):
        problem = random_problem(*shape, seed=seed, x_mean=x_mean)
        bars = prepared(problem, piece, scheme=scheme, step=step).bars
        local = measured(problem, piece, scheme=scheme, step=step).gradients
        full = measured(problem, piece, scheme=scheme, step=step, engine="full").gradients
        for name in piece.inputs:
            bar = np.broadcast_to(bars.rounding[name] + bars.conditioning[name], local[name].value.shape)
            usable = np.isfinite(full[name].error_bound)
            difference = np.abs(local[name].value - full[name].value)
            assert (difference <= bar)[usable].all(), (seed, step, name)


def test_error_bars_are_not_idle() -> None:
    """The truncation bound is reached within a factor of 3 where truncation dominates."""
    found = measured(random_problem(3, 3, 2, seed=1), step=1e-2)
    exact = truth(found)
    shares = [float((np.abs(g.value - exact[name]) / g.error_bound).max()) for name, g in found.gradients.items()]
    assert max(shares) > 1 / 3


@pytest.mark.parametrize("engine", ["local", "full"])
@pytest.mark.parametrize("piece", [NETWORK, BATCHNORM], ids=lambda piece: piece.name)
def test_each_unit_may_have_its_own_eps_even_a_negative_one(piece: Component, engine: str) -> None:
    for seed, N in itertools.product(range(3), (2, 5)):
        problem = random_problem(N, 3, 4, seed=seed)
        variance = (problem.X @ problem.W + problem.b).var(axis=0)
        eps = np.array([1e-5, 0.3, -1e-7 * variance[2], -0.4 * variance[3]])
        for scheme in SCHEMES:
            method = CheckOptions(scheme, engine, cross_check_entries=64)
            found = measure(problem, piece, method, piece.inputs, bn_eps=eps)
            assert found.cross_check is None or found.cross_check.agrees
            exact = truth_by_unit(found, eps)
            for name, gradient in found.gradients.items():
                error = np.abs(gradient.value - exact[name])
                assert (error <= gradient.error_bound).all(), (seed, N, scheme, name)
                assert np.isfinite(gradient.error_bound).all() or scheme == "forward", (seed, N, scheme, name)


def truth_by_unit(found: Measurement, eps: FloatArray) -> dict[str, FloatArray]:
    """Differentiate each unit as a network of its own; dX is the sum over the units."""
    p, gradients = found.problem, []
    for j in range(p.H):
        unit = Problem(p.X, p.W[:, [j]], p.b[[j]], p.gamma[[j]], p.beta[[j]], p.dout[:, [j]], 1.0)
        gradients.append(exact_gradients(found.component.name, found.component.arrays(unit), unit.dout, float(eps[j])))
    return {
        name: sum(g["X"] for g in gradients) if name == "X" else np.concatenate([g[name] for g in gradients], axis=-1)
        for name in found.gradients
    }


def test_relu_is_measured_at_the_output_of_batch_norm_with_the_given_eps() -> None:
    problem, eps = random_problem(6, 3, 2, seed=5), np.array([0.5, 2.0])
    y = RELU.arrays(problem, bn_eps=eps)["y"]
    assert not np.array_equal(y > 0, RELU.arrays(problem)["y"] > 0)
    for engine in ("local", "full"):
        found = measure(problem, RELU, CheckOptions(engine=engine), ("y",), bn_eps=eps)
        np.testing.assert_allclose(found.gradients["y"].value, np.where(y > 0, problem.dout, 0), rtol=1e-9, atol=0)
        np.testing.assert_array_equal(found.output, np.maximum(y, 0))


@pytest.mark.parametrize("piece", [NETWORK, RELU], ids=lambda piece: piece.name)
def test_an_output_that_rounds_to_either_side_of_0_in_the_arithmetic_of_the_target_is_excluded(
    piece: Component,
) -> None:
    p = random_problem(8, 5, 3, seed=2)
    y = BasePoint.of(p).y
    beta = p.beta - y[4] + 1e-6 * np.abs(p.gamma)  # one output of each unit is a millionth of its scale
    problem = Problem(p.X, p.W, p.b, p.gamma, beta, p.dout, p.bn_eps)
    for roundoff_factor, excluded in ((1.0, 0), (2.0**29, 3)):
        found = measure(problem, piece, CheckOptions("complex"), piece.inputs, roundoff_factor=roundoff_factor)
        assert found.kink_exclusion.excluded == excluded
        assert ((found.problem.dout[4] == 0) == bool(excluded)).all()


def test_conditioning_is_infinite_where_the_arithmetic_of_the_target_cannot_represent_sigma() -> None:
    p = random_problem(6, 3, 3, seed=1)
    W = p.W.copy()
    W[1, 2] = 0.0  # feature 1 does not reach unit 2
    problem = Problem(p.X, W, p.b + np.array([0, 0, 1e6]), p.gamma, p.beta, p.dout, p.bn_eps)
    for roundoff_factor, lost in ((1.0, False), (2.0**29, True)):
        found = measure(problem, BATCHNORM, CheckOptions(), BATCHNORM.inputs, roundoff_factor=roundoff_factor)
        infinite = {name: np.isinf(g.conditioning) for name, g in found.gradients.items()}
        assert infinite["h"].all(axis=0).tolist() == [False, False, lost]
        assert infinite["gamma"].tolist() == [False, False, lost]
        assert not infinite["beta"].any()
        assert np.isinf(found.output_bound).all(axis=0).tolist() == [False, False, lost]
        assert all(np.isfinite(g.error_bound).all() for g in found.gradients.values())
    # ReLU's outputs are within rounding of the kink in such a unit, unless beta is far from 0.
    beta = p.beta + np.array([0, 0, 1e9])
    network_problem = Problem(problem.X, W, problem.b, p.gamma, beta, p.dout, p.bn_eps)
    of_network = measure(network_problem, NETWORK, CheckOptions(), NETWORK.inputs, roundoff_factor=2.0**29).gradients
    assert np.isinf(of_network["X"].conditioning).all(axis=0).tolist() == [True, False, True]
    assert np.isinf(of_network["W"].conditioning).all(axis=0).tolist() == [False, False, True]


def test_the_rounding_bound_of_a_unit_does_not_depend_on_the_dout_of_the_others() -> None:
    p = random_problem(6, 5, 3)
    alone = prepared(replace(p, dout=1e-200 * p.dout)).bars.rounding
    together = prepared(replace(p, dout=p.dout * np.array([1e-200, 1.0, 1e100]))).bars.rounding
    for name in ("W", "b", "gamma", "beta", "h"):
        np.testing.assert_allclose(together[name][..., 0], alone[name][..., 0], rtol=1e-12, atol=0)


def test_a_problem_scaled_by_a_million_is_resolved_as_well_as_an_unscaled_one() -> None:
    resolutions = [
        check(random_problem(20, 10, 6, x_std=scale, bn_eps=1e-5 * scale**2)).resolution for scale in (1e-6, 1.0, 1e6)
    ]
    assert max(resolutions) < 1.5 * min(resolutions)


def test_what_makes_a_bar_wide_is_told_of_entries_that_were_evaluated_and_have_terms() -> None:
    parts = {
        Cause.TRUNCATION: np.array([5.0, 1.0, 1.0]),
        Cause.ROUNDING: np.array([1.0, 3.0, 1.0]),
        Cause.CONDITIONING: np.array([1.0, 1.0, 9.0]),
    }
    size = np.array([1.0, 1.0, 0.0])
    assert _dominant_cause(parts, 1.0, np.array([False, True, True]), size) is Cause.ROUNDING
    assert _dominant_cause(parts, 1.0, np.array([True, True, True]), size) is Cause.TRUNCATION
    assert _dominant_cause(parts, 2.0**29, np.array([True, True, True]), size) is Cause.CONDITIONING


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("step", ["auto", 1e-3, 1e-2, 1e-1])
@pytest.mark.parametrize("x_std", [1.0, 100.0])
def test_no_single_entry_move_carries_an_unguarded_output_across_the_kink(
    scheme: str, step: float | str, x_std: float
) -> None:
    """Brute force: every entry of every parameter, at every multiple of the step."""
    formula = SCHEMES[scheme]
    unit: complex = 1j if scheme == "complex" else 1
    for seed in range(8):
        p = random_problem(7, 5, 4, seed=seed, x_std=x_std)
        # With X and W both large, nothing moves y as far as gamma does.
        problem = Problem(p.X, x_std * p.W, p.b, p.gamma, p.beta, p.dout, p.bn_eps)
        if step == "auto" and x_std == 1.0:
            problem = hard_problem(seed, largest=9)
        steps = prepared(problem, scheme=scheme, step=step).steps
        near = can_cross_kink(BasePoint.of(problem), formula, steps)
        forward, values = NETWORK.forward(problem.bn_eps), NETWORK.arrays(problem)
        for name in NETWORK.inputs:
            arrays = {other: values[other] for other in NETWORK.inputs_when_perturbing(name)}
            active = forward(arrays) > 0
            step_of = np.broadcast_to(steps[name], arrays[name].shape)
            for index in np.ndindex(arrays[name].shape):
                for multiple, sign in itertools.product(formula.multiples, (-1, 1)):
                    moved: Array = arrays[name].astype(complex if scheme == "complex" else float)
                    moved[index] += sign * unit * multiple * step_of[index]
                    crossed = (forward({**arrays, name: moved}).real > 0) != active
                    assert not (crossed & ~near).any(), (seed, name, index)


def test_an_output_that_only_gamma_can_carry_across_the_kink_is_guarded() -> None:
    """X and W are large, so that nothing else moves y as far."""
    p = random_problem(7, 5, 1, x_std=100.0)
    W, step = 100 * p.W, 0.1
    xhat = BasePoint.of(Problem(p.X, W, p.b, p.gamma, p.beta, p.dout, p.bn_eps)).xhat[:, 0]
    row = int(np.argmax(np.abs(xhat)))
    assert abs(xhat[row]) > 1.6
    beta = 1.5 * step - p.gamma * xhat[row]  # y = 1.5 steps, which gamma moves by |xhat| steps
    problem = Problem(p.X, W, p.b, p.gamma, beta, p.dout, p.bn_eps)
    ground = prepared(problem, step=step)
    assert ground.problem.dout[row, 0] == 0


def test_the_guard_counts_what_it_takes_out() -> None:
    ground = prepared(random_problem(64, 100, 50), step=1e-2)
    assert ground.kinks.excluded == int((ground.problem.dout == 0).sum()) > 0
    assert ground.kinks.outputs == 3200


@pytest.mark.parametrize(("share", "verdict"), [(0.05, Verdict.PASS), (0.3, Verdict.INCONCLUSIVE)])
def test_a_check_that_excludes_more_than_a_tenth_of_the_outputs_is_inconclusive(share: float, verdict: Verdict) -> None:
    """Samples that are 0, beside pairs of opposite ones, have y = beta = 0; all else is precise enough to pass."""
    N, D, H = 40, 5, 4
    rng, zeros = np.random.default_rng(0), round(share * N)
    half = rng.standard_normal(((N - zeros) // 2, D))
    X, dout = np.concatenate([half, -half, np.zeros((zeros, D))]), rng.standard_normal((N, H))
    problem = Problem(X, rng.standard_normal((D, H)), np.zeros(H), np.ones(H), np.zeros(H), dout, 1e-5)
    result = check(problem)
    assert result.kink_exclusion.excluded == share * result.kink_exclusion.outputs
    assert result.resolution < 1e-6
    assert result.kink_exclusion.dead_units == 0
    assert result.verdict is verdict


@pytest.mark.parametrize("scheme", ["central", "five-point", "richardson"])
def test_a_weight_step_moves_h_by_no_more_than_its_own_terms_allow(scheme: str) -> None:
    """The standard deviation of a feature that is 1 but for one bit is 4e-18: such a step alone moves h by 1e12.

    The rounding of the sum of h over the batch then carries outputs across the kink that the step itself does not,
    and the full engine has no usable value for the weights of that feature.
    """
    p = random_problem(3000, 3, 6)
    X = p.X.copy()
    X[:, 1], X[0, 1] = 1.0, 1 + 2.0**-52
    result = check(replace(p, X=X), scheme=scheme, engine="full", only=["dW"])
    assert result.gradients["dW"].unresolved == 0
    assert result.verdict is Verdict.PASS


@pytest.mark.parametrize("scheme", ["five-point", "richardson"])
def test_a_default_initialisation_on_small_data_is_not_guarded_away(scheme: str) -> None:
    """With beta = 0 and var far below eps every y is near the kink: steps shrink with it."""
    p = random_problem(64, 20, 10, x_std=1e-6, bn_eps=1e-3)
    problem = Problem(p.X, p.W, p.b, np.ones(10), np.zeros(10), p.dout, p.bn_eps)
    kinks = prepared(problem, scheme=scheme).kinks
    assert kinks.excluded <= 0.02 * kinks.outputs


def test_an_unguarded_check_of_a_right_weight_gradient_is_wrong_at_512_cubed() -> None:
    """What the guard is for: the engine's own step moves outputs across the kink there."""
    problem = random_problem(512, 512, 512)
    ground = prepared(problem)
    h = problem.X @ problem.W + problem.b
    _, cache = network.forward(problem.X, problem.W, problem.b, problem.gamma, problem.beta, problem.bn_eps)
    dW = network.backward(problem.dout, cache)["dW"]
    largest = 0.0
    for j in np.flatnonzero((ground.problem.dout == 0).any(axis=0)):
        s = np.broadcast_to(ground.steps["W"], problem.W.shape)[:, j]
        arrays = {"gamma": problem.gamma[j], "beta": problem.beta[j]}
        forward = NETWORK.forward(problem.bn_eps)
        above = problem.dout[:, j] @ forward({**arrays, "h": h[:, j, None] + s * problem.X})
        below = problem.dout[:, j] @ forward({**arrays, "h": h[:, j, None] - s * problem.X})
        largest = max(largest, float(np.abs((above - below) / (2 * s) - dW[:, j]).max()))
    assert largest > 1e-2
    for seed in (0, 1):
        assert check(random_problem(512, 512, 512, seed=seed), only=["dW"]).verdict.value == "pass"


def test_an_entry_whose_step_is_lost_in_the_addition_is_unresolved() -> None:
    problem = random_problem(4, 3, 2, x_mean=1.0)
    gradient = measured(problem, step=1e-17, engine="full").gradients["X"]
    assert np.isinf(gradient.error_bound[np.abs(problem.X) > 0.5]).all()


def test_the_full_engine_divides_by_the_step_that_was_taken() -> None:
    """h = x: whatever x + s rounds to, the slope is 1."""
    one = np.ones((1, 1))
    problem = Problem(one, one, np.zeros(1), one[0], one[0], one, 1e-5)
    gradient = measured(problem, AFFINE, step=2.0**-50 * 1.1, engine="full").gradients["X"]
    assert gradient.value == 1.0


def test_an_entry_whose_move_crosses_the_kink_is_unresolved() -> None:
    """A guard that were too small, or a forward that is not batch norm, must not lie."""
    problem = random_problem(7, 5, 4, seed=3)
    evaluated, _ = full_gradients(
        NETWORK.forward(problem.bn_eps),
        NETWORK,
        problem,  # unguarded
        SCHEMES["central"],
        {"W": np.full(1, 0.3)},
        {"W": np.arange(problem.W.size)},
        silent,
    )
    assert evaluated["W"].unresolved.any()


def test_the_audit_notices_a_local_engine_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    right = local_gradients

    def wrong(*arguments: object) -> dict[str, Array]:
        return {name: value * (1 + 1e-6) for name, value in right(*arguments).items()}  # type: ignore[arg-type]  # as they came

    problem = random_problem(16, 10, 8)
    honest = check(problem).cross_check
    assert honest is not None
    assert honest.agrees
    assert honest.entries == 64 + 5 * 8  # of X, and in each column of the others
    monkeypatch.setattr("bncheck.numerical.measure.local_gradients", wrong)
    result = check(problem, only=["dW"], rtol=1e-3)
    assert result.cross_check is not None
    assert not result.cross_check.agrees
    assert result.gradients["dW"].verdict.value == "pass"
    assert result.verdict.value == "inconclusive"


@pytest.mark.parametrize(("conditionings", "agrees"), [(1.9, True), (2.1, False)])
def test_the_audit_allows_each_engine_the_conditioning_of_its_own_base_point(
    conditionings: float, agrees: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The complex step subtracts nothing, so the two values may differ by twice the conditioning alone."""
    problem, right = random_problem(5, 4, 3, x_mean=1e4), local_gradients
    bars = prepared(problem, scheme="complex").bars

    def shifted(*arguments: object) -> dict[str, Array]:
        values = right(*arguments)  # type: ignore[arg-type]  # as they came
        return {name: value + conditionings * bars.conditioning[name] for name, value in values.items()}

    assert measured(problem, scheme="complex").cross_check is not None
    monkeypatch.setattr("bncheck.numerical.measure.local_gradients", shifted)
    audit = measured(problem, scheme="complex").cross_check
    assert audit is not None
    assert audit.agrees is agrees


def test_a_sample_is_drawn_without_repetition_and_counted() -> None:
    result = check(random_problem(6, 5, 4), engine="full", sample=7)
    counts = {name: g.checked for name, g in result.gradients.items()}
    assert counts == {"dX": 7, "dW": 7, "db": 4, "dgamma": 4, "dbeta": 4, "dh": 7}
    assert result.verdict.value == "pass"
    assert (result.checked, result.entries) == (33, 86)


@pytest.mark.parametrize("scheme", [name for name in SCHEMES if name != "complex"])
def test_a_forward_pass_of_its_own_is_differentiated_within_its_error_bar(scheme: str) -> None:
    """Unbiased variance: not batch norm; its derivative in 50 digits is that with N / (N - 1)."""
    problem = random_problem(5, 3, 2, seed=4)
    stretch = np.sqrt(1.25)

    def unbiased(arrays: Mapping[str, Array]) -> Array:
        # (h - mu) / sqrt(5/4 var + eps) = xhat of h sqrt(5/4), over sqrt(5/4)
        scaled = {**arrays, "h": stretch * arrays["h"], "gamma": arrays["gamma"] / stretch}
        return BATCHNORM.forward(problem.bn_eps)(scaled)

    found = measure(problem, BATCHNORM, CheckOptions(scheme=scheme), BATCHNORM.inputs, own=unbiased)
    assert found.black_box
    arrays = BATCHNORM.arrays(problem)
    scaled = {**arrays, "h": stretch * arrays["h"], "gamma": arrays["gamma"] / stretch}
    exact = exact_gradients("batchnorm", scaled, problem.dout, problem.bn_eps)
    exact = {"h": stretch * exact["h"], "gamma": exact["gamma"] / stretch, "beta": exact["beta"]}
    for name, gradient in found.gradients.items():
        assert (np.abs(gradient.value - exact[name]) <= gradient.error_bound).all(), name
        assert np.abs(gradient.error_bound).max() < 1e-4


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("step", ["auto", 1e-5, 1e-3, 1e-2, 3e-2, 1e-1])
def test_interpolated_sums_are_those_of_every_response_evaluated(
    scheme: str, step: float | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(12):
        problem = hard_problem(seed)
        ground = prepared(problem, scheme=scheme, step=step)
        with np.errstate(all="ignore"):  # a step far beyond what is guarded
            found = ground.local(silent)["X"]
            monkeypatch.setattr("bncheck.numerical.local.MOST_NODES", 0)
            expected = ground.local(silent)["X"]
        monkeypatch.undo()
        bar = np.broadcast_to(ground.bars.rounding["X"] + ground.bars.conditioning["X"], found.shape)
        known = np.isfinite(found) & np.isfinite(expected)
        assert (np.isfinite(found) == np.isfinite(expected)).all()
        # Both are rounded; half of the bar is more than was ever seen of their difference.
        assert (np.abs(found - expected) <= bar / 2)[known].all(), seed


def odd_part(t: Any, cosine: float) -> Any:
    """Return what is odd in t of (1 + t) / sqrt(V), V = 1 - 2 t cosine + t^2: its roots have modulus 1."""
    above, below = ((1 + s) / mp.sqrt(1 - 2 * s * mp.mpf(cosine) + s * s) for s in (t, -t))
    return (above - below) / 2


def test_a_few_samples_give_a_legendre_response_to_within_rounding() -> None:
    """The bound on what interpolation leaves holds for the column's own family, (A + tp) / sqrt(V)."""
    for tau in (1e-9, 1e-5, 1e-3, 1e-2, 0.05, 0.1, 0.15):
        count = nodes_needed(tau)
        assert count <= MOST_NODES
        nodes = np.cos((2 * np.arange(count) + 1) * np.pi / (4 * count))
        for cosine in np.linspace(-1, 1, 9):
            with mp.workdps(60):
                points = [mp.mpf(x) for x in nodes]
                for share in (0.01, 0.3, 0.77, 1.0):
                    weights = [
                        mp.fprod(((share**2 - o * o) / (x * x - o * o)) for o in points if o is not x) * share / x
                        for x in points
                    ]
                    found = mp.fsum(w * odd_part(x * tau, cosine) for w, x in zip(weights, points, strict=True))
                    # St of this response: |gamma|/sigma (|p| + |sum m xhat| sqrt(r/N)), here 1 + 1.
                    left = found - odd_part(share * mp.mpf(tau), cosine)
                    assert abs(left) <= 2 * share * tau * 2.0**-53
    assert nodes_needed(1e-9) < nodes_needed(1e-5) < nodes_needed(0.1)
    assert nodes_needed(0.9) > MOST_NODES
    assert nodes_needed(float("nan")) > MOST_NODES


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("H", [5, 40])  # each array by itself, and all in the columns of the same passes
def test_an_entry_in_every_column_at_once_is_what_each_is_by_itself(scheme: str, H: int) -> None:
    problem = random_problem(9, 6, H, seed=3)
    ground = prepared(problem, scheme=scheme)
    rng = np.random.default_rng(0)
    arrays = NETWORK.arrays(ground.problem)
    rows = {name: rng.integers(len(arrays[name]), size=H) for name in NETWORK.inputs if name != "X"}
    found = perturb_one_entry_per_column(
        NETWORK.forward(problem.bn_eps), NETWORK, ground.problem, ground.scheme, ground.steps, rows
    )
    for name, together in found.items():
        assert together.evaluated.sum() >= min(H, 8)
        flat = np.flatnonzero(together.evaluated)
        alone, _ = full_gradients(
            NETWORK.forward(problem.bn_eps), NETWORK, ground.problem, ground.scheme, ground.steps, {name: flat}, silent
        )
        bar = np.broadcast_to(ground.bars.rounding[name] + ground.bars.conditioning[name], arrays[name].shape)
        difference = np.abs(together.value - alone[name].value)
        assert (difference <= bar)[together.evaluated].all()
        assert not together.unresolved.any()


def test_an_output_that_crosses_unresolves_its_own_column_and_no_other() -> None:
    problem = random_problem(9, 6, 5, seed=3)  # not guarded
    rows = {"W": np.zeros(5, np.intp)}
    steps = {"W": np.array([[1e-9, 1e-9, 5.0, 1e-9, 1e-9]])}
    found = perturb_one_entry_per_column(
        NETWORK.forward(problem.bn_eps), NETWORK, problem, SCHEMES["central"], steps, rows
    )
    assert found["W"].unresolved[0].tolist() == [False, False, True, False, False]


def test_the_audit_notices_x_alone_being_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    right = local_gradients

    def wrong(*arguments: object) -> dict[str, Array]:
        values = right(*arguments)  # type: ignore[arg-type]  # as they came
        return {**values, "X": values["X"] * (1 + 1e-6)}

    monkeypatch.setattr("bncheck.numerical.measure.local_gradients", wrong)
    audit = check(random_problem(64, 100, 50)).cross_check
    assert audit is not None
    assert not audit.agrees
