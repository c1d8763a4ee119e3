"""Every returned array is judged a single time, by bounds that are fixed in advance."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from bncheck import Verdict, check, random_problem
from bncheck.checking import judge
from bncheck.model.results import PairOutput
from tests.checking.helpers import RETURN, SINGLE_PASS, functions, verdicts
from tests.samples import AFFINE, BATCHNORM, SHORT_NETWORK


@pytest.mark.parametrize("forward", [(), (SINGLE_PASS,)], ids=["two-pass", "single-pass"])
def test_a_factor_of_1_plus_1e_5_on_dx_fails_at_a_large_mean(forward: tuple[tuple[str, str], ...]) -> None:
    wrong = functions(BATCHNORM, *forward, (RETURN, "dx = dx * (1 + 1e-5)\n    " + RETURN))
    result = check(random_problem(64, 100, 50, x_mean=1e4), wrong, edge_cases=False, explain=False)
    assert result.gradients["batchnorm_backward.dx"].wrong > 3_000


def test_a_weight_gradient_wrong_by_a_tenth_fails_for_two_samples_and_a_large_mean() -> None:
    wrong = functions(SHORT_NETWORK, ("X.T @ dh,", "1.1 * X.T @ dh,"))
    problem = random_problem(2, 5, 4, x_mean=1e3, bn_eps=1e-2)
    assert verdicts(check(problem, wrong, edge_cases=False, explain=False))["dW"] is Verdict.FAIL


def test_each_returned_array_is_compared_a_single_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, PairOutput]] = []

    def recorded(name: str) -> Callable[..., Any]:
        def compare(pair_output: PairOutput, *arguments: Any) -> Any:
            compared.append((name, pair_output))  # also keeps the output alive, so that its id is unique
            return getattr(judge, name)(pair_output, *arguments)

        return compare

    for name in ("compare", "compare_forward"):
        monkeypatch.setattr(f"bncheck.checking.pair_check.{name}", recorded(name))
    result = check(random_problem(9, 6, 5), functions(AFFINE + BATCHNORM), explain=False)
    counts = Counter((name, id(pair_output)) for name, pair_output in compared)
    assert set(counts.values()) == {1}
    # Two pairs on each problem: an output and gradients for each.
    assert len(compared) == 2 * 2 * (1 + len(result.edge_cases))


def test_a_second_call_that_returns_nan_fails() -> None:
    calls = iter(range(1_000))
    wrong = functions(BATCHNORM, (RETURN, "dx = dx * (np.nan if next(calls) else 1)\n    " + RETURN))
    wrong.batchnorm_backward.__globals__["calls"] = calls
    result = check(random_problem(9, 6, 5), wrong, edge_cases=False)
    assert verdicts(result)["batchnorm_backward.dx"] is Verdict.FAIL
    assert result.gradients["batchnorm_backward.dx"].usage == "in the second of two equal calls"
