"""Code that is correct for one size only is reported if the edge cases establish it."""

from collections.abc import Callable

import pytest

from bncheck import Verdict, check, random_problem
from bncheck.checking.explanation import Sizes, discriminating_sizes, only_correct_at
from tests.faulty_targets import layers_with

# Shapes of edge cases, none of which has a size in common with (64, 100, 50).
EDGE_SHAPES = [Sizes(7, 5, 4), Sizes(2, 5, 4), Sizes(4, 5, 9), Sizes(131, 107, 67), Sizes(5, 5, 5)]


def outcomes_if(is_correct: Callable[[Sizes], bool], shapes: list[Sizes]) -> list[tuple[Sizes, bool]]:
    """Return the outcomes of edge cases for code that is correct at some sizes."""
    return [(sizes, not is_correct(sizes)) for sizes in shapes]


@pytest.mark.parametrize("name", ["N", "D", "H"])
def test_code_that_is_correct_for_one_size_is_reported_in_one_sentence(name: str) -> None:
    main = Sizes(64, 100, 50)
    shapes = [*EDGE_SHAPES, *discriminating_sizes(main)]
    sentence = only_correct_at(main, outcomes_if(lambda sizes: getattr(sizes, name) == getattr(main, name), shapes))
    assert sentence == f"correct only for {name} = {getattr(main, name)}: every edge case with another {name} fails"


def test_an_edge_case_with_the_same_size_decides_which_size_is_the_cause() -> None:
    sentence = only_correct_at(Sizes(7, 100, 50), outcomes_if(lambda sizes: sizes.N == 7, EDGE_SHAPES))
    assert sentence.startswith("correct only for N = 7:")


def test_sizes_that_no_edge_case_distinguishes_are_all_listed() -> None:
    expected = "correct only for N = 64, D = 100 or H = 50: every edge case has other sizes and fails"
    assert only_correct_at(Sizes(64, 100, 50), outcomes_if(lambda _: False, EDGE_SHAPES)) == expected


@pytest.mark.parametrize(
    ("main", "is_correct"),
    [
        (Sizes(64, 100, 50), lambda _: True),
        (Sizes(64, 100, 50), lambda sizes: sizes.N > 4),  # a mistake that small batches reveal
        (Sizes(7, 5, 4), lambda _: False),  # it fails at these sizes, on other data
        (Sizes(64, 100, 50), lambda sizes: sizes.N == 131),
    ],
)
def test_failures_that_no_size_explains_are_not_attributed_to_one(
    main: Sizes, is_correct: Callable[[Sizes], bool]
) -> None:
    assert only_correct_at(main, outcomes_if(is_correct, EDGE_SHAPES)) == ""


def test_a_single_other_size_that_fails_does_not_establish_the_cause() -> None:
    assert only_correct_at(Sizes(64, 100, 50), [(Sizes(7, 5, 4), True), (Sizes(7, 5, 4), True)]) == ""
    assert only_correct_at(Sizes(64, 100, 50), []) == ""


@pytest.mark.parametrize("main", [Sizes(64, 100, 50), Sizes(7, 5, 4), Sizes(1, 1, 1), Sizes(11, 9, 8)])
def test_each_discriminating_problem_has_one_size_in_common_with_the_main_problem(main: Sizes) -> None:
    is_equal = [[a == b for a, b in zip(main, sizes, strict=True)] for sizes in discriminating_sizes(main)]
    assert is_equal == [[True, False, False], [False, True, False], [False, False, True]]


@pytest.mark.usefixtures("typical_edge_cases")
def test_a_hard_coded_batch_size_is_reported_as_the_only_correct_one() -> None:
    target = layers_with({}, "bn_param['eps']", dx="(64 * g - g.sum(0) - xhat * (g * xhat).sum(0)) / (64 * s)")
    main = Sizes(64, 10, 6)
    result = check(random_problem(*main), target, edge_cases=False)
    assert {g.verdict for g in result.gradients.values()} == {Verdict.PASS}
    outcomes = []
    for sizes in (*EDGE_SHAPES, *discriminating_sizes(main)):
        small = check(random_problem(*sizes), target, edge_cases=False, explain=False)
        outcomes.append((sizes, small.verdict is Verdict.FAIL))
    assert only_correct_at(main, outcomes) == "correct only for N = 64: every edge case with another N fails"
