"""Run the trials of a self-test and collect their results."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain, islice
from operator import call
from typing import Any

import numpy as np

from bncheck.errors import InvalidInput
from bncheck.execution.pool import block_sigint_in_children, create_process_pool, one_thread_each
from bncheck.mistakes import Mistake, all_mistakes
from bncheck.model.document import CHECK_SCHEMA
from bncheck.model.problem import random_problem
from bncheck.model.progress import Progress, silent
from bncheck.selftest.false_alarms import IMPLEMENTATIONS, FalseAlarmRecord, FalseAlarmTrial, check_correct
from bncheck.selftest.injection import InjectionResult, inject
from bncheck.selftest.problems import SMOKE_PROBLEMS, hard_problem
from bncheck.selftest.sensitivity import SensitivityTrial, inject_errors

# Problems for each problem that every mistake is injected into.
FALSE_ALARM_TRIALS, SENSITIVITY_TRIALS = 40, 4


@dataclass(frozen=True, slots=True)
class SelftestResult:
    """The results of a self-test."""

    mistakes: tuple[InjectionResult, ...]
    false_alarm_trials: tuple[FalseAlarmTrial, ...]
    sensitivity_trials: tuple[SensitivityTrial, ...]  # empty in a smoke test
    resolution: float | None  # median resolution claimed in the sensitivity trials; None without any
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether every detectable mistake was detected, no correct code failed, and no required error was missed.

        A mistake that is detected but not identified is reported and does not count as a failure.
        """
        return not (
            any(m.undetected or m.false_alarms for m in self.mistakes)
            or any(trial.false_alarms for trial in self.false_alarm_trials)
            or any(trial.is_missed for trial in self.sensitivity_trials)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the JSON document."""
        return {
            "schema": CHECK_SCHEMA,
            "passed": self.passed,
            "mistakes": [{**asdict(m), "undetectable_because": m.undetectable_because or None} for m in self.mistakes],
            "false_alarm_trials": [asdict(trial) for trial in self.false_alarm_trials],
            "sensitivity_trials": [asdict(trial) for trial in self.sensitivity_trials],
            "resolution": self.resolution,
            "seconds": self.seconds,
        }


def selftest(problems: int = 2, *, jobs: int = 1, progress: Progress = silent) -> SelftestResult:
    """Test bncheck: injected mistakes, correct code on extreme inputs, and small injected errors.

    Parameters
    ----------
    problems : int, default 2
        Random problems for each mistake; the number of problems for correct code is 40 times as large.
    jobs : int, default 1
        Number of processes.
    progress : callable, optional
        Called with the number of finished trials and the total.

    Returns
    -------
    SelftestResult

    Raises
    ------
    InvalidInput
        ``problems`` or ``jobs`` is less than 1.
    """
    for name, value in (("problems", problems), ("jobs", jobs)):
        if value < 1:
            raise InvalidInput(f"{name} must be an integer of at least 1, got {value}")
    started, mistakes = time.perf_counter(), all_mistakes()
    false_alarm_trials, sensitivity_trials = FALSE_ALARM_TRIALS * problems, SENSITIVITY_TRIALS * problems
    trials: list[Callable[[], Any]] = [
        *(partial(inject, m, seed) for m in mistakes for seed in range(problems)),
        *(partial(_check_hard_problem, seed) for seed in range(false_alarm_trials)),
        *(partial(inject_errors, seed) for seed in range(sensitivity_trials)),
    ]
    results = iter(_run(trials, jobs, progress))
    injected = tuple(InjectionResult.from_codes(m, list(islice(results, problems))) for m in mistakes)
    false_alarms = FalseAlarmTrial.collect(chain.from_iterable(islice(results, false_alarm_trials)))
    sensitivity = list(results)
    resolution = float(np.median([record.resolution for record in sensitivity]))
    seconds = time.perf_counter() - started
    return SelftestResult(injected, false_alarms, SensitivityTrial.collect(sensitivity), resolution, seconds)


def smoke() -> SelftestResult:
    """Run a quick self-test: the first mistake of each section, and the reference on different problems."""
    started = time.perf_counter()
    by_section: dict[str, Mistake] = {}
    for mistake in all_mistakes():
        by_section.setdefault(mistake.section, mistake)
    records = [
        check_correct(random_problem(*shape, seed=seed, **settings), ["reference"], must_pass=True)
        for seed, (shape, settings) in enumerate(SMOKE_PROBLEMS)
    ]
    injected = tuple(InjectionResult.from_codes(m, [inject(m, 0)]) for m in by_section.values())
    false_alarms = FalseAlarmTrial.collect(chain.from_iterable(records))
    return SelftestResult(injected, false_alarms, (), None, time.perf_counter() - started)


def _check_hard_problem(seed: int) -> list[FalseAlarmRecord]:
    return check_correct(hard_problem(seed), IMPLEMENTATIONS)


def _run(trials: Sequence[Callable[[], Any]], jobs: int, progress: Progress) -> list[Any]:
    """Return the results of all trials, in order."""
    results = []
    for result in map(call, trials) if jobs == 1 else _run_in_processes(trials, jobs):
        results.append(result)
        progress(len(results), len(trials))
    return results


def _run_in_processes(trials: Sequence[Callable[[], Any]], jobs: int) -> Iterator[Any]:
    with one_thread_each():
        executor = create_process_pool(jobs)
        try:
            with block_sigint_in_children():  # submitting the trials starts the processes
                results = executor.map(call, trials, chunksize=4)
            yield from results
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
