"""The forward pass determines sigma, eps and the layout with which gradients are compared."""

from dataclasses import replace

import numpy as np
import pytest

from bncheck import TargetError, Verdict, check, random_problem
from tests.checking.helpers import SINGLE_PASS, functions, verdicts
from tests.samples import BATCHNORM, COMPOSITE, FEATURES_FIRST, LAYERS, SHORT_NETWORK, changed


@pytest.mark.parametrize("x_mean", [1e2, 1e3, 1e4, 1e5, 1e6])
def test_a_single_pass_variance_passes_because_its_sigma_follows_from_its_output(x_mean: float) -> None:
    for seed in range(3):
        problem = random_problem(64, 10, 8, seed=seed, x_mean=x_mean)
        result = check(problem, functions(BATCHNORM, SINGLE_PASS), edge_cases=False, explain=False)
        assert result.verdict is Verdict.PASS, seed
        assert result.gradients["batchnorm_backward.dx"].tolerance_ratio < 0.7
    if x_mean >= 1e4:
        assert "single-pass-variance" in [note.code for note in result.notes]


@pytest.mark.parametrize("forward", ["np.sqrt(h.var(0)) + bn_eps", "np.sqrt(h.var(0, ddof=1) + bn_eps)",
                                     "np.sqrt(np.maximum(h.var(0), bn_eps))", "np.sqrt(h.var(0))"])  # fmt: skip
def test_another_formula_for_sigma_is_not_mistaken_for_rounding_or_for_another_eps(forward: str) -> None:
    wrong = functions(SHORT_NETWORK, ("np.sqrt(h.var(0) + bn_eps)", forward))
    for edge_cases in (True, False):
        assert check(random_problem(16, 6, 8), wrong, explain=False, edge_cases=edge_cases).verdict is Verdict.FAIL


@pytest.mark.parametrize("scheme", ["central", "complex"])
def test_a_single_pass_variance_whose_sigma_does_not_follow_from_the_output_does_not_fail(scheme: str) -> None:
    """eps is far above the variance, or gamma is 0: the output does not determine sigma."""
    single_pass = functions(BATCHNORM, SINGLE_PASS)
    p = random_problem(16, 6, 8, x_mean=1_000)
    hidden = [random_problem(16, 6, 8, seed=seed, x_mean=10, x_std=1e-4, bn_eps=1e-3) for seed in range(4)]
    hidden.append(replace(p, gamma=np.where(np.arange(8) == 0, 0.0, p.gamma), seed=None))
    for problem in hidden:
        assert check(problem, single_pass, scheme=scheme, edge_cases=False).verdict is not Verdict.FAIL


def test_a_backward_pass_with_the_eps_that_its_forward_pass_ignores_fails() -> None:
    split = functions(
        BATCHNORM,
        ('bn_param["eps"]', "1e-5"),
        ("(xhat, gamma, sigma)\n", '(xhat, gamma, np.sqrt(x.var(axis=0) + bn_param["eps"]))\n'),
    )
    assert check(random_problem(16, 6, 8), split, edge_cases=False).verdict is Verdict.PASS
    result = check(random_problem(16, 6, 8, bn_eps=0.5), split, edge_cases=False)
    assert verdicts(result)["batchnorm_backward.dx"] is Verdict.FAIL
    assert check(random_problem(16, 6, 8), split).verdict is Verdict.FAIL


def test_code_that_ignores_eps_is_called_with_the_eps_of_the_problem() -> None:
    """Outputs are excluded, so that the code is run a second time on the remaining loss."""
    split = functions(
        SHORT_NETWORK,
        ("np.sqrt(h.var(0) + bn_eps)", "np.sqrt(h.var(0) + 1e-5)"),
        ("gamma, sigma, xhat, y)\n\ndef", "gamma, np.sqrt(h.var(0) + bn_eps), xhat, y)\n\ndef"),
    )
    result = check(random_problem(16, 6, 8, bn_eps=0.5), split, step=1e-2, edge_cases=False, explain=False)
    assert result.kink_exclusion.excluded > 0
    assert verdicts(result)["dX"] is Verdict.FAIL


def test_an_output_that_is_pure_rounding_error_is_inconclusive() -> None:
    p = random_problem(13, 5, 5)
    W, b = p.W.copy(), p.b.copy()
    W[:, 0], b[0] = 0, 1.3
    problem = replace(p, W=W, b=b, bn_eps=0.0, seed=None)
    result = check(problem, functions(BATCHNORM), only=["dbeta"], edge_cases=False)
    assert [f.verdict for f in result.forward] == [Verdict.INCONCLUSIVE]
    assert result.forward[0].message == "13 of 65 entries of out cannot be judged: their sigma is pure rounding error"
    assert result.verdict is Verdict.INCONCLUSIVE


def test_a_constant_eps_is_not_inferred_from_a_batch_of_one() -> None:
    fused = functions(
        BATCHNORM,
        ('np.sqrt(x.var(axis=0) + bn_param["eps"])', "np.sqrt(x.var(axis=0) + 1e-15)"),
        ("(x - x.mean(axis=0)) / sigma", "x / sigma + (-x.mean(axis=0) / sigma)"),
    )
    assert check(random_problem(1, 6, 8), fused).verdict is Verdict.PASS


def test_an_output_that_is_pure_rounding_error_does_not_fail_even_if_it_is_nan() -> None:
    """With a zero column of W and eps 0, the order of operations decides whether the variance is exactly 0."""
    p = random_problem(13, 5, 5)
    W, b = p.W.copy(), p.b.copy()
    W[:, 0], b[0] = 0, 1.3
    problem = replace(p, W=W, b=b, bn_eps=0.0, seed=None)
    pairwise = functions(
        BATCHNORM,
        ("x.var(axis=0)", "((x[:, None] - x[None]) ** 2).mean(axis=(0, 1)) / 2"),
        ("(x - x.mean(axis=0))", "(x[:, None] - x[None]).mean(axis=1)"),
    )
    with np.errstate(all="ignore"):
        assert check(problem, pairwise, edge_cases=False).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("shape", [(16, 6, 8), (8, 6, 8)])
@pytest.mark.parametrize(
    "edits", [[], [("gamma * xhat", "gamma.reshape(-1, 1) * xhat"), ("+ beta", "+ beta.reshape(-1, 1)")]]
)
def test_the_layout_features_first_is_reported(shape: tuple[int, int, int], edits: list[tuple[str, str]]) -> None:
    with pytest.raises(
        TargetError, match=r"take arrays of shape \(features, batch\): their output and dx are correct in that layout"
    ):
        check(random_problem(*shape), functions(FEATURES_FIRST, *edits))


def test_statistics_over_the_wrong_axis_are_a_failure() -> None:
    wrong = functions(FEATURES_FIRST, ("sum(axis=1, keepdims=True)", "sum(axis=0)"))
    result = check(random_problem(16, 6, 8), wrong)
    assert result.verdict is Verdict.FAIL
    assert "BN108" in [d.code for d in result.diagnosis]


def test_the_layers_that_a_composite_does_not_compute_are_named() -> None:
    composite = changed(COMPOSITE, "return out, (fc", "return 2 * out, (fc")
    result = check(random_problem(7, 5, 4), functions(LAYERS + composite), edge_cases=False, explain=False)
    layers = "an affine layer, batch normalization and ReLU"
    assert any(note.message.startswith(f"affine_bn_relu_forward does not compute {layers};") for note in result.notes)
    assert any(output.message.startswith(f"out differs from {layers} in") for output in result.forward)
