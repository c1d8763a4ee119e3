"""The trials of a self-test: injected mistakes, correct code on extreme inputs, and injected errors; their results."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from operator import call
from typing import Any

import numpy as np

from bncheck.checking.check import check
from bncheck.errors import InvalidInput
from bncheck.execution.pool import block_signals_in_children, create_process_pool, one_thread_each
from bncheck.mistakes import NO_MISTAKE, Mistake, all_mistakes
from bncheck.mistakes.injected import FaultyNetwork, faulty_layers
from bncheck.model.document import CHECK_SCHEMA
from bncheck.model.problem import Problem, random_problem
from bncheck.model.progress import Progress, silent
from bncheck.model.verdict import Verdict
from bncheck.selftest.problems import SMOKE_PROBLEMS, hard_problem, plain_problem
from bncheck.selftest.sensitivity import SensitivityTrial, inject_errors

# Problems for each problem that every mistake is injected into.
FALSE_ALARM_TRIALS, SENSITIVITY_TRIALS = 40, 4
# The correct implementations; the custom one is a correct network that bncheck treats as user code.
CUSTOM = "custom"
IMPLEMENTATIONS = ("reference", "staged", CUSTOM)
# Stands for a code if a mistake is detected and the diagnosis names no known mistake.
NOT_IDENTIFIED = "?"


@dataclass(frozen=True, slots=True)
class InjectionResult:
    """A mistake, injected into random problems."""

    code: str
    name: str
    problems: int
    detected: int  # problems whose check failed
    identified: int  # problems whose diagnosis named its code first
    identified_as: tuple[str, ...]  # other codes that were named first, or "?", one per problem
    undetectable_because: str | None  # why no check can detect it; None if a check can

    @classmethod
    def from_codes(cls, mistake: Mistake, first_codes: Sequence[str | None]) -> "InjectionResult":
        """Collect the results of a mistake: the first code of each diagnosis, None if it was not detected."""
        detected = [code for code in first_codes if code is not None]
        others = tuple(code for code in detected if code != mistake.code)
        counts = len(first_codes), len(detected), len(detected) - len(others)
        return cls(mistake.code, mistake.name, *counts, others, mistake.undetectable_because or None)

    @property
    def undetected(self) -> int:
        """The number of problems on which it should have been detected and was not."""
        return 0 if self.undetectable_because else self.problems - self.detected

    @property
    def false_alarms(self) -> int:
        """The number of problems on which it was reported although it is not an error."""
        return self.detected if self.undetectable_because else 0


@dataclass(frozen=True, slots=True)
class FalseAlarmTrial:
    """A correct implementation on random problems."""

    name: str
    problems: int
    inconclusive: int
    false_alarms: tuple[str, ...]  # commands that repeat them

    @classmethod
    def from_checks(cls, name: str, checks: Sequence[tuple[Verdict, str | None]]) -> "FalseAlarmTrial":
        """Collect the verdicts of ``check_correct`` and its commands."""
        inconclusive = sum(verdict is Verdict.INCONCLUSIVE for verdict, _ in checks)
        return cls(name, len(checks), inconclusive, tuple(command for _, command in checks if command))


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
        return {"schema": CHECK_SCHEMA, "passed": self.passed, **asdict(self)}


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
    checks = zip(*islice(results, false_alarm_trials), strict=True)
    false_alarms = tuple(map(FalseAlarmTrial.from_checks, IMPLEMENTATIONS, checks))
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
    checks = [
        check_correct(random_problem(*shape, seed=seed, **settings), "reference", must_pass=True)
        for seed, (shape, settings) in enumerate(SMOKE_PROBLEMS)
    ]
    injected = tuple(InjectionResult.from_codes(m, [inject(m, 0)]) for m in by_section.values())
    false_alarms = FalseAlarmTrial.from_checks("reference", checks)
    return SelftestResult(injected, (false_alarms,), (), None, time.perf_counter() - started)


def inject(mistake: Mistake, seed: int) -> str | None:
    """Check one problem with a mistake.

    Returns
    -------
    str or None
        The first code of the diagnosis, "?" without a code, None if the mistake was not detected.
    """
    target = faulty_layers(mistake) if mistake.layer_only else FaultyNetwork(mistake)
    result = check(plain_problem(seed), target, minimal_example=False)
    codes = [d.code or NOT_IDENTIFIED for d in result.diagnosis] or [NOT_IDENTIFIED]
    detected = mistake.code in codes if mistake.is_side_effect else result.verdict is Verdict.FAIL
    return codes[0] if detected else None


def check_correct(problem: Problem, name: str, *, must_pass: bool = False) -> tuple[Verdict, str | None]:
    """Check a correct implementation; with ``must_pass``, inconclusive is a false alarm.

    Returns
    -------
    tuple of Verdict and (str or None)
        The verdict, and for a false alarm the command that repeats it.
    """
    target: Any = FaultyNetwork(NO_MISTAKE) if name == CUSTOM else name
    result = check(problem, target, edge_cases=False, explain=False)
    is_alarm = result.verdict is Verdict.FAIL or (must_pass and result.verdict is not Verdict.PASS)
    command = result.options.command(problem, "reference" if name == CUSTOM else name)
    return result.verdict, command if is_alarm else None


def _check_hard_problem(seed: int) -> list[tuple[Verdict, str | None]]:
    return [check_correct(hard_problem(seed), name) for name in IMPLEMENTATIONS]


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
            with block_signals_in_children():  # submitting the trials starts the processes
                results = executor.map(call, trials, chunksize=4)
            yield from results
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
