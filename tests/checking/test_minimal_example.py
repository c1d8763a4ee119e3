"""The minimal example is the smallest problem found on which the same error occurs."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bncheck import Problem, check, random_problem
from bncheck.checking.minimal_example import MAX_TRIALS, minimize_problem
from bncheck.cli.main import main
from bncheck.mistakes import mistake_named
from bncheck.mistakes.injected import FaultyNetwork
from bncheck.model import network
from bncheck.model.layers import Array
from tests.faulty_targets import LAYERS, CorruptedNetwork, Terms, combine_terms, multiply
from tests.python_targets import Gradients

pytestmark = pytest.mark.usefixtures("typical_edge_cases")


def test_the_minimal_example_of_a_missing_variance_term_has_two_samples_and_one_unit() -> None:
    example = check(random_problem(64, 10, 8), FaultyNetwork(mistake_named("BN204"))).minimal_example
    assert example is not None
    assert (example.N, example.D, example.H) == (2, 1, 1)


def test_an_error_after_the_first_tile_is_minimized_to_one_column_more_than_the_tile() -> None:
    result = check(random_problem(6, 5, 70), CorruptedNetwork(multiply("dW", 2, np.s_[:, 32:])))
    assert result.minimal_example is not None
    assert (result.minimal_example.H, result.minimal_example.D) == (33, 1)


def test_the_minimal_example_fails_in_the_same_part() -> None:
    result = check(random_problem(30, 5, 4), CorruptedNetwork(combine_terms(0.5, 1, 1)))
    assert result.minimal_example is not None
    # A single sample has only the direct term, and a few do not determine three coefficients.
    assert result.minimal_example.N >= 5


@pytest.mark.process
def test_the_minimal_example_checks_every_entry_of_a_sampled_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = LAYERS.replace("(g - g.mean(axis=0)) / sigma,", "rows(g, xhat, sigma),") + (
        "def rows(g, xhat, sigma):\n"
        "    dx = (g - g.mean(axis=0) - xhat * (g * xhat).mean(axis=0)) / sigma\n"
        "    dx[8:] *= 2\n"
        "    return dx\n"
    )
    Path("rows.py").write_text(source, encoding="utf-8")
    result = check(random_problem(16, 5, 4, seed=1), "rows.py", engine="full", sample=20)
    assert result.minimal_example is not None
    assert result.minimal_example.N == 9
    assert "--sample" not in str(result.minimal_example.reproduce)
    assert CliRunner().invoke(main, shlex.split(str(result.minimal_example.reproduce))[1:]).exit_code == 1


@pytest.mark.process
def test_a_failure_of_an_edge_case_only_is_minimized_with_automatic_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("layers.py").write_text(LAYERS, encoding="utf-8")
    example = check(random_problem(10, 5, 4), "layers.py", step=10.0).minimal_example
    assert example is not None
    assert "--step" not in str(example.reproduce)
    assert check(random_problem(example.N, example.D, example.H), "layers.py", edge_cases=False).verdict.value == "fail"
    assert CliRunner().invoke(main, shlex.split(str(example.reproduce))[1:]).exit_code == 1


def test_the_search_bisects_large_sizes_within_its_limit() -> None:
    tried: list[int] = []

    def fails(problem: Problem) -> bool:
        tried.append(problem.H)
        return problem.H >= 150

    example = minimize_problem(fails, random_problem(2, 1, 900))
    assert example is not None
    assert (example.N, example.D, example.H) == (1, 1, 150)
    assert len(tried) <= MAX_TRIALS


def test_a_problem_on_which_nothing_smaller_fails_has_no_minimal_example() -> None:
    assert minimize_problem(lambda _: False, random_problem(4, 3, 2)) is None


def test_the_minimal_example_of_a_finite_error_is_finite() -> None:
    # With N = 1 this mistake divides by N - 1 = 0, which is another error.
    example = check(random_problem(9, 5, 4), FaultyNetwork(mistake_named("BN214"))).minimal_example
    assert example is not None
    assert example.N == 2


def test_the_minimal_example_of_a_finite_error_that_matches_no_mistake_is_finite() -> None:
    def corrupt(_: Gradients, cache: network.Cache, terms: Terms) -> Array:
        N = np.float64(len(terms[0]))
        with np.errstate(all="ignore"):
            return np.asarray(sum(terms) * (1 + np.abs(cache.batchnorm.xhat)) * (N / (N - 1)))

    result = check(random_problem(9, 5, 4), CorruptedNetwork(corrupt))
    assert result.diagnosis[0].code is None
    assert result.minimal_example is not None
    assert result.minimal_example.N >= 2
