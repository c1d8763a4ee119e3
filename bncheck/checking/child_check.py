"""One check of a file or module, in a child process."""

from dataclasses import replace

import numpy as np

from bncheck.checking.in_process import InterruptedCheck, OptionalStages, check_in_process
from bncheck.execution.child import ChildInterrupted, ParentChannel, run_in_child
from bncheck.model.options import CheckOptions
from bncheck.model.problem import Problem
from bncheck.model.progress import Progress
from bncheck.model.results import CheckResult
from bncheck.targets import resolve
from bncheck.targets.loading import load


def check_in_child(
    target: str, problem: Problem, options: CheckOptions, stages: OptionalStages, timeout: float, progress: Progress
) -> CheckResult:
    """Check a file or module in a new child process.

    Raises
    ------
    TargetError
        The target did not load, raised, did not return in time, or ended its process.
    InterruptedCheck
        Ctrl-C.
    """
    try:
        result: CheckResult = run_in_child(check_target, (target, problem, options, stages), target, timeout, progress)
    except ChildInterrupted as interrupted:
        if interrupted.result is None:
            raise KeyboardInterrupt from None
        raise InterruptedCheck(replace(interrupted.result, interrupted=True)) from None
    return result


def check_target(
    channel: ParentChannel, target: str, problem: Problem, options: CheckOptions, stages: OptionalStages
) -> None:
    """Load and check a target, and send the result to the parent; this runs in the child process."""
    channel.call_started("the import")
    namespace = load(target, channel.interrupted)
    channel.call_started("reading its attributes")
    code = resolve(namespace, target)
    channel.call_started("")
    code.call_started, code.interrupted = channel.call_started, channel.interrupted
    try:
        # The code under test may have changed how NumPy reports floating-point errors.
        with np.errstate(divide="warn", over="warn", invalid="warn", under="ignore"):
            result = check_in_process(problem, code, target, options, stages, channel.progress)
        channel.send("result", result)
    except InterruptedCheck as interrupted:
        channel.send("interrupted", interrupted.result)
