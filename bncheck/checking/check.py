"""The public function ``check``: it validates the options and checks the target in this process or in a child."""

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bncheck.checking.in_process import InterruptedCheck, OptionalStages, check_in_process
from bncheck.errors import InvalidInput
from bncheck.model.options import CheckOptions, parse_gradient_names
from bncheck.model.problem import Problem
from bncheck.model.progress import Progress, silent
from bncheck.model.results import CheckResult
from bncheck.numerical.schemes import get_scheme
from bncheck.targets import BUILT_IN, resolve
from bncheck.targets.loading import expand_pattern, load

if TYPE_CHECKING:  # slow import, not needed for built-in targets
    from bncheck.execution.child import ParentChannel

# A week; far longer waits overflow in the operating system.
MAX_TIMEOUT_SECONDS = 604_800.0


def check(
    problem: Problem,
    target: Any = "reference",
    *,
    scheme: str = "central",
    step: float | str = "auto",
    engine: str = "local",
    sample: int | None = None,
    only: Iterable[str] | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    cross_check_entries: int = 64,
    edge_cases: bool = True,
    timeout: float = 60.0,
    explain: bool = True,
    minimal_example: bool = True,
    progress: Progress = silent,
) -> CheckResult:
    """Compare the gradients that a target returns with finite differences of its forward pass.

    Parameters
    ----------
    problem : Problem
        The arrays that the target is called with, from ``random_problem`` or your own.
    target : str, path or object, default "reference"
        The code under test. A file ("layers.py"), a module ("mypkg.layers") or a name in one of them
        ("layers.py:solution_b") is checked in a child process; a module, class, object or mapping with functions that
        bncheck knows is checked in this process. "reference" and "staged" are built in.
    scheme : {"forward", "central", "five-point", "richardson", "complex"}, default "central"
        Finite-difference formula.
    step : float or "auto", default "auto"
        Absolute finite-difference step; "auto" chooses steps from the scale of the data.
    engine : {"local", "full"}, default "local"
        How perturbed losses are computed: in closed form, or with a forward pass for each.
    sample : int, optional
        Number of random entries to check per gradient; requires the full engine. The default is all entries.
    only : iterable of str, optional
        Gradients to check, as the report names them: "dW"; "dx" or "batchnorm_backward.dx" of layer functions. The
        default is all gradients.
    rtol, atol : float, optional
        Accept |a - n| <= atol + rtol max(|a|, |n|) instead of using error bounds. Without ``atol``, a gradient that is
        exactly 0 (db) keeps its bound.
    cross_check_entries : int, default 64
        Maximum number of entries of each gradient that are recomputed with full forward passes; 0 for none.
    edge_cases : bool, default True
        Also check the target on the edge cases; a built-in target is never checked on them.
    timeout : float, default 60
        Time limit in seconds for each call of a function of a file or module.
    explain : bool, default True
        Diagnose a failure.
    minimal_example : bool, default True
        Search for the smallest problem on which a diagnosed failure remains.
    progress : callable, optional
        Called with the number of finished entries and the total.

    Returns
    -------
    CheckResult

    Raises
    ------
    InvalidInput
        An option is out of its range.
    TargetError
        The target did not load, raised, or returned something else than its interface requires.
    InterruptedCheck
        Ctrl-C; this is a KeyboardInterrupt whose ``result`` contains what was finished.
    """
    if not 0 < timeout <= MAX_TIMEOUT_SECONDS:
        raise InvalidInput(
            f"timeout must be a number of seconds above 0, at most {MAX_TIMEOUT_SECONDS:,.0f}, got {timeout}"
        )
    if isinstance(target, os.PathLike):
        target = os.fspath(target)
    gradients = parse_gradient_names(only)
    options = CheckOptions(get_scheme(scheme).name, engine, step, sample, gradients, rtol, atol, cross_check_entries)
    stages = OptionalStages(edge_cases, explain, minimal_example)
    if not isinstance(target, str):
        return check_in_process(problem, resolve(target), None, options, stages, progress)
    if target in BUILT_IN:
        stages = stages._replace(edge_cases=False)
        return check_in_process(problem, resolve(target), target, options, stages, progress)
    if expand_pattern(target) != [target]:  # also raises InvalidInput if the file does not exist
        raise InvalidInput(f"{target!r} is a pattern; name one file")
    from bncheck.execution.child import ChildInterrupted, run_in_child  # noqa: PLC0415 - slow, only needed for a file

    try:
        result: CheckResult = run_in_child(check_target, (target, problem, options, stages), target, timeout, progress)
    except ChildInterrupted as interrupted:
        if interrupted.result is None:
            raise KeyboardInterrupt from None
        raise InterruptedCheck(replace(interrupted.result, interrupted=True)) from None
    return result


def check_target(
    channel: "ParentChannel", target: str, problem: Problem, options: CheckOptions, stages: OptionalStages
) -> None:
    """Load and check a target, and send the result to the parent; this runs in the child process."""
    channel.call_started("the import")
    namespace = load(target, channel.interrupted)
    channel.call_started("reading its attributes")
    loaded_target = resolve(namespace, target)
    channel.call_started("")
    loaded_target.call_started, loaded_target.interrupted = channel.call_started, channel.interrupted
    try:
        # The code under test may have changed how NumPy reports floating-point errors.
        with np.errstate(divide="warn", over="warn", invalid="warn", under="ignore"):
            result = check_in_process(problem, loaded_target, target, options, stages, channel.progress)
        channel.send("result", result)
    except InterruptedCheck as interrupted:
        channel.send("interrupted", interrupted.result)
