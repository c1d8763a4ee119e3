"""The report of a check on screen, at fixed widths, and the commands in it."""

import io
import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from html import unescape

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from bncheck import CheckResult, Verdict, check, random_problem
from bncheck.cli import stdio
from bncheck.mistakes import mistake_named
from bncheck.mistakes.injected import FaultyNetwork
from bncheck.model import network
from bncheck.model.results import EdgeCaseResult, NotChecked, Note
from bncheck.render import FORMATS, check_sentences
from bncheck.render.check_report import CheckReport
from bncheck.render.format import format_index_ranges
from bncheck.render.layout import wrap_command
from bncheck.render.report import Report
from bncheck.render.sweep_report import SweepReport
from bncheck.sweeps.aggregate import SweepSummary
from bncheck.sweeps.grid import SweepPoint
from bncheck.sweeps.rows import Row
from tests.python_targets import CorruptedGradients, Gradients

without_variance_term = FaultyNetwork(mistake_named("BN204"))


def screen(shown: CheckResult | Report, width: int = 80, encoding: str = "utf-8", errors: str = "strict") -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors)
    Console(file=stream, width=width, highlight=False).print(
        CheckReport(shown) if isinstance(shown, CheckResult) else shown, crop=False
    )
    stream.flush()
    written = stream.buffer.getvalue().decode(encoding)
    return "\n".join(line.rstrip() for line in written.splitlines())


def masked(text: str) -> str:
    """Replace measured numbers, which differ between machines, and the width they take."""
    text = re.sub(r"largest at \w+\[[\d, ]+\]", "largest at *", text)
    text = re.sub(r"-?\d(\.\d+)?e[+-]\d+|<?\d+ %|\d+\.\d\d s|-?\d+\.\d{4,}", "*", text)
    return re.sub(r" +\*", " *", text)


def test_the_report_of_a_pass_fits_one_screen() -> None:
    assert (
        masked(screen(check(random_problem(64, 100, 50))))
        == """\
  affine → batch norm → ReLU          N 64   D 100   H 50   eps *   seed 0
  reference, float64; every entry compared with central differences

                  entries max rel. norm rel. tolerance used resolution verdict
  ────────────────────────────────────────────────────────────────────────────
  dX (64, 100)      6,400 * * * * pass
  dW (100, 50)      5,000 * * * * pass
  db (50,)             50     zero      zero * * pass
  dgamma (50,)         50 * * * * pass
  dbeta (50,)          50 * * * * pass
  dh (64, 50)       3,200 * * * * pass

  PASS  14,750 of 14,750 entries match within their error bounds.
        A relative error of * in any term would have been detected.

  max rel.         largest at *, which is close to 0 (*); does
                   not affect the verdict
  ReLU             0 of 3,200 outputs too close to 0 to check; no dead units
  cross-check      108 entries recomputed with full forward passes; largest
                   difference * of the error bound
  reproduce        bncheck run --N 64 --D 100 --H 50 --seed 0 *
"""
    )


def test_a_failure_shows_the_number_of_wrong_entries_and_the_worst_ones_aligned() -> None:
    def corrupt(g: Gradients) -> None:
        g["dW"][3, 4] = 100.0
        g["dgamma"][7:12] *= -2

    text = screen(check(random_problem(64, 100, 50), CorruptedGradients(corrupt), edge_cases=False))
    assert "  FAIL  dW: 1 of 5,000 entries is wrong, in row 3 and column 4.\n" in text
    assert "        dgamma: 5 of 50 entries are wrong: units 7-11.\n" in text
    # Three entries of the first wrong gradient in backward order, dgamma.
    pairs = re.findall(r"analytic +(\S+)\n +numerical +(\S+) ± \S+\n", text)
    assert len(pairs) == 3
    for analytic, numerical in pairs:
        assert float(analytic) == pytest.approx(-2 * float(numerical), rel=1e-6)
    points = {line.index(".") for line in text.splitlines() if re.match(r" +(analy|numer)", line)}
    assert len(points) <= 2  # aligned within each pair
    assert re.search(r"dbeta \(50,\) +50 +0 .* pass\n", text)
    assert re.search(r"dgamma \(50,\) +50 +5 .* FAIL\n", text)


def test_values_of_opposite_sign_are_aligned() -> None:
    text = screen(check(random_problem(6, 5, 4), CorruptedGradients(lambda g: g["db"].fill(-1.0))))
    pair = re.findall(r"(?:analytic|numerical) +.*", text)[:2]
    assert pair[0].index(".") == pair[1].index(".")


def test_a_wrong_gradient_that_should_be_0_is_shown_with_its_errors() -> None:
    text = screen(check(random_problem(6, 5, 4), CorruptedGradients(lambda g: g["db"].fill(1.0))))
    assert "zero" not in text
    assert "db: all 4 entries are wrong." in text


@pytest.mark.parametrize("width", [80, 120, 200])
def test_no_line_is_longer_than_78_columns(width: int) -> None:
    for target in ("reference", without_variance_term):
        result = check(random_problem(64, 100, 50, x_mean=1.5, x_std=2.5), target)
        assert max(map(len, screen(result, width).splitlines())) <= 78


def test_the_report_fits_a_narrow_terminal() -> None:
    text = screen(check(random_problem(6, 5, 4)), width=50)
    assert max(map(len, text.splitlines())) <= 50


def test_an_ascii_stream_gets_ascii_with_aligned_columns() -> None:
    text = screen(check(random_problem(64, 100, 50), without_variance_term), encoding="ascii")
    assert "affine -> batch norm -> ReLU" in text
    assert " +- " in text
    assert max(map(len, text.splitlines())) <= 78


def test_settings_that_differ_from_the_default_are_in_the_header() -> None:
    problem = random_problem(6, 5, 4, x_mean=2.0, x_std=0.5)
    text = screen(check(problem, scheme="complex", step=1e-20, engine="full"))
    assert "every entry compared with the complex step\n" in text
    assert "  x-mean 2   x-std 0.5   step 1e-20   engine full\n" in text


def test_a_sample_is_reported_as_a_sample() -> None:
    text = screen(check(random_problem(6, 5, 4), engine="full", sample=5))
    assert "5 entries of each gradient compared with central" in text
    assert re.search(r"^ +checked .* verdict$", text, re.MULTILINE)
    assert "PASS  27 of 86 entries, drawn at random, match within their error bounds." in text


def test_a_pass_with_a_requested_tolerance_says_so() -> None:
    text = screen(check(random_problem(6, 5, 4), rtol=1e-4, atol=1e-8))
    assert "86 of 86 entries match within the requested tolerance." in text


def test_a_reason_that_gradients_share_is_printed_a_single_time() -> None:
    text = screen(check(random_problem(6, 5, 4), step=1e-14))
    assert " ".join(text.split()).count("rounding dominates") == 1


def test_a_reason_of_some_gradients_starts_with_their_names_as_they_are_spelled() -> None:
    result = check(random_problem(6, 5, 4), edge_cases=False)
    for name in ("dX", "db"):
        gradient = replace(result.gradients[name], verdict=Verdict.INCONCLUSIVE, reasons=("rounding dominates",))
        result = replace(result, gradients={**result.gradients, name: gradient})
    assert "dX, db: rounding dominates." in check_sentences.conclusions(result)


def test_edge_cases_that_are_only_counted_have_the_verb_of_their_verdict() -> None:
    fail, inconclusive = Verdict.FAIL, Verdict.INCONCLUSIVE
    verdicts = [inconclusive, inconclusive, inconclusive, fail, inconclusive]
    cases = [EdgeCaseResult(f"case-{i}", v, (f"out {i}",), None, (2, 2, 2), "small") for i, v in enumerate(verdicts)]
    result = replace(check(random_problem(4, 3, 2), edge_cases=False), edge_cases=tuple(cases))
    _, _, *counted = check_sentences.edge_case_failures(result)
    assert counted == ["inconclusive on 2 more edge cases in other ways", "fails on 1 more edge case in other ways"]


def test_only_functions_that_are_missing_are_reported_as_missing() -> None:
    missing = NotChecked("batchnorm_backward", "missing", is_missing=True)
    raised = NotChecked("relu_forward", "it raised ValueError: the cache is missing")
    result = replace(check(random_problem(4, 3, 2), edge_cases=False), incomplete=True, not_checked=(missing, raised))
    assert check_sentences.missing(result) == "batchnorm_backward (missing)"


def test_a_failed_cross_check_says_what_to_run_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object) -> dict[str, np.ndarray]:
        return {"gamma": np.zeros(4)}  # whatever the problem

    monkeypatch.setattr("bncheck.numerical.measure.local_gradients", wrong)

    class ZeroDgamma(CorruptedGradients):
        def backward(self, dout: object, cache: network.Cache) -> Gradients:
            return {**super().backward(dout, cache), "dgamma": np.zeros(4)}  # type: ignore[arg-type]  # the subclass accepts a dout of any type

    text = screen(check(random_problem(6, 5, 4), ZeroDgamma(dict), only=["dgamma"], edge_cases=False))
    assert "INCONCLUSIVE" in text
    words = " ".join(text.split())
    assert "The cross-check failed: the local engine and full forward passes disagree." in words
    assert "--engine full" in words
    assert re.search(r"cross-check \d+ entries recomputed with full forward passes; they differ by ", words)


WORDS = [
    "layers.py", "students/Ada Lovelace/layers.py:solution_b", "it's.py", '"quoted".py', "$HOME/`id`.py", "back\\slash",
    "students/**/[a-c]*?.py", "a  b.py", "--odd.py", "!!.py", "~/layers.py", "#1.py", "übung/層.py", "two\nlines\t\x1b",
    "nul\udc80.py", "", "-", "x=1;rm", "\u00a0.py", f"/home/{'a_long_folder/' * 9}layers.py", f"{'very long ' * 12}.py",
]  # fmt: skip
OPTIONS = [
    "--N",
    "64",
    "--x-mean",
    "-2.5",
    "--only",
    "dX,dW,db,dgamma,dbeta,dh",
    "--no-edge-cases",
    "--step",
    "1e-1..1e-12/3",
]


def pasted(commands: Sequence[str]) -> list[list[str]]:
    """Return the arguments with which a shell calls bncheck, for each command that is pasted into it."""
    script = 'bncheck() { printf \'%s\\0\' "$#" "$@"; }\n' + "\n".join(commands) + "\n"
    ran = subprocess.run(["bash"], input=os.fsencode(script), capture_output=True, check=True, timeout=60)
    assert ran.stderr == b""
    values = iter(os.fsdecode(ran.stdout).split("\0")[:-1])
    return [[next(values) for _ in range(int(count))] for count in values]


@pytest.mark.parametrize("ascii_only", [False, True])
def test_a_pasted_command_has_the_same_arguments_at_every_width(ascii_only: bool) -> None:
    expected, lines_of = [], []
    for number, width in enumerate(range(20, 121)):
        targets = [WORDS[(number + i) % len(WORDS)] for i in (0, 5, 11)]
        arguments = ["run", *targets, *OPTIONS] if number % 2 else ["sweep", *OPTIONS, *targets[:2]]
        expected.append(arguments)
        lines_of.append(wrap_command(shlex.join(["bncheck", *arguments]), width, ascii_only=ascii_only))
    assert pasted(["\n".join(lines) for lines in lines_of]) == expected
    assert all(line.isprintable() and (line.isascii() or not ascii_only) for lines in lines_of for line in lines)


def test_a_line_of_a_command_is_within_the_width_unless_it_is_one_word() -> None:
    for width in range(12, 121):
        command = shlex.join(["bncheck", "run", *WORDS, *OPTIONS])
        first, *rest = wrap_command(command, width)
        for line in (first, *rest):
            assert cell_len(line) <= width or len(shlex.split(line.removesuffix(" \\"))) == 1 or "$'" in line
        assert all(line.startswith("  ") and line[2] != " " for line in rest)


def test_an_option_and_its_value_stay_on_one_line_if_both_fit() -> None:
    command = (
        "bncheck run --N 64 --D 100 --H 50 --seed 0 --bn-eps 0.25 --no-edge-cases --x-mean 2.0 --only dX,dW,db,dgamma"
    )
    assert wrap_command(command, 30) == [
        "bncheck run --N 64 --D 100 \\",
        "  --H 50 --seed 0 \\",
        "  --bn-eps 0.25 \\",
        "  --no-edge-cases \\",
        "  --x-mean 2.0 \\",
        "  --only dX,dW,db,dgamma",
    ]
    assert wrap_command(command, 200) == [command]
    assert wrap_command("bncheck run --only dX,dW,db,dgamma", 22) == ["bncheck run --only \\", "  dX,dW,db,dgamma"]


LONG = f"/home/{'student_with_a_long_name/' * 7}it's layers.py"


def commands_in(screen: str) -> list[str]:
    """Return the commands of a screen, without the label and the indentation that are left of them."""
    commands: list[str] = []
    lines = iter(screen.split("\n"))
    for line in lines:
        start = line.find("bncheck ")
        if start >= 0:
            command = [line[start:]]
            while command[-1].endswith("\\"):
                command.append(next(lines)[start:])
            commands.append("\n".join(command))
    return commands


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_every_command_in_the_report_of_a_sweep_runs_when_it_is_pasted(encoding: str) -> None:
    targets = [LONG, "übung 1/layers.py", "b.py"]
    failing = [
        Row(SweepPoint(target=t), Verdict.FAIL, {}, 1, 1, 0, 0.1, shlex.join(["bncheck", "run", t, "--seed", "0"]), "")
        for t in targets
    ]
    command = ["sweep", *targets, "--step", "1e-1..1e-12", "--seed", "0..9"]
    report = SweepReport(SweepSummary(failing), shlex.join(["bncheck", *command]))
    for width in range(40, 121, 8):
        shown = commands_in(screen(report, width, encoding, "replace"))
        assert sorted(pasted(shown)) == sorted([command, *(["run", t, "--seed", "0"] for t in targets)])


def test_a_long_word_of_a_command_is_not_broken_in_any_format(capsys: pytest.CaptureFixture[str]) -> None:
    row = Row(SweepPoint(target=LONG), Verdict.FAIL, {}, 1, 1, 0, 0.1, shlex.join(["bncheck", "run", LONG]), "")
    report = SweepReport(SweepSummary([row]))
    word = shlex.quote(LONG)
    stdio.write(FORMATS["table"].show([report], False))
    assert f"  {word}\n" in capsys.readouterr().out
    assert f"  {word}\n" in str(FORMATS["txt"].show([report], False))
    assert f"  {word}\n" in str(FORMATS["markdown"].show([report], False))
    html = unescape(re.sub("<.*?>", "", str(FORMATS["html"].show([report], False))))
    assert f"  {word}\n" in html
    svg = unescape(str(FORMATS["svg"].show([report], False))).replace("\xa0", " ")
    assert f"  {word}<" in svg


def test_a_few_index_ranges_are_listed_and_many_are_counted() -> None:
    assert format_index_ranges([3], "row") == "row 3"
    assert format_index_ranges([0, 1, 2, 7], "row") == "rows 0-2, 7"
    assert format_index_ranges(range(0, 20, 2), "row") == "10 rows"


def test_a_format_depends_only_on_the_result() -> None:
    result = check(random_problem(4, 3, 2))
    show = FORMATS["json"].show
    assert show([CheckReport(result)], False) == show([CheckReport(result)], False)


def test_a_result_prints_as_plain_text() -> None:
    text = str(check(random_problem(6, 5, 4)))
    assert text.startswith("PASS  reference, N 6, D 5, H 4: 86 of 86 entries checked\n")
    assert "  dW       pass         0 of 20 wrong" in text


def test_options_are_spelled_as_the_reader_types_them() -> None:
    result = check(random_problem(4, 3, 2))
    note = Note("low-resolution", "use a larger `x_std` or `step='auto'`")
    result = replace(result, notes=(note,))
    assert "use a larger --x-std or --step auto" in screen(CheckReport(result))
    assert "use a larger `x_std` or `step='auto'`" in screen(CheckReport(result, in_python=True))
