"""Messages name parameters as in Python; the command line spells them as options."""

import pytest

from bncheck.model.options import to_option_spelling


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("use a larger `step` or `step='auto'`", "use a larger --step or --step auto"),
        ("an `x_mean` closer to 0", "an --x-mean closer to 0"),
        ("skipped (`edge_cases=False`)", "skipped (--no-edge-cases)"),
        ("`only='dx,dW'` selects no gradient", "--only dx,dW selects no gradient"),
        ("step is a word outside of backticks", "step is a word outside of backticks"),
    ],
)
def test_a_parameter_in_backticks_becomes_an_option(text: str, expected: str) -> None:
    assert to_option_spelling(text) == expected
