"""A figure has a title, a layout without overlaps, and the same bytes for the same rows."""

import io
import itertools
import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest

import bncheck
from bncheck.numerical.schemes import SCHEMES
from bncheck.render.sweep_report import SweepReport
from bncheck.sweeps.aggregate import SweepSummary
from bncheck.sweeps.rows import Row
from tests.render.plots.plotting import (
    FILE_SIGNATURES,
    LONG_TARGET,
    draw,
    gradient_summary,
    make_row,
    title_and_note_lines,
)


def test_the_title_shows_the_problem_and_the_number_of_checks_with_each_verdict(plots: Any) -> None:
    figure = draw(plots, list(bncheck.sweep(N=8, D=5, H=4, step=[1e-3, 1e-14], x_std=2.0)))
    assert title_and_note_lines(figure)[3] == "db: exactly 0"
    assert title_and_note_lines(figure)[:3] == [
        "reference, central", "N 8   D 5   H 4   eps 1e-05   seed 0   x-std 2",
        "2 checks: 1 pass, 0 fail, 1 inconclusive",
    ]  # fmt: skip


STEPS = [10.0**-k for k in range(1, 13)]
FIFTEEN_GRADIENTS = {
    f"batchnorm_backward_alt.d{i}": gradient_summary(10.0**-i, 10.0 ** (1 - i)) for i in range(15)
}  # fmt: skip
TARGETS = [f"{LONG_TARGET}{i}" for i in range(20)]
# Functions that return the rows of every kind of figure, so that no sweep runs while the tests are collected.
ROWS: dict[str, Callable[[], Iterable[Row]]] = {
    "steps": lambda: bncheck.sweep(N=8, D=5, H=4, step=STEPS),
    "schemes": lambda: bncheck.sweep(N=8, D=5, H=4, step=["auto", *STEPS[::3]], scheme=list(SCHEMES)),
    "many gradients": lambda: (make_row(FIFTEEN_GRADIENTS, step=s, target=LONG_TARGET) for s in STEPS),
    "many targets": lambda: (make_row({"dW": gradient_summary(1e-9, 1e-8)}, target=target) for target in TARGETS),
    "seeds": lambda: (make_row({"dW": gradient_summary(1e-9, 1e-8)}, seed=seed) for seed in range(64)),
    "shape": lambda: bncheck.sweep(N=[2, 8, 64], D=5, H=4),
    "map": lambda: (make_row({"dW": gradient_summary(1e-9)}, target=t, seed=s) for t in TARGETS for s in range(30)),
    "axes": lambda: bncheck.sweep(N=[2, 8], D=[3, 4], H=[2, 3], bn_eps=[1e-5, 1.0]),
    "one": lambda: [make_row({}, target=LONG_TARGET, verdict=None)],
}


def draw_as_saved(plots: Any, rows: list[Row]) -> Any:
    mpl = pytest.importorskip("matplotlib")
    with mpl.rc_context():
        mpl.rcParams.update(plots.SETTINGS)
        figure = plots.draw_figure(SweepReport(SweepSummary(rows)))
        figure.savefig(io.BytesIO(), format="png", dpi=figure.dpi)
    return figure


@pytest.mark.filterwarnings("ignore:Glyph .* missing from")  # the fonts of the test machine may lack a character
@pytest.mark.parametrize("kind", ROWS)
def test_no_element_of_a_figure_is_cut_off_or_covers_another(plots: Any, kind: str) -> None:
    figure = draw_as_saved(plots, list(ROWS[kind]()))
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


@pytest.mark.parametrize("kind", FILE_SIGNATURES)
def test_the_file_does_not_depend_on_the_order_of_the_rows(plots: Any, kind: str) -> None:
    axes: list[dict[str, Any]] = [
        {"step": [1e-3, 1e-5, "auto"], "scheme": ["central", "complex"], "target": ["reference", "staged"]},
        {"N": [2, 8], "bn_eps": [1e-5, 1.0]}, {"N": [2, 8, 16]},
    ]  # fmt: skip
    for grid in axes:
        rows = list(bncheck.sweep(D=3, H=2, **grid))
        files = set()
        for seed in range(3):
            random.Random(seed).shuffle(rows)
            files.add(plots.picture(SweepReport(SweepSummary(rows), "a command", {}, float(seed)), kind))
        (content,) = files
        assert content.startswith(FILE_SIGNATURES[kind])


def test_a_plot_neither_uses_nor_changes_the_settings_of_matplotlib(plots: Any) -> None:
    mpl = pytest.importorskip("matplotlib")
    report = SweepReport(SweepSummary(bncheck.sweep(N=8, D=5, H=4, step=[1e-3, 1e-5])))
    before = plots.picture(report, "svg")
    with mpl.rc_context():
        mpl.rcParams.update({"font.size": 20, "text.usetex": True, "axes.grid": False})
        settings = dict(mpl.rcParams)
        assert plots.picture(report, "svg") == before
        assert dict(mpl.rcParams) == settings


def test_a_name_with_formula_or_missing_characters_is_drawn_without_a_warning(plots: Any) -> None:
    rows = [
        make_row({"dW": gradient_summary(1e-9)}, target=target)
        for target in (LONG_TARGET, "$\\frac{", "\x1b[31m\udc80")
    ]
    for kind, magic in FILE_SIGNATURES.items():
        assert plots.picture(SweepReport(SweepSummary(rows)), kind).startswith(magic)
