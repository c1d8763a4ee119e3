"""The public function ``check``: it validates the options and checks an object, or a file in a child process."""

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from bncheck.checking.run_check import InterruptedCheck, OptionalStages, run_check
from bncheck.errors import InvalidInput, TargetError
from bncheck.execution.limits import Limits
from bncheck.execution.output import Output
from bncheck.model.options import CheckOptions, parse_gradient_names
from bncheck.model.problem import Problem
from bncheck.model.progress import Progress, silent
from bncheck.model.results import CheckResult, Note
from bncheck.numerical.schemes import get_scheme
from bncheck.targets import BUILT_IN
from bncheck.targets.loading import expand_pattern
from bncheck.targets.recognize import recognize, resolve


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
    call_timeout: float = 60.0,
    timeout: float = 600.0,
    memory: str | int | None = None,
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
    call_timeout, timeout : float, default 60 and 600
        Time limits in seconds for a file or module: of each call of a function, and of all calls together.
    memory : str or int, optional
        Limit on the resident memory of the processes of a file or module: "1.5GB", or a number of bytes. The default
        is the memory that a check of the problem needs and 2 GB.
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
        The target did not load, raised, returned something else than its interface requires, or exceeded a limit.
    InterruptedCheck
        Ctrl-C; this is a KeyboardInterrupt whose ``result`` contains what was finished.
    """
    limits = Limits.parse(call_timeout, timeout, memory, problem)
    if isinstance(target, os.PathLike):
        target = os.fspath(target)
    gradients = parse_gradient_names(only)
    options = CheckOptions(get_scheme(scheme).name, engine, step, sample, gradients, rtol, atol, cross_check_entries)
    stages = OptionalStages(edge_cases, explain, minimal_example)
    if not isinstance(target, str):
        return run_check(problem, resolve(target), None, options, stages, progress)
    if target in BUILT_IN:
        stages = stages._replace(edge_cases=False)
        return run_check(problem, resolve(target), target, options, stages, progress)
    if expand_pattern(target) != [target]:  # also raises InvalidInput if the file does not exist
        raise InvalidInput(f"{target!r} is a pattern; name one file")
    return _check_file(problem, target, options, stages, limits, progress)


def _check_file(
    problem: Problem, target: str, options: CheckOptions, stages: OptionalStages, limits: Limits, progress: Progress
) -> CheckResult:
    """Check a file or module in a child process."""
    from bncheck.execution import children  # noqa: PLC0415 - slow import, only needed for a file

    with children.use(target, limits) as remote:
        output = remote.child.output
        try:
            remote.open()
            result = run_check(problem, recognize(remote, target), target, options, stages, progress)
        except InvalidInput as error:  # a file that cannot be checked does not end the check of other files
            raise TargetError(str(error)) from error
        except InterruptedCheck as interrupted:
            raise InterruptedCheck(_with_output(interrupted.result, output)) from None
        except TargetError as error:
            error.printed = output.text
            raise
        return _with_output(result, output)


def _with_output(result: CheckResult, output: Output) -> CheckResult:
    """Add what the code under test printed."""
    if not output.bytes:
        return result
    note = Note("printed", f"the code under test printed {output.summary}; `show_output` shows the output")
    return replace(result, notes=(*result.notes, note), printed=output.text)
