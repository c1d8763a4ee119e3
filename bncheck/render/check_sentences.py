"""The sentences of the report of a check. Options are spelled as in Python, in backticks."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from bncheck.model.results import CheckResult, EdgeCaseResult, GradientResult
from bncheck.model.verdict import Verdict
from bncheck.render.format import entry_name, format_index_ranges, format_tolerance_ratio, join_words, sentence

# A check that finds no error, but does not pass because functions are missing.
INCOMPLETE = "No error found, but required functions are missing or not implemented"
# At most this many edge cases are named in a sentence, in at most this many sentences; the others are counted.
MAX_NAMES, MAX_GROUPS = 4, 2
# A larger maximum relative error is explained: users know 1e-7 as the threshold of gradient checks.
COMMON_THRESHOLD = 1e-7
# An entry is close to 0 if it is below this fraction of the largest entry of its gradient.
CLOSE_TO_ZERO = 1e-2
VERBS = {Verdict.FAIL: "fails", Verdict.INCONCLUSIVE: "inconclusive"}


def conclusions(r: CheckResult) -> list[str]:
    """Return the sentences next to the verdict."""
    conclude = {Verdict.PASS: _on_pass, Verdict.INCONCLUSIVE: _on_inconclusive, Verdict.FAIL: _on_fail}
    return list(conclude[r.verdict](r))


def _on_pass(r: CheckResult) -> Iterator[str]:
    rule = "the requested tolerance" if r.options.uses_allclose_rule else "their error bounds"
    sampled = "" if r.checked == r.entries else ", drawn at random,"
    yield f"{r.checked:,} of {r.entries:,} entries{sampled} match within {rule}."
    yield f"A relative error of {r.resolution:.1e} in any term would have been detected."


def _on_inconclusive(r: CheckResult) -> Iterator[str]:
    if r.interrupted:
        counts = f"{r.checked:,} of {r.entries:,} entries checked"
        yield f"Interrupted: {counts}, none of them wrong. The rest were not checked."
        return
    yield f"{INCOMPLETE}: see not checked." if r.incomplete else r.verdict.meaning
    if r.cross_check_failed:
        yield (
            "The cross-check failed: the local engine and full forward passes disagree. Run again with `engine='full'`."
        )
    gradients: dict[str, list[str]] = {}  # by reason
    for g in r.gradients.values():
        for reason in g.reasons:
            gradients.setdefault(reason, []).append(g.name if g.function is None else f"{g.name} of {g.function}")
    for reason, names in gradients.items():
        yield sentence(reason) if len(names) == len(r.gradients) else f"{', '.join(names)}: {reason}."
    yield from (sentence(output.message) for output in r.forward if output.message)
    yield from map(sentence, edge_case_failures(r))


def _on_fail(r: CheckResult) -> Iterator[str]:
    for output in r.forward:
        if output.message:
            yield f"{output.function or 'forward'}: {output.message}{_usage(output.usage)}."
    wrong = [g for g in r.gradients.values() if g.wrong]
    yield from failure_sentences(wrong)
    if r.interrupted:
        yield f"Interrupted after {r.checked:,} of {r.entries:,} entries."
    yield from (f"{function.function} {function.reason}" for function in r.unchecked_functions)
    # A diagnosis without function, gradient and code says for which sizes alone the target is correct. Then it fails on
    # all edge cases of other sizes, and their names would add nothing.
    is_diagnosed = any(d.function is None and d.gradient is None and d.code is None for d in r.diagnosis)
    if fails_only_on_edge_cases(r) and not is_diagnosed:
        yield from map(sentence, edge_case_failures(r))


def fails_only_on_edge_cases(r: CheckResult) -> bool:
    """Return whether no output and no gradient of the problem itself is wrong."""
    return not any(output.wrong for output in r.forward) and not any(g.wrong for g in r.gradients.values())


def _usage(usage: str) -> str:
    return f" {usage}" if usage else ""


def failure_sentences(failing: list[GradientResult]) -> Iterator[str]:
    """Yield a sentence for each wrong gradient; gradients of one function share it if all their entries are wrong."""
    all_wrong: dict[str | None, list[str]] = {}  # by function: names of the gradients of which all entries are wrong
    for g in failing:
        if g.function and g.wrong == g.checked and not g.reasons:
            all_wrong.setdefault(g.function, []).append(g.name)
    for g in failing:
        names, function = all_wrong.get(g.function, []), g.function or g.name
        if g.reasons:
            yield from (f"{function}: {text.rstrip('.')}{'' if text.endswith('?') else '.'}" for text in g.reasons)
        elif len(names) < 2 or g.name not in names:
            yield f"{function}: {count_wrong_entries(g)}{_usage(g.usage)}."
        elif g.name == names[0]:
            yield f"{function}: all entries of {join_words(names)} are wrong{_usage(g.usage)}."


def count_wrong_entries(g: GradientResult) -> str:
    """Return how many entries of a gradient are wrong, and in which rows and columns."""
    of_gradient = "" if g.function is None else f" of {g.name}"
    if g.wrong == g.checked == 1:
        return f"the only entry{of_gradient} is wrong"
    if g.wrong == g.checked:
        return f"all {g.checked:,} entries{of_gradient} are wrong"
    count = f"{g.wrong:,} of {g.checked:,} entries{of_gradient} {'is' if g.wrong == 1 else 'are'} wrong"
    if g.numerical.ndim == 1:
        return f"{count}: {format_index_ranges(g.wrong_columns, 'unit')}"
    N, H = g.numerical.shape
    rows = "" if len(g.wrong_rows) == N else format_index_ranges(g.wrong_rows, "row")
    columns = "" if len(g.wrong_columns) == H else format_index_ranges(g.wrong_columns, "column")
    return f"{count}, in {' and '.join(filter(None, (rows, columns))) or 'every row and every column'}"


def max_relative(r: CheckResult) -> str:
    """Return where the largest relative error is; empty if the check fails or no error exceeds COMMON_THRESHOLD."""
    correct = [g for g in r.gradients.values() if not g.exact_zero and not g.wrong]
    large = [(g, e) for g in correct if g.max_relative_error > COMMON_THRESHOLD and (e := g.largest_relative_error_at)]
    if not large or r.verdict is Verdict.FAIL:
        return ""
    g, entry = max(large, key=lambda pair: pair[0].max_relative_error)
    is_small = abs(entry.numerical) < CLOSE_TO_ZERO * np.nanmax(np.abs(g.numerical))
    value = f"{', which is close to 0' if is_small else ''} ({entry.numerical:.1e})"
    return f"largest at {entry_name(g, entry)}{value}; does not affect the verdict"


def relu(r: CheckResult) -> str:
    """Return how many outputs are excluded, and how many units are dead; empty without a ReLU."""
    if not any(output.component in ("relu", "network") for output in r.forward):
        return ""
    k = r.kink_exclusion
    verb = "is" if k.dead_units == 1 else "are"
    dead = f"{k.dead_units:,} of {r.problem.H:,} units {verb} dead" if k.dead_units else "no dead units"
    return f"{k.excluded:,} of {k.outputs:,} outputs too close to 0 to check; {dead}"


def cross_check(r: CheckResult) -> str:
    """Return how well the local engine agrees with full forward passes; empty if they were not compared."""
    c = r.cross_check
    if c is None:
        return ""
    if not c.agrees:
        ratio = f"{c.bound_ratio:,.1f}" if c.bound_ratio < 1e5 else f"{c.bound_ratio:.1e}"
        difference = f"they differ by {ratio} times the error bound"
    elif c.bound_ratio:
        difference = f"largest difference {format_tolerance_ratio(c.bound_ratio)} of the error bound"
    else:
        difference = "they agree exactly"
    return f"{c.entries:,} entries recomputed with full forward passes; {difference}"


def edge_cases(r: CheckResult) -> str:
    """Return how many edge cases pass, and their sizes."""
    if not r.edge_cases:
        return ""
    passed = sum(case.verdict is Verdict.PASS for case in r.edge_cases)
    sizes = zip("NDH", zip(*(case.shape for case in r.edge_cases), strict=True), strict=True)
    ranges = ", ".join(f"{name} {min(values)} to {max(values)}" for name, values in sizes)
    return f"{passed} of {len(r.edge_cases)} pass ({ranges})"


def edge_case_failures(r: CheckResult) -> Iterator[str]:
    """Yield what does not pass on which edge cases; edge cases with the same failures share one phrase."""
    groups: dict[tuple[Verdict, tuple[str, ...]], list[EdgeCaseResult]] = {}  # by what they have in common
    for case in r.edge_cases:
        if case.verdict is not Verdict.PASS:
            groups.setdefault((case.verdict, case.failed), []).append(case)
    for (verdict, failed), cases in [*groups.items()][:MAX_GROUPS]:
        names = [case.name for case in cases]
        shown = names if len(names) <= MAX_NAMES else [*names[: MAX_NAMES - 1], f"{len(names) - MAX_NAMES + 1} more"]
        description = f" ({cases[0].about})" if len(names) == 1 else ""
        plural = "s" * (len(names) > 1)
        yield f"{VERBS[verdict]} on the edge case{plural} {join_words(shown)}{description}: {', '.join(failed)}"
    others = Counter(verdict for (verdict, _), cases in [*groups.items()][MAX_GROUPS:] for _ in cases)
    for verdict, count in others.items():
        yield f"{VERBS[verdict]} on {count} more edge case{'s' * (count > 1)} in other ways"


def not_checked(r: CheckResult) -> str:
    """Return what was not checked and why; functions with the same reason share one phrase."""
    functions: dict[str, list[str]] = {}  # by reason
    for item in r.not_checked:
        functions.setdefault(item.reason, []).append(item.function)
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in functions.items())


def missing(r: CheckResult) -> str:
    """Return the functions and gradients that are missing or not implemented."""
    return ", ".join(f"{item.function} ({item.reason})" for item in r.not_checked if item.is_missing)
