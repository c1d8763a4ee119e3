"""The texts of the catalogue: their form, their words, and that the code they show gives what they say."""

import re
from typing import Any

import numpy as np
import pytest

from bncheck import Problem, random_problem
from bncheck.mistakes import HEADINGS, Mistake, all_mistakes, mistake_named
from bncheck.mistakes.pass_values import PassValues
from tests.python_targets import by_hand

OPTIONAL_HEADINGS = {"Usual causes", "References"}
SIDE_EFFECTS = [m.code for m in all_mistakes() if m.is_side_effect]
WITH_FORMULAS = [m for m in all_mistakes() if m.replaces]
# The names whose values a block of code may set to compare with the formulas.
COMPARED = ("h", "mu", "var", "sigma", "xhat", "y", "a", "dy", "dx", "dgamma", "dbeta", "db", "dW", "dX")
# Words that the texts use in a sense which a reader has to guess, and words that claim a cause.
FORBIDDEN = re.compile(
    r"\b(path|paths|hides?|hidden|told|seen|saw|once|whole|beside|again|lost|forgotten|forgets?|dropped|right|stands?"
    r"|takes?|taken|shows? it|gives it away|ours?|we|us|simply|just|of course|likewise|alike|blunt|coarse|course nets?"
    r"|invisible|where\b(?=.*\b(belongs|hides)))\b",
    re.IGNORECASE,
)
CODE_BLOCK = re.compile(r"```python\n.*?```", re.DOTALL)
FORMULA_LINE = re.compile(r"^    .*$", re.MULTILINE)

every_text = pytest.mark.parametrize("mistake", all_mistakes(), ids=lambda m: m.code)
every_formula = pytest.mark.parametrize("mistake", WITH_FORMULAS, ids=lambda m: m.code)


def run_block(code: str, problem: Problem) -> dict[str, Any]:
    """Run a block of code after the correct pass; return the compared values that it set."""
    names = by_hand(problem)
    before = dict(names)
    with np.errstate(all="ignore"):
        exec(code, names)
    values = {name: names[name] for name in COMPARED if names[name] is not before[name]}
    assert values, f"the block sets none of {', '.join(COMPARED)}"
    return values


def is_equal(value: Any, expected: Any) -> bool:
    return np.shape(value) == np.shape(expected) and np.allclose(value, expected, rtol=1e-7, atol=1e-9, equal_nan=True)


@every_text
def test_a_text_starts_with_code_and_name_and_one_sentence(mistake: Mistake) -> None:
    title, message, _ = mistake.text.split("\n\n", 2)
    assert title == f"# {mistake.code} {mistake.name}"
    assert message == mistake.message
    assert re.fullmatch(r"[^\n]{1,99}\.", message)


@every_text
def test_a_text_has_the_headings_in_order_and_no_empty_part(mistake: Mistake) -> None:
    assert list(mistake.parts) == [h for h in HEADINGS if h in mistake.parts or h not in OPTIONAL_HEADINGS]
    assert all(mistake.parts.values())
    for heading in ("Wrong", "Correct"):
        assert mistake.code_blocks(heading)


@every_text
def test_the_lines_of_a_text_fit_their_limits(mistake: Mistake) -> None:
    assert max(map(len, mistake.text.splitlines())) <= 100
    assert max(map(len, FORMULA_LINE.findall(mistake.text)), default=0) <= 4 + 70
    for block in (*mistake.code_blocks("Wrong"), *mistake.code_blocks("Correct")):
        assert max(map(len, block.splitlines())) <= 70


@every_text
def test_a_text_contains_no_forbidden_word(mistake: Mistake) -> None:
    prose = FORMULA_LINE.sub("", CODE_BLOCK.sub("", mistake.text)).replace("right-hand", "")
    assert [match[0] for match in FORBIDDEN.finditer(prose)] == []


@every_formula
@pytest.mark.parametrize("eps", [1e-5, 0.01, 0.5])
def test_the_wrong_code_gives_what_the_formulas_give(mistake: Mistake, eps: float) -> None:
    for seed in range(2):
        problem = random_problem(7, 5, 4, seed=seed, bn_eps=eps)
        wrong = mistake.apply_to(PassValues.from_problem(problem))
        for block in mistake.code_blocks("Wrong"):
            for name, value in run_block(block, problem).items():
                assert is_equal(value, wrong["dh" if name == "dx" else name]), (block, name)


@every_formula
@pytest.mark.parametrize("eps", [1e-5, 0.01, 0.5])
def test_the_correct_code_gives_the_correct_values(mistake: Mistake, eps: float) -> None:
    problem = random_problem(7, 5, 4, seed=3, bn_eps=eps)
    for block in mistake.code_blocks("Correct"):
        for name, value in run_block(block, problem).items():
            assert is_equal(value, by_hand(problem)[name]), (block, name)


@pytest.mark.parametrize(
    "mistake", [m for m in WITH_FORMULAS if not m.undetectable_because and not m.layer_only], ids=lambda m: m.code
)
def test_the_wrong_code_gives_wrong_values(mistake: Mistake) -> None:
    problem = random_problem(7, 5, 4, seed=3, bn_eps=0.1)
    for block in mistake.code_blocks("Wrong"):
        values = run_block(block, problem)
        assert not all(is_equal(value, by_hand(problem)[name]) for name, value in values.items()), block


@pytest.mark.parametrize("code", SIDE_EFFECTS)
def test_the_wrong_code_of_a_side_effect_changes_an_argument_or_a_second_result(code: str) -> None:
    problem, mistake = random_problem(7, 5, 4), mistake_named(code)
    arguments = ("dout", "x", "X", "W", "b", "gamma", "beta")

    class Layer:
        dgamma = np.ones(4)

    for wrong, correct in zip(mistake.code_blocks("Wrong"), mistake.code_blocks("Correct"), strict=True):
        before, after_wrong, after_correct = (by_hand(problem) for _ in range(3))
        after_wrong["self"], after_correct["self"] = Layer(), Layer()
        exec(wrong, after_wrong)
        exec(correct, after_correct)
        changed = [n for n in arguments if not np.array_equal(before[n], after_wrong[n])]
        assert changed or not np.allclose(after_wrong["self"].dgamma, after_correct["self"].dgamma)
        assert all(np.array_equal(before[n], after_correct[n]) for n in arguments)
