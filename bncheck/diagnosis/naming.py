"""Which known mistake gives what was returned."""

from collections.abc import Iterator
from dataclasses import dataclass

from bncheck.diagnosis.evidence import OUTPUT, Evidence
from bncheck.mistakes import CATALOGUE, Mistake
from bncheck.mistakes.workings import Workings


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
    passes: list[Workings] = []
    distances = []
    for number, w in enumerate(base):
        try:
            passes.append(mistake.applied(w))
        except ValueError:  # its shapes do not go with what was found before
            return None
        distance = evidence.agreement(number, name, passes[number])
        if distance is None:
            return None
        if evidence.observed[number][name].wrong:
            distances.append(distance)
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
    return Named(mistake, max(distances), tuple(explains))


def _changes(evidence: Evidence, name: str, number: int, before: Workings, after: Workings) -> bool:
    """Tell whether a mistake changes an array beyond rounding."""
    try:
        right, made = evidence.value(before, name), evidence.value(after, name)
    except ValueError:
        return True
    seen = evidence.observed[number][name]
    return type(seen)(right, seen.rounding, seen.size, False).agrees(made) is None
