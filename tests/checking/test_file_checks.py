"""Checks of files, whose verdict depends on the problem."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from bncheck import Verdict, check, random_problem
from bncheck.cli.main import main
from tests.python_targets import CheckFile
from tests.samples import LAYERS, VAR, changed, read

pytestmark = pytest.mark.process


@pytest.mark.parametrize("x_mean", [1e2, 1e3, 1e4, 1e5])
def test_a_single_pass_variance_passes_at_a_large_mean(x_mean: float, tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(read("correct/single_pass_variance_of_layer_functions.py"), encoding="utf-8")
    for seed in range(5):
        result = check(random_problem(20, 9, 6, seed=seed, x_mean=x_mean), str(path), edge_cases=False)
        assert result.verdict is Verdict.PASS, seed
        if x_mean > 1e2:  # at 1e2 its rounding is as small as that of the reference
            assert [r.code for r in result.notes] == ["single-pass-variance"]


@pytest.mark.parametrize(
    ("source", "edge_case"),
    [
        # Both are far below any usual tolerance at unit scale.
        (changed(LAYERS, "(var + eps) ** -1.5", "(var - eps) ** -1.5"), "large-eps"),
        (changed(LAYERS, "(var + eps) ** -1.5", "var ** -1.5"), "large-eps"),
        (changed(LAYERS, "(var + eps) ** -1.5", "var ** -1.5"), "small-variance"),
    ],
)
def test_an_edge_case_detects_a_mistake_that_rtol_and_atol_accept_at_unit_scale(
    source: str, edge_case: str, tmp_path: Path
) -> None:
    path = tmp_path / "layers.py"
    path.write_text(source, encoding="utf-8")
    problem = random_problem(64, 20, 10, x_std=100.0)
    assert check(problem, str(path), edge_cases=False, rtol=1e-4, atol=1e-8).verdict is Verdict.PASS
    result = check(problem, str(path), rtol=1e-4, atol=1e-8)
    assert result.verdict is Verdict.FAIL
    failing = {p.name: p for p in result.edge_cases}[edge_case]
    assert failing.verdict is Verdict.FAIL
    assert failing.failed == ("batchnorm_backward.dx",)
    assert failing.reproduce is not None
    repeated = CliRunner().invoke(main, failing.reproduce.split()[1:])
    assert repeated.exit_code == 1


def test_a_complex_step_is_only_used_in_bncheck_s_own_forward_pass(check_file: CheckFile) -> None:
    """np.var of a complex array takes |.|^2 and drops the variance term."""
    right = changed(LAYERS, VAR, "var = np.var(x, axis=0)")
    assert check_file(right, scheme="complex").verdict is Verdict.PASS
    unbiased = read("wrong/unbiased_variance_with_its_own_derivative.py")
    result = check_file(unbiased, scheme="complex", edge_cases=False)
    assert result.gradients["batchnorm_backward.dx"].verdict is Verdict.PASS
    assert any("with central differences" in r.message for r in result.notes)
