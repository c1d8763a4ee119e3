"""The axes that vary in a sweep determine its panels."""

import itertools
from typing import Any

import pytest

from bncheck.numerical.schemes import SCHEMES
from bncheck.render.plots.panels import build_heatmap, names_of, notes_of, panels_of
from bncheck.sweeps.aggregate import SweepSummary
from tests.render.plots.plotting import gradient_summary, make_row


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
def test_the_plots_follow_from_the_axes_that_vary(axes: dict[str, Any], expected: list[str] | str) -> None:
    points = itertools.product(*axes.values())
    tally = SweepSummary(
        make_row({"dW": gradient_summary(1e-9)}, **dict(zip(axes, point, strict=True))) for point in points
    )
    heat = build_heatmap(tally)
    if heat is not None:
        assert f"{heat.down}, {heat.across}" == expected
        return
    titles = [f"{p.axis} {p.title}{'seconds' if p.seconds else ''}".strip() for p in panels_of(tally)]
    assert titles == expected


def test_axes_that_are_not_plotted_are_listed() -> None:
    axes: dict[str, list[Any]] = {
        "step": [1e-3, 1e-5], "scheme": list(SCHEMES), "N": [2, 8], "D": [2, 3], "bn_eps": [1e-5, 1.0],
    }  # fmt: skip
    points = itertools.product(*axes.values())
    tally = SweepSummary(
        make_row({"dW": gradient_summary(1e-9)}, **dict(zip(axes, point, strict=True))) for point in points
    )
    assert [p.axis for p in panels_of(tally)] == ["step"] * 5 + ["N"]
    assert list(notes_of(tally)) == ["not plotted: D, eps"]
    many_seeds = SweepSummary(
        make_row({"db": gradient_summary(None), "dW": gradient_summary(1e-18)}, seed=seed) for seed in range(65)
    )
    assert list(notes_of(many_seeds)) == [
        "db: exactly 0", "seed: more than 64 values, not plotted", "errors below 1e-17 are drawn at 1e-17",
    ]  # fmt: skip


def test_the_order_of_the_gradients_does_not_depend_on_the_order_of_the_rows() -> None:
    keys = ["dX", "dW", "dgamma", "affine_backward.dx", "batchnorm_backward.dx"]
    for names in itertools.islice(itertools.permutations(keys), 0, 120, 7):
        assert (
            names_of(
                SweepSummary(
                    [make_row({key: gradient_summary(1e-9) for key in (*names, "db")} | {"db": gradient_summary(None)})]
                )
            )
            == keys
        )
