"""Running the checks of a sweep: failed rows, any order, worker crashes."""

import importlib
import itertools
import os
import signal
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

import bncheck
from bncheck import Verdict
from bncheck.execution.pool import BATCHES_PER_WORKER, ProcessPool
from bncheck.sweeps.runner import run_grid
from tests.samples import LAYERS
from tests.sweep_helpers import OPTIONS, invoke, small_grid, without_times


@pytest.mark.process
def test_a_check_that_could_not_run_is_a_row_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text("import nothing_there\n", encoding="utf-8")
    rows = list(bncheck.sweep(target=["reference", str(path)], N=8, D=5, H=4))
    assert [row.verdict for row in rows] == [Verdict.PASS, None]
    assert "imports " in rows[1].message
    result = invoke("sweep", "reference", str(path), *OPTIONS)
    assert result.exit_code == 1
    assert "could not run" in result.stdout
    assert "2: 1 pass, 0 fail, 0 inconclusive, 1 could not run" in result.stdout


@pytest.mark.process
def test_a_target_can_be_a_path(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(LAYERS, encoding="utf-8")
    assert [row.verdict for row in bncheck.sweep(target=[path, "reference"], N=4, D=3, H=2)] == [Verdict.PASS] * 2


def test_a_problem_that_cannot_be_drawn_is_a_row_with_the_reason() -> None:
    rows = list(bncheck.sweep(N=[1, 2], D=3, H=2, bn_eps=[0.0, 1e-5]))
    assert [row.verdict is None for row in rows] == [True, False, False, False]
    assert "the variance is 0" in rows[0].message


@pytest.mark.process
def test_rows_do_not_depend_on_the_number_of_workers_and_the_order_of_arrival() -> None:
    grid = small_grid(seed=tuple(range(12)), step=("auto", 1e-5))
    expected = without_times(run_grid(grid))
    assert len(expected) == 24
    assert without_times(run_grid(grid, ProcessPool(2))) == expected
    assert without_times(run_grid(grid, ProcessPool(3, ThreadPoolExecutor))) == expected


def test_the_number_of_checks_in_flight_is_bounded() -> None:
    submitted = 0

    class CountingExecutor(ThreadPoolExecutor):
        def submit(self, *arguments: object, **named: object):  # type: ignore[no-untyped-def]  # the result is that of the overridden method
            nonlocal submitted
            submitted += 1
            return super().submit(*arguments, **named)  # type: ignore[arg-type]  # the arguments are passed on unchanged

    rows = run_grid(small_grid(seed=tuple(range(1000))), ProcessPool(2, CountingExecutor))
    assert len(list(itertools.islice(rows, 5))) == 5
    assert submitted <= 2 * BATCHES_PER_WORKER + 5


@pytest.mark.process
def test_a_worker_crash_loses_and_repeats_no_row() -> None:
    executors: list[ProcessPoolExecutor] = []

    def create_executor(jobs: int) -> Executor:
        executors.append(ProcessPoolExecutor(jobs, mp_context=get_context("spawn")))
        return executors[-1]

    grid = small_grid(seed=tuple(range(900)))  # more than are in flight at the second crash
    rows = []
    for row in run_grid(grid, ProcessPool(2, create_executor)):
        rows.append(row)
        if len(rows) in (20, 400):
            os.kill(next(iter(executors[-1]._processes)), signal.SIGKILL)
    assert len(executors) == 3
    assert len(rows) == 900
    assert without_times(rows) == without_times(run_grid(grid))


# A module that the workers import.
CRASHING = """
import os, time
from bncheck import Verdict
from bncheck.sweeps.rows import Row

def run_point(options, timeout, first, point):
    if point.seed in (3, 17):
        os._exit(1)
    time.sleep(0.02)
    return Row(point, Verdict.PASS, {}, 0, 0, 0, 0.0, "", "")
"""


@pytest.mark.process
def test_a_check_that_always_crashes_its_worker_is_given_up_and_no_other_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "crashing_points.py").write_text(CRASHING, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    crashing = importlib.import_module("crashing_points")
    monkeypatch.setattr("bncheck.sweeps.runner.run_point", crashing.run_point)
    rows = list(run_grid(small_grid(seed=tuple(range(40))), ProcessPool(2)))
    failed = {row.point.seed: row.message for row in rows if row.verdict is None}
    assert failed == dict.fromkeys((3, 17), "the worker process crashed 3 times on this check")
    assert len(rows) == 40


def test_digits_are_v_shaped_in_the_step_and_constant_for_the_complex_step() -> None:
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


def test_a_point_that_does_not_fit_into_memory_is_a_row_and_the_sweep_goes_on() -> None:
    too_large, passed = bncheck.sweep(N=[10**12, 8], D=5, H=4)
    assert (too_large.verdict, passed.verdict) == (None, Verdict.PASS)
    assert "N = 1,000,000,000,000, D = 5, H = 4 needs about" in too_large.message


@pytest.mark.parametrize(("error", "message"), [(MemoryError(), "out of memory"), (MemoryError("8 GB"), "8 GB")])
def test_a_check_that_runs_out_of_memory_is_a_row_and_the_sweep_goes_on(
    error: MemoryError, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check_small(problem: bncheck.Problem, target: str, **options: Any) -> bncheck.CheckResult:
        if problem.N == 9:
            raise error
        return bncheck.check(problem, target, **options)

    monkeypatch.setattr("bncheck.sweeps.runner.check", check_small)
    failed, passed = bncheck.sweep(N=[9, 8], D=5, H=4)
    assert (failed.verdict, failed.message) == (None, message)
    assert passed.verdict is Verdict.PASS
