"""Formats of numbers, indices and entries."""

import math
from collections.abc import Sequence

from bncheck.model.results import Entry, GradientResult


def relative(value: float) -> str:
    """Format a relative error or a resolution."""
    return f"{value:.1e}" if math.isfinite(value) else str(value)


def format_tolerance_ratio(ratio: float) -> str:
    """Format |a - n| / tolerance: in percent below 10, as a factor from there on."""
    if not math.isfinite(ratio):
        return str(ratio)
    if ratio >= 10:
        return f"{ratio:,.0f} ×" if ratio < 1e5 else f"{ratio:.1e} ×"
    return "<1 %" if 0 < ratio < 0.005 else f"{100 * ratio:.0f} %"


def entry_name(g: GradientResult, entry: Entry) -> str:
    """Return the name of an entry: dX[31, 7]."""
    return f"{g.name}[{', '.join(map(str, entry.index))}]"


def align_values(entry: Entry) -> tuple[str, str]:
    """Return the analytic and the numerical value with the same number of digits and aligned points."""
    values = (entry.analytic, entry.numerical)
    largest = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
    plain = largest == 0 or 1e-3 <= largest < 1e6
    analytic, numerical = (f"{v + 0.0:.10{'f' if plain else 'e'}}" for v in values)  # + 0.0: no -0.0
    width = max(len(analytic), len(numerical))
    return analytic.rjust(width), numerical.rjust(width)


def format_index_ranges(indices: Sequence[int], noun: str) -> str:
    """Format up to four runs of indices, "rows 3, 60-63"; return only the number of indices if there are more runs."""
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


def sentence(phrase: str) -> str:
    """Return a phrase with a capital letter and a full stop. It must not start with the name of an array."""
    return f"{phrase[0].upper()}{phrase[1:]}."


def join_words(words: Sequence[str], conjunction: str = "and") -> str:
    """Join words with commas, the last one with a conjunction."""
    return f" {conjunction} ".join(filter(None, (", ".join(words[:-1]), words[-1])))
