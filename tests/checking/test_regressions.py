"""Problems on which an earlier version of bncheck gave a wrong verdict or a wrong number."""

import itertools
import json
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from bncheck import InvalidInput, Problem, Verdict, check, random_problem
from bncheck.model import network
from bncheck.model.components import BATCHNORM, NETWORK
from bncheck.model.layers import AffineCache, Array, BatchNormCache
from bncheck.model.options import CheckOptions
from bncheck.numerical.measure import measure
from bncheck.numerical.schemes import SCHEMES
from tests.python_targets import perturbed
from tests.samples import LAYERS, VAR, changed


def sum_in_other_order(dout: Array, cache: network.Cache) -> dict[str, Array]:
    """Return the correct gradients with sums in another order than the reference."""
    X, W = cache.affine
    xhat, gamma, sigma = cache.batchnorm
    dy = np.where(cache.relu, dout, 0)

    def total(terms: Array) -> Array:
        pairwise: Array = np.ascontiguousarray(terms.T).sum(axis=1)
        return pairwise

    dbeta, dgamma = total(dy), total(dy * xhat)
    dh = gamma / (len(dy) * sigma) * (len(dy) * dy - dbeta - xhat * dgamma)
    return {"dX": dh @ W.T, "dW": X.T @ dh, "db": total(dh), "dgamma": dgamma, "dbeta": dbeta, "dh": dh}


def forward_in_other_order(
    X: Array, W: Array, b: Array, gamma: Array, beta: Array, bn_eps: float
) -> tuple[Array, network.Cache]:
    """Return the correct output with means in another order, so that y is rounded differently."""
    h = X @ W + b
    c = h - np.ascontiguousarray(h.T).mean(axis=1)
    sigma = np.sqrt(np.ascontiguousarray((c * c).T).mean(axis=1) + bn_eps)
    xhat = c / sigma
    y = gamma * xhat + beta
    cache = network.Cache(AffineCache(X, W), BatchNormCache(xhat, gamma, sigma), y > 0)
    return np.where(y > 0, y, 0), cache


OTHER_ORDER = SimpleNamespace(forward=forward_in_other_order, backward=sum_in_other_order)
OTHER_BACKWARD_ORDER = SimpleNamespace(forward=network.forward, backward=sum_in_other_order)


def make_problem(N: int, H: int, dout: Array | float, rng: np.random.Generator, **replaced: Array) -> Problem:
    arrays = {"X": rng.standard_normal((N, 3)), "W": rng.standard_normal((3, H)), "b": rng.standard_normal(H)}
    arrays |= {"gamma": np.ones(H), "beta": np.full(H, 0.3), "dout": np.broadcast_to(dout, (N, H)).copy()}
    return Problem(**{**arrays, **replaced}, bn_eps=1e-5)  # type: ignore[arg-type]  # mypy cannot match a mapping with the fields


@pytest.mark.parametrize("scheme", ["central", "complex"])
@pytest.mark.parametrize("N", [100, 1000, 4000])
def test_a_mean_loss_with_equal_terms_gives_no_false_alarm(N: int, scheme: str) -> None:
    problem = make_problem(N, 4, 1 / (4 * N), np.random.default_rng(0))
    for target in ("reference", "staged", OTHER_BACKWARD_ORDER):
        assert check(problem, target, scheme=scheme, edge_cases=False).verdict is Verdict.PASS


@pytest.mark.parametrize("engine", ["local", "full"])
def test_equal_rows_with_equal_rounding_give_no_false_alarm(engine: str) -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X = 0.1 * rng.integers(0, 2, (1000, 2))
        W = rng.standard_normal((2, 4))
        problem = make_problem(
            1000, 4, rng.standard_normal((1000, 4)), rng, X=X, W=W, beta=0.3 * rng.standard_normal(4)
        )
        result = check(problem, engine=engine, only=["dW", "db"])
        assert result.verdict is Verdict.PASS, seed


@pytest.mark.parametrize("scheme", SCHEMES)
def test_equal_units_with_equal_rounding_give_no_false_alarm(scheme: str) -> None:
    rng = np.random.default_rng(3)
    W = np.repeat(rng.standard_normal((3, 1)), 300, axis=1)
    problem = make_problem(40, 300, rng.standard_normal((40, 300)), rng, W=W, b=np.zeros(300))
    assert check(problem, scheme=scheme, only=["dX"]).verdict is Verdict.PASS


def test_outputs_that_are_0_except_for_rounding_are_excluded() -> None:
    """A column of W that is 0 with beta 0: every y is a rounding error of the mean."""
    rng = np.random.default_rng(0)
    W = rng.standard_normal((3, 4)) * [1, 1, 0, 1]
    problem = make_problem(4000, 4, rng.standard_normal((4000, 4)), rng, W=W, beta=np.zeros(4))
    for scheme in ("central", "complex"):
        for target in (OTHER_BACKWARD_ORDER, OTHER_ORDER):
            assert check(problem, target, scheme=scheme, edge_cases=False).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("bn_eps", [0.0, 1e-300, 1e-150])
def test_a_unit_whose_sigma_is_rounding_has_infinite_error_bounds(bn_eps: float) -> None:
    """h is 0.1 in three rows: all of var is the rounding of the mean, in any order of summation."""
    rng = np.random.default_rng(0)
    W = rng.standard_normal((3, 3))
    W[:, 1], W[2, 0] = 0.0, 0.0
    b, beta, dout = np.array([0.2, 0.1, -0.3]), np.array([0.3, 50.0, 0.3]), rng.standard_normal((3, 3))
    problem = Problem(rng.standard_normal((3, 3)), W, b, np.ones(3), beta, dout, bn_eps)
    for component in (NETWORK, BATCHNORM):
        measured = measure(problem, component, CheckOptions("complex"), component.inputs).gradients
        for name in {"h", "W", "b", "gamma"} & set(component.inputs):
            infinite = np.atleast_2d(np.isinf(measured[name].error_bound))
            assert infinite.all(axis=0).tolist() == infinite.any(axis=0).tolist() == [False, True, False], name
        assert np.isfinite(measured["beta"].error_bound).all()
        if component is NETWORK:  # all weights of the unit are 0
            assert np.isfinite(measured["X"].error_bound).all()
    for target in ("reference", "staged", OTHER_BACKWARD_ORDER, OTHER_ORDER):
        assert check(problem, target, scheme="complex", edge_cases=False).verdict is Verdict.INCONCLUSIVE


def test_a_large_mean_over_many_samples_gives_no_false_alarm() -> None:
    for seed in range(3):
        problem = random_problem(4000, 3, 30, seed=seed, x_mean=1e12)
        for target in (OTHER_BACKWARD_ORDER, OTHER_ORDER):
            assert check(problem, target, scheme="complex", edge_cases=False).verdict is not Verdict.FAIL


def test_a_column_of_rounding_noise_does_not_change_the_steps_of_other_columns() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 4))
    X[:60, 0] = 0.25
    W = rng.standard_normal((4, 20))
    W[:, 0] = [1, 0, 0, 0]
    problem = Problem(X, W, np.zeros(20), np.ones(20), np.zeros(20), rng.standard_normal((100, 20)), 1e-5)
    mean, sigma = X[:, 0].mean(), np.sqrt(X[:, 0].var() + 1e-5)
    beta = np.r_[(mean - 0.25) / sigma, np.full(19, 0.3)]
    problem = Problem(X, W, problem.b, problem.gamma, beta, problem.dout, 1e-5)
    assert check(problem, only=["dX"]).resolution < 1e-6


def test_units_without_an_output_in_the_loss_are_dead() -> None:
    p = random_problem(8, 5, 4)
    dout = p.dout.copy()
    dout[:, 1:] = 0
    result = check(Problem(p.X, p.W, p.b, p.gamma, p.beta, dout, p.bn_eps))
    assert result.kink_exclusion.dead_units == 3
    assert result.verdict is Verdict.INCONCLUSIVE


def chain_rule(dout: Array, cache: network.Cache) -> dict[str, Array]:
    """Return the correct gradients by way of dvar and dmu, with products formed in another order."""
    X, W = cache.affine
    xhat, gamma, sigma = cache.batchnorm
    c, dy = xhat * sigma, np.where(cache.relu, dout, 0)
    dxhat = dy * gamma
    dvar = (dxhat * c * -0.5 * sigma**-3.0).sum(axis=0)
    dmu = (dxhat * (-1 / sigma)).sum(axis=0) + dvar * (-2 * c).mean(axis=0)
    dh = dxhat / sigma + dvar * 2 * c / len(dy) + dmu / len(dy)
    dgamma, dbeta = (dy * xhat).sum(axis=0), dy.sum(axis=0)
    return {"dX": dh @ W.T, "dW": X.T @ dh, "db": dh.sum(axis=0), "dgamma": dgamma, "dbeta": dbeta, "dh": dh}


def ten_percent_off(dout: Array, cache: network.Cache) -> dict[str, Array]:
    return {name: 1.1 * gradient for name, gradient in network.backward(dout, cache).items()}


CHAIN_RULE = SimpleNamespace(forward=network.forward, backward=chain_rule)
TEN_PERCENT_OFF = SimpleNamespace(forward=network.forward, backward=ten_percent_off)


def with_scaled_dout(problem: Problem, scale: Array | float) -> Problem:
    """Return the problem with its dout, cut to [-1, 1], times the scale."""
    return replace(problem, dout=scale * np.clip(problem.dout, -1, 1))


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e30, 1e149])
def test_the_scale_of_dout_does_not_change_the_verdict(scale: float) -> None:
    p = random_problem(8, 5, 4)
    problem = replace(p, dout=scale * p.dout)
    assert check(problem).verdict is Verdict.PASS
    assert check(problem).resolution == pytest.approx(check(p).resolution, rel=1e-6)


@pytest.mark.parametrize("engine", ["local", "full"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_dout_of_any_magnitude_neither_fails_correct_code_nor_passes_wrong_code(scheme: str, engine: str) -> None:
    settings: tuple[dict[str, float], ...] = ({"x_std": 1e-3}, {}, {"x_std": 1e3, "x_mean": 1e4})
    for number, scale in enumerate((1e-323, 1e-320, 1e-316, 1e-310, 1e-300, 1e-290, 1e-280, 1e150)):
        problem = with_scaled_dout(random_problem(1 + number % 6, 3, 4, seed=number, **settings[number % 3]), scale)
        for target in ("reference", "staged", CHAIN_RULE):
            result = check(problem, target, scheme=scheme, engine=engine, edge_cases=False, explain=False)
            assert result.verdict is not Verdict.FAIL, (scale, target, str(result))
            assert result.cross_check is None or result.cross_check.agrees, (scale, target)
        wrong = check(problem, TEN_PERCENT_OFF, scheme=scheme, engine=engine, edge_cases=False, explain=False)
        assert wrong.verdict is not Verdict.PASS, scale
        assert wrong.verdict is Verdict.FAIL or scale < 1e-316, scale


@pytest.mark.parametrize("engine", ["local", "full"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_unit_with_a_tiny_dout_fails_no_correct_code(scheme: str, engine: str) -> None:
    for seed, scale in enumerate((1e-323, 1e-315, 1e-307, 1e-300, 1e-290, 1e-200)):
        rows = np.r_[1e-200, np.ones(5)][:, None]  # and one sample with a tiny dout
        problem = with_scaled_dout(random_problem(6, 3, 4, seed=seed), rows * np.array([scale, 1.0, 1e-100, 1.0]))
        for target in ("reference", "staged", CHAIN_RULE):
            result = check(problem, target, scheme=scheme, engine=engine, edge_cases=False, explain=False)
            assert result.verdict is not Verdict.FAIL, (scale, target, str(result))
            assert result.cross_check is None or result.cross_check.agrees, (scale, target)


@pytest.mark.parametrize("exponent", [-900, -700, 400])
def test_gradients_and_bounds_are_those_of_a_moderate_dout_times_a_power_of_two(exponent: int) -> None:
    problem = random_problem(6, 5, 4, seed=2)
    dout = np.ldexp(problem.dout, exponent)
    for scheme in SCHEMES:
        expected = measure(problem, NETWORK, CheckOptions(scheme), NETWORK.inputs)
        measured = measure(replace(problem, dout=dout), NETWORK, CheckOptions(scheme), NETWORK.inputs)
        np.testing.assert_array_equal(measured.problem.dout, np.where(expected.problem.dout == 0, 0, dout))
        for name, gradient in measured.gradients.items():
            moderate = expected.gradients[name]
            np.testing.assert_array_equal(gradient.value, np.ldexp(moderate.value, exponent))
            np.testing.assert_array_equal(gradient.term_size, np.ldexp(moderate.term_size, exponent))
            for bound in ("error_bound", "conditioning"):
                scaled = np.ldexp(getattr(moderate, bound), exponent)
                np.testing.assert_allclose(getattr(gradient, bound), scaled, rtol=1e-6, atol=0)


@pytest.mark.parametrize("bn_eps", [1e50, 1e200])
def test_a_huge_eps_is_measured_without_a_warning(bn_eps: float) -> None:
    for scheme, engine in itertools.product(SCHEMES, ("local", "full")):
        for target in ("reference", "staged", CHAIN_RULE):
            problem = random_problem(6, 3, 4, seed=1, bn_eps=bn_eps)
            result = check(problem, target, scheme=scheme, engine=engine, edge_cases=False, explain=False)
            assert result.verdict is not Verdict.FAIL, (scheme, engine, target)


def test_a_problem_with_zero_variance_and_no_eps_is_rejected() -> None:
    ones = np.ones((4, 1))
    with pytest.raises(InvalidInput, match="too small to divide by"):
        Problem(np.ones((4, 2)), np.ones((2, 1)), ones[0], ones[0], ones[0], ones, 0.0)


def eps_outside_the_root(arrays: Mapping[str, Array]) -> Array:
    h = arrays["X"] @ arrays["W"] + arrays["b"]
    c = h - h.mean(axis=0)
    y = arrays["gamma"] * c / (np.sqrt((c * c).mean(axis=0)) + 1e-5) + arrays["beta"]
    return np.where(y > 0, y, 0)


@pytest.mark.parametrize("scheme", [name for name in SCHEMES if name != "complex"])
@pytest.mark.parametrize(
    ("shape", "settings"), [((8, 5, 4), {"x_std": 1e-6}), ((7, 5, 4), {"x_mean": 10.0, "x_std": 1e-4}), ((9, 4, 3), {})]
)
def test_the_error_bounds_of_a_black_box_forward_pass_contain_the_exact_gradient(
    scheme: str, shape: tuple[int, int, int], settings: dict[str, float]
) -> None:
    """With eps outside the root, the scale of the code is far below sqrt(var + eps)."""
    for seed in range(3):
        problem = random_problem(*shape, seed=seed, **settings)  # type: ignore[arg-type]  # mypy cannot match a mapping with the arguments
        names = NETWORK.inputs[:-1]
        forward = perturbed(eps_outside_the_root, NETWORK, problem)
        measured = measure(problem, NETWORK, CheckOptions(scheme=scheme), names, black_box_forward=forward)
        # The exact gradient, from a complex step of that forward pass in extended precision.
        wide = {name: getattr(measured.problem, name).astype(np.clongdouble) for name in names}
        for name, gradient in measured.gradients.items():
            for index in np.ndindex(gradient.value.shape):
                array = wide[name].copy()
                array[index] += 1e-40j
                h = {**wide, name: array}
                total = h["X"] @ h["W"] + h["b"]
                c = total - total.mean(axis=0)
                root = np.sqrt((c * c).mean(axis=0))
                y = h["gamma"] * c / (root + np.longdouble(1e-5)) + h["beta"]
                exact = float((np.where(y.real > 0, y, 0).imag * measured.problem.dout).sum() / 1e-40)
                assert abs(gradient.value[index] - exact) <= gradient.error_bound[index], (seed, name, index)


def test_no_gradient_of_a_black_box_forward_pass_is_called_an_exact_zero() -> None:
    def affine_then_relu(arrays: Mapping[str, Array]) -> Array:
        y = arrays["gamma"] * (arrays["X"] @ arrays["W"] + arrays["b"]) + arrays["beta"]
        return np.where(y > 0, y, 0)

    for N in (1, 8):
        problem = random_problem(N, 5, 4)
        forward = perturbed(affine_then_relu, NETWORK, problem)
        measured = measure(problem, NETWORK, CheckOptions(), NETWORK.inputs[:-1], black_box_forward=forward)
        assert not any(gradient.exact_zero for gradient in measured.gradients.values())


def test_a_correct_float32_derivative_of_another_forward_pass_does_not_fail() -> None:
    source = changed(
        LAYERS, VAR, "x = x.astype('f'); gamma = gamma.astype('f'); beta = beta.astype('f'); mu = x.mean(axis=0); var = x.var(axis=0, ddof=1)",
        "dvar * 2 * (x - mu) / N", "dvar * 2 * (x - mu) / (N - 1)",
    )  # fmt: skip
    namespace: dict[str, object] = {}
    exec(source, namespace)
    result = check(random_problem(8, 5, 4), namespace, edge_cases=False)
    verdicts = {key: g.verdict for key, g in result.gradients.items() if g.component == BATCHNORM.name}
    assert Verdict.FAIL not in verdicts.values()


def test_gradients_in_float32_that_are_stored_in_float64_are_judged_by_float32() -> None:
    def single(dout: Array, cache: network.Cache) -> dict[str, Array]:
        return {k: v.astype(np.float32).astype(np.float64) for k, v in network.backward(dout, cache).items()}

    target = SimpleNamespace(forward=network.forward, backward=single)
    assert check(random_problem(16, 10, 8), target, edge_cases=False).verdict is Verdict.PASS


@pytest.mark.parametrize(("seed", "shape", "x_mean"), [(228, (2, 200, 5), 12.231), (27, (4, 1, 1), 19.7395)])
def test_a_single_pass_variance_whose_output_matches_gives_no_false_alarm(
    seed: int, shape: tuple[int, int, int], x_mean: float
) -> None:
    namespace: dict[str, object] = {}
    exec(changed(LAYERS, VAR, "var = (x ** 2).mean(axis=0) - mu ** 2"), namespace)
    problem = random_problem(*shape, seed=seed, x_mean=x_mean)
    assert check(problem, namespace, scheme="complex", edge_cases=False).verdict is not Verdict.FAIL


def test_numpy_numbers_as_settings_can_be_written_as_json() -> None:
    problem = random_problem(4, 3, 2, seed=np.int64(3), bn_eps=np.float32(1e-5))  # type: ignore[arg-type]  # other number types are the subject of the test
    assert json.dumps(check(problem).to_dict())


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_feature_excludes_no_outputs(scheme: str, value: float) -> None:
    """For example, a pixel that is always dark: its step is large and changes no output."""
    for seed in range(3):
        p = random_problem(64, 20, 10, seed=seed, x_std=0.01 if value else 1.0)
        X = p.X.copy()
        X[:, 3] = value
        result = check(Problem(X, p.W, p.b, p.gamma, p.beta, p.dout, p.bn_eps), scheme=scheme)
        assert result.verdict is Verdict.PASS
        assert result.kink_exclusion.excluded < 20


def test_the_reason_for_imprecise_float32_code_is_its_own_rounding() -> None:
    class Single:
        @staticmethod
        def forward(*arrays: np.ndarray) -> tuple[np.ndarray, object]:
            *inputs, eps = (np.asarray(array, np.float32) for array in arrays)
            return network.forward(*inputs, np.float32(eps))  # type: ignore[arg-type, call-arg]  # inputs has the first five arguments

        @staticmethod
        def backward(dout: np.ndarray, cache: network.Cache) -> dict[str, np.ndarray]:
            return network.backward(dout.astype(np.float32), cache)

    problem = random_problem(64, 20, 10, x_mean=300.0)
    reasons = check(problem, Single, scheme="complex", edge_cases=False).gradients["dX"].reasons
    assert any("rounding in float32 dominates" in reason for reason in reasons), reasons
    assert not any("--scheme" in reason for reason in reasons), reasons


def test_a_step_to_a_variance_of_0_gives_no_warning() -> None:
    p = Problem(np.array([[1e3], [0.0]]), np.ones((1, 1)), np.zeros(1), np.ones(1), np.ones(1), np.ones((2, 1)), 1e-12)
    assert check(p, step=1e3).verdict is Verdict.INCONCLUSIVE


def test_a_float64_gradient_that_starts_with_zeros_is_not_mistaken_for_float32() -> None:
    p = random_problem(12, 5, 20)
    X = p.X.copy()
    X[:, 0] = 0.0
    problem = Problem(X, p.W, p.b, p.gamma, p.beta, p.dout, p.bn_eps)

    def scaled_by_a_millionth(dout: Array, cache: network.Cache) -> dict[str, Array]:
        measured = network.backward(dout, cache)
        return {**measured, "dW": (1 + 1e-6) * measured["dW"]}

    result = check(problem, SimpleNamespace(forward=network.forward, backward=scaled_by_a_millionth), explain=False)
    assert (result.gradients["dW"].analytic[0] == 0).all()
    assert result.gradients["dW"].verdict is Verdict.FAIL


def test_the_precision_of_a_check_depends_on_its_error_bounds_for_any_tolerance() -> None:
    problem = random_problem(8, 5, 4)
    wide = check(problem, rtol=1e-2, atol=1.0)
    assert wide.verdict is Verdict.PASS
    assert wide.gradients["dW"].resolution > 1e-3
    assert check(problem, step=1e-13, rtol=1e-2, atol=1.0).verdict is Verdict.INCONCLUSIVE


def test_a_cache_that_contains_nan_is_not_reported_as_modified() -> None:
    def forward(*arrays: Array) -> tuple[Array, Array]:
        a, cache = network.forward(*arrays)  # type: ignore[arg-type]  # arrays has all six arguments
        caches[:] = [cache]
        return a, np.full(3, np.nan)

    caches: list[network.Cache] = []
    code = SimpleNamespace(forward=forward, backward=lambda dout, _: network.backward(dout, caches[0]))
    result = check(random_problem(8, 5, 4), code, edge_cases=False)
    assert result.verdict is Verdict.PASS
    assert result.notes == ()


def integer_problem(seed: int, offset: float) -> Problem:
    """Draw integer-valued data with a mean loss: every row of a unit rounds in the same way."""
    rng = np.random.default_rng(seed)
    N, D, H = (int(rng.integers(2, largest)) for largest in (41, 30, 41))
    X, W = np.round(3 * rng.standard_normal((N, D))), np.round(2 * rng.standard_normal((D, H)))
    b, beta = np.round(3 * rng.standard_normal(H)) + offset, np.full(H, 0.5 * rng.integers(0, 3))
    return Problem(X, W, b, np.ones(H), beta, np.full((N, H), 1 / (N * H)), 1e-5)


@pytest.mark.parametrize("scheme", ["central", "five-point"])
def test_integer_data_far_from_0_is_measured_within_its_bounds_by_both_engines(scheme: str) -> None:
    for seed in range(40):
        problem = integer_problem(seed, offset=1000.0)
        local = check(problem, scheme=scheme)
        assert local.cross_check is not None
        assert local.cross_check.agrees, (seed, local.cross_check)
        assert local.verdict is Verdict.PASS, seed
        assert check(problem, scheme=scheme, engine="full", only=["db"]).verdict is Verdict.PASS, seed


def fused(x: Array, y: Array, z: Array) -> Array:
    """Return x y + z with a single rounding, up to the last bit of extended precision."""
    exact: Array = x.astype(np.longdouble) * y.astype(np.longdouble) + z
    return exact.astype(np.float64)


def fused_forward(
    X: Array, W: Array, b: Array, gamma: Array, beta: Array, bn_eps: float
) -> tuple[Array, network.Cache]:
    """Compute the correct forward pass as kernels do: xhat = h rstd + (-mu rstd), by fused multiply-add."""
    h = X @ W + b
    mu = h.mean(axis=0)
    rstd = 1 / np.sqrt(np.square(h - mu).mean(axis=0) + bn_eps)
    xhat = fused(h, rstd, -(mu * rstd))
    y = gamma * xhat + beta
    return np.where(y > 0, y, 0), network.Cache(AffineCache(X, W), BatchNormCache(xhat, gamma, 1 / rstd), y > 0)


@pytest.mark.parametrize("scheme", ["central", "complex"])
def test_a_fused_kernel_with_a_residue_in_a_batch_of_one_gives_no_false_alarm(scheme: str) -> None:
    target, residues = SimpleNamespace(forward=fused_forward, backward=network.backward), []
    for seed in range(25):
        p = random_problem(1, 5, 8, seed=seed, x_mean=[0.0, 1.0, 1e3, 1e5][seed % 4])
        beta = p.beta.copy()
        beta[:4] *= 10.0 ** -np.arange(10, 14)  # outputs that the residue of h - mu may carry across the kink
        problem = Problem(p.X, p.W, p.b, p.gamma, beta, p.dout, p.bn_eps)
        assert check(problem, target, scheme=scheme, edge_cases=False, explain=False).verdict is not Verdict.FAIL, seed
        _, cache = target.forward(p.X, p.W, p.b, p.gamma, beta, p.bn_eps)
        residues.append(np.abs(cache.batchnorm.xhat).max())
    assert max(residues) > 1e-9


def test_an_error_in_a_batch_of_one_is_detected_despite_the_residue_of_a_fused_kernel() -> None:
    def backward(dout: Array, cache: network.Cache) -> dict[str, Array]:
        measured = network.backward(dout, cache)
        return {**measured, "dgamma": measured["dgamma"] + 1e-6 * np.abs(measured["dbeta"])}

    problem = random_problem(1, 5, 8)
    result = check(problem, SimpleNamespace(forward=fused_forward, backward=backward), edge_cases=False, explain=False)
    assert result.gradients["dgamma"].verdict is Verdict.FAIL
