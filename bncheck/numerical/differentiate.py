"""From a problem to its numerical gradients with error bars: plan, evaluate, audit."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bncheck.numerical.bars import Bars, bars_of
from bncheck.numerical.basepoint import BasePoint
from bncheck.numerical.full import Evaluated, Forward, full_gradients
from bncheck.numerical.kinks import within_reach
from bncheck.numerical.local import local_gradients
from bncheck.numerical.schemes import Scheme
from bncheck.numerical.steps import Steps, automatic_steps, fixed_steps
from bncheck.problem import FloatArray, Problem
from bncheck.progress import Progress, silent
from bncheck.results import Audit, Cause, Kinks, Numerical, NumericalGradient

# An audit takes this many entries where the problem is small, and fewer where a forward pass is
# dear, down to the minimum: about as many products as AUDIT_COST.
AUDIT_ENTRIES, LEAST_AUDIT_ENTRIES, AUDIT_COST = 64, 8, 2**29


@dataclass(frozen=True, slots=True)
class Plan:
    """Where and how a check differentiates."""

    base: BasePoint  # the forward pass at the guarded problem
    scheme: Scheme
    steps: Steps  # by parameter name; they broadcast against the parameter
    automatic: bool  # the steps are the scale-aware ones
    kinks: Kinks  # what the guard took out of the loss

    @property
    def problem(self) -> Problem:
        """The guarded problem, which both gradients are taken of."""
        return self.base.problem


def plan_measurement(problem: Problem, scheme: Scheme, step: float | None) -> Plan:
    """Choose the steps, and take out of the loss what they may carry across ReLU's kink.

    ``step`` is an absolute step for every parameter, or None for scale-aware ones.
    """
    base = BasePoint.of(problem)
    steps = automatic_steps(base, scheme) if step is None else fixed_steps(step)
    near = within_reach(base, scheme, steps)
    guarded = base.guarded(near)
    alive = ((base.y > 0) & ~near).any(axis=0)
    kinks = Kinks(int(near.sum()), near.size, int((~alive).sum()))
    return Plan(guarded, scheme, steps, step is None, kinks)


def differentiate(
    forward: Forward,
    plan: Plan,
    names: Sequence[str],
    engine: str,
    *,
    sample: int | None = None,
    progress: Progress = silent,
) -> Numerical:
    """Take the named gradients ("dX", ...) numerically, each entry with its error bar.

    ``forward`` is what the full engine differentiates, and audits the local one with; ``sample``
    is how many entries of each gradient it draws.
    """
    parameters = [name[1:] for name in names]
    rng = np.random.default_rng([plan.problem.seed or 0, 1])  # not the stream of the problem
    bars = bars_of(plan.base, plan.scheme, plan.steps, parameters)
    if engine == "full":
        entries = {name: _draw(rng, _size(plan, name), sample) for name in parameters}
        evaluated, interrupted = full_gradients(
            forward, plan.base, plan.scheme, plan.steps, entries, progress
        )
        asked = {name: len(flat) for name, flat in entries.items()}
        return Numerical(_with_bars(plan, evaluated, asked, bars), None, interrupted)
    values = local_gradients(plan.base, plan.scheme, plan.steps, parameters, progress)
    evaluated = {name: _everything(value) for name, value in values.items()}
    asked = {name: value.size for name, value in values.items()}
    audit = _audit(forward, plan, values, bars, rng)
    return Numerical(_with_bars(plan, evaluated, asked, bars), audit, interrupted=False)


def _audit(
    forward: Forward,
    plan: Plan,
    values: Mapping[str, FloatArray],
    bars: Bars,
    rng: np.random.Generator,
) -> Audit:
    """Evaluate random entries by whole forward passes and hold the local values against them.

    Both evaluate the same quotients at the same steps, so they share the truncation error and
    may differ by rounding alone.
    """
    p = plan.problem
    total = min(AUDIT_ENTRIES, max(LEAST_AUDIT_ENTRIES, AUDIT_COST // (p.N * p.D * p.H)))
    # Shared out evenly; what the small gradients cannot take, the large ones do.
    entries: dict[str, npt.NDArray[np.intp]] = {}
    for name in sorted(values, key=lambda name: values[name].size):
        even = -(-total // (len(values) - len(entries)))
        entries[name] = _draw(rng, values[name].size, even)
        total -= len(entries[name])
    evaluated, interrupted = full_gradients(
        forward, plan.base, plan.scheme, plan.steps, entries, silent
    )
    if interrupted:  # half an audit audits nothing
        raise KeyboardInterrupt
    differences, shares_of_bar = [np.zeros(0)], [np.zeros(0)]
    for name, found in evaluated.items():
        usable = found.done & ~found.unresolved
        bar = (bars.rounding[name] + bars.conditioning[name])[usable]
        difference = np.abs(found.value - values[name])[usable]
        differences.append(difference)
        shares_of_bar.append(_ratio(difference, bar))
    difference, share = np.concatenate(differences), np.concatenate(shares_of_bar)
    return Audit(len(share), float(difference.max(initial=0.0)), float(share.max(initial=0.0)))


def _with_bars(
    plan: Plan, evaluated: Mapping[str, Evaluated], asked: Mapping[str, int], bars: Bars
) -> dict[str, NumericalGradient]:
    # If N = 1, h - mu is 0 whatever h is; and batch norm cancels b always.
    zeros = {"X", "W", "b", "gamma", "h"} if plan.problem.N == 1 else {"b"}
    gradients = {}
    for name, found in evaluated.items():
        conditioning, size = bars.conditioning[name], bars.size[name]
        parts = {
            Cause.TRUNCATION: bars.truncation[name],
            Cause.ROUNDING: bars.rounding[name],
            Cause.CONDITIONING: conditioning,
        }
        error_bar = np.where(found.unresolved, np.inf, sum(parts.values()))
        share = np.where(found.done & (size > 0), _ratio(error_bar, size), -1.0)
        where = np.unravel_index(int(np.argmax(share)), share.shape)
        gradients[f"d{name}"] = NumericalGradient(
            value=found.value,
            done=found.done,
            asked=asked[name],
            error_bar=error_bar,
            conditioning=conditioning,
            size=size,
            zero=name in zeros,
            widest=max(parts, key=lambda cause: np.broadcast_to(parts[cause], share.shape)[where]),
        )
    return gradients


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return numerator / denominator with 0/0 = 0; what is left over nothing is infinite."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = numerator / denominator
    return np.where(numerator == 0, 0.0, ratio)


def _draw(rng: np.random.Generator, size: int, count: int | None) -> npt.NDArray[np.intp]:
    """Return flat indices in order: all of them, or ``count`` drawn without replacement."""
    if count is None or count >= size:
        return np.arange(size, dtype=np.intp)
    return np.sort(rng.choice(size, count, replace=False)).astype(np.intp)


def _size(plan: Plan, name: str) -> int:
    array: FloatArray = plan.base.h if name == "h" else getattr(plan.problem, name)
    return array.size


def _everything(value: FloatArray) -> Evaluated:
    return Evaluated(value, np.ones(value.shape, bool), np.zeros(value.shape, bool))


def entries_to_do(problem: Problem, names: Iterable[str], engine: str, sample: int | None) -> int:
    """Return how many entries ``differentiate`` will report as progress."""
    N, D, H = problem.N, problem.D, problem.H
    sizes = {"dX": N * D, "dW": D * H, "dh": N * H}
    if engine == "local":
        return sizes["dX"] if "dX" in names else 0
    return sum(min(sizes.get(name, H), sample or sizes.get(name, H)) for name in names)
