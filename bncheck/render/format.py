"""How numbers, indices and commands are written."""

import math
import shlex
import string
from collections.abc import Iterator, Sequence

import numpy as np
from rich.cells import cell_len

from bncheck.model.results import CheckResult, Entry, GradientResult, Verdict

# Edge cases that are named, of those that end in the same way, and ways to end.
MAX_NAMES, MAX_GROUPS = 4, 2
# The relative error that people have learnt to stay below ...
FAMILIAR = 1e-7
# ... and the share of a gradient's largest entry under which one is called nearly 0.
NEARLY_ZERO = 1e-2

# What ends a line of a command that goes on, and what the next one begins with.
CONTINUED, CONTINUATION = " \\", "  "
# Characters that mean themselves in a shell's $'...'.
PLAIN = frozenset(string.ascii_letters + string.digits + ' !#%&()*+,-./:;<=>?@[]^_`{|}~"$')


def describe_scheme(scheme: str) -> str:
    """Say what the numerical values are, before "every entry"."""
    return "the complex step at" if scheme == "complex" else f"{scheme} differences of"


def relative(value: float) -> str:
    """Write a relative error or a resolution."""
    return f"{value:.1e}" if math.isfinite(value) else str(value)


def format_tolerance_ratio(share: float) -> str:
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
        when = f" {g.usage}" if g.usage else ""
        if g.reasons:
            yield from (f"{g.function or g.name}: {r.rstrip('.')}{'' if r.endswith('?') else '.'}" for r in g.reasons)
        elif len(together) < 2 or g.name not in together:
            yield f"{g.function or g.name}: {count_wrong_entries(g)}{when}."
        elif g.name == together[0]:
            yield f"{g.function}: all entries of {', '.join(together[:-1])} and {together[-1]} are wrong{when}."


def count_wrong_entries(g: GradientResult) -> str:
    """Say how many of how many entries are wrong, and where."""
    entries = "entries" if g.function is None else f"entries of {g.name}"
    if g.wrong == g.checked:
        return f"all {g.checked:,} {entries} are wrong" if g.checked > 1 else f"the one entry{entries[7:]} is wrong"
    many = f"{g.wrong:,} of {g.checked:,} {entries} {'is' if g.wrong == 1 else 'are'} wrong"
    if g.numerical.ndim == 1:
        return f"{many}: {format_index_ranges(g.wrong_columns, 'unit')}"
    N, H = g.numerical.shape
    rows = "" if len(g.wrong_rows) == N else format_index_ranges(g.wrong_rows, "row")
    columns = "" if len(g.wrong_columns) == H else format_index_ranges(g.wrong_columns, "column")
    where = " and ".join(filter(None, (rows, columns)))
    return f"{many}, in {where or 'every row and every column'}"


def format_index_ranges(indices: Sequence[int], noun: str) -> str:
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
    live = [g for g in r.gradients.values() if g.largest_relative_error_at and not g.exact_zero and not g.wrong]
    if not live or r.verdict is Verdict.FAIL:
        return ""
    g = max(live, key=lambda g: g.max_relative_error)
    entry = g.largest_relative_error_at
    if entry is None or not g.max_relative_error > FAMILIAR:
        return ""
    small = abs(entry.numerical) < NEARLY_ZERO * np.nanmax(np.abs(g.numerical))
    nearly = ", nearly 0" if small else ""
    return f"largest at {place(g, entry)} = {entry.numerical:.1e}{nearly} (not judged)"


def kinks(r: CheckResult) -> str:
    """Say how many outputs were guarded."""
    if not any(part.component in ("relu", "network") for part in r.forward):
        return ""
    k = r.kink_exclusion
    dead = f"{k.dead_units:,} of {r.problem.H:,} units have no active output left"
    units = dead if k.dead_units else "every unit is active somewhere"
    return f"{k.excluded:,} of {k.outputs:,} outputs guarded; {units}"


def audit(r: CheckResult) -> str:
    """Say how well the local engine agreed with whole forward passes."""
    if r.cross_check is None:
        return ""
    if not r.cross_check.agrees:
        return f"{r.cross_check.entries} entries by whole forward passes: off by {r.cross_check.bound_ratio:.1f} bars"
    within = (
        f"within {format_tolerance_ratio(r.cross_check.bound_ratio)} of the bar"
        if r.cross_check.bound_ratio
        else "to the last bit"
    )
    return f"{r.cross_check.entries} entries by whole forward passes agree {within}"


def edge_cases(r: CheckResult) -> str:
    """Say on how many edge cases the code passes, and of which shapes they are."""
    if not r.edge_cases:
        return ""
    passed = sum(probe.verdict is Verdict.PASS for probe in r.edge_cases)
    sizes = zip("NDH", zip(*(probe.shape for probe in r.edge_cases), strict=True), strict=True)
    shapes = ", ".join(f"{name} {min(values)} to {max(values)}" for name, values in sizes)
    return f"{passed} of {len(r.edge_cases)} pass ({shapes})"


def failing_edge_cases(r: CheckResult) -> Iterator[str]:
    """Say what fails on which edge cases, those that end alike together."""
    alike: dict[tuple[Verdict, tuple[str, ...]], list[str]] = {}
    for probe in r.edge_cases:
        if probe.verdict is not Verdict.PASS:
            alike.setdefault((probe.verdict, probe.failed), []).append(probe.name)
    about = {probe.name: probe.about for probe in r.edge_cases}
    for (verdict, failing), names in [*alike.items()][:MAX_GROUPS]:
        shown = names if len(names) <= MAX_NAMES else [*names[: MAX_NAMES - 1], f"{len(names) - MAX_NAMES + 1} more"]
        cases = f"edge case{'s' * (len(names) > 1)} {', '.join(shown[:-1])}{' and ' * (len(names) > 1)}{shown[-1]}"
        what = f" ({about[names[0]]})" if len(names) == 1 else ""
        yield f"{verdict.value} on the {cases}{what}: {', '.join(failing)}"
    if len(alike) > MAX_GROUPS:
        others = sum(map(len, [*alike.values()][MAX_GROUPS:]))
        yield f"fail on {others} more edge case{'s' * (others > 1)} in other ways"


def not_checked(r: CheckResult) -> str:
    """Name what was not checked, with the reason, those of one reason together."""
    alike: dict[str, list[str]] = {}
    for item in r.not_checked:
        alike.setdefault(item.reason, []).append(item.function)
    return "; ".join(f"{', '.join(functions)}: {reason}" for reason, functions in alike.items())


def missing(r: CheckResult) -> str:
    """Name the functions and gradients that are missing or not implemented yet."""
    absent = [item for item in r.not_checked if item.reason.endswith(("not implemented yet", "missing"))]
    return ", ".join(f"{item.function} ({item.reason})" for item in absent)


def shape(sizes: Sequence[int]) -> str:
    """Write the shape of an array: (64, 50) or (50,)."""
    return str(tuple(sizes))


def wrap_command(command: str, width: int, *, ascii_only: bool = False) -> list[str]:
    r"""Break a shell command into lines that run as they stand when they are pasted.

    Parameters
    ----------
    command : str
        A command line for a POSIX shell.
    width : int
        Columns that a line may take. A word that is wider has a line of its own and is not broken.
    ascii_only : bool, default False
        Whether words are written in ASCII.

    Returns
    -------
    list of str
        The lines; each but the last ends in ``\``, and each but the first is indented by two spaces.
        An option and its value stay on one line if that is wide enough for both.
    """
    *first, last = _unbreakable(command, width, ascii_only)
    lines: list[str] = []
    for piece, end in (*((piece, CONTINUED) for piece in first), (last, "")):
        if lines and cell_len(f"{lines[-1]} {piece}{end}") <= width:
            lines[-1] += f" {piece}"
        else:
            lines.append(f"{CONTINUATION}{piece}" if lines else piece)
    return [*(f"{line}{CONTINUED}" for line in lines[:-1]), lines[-1]]


def _unbreakable(command: str, width: int, ascii_only: bool) -> list[str]:
    """Return the pieces of a command that stay on one line: an option with its value, or a word alone."""
    pieces: list[str] = []
    expects_value = False
    for word in shlex.split(command):
        quoted, is_option = _quoted(word, ascii_only), word.startswith("--")
        if expects_value and not is_option and cell_len(f"{CONTINUATION}{pieces[-1]} {quoted}{CONTINUED}") <= width:
            pieces[-1] += f" {quoted}"
        else:
            pieces.append(quoted)
        expects_value = is_option
    return pieces


def _quoted(word: str, ascii_only: bool) -> str:
    """Quote a word for a shell; one that a page cannot show goes as the octal codes of its bytes."""
    if word.isprintable() and (word.isascii() or not ascii_only):
        return shlex.quote(word)
    codes = (chr(b) if chr(b) in PLAIN else f"\\{b:03o}" for b in word.encode("utf-8", "surrogateescape"))
    return f"$'{''.join(codes)}'"
