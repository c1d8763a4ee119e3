"""How numbers, indices and commands are written."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from bncheck.results import CheckResult, Entry, GradientResult, Verdict

# The relative error that people have learnt to stay below ...
FAMILIAR = 1e-7
# ... and the share of a gradient's largest entry under which one is called nearly 0.
NEARLY_ZERO = 1e-2


def measured(scheme: str) -> str:
    """Say what the numerical values are, before "every entry"."""
    return "the complex step at" if scheme == "complex" else f"{scheme} differences of"


def relative(value: float) -> str:
    """Write a relative error or a resolution."""
    return f"{value:.1e}" if math.isfinite(value) else str(value)


def times(share: float) -> str:
    """Write |a - n| / tolerance: as per cent while it is small, as a factor where it is not."""
    if not math.isfinite(share):
        return str(share)
    if share >= 10:
        return f"{share:,.0f} ×" if share < 1e5 else f"{share:.1e} ×"
    return "<1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def place(g: GradientResult, entry: Entry) -> str:
    """Name an entry: dX[31, 7]."""
    return f"{g.name}[{', '.join(map(str, entry.index))}]"


def aligned(entry: Entry) -> tuple[str, str]:
    """Write both values with as many digits, the points under one another."""
    values = (entry.analytic, entry.numerical)
    largest = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
    plain = largest == 0 or 1e-3 <= largest < 1e6
    written = [f"{v + 0.0:.10f}" if plain else f"{v + 0.0:.10e}" for v in values]
    width = max(map(len, written))
    return written[0].rjust(width), written[1].rjust(width)


def failures(failing: Sequence[GradientResult]) -> Iterator[str]:
    """Say what is wrong in a sentence for each function, or each gradient that is wrong in part."""
    whole: dict[str | None, list[str]] = {}
    for g in failing:
        if g.function and g.wrong == g.checked and not g.reasons:
            whole.setdefault(g.function, []).append(g.name)
    for g in failing:
        together = whole.get(g.function, [])
        if g.reasons:
            yield from (f"{g.function or g.name}: {r.rstrip('.')}{'' if r.endswith('?') else '.'}" for r in g.reasons)
        elif len(together) < 2 or g.name not in together:
            yield f"{g.function or g.name}: {census(g)}."
        elif g.name == together[0]:
            yield f"{g.function}: all entries of {', '.join(together[:-1])} and {together[-1]} are wrong."


def census(g: GradientResult) -> str:
    """Say how many of how many entries are wrong, and where."""
    entries = "entries" if g.function is None else f"entries of {g.name}"
    if g.wrong == g.checked:
        return f"all {g.checked:,} {entries} are wrong" if g.checked > 1 else f"the one entry{entries[7:]} is wrong"
    many = f"{g.wrong:,} of {g.checked:,} {entries} {'is' if g.wrong == 1 else 'are'} wrong"
    if g.numerical.ndim == 1:
        return f"{many}: {listed(g.columns, 'unit')}"
    N, H = g.numerical.shape
    rows = "" if len(g.rows) == N else listed(g.rows, "row")
    columns = "" if len(g.columns) == H else listed(g.columns, "column")
    where = " and ".join(filter(None, (rows, columns)))
    return f"{many}, in {where or 'every row and every column'}"


def listed(indices: Sequence[int], noun: str) -> str:
    """Name a few indices, runs as ranges: rows 3, 60-63; many are counted."""
    runs: list[list[int]] = []
    for i in indices:
        if runs and i == runs[-1][-1] + 1:
            runs[-1][1:] = [i]
        else:
            runs.append([i])
    if len(runs) > 4:
        return f"{len(indices):,} {noun}s"
    names = ", ".join("-".join(map(str, run)) for run in runs)
    return f"{noun}{'' if len(indices) == 1 else 's'} {names}"


def max_relative(r: CheckResult) -> str:
    """Answer whoever learnt "below 1e-7" before they ask: where the largest relative error is."""
    live = [g for g in r.gradients.values() if g.largest_relative and not g.zero and not g.wrong]
    if not live or r.verdict is Verdict.FAIL:
        return ""
    g = max(live, key=lambda g: g.max_relative_error)
    entry = g.largest_relative
    if entry is None or not g.max_relative_error > FAMILIAR:
        return ""
    small = abs(entry.numerical) < NEARLY_ZERO * np.nanmax(np.abs(g.numerical))
    nearly = ", nearly 0" if small else ""
    return f"largest at {place(g, entry)} = {entry.numerical:.1e}{nearly} (not judged)"


def kinks(r: CheckResult) -> str:
    """Say how many outputs were guarded."""
    if not any(part.piece in ("relu", "network") for part in r.forward):
        return ""
    k = r.kinks
    dead = f"{k.dead_units:,} of {r.problem.H:,} units have no active output left"
    units = dead if k.dead_units else "every unit is active somewhere"
    return f"{k.guarded:,} of {k.outputs:,} outputs guarded; {units}"


def audit(r: CheckResult) -> str:
    """Say how well the local engine agreed with whole forward passes."""
    if r.audit is None:
        return ""
    if not r.audit.agrees:
        return f"{r.audit.entries} entries by whole forward passes: off by {r.audit.of_bar:.1f} bars"
    within = f"within {times(r.audit.of_bar)} of the bar" if r.audit.of_bar else "to the last bit"
    return f"{r.audit.entries} entries by whole forward passes agree {within}"


def probes(r: CheckResult) -> Iterator[str]:
    """Say how the small problems ended, those that ended alike together."""
    alike: dict[tuple[Verdict, tuple[str, ...]], list[str]] = {}
    for probe in r.probes:
        alike.setdefault((probe.verdict, probe.failing), []).append(probe.name)
    for (verdict, failing), names in alike.items():
        yield f"{', '.join(names)}: {verdict.value}{' at ' if failing else ''}{', '.join(failing)}"


def broken(command: str, width: int) -> list[str]:
    r"""Break a command between options so that it can still be pasted: lines end in a ``\``."""
    lines = [""]
    for word in command.split(" --"):
        piece = word if not lines[0] else f"--{word}"
        if lines[-1] and len(lines[-1]) + len(piece) + 3 > width:
            lines[-1] += " \\"
            lines.append(f"  {piece}")
        else:
            lines[-1] += f" {piece}" if lines[-1] else piece
    return lines
