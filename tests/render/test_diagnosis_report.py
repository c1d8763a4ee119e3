"""The report of a failed check names the mistake, its evidence and the commands to type next."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from bncheck import CheckResult, check, random_problem
from bncheck.cli.main import main
from bncheck.mistakes import mistake_named
from bncheck.mistakes.injected import FaultyNetwork
from bncheck.render.diagnosis_report import diagnosis_rows
from bncheck.render.layout import Page
from tests.faulty_targets import LAYERS, CorruptedNetwork, layers_with, multiply

pytestmark = pytest.mark.usefixtures("typical_edge_cases")


def sentences(result: CheckResult) -> list[str]:
    """Return the sentences about the diagnosis."""
    return [str(text) for _, text in diagnosis_rows(Page(ascii_only=False, width=200), result) if str(text)]


@pytest.mark.process
def test_the_report_shows_the_mistake_the_wrong_part_and_a_minimal_example_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("layers.py").write_text(LAYERS, encoding="utf-8")
    command = ["run", "layers.py", "--N", "16", "--D", "5", "--H", "4"]
    text = CliRunner(env={"COLUMNS": "80"}).invoke(main, command).stdout
    for line in (
        f"  BN204  {mistake_named('BN204').name}: ",
        "dx matches this mistake to a relative difference of ",
        "         coefficients of the terms of dx   direct   mean   variance\n",
        "           computed                             1      1          0\n",
        "           expected                             1      1          1\n",
        "  wrong part       the variance term\n",
        "  identities       satisfied: sum dx = 0; L = sum gamma dgamma + sum beta\n",
        "  identities       violated: sum dx xhat = gamma dgamma eps / sigma^3\n",
        "  Taylor test      remainder ~ t^1.00, expected t^2\n",
        "  explain          bncheck explain BN204\n",
    ):
        assert line in text
    (line,) = (line for line in text.splitlines() if line.startswith("  minimal example "))
    words = shlex.split(line)[3:]
    assert words[:2] == ["run", "layers.py"]
    assert CliRunner().invoke(main, words).exit_code == 1


@pytest.mark.parametrize(
    ("target", "edge_cases", "expected"),
    [
        (lambda: CorruptedNetwork(multiply("dbeta", 2)), True, "dbeta: it is 2 times the correct value."),
        (
            lambda: FaultyNetwork(mistake_named("BN101")), True,
            "dW and dX are the gradients of standard batch norm, so they do not match this forward pass.",
        ),
        (
            lambda: layers_with({"s": "v + EPS"}, "1e-8"), True, "The code uses eps = 1e-08 instead of the given value."
        ),
        (
            lambda: FaultyNetwork(mistake_named("BN216")), False,
            "This diagnosis is based on one problem only.",
        ),
    ],
)  # fmt: skip
def test_a_diagnosis_is_reported_in_sentences(target: Callable[[], object], edge_cases: bool, expected: str) -> None:
    assert expected in sentences(check(random_problem(9, 6, 5), target(), edge_cases=edge_cases, minimal_example=False))


def test_mistakes_that_match_equally_well_are_reported_as_alternatives() -> None:
    problem = random_problem(2, 6, 5, bn_eps=0.1)
    result = check(problem, FaultyNetwork(mistake_named("BN216")), edge_cases=False, minimal_example=False)
    assert "Or BN216 or BN233: all give the same result on every problem tried." in sentences(result)


def test_the_table_of_terms_shows_the_unexplained_part() -> None:
    result = check(
        random_problem(40, 8, 6),
        CorruptedNetwork(lambda g, _, __: g["dh"] ** 3),
        edge_cases=False,
        minimal_example=False,
    )
    table = [text for _, text in diagnosis_rows(Page(ascii_only=False, width=200), result)][-1]
    console = Console(width=120)
    with console.capture() as capture:
        console.print(table)
    assert "unexplained" in capture.get()
