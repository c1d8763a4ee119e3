"""Theoretical slopes and automatic steps."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bncheck import Verdict, random_problem
from bncheck.numerical.basepoint import BasePoint
from bncheck.numerical.plan import automatic_steps
from bncheck.numerical.schemes import SCHEMES, Quotient, Scheme
from bncheck.render.plots.panels import panels_of
from bncheck.render.plots.slope_lines import SlopeLine, automatic_steps_of, slope_lines
from bncheck.sweeps.aggregate import SweepSummary
from bncheck.sweeps.rows import Row
from tests.render.plots.plotting import draw, gradient_summary, lines_of, make_row, rows_with_theoretical_errors


@pytest.mark.parametrize(("scheme", "power"), [("forward", 1), ("central", 2), ("five-point", 4), ("richardson", 6)])
def test_a_theoretical_slope_is_drawn_where_the_errors_have_it(scheme: str, power: int) -> None:
    (panel,) = panels_of(SweepSummary(rows_with_theoretical_errors(scheme, power)))
    above, below = slope_lines(panel.cells, SCHEMES[scheme])
    assert (above.power, below.power) == (power, -1)
    assert above.label == {1: "step", 2: "step²", 4: "step⁴", 6: "step⁶"}[power]
    assert below.label == "u/step"
    for step, cell in panel.cells.items():
        error = cell.gradients["dW"].error
        for guide in (above, below):
            if error is not None and guide.steps[0] * 2 < step < guide.steps[1] / 2:
                assert 1.5 < guide.error(step) / error < 8


@pytest.mark.parametrize(
    ("quotient", "multiples", "label"),
    [
        (Quotient.FORWARD, (1.0, 2.0, 3.0), "step³"),
        (Quotient.CENTRAL, (1.0, 2.0, 3.0, 4.0), "step⁸"),
        (Quotient.CENTRAL, (1.0, 2.0, 3.0, 4.0, 5.0), "step¹⁰"),
    ],
)
def test_a_scheme_of_any_order_is_drawn_with_its_slope(
    quotient: Quotient, multiples: tuple[float, ...], label: str, plots: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SCHEMES, "new", Scheme("new", quotient, multiples))
    rows = rows_with_theoretical_errors("new", SCHEMES["new"].order, rounding=1e-300)
    (axes,) = draw(plots, rows).axes
    assert len(lines_of(axes, label)) == 1
    assert label in [text.get_text() for text in axes.texts]


def test_a_slope_that_the_errors_do_not_have_is_not_drawn() -> None:
    def lines_in_plot(rows: list[Row], scheme: str) -> list[SlopeLine]:
        (panel,) = panels_of(SweepSummary(rows))
        return list(slope_lines(panel.cells, SCHEMES[scheme]))

    flat = [make_row({"dW": gradient_summary(1e-15 * (1 + step % 3))}, step=10.0**-step) for step in range(1, 9)]
    assert lines_in_plot(flat, "central") == []
    wrong = [replace(r, gradients={"dW": gradient_summary(0.3, of_tolerance=1e6)}, verdict=Verdict.FAIL) for r in flat]
    assert lines_in_plot(wrong, "central") == []
    assert [
        guide.label for guide in lines_in_plot(rows_with_theoretical_errors("complex", 2, rounding=1e-30), "complex")
    ] == ["step²"]
    only_rounding = [make_row({"dW": gradient_summary(1e-16 / 10.0**-k)}, step=10.0**-k) for k in range(5, 9)]
    assert [guide.label for guide in lines_in_plot(only_rounding, "central")] == ["u/step"]
    assert (
        lines_in_plot(
            [make_row({"db": gradient_summary(None), "dW": gradient_summary(0.0)}, step=s) for s in (1e-3, 1e-4)],
            "central",
        )
        == []
    )


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_automatic_steps_in_a_plot_are_the_steps_of_the_problem(scheme: str) -> None:
    tally = SweepSummary([make_row({"dW": gradient_summary(1e-9)}, N=9, D=4, H=3, x_std=7.0, seed=2, scheme=scheme)])
    steps_in_plot = automatic_steps_of(tally, SCHEMES[scheme])
    steps = automatic_steps(BasePoint.from_problem(random_problem(9, 4, 3, seed=2, x_std=7.0)), SCHEMES[scheme])
    every = sorted(itertools.chain(*(np.ravel(values) for values in steps.values())))
    assert steps_in_plot is not None
    assert (steps_in_plot.smallest, steps_in_plot.largest) == (every[0], every[-1])
    assert steps_in_plot.median == pytest.approx(np.median(every))


def test_no_automatic_step_is_shown_for_several_problems_or_a_large_or_an_invalid_one() -> None:
    for points in ([{"N": 2}, {"N": 3}], [{"N": 2000, "D": 1000}], [{"N": 1, "bn_eps": 0.0}]):
        tally = SweepSummary(make_row({"dW": gradient_summary(1e-9)}, **point) for point in points)
        assert automatic_steps_of(tally, SCHEMES["central"]) is None
