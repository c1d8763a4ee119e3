"""Pictures: what is drawn of which sweep, that it is what the rows hold, and how --plot ends."""

import io
import itertools
import json
import math
import random
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import bncheck
from bncheck import Verdict, check, random_problem
from bncheck.cli.main import main
from bncheck.numerical.basepoint import BasePoint
from bncheck.numerical.plan import automatic_steps
from bncheck.numerical.schemes import SCHEMES, Quotient, Scheme
from bncheck.render.plots.panels import build_heatmap, names_of, notes_of, panels_of
from bncheck.render.plots.slope_lines import SlopeLine, automatic_steps_of, slope_lines
from bncheck.render.sweep_report import SweepReport
from bncheck.sweeps.aggregate import SweepSummary
from bncheck.sweeps.grid import SweepPoint
from bncheck.sweeps.rows import GradientSummary, Row
from bncheck.sweeps.sweep_file import rows_of
from tests.samples import WRONG_LAYERS

OPTIONS = ("--N", "8", "--D", "5", "--H", "4")
STEPS = ("--step", "1e-2..1e-9")
MAGIC = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


@pytest.fixture(scope="module")
def plots() -> Any:
    pytest.importorskip("matplotlib")
    return __import__("bncheck.render.plots.figure", fromlist=["figure"])


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("wrong.py").write_text(WRONG_LAYERS, encoding="utf-8")
    Path("raises.py").write_text("import numpy\n\n1 / 0\n", encoding="utf-8")


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), prog_name="bncheck")


def made(
    error: float | None, bar: float = math.nan, resolution: float = 1e-9, of_tolerance: float = 0.1
) -> GradientSummary:
    verdict = Verdict.PASS if resolution <= 1e-3 else Verdict.INCONCLUSIVE
    verdict = verdict if of_tolerance <= 1 else Verdict.FAIL
    return GradientSummary(verdict, error, of_tolerance, resolution, bar)


def row(
    found: dict[str, GradientSummary], *, verdict: Verdict | None = Verdict.PASS, seconds: float = 0.1, **at: Any
) -> Row:
    return Row(SweepPoint(**at), verdict, found, 1, 0, 0, seconds, "", "")


def steps_like(scheme: str, power: int, *, rounding: float = 1e-16) -> list[Row]:
    """Rows whose errors are exactly those of theory."""
    steps = [10.0**-k for k in range(1, 11)]
    return [row({"dW": made(s**power + rounding / s, 1.0)}, step=s, scheme=scheme) for s in steps]


def drawn(plots: Any, rows: Sequence[Row]) -> Any:
    """Return the figure of rows, laid out."""
    report = SweepReport(SweepSummary(rows))
    figure = plots.draw_figure(report)
    figure.savefig(io.BytesIO(), format="svg")
    return figure


def lines(axes: Any, gid: str) -> list[Any]:
    return [line for line in axes.get_lines() if line.get_gid() == gid]


def words(figure: Any) -> list[str]:
    """Return the lines of the title, and of the notes."""
    titles = [figure.get_suptitle(), *(legend.get_title().get_text() for legend in figure.legends)]
    return [line for title in titles for line in title.splitlines()]


# What is drawn of which axes.


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        ({}, [""]),
        ({"step": [1e-3, 1e-5]}, ["step"]),
        ({"step": [1e-3, 1e-5], "scheme": ["central", "complex"]}, ["step central", "step complex"]),
        ({"step": [1e-3, 1e-5], "target": ["reference", "staged"]}, ["step reference", "step staged"]),
        ({"step": [1e-3, 1e-5], "scheme": ["central", "complex"], "N": [2, 8]}, ["step central", "step complex", "N"]),
        ({"step": [1e-3, 1e-5], "N": [2, 8], "H": [2, 3]}, ["step", "N", "H"]),
        ({"step": ["auto", 1e-5]}, ["step"]),
        ({"N": [2, 8]}, ["N", "N seconds"]),
        ({"bn_eps": [1e-5, 1.0]}, ["bn_eps"]),
        ({"N": [2, 8], "D": [3, 4], "bn_eps": [1e-5, 1.0]}, ["N", "D", "bn_eps"]),
        ({"scheme": ["central", "complex"]}, ["scheme"]),
        ({"N": [2, 8], "D": [3, 4]}, "N, D"),
        ({"N": [2, 8], "D": [3, 4, 5]}, "D, N"),
        ({"step": [1e-3, 1e-5], "N": [2, 8]}, "N, step"),
        ({"step": ["auto", 1e-5], "scheme": ["central", "complex"]}, "scheme, step"),
    ],
)
def test_what_is_drawn_follows_from_the_axes_that_vary(axes: dict[str, Any], expected: list[str] | str) -> None:
    points = itertools.product(*axes.values())
    tally = SweepSummary(row({"dW": made(1e-9)}, **dict(zip(axes, point, strict=True))) for point in points)
    heat = build_heatmap(tally)
    if heat is not None:
        assert f"{heat.down}, {heat.across}" == expected
        return
    told = [f"{p.axis} {p.title}{'seconds' if p.seconds else ''}".strip() for p in panels_of(tally)]
    assert told == expected


def test_axes_for_which_there_is_no_room_are_named() -> None:
    axes: dict[str, list[Any]] = {
        "step": [1e-3, 1e-5], "scheme": list(SCHEMES), "N": [2, 8], "D": [2, 3], "bn_eps": [1e-5, 1.0],
    }  # fmt: skip
    points = itertools.product(*axes.values())
    tally = SweepSummary(row({"dW": made(1e-9)}, **dict(zip(axes, point, strict=True))) for point in points)
    assert [p.axis for p in panels_of(tally)] == ["step"] * 5 + ["N"]
    assert list(notes_of(tally)) == ["not plotted: D, eps"]
    many = SweepSummary(row({"db": made(None), "dW": made(1e-18)}, seed=seed) for seed in range(65))
    assert list(notes_of(many)) == [
        "db: exactly 0", "seed: more than 64 values, not plotted", "errors below 1e-17 are drawn at 1e-17",
    ]  # fmt: skip


def test_gradients_are_in_the_same_order_whatever_order_they_came_in() -> None:
    keys = ["dX", "dW", "dgamma", "affine_backward.dx", "batchnorm_backward.dx"]
    for some in itertools.islice(itertools.permutations(keys), 0, 120, 7):
        assert names_of(SweepSummary([row({key: made(1e-9) for key in (*some, "db")} | {"db": made(None)})])) == keys


# Theory.


@pytest.mark.parametrize(("scheme", "power"), [("forward", 1), ("central", 2), ("five-point", 4), ("richardson", 6)])
def test_the_slopes_of_theory_are_drawn_where_the_errors_have_them(scheme: str, power: int) -> None:
    (panel,) = panels_of(SweepSummary(steps_like(scheme, power)))
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
    rows = steps_like("new", SCHEMES["new"].order, rounding=1e-300)
    (axes,) = drawn(plots, rows).axes
    assert len(lines(axes, label)) == 1
    assert label in [text.get_text() for text in axes.texts]


def test_a_slope_that_the_errors_do_not_have_is_not_drawn() -> None:
    def found(rows: list[Row], scheme: str) -> list[SlopeLine]:
        (panel,) = panels_of(SweepSummary(rows))
        return list(slope_lines(panel.cells, SCHEMES[scheme]))

    flat = [row({"dW": made(1e-15 * (1 + step % 3))}, step=10.0**-step) for step in range(1, 9)]
    assert found(flat, "central") == []
    wrong = [replace(r, gradients={"dW": made(0.3, of_tolerance=1e6)}, verdict=Verdict.FAIL) for r in flat]
    assert found(wrong, "central") == []
    assert [guide.label for guide in found(steps_like("complex", 2, rounding=1e-30), "complex")] == ["step²"]
    only_rounding = [row({"dW": made(1e-16 / 10.0**-k)}, step=10.0**-k) for k in range(5, 9)]
    assert [guide.label for guide in found(only_rounding, "central")] == ["u/step"]
    assert found([row({"db": made(None), "dW": made(0.0)}, step=s) for s in (1e-3, 1e-4)], "central") == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_automatic_step_is_that_of_the_problem(scheme: str) -> None:
    tally = SweepSummary([row({"dW": made(1e-9)}, N=9, D=4, H=3, x_std=7.0, seed=2, scheme=scheme)])
    found = automatic_steps_of(tally, SCHEMES[scheme])
    steps = automatic_steps(BasePoint.from_problem(random_problem(9, 4, 3, seed=2, x_std=7.0)), SCHEMES[scheme])
    every = sorted(itertools.chain(*(np.ravel(values) for values in steps.values())))
    assert found is not None
    assert (found.smallest, found.largest) == (every[0], every[-1])
    assert found.median == pytest.approx(np.median(every))


def test_no_automatic_step_is_shown_of_several_problems_a_large_one_or_none() -> None:
    for points in ([{"N": 2}, {"N": 3}], [{"N": 2000, "D": 1000}], [{"N": 1, "bn_eps": 0.0}]):
        tally = SweepSummary(row({"dW": made(1e-9)}, **point) for point in points)
        assert automatic_steps_of(tally, SCHEMES["central"]) is None


# Curves.


def test_a_line_goes_through_the_errors_of_each_gradient(plots: Any) -> None:
    steps = [10.0**-k for k in range(2, 10)]
    (axes,) = drawn(plots, list(bncheck.sweep(N=8, D=5, H=4, step=steps))).axes
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


def test_bars_go_from_the_error_to_what_the_error_bars_allow(plots: Any) -> None:
    rows = [row({"dW": made(1e-9, 1e-7), "dX": made(1e-8, math.nan)}, step=s) for s in (1e-3, 1e-5)]
    (axes,) = drawn(plots, rows).axes
    assert [sorted(line.get_ydata()) for line in lines(axes, "bar dW")] == [[1e-9, 1e-7]] * 2
    assert lines(axes, "bar dX") == []
    for bar, cap in zip(lines(axes, "bar dW"), lines(axes, "cap dW"), strict=True):
        assert bar.get_xdata()[0] == bar.get_xdata()[1] == cap.get_xdata()[0]


def test_gradients_stand_beside_one_another_and_nearer_to_their_own_value_than_to_the_next(plots: Any) -> None:
    rows = [row({f"d{i}": made(1e-9) for i in range(9)}, step=10.0**-s) for s in range(3, 9)]
    (axes,) = drawn(plots, rows).axes
    x = np.log10([line.get_xdata() for line in axes.get_lines() if not line.get_label().startswith("_")])
    assert len(x) == 9
    assert (np.diff(x, axis=0) > 0).all()
    assert np.abs(x - np.round(x)).max() < 0.2


def test_marks_tell_verdicts_without_colour(plots: Any) -> None:
    rows = [
        row({"dW": made(1e-9), "dX": made(1e-9)}, step=1e-3),
        row({"dW": made(1e-2, resolution=0.1), "dX": made(1e-9)}, step=1e-4, verdict=Verdict.INCONCLUSIVE),
        row({"dW": made(1e-2), "dX": made(1e-9)}, step=1e-5, verdict=Verdict.INCONCLUSIVE),  # a dead unit, say
        row({"dW": made(0.5, of_tolerance=9.0), "dX": made(1e-9)}, step=1e-6, verdict=Verdict.FAIL),
    ]
    figure = drawn(plots, rows)
    (axes,) = figure.axes
    counts = {
        gid: sum(len(line.get_xdata()) for line in lines(axes, gid))
        for gid in ("pass dW", "inconclusive dW", "fail dW", "pass dX", "inconclusive dX", "fail dX")
    }
    assert counts == {
        "pass dW": 1, "inconclusive dW": 2, "fail dW": 1, "pass dX": 3, "inconclusive dX": 1, "fail dX": 0,
    }  # fmt: skip
    assert lines(axes, "fail dW")[0].get_marker() == "x"
    assert lines(axes, "inconclusive dW")[0].get_markerfacecolor() == "white"
    key = [text.get_text() for text in figure.legends[0].get_texts()]
    assert key == ["dX", "dW", "hollow: inconclusive", "FAIL"]


def test_gradients_differ_in_marker_and_dashes() -> None:
    pytest.importorskip("matplotlib")
    from bncheck.render.plots.curves import LineStyle  # noqa: PLC0415 - it needs matplotlib

    looks = [LineStyle.numbered(number, 15) for number in range(15)]
    assert len({look.marker for look in looks[:6]}) == len({str(look.dash) for look in looks[:6]}) == 6
    assert len({(look.color, look.marker, str(look.dash)) for look in looks}) == 15


def test_what_is_not_finite_is_marked_at_the_upper_edge_and_0_is_drawn_on_the_floor(plots: Any) -> None:
    rows = [
        row({"dW": made(e, 1e-7, of_tolerance=t), "dX": made(0.0)}, step=s, verdict=v)
        for s, e, t, v in (
            (1e-3, math.nan, math.nan, Verdict.FAIL), (1e-4, math.inf, math.inf, Verdict.FAIL),
            (1e-5, 1e-9, 0.1, Verdict.PASS),
        )
    ]  # fmt: skip
    (axes,) = drawn(plots, rows).axes
    (failing,) = lines(axes, "fail dW")
    assert list(failing.get_ydata()) == [axes.get_ylim()[1]] * 2
    assert set(lines(axes, "pass dX")[0].get_ydata()) == {1e-17}
    assert len(lines(axes, "bar dW")) == 3


def test_endless_bars_run_out_of_the_picture_and_do_not_stretch_it(plots: Any) -> None:
    rows = [row({"dW": made(1e-9, bar)}, step=s) for s, bar in ((1e-1, math.inf), (1e-2, 1e30), (1e-3, 1e-8))]
    (axes,) = drawn(plots, rows).axes
    assert axes.get_ylim()[1] < 1e-5
    assert sum(max(line.get_ydata()) > axes.get_ylim()[1] for line in lines(axes, "bar dW")) == 2


def test_the_automatic_step_is_marked_and_what_it_gave_is_drawn_there(plots: Any) -> None:
    rows = list(bncheck.sweep(N=8, D=5, H=4, step=["auto", *(10.0**-k for k in range(3, 9))]))
    (axes,) = drawn(plots, rows).axes
    (line,) = lines(axes, "auto")
    found = automatic_steps_of(SweepSummary(rows), SCHEMES["central"])
    assert found is not None
    assert line.get_xdata()[0] == found.median
    assert "auto" in [text.get_text() for text in axes.texts]
    (error,) = [r.gradients["dW"].norm_relative_error for r in rows if r.point.step == "auto"]
    at_auto = [
        y for gid in ("pass dW",) for mark in lines(axes, gid) for x, y in zip(*mark.get_data(), strict=True)
        if abs(math.log10(x / found.median)) < 0.1
    ]  # fmt: skip
    assert error in at_auto
    curve = next(line for line in axes.get_lines() if line.get_label() == "dW")
    assert len(curve.get_xdata()) == 6  # no line to it


def test_an_automatic_step_far_away_is_pointed_at(plots: Any) -> None:
    (axes,) = drawn(plots, list(bncheck.sweep(N=8, D=5, H=4, scheme="complex", step=[1e-3, 1e-6]))).axes
    assert any(re.fullmatch(r"← auto: \de-\d\d", text.get_text()) for text in axes.texts)
    assert axes.get_xlim()[0] > 1e-8
    (axes,) = drawn(plots, list(bncheck.sweep(N=8, D=5, H=4, step=[1e-12, 1e-11]))).axes
    assert any(text.get_text().endswith("→") for text in axes.texts)


def test_schemes_stand_side_by_side_each_with_its_theory(plots: Any) -> None:
    steps = [10.0**-k for k in range(1, 13)]
    rows = list(bncheck.sweep(N=32, D=10, H=8, scheme=["central", "five-point", "complex"], step=steps))
    panels = drawn(plots, rows).axes
    assert [axes.get_title() for axes in panels] == ["central", "complex", "five-point"]
    assert [len(lines(axes, "u/step")) for axes in panels] == [1, 0, 1]
    assert [len(lines(axes, f"step{power}")) for axes, power in zip(panels, "²²⁴", strict=True)] == [1, 1, 1]
    assert len({axes.get_ylim() for axes in panels}) == 1


def test_shapes_have_their_errors_and_the_seconds_of_a_check(plots: Any) -> None:
    times = {(4, 0): 0.5, (8, 0): 0.25, (4, 1): 1.5, (8, 1): 0.75}
    rows = [row({"dW": made(1e-9)}, N=N, seconds=times[N, 0]) for N in (4, 8)]
    errors, seconds = drawn(plots, rows).axes
    assert (errors.get_xscale(), errors.get_yscale()) == ("linear", "log")  # 4 and 8 are no factor of 10 apart
    (mean,) = [line for line in seconds.get_lines() if line.get_label() == "mean"]
    assert list(zip(*mean.get_data(), strict=True)) == [(4.0, 0.5), (8.0, 0.25)]
    assert seconds.get_ylabel() == "seconds per check"
    assert errors.get_ylabel() == "norm relative error"
    # 65 seeds are not an axis that is drawn; each N then has many checks.
    rows = [row({"dW": made(1e-9)}, N=N, seed=s, seconds=times[N, s % 2]) for N in (4, 8) for s in range(66)]
    errors, seconds = drawn(plots, rows).axes
    (mean,) = [line for line in seconds.get_lines() if line.get_label() == "mean"]
    assert list(mean.get_ydata()) == [1.0, 0.5]
    assert [list(line.get_ydata()) for line in lines(seconds, "bar seconds")] == [[0.5, 1.5], [0.25, 0.75]]
    assert errors.get_ylabel() == "norm relative error (worst case)"


def test_numbers_go_by_their_logarithm_where_they_span_a_factor_of_more_than_10(plots: Any) -> None:
    cases: list[tuple[str, tuple[Any, ...], str, list[str]]] = [
        ("N", (8, 16, 1024), "log", ["8", "16", "1024"]),
        ("bn_eps", (1e-8, 1e-5, 1.0), "log", ["1e-08", "1e-05", "1"]),
        ("x_mean", (-5.0, 0.0, 5.0), "linear", ["-5", "0", "5"]),
        ("x_mean", (0.0, 1.0, 1e4), "linear", ["0", "1", "1e+04"]),  # by name
        ("scheme", ("central", "complex"), "linear", ["central", "complex"]),
        ("step", ("auto", 1e-5), "linear", ["1e-05", "auto"]),
    ]
    for axis, values, scale, ticks in cases:
        figure = drawn(plots, [row({"dW": made(1e-9)}, **{axis: value}) for value in values])
        axes = figure.axes[0]
        assert axes.get_xscale() == scale
        assert [label.get_text() for label in axes.get_xticklabels()] == ticks


def test_one_check_is_drawn_gradient_by_gradient(plots: Any) -> None:
    rows = list(bncheck.sweep(N=8, D=5, H=4))
    (axes,) = drawn(plots, rows).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["dX", "dW", "dgamma", "dbeta", "dh"]
    for place, name in enumerate(("dX", "dW", "dgamma", "dbeta", "dh")):
        (mark,) = lines(axes, f"pass {name}")
        error = rows[0].gradients[name].norm_relative_error
        assert error is not None
        assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (place, max(error, 1e-17))


def test_what_did_not_run_is_named_where_it_stands(plots: Any) -> None:
    rows = [row({"dW": made(1e-9)}, target="a.py"), row({}, target="b.py", verdict=None)]
    (axes,) = drawn(plots, rows).axes
    assert [(text.get_text(), text.get_position()[0]) for text in axes.texts] == [("could not run", 1.0)]
    figure = drawn(plots, [row({}, target="b.py", verdict=None)])
    assert [text.get_text() for text in figure.axes[0].texts] == ["could not run"]
    assert "1 check: 0 pass, 0 fail, 0 inconclusive, 1 could not run" in words(figure)


def test_an_older_file_has_no_bars_in_its_picture(plots: Any) -> None:
    new = [r.rounded for r in bncheck.sweep(N=8, D=5, H=4, step=[1e-3, 1e-5])]
    old = []
    for r in new:
        gradients = {key: replace(g, relative_error_bound=math.nan) for key, g in r.gradients.items()}
        old.append(replace(r, gradients=gradients))
    figure = drawn(plots, old)
    assert "error bound" not in [text.get_text() for text in figure.legends[0].get_texts()]
    assert not any((line.get_gid() or "").startswith(("bar", "cap")) for line in figure.axes[0].get_lines())
    mixed = drawn(plots, [old[0], new[1]])
    assert len(lines(mixed.axes[0], "bar dW")) == 1


def test_a_picture_says_which_problem_it_is_of_and_how_the_checks_ended(plots: Any) -> None:
    figure = drawn(plots, list(bncheck.sweep(N=8, D=5, H=4, step=[1e-3, 1e-14], x_std=2.0)))
    assert words(figure)[3] == "db: exactly 0"
    assert words(figure)[:3] == [
        "reference, central", "N 8   D 5   H 4   eps 1e-05   seed 0   x-std 2",
        "2 checks: 1 pass, 0 fail, 1 inconclusive",
    ]  # fmt: skip


# The map.


def test_a_map_of_two_axes_has_the_cells_of_the_table(plots: Any) -> None:
    pytest.importorskip("matplotlib")
    command = ["wrong.py", "reference", "--N", "1,2,8", "--D", "5", "--H", "4", "--bn-eps", "0"]
    text = invoke("sweep", *command, "--out", "rows.jsonl").stdout
    table = {line.split()[0]: line.split()[1:3] for line in text.splitlines() if re.match(r"  (1|2|8) ", line)}
    figure = drawn(plots, list(rows_of(Path("rows.jsonl"))))
    axes, bar = figure.axes
    cells = {(t.get_position()[1], t.get_position()[0]): t.get_text() for t in axes.texts}
    told = [cell.replace("0.0x", "x") for cell in itertools.chain(*table.values())]  # nothing ran: no digits
    assert told == ["x", "x", "0.0", "0.0!", "10.6", "0.6!"]
    assert [cells[i + 0.5, j + 0.5] for i in range(3) for j in range(2)] == told
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1", "2", "8"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["reference", "wrong.py"]
    assert axes.yaxis_inverted()  # the first is on top, as in the table
    assert bar.get_ylabel() == "correct digits of the worst gradient"
    assert "! FAIL   x could not run" in "\n".join(words(figure))


def test_numbers_are_white_on_the_dark_and_black_on_the_bright_and_shades_rise_in_grey(plots: Any) -> None:
    errors = [10.0**-k for k in (1, 5, 9, 13)]
    rows = [row({"dW": made(e)}, N=N, seed=s) for s, e in enumerate(errors) for N in (2, 8)]
    axes, _ = drawn(plots, rows).axes
    colours = [text.get_color() for text in axes.texts]
    assert colours == ["white"] * 4 + ["black"] * 4
    (mesh,) = axes.collections
    shades = [rgb @ [0.299, 0.587, 0.114] for rgb in mesh.get_cmap()(np.linspace(0, 1, 64))[:, :3]]
    assert (np.diff(shades) > 0).all()


def test_a_combination_that_was_not_checked_has_a_dash(plots: Any) -> None:
    rows = [row({"dW": made(1e-9)}, N=N, D=D) for N, D in ((2, 3), (2, 4), (8, 3))]
    axes, _ = drawn(plots, rows).axes
    assert sorted(text.get_text() for text in axes.texts) == ["-", "9.0", "9.0", "9.0"]
    zeros = [row({"db": made(None)}, N=N, D=D) for N in (2, 8) for D in (3, 4)]
    axes, _ = drawn(plots, zeros).axes
    assert {text.get_text() for text in axes.texts} == {"zero"}


# The whole.


LONG = "a/rather/long/folder/" * 6 + "layers_$x_1$_日本\n.py"


def pictured() -> Iterator[tuple[str, list[Row]]]:
    """Yield rows of every kind of picture."""
    steps = [10.0**-k for k in range(1, 13)]
    yield "steps", list(bncheck.sweep(N=8, D=5, H=4, step=steps))
    yield "schemes", list(bncheck.sweep(N=8, D=5, H=4, step=["auto", *steps[::3]], scheme=list(SCHEMES)))
    names = {f"batchnorm_backward_alt.d{i}": made(10.0**-i, 10.0 ** (1 - i)) for i in range(15)}
    yield "many gradients", [row(names, step=s, target=LONG) for s in steps]
    targets = [f"{LONG}{i}" for i in range(20)]
    yield "many targets", [row({"dW": made(1e-9, 1e-8)}, target=target) for target in targets]
    yield "seeds", [row({"dW": made(1e-9, 1e-8)}, seed=seed) for seed in range(64)]
    yield "shape", list(bncheck.sweep(N=[2, 8, 64], D=5, H=4))
    yield "map", [row({"dW": made(1e-9)}, target=t, seed=s) for t in targets for s in range(30)]
    yield "axes", list(bncheck.sweep(N=[2, 8], D=[3, 4], H=[2, 3], bn_eps=[1e-5, 1.0]))
    yield "one", [row({}, target=LONG, verdict=None)]


@pytest.mark.filterwarnings("ignore:Glyph .* missing from")  # told to a user by nobody
@pytest.mark.parametrize("rows", [pytest.param(rows, id=kind) for kind, rows in pictured()])
def test_nothing_is_cut_off_and_nothing_covers_anything_else(plots: Any, rows: list[Row]) -> None:
    figure = drawn_as_saved(plots, rows)
    panels = [axes.get_tightbbox() for axes in figure.axes]
    legends = [legend.get_window_extent() for legend in figure.legends]
    texts = [text.get_window_extent() for text in figure.texts]
    for box in (*panels, *legends, *texts):
        assert box.x0 >= figure.bbox.x0 - 1
        assert box.x1 <= figure.bbox.x1 + 1
        assert box.y0 >= figure.bbox.y0 - 1
        assert box.y1 <= figure.bbox.y1 + 1
    for one, other in itertools.combinations((*panels, *legends, *texts), 2):
        # Neighbours touch where the next line begins.
        assert min(one.x1, other.x1) - max(one.x0, other.x0) < 3 or min(one.y1, other.y1) - max(one.y0, other.y0) < 3
    for axes in (axes for axes in figure.axes if axes.get_label() != "<colorbar>"):
        inside = axes.get_window_extent()
        assert inside.width > 2 * figure.dpi
        assert inside.height > 1.2 * figure.dpi


def drawn_as_saved(plots: Any, rows: list[Row]) -> Any:
    mpl = pytest.importorskip("matplotlib")
    with mpl.rc_context():
        mpl.rcParams.update(plots.SETTINGS)
        figure = plots.draw_figure(SweepReport(SweepSummary(rows)))
        figure.savefig(io.BytesIO(), format="png", dpi=figure.dpi)
    return figure


@pytest.mark.parametrize("kind", MAGIC)
def test_the_same_rows_are_the_same_file_in_any_order(plots: Any, kind: str) -> None:
    axes: list[dict[str, Any]] = [
        {"step": [1e-3, 1e-5, "auto"], "scheme": ["central", "complex"], "target": ["reference", "staged"]},
        {"N": [2, 8], "bn_eps": [1e-5, 1.0]}, {"N": [2, 8, 16]},
    ]  # fmt: skip
    for some in axes:
        rows = list(bncheck.sweep(D=3, H=2, **some))
        files = set()
        for seed in range(3):
            random.Random(seed).shuffle(rows)
            files.add(plots.picture(SweepReport(SweepSummary(rows), "a command", {}, float(seed)), kind))
        (content,) = files
        assert content.startswith(MAGIC[kind])


def test_nobody_s_settings_change_a_picture_and_a_picture_changes_none(plots: Any) -> None:
    mpl = pytest.importorskip("matplotlib")
    report = SweepReport(SweepSummary(bncheck.sweep(N=8, D=5, H=4, step=[1e-3, 1e-5])))
    before = plots.picture(report, "svg")
    with mpl.rc_context():
        mpl.rcParams.update({"font.size": 20, "text.usetex": True, "axes.grid": False})
        kept = dict(mpl.rcParams)
        assert plots.picture(report, "svg") == before
        assert dict(mpl.rcParams) == kept


def test_a_name_with_signs_of_formulas_and_of_no_font_is_drawn_without_a_warning(plots: Any) -> None:
    rows = [row({"dW": made(1e-9)}, target=target) for target in (LONG, "$\\frac{", "\x1b[31m\udc80")]
    for kind, magic in MAGIC.items():
        assert plots.picture(SweepReport(SweepSummary(rows)), kind).startswith(magic)


# --plot.


def test_every_ending_is_a_kind_of_picture() -> None:
    pytest.importorskip("matplotlib")
    result = invoke("sweep", *OPTIONS, *STEPS, "--plot", "v.png", "--plot", "v.svg", "--plot", "V.PDF")
    assert result.exit_code == 0, result.output
    for name in ("v.png", "v.svg", "V.PDF"):
        assert Path(name).read_bytes().startswith(MAGIC[name[2:].lower()])


def test_report_over_three_files_of_a_sweep_draws_what_the_whole_and_the_sweep_draw() -> None:
    pytest.importorskip("matplotlib")
    command = ("sweep", *OPTIONS, *STEPS, "--scheme", "central,complex", "--out", "whole", "--plot", "sweep.svg")
    assert invoke(*command).exit_code == 0
    content = Path("whole").read_bytes().splitlines(keepends=True)
    random.Random(3).shuffle(content)
    for number in range(3):
        Path(str(number)).write_bytes(b"".join(content[5 * number : 5 * number + 6]))  # one row is in two files
    for name, files in (("one", ["whole"]), ("three", ["2", "0", "1"])):
        invoke("report", *files, "--plot", f"{name}.svg", "--plot", f"{name}.png", "--plot", f"{name}.pdf")
    for kind in MAGIC:
        assert Path(f"one.{kind}").read_bytes() == Path(f"three.{kind}").read_bytes()
    assert Path("one.svg").read_bytes() == Path("sweep.svg").read_bytes()


@pytest.mark.parametrize("command", [("sweep", *OPTIONS), ("report", "rows.jsonl")])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("v.jpg", "Invalid value for '--plot': cannot tell a format from 'v.jpg'; use .png, .svg or .pdf"),
        ("v", "cannot tell a format from 'v'"),
        ("/nowhere/v.png", "cannot write /nowhere/v.png: No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_drawn_to_is_told_before_the_work(
    command: tuple[str, ...], name: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    invoke("sweep", *OPTIONS, "--out", "rows.jsonl")
    monkeypatch.setattr("bncheck.cli.sweep_run.run_grid", None)
    monkeypatch.setattr("bncheck.sweeps.sweep_file.rows_of", None)
    result = invoke(*command, "--plot", name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: ")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


class Broken:
    """Finds matplotlib, which then cannot be imported."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        del path, target
        if name.partition(".")[0] == "matplotlib":
            raise self.error


@pytest.mark.parametrize("command", [("sweep", *OPTIONS), ("report", "rows.jsonl")])
@pytest.mark.parametrize("error", [ModuleNotFoundError("no"), AttributeError("_ARRAY_API not found"), None])
def test_without_a_matplotlib_that_works_one_sentence_says_what_to_install(
    command: tuple[str, ...], error: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke("sweep", *OPTIONS, "--out", "rows.jsonl")
    ours = {"bncheck.render.plots.figure", "bncheck.render.plots.curves"}
    for name in [name for name in sys.modules if name in ours or name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    if error is None:
        monkeypatch.setitem(sys.modules, "matplotlib", None)
    else:
        monkeypatch.setattr(sys, "meta_path", [Broken(error), *sys.meta_path])
    monkeypatch.setattr("bncheck.cli.sweep_run.run_grid", None)
    result = invoke(*command, "--plot", "v.png")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "Error: --plot requires matplotlib; install it with: pip install 'bncheck[plot]'\n"
    assert not Path("v.png").exists()
    for name in [name for name in sys.modules if name in ours]:  # half imported
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize(
    ("more", "loaded"), [((), []), (("--plot", "v.png", "--plot", "v.pdf", "--plot", "v.svg"), ["matplotlib"])]
)
def test_matplotlib_is_imported_for_a_picture_only_and_never_what_opens_windows(
    more: tuple[str, ...], loaded: list[str]
) -> None:
    if more:
        pytest.importorskip("matplotlib")
    script = (
        "import sys; from bncheck.cli.main import main; main(sys.argv[1:], standalone_mode=False); "
        "print([m for m in ('matplotlib', 'matplotlib.pyplot') if m in sys.modules])"
    )
    command = [sys.executable, "-c", script, "sweep", *OPTIONS, *more]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == str(loaded)
    assert done.stderr == ""


def test_a_picture_is_not_drawn_over_rows_nor_over_a_report() -> None:
    pytest.importorskip("matplotlib")
    invoke("sweep", *OPTIONS, "--out", "rows.svg")
    before = Path("rows.svg").read_bytes()
    for command in (("sweep", *OPTIONS, "--out", "rows.svg", "--resume"), ("report", "rows.svg")):
        result = invoke(*command, "--plot", "./rows.svg")
        assert result.exit_code == 2
        assert result.stderr == ("Error: --plot ./rows.svg would overwrite the rows in rows.svg; choose another file\n")
    result = invoke("sweep", *OPTIONS, "--save", "v.svg", "--plot", "./v.svg")
    assert result.stderr == "Error: --plot ./v.svg would overwrite --save v.svg; choose another file\n"
    assert Path("rows.svg").read_bytes() == before
    assert not Path("v.svg").exists()


def test_an_older_picture_is_kept_until_there_is_another() -> None:
    pytest.importorskip("matplotlib")
    Path("empty").touch()
    Path("old.png").write_bytes(b"older")
    result = invoke("report", "empty", "--plot", "old.png", "--plot", "new.png")
    assert result.exit_code == 2
    assert Path("old.png").read_bytes() == b"older"
    assert not Path("new.png").exists()
    invoke("sweep", *OPTIONS, "--out", "rows.jsonl", "--plot", "old.png")
    assert Path("old.png").read_bytes().startswith(MAGIC["png"])


def test_an_interrupted_sweep_is_drawn_as_far_as_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    whole = bncheck.sweeps.runner.run_grid

    def interrupted(*arguments: Any, **options: Any) -> Iterator[Row]:
        yield from itertools.islice(whole(*arguments, **options), 4)
        raise KeyboardInterrupt

    monkeypatch.setattr("bncheck.cli.sweep_run.run_grid", interrupted)
    result = invoke("sweep", *OPTIONS, *STEPS, "--out", "rows.jsonl", "--plot", "v.svg")
    assert result.exit_code == 130
    assert "Interrupted after 4 of 8 checks" in result.stderr
    invoke("report", "rows.jsonl", "--plot", "again.svg")
    assert Path("v.svg").read_bytes() == Path("again.svg").read_bytes()
    assert len(json.loads(Path("rows.jsonl").read_text(encoding="utf-8").splitlines()[0])["gradients"]) == 6


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a Linux device")
def test_a_picture_that_cannot_be_written_spoils_no_other() -> None:
    pytest.importorskip("matplotlib")
    Path("full.png").symlink_to("/dev/full")
    result = invoke("sweep", *OPTIONS, "--plot", "full.png", "--plot", "v.png", "--save", "report.txt")
    assert result.exit_code == 2
    assert result.stderr == "Error: cannot write full.png: No space left on device\n"
    assert Path("v.png").read_bytes().startswith(MAGIC["png"])
    assert "PASS" in Path("report.txt").read_text(encoding="utf-8") or Path("report.txt").stat().st_size
