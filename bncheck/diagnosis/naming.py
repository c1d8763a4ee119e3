"""Which known mistake gives what was returned."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from bncheck.diagnosis.evidence import OUTPUT, Evidence
from bncheck.mistakes import CATALOGUE, Mistake
from bncheck.mistakes.workings import Workings

# A mistake gives an array if what is left is no more than this share of what the right values leave.
CLEARLY = 0.02


@dataclass(frozen=True, slots=True)
class Named:
    """A mistake that gives what was returned on every problem."""

    mistake: Mistake
    closeness: float  # the largest relative distance, over the problems on which it is wrong
    explains: tuple[str, ...]  # everything failing that it gives


def named(evidence: Evidence, name: str) -> list[Named]:
    """Return the mistakes that give an array, those first that explain most; equally good ones only."""
    if evidence.base is None:
        return []
    found = [told for mistake in _variants(evidence) if (told := _tried(evidence, mistake, name, evidence.base))]
    most = max((len(told.explains) for told in found), default=0)
    return [told for told in found if len(told.explains) == most]


def _variants(evidence: Evidence) -> Iterator[Mistake]:
    for mistake in CATALOGUE:
        yield from mistake.variants(evidence.piece)


def _tried(evidence: Evidence, mistake: Mistake, name: str, base: list[Workings]) -> Named | None:
    """Return what a mistake explains, or None where it does not give this array, or spoils a right one."""
    try:
        passes = [mistake.applied(w) for w in base]
    except ValueError:  # its shapes do not go with what was found before
        return None
    closeness = _closeness(evidence, name, base, passes)
    if closeness is None:
        return None
    # What is wrong behind dh, by a mistake made before it, must be so in everything there: dh itself was not seen.
    indirect = name in ("b", "W", "X") and f"d{name}" not in mistake.formulas
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
    return Named(mistake, closeness, tuple(explains))


def _closeness(evidence: Evidence, name: str, base: list[Workings], passes: list[Workings]) -> float | None:
    """Return how far an array is at most from what these passes give; None where they do not give it."""
    distances = []
    for number, (before, after) in enumerate(zip(base, passes, strict=True)):
        distance, seen = evidence.agreement(number, name, after), evidence.observed[number][name]
        if distance is None:
            return None
        if seen.wrong and np.isfinite(seen.value).any():
            # Rounding may be so coarse, or what is wrong so little, that the right values agree as well.
            guess, right = (seen.off(evidence.value(w, name)) for w in (after, before))
            if not guess <= CLEARLY * right:
                return None
            distances.append(distance)
    return max(distances, default=None)


def _changes(evidence: Evidence, name: str, number: int, before: Workings, after: Workings) -> bool:
    """Tell whether a mistake changes an array beyond rounding."""
    try:
        right, made = evidence.value(before, name), evidence.value(after, name)
    except ValueError:
        return True
    seen = evidence.observed[number][name]
    return replace(seen, value=np.asarray(right)).agrees(made) is None
