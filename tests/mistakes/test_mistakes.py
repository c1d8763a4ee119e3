"""The catalogue: text and formula stand together, and the lines that are shown do what is said."""

import re
from typing import Any

import numpy as np
import pytest

from bncheck import InvalidInput, Problem, random_problem
from bncheck.mistakes import CATALOGUE, HEADINGS, LAYER_ONLY, SIDE_EFFECTS, UNDETECTABLE, Mistake, mistake_named
from bncheck.mistakes.formulas import SECTIONS
from bncheck.mistakes.injected import FaultyNetwork
from bncheck.mistakes.pass_values import FORMULAS, PassValues
from bncheck.model import network
from bncheck.model.components import BATCHNORM
from tests.python_targets import by_hand, code_of

FORMULA_MISTAKES = [m for m in CATALOGUE if m.formulas]
by_code = pytest.mark.parametrize("mistake", CATALOGUE, ids=lambda m: m.code)
# What a section's codes begin with.
HUNDREDS = {
    "forward": "1", "dx": "2", "dgamma, dbeta": "3", "ReLU": "4",
    "affine": "5", "eps": "6", "shapes": "7", "conduct": "8",
}  # fmt: skip
# The mistakes that were collected from practice, by the names that the catalogue gives them.
SEEN_IN_PRACTICE = """
statistics-taken-constant mean-path-dropped variance-path-dropped diagonal-only factor-on-the-diagonal not-summed
mean-for-sum mean-over-everything std-for-var N-from-the-wrong-axis sign-of-eps eps-missing-in-backward
eps-missing-in-forward clamp-for-eps gamma-missing gamma-by-matrix-product square-for-root unbiased-variance
unbiased-variance-path running-statistics mask-missing mask-from-dout mask-includes-zero sign-of-the-mean-path
sign-of-the-variance-path sums-for-means divided-by-N-twice dW-transposed h-for-X db-from-dy bias-forgotten
mutates-input parameter-step another-answer not-normalised
"""


ASSIGNED = ("h", "mu", "var", "sigma", "xhat", "y", "a", "dy", "dx", "dgamma", "dbeta", "db", "dW", "dX")


def assigned(line: str, p: Problem) -> dict[str, Any]:
    """Return what a line gives to the names that matter."""
    names = by_hand(p)
    before = dict(names)
    with np.errstate(all="ignore"):
        exec(line, names)
    return {name: names[name] for name in ASSIGNED if names[name] is not before[name]}


def test_codes_and_names_are_unique_and_codes_stand_for_their_section() -> None:
    assert len({m.code for m in CATALOGUE}) == len({m.text.name for m in CATALOGUE}) == len(CATALOGUE)
    for m in CATALOGUE:
        assert re.fullmatch(rf"BN{HUNDREDS[m.section]}\d\d", m.code)
        assert re.fullmatch(r"[\w-]+", m.text.name)


def test_every_text_has_a_formula_and_every_formula_a_text() -> None:
    from importlib.resources import files  # noqa: PLC0415 - only here

    texts = {p.name.removesuffix(".md") for p in files("bncheck.mistakes").iterdir() if p.name.endswith(".md")}
    assert texts == {m.code for m in CATALOGUE}
    assert texts == {code for section in SECTIONS.values() for code in section} | set(SIDE_EFFECTS)


def test_everything_that_was_seen_in_practice_is_in_it() -> None:
    assert set(SEEN_IN_PRACTICE.split()) <= {m.text.name for m in CATALOGUE}


@by_code
def test_a_text_has_the_fixed_headings_and_a_message_of_one_line(mistake: Mistake) -> None:
    text = mistake.text
    assert tuple(text.parts) == HEADINGS
    assert all(text.parts.values())
    assert len(text.message) <= 100
    assert text.message.endswith(".")
    assert "\n" not in text.parts["What was seen"]


@pytest.mark.parametrize("mistake", FORMULA_MISTAKES, ids=lambda m: m.code)
@pytest.mark.parametrize("eps", [1e-5, 0.01, 0.5])
def test_the_wrong_line_gives_what_the_formula_gives(mistake: Mistake, eps: float) -> None:
    for seed in range(2):
        p = random_problem(7, 5, 4, seed=seed, bn_eps=eps)
        made = mistake.apply_to(PassValues.of(p))
        found = assigned(code_of(mistake, "The wrong line"), p)
        assert found
        for name, value in found.items():
            expected = getattr(made, "dh" if name == "dx" else name)
            assert np.shape(value) == np.shape(expected)
            np.testing.assert_allclose(value, expected, rtol=1e-7, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("mistake", FORMULA_MISTAKES, ids=lambda m: m.code)
def test_the_right_line_gives_the_right_value(mistake: Mistake) -> None:
    p = random_problem(7, 5, 4, seed=3, bn_eps=0.1)
    found = assigned(code_of(mistake, "The right line"), p)
    assert found
    for name, value in found.items():
        np.testing.assert_allclose(value, by_hand(p)[name], rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize(
    "mistake",
    [m for m in FORMULA_MISTAKES if not m.undetectable_because and m.code not in LAYER_ONLY],
    ids=lambda m: m.code,
)
def test_the_wrong_line_and_the_right_line_differ(mistake: Mistake) -> None:
    p = random_problem(7, 5, 4, seed=3, bn_eps=0.1)
    wrong, right = (assigned(code_of(mistake, f"The {which} line"), p) for which in ("wrong", "right"))
    same = [np.shape(wrong[n]) == np.shape(right[n]) and np.allclose(wrong[n], right[n]) for n in wrong if n in right]
    assert not same or not all(same)


@pytest.mark.parametrize("code", SIDE_EFFECTS)
def test_the_wrong_line_of_a_conduct_changes_what_it_must_not(code: str) -> None:
    p, mistake = random_problem(7, 5, 4), mistake_named(code)
    right, wrong = by_hand(p), by_hand(p)

    class Layer:
        dgamma = np.ones(4)

    for which, names in (("right", right), ("wrong", wrong)):
        names["self"] = Layer()
        exec(code_of(mistake, f"The {which} line"), names)
    changed = [n for n in ("dout", "x", "X", "W", "b", "gamma", "beta") if not np.array_equal(by_hand(p)[n], wrong[n])]
    again = not np.allclose(wrong["self"].dgamma, right["self"].dgamma)
    assert changed or again
    assert all(np.array_equal(by_hand(p)[n], right[n]) for n in changed)


def test_without_a_mistake_the_workings_are_the_network_s() -> None:
    for seed, shape in enumerate([(7, 5, 4), (1, 3, 2), (2, 1, 1), (4, 9, 9)]):
        p = random_problem(*shape, seed=seed)
        a, cache = network.forward(p.X, p.W, p.b, p.gamma, p.beta, p.bn_eps)
        w = PassValues.of(p)
        np.testing.assert_allclose(w.a, a, rtol=1e-12, atol=1e-12)
        for name, expected in network.backward(p.dout, cache).items():
            np.testing.assert_allclose(getattr(w, name), expected, rtol=1e-9, atol=1e-9, err_msg=name)


def test_a_replaced_value_changes_what_stands_after_it_and_nothing_before() -> None:
    w = PassValues.of(random_problem(6, 5, 4))
    before = {name: getattr(w, name) for name in FORMULAS}
    replaced = w.replaced("g", 2 * w.g)
    assert np.array_equal(replaced.dh, 2 * before["dh"])
    assert all(getattr(replaced, name) is before[name] for name in ("h", "xhat", "y", "dy", "dgamma", "dbeta"))
    # And the replaced value stays where something before it is replaced as well.
    assert np.array_equal(replaced.replaced("var", 4 * w.var).g, replaced.g)


def test_a_layer_by_itself_meets_dout_as_its_upstream_gradient() -> None:
    p = random_problem(6, 5, 4)
    assert PassValues.of(p, BATCHNORM).dy is p.dout


def test_a_mistake_of_the_mask_has_no_place_in_batch_norm_by_itself() -> None:
    assert not list(mistake_named("BN401").variants(BATCHNORM))
    # And one of both sums may be made in one of them.
    assert [set(m.formulas) for m in mistake_named("BN301").variants(BATCHNORM)] == [
        {"dbeta", "dgamma"}, {"dbeta"}, {"dgamma"}
    ]  # fmt: skip


def test_no_two_mistakes_give_the_same_on_the_probes() -> None:
    seen: list[tuple[str, list[Any]]] = []
    problems = [random_problem(*shape, bn_eps=eps) for shape, eps in (((7, 5, 4), 0.5), ((4, 5, 9), 1e-5))]
    for mistake in FORMULA_MISTAKES:
        if mistake.code in UNDETECTABLE:
            continue
        passes = [mistake.apply_to(PassValues.of(p)) for p in problems]
        given = [getattr(w, name) for w in passes for name in ("h", "a", "dbeta", "dgamma", "dh", "db", "dW", "dX")]
        for code, other in seen:
            same = all(
                np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=1e-9, atol=1e-12, equal_nan=True)
                for a, b in zip(given, other, strict=True)
            )
            assert not same, (mistake.code, code)
        seen.append((mistake.code, given))


@pytest.mark.parametrize(("typed", "code"), [("BN204", "BN204"), ("bn204", "BN204"), ("Mean-for-Sum", "BN301")])
def test_a_mistake_is_found_by_code_or_name_in_any_case(typed: str, code: str) -> None:
    assert mistake_named(typed).code == code


@pytest.mark.parametrize(
    ("typed", "near"), [("BN250", "BN205"), ("BN4099", "BN409"), ("variance-path-droped", "BN204"), ("BN 301", "BN301")]
)
def test_a_near_miss_suggests_the_right_code(typed: str, near: str) -> None:
    with pytest.raises(InvalidInput, match=f"no mistake {typed}. Did you mean {near}"):
        mistake_named(typed)


def test_what_is_near_to_nothing_gets_no_suggestion() -> None:
    with pytest.raises(InvalidInput, match=r"^no mistake qqqqqq\. All of them: bncheck explain$"):
        mistake_named("qqqqqq")


def test_a_planted_network_without_a_mistake_is_the_right_one() -> None:
    p = random_problem(6, 5, 4)
    planted = FaultyNetwork(Mistake("", "", {}))
    a, cache = planted.forward(p.X, p.W, p.b, p.gamma, p.beta, p.bn_eps)
    expected, right = network.forward(p.X, p.W, p.b, p.gamma, p.beta, p.bn_eps)
    np.testing.assert_allclose(a, expected, rtol=1e-12)
    for name, value in network.backward(p.dout, right).items():
        np.testing.assert_allclose(planted.backward(p.dout, cache)[name], value, rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("mistake", FORMULA_MISTAKES, ids=lambda m: m.code)
@pytest.mark.parametrize(
    ("shape", "eps"), [((7, 5, 4), 1e200), ((7, 5, 4), 1e-300), ((1, 5, 4), 1e-5), ((1, 5, 4), 1e200)]
)
def test_a_formula_raises_and_warns_at_no_eps_and_batch_size(
    mistake: Mistake, shape: tuple[int, int, int], eps: float
) -> None:
    made = mistake.apply_to(PassValues.of(random_problem(*shape, bn_eps=eps)))
    for name in FORMULAS:
        getattr(made, name)
