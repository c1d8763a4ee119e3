"""Every equation of the derivation passes, a wrong one fails alone, and the pages explain each step."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import mpmath
import numpy as np
import pytest
from click.testing import CliRunner, Result

from bncheck import InvalidInput, Problem, Verdict, random_problem
from bncheck.cli.main import main
from bncheck.derivation import checking, derive
from bncheck.derivation.checking import check_equation, check_graph, compute_values, derivative
from bncheck.derivation.equations import EQUATIONS, Equation, Part
from bncheck.model.graph import NODES, Edge
from tests.oracles import DIGITS, TINY

NAMES = [equation.name for equation in EQUATIONS]
GRAPH = ["y", "xhat", "sigma", "var", "square", "c", "mu", "h", "X", "W", "b", "gamma", "beta"]
by_name = pytest.mark.parametrize("equation", EQUATIONS, ids=NAMES)


def invoke(*arguments: str, **environment: str) -> Result:
    return CliRunner(env={"COLUMNS": "80", **environment}).invoke(main, ["derive", *arguments])


def random_problems(count: int) -> Sequence[Problem]:
    """Draw batch sizes from 1 to 5, and scales from small to large."""
    problems = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        N, D, H = 1 + seed % 5, *(int(size) for size in rng.integers(1, 5, 2))
        settings = {
            "bn_eps": 10 ** rng.uniform(-8, 0),
            "x_mean": rng.choice([0.0, 3.0]),
            "x_std": 10 ** rng.uniform(-2, 2),
        }
        problems.append(random_problem(N, D, H, seed=seed, **settings))
    return problems


def test_every_equation_passes_over_50_seeds_and_shapes() -> None:
    for problem in random_problems(50):
        for checked in derive(problem).checks:
            assert checked.verdict is Verdict.PASS, (problem.seed, checked.name)
            assert checked.tolerance_ratio < 0.5, (problem.seed, checked.name)


def test_the_equations_and_the_nodes_are_complete_and_in_order() -> None:
    assert NAMES == ["relu", "scale", "centering", "var", "xhat", "dh", "dgamma", "dbeta", "dW", "db", "dX"]
    assert [checked.name for checked in check_graph(compute_values(random_problem(3, 4, 2)))] == GRAPH


@by_name
@pytest.mark.parametrize("wrong", NAMES)
def test_a_wrong_equation_fails_and_no_other_does(equation: Equation, wrong: str) -> None:
    problem = random_problem(4, 3, 2, seed=1)
    if equation.name == wrong:
        part = equation.parts[-1]
        shift = 1e-5 if equation.name == "db" else 0.0
        wrong_part = Part(part.formula, lambda v: 1.0001 * part.value(v) + shift)
        equation = replace(equation, parts=(*equation.parts[:-1], wrong_part))
    verdict = check_equation(equation, compute_values(problem)).verdict
    assert verdict is (Verdict.FAIL if equation.name == wrong else Verdict.PASS)


def test_a_wrong_local_gradient_fails_in_the_nodes_computed_from_it_and_in_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = [
        replace(node, edges={"c": Edge("c", lambda v, d: v["c"] * d)}) if node.name == "square" else node
        for node in NODES
    ]
    monkeypatch.setattr("bncheck.model.graph.NODES", tuple(wrong))
    failing = {
        checked.name
        for checked in check_graph(compute_values(random_problem(4, 3, 2)))
        if checked.verdict is Verdict.FAIL
    }
    # In the sums for mu and b, the wrong term cancels.
    assert failing == {"c", "h", "X", "W"}


@pytest.mark.parametrize("N", [1, 2, 3, 5])
def test_the_numerical_jacobian_of_xhat_is_within_its_bounds_of_the_value_in_50_digits(N: int) -> None:
    for seed, eps in enumerate((1e-5, 0.1)):
        values = compute_values(random_problem(N, 3, 2, seed=seed, bn_eps=eps))
        numerical, error_bound = derivative(values, "xhat", "h")
        with mpmath.workdps(DIGITS):
            for j, i, k in np.ndindex(2, N, N):
                column = [mpmath.mpf(float(x)) for x in values["h"][:, j]]
                above, below = (_xhat(column, i, k, step, eps) for step in (TINY, -TINY))
                exact = float((above - below) / (2 * TINY))
                assert abs(numerical[k, j, i, j] - exact) <= error_bound[k, j, i, j]


def _xhat(column: Sequence[Any], i: int, k: int, step: Any, eps: float) -> Any:
    """Return xhat in row k of a column after row i is perturbed."""
    h = [x + step * (p == i) for p, x in enumerate(column)]
    mu = sum(h) / len(h)
    return (h[k] - mu) / mpmath.sqrt(sum((x - mu) ** 2 for x in h) / len(h) + mpmath.mpf(eps))


@pytest.mark.parametrize("name", ["relu", "scale", "centering", "var", "xhat"])
def test_entries_that_delta_makes_0_are_0_in_the_formula_and_in_the_measurement(name: str) -> None:
    (equation,) = (e for e in EQUATIONS if e.name == name)
    checked = check_equation(equation, compute_values(random_problem(4, 3, 3)))
    elsewhere = np.ones(checked.analytic.shape, bool)
    for column in range(3):
        elsewhere[..., column, :, column] = False
    assert elsewhere.sum() == checked.analytic.size * 2 / 3
    assert not checked.analytic[elsewhere].any()
    # The values of other columns are computed in the same way as before, so the tolerance is 0 too.
    assert not checked.tolerance[elsewhere].any()
    assert not checked.numerical[elsewhere].any()


def test_the_centering_jacobian_is_1_minus_1_over_n_on_the_diagonal_and_minus_1_over_n_off_it() -> None:
    (equation,) = (e for e in EQUATIONS if e.name == "centering")
    block = check_equation(equation, compute_values(random_problem(4, 3, 2))).numerical[:, 1, :, 1]
    np.testing.assert_allclose(block, np.eye(4) - 1 / 4, atol=1e-9)


def test_a_measurement_that_is_not_precise_enough_is_inconclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "RELATIVE_STEP", 1e-14)
    assert derive(random_problem(3, 4, 2), "xhat").verdict is Verdict.INCONCLUSIVE


def test_an_equation_that_fails_exits_1(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = replace(EQUATIONS[3], parts=(Part("0", lambda v: np.zeros((2, *v["h"].shape))),))
    monkeypatch.setattr("bncheck.derivation.checking.EQUATIONS", (*EQUATIONS[:3], wrong, *EQUATIONS[4:]))
    result = invoke()
    assert result.exit_code == 1
    assert len(re.findall(r" FAIL$", result.stdout, re.MULTILINE)) == 1
    assert re.search(r"^  var .* FAIL$", result.stdout, re.MULTILINE)


def test_without_a_name_there_is_a_table_of_equations_and_one_of_nodes() -> None:
    result = invoke()
    assert result.exit_code == 0
    assert re.findall(r"^  (\w+) .* pass$", result.stdout, re.MULTILINE) == [*NAMES, *GRAPH]
    assert re.search(r"^  var +∂var_l/∂h_ij = 2/N \(h_il − μ_l\) δ_jl +12 ", result.stdout, re.MULTILINE)
    assert re.search(r"^  c +dsquare · \(2c\) \+ dxhat · \(1 / sigma\) ", result.stdout, re.MULTILINE)
    assert max(map(len, result.stdout.splitlines())) <= 78


def test_the_page_of_centering_explains_why_the_off_diagonal_is_minus_1_over_n() -> None:
    text = " ".join(invoke("centering").stdout.split())
    assert (
        "If one entry h_il grows by t, the sum of the column grows by t, and μ_l grows by t/N, for every row i" in text
    )
    assert "h_kl does not change; the mean that is subtracted from it does. This is the −1/N off the diagonal." in text
    lines = invoke("centering").stdout.splitlines()
    assert "    1.000  0.000  0.000   -0.333 -0.333 -0.333" in lines  # the parts
    assert any(line.startswith("    0.667 -0.333 -0.333    0.667 -0.333 -0.333 ") for line in lines)
    assert "  zeros      18 entries are 0 because of δ; measured: exactly 0" in lines
    assert re.search(r"36 entries: pass, <?\d+ % of the tolerance; error bounds up to ", text)


def test_the_page_of_the_variance_explains_why_the_term_through_mu_vanishes() -> None:
    text = " ".join(invoke("VAR").stdout.split())
    assert "deviations from the mean sum to zero. Therefore the term through μ vanishes" in text


@pytest.mark.parametrize("name", ["", *NAMES])
@pytest.mark.parametrize("width", ["60", "80", "120"])
def test_a_page_fits_its_stream(name: str, width: str) -> None:
    text = invoke(*filter(None, [name]), COLUMNS=width).stdout
    assert max(map(len, text.splitlines())) <= min(int(width), 80)


@pytest.mark.parametrize("name", ["", *NAMES])
def test_formulas_stay_readable_in_ascii(name: str) -> None:
    runner = CliRunner(env={"COLUMNS": "80"}, charset="ascii")
    text = runner.invoke(main, ["derive", *filter(None, [name])]).stdout
    assert text.isascii()
    assert "?" not in text
    if name == "var":
        assert "var:  dvar_l/dh_ij = 2/N (h_il - mu_l) delta_jl" in text


def test_a_large_matrix_is_shown_in_part_and_the_page_says_so() -> None:
    text = invoke("centering", "--N", "9").stdout
    assert "(rows k, columns i, in column j = l = 0, the first 6 of each)" in text


def test_the_json_document_contains_formula_latex_and_verdict_of_each_equation() -> None:
    document = json.loads(invoke("--format", "json").stdout)
    assert (document["schema"], document["verdict"]) == ("bncheck/2", "pass")
    assert [e["name"] for e in document["equations"]] == NAMES
    assert [n["name"] for n in document["graph"]] == GRAPH
    fields = {"name", "formula", "latex", "rule", "reason", "algebra", "verdict", "entries", "wrong"}
    assert all(0 < e["max_error_bound"] < 1e-6 for e in document["equations"])
    assert all(fields <= set(e) and e["verdict"] == "pass" for e in document["equations"])
    (one,) = json.loads(invoke("var", "--format", "json").stdout)["equations"]
    assert one["name"] == "var"


def test_latex_is_one_balanced_environment() -> None:
    text = invoke("--format", "latex").stdout
    assert text.startswith("\\begin{align*}\n")
    assert text.endswith("\\end{align*}\n")
    rows = [line for line in text.splitlines()[1:-1] if not line.startswith("  %")]
    assert len(rows) == len(NAMES)
    for row in rows:
        assert row.count("{") == row.count("}")
        assert row.count("&=") == 1
        assert row.count(r"\left") - row.count(r"\leftarrow") == row.count(r"\right")
    assert text.isascii()


def test_markdown_has_a_section_for_each_equation() -> None:
    text = invoke("--format", "markdown").stdout
    assert re.findall(r"^## (\w+)$", text, re.MULTILINE) == NAMES
    assert text.count("$$") == 2 * len(NAMES)
    assert "Checked: 36 entries, pass." in text


def test_an_unknown_equation_exits_2_with_a_suggestion_or_all_names() -> None:
    result = invoke("vra")
    assert result.exit_code == 2
    assert result.stderr == "Error: unknown equation 'vra'; did you mean 'var'?\n"
    assert invoke("q").stderr == f"Error: unknown equation 'q'; choose from {', '.join(NAMES)}\n"


def test_the_british_spelling_of_centering_is_an_alias() -> None:
    assert invoke("Centring").stdout == invoke("centering").stdout


def test_a_problem_with_a_jacobian_that_is_too_large_is_rejected() -> None:
    with pytest.raises(InvalidInput, match="N = 100 and H = 50 make Jacobians of 5,000 by 5,000 entries"):
        derive(random_problem(100, 3, 50))


@pytest.mark.parametrize("relative_step", [1e-3, 1e-2])
def test_with_large_steps_the_error_bounds_include_the_truncation_error(
    relative_step: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "RELATIVE_STEP", relative_step)
    for seed in range(5):
        values = compute_values(random_problem(4, 3, 2, seed=seed))
        for equation in EQUATIONS:
            assert not check_equation(equation, values).wrong, (seed, equation.name)
