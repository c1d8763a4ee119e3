"""A heatmap shows the correct digits over two axes."""

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bncheck.sweeps.sweep_file import rows_of
from tests.render.plots.plotting import draw, gradient_summary, invoke, make_row, title_and_note_lines


@pytest.mark.process
def test_a_heatmap_of_two_axes_has_the_cells_of_the_table(plots: Any) -> None:
    pytest.importorskip("matplotlib")
    command = ["wrong.py", "reference", "--N", "1,2,8", "--D", "5", "--H", "4", "--bn-eps", "0"]
    text = invoke("sweep", *command, "--out", "rows.jsonl").stdout
    table = {line.split()[0]: line.split()[1:3] for line in text.splitlines() if re.match(r"  (1|2|8) ", line)}
    figure = draw(plots, list(rows_of(Path("rows.jsonl"))))
    axes, bar = figure.axes
    cells = {(t.get_position()[1], t.get_position()[0]): t.get_text() for t in axes.texts}
    titles = [cell.replace("0.0x", "x") for cell in itertools.chain(*table.values())]  # nothing ran: no digits
    assert titles == ["x", "x", "0.0", "0.0!", "10.6", "0.6!"]
    assert [cells[i + 0.5, j + 0.5] for i in range(3) for j in range(2)] == titles
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1", "2", "8"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["reference", "wrong.py"]
    assert axes.yaxis_inverted()  # the first is on top, as in the table
    assert bar.get_ylabel() == "correct digits of the worst gradient"
    assert "! FAIL   x could not run" in "\n".join(title_and_note_lines(figure))


def test_numbers_are_white_on_dark_cells_and_black_on_bright_cells(plots: Any) -> None:
    errors = [10.0**-k for k in (1, 5, 9, 13)]
    rows = [make_row({"dW": gradient_summary(e)}, N=N, seed=s) for s, e in enumerate(errors) for N in (2, 8)]
    axes, _ = draw(plots, rows).axes
    colours = [text.get_color() for text in axes.texts]
    assert colours == ["white"] * 4 + ["black"] * 4
    (mesh,) = axes.collections
    shades = [rgb @ [0.299, 0.587, 0.114] for rgb in mesh.get_cmap()(np.linspace(0, 1, 64))[:, :3]]
    assert (np.diff(shades) > 0).all()


def test_a_combination_that_was_not_checked_has_a_dash(plots: Any) -> None:
    rows = [make_row({"dW": gradient_summary(1e-9)}, N=N, D=D) for N, D in ((2, 3), (2, 4), (8, 3))]
    axes, _ = draw(plots, rows).axes
    assert sorted(text.get_text() for text in axes.texts) == ["-", "9.0", "9.0", "9.0"]
    zeros = [make_row({"db": gradient_summary(None)}, N=N, D=D) for N in (2, 8) for D in (3, 4)]
    axes, _ = draw(plots, zeros).axes
    assert {text.get_text() for text in axes.texts} == {"zero"}
