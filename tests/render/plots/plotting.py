"""Rows, figures and commands for the tests of plots."""

import io
import math
from collections.abc import Sequence
from typing import Any

from click.testing import CliRunner, Result

from bncheck import Verdict
from bncheck.cli.main import main
from bncheck.render.sweep_report import SweepReport
from bncheck.sweeps.aggregate import SweepSummary
from bncheck.sweeps.grid import SweepPoint
from bncheck.sweeps.rows import GradientSummary, Row

OPTIONS = ("--N", "8", "--D", "5", "--H", "4")
STEPS = ("--step", "1e-2..1e-9")
# The first bytes of a file of each format.
FILE_SIGNATURES = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
# With characters that matplotlib would take for a formula, and characters that few fonts have.
LONG_TARGET = "a/rather/long/folder/" * 6 + "layers_$x_1$_日本\n.py"


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), prog_name="bncheck")


def gradient_summary(
    error: float | None, bar: float = math.nan, resolution: float = 1e-9, of_tolerance: float = 0.1
) -> GradientSummary:
    verdict = Verdict.PASS if resolution <= 1e-3 else Verdict.INCONCLUSIVE
    verdict = verdict if of_tolerance <= 1 else Verdict.FAIL
    return GradientSummary(verdict, error, of_tolerance, resolution, bar)


def make_row(
    gradients: dict[str, GradientSummary], *, verdict: Verdict | None = Verdict.PASS, seconds: float = 0.1, **at: Any
) -> Row:
    return Row(SweepPoint(**at), verdict, gradients, 1, 0, 0, seconds, "", "")


def rows_with_theoretical_errors(scheme: str, power: int, *, rounding: float = 1e-16) -> list[Row]:
    """Return rows with the theoretical truncation and rounding errors."""
    steps = [10.0**-k for k in range(1, 11)]
    return [make_row({"dW": gradient_summary(s**power + rounding / s, 1.0)}, step=s, scheme=scheme) for s in steps]


def draw(plots: Any, rows: Sequence[Row]) -> Any:
    """Return the figure of rows, laid out."""
    report = SweepReport(SweepSummary(rows))
    figure = plots.draw_figure(report)
    figure.savefig(io.BytesIO(), format="svg")
    return figure


def lines_of(axes: Any, gid: str) -> list[Any]:
    return [line for line in axes.get_lines() if line.get_gid() == gid]


def title_and_note_lines(figure: Any) -> list[str]:
    """Return the lines of the title, and of the notes."""
    titles = [figure.get_suptitle(), *(legend.get_title().get_text() for legend in figure.legends)]
    return [line for title in titles for line in title.splitlines()]
