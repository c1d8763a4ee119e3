"""Search for the known mistakes that give the returned arrays."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bncheck.diagnosis.evidence import MAX_ROUNDINGS, OUTPUT, Evidence, ProblemEvidence, has_wrong_shape_or_dtype
from bncheck.mistakes import Mistake, all_mistakes
from bncheck.mistakes.pass_values import VALUE_ORDER, PassValues
from bncheck.model.problem import COMMON_EPS, FloatArray

# The interval in which a hard-coded eps is searched for, and the bisections of its logarithm that exhaust float64.
MIN_EPS, MAX_EPS, MAX_HALVINGS = 1e-16, 1.0, 60
# The ends of the interval are rounded: a common eps may lie outside by this fraction.
MAX_EPS_ERROR = 1e-6
# A mistake explains an array if its residual is below this fraction of the residual of the correct value.
MAX_RESIDUAL_RATIO = 0.02


@dataclass(frozen=True, slots=True)
class Match:
    """A mistake that gives the returned array on every problem."""

    mistake: Mistake
    relative_distance: float  # the largest over the problems on which the array is wrong
    explains: tuple[str, ...]  # the wrong arrays that the mistake gives
    eps: tuple[float, ...] = ()  # the hard-coded eps with which it matches; empty: the problem's eps


def find_matches(evidence: Evidence, name: str) -> list[Match]:
    """Return the mistakes that give an array on every problem.

    Parameters
    ----------
    evidence : Evidence
        The returned and the expected arrays.
    name : str
        A wrong array.

    Returns
    -------
    list of Match
        The mistakes that explain the largest number of wrong arrays. If no mistake gives a wrong output with the
        problem's eps, a constant eps is tried.
    """
    if not evidence.is_output_known:
        return []
    variants = [variant for mistake in all_mistakes() for variant in mistake.variants(evidence.component)]
    matches = [match for mistake in variants if (match := _try_mistake(evidence, mistake, name))]
    if not matches and name == OUTPUT and not infer_hard_coded_eps(evidence):
        matches = [match for mistake in variants if (match := _try_with_hard_coded_eps(evidence, mistake))]
    return _most_explaining(matches)


def infer_hard_coded_eps(evidence: Evidence) -> tuple[float, ...]:
    """Return the constants eps with which a wrong output is correct batch norm; empty if there are none."""
    candidates = _candidate_eps(evidence, lambda w: w)
    return tuple(eps for eps in candidates if evidence.with_eps(eps).is_consistent(OUTPUT))


def _most_explaining(matches: Sequence[Match]) -> list[Match]:
    most = max((len(match.explains) for match in matches), default=0)
    return [match for match in matches if len(match.explains) == most]


def _try_with_hard_coded_eps(evidence: Evidence, mistake: Mistake) -> Match | None:
    """Return the match of a mistake in the forward pass with a constant eps, the same on all problems."""
    if set(VALUE_ORDER[: VALUE_ORDER.index(evidence.component.output) + 1]).isdisjoint(mistake.replaces):
        return None
    candidates = _candidate_eps(evidence, mistake.apply_to)
    matches = [(eps, _try_mistake(evidence.with_eps(eps), mistake, OUTPUT)) for eps in candidates]
    # The gradients may determine eps better than the output does.
    best = _most_explaining([replace(match, eps=(eps,)) for eps, match in matches if match])
    return replace(best[0], eps=tuple(eps for match in best for eps in match.eps)) if best else None


def _candidate_eps(evidence: Evidence, change: Callable[[PassValues], PassValues]) -> tuple[float, ...]:
    """Return the constants eps with which a changed pass may give the output.

    The smallest variance determines eps best, so eps is computed from that problem.
    """
    problems = [p for p in evidence.problems if p.correct.N > 1 and "gamma" in evidence.component.inputs]
    if not problems:
        return ()
    p = min(problems, key=lambda p: float(np.median(p.correct.var)))
    interval = None if has_wrong_shape_or_dtype(p.result, OUTPUT) else _eps_interval(p, change)
    if interval is None:
        return ()
    low, high = interval
    common = tuple(eps for eps in COMMON_EPS if low <= eps * (1 + MAX_EPS_ERROR) and eps <= high * (1 + MAX_EPS_ERROR))
    # Constants in code are short: an uncommon one is rounded to two digits.
    return common or (float(f"{np.sqrt(low * high):.1e}"),)


def _eps_interval(p: ProblemEvidence, change: Callable[[PassValues], PassValues]) -> tuple[float, float] | None:
    """Enclose the constant eps with which a changed pass gives the output, by bisection.

    In every formula of the catalogue each output is monotonic in eps, so an entry lies between its values at both
    ends. The result is None if some entry does not, or if the shapes differ.
    """
    returned = p.returned[OUTPUT]
    value = np.asarray(returned.value, float)

    def output(eps: float) -> FloatArray:
        return p.array(change(p.correct.with_eps(eps)), OUTPUT).astype(float)

    low, high = MIN_EPS, MAX_EPS
    at_low, at_high = output(low), output(high)
    if at_low.shape != value.shape:
        return None
    growth = np.abs(value).max(axis=0) / np.maximum(returned.term_size, np.finfo(float).tiny)
    allowance = MAX_ROUNDINGS * returned.rounding * np.maximum(growth, 1.0)
    entry = np.unravel_index(int(np.argmax(np.abs(at_high - at_low))), value.shape)
    increases = at_high[entry] > at_low[entry]
    for _ in range(MAX_HALVINGS):
        smallest, largest = np.minimum(at_low, at_high) - allowance, np.maximum(at_low, at_high) + allowance
        if not ((smallest <= value) & (value <= largest)).all():
            return None
        if (np.abs(at_high - at_low) <= allowance).all():
            break
        middle = float(np.sqrt(low * high))
        at_middle = output(middle)
        if (at_middle[entry] < value[entry]) == increases:
            low, at_low = middle, at_middle
        else:
            high, at_high = middle, at_middle
    return low, high


def _try_mistake(evidence: Evidence, mistake: Mistake, name: str) -> Match | None:
    """Return the match of a mistake; None if it does not give the array, or changes a correct one."""
    try:
        fit = _fit(evidence, mistake, name)
    except ValueError:  # its shapes do not fit with the mistakes that were diagnosed so far
        return None
    if fit is None:
        return None
    relative_distance, passes = fit
    # dW, dX and db reveal a mistake in dh only indirectly: then all wrong ones among them must match.
    is_indirect = name in ("b", "W", "X") and f"d{name}" not in mistake.replaces
    explains = [name]
    for other in (n for n in evidence.names if n != name):
        if other in evidence.failing and other not in evidence.explained:
            if all(p.agreement(other, after) is not None for p, after in passes):
                explains.append(other)
            elif is_indirect:
                return None
        # After a wrong output, the gradients may be those of that forward pass.
        elif name != OUTPUT and any(_contradicts(p, other, after) for p, after in passes):
            return None
    return Match(mistake, relative_distance, tuple(explains))


def _fit(
    evidence: Evidence, mistake: Mistake, name: str
) -> tuple[float, list[tuple[ProblemEvidence, PassValues]]] | None:
    """Return the largest relative distance of an array from what a mistake gives; None if it does not give the array.

    With it come the problems, each with the pass that makes the mistake.
    """
    distances, passes = [], []
    for p in evidence.problems:
        after = mistake.apply_to(p.expected)
        passes.append((p, after))
        distance, returned = p.agreement(name, after), p.returned[name]
        if distance is None:
            return None
        if returned.is_wrong and np.isfinite(returned.value).any():
            # In low precision, or for a tiny error, the correct values agree as well: compare the residuals.
            residual, residual_of_correct = (returned.distance_to(p.array(w, name)) for w in (after, p.expected))
            if not residual <= MAX_RESIDUAL_RATIO * residual_of_correct:
                return None
            distances.append(distance)
    return (max(distances), passes) if distances else None


def _contradicts(p: ProblemEvidence, name: str, after: PassValues) -> bool:
    """Return whether a mistake changes an array by more than rounding, to values that were not returned."""
    if p.agreement(name, after) is not None:
        return False
    try:
        unchanged, changed = p.array(p.expected, name), p.array(after, name)
    except ValueError:  # the shapes do not fit together any more
        return True
    return replace(p.returned[name], value=unchanged).agreement(changed) is None
