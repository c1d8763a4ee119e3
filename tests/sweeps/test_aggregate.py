"""The aggregation of a sweep: the same in any order of the rows."""

import itertools
import math
import random
from collections.abc import Mapping
from typing import Any

import pytest

import bncheck
from bncheck import Verdict
from bncheck.sweeps.aggregate import MAX_LISTED_VALUES, Aggregate, SweepSummary
from bncheck.sweeps.grid import SweepPoint
from bncheck.sweeps.rows import GradientSummary, Row


def make_row(verdict: Verdict | None, gradients: Mapping[str, Verdict], **settings: Any) -> Row:
    summaries = {key: GradientSummary(own, 1e-9, 0.1, 1e-9, 1e-8) for key, own in gradients.items()}
    return Row(SweepPoint(**settings), verdict, summaries, 1, 0, 0, 0.1, "", "")


def test_a_summary_does_not_depend_on_the_order_of_the_rows() -> None:
    rows = list(bncheck.sweep(N=[2, 8], D=3, H=2, seed=range(3)))
    forwards, backwards = SweepSummary(rows), SweepSummary(reversed(rows))
    assert forwards.total == backwards.total
    assert forwards.cells["N"] == backwards.cells["N"]


# Axes, and the pairs of them that are aggregated together.
PAIRS: list[tuple[dict[str, Any], set[tuple[str, str]]]] = [
    ({"N": [8], "seed": [0, 1]}, set()),
    ({"N": [2, 8], "bn_eps": [1e-5, 0.5]}, {("N", "bn_eps")}),
    ({"N": [2, 8], "scheme": ["central", "complex"], "step": ["auto", 1e-3]}, {("scheme", "step")}),
    (
        {"target": ["reference", "staged"], "scheme": ["central", "complex"], "step": ["auto", 1e-3]},
        {("target", "step"), ("scheme", "step")},
    ),
]


@pytest.mark.parametrize(("axes", "pairs"), PAIRS)
def test_the_table_of_an_axis_pair_contains_all_rows_in_any_order(
    axes: dict[str, Any], pairs: set[tuple[str, str]]
) -> None:
    rows = list(bncheck.sweep(D=3, H=2, **axes))
    for seed in range(5):
        random.Random(seed).shuffle(rows)
        summary = SweepSummary(rows)
        for first, second in itertools.permutations(axes, 2):
            expected: dict[tuple[object, object], Aggregate] = {}
            for row in rows if {(first, second), (second, first)} & pairs else ():
                values = getattr(row.point, first), getattr(row.point, second)
                expected.setdefault(values, Aggregate()).add(row)
            assert summary.pair(first, second) == expected


def test_an_axis_with_too_many_values_has_no_pair_table() -> None:
    summary = SweepSummary()
    for count, (seed, H) in enumerate(itertools.product(range(MAX_LISTED_VALUES + 1), (2, 3)), 1):
        summary.add(make_row(Verdict.PASS, {}, seed=seed, H=H))
        assert len(summary.pair("H", "seed")) == (count if 3 <= count <= 2 * MAX_LISTED_VALUES else 0)
    rows = (make_row(Verdict.PASS, {}, seed=s, H=H) for H in (2, 3) for s in range(MAX_LISTED_VALUES + 1))
    assert not SweepSummary(rows).pair("H", "seed")


def test_times_and_worst_errors_do_not_depend_on_the_order_of_the_rows() -> None:
    odd = [
        GradientSummary(verdict, error, 0.1, 1e-9, bound)
        for verdict, error, bound in (
            (Verdict.PASS, 1e-9, 1e-8),
            (Verdict.FAIL, math.inf, math.inf),
            (Verdict.INCONCLUSIVE, math.nan, 1e-7),
        )
    ]
    rows = [Row(SweepPoint(seed=i), Verdict.FAIL, {"dW": g}, 1, 0, 0, 0.1 + 0.2 * i, "", "") for i, g in enumerate(odd)]
    for permuted in itertools.permutations(rows):
        cell = SweepSummary(permuted).total
        assert math.isnan(cell.gradients["dW"].error or 0.0)
        assert (cell.digits["dW"], cell.verdict_of("dW")) == (0.0, Verdict.FAIL)
        assert cell.gradients["dW"].relative_error_bound == math.inf
        assert (cell.times.count, cell.times.total_ns) == (3, 900_000_000)
        assert (cell.times.shortest_ns, cell.times.longest_ns) == (100_000_000, 500_000_000)


def test_the_verdict_of_a_gradient_is_its_worst_in_all_rows() -> None:
    summary = SweepSummary(
        [
            make_row(Verdict.PASS, {"dX": Verdict.PASS, "dW": Verdict.PASS, "db": Verdict.PASS}, seed=0),
            make_row(Verdict.INCONCLUSIVE, {"dX": Verdict.PASS, "dW": Verdict.INCONCLUSIVE}, seed=1),
            make_row(Verdict.FAIL, {"dX": Verdict.FAIL, "dW": Verdict.PASS}, seed=2),
        ]
    )
    assert [summary.total.verdict_of(key) for key in ("dX", "dW", "db")] == [
        Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS,
    ]  # fmt: skip


def test_an_inconclusive_check_without_an_inconclusive_gradient_concerns_all_gradients() -> None:
    total = SweepSummary([make_row(Verdict.INCONCLUSIVE, {"dX": Verdict.PASS, "dW": Verdict.PASS})]).total
    assert [total.verdict_of(key) for key in ("dX", "dW")] == [Verdict.INCONCLUSIVE] * 2


@pytest.mark.parametrize(
    ("verdicts", "worst", "passed"),
    [
        ([Verdict.PASS, Verdict.PASS], Verdict.PASS, True),
        ([Verdict.PASS, Verdict.INCONCLUSIVE], Verdict.INCONCLUSIVE, True),  # another step passes
        ([Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE], Verdict.INCONCLUSIVE, False),
        ([Verdict.PASS, None], None, False),
        ([Verdict.FAIL, None], Verdict.FAIL, False),
    ],
)
def test_a_sweep_passes_if_no_check_fails_and_every_problem_passes_with_some_step(
    verdicts: list[Verdict | None], worst: Verdict | None, passed: bool
) -> None:
    summary = SweepSummary(make_row(verdict, {}, step=10.0**-i) for i, verdict in enumerate(verdicts))
    assert (summary.total.verdict, summary.passed) == (worst, passed)
