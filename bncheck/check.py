"""One check: a target's analytic gradients against numerical ones, on one problem."""

import math
import shlex
import time
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from bncheck.comparison import compare, compare_forward
from bncheck.errors import InvalidInput
from bncheck.numerical.differentiate import differentiate, plan_measurement
from bncheck.numerical.full import network_forward
from bncheck.numerical.schemes import scheme_named
from bncheck.problem import Problem
from bncheck.progress import Progress, silent
from bncheck.results import GRADIENTS, CheckResult, GradientResult, Method, Remark, Verdict
from bncheck.targets import resolve

ENGINES = ("local", "full")
# Below this a step times a weight may be one of float64's denormals, which have lost digits.
LEAST_STEP = 1e-100
# A factor on a whole gradient that would have to be off by more than this to be seen is told.
COARSE_VALUE = 1e-2


class InterruptedCheck(KeyboardInterrupt):
    """Ctrl-C during a check; ``result`` holds what was done until then, and is no pass."""

    def __init__(self, result: CheckResult) -> None:
        super().__init__(f"interrupted after {result.checked:,} of {result.entries:,} entries")
        self.result = result


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
    progress: Progress = silent,
) -> CheckResult:
    """Check a target's backward pass against finite differences of the forward pass.

    Parameters
    ----------
    problem : Problem
        From ``random_problem``, or made by hand.
    target : str or object, default "reference"
        A built-in's name, or an object with ``forward(X, W, b, gamma, beta, bn_eps)`` and
        ``backward(dout, cache)``.
    scheme : str, default "central"
        forward, central, five-point, richardson or complex.
    step : float or "auto", default "auto"
        An absolute finite-difference step, or scale-aware ones.
    engine : str, default "local"
        "local", or "full": one whole forward pass per entry and evaluation.
    sample : int, optional
        Check that many random entries of each gradient (full engine only).
    only : iterable of str, optional
        Gradients to check; all by default.
    rtol, atol : float, optional
        Judge by atol + rtol max(|a|, |n|) instead of the error bars. Without ``atol`` a gradient
        that is exactly 0 (db) keeps its error bars.
    progress : callable, optional
        Told of entries as they are done.

    Returns
    -------
    CheckResult

    Raises
    ------
    InvalidInput
        An option has a value it cannot have.
    TargetError
        The target raised, or did not return what its interface says.
    InterruptedCheck
        Ctrl-C; it is a KeyboardInterrupt that carries what was done.
    """
    started = time.perf_counter()
    formula, names = scheme_named(scheme), _names(only)
    method = Method(
        scheme,
        _engine(engine),
        _step(step),
        _sample(sample, engine),
        _limit("rtol", rtol),
        _limit("atol", atol),
    )
    code = resolve(target)

    plan = plan_measurement(problem, formula, None if step == "auto" else float(step))
    analytic = code.run(plan.problem)
    numerical = differentiate(
        network_forward(problem.bn_eps), plan, names, engine, sample=sample, progress=progress
    )
    gradients = compare(analytic.gradients, numerical.gradients, plan, method)
    result = CheckResult(
        problem=plan.problem,
        target=code.info,
        method=method,
        forward=(compare_forward(analytic, plan),),
        gradients=gradients,
        kinks=plan.kinks,
        audit=numerical.audit,
        remarks=tuple(_remarks(gradients.values())),
        interrupted=numerical.interrupted,
        seconds=time.perf_counter() - started,
        reproduce=_command(problem, target, method, names),
    )
    if result.interrupted:
        raise InterruptedCheck(result)
    return result


def _remarks(gradients: Iterable[GradientResult]) -> Iterable[Remark]:
    for g in gradients:
        coarse = g.value_resolution is not None and g.value_resolution > COARSE_VALUE
        if coarse and g.verdict is Verdict.PASS:
            yield Remark(
                "coarse-value",
                f"{g.name} nearly cancels: only a wrong factor of more than "
                f"{g.value_resolution:.1e} on all of it would be seen",
            )


def _command(problem: Problem, target: Any, method: Method, names: Iterable[str]) -> str | None:
    """Return the command that does the check again, or None where no command can."""
    if problem.seed is None or not isinstance(target, str):
        return None
    words = ["bncheck", "run"]
    if target != "reference":
        words.append(shlex.quote(target))
    words += ["--N", str(problem.N), "--D", str(problem.D), "--H", str(problem.H)]
    words += ["--seed", str(problem.seed)]
    options = (
        ("--bn-eps", problem.bn_eps, 1e-5),
        ("--x-mean", problem.x_mean, 0.0),
        ("--x-std", problem.x_std, 1.0),
        ("--scheme", method.scheme, "central"),
        ("--step", method.step, "auto"),
        ("--engine", method.engine, "local"),
        ("--sample", method.sample, None),
        ("--only", ",".join(names), ",".join(GRADIENTS)),
        ("--rtol", method.rtol, None),
        ("--atol", method.atol, None),
    )
    for option, value, default in options:
        if value != default:
            words += [option, str(value).removesuffix(".0")]
    return " ".join(words)


def _names(only: Iterable[str] | None) -> tuple[str, ...]:
    if only is None:
        return GRADIENTS
    asked = [only] if isinstance(only, str) else list(only)
    if not asked:
        raise InvalidInput(f"only is empty; choose from {', '.join(GRADIENTS)}")
    for name in asked:
        if name not in GRADIENTS:
            same = [known for known in GRADIENTS if known.lower() == str(name).lower()]
            near = same or get_close_matches(str(name), GRADIENTS, 1, 0.5)
            guess = f"did you mean {near[0]}? There" if near else "there"
            raise InvalidInput(f"no gradient {name!r}; {guess} are {', '.join(GRADIENTS)}")
    return tuple(name for name in GRADIENTS if name in asked)


def _engine(engine: str) -> str:
    if engine not in ENGINES:
        raise InvalidInput(f"no engine {engine!r}; there are {' and '.join(ENGINES)}")
    return engine


def _step(step: float | str) -> float | str:
    if step == "auto":
        return step
    if isinstance(step, str | bool) or not (0 < step < math.inf):
        raise InvalidInput(f"step is {step!r}; it must be a number above 0, or 'auto'")
    if step < LEAST_STEP:
        raise InvalidInput(f"step is {step}; float64 loses digits below {LEAST_STEP:.0e}")
    return float(step)


def _sample(sample: int | None, engine: str) -> int | None:
    if sample is None:
        return None
    if isinstance(sample, bool) or not isinstance(sample, int) or sample < 1:
        raise InvalidInput(f"sample is {sample!r}; it must be a whole number, 1 or larger")
    if engine != "full":
        raise InvalidInput(
            f"sample is {sample}, but the {engine} engine checks every entry; "
            "take the full engine, or leave sample out"
        )
    return sample


def _limit(name: str, value: float | None) -> float | None:
    if value is not None and not (0 <= value < math.inf):
        raise InvalidInput(f"{name} is {value}; it must be a finite number, 0 or larger")
    return value
