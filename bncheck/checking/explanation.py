"""Explanation of a failed check: which diagnoses are made, and in which order they are reported."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from bncheck.checking.edge_cases import CheckedEdgeCase
from bncheck.checking.minimal_example import find_minimal_example
from bncheck.checking.target_check import ProblemResult, TargetCheck
from bncheck.diagnosis import diagnose, diagnose_side_effects
from bncheck.diagnosis.wrong_part import find_wrong_part
from bncheck.errors import TargetEnded, TargetError
from bncheck.model.components import NETWORK
from bncheck.model.diagnosis_records import Diagnosis, MinimalExample
from bncheck.model.options import CheckOptions
from bncheck.model.problem import Problem, random_problem
from bncheck.model.results import CheckResult, PairResult
from bncheck.model.verdict import Verdict
from bncheck.targets.usage import Usage


class Sizes(NamedTuple):
    """The sizes of a problem."""

    N: int  # samples
    D: int  # features
    H: int  # units


# BN802 parameter-update and BN803 nondeterministic: the returned values depend on earlier calls.
UNREPEATABLE = {"BN802", "BN803"}
# A discriminating problem has one size of the main problem, and two small sizes that differ from the main problem's.
SMALL_SIZES, OTHER_SMALL_SIZES = Sizes(7, 5, 4), Sizes(11, 9, 8)
# With a single other size that fails, the size is not established as the cause.
MIN_FAILING_SIZES = 2


def explain_failure(
    result: CheckResult,
    main: ProblemResult,
    edge_cases: Sequence[CheckedEdgeCase],
    problem: Problem,
    checked: TargetCheck,
    command: str | None,
    shrink: bool,
) -> CheckResult:
    """Add the diagnosis, the wrong part and a minimal example to the result of a check.

    Parameters
    ----------
    result : CheckResult
        A check that failed or has notes.
    main : ProblemResult
        The result on the main problem.
    edge_cases : sequence of CheckedEdgeCase
        The results on the edge cases.
    problem : Problem
        The main problem, before outputs were excluded.
    checked : TargetCheck
        The target and the options.
    command : str or None
        The target as named on the command line; None if no command can reproduce the check.
    shrink : bool
        Whether to search for a minimal example.

    Returns
    -------
    CheckResult
        Unchanged if nothing is diagnosed.
    """
    side_effects = diagnose_side_effects(result.notes)
    sizes = _diagnose_sizes(result, edge_cases, checked)
    evidence = [] if sizes else _evidence(main, edge_cases)
    diagnosed = [(d, results) for results in evidence for d in diagnose(results)]
    outcomes = [main, *(edge_case.outcome for edge_case in edge_cases)]
    usages = _diagnose_usages(r for outcome in outcomes for r in (*outcome.plain, *outcome.cases))
    if any(d.code in UNREPEATABLE for d in side_effects):
        # A description of values that change with every call would be wrong.
        diagnosed, usages = [(d, results) for d, results in diagnosed if d.code], []
    result = replace(result, diagnosis=(*side_effects, *sizes, *_merge(diagnosed), *usages))
    if not diagnosed:
        return result
    diagnosis, results = diagnosed[0]
    failing = next(r for r in results if r.failed or r.output.wrong)
    result = replace(result, wrong_part=find_wrong_part(failing, diagnosis.code))
    if not shrink:
        return result
    fails_on_main = any(failing is r for r in main.plain)
    # Edge cases are checked with automatic steps.
    start, step = (problem, result.options.step) if fails_on_main else (failing.measurement.problem, "auto")
    options = replace(result.options, engine="local", sample=None, step=step)
    example = find_minimal_example(start, failing, diagnosis, checked, options) or (problem if fails_on_main else None)
    if example is None or example.seed is None:
        return result
    reproduce = options.command(example, command)
    return replace(result, minimal_example=MinimalExample(example.N, example.D, example.H, example.seed, reproduce))


def _evidence(main: ProblemResult, edge_cases: Sequence[CheckedEdgeCase]) -> Iterator[list[PairResult]]:
    """Yield the results that a diagnosis must explain, for each pair of functions, the main problem first.

    These are the results on typical edge cases, and if none of them fails, the failures on the other edge cases.
    """
    typical = {r.function_key: [r] for r in main.plain}
    others: dict[tuple[str | None, str], list[PairResult]] = {}
    for edge_case, _, outcome in edge_cases:
        for r in outcome.plain:
            (typical if edge_case.typical else others).setdefault(r.function_key, []).append(r)
    for key in dict.fromkeys((*typical, *others)):
        results = typical.get(key, [])
        if not any(_has_failed(r) for r in results):
            results = [*results[:1], *filter(_has_failed, others.get(key, []))]
        if results:
            yield results


def _has_failed(result: PairResult) -> bool:
    return Verdict.FAIL in result.verdicts


def _merge(diagnosed: Iterable[tuple[Diagnosis, Sequence[PairResult]]]) -> list[Diagnosis]:
    """Merge equal diagnoses of several functions; for a composite, refer to its wrong parts.

    The diagnoses of layers come before those of functions that call them, each with the results it is based on.
    """
    merged: list[Diagnosis] = []
    for diagnosis, results in diagnosed:
        index = next((i for i, d in enumerate(merged) if diagnosis.code and d.code == diagnosis.code), None)
        if index is not None:
            names = tuple(f"{n} of {diagnosis.function}" for n in (diagnosis.gradient, *diagnosis.also_explains))
            merged[index] = replace(merged[index], also_explains=(*merged[index].also_explains, *names))
            continue
        parts = dict.fromkeys(str(other.function) for other in merged if other.function != diagnosis.function)
        is_composite = diagnosis.function and results[0].pair_output.component is NETWORK
        if diagnosis.code is None and is_composite and parts:
            text = f"possibly a consequence of the error in {', '.join(parts)}"
            merged.append(replace(diagnosis, terms=None, description=(text,)))
        else:
            merged.append(diagnosis)
    return merged


def _diagnose_usages(results: Iterable[PairResult]) -> list[Diagnosis]:
    """List the calls in which functions are wrong that are correct in a single call."""
    failing = [r for r in results if _has_failed(r)]
    wrong = {r.function_key for r in failing if not r.pair_output.usage}
    usages: dict[tuple[str | None, str], dict[str, None]] = {}
    for r in failing:
        if r.function_key not in wrong:
            usages.setdefault(r.function_key, {})[r.pair_output.usage] = None
    repeated = Usage.REPEATED.value  # if a repeated call is wrong, every later call may be
    texts = {key: repeated if repeated in names else ", ".join(names) for key, names in usages.items()}
    return [
        Diagnosis(None, None, name, None, description=(f"correct in a single call, wrong {text}",))
        for (name, _), text in texts.items()
    ]


def _diagnose_sizes(
    result: CheckResult, edge_cases: Sequence[CheckedEdgeCase], checked: TargetCheck
) -> list[Diagnosis]:
    """Report code that passes on the main problem, and on no edge case with another N, D or H."""
    if Verdict.FAIL in [*(f.verdict for f in result.forward), *(g.verdict for g in result.gradients.values())]:
        return []
    main = Sizes(result.problem.N, result.problem.D, result.problem.H)
    outcomes = [(Sizes(*edge_case.sizes), r.verdict is Verdict.FAIL) for edge_case, r, _ in edge_cases]
    if only_correct_at(main, outcomes):  # additional problems show which of the sizes is the cause
        outcomes += [(sizes, _fails_at(sizes, result.options, checked)) for sizes in discriminating_sizes(main)]
    sentence = only_correct_at(main, outcomes)
    return [Diagnosis(None, None, None, None, description=(sentence,))] if sentence else []


def _fails_at(sizes: Sizes, options: CheckOptions, checked: TargetCheck) -> bool:
    """Return whether the code is wrong, or raises, on a problem of these sizes."""
    options = replace(options, engine="local", step="auto", sample=None, cross_check_entries=0)
    check = TargetCheck(checked.interface, options, ended=tuple(checked.ended), black_box=False)
    try:
        with np.errstate(all="ignore"):  # warnings about a problem that the user did not request are of no use
            return check.examine(random_problem(*sizes)).verdict is Verdict.FAIL or bool(check.unchecked_functions)
    except TargetEnded:
        raise
    except TargetError:
        return True


def only_correct_at(main: Sizes, edge_cases: Sequence[tuple[Sizes, bool]]) -> str:
    """State that code is correct for one size only, if the edge cases establish that.

    A size is the cause if every edge case with another value of this size fails, and no edge case with the same value
    fails. If no edge case has a size in common with the main problem, several sizes qualify and all of them are named;
    the problems of ``discriminating_sizes`` then decide.

    Parameters
    ----------
    main : Sizes
        The sizes of the main problem, on which nothing fails.
    edge_cases : sequence of (Sizes, bool)
        The sizes of each edge case, and whether the code fails there: it returns a wrong array, or raises.

    Returns
    -------
    str
        Such as "correct only for N = 64: every edge case with another N fails"; empty if the edge cases do not
        establish that a size is the cause.
    """
    causes = []
    for axis, name in enumerate(Sizes._fields):
        others = {sizes[axis] for sizes, _ in edge_cases} - {main[axis]}
        is_consistent = all(failed == (sizes[axis] != main[axis]) for sizes, failed in edge_cases)
        if is_consistent and len(others) >= MIN_FAILING_SIZES:
            causes.append(name)
    if not causes:
        return ""
    values = [f"{name} = {getattr(main, name)}" for name in causes]
    if len(causes) == 1:
        return f"correct only for {values[0]}: every edge case with another {causes[0]} fails"
    return f"correct only for {', '.join(values[:-1])} or {values[-1]}: every edge case has other sizes and fails"


def discriminating_sizes(main: Sizes) -> tuple[Sizes, ...]:
    """Return the sizes of three small problems, each of which has one of N, D and H in common with a problem.

    Code that is correct for one size only passes on the problem with that size.

    Parameters
    ----------
    main : Sizes
        The sizes of the main problem.

    Returns
    -------
    tuple of Sizes
        The sizes of the problems with the same N, the same D and the same H.
    """
    choices = zip(main, SMALL_SIZES, OTHER_SMALL_SIZES, strict=True)
    small = Sizes(*(first if first != size else second for size, first, second in choices))
    return small._replace(N=main.N), small._replace(D=main.D), small._replace(H=main.H)
