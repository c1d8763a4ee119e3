"""Curves show the errors, bounds and verdicts of the rows."""

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import bncheck
from bncheck import Verdict, check, random_problem
from bncheck.numerical.schemes import SCHEMES
from bncheck.render.plots.slope_lines import automatic_steps_of
from bncheck.sweeps.aggregate import SweepSummary
from tests.render.plots.plotting import draw, gradient_summary, lines_of, make_row, title_and_note_lines


def test_a_curve_goes_through_the_errors_of_each_gradient(plots: Any) -> None:
    steps = [10.0**-k for k in range(2, 10)]
    (axes,) = draw(plots, list(bncheck.sweep(N=8, D=5, H=4, step=steps))).axes
    curves = {line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")}
    assert list(curves) == ["dX", "dW", "dgamma", "dbeta", "dh"]
    for step in steps:
        result = check(random_problem(8, 5, 4), step=step)
        for name, line in curves.items():
            g = result.gradients[name]
            a, n = g.analytic, g.numerical
            norms = [math.sqrt(sum(x * x for x in v.flat)) for v in (a - n, a, n)]
            near = [y for x, y in zip(*line.get_data(), strict=True) if abs(math.log10(x / step)) < 0.2]
            assert near == [pytest.approx(max(norms[0] / max(norms[1:]), 1e-17), rel=1e-3)]


def test_an_error_bar_extends_from_the_error_to_its_bound(plots: Any) -> None:
    rows = [
        make_row({"dW": gradient_summary(1e-9, 1e-7), "dX": gradient_summary(1e-8, math.nan)}, step=s)
        for s in (1e-3, 1e-5)
    ]
    (axes,) = draw(plots, rows).axes
    assert [sorted(line.get_ydata()) for line in lines_of(axes, "bar dW")] == [[1e-9, 1e-7]] * 2
    assert lines_of(axes, "bar dX") == []
    for bar, cap in zip(lines_of(axes, "bar dW"), lines_of(axes, "cap dW"), strict=True):
        assert bar.get_xdata()[0] == bar.get_xdata()[1] == cap.get_xdata()[0]


def test_markers_of_several_gradients_are_drawn_next_to_each_other_near_their_step(plots: Any) -> None:
    rows = [make_row({f"d{i}": gradient_summary(1e-9) for i in range(9)}, step=10.0**-s) for s in range(3, 9)]
    (axes,) = draw(plots, rows).axes
    x = np.log10([line.get_xdata() for line in axes.get_lines() if not line.get_label().startswith("_")])
    assert len(x) == 9
    assert (np.diff(x, axis=0) > 0).all()
    assert np.abs(x - np.round(x)).max() < 0.2


def test_the_marker_shows_the_verdict_without_color(plots: Any) -> None:
    rows = [
        make_row({"dW": gradient_summary(1e-9), "dX": gradient_summary(1e-9)}, step=1e-3),
        make_row(
            {"dW": gradient_summary(1e-2, resolution=0.1), "dX": gradient_summary(1e-9)},
            step=1e-4,
            verdict=Verdict.INCONCLUSIVE,
        ),
        make_row(
            {"dW": gradient_summary(1e-2), "dX": gradient_summary(1e-9)}, step=1e-5, verdict=Verdict.INCONCLUSIVE
        ),  # a dead unit, say
        make_row(
            {"dW": gradient_summary(0.5, of_tolerance=9.0), "dX": gradient_summary(1e-9)},
            step=1e-6,
            verdict=Verdict.FAIL,
        ),
    ]
    figure = draw(plots, rows)
    (axes,) = figure.axes
    counts = {
        gid: sum(len(line.get_xdata()) for line in lines_of(axes, gid))
        for gid in ("pass dW", "inconclusive dW", "fail dW", "pass dX", "inconclusive dX", "fail dX")
    }
    assert counts == {
        "pass dW": 1, "inconclusive dW": 2, "fail dW": 1, "pass dX": 3, "inconclusive dX": 1, "fail dX": 0,
    }  # fmt: skip
    assert lines_of(axes, "fail dW")[0].get_marker() == "x"
    assert lines_of(axes, "inconclusive dW")[0].get_markerfacecolor() == "white"
    key = [text.get_text() for text in figure.legends[0].get_texts()]
    assert key == ["dX", "dW", "hollow: inconclusive", "FAIL"]


def test_gradients_differ_in_marker_and_dashes() -> None:
    pytest.importorskip("matplotlib")
    from bncheck.render.plots.curves import LineStyle  # noqa: PLC0415 - it needs matplotlib

    styles = [LineStyle.numbered(number, 15) for number in range(15)]
    assert len({style.marker for style in styles[:6]}) == len({str(style.dash) for style in styles[:6]}) == 6
    assert len({(style.color, style.marker, str(style.dash)) for style in styles}) == 15


def test_an_error_that_is_not_finite_is_drawn_at_the_upper_edge_and_0_at_the_smallest_error(plots: Any) -> None:
    rows = [
        make_row({"dW": gradient_summary(e, 1e-7, of_tolerance=t), "dX": gradient_summary(0.0)}, step=s, verdict=v)
        for s, e, t, v in (
            (1e-3, math.nan, math.nan, Verdict.FAIL), (1e-4, math.inf, math.inf, Verdict.FAIL),
            (1e-5, 1e-9, 0.1, Verdict.PASS),
        )
    ]  # fmt: skip
    (axes,) = draw(plots, rows).axes
    (failing,) = lines_of(axes, "fail dW")
    assert list(failing.get_ydata()) == [axes.get_ylim()[1]] * 2
    assert set(lines_of(axes, "pass dX")[0].get_ydata()) == {1e-17}
    assert len(lines_of(axes, "bar dW")) == 3


def test_an_infinite_error_bar_leaves_the_plot_and_does_not_change_its_limits(plots: Any) -> None:
    rows = [
        make_row({"dW": gradient_summary(1e-9, bar)}, step=s)
        for s, bar in ((1e-1, math.inf), (1e-2, 1e30), (1e-3, 1e-8))
    ]
    (axes,) = draw(plots, rows).axes
    assert axes.get_ylim()[1] < 1e-5
    assert sum(max(line.get_ydata()) > axes.get_ylim()[1] for line in lines_of(axes, "bar dW")) == 2


def test_the_automatic_step_is_marked_and_its_errors_are_drawn_at_the_mark(plots: Any) -> None:
    rows = list(bncheck.sweep(N=8, D=5, H=4, step=["auto", *(10.0**-k for k in range(3, 9))]))
    (axes,) = draw(plots, rows).axes
    (line,) = lines_of(axes, "auto")
    steps_in_plot = automatic_steps_of(SweepSummary(rows), SCHEMES["central"])
    assert steps_in_plot is not None
    assert line.get_xdata()[0] == steps_in_plot.median
    assert "auto" in [text.get_text() for text in axes.texts]
    (error,) = [r.gradients["dW"].norm_relative_error for r in rows if r.point.step == "auto"]
    at_auto = [
        y for gid in ("pass dW",) for mark in lines_of(axes, gid) for x, y in zip(*mark.get_data(), strict=True)
        if abs(math.log10(x / steps_in_plot.median)) < 0.1
    ]  # fmt: skip
    assert error in at_auto
    curve = next(line for line in axes.get_lines() if line.get_label() == "dW")
    assert len(curve.get_xdata()) == 6  # no line to it


def test_an_arrow_points_to_an_automatic_step_outside_the_limits(plots: Any) -> None:
    (axes,) = draw(plots, list(bncheck.sweep(N=8, D=5, H=4, scheme="complex", step=[1e-3, 1e-6]))).axes
    assert any(re.fullmatch(r"← auto: \de-\d\d", text.get_text()) for text in axes.texts)
    assert axes.get_xlim()[0] > 1e-8
    (axes,) = draw(plots, list(bncheck.sweep(N=8, D=5, H=4, step=[1e-12, 1e-11]))).axes
    assert any(text.get_text().endswith("→") for text in axes.texts)


def test_each_scheme_has_a_panel_with_its_theoretical_slopes(plots: Any) -> None:
    steps = [10.0**-k for k in range(1, 13)]
    rows = list(bncheck.sweep(N=32, D=10, H=8, scheme=["central", "five-point", "complex"], step=steps))
    panels = draw(plots, rows).axes
    assert [axes.get_title() for axes in panels] == ["central", "complex", "five-point"]
    assert [len(lines_of(axes, "u/step")) for axes in panels] == [1, 0, 1]
    assert [len(lines_of(axes, f"step{power}")) for axes, power in zip(panels, "²²⁴", strict=True)] == [1, 1, 1]
    assert len({axes.get_ylim() for axes in panels}) == 1


def test_the_errors_and_the_seconds_per_check_are_drawn_over_the_sizes(plots: Any) -> None:
    times = {(4, 0): 0.5, (8, 0): 0.25, (4, 1): 1.5, (8, 1): 0.75}
    rows = [make_row({"dW": gradient_summary(1e-9)}, N=N, seconds=times[N, 0]) for N in (4, 8)]
    errors, seconds = draw(plots, rows).axes
    assert (errors.get_xscale(), errors.get_yscale()) == ("linear", "log")  # 4 and 8 are no factor of 10 apart
    (mean,) = [line for line in seconds.get_lines() if line.get_label() == "mean"]
    assert list(zip(*mean.get_data(), strict=True)) == [(4.0, 0.5), (8.0, 0.25)]
    assert seconds.get_ylabel() == "seconds per check"
    assert errors.get_ylabel() == "norm relative error"
    # 65 seeds are not an axis that is drawn; each N then has many checks.
    rows = [
        make_row({"dW": gradient_summary(1e-9)}, N=N, seed=s, seconds=times[N, s % 2])
        for N in (4, 8)
        for s in range(66)
    ]
    errors, seconds = draw(plots, rows).axes
    (mean,) = [line for line in seconds.get_lines() if line.get_label() == "mean"]
    assert list(mean.get_ydata()) == [1.0, 0.5]
    assert [list(line.get_ydata()) for line in lines_of(seconds, "bar seconds")] == [[0.5, 1.5], [0.25, 0.75]]
    assert errors.get_ylabel() == "norm relative error (worst case)"


def test_an_axis_is_logarithmic_if_its_values_span_a_factor_above_10(plots: Any) -> None:
    cases: list[tuple[str, tuple[Any, ...], str, list[str]]] = [
        ("N", (8, 16, 1024), "log", ["8", "16", "1024"]),
        ("bn_eps", (1e-8, 1e-5, 1.0), "log", ["1e-08", "1e-05", "1"]),
        ("x_mean", (-5.0, 0.0, 5.0), "linear", ["-5", "0", "5"]),
        ("x_mean", (0.0, 1.0, 1e4), "linear", ["0", "1", "1e+04"]),  # by name
        ("scheme", ("central", "complex"), "linear", ["central", "complex"]),
        ("step", ("auto", 1e-5), "linear", ["1e-05", "auto"]),
    ]
    for axis, values, scale, ticks in cases:
        figure = draw(plots, [make_row({"dW": gradient_summary(1e-9)}, **{axis: value}) for value in values])
        axes = figure.axes[0]
        assert axes.get_xscale() == scale
        assert [label.get_text() for label in axes.get_xticklabels()] == ticks


def test_a_single_check_is_drawn_with_one_marker_for_each_gradient(plots: Any) -> None:
    rows = list(bncheck.sweep(N=8, D=5, H=4))
    (axes,) = draw(plots, rows).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["dX", "dW", "dgamma", "dbeta", "dh"]
    for place, name in enumerate(("dX", "dW", "dgamma", "dbeta", "dh")):
        (mark,) = lines_of(axes, f"pass {name}")
        error = rows[0].gradients[name].norm_relative_error
        assert error is not None
        assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (place, max(error, 1e-17))


def test_a_target_that_could_not_run_is_labeled_at_its_position(plots: Any) -> None:
    rows = [make_row({"dW": gradient_summary(1e-9)}, target="a.py"), make_row({}, target="b.py", verdict=None)]
    (axes,) = draw(plots, rows).axes
    assert [(text.get_text(), text.get_position()[0]) for text in axes.texts] == [("could not run", 1.0)]
    figure = draw(plots, [make_row({}, target="b.py", verdict=None)])
    assert [text.get_text() for text in figure.axes[0].texts] == ["could not run"]
    assert "1 check: 0 pass, 0 fail, 0 inconclusive, 1 could not run" in title_and_note_lines(figure)


def test_rows_without_error_bounds_are_drawn_without_error_bars(plots: Any) -> None:
    new = [r.rounded for r in bncheck.sweep(N=8, D=5, H=4, step=[1e-3, 1e-5])]
    old = []
    for r in new:
        gradients = {key: replace(g, relative_error_bound=math.nan) for key, g in r.gradients.items()}
        old.append(replace(r, gradients=gradients))
    figure = draw(plots, old)
    assert "error bound" not in [text.get_text() for text in figure.legends[0].get_texts()]
    assert not any((line.get_gid() or "").startswith(("bar", "cap")) for line in figure.axes[0].get_lines())
    mixed = draw(plots, [old[0], new[1]])
    assert len(lines_of(mixed.axes[0], "bar dW")) == 1
