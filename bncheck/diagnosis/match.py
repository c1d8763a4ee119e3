"""Which known mistake gives what was returned."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from bncheck.diagnosis.evidence import MAX_ROUNDINGS, OUTPUT, Evidence, is_misshapen
from bncheck.mistakes import NO_MISTAKE, Mistake, all_mistakes
from bncheck.mistakes.pass_values import COMPONENT_VALUES, ORDER, PassValues
from bncheck.model.problem import COMMON_EPS, FloatArray

# Between these a constant is solved for; so many bisections of its logarithm leave less than its last digit.
MIN_EPS, MAX_EPS, MAX_HALVINGS = 1e-16, 1.0, 60
# By so much of it a usual constant may lie outside its bracket, whose ends are rounded.
MAX_EPS_ERROR = 1e-6
# A mistake gives an array if what is left is no more than this share of what the right values leave.
MAX_RESIDUAL_RATIO = 0.02


@dataclass(frozen=True, slots=True)
class Match:
    """A mistake that gives what was returned on every problem."""

    mistake: Mistake
    closeness: float  # the largest relative distance, over the problems on which it is wrong
    explains: tuple[str, ...]  # everything failing that it gives
    eps: tuple[float, ...] = ()  # constants in place of bn_eps with which it does, if it does not with bn_eps


def find_matches(evidence: Evidence, name: str) -> list[Match]:
    """Return the mistakes that give an array, those first that explain most; equally good ones only.

    A wrong output that no mistake gives with bn_eps is compared with the same mistakes around a constant eps.
    """
    if evidence.base is None:
        return []
    matches = [
        match for mistake in _variants(evidence) if (match := _try_mistake(evidence, mistake, name, evidence.base))
    ]
    if not matches and name == OUTPUT and not fixed_eps_of(evidence):
        matches = list(_with_fixed_eps(evidence))
    most = max((len(match.explains) for match in matches), default=0)
    return [match for match in matches if len(match.explains) == most]


def fixed_eps_of(evidence: Evidence) -> tuple[float, ...]:
    """Return the constants with which a wrong output is batch norm's own; none if it is not."""
    return tuple(eps for eps in _candidate_eps(evidence, NO_MISTAKE) if evidence.with_eps(eps).is_consistent(OUTPUT))


def _with_fixed_eps(evidence: Evidence) -> Iterator[Match]:
    """Yield the mistakes that give the output if eps is the same constant on all problems."""
    forward = set(ORDER[: ORDER.index(evidence.piece.output) + 1])
    for mistake in _variants(evidence):
        if forward.isdisjoint(mistake.replaces):
            continue
        matches = {}
        for eps in _candidate_eps(evidence, mistake):
            hypothesis = evidence.with_eps(eps)
            match = _try_mistake(hypothesis, mistake, OUTPUT, hypothesis.base or [])
            if match is not None:
                matches[eps] = match
        # What follows from the output may show eps better than the output does.
        most = max((len(match.explains) for match in matches.values()), default=0)
        best = {eps: match for eps, match in matches.items() if len(match.explains) == most}
        if best:
            yield replace(next(iter(best.values())), eps=tuple(best))


def _candidate_eps(evidence: Evidence, mistake: Mistake) -> tuple[float, ...]:
    """Return the constants in place of bn_eps with which a mistake may give the output.

    The smallest variance shows eps best, so a mistake is solved for its eps on that problem, by bisection. In every
    formula of the catalogue each output is monotonic in eps: a bracket that leaves out an entry refutes the mistake.
    """
    numbers = (
        [i for i, w in enumerate(evidence.right) if w.N > 1] if "sigma" in COMPONENT_VALUES[evidence.piece] else []
    )
    if not numbers:
        return ()
    number = min(numbers, key=lambda i: float(np.median(evidence.right[i].var)))
    observed = evidence.observed[number][OUTPUT]
    if is_misshapen(evidence.cases[number], OUTPUT):
        return ()
    value = np.asarray(observed.value, float)

    def output(eps: float) -> FloatArray:
        w = mistake.apply_to(evidence.right[number].with_eps(eps))
        return np.asarray(evidence.value(w, OUTPUT), float)

    low, high = MIN_EPS, MAX_EPS
    at_low, at_high = output(low), output(high)
    if at_low.shape != value.shape:
        return ()
    growth = np.abs(value).max(axis=0) / np.maximum(observed.size, np.finfo(float).tiny)
    rounding_allowance = MAX_ROUNDINGS * observed.rounding * np.maximum(growth, 1.0)
    entry = np.unravel_index(int(np.argmax(np.abs(at_high - at_low))), value.shape)
    rises = at_high[entry] > at_low[entry]
    for _ in range(MAX_HALVINGS):
        inside = (np.minimum(at_low, at_high) - rounding_allowance <= value) & (
            value <= np.maximum(at_low, at_high) + rounding_allowance
        )
        if not inside.all():
            return ()
        if (np.abs(at_high - at_low) <= rounding_allowance).all():
            break
        middle = float(np.sqrt(low * high))
        at_middle = output(middle)
        if (at_middle[entry] < value[entry]) == rises:
            low, at_low = middle, at_middle
        else:
            high, at_high = middle, at_middle
    usual = tuple(eps for eps in COMMON_EPS if low <= eps * (1 + MAX_EPS_ERROR) and eps <= high * (1 + MAX_EPS_ERROR))
    # Code contains round numbers: another constant is kept to two digits.
    return usual or (float(f"{np.sqrt(low * high):.1e}"),)


def _variants(evidence: Evidence) -> Iterator[Mistake]:
    for mistake in all_mistakes():
        yield from mistake.variants(evidence.piece)


def _try_mistake(evidence: Evidence, mistake: Mistake, name: str, base: list[PassValues]) -> Match | None:
    """Return what a mistake explains, or None where it does not give this array, or spoils a right one."""
    try:
        fit = _closeness(evidence, name, base, mistake)
    except ValueError:  # its shapes do not go with what was found before
        return None
    if fit is None:
        return None
    closeness, passes = fit
    # What is wrong behind dh, by a mistake made before it, must be so in everything there: dh itself was not seen.
    indirect = name in ("b", "W", "X") and f"d{name}" not in mistake.replaces
    explains = [name]
    for other in evidence.names:
        if other == name:
            continue
        gives = [evidence.agreement(i, other, w) is not None for i, w in enumerate(passes)]
        if other in evidence.failing and other not in evidence.explained:
            explains += [other] if all(gives) else []
            if indirect and not all(gives):
                return None
        elif name == OUTPUT:  # the backward pass may be the derivative of that forward pass
            continue
        elif any(not g and _changes(evidence, other, i, base[i], passes[i]) for i, g in enumerate(gives)):
            return None
    return Match(mistake, closeness, tuple(explains))


def _closeness(
    evidence: Evidence, name: str, base: list[PassValues], mistake: Mistake
) -> tuple[float, list[PassValues]] | None:
    """Return how far an array is at most from what a mistake gives, and its passes; None where it does not give it."""
    distances, passes = [], []
    for number, before in enumerate(base):
        after = mistake.apply_to(before)
        passes.append(after)
        distance, seen = evidence.agreement(number, name, after), evidence.observed[number][name]
        if distance is None:
            return None
        if seen.wrong and np.isfinite(seen.value).any():
            # Rounding may be so coarse, or what is wrong so little, that the right values agree as well.
            guess, right = (seen.distance_to(evidence.value(w, name)) for w in (after, before))
            if not guess <= MAX_RESIDUAL_RATIO * right:
                return None
            distances.append(distance)
    return (max(distances), passes) if distances else None


def _changes(evidence: Evidence, name: str, number: int, before: PassValues, after: PassValues) -> bool:
    """Tell whether a mistake changes an array beyond rounding."""
    try:
        right, made = evidence.value(before, name), evidence.value(after, name)
    except ValueError:
        return True
    seen = evidence.observed[number][name]
    return replace(seen, value=np.asarray(right)).agrees(made) is None
