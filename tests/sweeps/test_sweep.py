"""Sweeps: the rows, the file that keeps them, the tables, and what ends a sweep early."""

import importlib
import io
import itertools
import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

import bncheck
from bncheck import InvalidInput, Verdict, check, random_problem
from bncheck.cli.main import main
from bncheck.cli.parameters import SIZE, STEP, Values
from bncheck.execution.pool import ProcessPool, block_sigint_in_children, create_process_pool
from bncheck.model.components import NETWORK
from bncheck.model.options import CheckOptions
from bncheck.numerical.measure import plan_measurement
from bncheck.render.sweep_report import SweepReport
from bncheck.sweeps.aggregate import Aggregate, SweepSummary
from bncheck.sweeps.convergence import _order, observed_orders
from bncheck.sweeps.sweep import GradientSummary, Grid, Row, SweepPoint, run_grid
from bncheck.sweeps.sweep_file import SweepFile, rows_of
from tests.oracles import exact_gradients, loop_piece
from tests.samples import COMPOSITE, DX, LAYERS, changed

SMALL = {"N": (8,), "D": (5,), "H": (4,)}
OPTIONS = ("--N", "8", "--D", "5", "--H", "4")


def grid(**axes: object) -> Grid:
    return Grid({**SMALL, **axes}, CheckOptions())  # type: ignore[dict-item]  # tuples of values


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), prog_name="bncheck")


def timeless(rows: Iterator[Row] | list[Row]) -> set[str]:
    return {re.sub(r'"seconds": [^,]+', "", row.line("")) for row in rows}


@pytest.mark.parametrize(
    ("words", "values"),
    [("8,64,256", (8, 64, 256)), ("0..9", tuple(range(10))), ("9..7", (9, 8, 7)), ("1..3,10", (1, 2, 3, 10))],
)
def test_whole_numbers_go_as_lists_and_ranges(words: str, values: tuple[int, ...]) -> None:
    assert Values(SIZE, True).convert(words, None, None) == values


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("1e-1..1e-4", (0.1, 0.01, 0.001, 0.0001)),
        ("1e-4..1e-2", (1e-4, 1e-3, 1e-2)),
        ("1..0.1/3", (1.0, 0.4642, 0.2154, 0.1)),
        ("auto,1e-5", ("auto", 1e-5)),
        ("5e-3..1e-5", (5e-3, 5e-4, 5e-5)),
    ],
)
def test_real_numbers_go_by_decades(words: str, values: tuple[object, ...]) -> None:
    assert Values(STEP, False).convert(words, None, None) == values


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--N", "1..x"], "'x' is not a whole number, 1 or larger"),
        (["--N", "8..64/2"], "'8..64/2' is no range; whole numbers go as 0..9"),
        (["--N", "0"], "N is 0"),
        (["--step", "0..1e-3"], "'0..1e-3' is no range; it takes two numbers above 0"),
        (["--step", "auto..1e-3"], "is no range"),
        (["--step", "1e-1..1e-3/0"], "asks for 0 values a decade"),
        (["--step", "0"], "step is 0.0"),
        (["--x-mean", "-1..1"], "is no range; it takes two numbers above 0, as 1e-1..1e-12; list others: 0,1.5"),
        (["--seed", ""], "the axis seed has no values"),
        (["--seed", "0..99999999"], "0..99999999 is 100,000,000 values; take at most 1,000,000"),
        (["--scheme", "central,midpoint"], "'midpoint' is not one of 'forward', 'central'"),
        (["--gamma", "1,2"], "No such option"),
        (["--resume"], "--resume needs --out"),
        (["--jobs", "0"], "--jobs is 0"),
        (["--out", "/nowhere/rows.jsonl"], "cannot write /nowhere/rows.jsonl: No such file or directory"),
        (["nothing.py"], "no such file: 'nothing.py'"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(arguments: list[str], said: str) -> None:
    result = invoke("sweep", *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert said in result.stderr


def test_an_unknown_axis_is_refused_in_python_too() -> None:
    with pytest.raises(InvalidInput, match="no axis 'gamma'; there are target, N, D, H"):
        next(bncheck.sweep(gamma=[1]))


def test_a_row_is_what_run_gives_with_the_same_options() -> None:
    for row in bncheck.sweep(N=[2, 8], D=5, H=4, scheme=["forward", "complex"], step=["auto", 1e-4], seed=3):
        p = row.point
        result = check(random_problem(p.N, p.D, p.H, seed=p.seed), scheme=p.scheme, step=p.step)
        assert row.verdict is result.verdict
        assert row.gradients["dW"].norm_relative_error == result.gradients["dW"].norm_relative_error
        assert row.reproduce == result.reproduce


def test_a_line_gives_the_row_back_and_is_self_contained() -> None:
    (row,) = bncheck.sweep(N=8, D=5, H=4, step=1e-14, bn_eps=0.5)
    line = row.line("abc")
    content = json.loads(line)
    assert (content["schema"], content["sweep"], content["verdict"]) == ("bncheck-sweep/1", "abc", "inconclusive")
    back = Row.from_dict(content)
    assert back.point == row.point
    assert back.line("abc") == line
    assert back.gradients["db"].norm_relative_error is None
    assert abs(back.gradients["dW"].digits - row.gradients["dW"].digits) < 0.01


def test_numbers_that_json_cannot_hold_survive_a_line() -> None:
    row = Row(
        SweepPoint(),
        Verdict.FAIL,
        {"dX": GradientSummary(float("nan"), float("inf"), 1e-9, 2e-9)},
        6,
        6,
        0,
        0.1,
        "",
        "",
    )
    back = Row.from_dict(json.loads(row.line("")))
    assert back.gradients["dX"].digits == 0.0
    assert back.gradients["dX"].tolerance_ratio == float("inf")


def test_a_row_of_an_older_file_has_no_bars() -> None:
    (row,) = bncheck.sweep(N=8, D=5, H=4)
    content = json.loads(row.line(""))
    content["gradients"] = {key: numbers[:3] for key, numbers in content["gradients"].items()}
    back = Row.from_dict(content)
    assert back.gradients["dW"].tolerance_ratio == pytest.approx(row.gradients["dW"].tolerance_ratio, rel=1e-3)
    assert math.isnan(back.gradients["dW"].relative_error_bound)


def test_the_bar_of_a_row_is_what_the_error_bars_allow_of_the_relative_error() -> None:
    (row,) = bncheck.sweep(N=8, D=5, H=4, step=1e-3)
    result = check(random_problem(8, 5, 4), step=1e-3)
    for name, g in result.gradients.items():
        if g.exact_zero:
            continue
        bar = sum(e * e for e in g.error_bound.flat) ** 0.5 / sum(n * n for n in g.numerical.flat) ** 0.5
        assert row.gradients[name].relative_error_bound == pytest.approx(bar)
        assert g.norm_relative_error <= bar


def test_the_largest_row_is_under_1650_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A course file with everything in it, under a long name (the same on every machine), failing."""
    monkeypatch.chdir(tmp_path)
    path = (
        Path("home/somebody/courses/deep_learning/assignment_two/solution/of_the_term")
        / "a_rather_long_name_of_a_file_of_layers.py"
    )
    path.parent.mkdir(parents=True)
    alternative = LAYERS[LAYERS.index("def batchnorm_backward") : LAYERS.index("def relu_f")]
    source = changed(LAYERS, DX, "dx = dxhat / std") + alternative.replace("backward", "backward_alt") + COMPOSITE
    path.write_text(source, encoding="utf-8")
    (row,) = bncheck.sweep(target=str(path), N=1024, D=9, H=7, step=0.0001234, bn_eps=1.234e-5, x_mean=12.345)
    assert row.verdict is Verdict.FAIL
    assert len(row.gradients) == 15
    assert len(row.line("0" * 12)) <= 1650


def test_a_check_that_fails_to_run_is_a_row_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text("import nothing_there\n", encoding="utf-8")
    rows = list(bncheck.sweep(target=["reference", str(path)], N=8, D=5, H=4))
    assert [row.verdict for row in rows] == [Verdict.PASS, None]
    assert "imports 'nothing_there'" in rows[1].message
    result = invoke("sweep", "reference", str(path), *OPTIONS)
    assert result.exit_code == 1
    assert "not run" in result.stdout
    assert "2: 1 pass, 0 fail, 0 inconclusive, 1 not run" in result.stdout


def test_in_python_a_target_may_be_a_path_and_no_object(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(LAYERS, encoding="utf-8")
    assert [row.verdict for row in bncheck.sweep(target=[path, "reference"], N=4, D=3, H=2)] == [Verdict.PASS] * 2
    with pytest.raises(InvalidInput, match="a sweep takes the names of files and modules"):
        bncheck.sweep(target=[math])


def test_a_problem_that_cannot_be_drawn_is_a_row_that_says_so() -> None:
    rows = list(bncheck.sweep(N=[1, 2], D=3, H=2, bn_eps=[0.0, 1e-5]))
    assert [row.verdict is None for row in rows] == [True, False, False, False]
    assert "the variance is 0" in rows[0].message


def test_rows_are_the_same_whatever_the_number_and_order_of_arrival() -> None:
    sweep = grid(seed=tuple(range(12)), step=("auto", 1e-5))
    alone = timeless(run_grid(sweep))
    assert len(alone) == 24
    assert timeless(run_grid(sweep, ProcessPool(2))) == alone
    assert timeless(run_grid(sweep, ProcessPool(3, ThreadPoolExecutor))) == alone


def test_the_tables_are_the_same_whatever_the_order_of_arrival() -> None:
    rows = list(bncheck.sweep(N=[2, 8, 32], bn_eps=[1e-8, 1e-5, 0.5], D=3, H=2, step=["auto", 1e-3, 1e-14]))
    shown = []
    for seed in range(3):
        random.Random(seed).shuffle(rows)
        with (console := Console(width=80, file=io.StringIO())).capture() as captured:
            console.print(SweepReport(SweepSummary(rows)))
        shown.append(captured.get())
    assert shown[0] == shown[1] == shown[2]
    assert re.findall(r"^  (1e-\d\d|0\.5) ", shown[0], re.MULTILINE)[:3] == ["1e-08", "1e-05", "0.5"]


def test_a_bounded_number_is_in_flight() -> None:
    submitted = 0

    class Counting(ThreadPoolExecutor):
        def submit(self, *arguments: object, **named: object):  # type: ignore[no-untyped-def]  # passed on
            nonlocal submitted
            submitted += 1
            return super().submit(*arguments, **named)  # type: ignore[arg-type]  # passed on

    rows = run_grid(grid(seed=tuple(range(1000))), ProcessPool(2, Counting))
    assert len(list(itertools.islice(rows, 5))) == 5
    assert submitted <= 8 + 5


def test_a_worker_that_is_killed_loses_nothing_and_repeats_nothing() -> None:
    pools: list[ProcessPoolExecutor] = []

    def create_process_pool(jobs: int) -> Executor:
        pools.append(ProcessPoolExecutor(jobs, mp_context=get_context("spawn")))
        return pools[-1]

    sweep = grid(seed=tuple(range(900)))  # more than are in flight when the second is killed
    rows = []
    for row in run_grid(sweep, ProcessPool(2, create_process_pool)):
        rows.append(row)
        if len(rows) in (20, 400):
            os.kill(next(iter(pools[-1]._processes)), signal.SIGKILL)
    assert len(pools) == 3
    assert len(rows) == 900
    assert timeless(rows) == timeless(run_grid(sweep))


# A module by itself, which the workers import.
DYING = """
import os, time
from bncheck import Verdict
from bncheck.sweeps.sweep import Row

def run_point(method, timeout, first, point):
    if point.seed in (3, 17):
        os._exit(1)
    time.sleep(0.02)
    return Row(point, Verdict.PASS, {}, 0, 0, 0, 0.0, "", "")
"""


def test_a_check_that_kills_its_worker_each_time_is_given_up_and_the_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dying_points.py").write_text(DYING, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    dying = importlib.import_module("dying_points")
    monkeypatch.setattr(sys.modules["bncheck.sweeps.sweep"], "run_point", dying.run_point)
    rows = list(run_grid(grid(seed=tuple(range(40))), ProcessPool(2)))
    assert {row.point.seed for row in rows if row.verdict is None} == {3, 17}
    assert len(rows) == 40


def test_resume_skips_what_the_file_holds_and_finishes_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    command = ("sweep", *OPTIONS, "--seed", "0..19", "--out", str(path))
    whole = invoke(*command)
    assert whole.exit_code == 0
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 20
    # A crash in the middle of the eighth row.
    path.write_bytes(b"".join(lines[:7]) + lines[7][:100])
    again = invoke(*command, "--resume")
    assert again.exit_code == 0
    assert timeless(list(rows_of(path))) == timeless([Row.from_dict(json.loads(line)) for line in lines])
    assert path.read_bytes().startswith(b"".join(lines[:7]))
    assert "20: 20 pass" in again.stdout


def test_a_file_with_rows_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    invoke("sweep", *OPTIONS, "--out", str(path))
    before = path.read_bytes()
    result = invoke("sweep", *OPTIONS, "--out", str(path))
    assert result.exit_code == 2
    assert "holds rows already; add --resume" in result.stderr
    assert path.read_bytes() == before


def test_a_file_of_another_sweep_or_schema_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    invoke("sweep", *OPTIONS, "--out", str(path))
    before = path.read_bytes()
    other = invoke("sweep", *OPTIONS, "--seed", "0..3", "--out", str(path), "--resume")
    assert other.exit_code == 2
    assert "holds another sweep: its rows have other axes or options" in other.stderr
    assert path.read_bytes() == before
    for content, said in (
        ("hello\n", "line 1 of .* is no row of a sweep"),
        ("[1]\n", "line 1 of .* is no row of a sweep"),
        ('{"schema": "bncheck-sweep/1", "sweep": "a", "N": 3}\n', "line 1 of .* is no row of a sweep"),
        ('{"schema": "bncheck/1"}\n', "line 1 of .* has the schema 'bncheck/1'; expected 'bncheck-sweep/1'"),
    ):
        path.write_text(content, encoding="utf-8")
        for command in (("sweep", *OPTIONS, "--out", str(path), "--resume"), ("report", str(path))):
            result = invoke(*command)
            assert result.exit_code == 2
            assert re.search(said, result.stderr.replace("\n", " "))
            assert path.read_text(encoding="utf-8") == content


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a Linux device")
def test_a_full_disk_is_one_sentence_and_exit_2() -> None:
    result = invoke("sweep", *OPTIONS, "--out", "/dev/full")
    assert result.exit_code == 2
    assert "No space left on device" in result.stderr
    assert result.stderr.count("\n") == 1


def test_report_renders_the_same_tables_from_many_files(tmp_path: Path) -> None:
    whole, first, second = (tmp_path / name for name in ("whole", "first", "second"))
    shown = invoke("sweep", *OPTIONS, "--step", "1e-3..1e-6", "--out", str(whole)).stdout
    lines = whole.read_bytes().splitlines(keepends=True)
    first.write_bytes(b"".join(lines[:3]))
    second.write_bytes(b"".join(lines[2:]))
    told = invoke("report", str(whole)).stdout
    assert told == invoke("report", str(first), str(second)).stdout
    assert told.splitlines()[:9] == shown.splitlines()[:9]


def test_a_report_of_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert "no rows in" in invoke("report", str(tmp_path / "empty")).stderr
    assert "cannot read" in invoke("report", str(tmp_path / "none")).stderr


def test_one_axis_is_a_table_with_bars_and_the_best_step() -> None:
    lines = invoke("sweep", "--N", "32", "--D", "20", "--H", "10", "--step", "1e-1..1e-12").stdout.splitlines()
    rows = {line.split()[0]: line for line in lines if re.match(r"  1e-\d\d ", line)}
    assert list(rows) == [f"1e-{i:02}" for i in range(1, 13)]
    assert "█" * 8 in rows["1e-05"]
    assert sum("best" in row for row in rows.values()) == 1
    assert "inconclusive" in rows["1e-12"]
    assert any("zero       db: exactly 0 everywhere" in line for line in lines)
    assert max(map(len, lines)) <= 78


def test_two_axes_are_a_heat_table_and_three_a_list_for_each() -> None:
    two = invoke("sweep", "--D", "5", "--H", "4", "--N", "2,8,32", "--bn-eps", "1e-5,0.5").stdout
    assert re.search(r"  N \\ eps +1e-05 +0.5\n", two)
    assert len(re.findall(r"^  (?:2|8|32) +[\d.]+ +[\d.]+$", two, re.MULTILINE)) == 3
    long = invoke("sweep", "--D", "5", "--H", "4", "--N", "2,8", "--bn-eps", "1e-5,1e-3,0.5").stdout
    assert re.search(r"  eps \\ N +2 +8\n", long)  # the longer axis goes down the page
    three = invoke("sweep", "--D", "5,6", "--H", "4", "--N", "2,8", "--bn-eps", "1e-5,0.5").stdout
    assert [word for word in ("  N ", "  D ", "  eps ") if f"\n{word}" in three] == ["  N ", "  D ", "  eps "]
    assert three.count("fewest correct digits") == 3


def test_an_axis_of_many_values_is_counted_and_not_listed() -> None:
    text = invoke("sweep", "--N", "4", "--D", "2", "--H", "2", "--seed", "0..99").stdout
    assert "seed: more than 64 values, not told one by one" in text
    assert "100: 100 pass" in text


def test_failures_are_shown_with_the_command_that_reproduces_them(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(changed(LAYERS, DX, "dx = dxhat / std"), encoding="utf-8")
    result = invoke("sweep", str(path), *OPTIONS, "--seed", "0..1")
    assert result.exit_code == 1
    assert result.stdout.count("FAIL") >= 2
    assert "bncheck run" in result.stdout


def test_inconclusive_points_are_counted_and_fail_only_a_problem_that_passes_nowhere() -> None:
    assert invoke("sweep", *OPTIONS, "--step", "auto,1e-14").exit_code == 0
    assert invoke("sweep", *OPTIONS, "--step", "1e-14,1e-13").exit_code == 1


def test_steps_show_the_observed_order_of_theory() -> None:
    steps = tuple(10.0 ** (-i / 4) for i in range(5, 15))
    orders = observed_orders(Grid({"step": steps, "scheme": ("forward", "central", "five-point")}, CheckOptions()))
    for scheme, order in (("forward", 1), ("central", 2), ("five-point", 4)):
        assert set(orders[scheme]) >= {"dW", "dh"}
        for observed in orders[scheme].values():
            assert observed == pytest.approx(order, abs=0.02)
    text = invoke("sweep", "--N", "32", "--D", "20", "--H", "10", "--step", "1e-1..1e-8").stdout
    assert "central: the error falls as the step to the power" in text


@pytest.mark.parametrize(
    ("errors", "order"),
    [
        # From the third step on the rounding error is above the truncation error.
        ({1e-1: (8e-2, 1e-9), 1e-2: (1e-4, 1e-8), 1e-3: (1e-6, 1e-7), 1e-4: (9e-7, 1e-6), 1e-5: (8e-6, 1e-5)}, 2.0),
        # The order is 3 at the largest steps, 1 at the smallest, and 2 at those that decide.
        ({1e-1: (1e-1, 1e-9), 1e-2: (1e-4, 1e-8), 1e-3: (1e-6, 1e-7), 1e-4: (1e-7, 1e-6)}, 2.0),
        ({1e-1: (1e-2, 1e-9), 1e-3: (1e-8, 1e-9)}, 3.0),
        ({1e-1: (1e-2, 1e-9), 1e-2: (1e-9, 1e-8)}, None),
        ({1e-1: (1e-2, 0.0), 1e-2: (1e-4, 0.0)}, None),
    ],
)
def test_the_order_is_read_at_the_smallest_two_steps_at_which_truncation_is_above_rounding(
    errors: dict[float, tuple[float, float]], order: float | None
) -> None:
    found = _order(list(errors), list(errors.values()))
    assert found == (order if order is None else pytest.approx(order, rel=1e-12))


@pytest.mark.parametrize(("shape", "seed", "largest"), [((12, 4, 3), 0, 0.1), ((24, 4, 3), 1, 0.05)])
def test_observed_orders_belong_to_one_loss_whose_exclusions_are_those_of_the_largest_usable_step(
    shape: tuple[int, int, int], seed: int, largest: float
) -> None:
    """Central differences of a plain loop, their errors against 50 digits, at the steps that must decide."""
    # At 0.1 the second problem has a dead unit; at 1e-8 and 1e-9 rounding dominates.
    steps = (0.1, 0.05, 0.03, 0.01, 1e-8, 1e-9)
    axes: dict[str, tuple[Any, ...]] = {**{n: (v,) for n, v in zip("NDH", shape, strict=True)}, "seed": (seed,)}
    problem = random_problem(*shape, seed=seed)
    excluded = {s: plan_measurement(problem, NETWORK, CheckOptions(step=s), ()).problem.dout == 0 for s in steps}
    assert excluded[largest].sum() > excluded[0.03].sum()
    dout = np.where(excluded[largest], 0.0, problem.dout)
    values = {name: getattr(problem, name).copy() for name in ("X", "W", "b", "gamma", "beta")}
    exact = exact_gradients("network", values, dout, problem.bn_eps)

    def error(name: str, step: float) -> float:
        numerical = np.zeros_like(values[name])
        for index in np.ndindex(numerical.shape):
            losses = []
            for move in (step, -step):
                moved = {**values, name: values[name].copy()}
                moved[name][index] += move
                losses.append(float(np.sum(dout * np.array(loop_piece("network", moved, problem.bn_eps, math.sqrt)))))
            numerical[index] = (losses[0] - losses[1]) / (2 * step)
        return float(np.linalg.norm(numerical - exact[name]))

    orders = observed_orders(Grid({**axes, "step": steps}, CheckOptions()))["central"]
    assert set(orders) == {"dX", "dW", "dh"}
    for name in ("X", "W"):
        expected = math.log(error(name, 0.03) / error(name, 0.01)) / math.log(0.03 / 0.01)
        assert orders[f"d{name}"] == pytest.approx(expected, abs=1e-7)


def test_a_first_problem_that_cannot_be_drawn_has_no_observed_order_and_loses_no_rows() -> None:
    result = invoke("sweep", "--N", "1,8", "--D", "5", "--H", "4", "--bn-eps", "0", "--step", "1e-3,1e-4")
    assert result.exit_code == 1
    assert "2 not run" in result.stdout


def test_digits_show_the_v_of_theory_and_the_flat_floor_of_the_complex_step() -> None:
    def digits(scheme: str, steps: list[float]) -> list[float]:
        rows = bncheck.sweep(N=64, D=20, H=10, scheme=scheme, step=steps)
        return [row.gradients["dW"].digits for row in rows]

    central = digits("central", [1e-2, 1e-3, 1e-4, 1e-8, 1e-9, 1e-10])
    assert central[1] - central[0] == pytest.approx(2, abs=0.1)
    assert central[2] - central[1] == pytest.approx(2, abs=0.1)
    assert central[3] - central[4] == pytest.approx(1, abs=0.3)
    assert central[4] - central[5] == pytest.approx(1, abs=0.3)
    five = digits("five-point", [1e-1 / 4, 1e-2 / 4])
    assert five[1] - five[0] == pytest.approx(4, abs=0.3)
    assert min(digits("complex", [1e-10, 1e-20, 1e-40, 1e-80])) > 14


def test_jsonl_is_a_row_a_line_on_stdout_and_nothing_else() -> None:
    result = invoke("sweep", *OPTIONS, "--seed", "0..4", "--format", "jsonl")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["seed"] for row in rows] == [0, 1, 2, 3, 4]
    assert result.stderr == ""


def test_the_command_that_is_shown_does_the_same_sweep() -> None:
    arguments = [
        "sweep",
        "--N",
        "4,9",
        "--D",
        "3",
        "--H",
        "2",
        "--seed",
        "0..3",
        "--step",
        "1e-3..1e-5/2",
        "--only",
        "dW",
    ]
    text = invoke(*arguments).stdout
    command = " ".join(text[text.index("bncheck sweep") :].replace("\\\n", " ").split())
    again = invoke(*command.split()[1:]).stdout
    assert re.sub(r"\d+\.\d s", "", again) == re.sub(r"\d+\.\d s", "", text)


def test_a_list_from_0_on_is_no_range_of_decades() -> None:
    result = invoke("sweep", *OPTIONS, "--x-mean", "0,1,100")
    assert result.exit_code == 0, result.stderr
    assert "--x-mean 0,1,100" in " ".join(result.stdout.split())


def start(path: Path, seeds: str, *more: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "bncheck", "sweep", *OPTIONS, "--seed", seeds, "--out", str(path), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def lines_in(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.parametrize(("checks", "kills"), [(300, 3), pytest.param(2000, 10, marks=pytest.mark.slow)])
def test_a_sweep_killed_at_random_moments_and_resumed_has_the_rows_of_one_that_was_not(
    checks: int, kills: int, tmp_path: Path
) -> None:
    path, rng = tmp_path / "rows.jsonl", random.Random(7)
    for moment in sorted(rng.sample(range(checks), kills)):
        running = start(path, f"0..{checks - 1}", "--resume")
        while running.poll() is None and lines_in(path) <= moment:
            time.sleep(0.001)
        running.kill()
        running.communicate()
    finished = start(path, f"0..{checks - 1}", "--resume")
    finished.communicate()
    assert finished.returncode == 0
    rows = list(rows_of(path))
    assert len(rows) == checks
    whole = grid(seed=tuple(range(checks)), target=("reference",))
    assert timeless(rows) == timeless(run_grid(whole))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_interrupted_sweep_ends_cleanly_and_says_how_to_resume(
    number: signal.Signals, jobs: str, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    script = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from bncheck.cli import main; main()"
    )
    command = ["sweep", *OPTIONS, "--seed", "0..99999", "--out", str(path), "--jobs", jobs]
    running = subprocess.Popen(
        [sys.executable, "-c", script, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while running.poll() is None and lines_in(path) < 20:
        time.sleep(0.01)
    if number == signal.SIGINT:
        os.killpg(running.pid, number)  # as a terminal does: the workers get it too
    else:
        running.send_signal(number)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 128 + number
    assert "Traceback" not in err, err
    assert re.search(r"Interrupted after [\d,]+ of 100,000 checks; finish it with: bncheck sweep ", err)
    assert f"--out {path} --resume" in err
    kept = len(list(rows_of(path)))
    assert f"{kept:,} pass" in out


@pytest.mark.slow
def test_twenty_thousand_checks_take_no_more_memory_than_two_hundred() -> None:
    peaks = []
    for last in (199, 19_999):
        command = [sys.executable, "-m", "bncheck", "sweep", "--N", "4", "--D", "3", "--H", "2", "--seed", f"0..{last}"]
        script = (
            "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL); "
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        )
        peaks.append(
            int(subprocess.run([sys.executable, "-c", script, *command], capture_output=True, check=True).stdout)
        )
    assert peaks[1] < 1.2 * peaks[0]


def test_a_tally_of_rows_in_any_order_is_the_same() -> None:
    rows = list(bncheck.sweep(N=[2, 8], D=3, H=2, seed=range(3)))
    forwards, backwards = SweepSummary(rows), SweepSummary(reversed(rows))
    assert forwards.total == backwards.total
    assert forwards.values["N"] == backwards.values["N"]


# Axes, and which of them are counted together.
AXIS_PAIRS: list[tuple[dict[str, Any], set[tuple[str, str]]]] = [
    ({"N": [8], "seed": [0, 1]}, set()),
    ({"N": [2, 8], "bn_eps": [1e-5, 0.5]}, {("N", "bn_eps")}),
    ({"N": [2, 8], "scheme": ["central", "complex"], "step": ["auto", 1e-3]}, {("scheme", "step")}),
    (
        {"target": ["reference", "staged"], "scheme": ["central", "complex"], "step": ["auto", 1e-3]},
        {("target", "step"), ("scheme", "step")},
    ),
]


@pytest.mark.parametrize(("axes", "together"), AXIS_PAIRS)
def test_two_axes_together_are_what_their_rows_come_to_in_any_order(
    axes: dict[str, Any], together: set[tuple[str, str]]
) -> None:
    rows = list(bncheck.sweep(D=3, H=2, **axes))
    for seed in range(5):
        random.Random(seed).shuffle(rows)
        tally = SweepSummary(rows)
        for first, second in itertools.permutations(axes, 2):
            expected: dict[tuple[object, object], Aggregate] = {}
            for row in rows if {(first, second), (second, first)} & together else ():
                values = getattr(row.point, first), getattr(row.point, second)
                expected.setdefault(values, Aggregate()).add(row)
            assert tally.pair(first, second) == expected


def test_two_axes_are_not_kept_together_where_one_has_many_values() -> None:
    tally = SweepSummary()
    for count, (seed, H) in enumerate(itertools.product(range(65), (2, 3)), 1):
        tally.add(Row(SweepPoint(seed=seed, H=H), Verdict.PASS, {}, 1, 0, 0, 0.1, "", ""))
        assert len(tally.pair("H", "seed")) == (count if 3 <= count <= 128 else 0)
    tally = SweepSummary(
        Row(SweepPoint(seed=s, H=H), Verdict.PASS, {}, 1, 0, 0, 0.1, "", "") for H in (2, 3) for s in range(65)
    )
    assert not tally.pair("H", "seed")


def test_times_and_the_worst_of_rows_are_the_same_in_any_order() -> None:
    odd = [
        GradientSummary(e, t, 1e-9, b)
        for e, t, b in ((1e-9, 0.1, 1e-8), (math.inf, 2.0, math.inf), (math.nan, 1.0, 1e-7))
    ]
    rows = [Row(SweepPoint(seed=i), Verdict.FAIL, {"dW": f}, 1, 0, 0, 0.1 + 0.2 * i, "", "") for i, f in enumerate(odd)]
    for some in itertools.permutations(rows):
        cell = SweepSummary(some).total
        assert math.isnan(cell.gradients["dW"].error or 0.0)
        assert (cell.digits["dW"], cell.gradients["dW"].of_tolerance) == (0.0, 2.0)
        assert cell.gradients["dW"].bar == math.inf
        assert (cell.times.count, cell.times.total) == (3, 900_000_000)
        assert (cell.times.shortest, cell.times.longest) == (100_000_000, 500_000_000)


def test_a_row_is_kept_as_its_line_gives_it_back() -> None:
    (row,) = bncheck.sweep(N=8, D=5, H=4)
    assert row.rounded == Row.from_dict(json.loads(row.line(""))) == row.rounded.rounded
    assert row.rounded != row


def test_a_file_is_closed_where_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    file = SweepFile(path, "abc", resume=False)
    (row,) = bncheck.sweep(N=4, D=3, H=2)
    file.append(row)
    file.close()
    with pytest.raises(InvalidInput, match="another sweep"):
        SweepFile(path, "abd", resume=True)
    again = SweepFile(path, "abc", resume=True)
    again.close()
    assert again.completed_keys == {row.point.key}


def test_workers_are_deaf_to_ctrl_c_from_their_first_moment_and_this_process_is_not() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with block_sigint_in_children():
        executor = create_process_pool(1)
        future = executor.submit(signal.pthread_sigmask, signal.SIG_BLOCK, ())
    assert signal.SIGINT in future.result()
    executor.shutdown()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
