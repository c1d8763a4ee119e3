"""The verdicts of whole checks: correct gradients pass, wrong ones fail, imprecise checks are inconclusive."""

import itertools
import re
from collections import Counter

import numpy as np
import pytest

from bncheck import InterruptedCheck, InvalidInput, Problem, TargetError, Verdict, check, random_problem
from bncheck.mistakes import Mistake, all_mistakes
from bncheck.mistakes.injected import FaultyNetwork
from bncheck.model import network
from bncheck.model.layers import Array
from bncheck.numerical.schemes import SCHEMES
from bncheck.selftest.problems import hard_problem
from tests.python_targets import CorruptedGradients, Gradients

pytestmark = pytest.mark.usefixtures("typical_edge_cases")

DIFFERENTIATED = ("dX", "dW", "dgamma", "dbeta", "dh")  # db is exactly 0


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_correct_gradient_never_fails_on_500_difficult_problems(scheme: str) -> None:
    verdicts: Counter[Verdict] = Counter()
    for seed in range(500):
        result = check(hard_problem(seed), scheme=scheme)
        assert result.cross_check is not None
        assert result.cross_check.agrees, seed
        verdicts[result.verdict] += 1
        assert result.verdict is not Verdict.FAIL, seed
    # Only a few of these problems are too difficult to resolve.
    assert verdicts[Verdict.PASS] > 460


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("step", [1e-8, 1e-5, 1e-3, 1e-1])
def test_a_correct_gradient_never_fails_at_a_fixed_step(scheme: str, step: float) -> None:
    for seed in range(25):
        assert check(hard_problem(seed), scheme=scheme, step=step).verdict is not Verdict.FAIL


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 5), (2, 1, 1), (2, 7, 4), (3, 5, 1)])
def test_the_smallest_problems_pass(shape: tuple[int, int, int]) -> None:
    for seed in range(10):
        assert check(random_problem(*shape, seed=seed)).verdict is Verdict.PASS


@pytest.mark.parametrize("scheme", [name for name in SCHEMES if name != "complex"])
def test_a_vanishing_step_is_inconclusive_because_rounding_dominates(scheme: str) -> None:
    for seed, engine in itertools.product(range(5), ("local", "full")):
        result = check(random_problem(6, 5, 4, seed=seed), scheme=scheme, step=1e-14, engine=engine)
        assert result.verdict is Verdict.INCONCLUSIVE
        reasons = " ".join(result.gradients["dW"].reasons)
        assert "rounding dominates; use a larger `step`" in reasons


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_huge_step_is_inconclusive_because_every_output_is_excluded(scheme: str) -> None:
    for seed in range(5):
        result = check(random_problem(6, 5, 4, seed=seed), scheme=scheme, step=10.0)
        assert result.verdict is Verdict.INCONCLUSIVE
        reasons = " ".join(result.gradients["dX"].reasons)
        assert "24 of 24 outputs are too close to ReLU's kink to check" in reasons
        assert "use a smaller `step`" in reasons


def test_the_complex_step_resolves_a_step_of_1e_14() -> None:
    assert check(random_problem(6, 5, 4), scheme="complex", step=1e-14).verdict is Verdict.PASS


@pytest.mark.parametrize("shape", [(64, 100, 50), (9, 6, 7), (5, 20, 3)])
@pytest.mark.parametrize("name", DIFFERENTIATED)
def test_a_gradient_wrong_by_half_a_per_mille_fails(name: str, shape: tuple[int, int, int]) -> None:
    """The error is in all entries, in one column, or in one entry (relative to the largest of its column)."""
    for seed in range(8):
        problem, rng = random_problem(*shape, seed=seed), np.random.default_rng(seed)

        def everywhere(g: Gradients) -> None:
            g[name] *= 1.0005

        def one_column(g: Gradients) -> None:
            g[name][..., rng.integers(g[name].shape[-1])] *= 1.0005  # noqa: B023 - the function is called within the same iteration

        def one_entry(g: Gradients) -> None:
            index = tuple(rng.integers(size) for size in g[name].shape)  # noqa: B023 - the function is called within the same iteration
            g[name][index] += 0.0005 * np.abs(g[name][..., index[-1]]).max()

        for corrupt in (everywhere, one_column, one_entry):
            result = check(problem, CorruptedGradients(corrupt), edge_cases=False, explain=False)
            verdicts = {key: g.verdict for key, g in result.gradients.items()}
            assert verdicts.pop(name) is Verdict.FAIL, (seed, corrupt.__name__)
            assert set(verdicts.values()) == {Verdict.PASS}


# Mistakes of the catalogue whose forward pass is correct.
BACKWARD = [
    m for m in all_mistakes() if not {"h", "var", "sigma", "xhat", "y", "a", "mu"} & m.replaces.keys() and m.replaces
]  # fmt: skip


@pytest.mark.parametrize(
    "mistake", [m for m in BACKWARD if not m.layer_only and not m.undetectable_because], ids=lambda m: m.code
)
def test_only_the_wrong_gradients_of_a_wrong_backward_pass_fail(mistake: Mistake) -> None:
    for seed in range(5):
        # An eps of the variance's size, so that it matters.
        problem = random_problem(7, 5, 4, seed=seed, bn_eps=0.05)
        target = FaultyNetwork(mistake)
        result = check(problem, target, edge_cases=False, explain=False)
        p = result.problem
        injected = target.backward(p.dout, target.forward(p.X, p.W, p.b, p.gamma, p.beta, p.bn_eps)[1])
        correct = network.backward(p.dout, network.forward(p.X, p.W, p.b, p.gamma, p.beta, p.bn_eps)[1])
        differ = {
            name
            for name in correct
            if np.shape(injected[name]) != correct[name].shape
            or not np.allclose(injected[name], correct[name], rtol=1e-6)
        }
        assert {key for key, g in result.gradients.items() if g.verdict is Verdict.FAIL} == differ, seed
        assert differ


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["dX", "db", "dgamma"])
def test_a_single_value_that_is_not_finite_fails(name: str, value: float) -> None:
    def corrupt(g: Gradients) -> None:
        g[name].flat[1] = value

    result = check(random_problem(6, 5, 4), CorruptedGradients(corrupt))
    assert result.gradients[name].verdict is Verdict.FAIL
    assert result.gradients[name].wrong == 1
    assert np.flatnonzero(~np.isfinite(result.gradients[name].analytic)).tolist() == [1]


def test_a_numerical_gradient_that_is_not_finite_is_inconclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> dict[str, Array]:
        return {"W": np.full((5, 4), np.nan)}

    monkeypatch.setattr("bncheck.numerical.measure.local_gradients", broken)
    result = check(random_problem(6, 5, 4), only=["dW"])
    assert result.gradients["dW"].verdict is Verdict.INCONCLUSIVE
    assert result.gradients["dW"].unresolved == 20


def test_a_value_that_is_not_finite_fails_even_if_no_entry_is_resolved() -> None:
    result = check(random_problem(6, 5, 4), CorruptedGradients(lambda g: g["dW"].fill(np.nan)), step=10.0)
    assert result.gradients["dW"].verdict is Verdict.FAIL


def test_a_wrong_shape_is_reported_with_the_expected_shape() -> None:
    def corrupt(g: Gradients) -> None:
        g["dgamma"] = np.zeros((6, 4))

    result = check(random_problem(6, 5, 4), CorruptedGradients(corrupt))
    assert result.gradients["dgamma"].verdict is Verdict.FAIL
    assert result.gradients["dgamma"].reasons == (
        "dgamma has shape (6, 4), expected (4,); is the sum over the batch missing?",
    )


def test_a_forward_pass_that_is_not_batch_norm_fails() -> None:
    class Shifted:
        backward = staticmethod(network.backward)

        @staticmethod
        def forward(*arrays: Array) -> tuple[Array, network.Cache]:
            a, cache = network.forward(*arrays)  # type: ignore[arg-type]  # the arguments are passed on unchanged
            return a * (1 + 1e-9), cache

    result = check(random_problem(6, 5, 4), Shifted)
    assert result.forward[0].verdict is Verdict.FAIL
    assert result.verdict is Verdict.FAIL


def test_db_is_an_exact_zero_with_a_resolution() -> None:
    db = check(random_problem(16, 10, 8)).gradients["db"]
    assert db.exact_zero
    assert db.verdict is Verdict.PASS
    assert db.value_resolution is None
    assert 0 < db.resolution < 1e-9


def test_the_rows_and_columns_of_wrong_entries_are_reported() -> None:
    def corrupt(g: Gradients) -> None:
        g["dX"][2:4, 1] += 1.0

    dX = check(random_problem(6, 5, 4), CorruptedGradients(corrupt)).gradients["dX"]
    assert (dX.wrong, dX.wrong_rows, dX.wrong_columns) == (2, (2, 3), (1,))
    assert {entry.index for entry in dX.worst_entries} == {(2, 1), (3, 1)}


def test_rtol_and_atol_replace_the_error_bounds() -> None:
    def corrupt(g: Gradients) -> None:
        g["dW"] *= 1 + 1e-5

    problem = random_problem(16, 10, 8)
    assert check(problem, CorruptedGradients(corrupt)).verdict is Verdict.FAIL
    assert check(problem, CorruptedGradients(corrupt), rtol=1e-4).verdict is Verdict.PASS
    strict = check(problem, CorruptedGradients(corrupt), rtol=1e-6, atol=1e-9)
    assert strict.gradients["dW"].verdict is Verdict.FAIL
    # The false alarm of other checkers: no relative tolerance suits an exact zero.
    assert check(problem, rtol=1e-4).gradients["db"].verdict is Verdict.PASS
    assert check(problem, rtol=1e-4, atol=0.0).gradients["db"].verdict is Verdict.FAIL


def test_an_imprecise_measurement_is_inconclusive_for_any_tolerance() -> None:
    result = check(random_problem(6, 5, 4), step=1e-14, rtol=10.0, atol=10.0)
    assert result.verdict is Verdict.INCONCLUSIVE


def test_only_the_selected_gradients_are_checked_in_the_usual_order() -> None:
    result = check(random_problem(4, 3, 2), only=iter(["dgamma", "dW"]))
    assert list(result.gradients) == ["dW", "dgamma"]
    assert "--only dW,dgamma" in (result.reproduce or "")


def test_a_low_value_resolution_gives_a_note() -> None:
    result = check(random_problem(2, 5, 4, bn_eps=1e-9), scheme="forward")
    assert {note.code for note in result.notes} == {"low-resolution"}
    pattern = r"\w+ nearly cancels: a relative error in the whole gradient is detected only above \d\.\de[+-]\d+"
    assert all(re.fullmatch(pattern, note.message) for note in result.notes)


def test_an_interrupted_check_contains_its_partial_result_and_does_not_pass() -> None:
    def interrupt(done: int, _: int) -> None:
        if done == 12:
            raise KeyboardInterrupt

    with pytest.raises(InterruptedCheck, match="interrupted after 12 of 86 entries") as caught:
        check(random_problem(6, 5, 4), engine="full", progress=interrupt)
    result = caught.value.result
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.gradients["dX"].verdict is Verdict.INCONCLUSIVE
    assert result.checked == 12


def test_an_interrupted_check_keeps_a_failure() -> None:
    def interrupt(_: int, __: int) -> None:
        raise KeyboardInterrupt

    target = CorruptedGradients(lambda g: g["dX"].fill(7.0))
    with pytest.raises(InterruptedCheck) as caught:
        check(random_problem(6, 5, 4), target, engine="full", progress=interrupt)
    assert caught.value.result.verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheme": "midpoint"}, "unknown scheme 'midpoint'; did you mean 'five-point'"),
        ({"engine": "gpu"}, "unknown engine 'gpu'; choose from local, full"),
        ({"step": 0.0}, r"step must be 'auto' or a positive finite number, got 0\.0"),
        ({"step": float("nan")}, "step must be .*, got nan"),
        ({"step": float("inf")}, "step must be .*, got inf"),
        ({"step": -1e-5}, "step must be .*, got -1e-05"),
        ({"step": "tiny"}, "step must be .*, got 'tiny'"),
        ({"step": 1e-200}, "step must be at least 1e-100, got 1e-200"),
        ({"sample": 5}, "the local engine checks every entry"),
        ({"sample": 0, "engine": "full"}, "sample must be an integer of at least 1, got 0"),
        ({"only": ["backward.dz"]}, r"unknown gradient 'backward.dz'; did you mean 'backward.d\w+'\?"),
        ({"only": []}, "only must name at least one gradient of dX, dW"),
        ({"rtol": -1.0}, r"rtol must be a finite number of at least 0, got -1\.0"),
        ({"atol": float("nan")}, "atol must be .*, got nan"),
        ({"target": object()}, "object defines no functions that bncheck can check"),
        (
            {"target": "layers.py", "timeout": 0.0},
            r"timeout must be a number of seconds above 0, at most 604,800, got 0\.0",
        ),
    ],
)
def test_an_invalid_option_is_reported_with_its_value(options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        check(random_problem(4, 3, 2), **options)  # type: ignore[arg-type]  # invalid values are the subject of the test


class _Returns:
    """A target that returns fixed values, or raises an exception in its backward pass."""

    def __init__(self, forward: object, backward: object = None) -> None:
        self._forward, self._backward = forward, backward

    def forward(self, *_: Array) -> object:
        return self._forward

    def backward(self, *_: object) -> object:
        if isinstance(self._backward, Exception):
            raise self._backward
        return self._backward


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (_Returns(None), "forward returns None: not implemented yet"),
        (_Returns((1, 2, 3)), "returned a tuple of 3; expected a tuple \\(out, cache\\)"),
        (_Returns((0, 0), (1, 2)), "backward returned a tuple of 2; expected dX, dW, db, dgamma, dbeta"),
        (_Returns((0, 0), {"dX": 0}), "backward did not return dW, db, dgamma, dbeta; expected dX"),
        (_Returns((0, 0), ZeroDivisionError("by 0")), "backward raised ZeroDivisionError: by 0"),
    ],
)
def test_a_target_that_returns_something_else_gives_an_error_message(target: object, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        check(random_problem(4, 3, 2), target)


def test_a_target_cannot_change_the_problem() -> None:
    class Overwrites:
        backward = staticmethod(network.backward)

        @staticmethod
        def forward(X: Array, *rest: Array) -> tuple[Array, network.Cache]:
            returned = network.forward(X.copy(), *rest)  # type: ignore[arg-type]  # the arguments are passed on unchanged
            X -= 1.0
            return returned

    problem = random_problem(4, 3, 2)
    before = problem.X.copy()
    assert check(problem, Overwrites).verdict is Verdict.PASS
    np.testing.assert_array_equal(problem.X, before)


def test_a_dead_unit_is_inconclusive() -> None:
    p = random_problem(6, 5, 4)
    beta = p.beta.copy()
    beta[2] = -100.0
    result = check(Problem(p.X, p.W, p.b, p.gamma, beta, p.dout, p.bn_eps))
    assert result.kink_exclusion.dead_units == 1
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.reproduce is None


def test_the_worst_verdict_wins_and_no_verdict_is_not_a_pass() -> None:
    P, I, F = Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL  # noqa: E741 - short names keep the columns of the table aligned
    assert Verdict.worst([P, I, F, P]) is F
    assert Verdict.worst([P, I]) is I
    assert Verdict.worst([P]) is P
    assert Verdict.worst([]) is I
