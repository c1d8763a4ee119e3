"""The benchmark of verdicts, on a few problems."""

import pytest

from .benchmarks.verdicts import CHECKERS, PLACES, Case, row


@pytest.mark.parametrize("part", ["central", "complex"])
def test_bncheck_has_no_false_alarm_and_detects_every_error_of_1e_8(part: str) -> None:
    result = row(CHECKERS[part], [Case(number) for number in range(2)])
    assert result["false_alarms"] == 0
    assert all(result["sizes"][place] <= 1e-8 for place in PLACES)


def test_a_checker_that_rejects_correct_gradients_does_not_count_as_detecting_errors() -> None:
    result = row(CHECKERS["loop"], [Case(number) for number in range(2)])
    assert result["false_alarms"] == 2
    assert not result["detects_errors"]
    assert set(result["sizes"].values()) == {None}
