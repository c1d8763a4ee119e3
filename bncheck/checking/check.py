"""The public function ``check``: options are validated, and the target is checked in this process or a child."""

import os
from collections.abc import Iterable
from typing import Any

from bncheck.checking.in_process import OptionalStages, check_in_process
from bncheck.errors import InvalidInput
from bncheck.model.options import CheckOptions, parse_gradient_names
from bncheck.model.problem import Problem
from bncheck.model.progress import Progress, silent
from bncheck.model.results import CheckResult
from bncheck.numerical.schemes import get_scheme
from bncheck.targets import BUILT_IN, resolve
from bncheck.targets.loading import expand_pattern

# Seconds; a week.
LONGEST_TIMEOUT = 604_800.0


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
    """Check a target's backward pass against finite differences of the forward pass.

    Parameters
    ----------
    problem : Problem
        From ``random_problem``, or made by hand.
    target : str or object, default "reference"
        "reference" or "staged"; a file ("layers.py"), a module ("mypkg.layers"), or a name in one
        ("layers.py:solution_b"), which run in a process of their own; or a module, class, object
        or mapping that carries functions bncheck knows, which run in this process.
    scheme : str, default "central"
        forward, central, five-point, richardson or complex.
    step : float or "auto", default "auto"
        An absolute finite-difference step, or scale-aware ones.
    engine : str, default "local"
        "local", or "full": one whole forward pass per entry and evaluation.
    sample : int, optional
        Check that many random entries of each gradient (full engine only).
    only : iterable of str, optional
        Gradients to check, by their names in the table: "dW"; of layer functions also "dx", or
        "batchnorm_backward.dx" of one function alone. All by default.
    rtol, atol : float, optional
        Judge by atol + rtol max(|a|, |n|) instead of the error bars. Without ``atol`` a gradient
        that is exactly 0 (db) keeps its error bars.
    cross_check_entries : int, default 64
        Entries that the local engine is audited on by whole forward passes, at most; 0 for none.
    edge_cases : bool, default True
        Check code that is not bncheck's own on the edge cases as well.
    timeout : float, default 60
        Seconds that one call of a file's or module's functions may take.
    explain : bool, default True
        Say of a failure what is wrong, and where.
    minimal_example : bool, default True
        Look, where it is explained, for the smallest problem on which it still shows.
    progress : callable, optional
        Told how many entries are done, and of how many.

    Returns
    -------
    CheckResult

    Raises
    ------
    InvalidInput
        An option has a value it cannot have.
    TargetError
        The target did not load, raised, or did not return what its interface says.
    InterruptedCheck
        Ctrl-C; it is a KeyboardInterrupt that carries what was done.
    """
    if not 0 < timeout <= LONGEST_TIMEOUT:
        raise InvalidInput(f"timeout is {timeout}; it must be a number of seconds above 0, at most {LONGEST_TIMEOUT:g}")
    if isinstance(target, os.PathLike):
        target = os.fspath(target)
    gradients = parse_gradient_names(only)
    method = CheckOptions(get_scheme(scheme).name, engine, step, sample, gradients, rtol, atol, cross_check_entries)
    extras = OptionalStages(edge_cases, explain, minimal_example)
    if not isinstance(target, str):
        return check_in_process(problem, resolve(target), None, method, extras, progress)
    if target in BUILT_IN:
        return check_in_process(problem, resolve(target), target, method, extras._replace(edge_cases=False), progress)
    if expand_pattern(target) != [target]:  # a file that is not there is refused before a process is made
        raise InvalidInput(f"{target!r} is a pattern; name one file")
    from bncheck.checking.child_check import check_in_child  # noqa: PLC0415 - the reference needs no process

    return check_in_child(target, problem, method, extras, timeout, progress)
