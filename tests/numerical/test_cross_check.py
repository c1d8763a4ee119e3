"""The cross-check detects a wrong local engine, and allows each engine its own rounding."""

from collections.abc import Callable

import pytest

from bncheck import Verdict, check, random_problem
from bncheck.model.layers import Array
from bncheck.numerical.local import local_gradients
from tests.numerical.measuring import measure_all, plan_all


def replace_local_engine(monkeypatch: pytest.MonkeyPatch, change: Callable[[str, Array], Array]) -> None:
    """Apply a change, a function of name and value, to every gradient of the local engine."""

    def changed(*arguments: object) -> dict[str, Array]:
        gradients = local_gradients(*arguments)  # type: ignore[arg-type]  # the arguments are passed on unchanged
        return {name: change(name, value) for name, value in gradients.items()}

    monkeypatch.setattr("bncheck.numerical.measure.local_gradients", changed)


def test_the_cross_check_detects_a_wrong_local_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = random_problem(16, 10, 8)
    correct = check(problem).cross_check
    assert correct is not None
    assert correct.agrees
    assert correct.entries == 64 + 5 * 8  # of X, and in each column of the other inputs
    replace_local_engine(monkeypatch, lambda _, value: value * (1 + 1e-6))
    result = check(problem, only=["dW"], rtol=1e-3)
    assert result.cross_check is not None
    assert not result.cross_check.agrees
    assert result.gradients["dW"].verdict is Verdict.PASS
    assert result.verdict is Verdict.INCONCLUSIVE


def test_the_cross_check_detects_an_error_in_x_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_local_engine(monkeypatch, lambda name, value: value * (1 + 1e-6) if name == "X" else value)
    comparison = check(random_problem(64, 100, 50)).cross_check
    assert comparison is not None
    assert not comparison.agrees


@pytest.mark.parametrize(("base_roundings", "agrees"), [(1.9, True), (2.1, False)])
def test_the_cross_check_allows_each_engine_the_rounding_of_its_own_base_point(
    base_roundings: float, agrees: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The complex step subtracts nothing, so the two values may differ by twice the base rounding, and no more."""
    problem = random_problem(5, 4, 3, x_mean=1e4)
    bounds = plan_all(problem, scheme="complex").bounds
    assert measure_all(problem, scheme="complex").cross_check is not None
    replace_local_engine(monkeypatch, lambda name, value: value + base_roundings * bounds.base_rounding[name])
    comparison = measure_all(problem, scheme="complex").cross_check
    assert comparison is not None
    assert comparison.agrees is agrees
