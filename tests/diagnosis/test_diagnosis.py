"""What is said of a wrong gradient: the right name where there is one, and nothing untrue where there is none."""

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from bncheck import CheckResult, InterruptedCheck, Problem, Verdict, check, random_problem
from bncheck.checking.minimal_example import minimize_problem
from bncheck.cli.main import main
from bncheck.diagnosis import Sizes, discriminating_sizes, only_correct_at
from bncheck.diagnosis.describe import VARIES_BY_UNIT, Factor, common_name
from bncheck.mistakes import CATALOGUE, LAYER_ONLY, SIDE_EFFECTS, Mistake, mistake_named
from bncheck.mistakes.injected import FaultyNetwork, faulty_layers
from bncheck.mistakes.pass_values import PassValues
from bncheck.model import network
from bncheck.model.diagnosis_records import Terms
from bncheck.model.layers import Array
from tests.python_targets import Gradients, by_hand, code_of

pytestmark = pytest.mark.usefixtures("typical_edge_cases")

Terms3 = tuple[Array, Array, Array]


class Composed:
    """The right network, but for what is done to its gradients; dX, dW and db follow from a new dh."""

    forward = staticmethod(network.forward)

    def __init__(self, spoil: Callable[[Gradients, network.Cache, Terms3], Array | None]) -> None:
        self._spoil = spoil

    def backward(self, dout: Array, cache: network.Cache) -> Gradients:
        g, X, W = network.backward(dout, cache), *cache.affine
        xhat, gamma, sigma = cache.batchnorm
        dxhat = gamma * np.where(cache.relu, dout, 0)
        terms = dxhat / sigma, -np.mean(dxhat, 0) / sigma + 0 * dxhat, -xhat * np.mean(dxhat * xhat, 0) / sigma
        dh = self._spoil(g, cache, terms)
        if dh is not None:
            g |= {"dh": dh, "dX": dh @ W.T, "dW": X.T @ dh, "db": dh.sum(axis=0)}
        return g


def told(result: CheckResult) -> list[tuple[str | None, str | None]]:
    return [(d.code, d.gradient) for d in result.diagnosis]


def sentences(result: CheckResult) -> str:
    return "; ".join(sentence for d in result.diagnosis for sentence in d.description)


# The network step by step, as a student writes it.
STEPS = {
    "h": "X @ W + b", "x": "h", "mu": "x.mean(axis=0)", "c": "x - mu", "var": "(c * c).mean(axis=0)",
    "std": "np.sqrt(var)", "sigma": "np.sqrt(var + eps)", "xhat": "c / sigma", "y": "gamma * xhat + beta",
    "a": "np.maximum(y, 0)", "dy": "dout * (y > 0)", "dbeta": "dy.sum(axis=0)", "dgamma": "(dy * xhat).sum(axis=0)",
    "g": "dy * gamma", "dx": "(N * g - g.sum(axis=0) - xhat * (g * xhat).sum(axis=0)) / (N * sigma)",
    "db": "dx.sum(axis=0)", "dW": "X.T @ dx", "dX": "dx @ W.T",
}  # fmt: skip


class Written:
    """The network in which one line is the wrong one that a text shows; what comes after follows from it."""

    def __init__(self, mistake: Mistake) -> None:
        self._line = code_of(mistake, "The wrong line")

    def _values(self, arrays: dict[str, Any]) -> dict[str, Any]:
        N, H = len(arrays["X"]), len(arrays["b"])
        n = by_hand(SimpleNamespace(N=N, D=len(arrays["W"]), H=H, **arrays))
        before = dict(n)
        with np.errstate(all="ignore"):
            exec(self._line, n)
            written = [name for name in STEPS if n[name] is not before[name]]
            for name in list(STEPS)[min(list(STEPS).index(name) for name in written) :]:
                n[name] = n[name] if name in written else eval(STEPS[name], n)
        return n

    def forward(self, *arrays: Any) -> tuple[Array, dict[str, Any]]:
        given = dict(zip(("X", "W", "b", "gamma", "beta", "bn_eps"), arrays, strict=True))
        return self._values({**given, "dout": 0 * given["X"] @ given["W"]})["a"], given

    def backward(self, dout: Array, cache: dict[str, Any]) -> Gradients:
        n = self._values({**cache, "dout": dout})
        return {"dh": n["dx"], **{name: n[name] for name in ("dX", "dW", "db", "dgamma", "dbeta")}}


# BN701's dX and dW do not exist; these may be behind a forward pass that is named first.
LINES = [m for m in CATALOGUE if m.formulas and not m.undetectable_because and m.code not in {*LAYER_ONLY, "BN701"}]


@pytest.mark.parametrize("mistake", LINES, ids=lambda m: m.code)
def test_a_mistake_is_named_as_somebody_else_would_write_it(mistake: Mistake) -> None:
    """The lines of the texts are other code than the formulas that guesses are made by."""
    result = check(random_problem(9, 6, 5, seed=1), Written(mistake), minimal_example=False)
    assert (result.diagnosis[0].code, result.diagnosis[0].alternatives) == (mistake.code, ())
    assert (result.diagnosis[0].relative_distance or 0.0) < 1e-9
    # Of three forward passes another backward than the catalogue's stands behind; that is described.
    assert {d.code for d in result.diagnosis[1:]} <= ({None} if mistake.code in ("BN102", "BN103", "BN107") else set())


@pytest.mark.parametrize(
    "mistake", [m for m in CATALOGUE if not m.undetectable_because and m not in LINES], ids=lambda m: m.code
)
def test_a_mistake_that_no_line_of_a_network_makes_is_named_too(mistake: Mistake) -> None:
    target = faulty_layers(mistake) if mistake.code in LAYER_ONLY else FaultyNetwork(mistake)
    result = check(random_problem(9, 6, 5, seed=1), target, minimal_example=False)
    assert [(d.code, d.alternatives) for d in result.diagnosis] == [(mistake.code, ())]
    if mistake.code not in SIDE_EFFECTS:
        assert result.verdict is Verdict.FAIL
        assert (result.diagnosis[0].relative_distance or 0.0) < 1e-12


def test_what_no_check_can_see_passes() -> None:
    assert check(random_problem(9, 6, 5), FaultyNetwork(mistake_named("BN404"))).verdict is Verdict.PASS


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_mistake_in_single_precision_is_named_too(dtype: type) -> None:
    def backward(dout: Array, cache: network.Cache) -> Gradients:
        return {k: v.astype(dtype) for k, v in FaultyNetwork(mistake_named("BN204")).backward(dout, cache).items()}  # type: ignore[arg-type]  # its own cache

    target = SimpleNamespace(forward=FaultyNetwork(mistake_named("BN204")).forward, backward=backward)
    result = check(random_problem(30, 6, 5), target, minimal_example=False)
    assert told(result) == [("BN204", "dh")]
    assert result.diagnosis[0].relative_distance is not None
    assert result.diagnosis[0].relative_distance > 1e-9


def test_what_follows_from_a_mistake_is_told_with_it() -> None:
    (found,) = check(random_problem(9, 6, 5), FaultyNetwork(mistake_named("BN201")), minimal_example=False).diagnosis
    assert (found.gradient, found.also_explains) == ("dh", ("dW", "dX", "db"))
    assert found.name == "statistics-taken-constant"
    assert found.terms == Terms(1.0, 0.0, 0.0, 0.0, True, ("1", "0", "0"))


def test_a_mistake_that_only_a_probe_shows_is_named() -> None:
    problem = random_problem(20, 6, 5, bn_eps=1e-13)
    result = check(problem, FaultyNetwork(mistake_named("BN602")), minimal_example=False)
    assert all(g.verdict is Verdict.PASS for g in result.gradients.values())
    assert told(result) == [("BN602", "dh")]


def test_a_problem_that_cannot_tell_mistakes_apart_lists_them_all() -> None:
    # With N = 2 the factors N / (N - 1), 2 and N are the same.
    result = check(
        random_problem(2, 6, 5, bn_eps=0.1),
        FaultyNetwork(mistake_named("BN216")),
        edge_cases=False,
        minimal_example=False,
    )
    (found,) = result.diagnosis
    assert {found.code, *found.alternatives} == {"BN214", "BN216", "BN233"}


def test_a_wrong_forward_is_named_and_its_usual_backward_is_explained_by_it() -> None:
    result = check(random_problem(9, 6, 5), FaultyNetwork(mistake_named("BN101")), minimal_example=False)
    (found,) = result.diagnosis
    assert (found.code, found.gradient) == ("BN101", "a")
    assert set(found.also_explains) == {"dW", "dX"}
    assert result.wrong_part is not None
    assert result.wrong_part.part == "the forward pass (forward), and the backward pass is not its derivative"


def test_the_right_derivative_of_a_wrong_forward_is_left_alone() -> None:
    result = check(random_problem(9, 6, 5), FaultyNetwork(mistake_named("BN107")), minimal_example=False)
    assert told(result) == [("BN107", "a")]
    assert result.diagnosis[0].also_explains == ()
    assert result.wrong_part is not None
    assert result.wrong_part.part == "the forward pass (forward), whose derivative the backward pass is"


def test_two_mistakes_at_once_are_both_named() -> None:
    def spoil(g: Gradients, _: network.Cache, terms: Terms3) -> Array:
        g["dgamma"] /= len(terms[0])
        return terms[0] + terms[1]

    result = check(random_problem(9, 6, 5), Composed(spoil), minimal_example=False)
    assert told(result) == [("BN301", "dgamma"), ("BN204", "dh")]


def test_a_mistake_behind_another_is_named_as_well() -> None:
    def backward(dout: Array, cache: Any) -> Gradients:
        g = FaultyNetwork(mistake_named("BN204")).backward(dout, cache)
        return {**g, "dW": -g["dW"]}

    target = SimpleNamespace(forward=FaultyNetwork(mistake_named("BN204")).forward, backward=backward)
    result = check(random_problem(9, 6, 5), target, minimal_example=False)
    assert told(result) == [("BN204", "dh"), ("BN506", "dW")]
    assert result.diagnosis[0].also_explains == ("dX",)


def test_of_candidates_the_one_comes_first_that_what_is_wrong_behind_it_goes_with() -> None:
    """The mask missing everywhere, or in the sums alone: dh, wrong by itself too, tells which."""

    class Both(FaultyNetwork):
        def backward(self, dout: Array, cache: Any) -> Gradients:
            first, second = mistake_named("BN401"), mistake_named("BN231")
            w = second.apply_to(first.apply_to(PassValues({**cache, "dout": dout})))
            return {name: getattr(w, name) for name in ("dX", "dW", "db", "dgamma", "dbeta", "dh")}

    result = check(random_problem(9, 6, 5), Both(mistake_named("BN401")), minimal_example=False)
    assert told(result) == [("BN401", "dbeta"), ("BN231", "dh")]
    assert "BN313" in result.diagnosis[0].alternatives


def _terms(direct: float, mean: float, variance: float) -> Callable[[Gradients, network.Cache, Terms3], Array]:
    return lambda g, c, t: direct * t[0] + mean * t[1] + variance * t[2]  # noqa: ARG005 - the others are for others


def _set(name: str, change: Callable[[Array, network.Cache], Array]) -> Callable[..., None]:
    def spoil(g: Gradients, cache: network.Cache, _: Terms3) -> None:
        g[name] = change(g[name], cache)

    return spoil


def _at(index: Any, factor: float) -> Callable[[Array, network.Cache], Array]:
    def change(value: Array, _: network.Cache) -> Array:
        value = value.copy()
        value[index] *= factor
        return value

    return change


def _noisy(value: Array, _: network.Cache) -> Array:
    return np.asarray(value * (1 + 1e-7 * np.random.default_rng(0).standard_normal(value.shape)))


# What is done, the one gradient that is told, and what must be said of it.
DESCRIBED: dict[str, tuple[Any, str, str]] = {
    "other weights": (_terms(0.7, 1.2, 0.4), "dh", "its three terms are weighted 0.7, 1.2, 0.4, where 1, 1, 1 is"),
    "gamma missing and the variance path dropped": (
        lambda g, c, t: (t[0] + t[1]) / c.batchnorm.gamma,  # noqa: ARG005 - g is for others
        "dh",
        "its three terms are weighted 1/gamma, 1/gamma, 0, where 1, 1, 1 is right",
    ),
    "a constant": (_set("dW", lambda v, _: 3 * v), "dW", "it is 3 times the right values"),
    "N/H": (lambda g, c, t: len(t[0]) / len(t[0].T) * g["dh"], "dh", "it is N/H times the right values"),  # noqa: ARG005 - c is for others
    "1/(N - 1)": (_set("dbeta", lambda v, c: v / (len(c.relu) - 1)), "dbeta", "it is 1/(N - 1) times the right values"),
    "sigma squared": (_set("dgamma", lambda v, c: v * c.batchnorm.sigma**2), "dgamma", "it is sigma^2 times"),
    "2/gamma": (_set("dgamma", lambda v, c: 2 * v / c.batchnorm.gamma), "dgamma", "it is 2/gamma times"),
    "the last row": (_set("dh", _at(-1, 2.0)), "dh", "only row 39, the last of 40; it is 2 times the right"),
    "the tail of a tile": (
        _set("dW", _at(np.s_[:, 16:], 1.5)),
        "dW",
        "only columns 16-19, the last 4 (left over after tiles of 16?); it is 1.5 times the right values there",
    ),
    "every other row": (_set("dX", _at(np.s_[::2], 1.01)), "dX", "only rows 0, 2, ... 38; it is 1.01 times"),
    "one entry": (_set("dW", _at((1, 2), 1.5)), "dW", "only row 1 of 8 and column 2 of 20; it differs"),
    "weight decay": (_set("dW", lambda v, c: v + 0.1 * c.affine.W), "dW", "it is off by 0.1 times W itself"),
    "dgamma for dbeta": (lambda g, c, t: g.update(dbeta=g["dgamma"]), "dbeta", "it is dgamma"),  # noqa: ARG005 - likewise
    "reversed": (_set("dgamma", lambda v, _: v[::-1]), "dgamma", "it is the right one with its rows reversed"),
    "rounding": (_set("dX", _noisy), "dX", "without pattern: they look like rounding"),
    "no zero": (_set("db", lambda v, _: v + 1e-3), "db", "it must be 0 and reaches 1.0e-03"),
    "a nan": (_set("dbeta", _at(3, np.nan)), "dbeta", "only unit 3 of 20; 1 of 1 entries there are nan or infinite"),
    "something else": (
        _set("dW", lambda v, _: np.random.default_rng(0).standard_normal(v.shape)), "dW", "it differs from the right"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DESCRIBED)
def test_what_nothing_matches_is_described_truly_and_gets_no_name(name: str) -> None:
    spoil, gradient, expected = DESCRIBED[name]
    result = check(random_problem(40, 8, 20, seed=3), Composed(spoil), minimal_example=False)
    assert result.verdict is Verdict.FAIL
    assert told(result) == [(None, gradient)]
    assert expected in sentences(result)


def test_the_coefficients_of_the_three_terms_are_found() -> None:
    result = check(random_problem(40, 8, 20), Composed(_terms(0.7, 1.2, 0.4)), minimal_example=False)
    assert result.diagnosis[0].terms == Terms(0.7, 1.2, 0.4, 0.0, True, ("0.7", "1.2", "0.4"))


def test_the_coefficients_are_found_at_dw_where_there_is_no_dh_and_dx_follows() -> None:
    class WithoutDh(Composed):
        def backward(self, dout: Array, cache: network.Cache) -> Gradients:
            return {k: v for k, v in super().backward(dout, cache).items() if k != "dh"}

    result = check(random_problem(40, 8, 20), WithoutDh(_terms(1.0, 1.0, 0.3)), minimal_example=False)
    assert told(result) == [(None, "dW")]
    assert result.diagnosis[0].terms == Terms(1.0, 1.0, 0.3, 0.0, True, ("1", "1", "0.3"))


def test_a_factor_that_one_problem_shows_is_not_called_n() -> None:
    spoil = _set("dbeta", lambda v, _: 8 * v)
    result = check(random_problem(8, 6, 5), Composed(spoil), edge_cases=False, minimal_example=False)
    assert sentences(result).startswith("it is 8 times the right values")
    # With the probes it is seen that it is not.
    assert "it is 8 times the right values" in sentences(
        check(random_problem(8, 6, 5), Composed(spoil), minimal_example=False)
    )


@pytest.mark.parametrize(
    ("code", "stage", "broken"),
    [
        ("BN204", "the variance path", {"sum dh xhat = gamma dgamma eps / sigma^3"}),
        ("BN203", "the mean path", {"sum dh = 0"}),
        ("BN201", "the mean path and the variance path", {"sum dh = 0", "sum dh xhat = gamma dgamma eps / sigma^3"}),
        ("BN205", "a factor on all three terms (1/gamma)", {"sum dh xhat = gamma dgamma eps / sigma^3"}),
        ("BN301", "the sums over the batch (dgamma, dbeta)", {"L = sum gamma dgamma + sum beta dbeta"}),
        ("BN401", "ReLU's mask", {"L = sum gamma dgamma + sum beta dbeta"}),
        ("BN506", "the affine layer (dW)", {"sum X dX = sum W dW", "sum W dW + sum b db = sum h dh"}),
    ],
)
def test_the_stage_is_named_and_the_identities_that_break(code: str, stage: str, broken: set[str]) -> None:
    result = check(random_problem(30, 8, 6, bn_eps=0.1), FaultyNetwork(mistake_named(code)), minimal_example=False)
    departure = result.wrong_part
    assert departure is not None
    assert departure.part == stage
    assert broken <= {i.formula for i in departure.identities if not i.satisfied}
    assert departure.taylor_order == pytest.approx(1.0, abs=0.2)


def test_right_gradients_keep_every_identity() -> None:
    # dh alone is wrong in one entry: what does not contain it holds, and so does the Taylor remainder's rate.
    result = check(random_problem(30, 8, 6), Composed(_set("dh", _at((2, 3), 1.5))), minimal_example=False)
    assert result.wrong_part is not None
    held = {i.formula for i in result.wrong_part.identities if i.satisfied}
    assert held == {"sum X dX = sum W dW", "L = sum gamma dgamma + sum beta dbeta"}
    assert result.wrong_part.taylor_order == pytest.approx(2.0, abs=0.1)
    assert result.wrong_part.part.startswith("dh, only row 2 of 30 and column 3 of 6")


def test_a_pass_has_no_diagnosis() -> None:
    result = check(random_problem(9, 6, 5), SimpleNamespace(forward=network.forward, backward=network.backward))
    assert (result.diagnosis, result.wrong_part, result.minimal_example) == ((), None, None)


def test_the_smallest_case_still_fails_and_its_parts_cannot_be_left_out() -> None:
    result = check(random_problem(64, 10, 8), FaultyNetwork(mistake_named("BN204")))
    small = result.minimal_example
    assert small is not None
    assert (small.N, small.D, small.H) == (2, 1, 1)


def test_a_failure_beyond_a_tile_is_shrunk_to_just_beyond_it() -> None:
    def spoil(g: Gradients, _: network.Cache, __: Terms3) -> None:
        g["dW"][:, 32:] *= 2

    result = check(random_problem(6, 5, 70), Composed(spoil))
    assert result.minimal_example is not None
    assert (result.minimal_example.H, result.minimal_example.D) == (33, 1)


COURSE = """
import numpy as np
def batchnorm_forward(x, gamma, beta, bn_param):
    sigma = np.sqrt(x.var(axis=0) + bn_param["eps"])
    xhat = (x - x.mean(axis=0)) / sigma
    return gamma * xhat + beta, (xhat, gamma, sigma)
def batchnorm_backward(dout, cache):
    xhat, gamma, sigma = cache
    g = dout * gamma
    return (g - g.mean(axis=0)) / sigma, (dout * xhat).sum(axis=0), dout.sum(axis=0)
"""


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "layers.py").write_text(COURSE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return "layers.py"


def test_a_file_s_mistake_reaches_the_table_and_the_smallest_command_fails_as_well(course: str) -> None:
    text = CliRunner(env={"COLUMNS": "80"}).invoke(main, ["run", course, "--N", "16", "--D", "5", "--H", "4"]).stdout
    for line in (
        "  BN204  variance-path-dropped: dx lacks the term through var: it is what is\n",
        "dx equals what that gives, to ",
        "           found            1           1               0\n",
        "  departs      at the variance path\n",
        "  holds        sum dx = 0; L = sum gamma dgamma + sum beta dbeta\n",
        "  breaks       sum dx xhat = gamma dgamma eps / sigma^3\n",
        "  why          bncheck explain BN204\n",
    ):
        assert line in text
    (smallest,) = (line for line in text.splitlines() if line.startswith("  smallest "))
    words = shlex.split(smallest)[2:]
    assert words[:2] == ["run", "layers.py"]
    assert CliRunner().invoke(main, words).exit_code == 1


def test_the_document_holds_the_diagnosis(course: str) -> None:
    document = check(random_problem(16, 5, 4), course).to_dict()
    (found,) = document["diagnosis"]
    assert {k: found[k] for k in ("code", "name", "function", "gradient")} == {
        "code": "BN204", "name": "variance-path-dropped", "function": "batchnorm_backward", "gradient": "dx"
    }  # fmt: skip
    assert found["closeness"] < 1e-14
    assert found["terms"]["variance_path"] == 0.0
    assert document["departure"]["stage"] == "the variance path"
    assert document["smallest"]["reproduce"] == "bncheck run layers.py --N 2 --D 1 --H 1 --seed 0"


@pytest.mark.parametrize(
    ("code", "remark"),
    [("BN801", "modifies its argument dout"), ("BN802", "modifies the W"), ("BN803", "different values")],
)
def test_conduct_is_named_beside_its_remark(code: str, remark: str) -> None:
    result = check(random_problem(9, 6, 5), FaultyNetwork(mistake_named(code)))
    (found,) = result.diagnosis
    assert (found.code, found.gradient) == (code, None)
    assert remark in found.message


def test_nothing_is_explained_where_that_is_not_asked_for() -> None:
    result = check(random_problem(9, 6, 5), Composed(_terms(2, 2, 2)), edge_cases=False, explain=False)
    assert result.diagnosis == ()


# Slips that were once described untruly, or by less than is known.
def _per_unit(factor: Callable[[network.Cache], Array]) -> Callable[..., Array]:
    return lambda g, c, t: t[0] + t[1] + factor(c) * t[2]  # noqa: ARG005 - g is for others


SLIPS: dict[str, tuple[Any, tuple[str, str, str], str]] = {
    "a power of sigma": (_per_unit(lambda c: c.batchnorm.sigma**-3), ("1", "1", VARIES_BY_UNIT), "the variance path"),
    "gamma once more": (_per_unit(lambda c: 3 / c.batchnorm.gamma), ("1", "1", "3/gamma"), "the variance path"),
    "the direct path unit by unit": (
        lambda g, c, t: t[0] / c.batchnorm.sigma + t[1] + t[2], ("1/sigma", "1", "1"), "the direct path"  # noqa: ARG005 - likewise
    ),
    "gamma's sum for gamma": (
        lambda g, c, t: (t[0] + t[1] + t[2]) / c.batchnorm.gamma * c.batchnorm.gamma.sum(),  # noqa: ARG005 - likewise
        ("sum", "sum", "sum"), "a factor on all three terms",
    ),
    "both signs": (_terms(1, -1, -1), ("1", "-1", "-1"), "the mean path and the variance path"),
    "2/N in one path": (lambda g, c, t: t[0] + 2 * t[1] / len(t[0]) + t[2], ("1", "2/N", "1"), "the mean path"),  # noqa: ARG005 - likewise
}  # fmt: skip


@pytest.mark.parametrize("slip", SLIPS)
def test_each_term_s_weight_is_told_by_what_it_is(slip: str) -> None:
    spoil, expected, stage = SLIPS[slip]
    result = check(random_problem(40, 8, 6, seed=2), Composed(spoil), minimal_example=False)
    terms, departure = result.diagnosis[0].terms, result.wrong_part
    assert terms is not None
    assert departure is not None
    if slip == "gamma's sum for gamma":
        total = result.problem.gamma.sum()
        assert terms.labels[0] == terms.labels[1] == terms.labels[2] == f"{total:.4g}/gamma"
    else:
        assert terms.labels == expected
    assert departure.part.startswith(stage)


@pytest.mark.parametrize("decay", [0.1, 0.01, 1e-5])
def test_a_weight_decay_is_told_however_small_and_never_called_rounding(decay: float) -> None:
    result = check(
        random_problem(40, 8, 6), Composed(_set("dW", lambda v, c: v + decay * c.affine.W)), minimal_example=False
    )
    assert f"it is off by {decay:.3g} times W itself" in sentences(result)


def test_a_shift_of_every_column_is_not_called_rounding() -> None:
    shift = lambda g, c, t: g["dh"] + 1e-9 * c.batchnorm.gamma  # noqa: E731, ARG005 - as the others are
    result = check(random_problem(40, 12, 20), Composed(shift), minimal_example=False)
    assert result.verdict is Verdict.FAIL
    assert "rounding" not in sentences(result)


def test_one_entry_is_never_called_a_weight_decay() -> None:
    result = check(
        random_problem(2, 1, 1), Composed(_set("dW", lambda v, _: 2 * v + 1)), edge_cases=False, minimal_example=False
    )
    assert "decay" not in sentences(result)


def test_what_follows_from_wrong_weights_is_not_told_again_whatever_depends_on_n() -> None:
    class WithoutDh(Composed):
        def backward(self, dout: Array, cache: network.Cache) -> Gradients:
            return {k: v for k, v in super().backward(dout, cache).items() if k != "dh"}

    spoil = lambda g, c, t: 2 * t[0] / len(t[0]) + t[1] + t[2]  # noqa: E731, ARG005 - as the others are
    result = check(random_problem(40, 8, 6), WithoutDh(spoil), minimal_example=False)
    assert told(result) == [(None, "dW")]


def test_gradients_in_another_order_are_told_as_that_and_not_by_a_mistake_s_name() -> None:
    def backward(dout: Array, cache: network.Cache) -> tuple[Array, ...]:
        g = network.backward(dout, cache)
        return g["dX"], g["dW"], g["dgamma"], g["dbeta"], g["db"]

    result = check(
        random_problem(9, 6, 5), SimpleNamespace(forward=network.forward, backward=backward), minimal_example=False
    )
    assert [d.code for d in result.diagnosis] == [None]
    assert "expected dX, dW, db, dgamma, dbeta, found dX, dW, dgamma, dbeta, db" in sentences(result)


def test_a_constant_added_everywhere_is_not_called_a_factor_of_one_in_some_rows() -> None:
    result = check(random_problem(40, 8, 6), Composed(_set("dW", lambda v, _: v + 3e-9)), minimal_example=False)
    assert "only" not in sentences(result)
    assert "is 1 times" not in sentences(result)


def test_a_part_of_a_mistake_is_said_to_be_one() -> None:
    result = check(
        random_problem(9, 6, 5), Composed(_set("dgamma", lambda v, c: v / len(c.relu))), minimal_example=False
    )
    assert result.diagnosis[0].message.endswith("Here in dgamma alone.")


def test_the_smallest_case_departs_at_the_same_stage() -> None:
    result = check(random_problem(30, 5, 4), Composed(_terms(0.5, 1, 1)))
    assert result.minimal_example is not None
    # With one row there is nothing but the direct path, and with few no weights can be told.
    assert result.minimal_example.N >= 5


SANDWICH = (
    COURSE
    + """
def affine_forward(x, w, b): return x @ w + b, (x, w)
def affine_backward(dout, cache): return dout @ cache[1].T, cache[0].T @ dout, dout.sum(axis=0)
def relu_forward(x): return np.maximum(x, 0), x
def relu_backward(dout, cache): return dout * (cache > 0)
def affine_bn_relu_forward(x, w, b, gamma, beta, bn_param):
    h, affine = affine_forward(x, w, b)
    y, bn = batchnorm_forward(h, gamma, beta, bn_param)
    return relu_forward(y)[0], (affine, bn, y)
def affine_bn_relu_backward(dout, cache):
    dh, dgamma, dbeta = batchnorm_backward(relu_backward(dout, cache[2]), cache[1])
    return (*affine_backward(dh, cache[0]), dgamma, dbeta)
"""
)


def test_what_a_network_is_made_of_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "sandwich.py").write_text(SANDWICH, encoding="utf-8")
    result = check(random_problem(16, 5, 4), str(tmp_path / "sandwich.py"), minimal_example=False)
    (found,) = result.diagnosis
    assert (found.code, found.function, found.gradient) == ("BN204", "batchnorm_backward", "dx")
    assert set(found.also_explains) == {"dw of affine_bn_relu_backward", "dx of affine_bn_relu_backward"}


def test_what_nothing_names_in_a_network_is_laid_at_its_wrong_parts(tmp_path: Path) -> None:
    source = SANDWICH.replace("(g - g.mean(axis=0)) / sigma", "(0.5 * g - g.mean(axis=0)) / sigma")
    (tmp_path / "sandwich.py").write_text(source, encoding="utf-8")
    result = check(random_problem(16, 5, 4), str(tmp_path / "sandwich.py"), minimal_example=False)
    assert [d.function for d in result.diagnosis][:2] == ["batchnorm_backward", "affine_bn_relu_backward"]
    assert result.diagnosis[1].description == ("it may follow from what is wrong in batchnorm_backward",)


# What was once named or said untruly, as an independent review found it.
WIDE = random_problem(40, 8, 20, seed=3)
SPREAD = np.logspace(-7, 7, 20)
UNLIKE = Problem(WIDE.X, WIDE.W, WIDE.b, SPREAD * WIDE.gamma, SPREAD * WIDE.beta, WIDE.dout, 1e-5)


def right_code() -> SimpleNamespace:
    return SimpleNamespace(forward=network.forward, backward=network.backward)


def test_right_code_that_a_strict_rtol_fails_gets_no_name() -> None:
    result = check(WIDE, right_code(), rtol=1e-9, atol=0.0, minimal_example=False)
    assert result.verdict is Verdict.FAIL
    assert {d.code for d in result.diagnosis} <= {None}


@pytest.mark.parametrize("scheme", ["central", "complex"])
def test_one_wrong_entry_is_no_mistake_of_all_of_them(scheme: str) -> None:
    result = check(WIDE, Composed(_set("dh", _at((3, 4), 1 + 1e-7))), scheme=scheme, minimal_example=False)
    assert told(result) in ([(None, "dh")], [])
    if scheme == "complex":
        assert "only row 3 of 40 and column 4 of 20" in sentences(result)


@pytest.mark.parametrize("factor", [0.3, 0.51])
def test_in_half_precision_a_weight_is_not_taken_for_another(factor: float) -> None:
    class Half(Composed):
        def backward(self, dout: Array, cache: network.Cache) -> Gradients:
            return {k: v.astype(np.float16) for k, v in super().backward(dout, cache).items()}

    result = check(WIDE, Half(_terms(1, 1, factor)), minimal_example=False)
    assert {d.code for d in result.diagnosis} <= {None}


def test_the_usual_mask_behind_a_leaky_forward_is_not_called_another_mask() -> None:
    class Leaky:
        @staticmethod
        def forward(*arrays: Any) -> tuple[Array, network.Cache]:
            _, cache = network.forward(*arrays)
            y = arrays[3] * cache.batchnorm.xhat + arrays[4]
            return np.where(y > 0, y, 0.01 * y), cache

        backward = staticmethod(network.backward)

    assert told(check(WIDE, Leaky, minimal_example=False)) == [("BN408", "a")]


def test_a_second_mistake_in_a_small_column_is_not_swallowed() -> None:
    def spoil(_: Gradients, __: network.Cache, terms: Terms3) -> Array:
        dh = terms[0] + terms[1]
        dh[:, 0] *= -3
        return dh

    result = check(UNLIKE, Composed(spoil), edge_cases=False, minimal_example=False)
    assert "BN204" not in {d.code for d in result.diagnosis}


def test_nothing_but_nan_is_not_named() -> None:
    spoil = lambda g, _, __: g.update({k: np.full_like(g[k], np.nan) for k in ("dh", "dX", "dW", "db")})  # noqa: E731 - as the others
    result = check(random_problem(1, 4, 3), Composed(spoil), edge_cases=False, minimal_example=False)
    assert {d.code for d in result.diagnosis} == {None}


def test_a_name_from_one_problem_says_so() -> None:
    result = check(
        random_problem(2, 4, 3), Composed(lambda g, c, t: 2 * g["dh"]), edge_cases=False, minimal_example=False
    )
    assert "one problem was tried" in sentences(result)


@pytest.mark.parametrize("factor", [1e-5, 3e-8])
def test_a_factor_near_1_is_told_by_its_difference(factor: float) -> None:
    result = check(WIDE, Composed(_set("dW", lambda v, _: v * (1 + factor))), minimal_example=False)
    assert "it is 1 times" not in sentences(result)
    assert factor < 1e-6 or "it is 1 + 1e-05 times the right values" in sentences(result)


def test_dead_units_are_no_tail_of_a_tile() -> None:
    beta = WIDE.beta.copy()
    beta[:16] = -1e3
    problem = Problem(WIDE.X, WIDE.W, WIDE.b, WIDE.gamma, beta, WIDE.dout, 1e-5)
    result = check(problem, Composed(_terms(1, 1, 0.3)), edge_cases=False, minimal_example=False)
    assert "only" not in sentences(result)


def test_a_sampled_check_is_described_by_all_that_was_returned() -> None:
    for name, factor in (("dX", 1.1), ("dgamma", 1.1), ("dX", 1 + 1e-6)):
        spoil = _set(name, lambda v, _, factor=factor: v * factor)  # type: ignore[misc]  # bound
        result = check(WIDE, Composed(spoil), engine="full", sample=10, edge_cases=False, minimal_example=False)
        assert "nan" not in sentences(result)
        assert factor != 1.1 or "it is 1.1 times the right values" in sentences(result)


def test_a_gradient_checked_alone_departs_where_its_mistake_is() -> None:
    result = check(WIDE, FaultyNetwork(mistake_named("BN204")), only=["dW"], minimal_example=False)
    assert told(result) == [("BN204", "dW")]
    assert result.wrong_part is not None
    assert result.wrong_part.part == "the variance path"


def test_a_term_too_small_to_be_seen_gets_no_weight() -> None:
    problem = random_problem(20, 6, 5, bn_eps=1e10)
    result = check(problem, Composed(lambda g, c, t: g["dh"] + 1), minimal_example=False)  # noqa: ARG005 - as the others
    assert all(d.terms is None or not d.terms.exact for d in result.diagnosis)


@pytest.mark.parametrize("value", [np.inf, np.nan, 1.7e308])
def test_values_beyond_measure_raise_no_warning(value: float) -> None:
    for name in ("dW", "dh"):
        result = check(WIDE, Composed(_set(name, lambda v, _: value * np.sign(v))), minimal_example=False)
        assert result.verdict is Verdict.FAIL


def test_the_smallest_command_leaves_out_the_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = COURSE.replace("(g - g.mean(axis=0)) / sigma,", "rows(g, xhat, sigma),") + (
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


def test_what_only_a_probe_shows_is_shrunk_with_the_probe_s_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("layers.py").write_text(COURSE, encoding="utf-8")
    result = check(random_problem(10, 5, 4), "layers.py", step=10.0)
    small = result.minimal_example
    assert small is not None
    assert "--step" not in str(small.reproduce)
    assert CliRunner().invoke(main, [*shlex.split(str(small.reproduce))[1:], "--no-edge-cases"]).exit_code == 1


def test_ctrl_c_while_a_failure_is_explained_keeps_the_verdict_and_is_not_swallowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bncheck.checking.explanation.diagnose", interrupted)
    with pytest.raises(InterruptedCheck) as caught:
        check(random_problem(9, 6, 5), FaultyNetwork(mistake_named("BN204")))
    assert caught.value.result.gradients["dh"].verdict is Verdict.FAIL
    assert caught.value.result.diagnosis == ()


def test_what_is_nearly_a_mistake_s_but_for_more_than_rounding_is_not_named() -> None:
    result = check(random_problem(40, 8, 6), Composed(_terms(1, 1, 1e-10)), minimal_example=False)
    assert told(result) == [(None, "dh")]


def test_without_dh_a_mistake_must_explain_all_that_is_behind_it() -> None:
    class WithoutDh(Composed):
        def backward(self, dout: Array, cache: network.Cache) -> Gradients:
            g = super().backward(dout, cache)
            noise = np.random.default_rng(0).standard_normal(g["dX"].shape)
            return {"dX": noise, **{k: v for k, v in g.items() if k not in ("dh", "dX")}}

    result = check(random_problem(40, 8, 6), WithoutDh(_terms(1, 1, 0)), minimal_example=False)
    assert {d.code for d in result.diagnosis} == {None}


def test_an_error_that_goes_with_the_size_of_a_gradient_is_not_called_rounding() -> None:
    spoil = _set("dgamma", lambda v, _: v + 3e-8 * np.abs(v))
    result = check(random_problem(40, 8, 30), Composed(spoil), minimal_example=False)
    assert result.verdict is Verdict.FAIL
    assert "rounding" not in sentences(result)


def test_right_dh_and_dgamma_keep_the_identity_of_the_variance_path_where_eps_counts() -> None:
    problem = random_problem(30, 8, 6, bn_eps=0.5)
    result = check(problem, Composed(_set("dbeta", lambda v, _: 2 * v)), minimal_example=False)
    assert result.wrong_part is not None
    assert "sum dh xhat = gamma dgamma eps / sigma^3" in {
        i.formula for i in result.wrong_part.identities if i.satisfied
    }


def test_the_search_for_the_smallest_halves_what_is_far() -> None:
    tried: list[int] = []

    def fails(problem: Problem) -> bool:
        tried.append(problem.H)
        return problem.H >= 150

    small = minimize_problem(fails, random_problem(2, 1, 900))
    assert small is not None
    assert (small.N, small.D, small.H) == (1, 1, 150)
    assert len(tried) <= 48


def test_the_smallest_case_of_a_finite_failure_is_finite() -> None:
    # With N = 1 this mistake divides by N - 1 = 0, which is another failure.
    small = check(random_problem(9, 5, 4), FaultyNetwork(mistake_named("BN214"))).minimal_example
    assert small is not None
    assert small.N == 2


def test_without_a_name_too_a_finite_failure_is_shrunk_to_a_finite_one() -> None:
    def spoil(_: Gradients, cache: network.Cache, terms: Terms3) -> Array:
        N = np.float64(len(terms[0]))
        with np.errstate(all="ignore"):
            return np.asarray(sum(terms) * (1 + np.abs(cache.batchnorm.xhat)) * (N / (N - 1)))

    result = check(random_problem(9, 5, 4), Composed(spoil))
    assert result.diagnosis[0].code is None
    assert result.minimal_example is not None
    assert result.minimal_example.N >= 2


@pytest.mark.parametrize("probes", [False, True])
def test_a_factor_with_the_value_of_a_quotient_of_sizes_on_one_shape_is_a_number(probes: bool) -> None:
    # (N - 1)/H is 1.5 here, as on four of the probes.
    result = check(
        random_problem(7, 5, 4), Composed(_set("dX", lambda v, _: 1.5 * v)), edge_cases=probes, minimal_example=False
    )
    assert result.diagnosis[0].description[0] == "it is 1.5 times the right values"


def test_a_quotient_of_sizes_is_named_only_if_it_differs_between_the_problems() -> None:
    def factor_at(*shapes: tuple[int, int, int]) -> str:
        passes = [PassValues.of(random_problem(*shape)) for shape in shapes]
        return common_name([Factor(np.array([(w.N - 1) / w.H]), np.array([1e-12])) for w in passes], passes)

    assert factor_at((7, 5, 4)) == "1.5"
    assert factor_at((7, 5, 4), (7, 9, 4), (4, 5, 2)) == "1.5"
    assert factor_at((7, 5, 4), (4, 5, 9)) == "(N - 1)/H"


@pytest.mark.parametrize("shape", [(64, 10, 8), (7, 5, 4)])
@pytest.mark.parametrize("factor", [1e-7, 1e-10])
@pytest.mark.parametrize("probes", [False, True])
def test_a_uniform_factor_near_1_is_reported_as_one_and_not_as_rounding(
    shape: tuple[int, int, int], factor: float, probes: bool
) -> None:
    target = Composed(_terms(1 + factor, 1 + factor, 1 + factor))
    result = check(random_problem(*shape), target, scheme="complex", edge_cases=probes, minimal_example=False)
    assert result.diagnosis[0].description[0] == f"it is 1 + {factor:.0e} times the right values"
    assert result.wrong_part is not None
    assert result.wrong_part.part == f"a factor on all three terms (1 + {factor:.0e})"


def test_a_weight_near_1_is_not_reported_as_1() -> None:
    result = check(random_problem(40, 8, 6), Composed(_terms(1, 1, 1 + 2e-8)), scheme="complex", minimal_example=False)
    terms = result.diagnosis[0].terms
    assert terms is not None
    assert terms.labels == ("1", "1", "1 + 2e-08")


def test_a_few_errors_that_follow_no_pattern_are_not_called_rounding() -> None:
    # Twelve entries cannot show that errors have no pattern.
    result = check(random_problem(4, 4, 3), Composed(_set("dX", _noisy)), edge_cases=False, minimal_example=False)
    assert result.verdict is Verdict.FAIL
    assert "rounding" not in sentences(result)


def test_a_dead_unit_does_not_hide_weights_that_the_other_units_show() -> None:
    problem = random_problem(40, 8, 6)
    beta = problem.beta.copy()
    beta[2] = -1e3
    result = check(
        replace(problem, beta=beta), Composed(_terms(0.7, 1.2, 0.4)), edge_cases=False, minimal_example=False
    )
    terms = result.diagnosis[0].terms
    assert terms is not None
    assert (terms.exact, terms.labels) == (True, ("0.7", "1.2", "0.4"))
    assert "something else" not in sentences(result)


def test_what_rounding_leaves_of_a_fit_is_not_called_something_else() -> None:
    class Half(Composed):
        def backward(self, dout: Array, cache: network.Cache) -> Gradients:
            return {k: v.astype(np.float16) for k, v in super().backward(dout, cache).items()}

    result = check(random_problem(40, 8, 6), Half(_terms(-3, 5, 7)), edge_cases=False, minimal_example=False)
    assert result.verdict is Verdict.FAIL
    assert "something else" not in sentences(result)
    # With three rows single units determine no weights, and a fit of all of them leaves nothing.
    result = check(random_problem(3, 8, 6), Composed(_terms(0.7, 1.2, 0.4)), edge_cases=False, minimal_example=False)
    assert result.verdict is Verdict.FAIL
    assert "something else" not in sentences(result)


@pytest.mark.parametrize("option", [{"only": ["dW"]}, {"engine": "full", "sample": 3}])
def test_a_backward_pass_that_was_judged_in_part_is_not_called_the_derivative(option: dict[str, Any]) -> None:
    result = check(random_problem(9, 6, 5), FaultyNetwork(mistake_named("BN107")), minimal_example=False, **option)
    assert result.wrong_part is not None
    assert result.wrong_part.part == "the forward pass (forward)"


def test_a_backward_pass_that_was_inconclusive_is_not_called_the_derivative() -> None:
    # Every output of unit 2 is negative, so its gradients are not judged.
    problem = random_problem(9, 6, 5)
    gamma, beta = problem.gamma.copy(), problem.beta.copy()
    gamma[2], beta[2] = 1e-3, -1e3
    result = check(
        replace(problem, gamma=gamma, beta=beta),
        FaultyNetwork(mistake_named("BN107")),
        edge_cases=False,
        minimal_example=False,
    )
    assert Verdict.INCONCLUSIVE in {g.verdict for g in result.gradients.values()}
    assert result.wrong_part is not None
    assert result.wrong_part.part == "the forward pass (forward)"


@pytest.mark.parametrize("weight", [0, 1])
def test_a_backward_pass_after_an_unusable_forward_pass_is_not_compared_with_its_derivative(weight: float) -> None:
    def forward(*arrays: Any) -> tuple[Array, network.Cache]:
        a, cache = network.forward(*arrays)
        return np.full_like(a, np.nan), cache

    target = SimpleNamespace(forward=forward, backward=Composed(_terms(1, 1, weight)).backward)
    result = check(random_problem(9, 6, 5), target, minimal_example=False)
    assert result.wrong_part is not None
    assert result.wrong_part.part == "the forward pass (forward)"


# A gradient, how its shape or type becomes wrong, and the description.
SHAPES: dict[str, tuple[str, Callable[[Array], Any], str]] = {
    "no sum": (
        "dgamma", lambda v: np.ones((9, len(v))),
        "its shape is (9, 5), expected (5,): the sum over the batch is missing",
    ),
    "outer": ("dgamma", lambda v: np.outer(v, v), "its shape is (5, 5), expected (5,)"),
    "flat": ("dX", np.ravel, "its shape is (54,), expected (9, 6): its entries, in this order, are correct"),
    "transposed": ("dX", lambda v: 2 * v.T, "its shape is (6, 9), expected (9, 6)"),
    "a scalar": ("dbeta", lambda v: v[0], "its shape is (), expected (5,)"),
    "complex": ("dW", lambda v: v + 0j, "it is of type complex128, expected real numbers of shape (6, 5)"),
    "empty": ("db", lambda v: v[:0], "its shape is (0,), expected (5,)"),
    "a stack": ("dh", lambda v: np.stack([v, v]), "its shape is (2, 9, 5), expected (9, 5)"),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_a_wrong_shape_or_type_is_described(shape: str) -> None:
    name, change, expected = SHAPES[shape]
    result = check(
        random_problem(9, 6, 5), Composed(_set(name, lambda v, _: change(v))), edge_cases=False, minimal_example=False
    )
    assert (None, name) in told(result)
    assert all(d.code or any(d.description) for d in result.diagnosis)
    assert next(d.description[0] for d in result.diagnosis if d.gradient == name) == expected


@pytest.mark.parametrize("name", ["a", *SHAPES])
def test_no_diagnosis_is_without_code_and_description(name: str) -> None:
    def forward(*arrays: Any) -> tuple[Any, network.Cache]:
        a, cache = network.forward(*arrays)
        return (a.T if name == "a" else a[:, :1]), cache

    spoil = _terms(1, 1, 1) if name == "a" else _set(SHAPES[name][0], lambda v, _: SHAPES[name][1](v))
    target = SimpleNamespace(forward=forward, backward=Composed(spoil).backward)
    result = check(random_problem(9, 6, 5), target, edge_cases=False, minimal_example=False)
    assert result.diagnosis
    assert all(d.code or any(d.description) for d in result.diagnosis)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("eps", [1e200, 1e-300])
def test_a_failure_at_an_extreme_eps_is_explained_without_an_exception(eps: float) -> None:
    result = check(random_problem(9, 6, 5, bn_eps=eps), FaultyNetwork(mistake_named("BN301")), minimal_example=False)
    assert told(result) == [("BN301", "dbeta")]


# The lines of batch norm's forward pass as a student writes them, and the lines that each mistake replaces.
FORWARD_LINES = {
    "mu": "x.mean(axis=0)", "v": "x.var(axis=0)", "s": "np.sqrt(v + EPS)",
    "xhat": "(x - mu) / s", "out": "gamma * xhat + beta",
}  # fmt: skip
FORWARD_MISTAKES: dict[str, dict[str, str]] = {
    "BN101": {"v": "x.var(axis=0, ddof=1) if len(x) > 1 else np.full(x.shape[1], np.nan)"},
    "BN102": {"s": "(v + EPS) ** 2"},
    "BN103": {"s": "v + EPS"},
    "BN104": {"s": "np.sqrt(x.std(axis=0) + EPS)"},
    "BN105": {"xhat": "x / s"},
    "BN106": {"v": "(x ** 2).mean(axis=0)"},
    "BN108": {"mu": "x.mean(axis=1)[:, None]", "v": "x.var(axis=1)[:, None]"},
    "BN109": {"mu": "x.mean()", "v": "x.var()"},
    "BN111": {"out": "xhat + beta"},
    "BN112": {"out": "gamma * xhat"},
    "BN113": {"out": "beta * xhat + gamma"},
    "BN115": {"v": "((x - mu) ** 2).sum(axis=0)"},
    "BN116": {"xhat": "(x - mu) * s"},
    "BN606": {"s": "np.sqrt(v) + EPS"},
}


def batchnorm_with(
    lines: dict[str, str], eps: str, dx: str = "(g - g.mean(0) - xhat * (g * xhat).mean(0)) / s"
) -> SimpleNamespace:
    """Return layer functions with these lines in the forward pass and the usual backward pass."""
    body = "".join(f"    {name} = {lines.get(name, line)}\n" for name, line in FORWARD_LINES.items())
    source = f"""
def batchnorm_forward(x, gamma, beta, bn_param):
{body.replace("EPS", eps)}    return out, (xhat, gamma, s)
def batchnorm_backward(dout, cache):
    xhat, gamma, s = cache
    g = dout * gamma
    return {dx}, (dout * xhat).sum(axis=0), dout.sum(axis=0)
"""
    functions: dict[str, Any] = {"np": np}
    exec(source, functions)
    return SimpleNamespace(**functions)


@pytest.mark.parametrize("code", FORWARD_MISTAKES)
def test_a_forward_mistake_is_named_if_the_code_fixes_eps(code: str) -> None:
    target = batchnorm_with(FORWARD_MISTAKES[code], "1e-8")
    first, *_ = check(random_problem(16, 5, 4), target, minimal_example=False).diagnosis
    assert (first.code, first.alternatives, first.gradient) == (code, (), "out")
    assert first.description == ("with eps = 1e-08, which the code fixes",)
    with_bn_param = batchnorm_with(FORWARD_MISTAKES[code], "bn_param['eps']")
    assert (
        check(random_problem(16, 5, 4), with_bn_param, edge_cases=False, minimal_example=False)
        .diagnosis[0]
        .also_explains
        == first.also_explains
    )


@pytest.mark.parametrize("eps", ["1e-12", "2.5e-4", "0.1", "0.5", "np.finfo(float).eps"])
def test_the_constant_that_the_code_fixes_is_solved_for(eps: str) -> None:
    target = batchnorm_with(FORWARD_MISTAKES["BN103"], eps)
    first, *_ = check(random_problem(16, 5, 4), target, minimal_example=False).diagnosis
    assert first.code == "BN103"
    assert first.description == (f"with eps = {eval(eps):.3g}, which the code fixes",)


def test_a_constant_that_one_problem_leaves_open_is_not_stated_as_one() -> None:
    target = batchnorm_with(FORWARD_MISTAKES["BN115"], "1e-12")
    first, *_ = check(random_problem(16, 5, 4), target, edge_cases=False, minimal_example=False).diagnosis
    assert first.description[0] == "with eps = 2.22e-16 or 1e-12 or 1e-15 or 1e-16, which the code fixes"


def test_batch_norm_with_a_constant_eps_is_described_as_that() -> None:
    (diagnosis,) = check(random_problem(16, 5, 4), batchnorm_with({}, "0.5"), minimal_example=False).diagnosis
    assert (diagnosis.code, diagnosis.description) == (None, ("it is batch norm with eps = 0.5, which the code fixes",))


def test_a_mistake_of_the_backward_pass_is_named_after_a_forward_mistake_with_a_fixed_eps() -> None:
    target = batchnorm_with(FORWARD_MISTAKES["BN101"], "1e-8", dx="(g - g.mean(0)) / s")
    result = check(random_problem(16, 5, 4), target, minimal_example=False)
    assert told(result) == [("BN101", "out"), ("BN204", "dx")]


def test_a_forward_pass_that_no_constant_eps_explains_gets_no_name() -> None:
    target = batchnorm_with({"s": "np.sqrt(v + 1e-8) ** 1.01"}, "1e-8")
    first, *_ = check(random_problem(16, 5, 4), target, minimal_example=False).diagnosis
    assert (first.code, first.gradient) == (None, "out")
    assert "eps" not in "; ".join(first.description)


# The shapes of edge cases, of which none shares a size with (64, 100, 50).
EDGE_SHAPES = [(7, 5, 4), (2, 5, 4), (4, 5, 9), (131, 107, 67), (5, 5, 5)]


def outcomes_if(correct: Callable[[Sizes], bool], shapes: list[tuple[int, int, int]]) -> list[tuple[Sizes, bool]]:
    return [(Sizes(*shape), not correct(Sizes(*shape))) for shape in shapes]


@pytest.mark.parametrize("name", ["N", "D", "H"])
def test_code_that_is_correct_for_one_size_is_reported_in_one_sentence(name: str) -> None:
    main = Sizes(64, 100, 50)
    shapes = [*EDGE_SHAPES, *discriminating_sizes(main)]
    sentence = only_correct_at(main, outcomes_if(lambda sizes: getattr(sizes, name) == getattr(main, name), shapes))
    assert sentence == f"correct only for {name} = {getattr(main, name)}: every edge case with another {name} fails"


def test_an_edge_case_that_shares_the_size_decides_which_size_it_is() -> None:
    main = Sizes(7, 100, 50)
    assert only_correct_at(main, outcomes_if(lambda sizes: sizes.N == 7, EDGE_SHAPES)).startswith(
        "correct only for N = 7:"
    )


def test_sizes_that_no_edge_case_distinguishes_are_all_listed() -> None:
    expected = "correct only for N = 64, D = 100 or H = 50: every edge case has other sizes and fails"
    assert only_correct_at(Sizes(64, 100, 50), outcomes_if(lambda _: False, EDGE_SHAPES)) == expected


@pytest.mark.parametrize(
    ("main", "correct"),
    [
        (Sizes(64, 100, 50), lambda _: True),
        (Sizes(64, 100, 50), lambda sizes: sizes.N > 4),  # a mistake that small batches show
        (Sizes(7, 5, 4), lambda _: False),  # it fails at these sizes, on other data
        (Sizes(64, 100, 50), lambda sizes: sizes.N == 131),
    ],
)
def test_failures_that_no_size_explains_are_not_attributed_to_one(
    main: Sizes, correct: Callable[[Sizes], bool]
) -> None:
    assert only_correct_at(main, outcomes_if(correct, EDGE_SHAPES)) == ""


def test_one_failing_size_alone_is_not_taken_for_the_cause() -> None:
    assert only_correct_at(Sizes(64, 100, 50), [(Sizes(7, 5, 4), True), (Sizes(7, 5, 4), True)]) == ""
    assert only_correct_at(Sizes(64, 100, 50), []) == ""


@pytest.mark.parametrize("main", [Sizes(64, 100, 50), Sizes(7, 5, 4), Sizes(1, 1, 1), Sizes(11, 9, 8)])
def test_each_discriminating_problem_shares_one_size_with_the_main_problem(main: Sizes) -> None:
    shared = [[a == b for a, b in zip(main, sizes, strict=True)] for sizes in discriminating_sizes(main)]
    assert shared == [[True, False, False], [False, True, False], [False, False, True]]


def test_a_batch_size_that_the_code_fixes_is_reported_as_the_only_correct_one() -> None:
    target = batchnorm_with({}, "bn_param['eps']", dx="(64 * g - g.sum(0) - xhat * (g * xhat).sum(0)) / (64 * s)")
    main = Sizes(64, 10, 6)
    result = check(random_problem(*main), target, edge_cases=False)
    assert {g.verdict for g in result.gradients.values()} == {Verdict.PASS}
    outcomes = []
    for sizes in (*map(Sizes._make, EDGE_SHAPES), *discriminating_sizes(main)):
        small = check(random_problem(*sizes), target, edge_cases=False, explain=False)
        outcomes.append((sizes, small.verdict is Verdict.FAIL))
    assert only_correct_at(main, outcomes) == "correct only for N = 64: every edge case with another N fails"


def test_a_size_that_the_code_fixes_is_named_only_if_the_factor_differs_between_the_problems() -> None:
    def factor_at(*shapes: tuple[int, int, int]) -> str:
        passes = [PassValues.of(random_problem(*shape)) for shape in shapes]
        return common_name([Factor(np.array([w.N / 64]), np.array([1e-12])) for w in passes], passes)

    assert factor_at((7, 5, 4), (31, 17, 6)) == "N/64"
    assert factor_at((7, 5, 4), (7, 17, 6)) == "0.1094"
