"""Explanation of a failed check: which diagnoses are made, and in which order they are reported."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from bncheck.checking.edge_cases import EdgeCase
from bncheck.checking.minimal_example import find_minimal_example
from bncheck.checking.target_check import ProblemResult, TargetCheck
from bncheck.diagnosis import diagnose, diagnose_side_effects
from bncheck.diagnosis.merge import merge_diagnoses
from bncheck.diagnosis.sizes import Sizes, discriminating_sizes, only_correct_at
from bncheck.diagnosis.usages import FunctionKey, diagnose_usages, function_key
from bncheck.diagnosis.wrong_part import find_wrong_part
from bncheck.errors import TargetError
from bncheck.model.diagnosis_records import Diagnosis, MinimalExample
from bncheck.model.options import CheckOptions
from bncheck.model.problem import Problem, random_problem
from bncheck.model.results import CheckResult, PairResult
from bncheck.model.verdict import Verdict

EdgeCaseResults: TypeAlias = Sequence[tuple[EdgeCase, ProblemResult]]

# BN802 parameter-update and BN803 nondeterministic: the returned values depend on earlier calls.
UNREPEATABLE = {"BN802", "BN803"}


def explain_failure(
    result: CheckResult,
    main: ProblemResult,
    edge_cases: EdgeCaseResults,
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
    edge_cases : sequence of (EdgeCase, ProblemResult)
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
    diagnoses = merge_diagnoses((d, results) for results in evidence for d in diagnose(results))
    outcomes = [main, *(outcome for _, outcome in edge_cases)]
    usages = diagnose_usages(r for outcome in outcomes for r in (*outcome.plain, *outcome.cases))
    if any(d.code in UNREPEATABLE for d in side_effects):
        # A description of values that change with every call would be wrong.
        diagnoses, usages = [(d, results) for d, results in diagnoses if d.code], []
    result = replace(result, diagnosis=(*side_effects, *sizes, *(d for d, _ in diagnoses), *usages))
    if not diagnoses:
        return result
    diagnosis, results = diagnoses[0]
    failing = next(r for r in results if r.failed or r.output.wrong)
    result = replace(result, wrong_part=find_wrong_part(failing, diagnosis.code))
    if not shrink:
        return result
    options = replace(result.options, engine="local", sample=None)
    fails_on_main = any(failing is r for r in main.plain)
    if not fails_on_main:  # edge cases are checked with automatic steps
        options = replace(options, step="auto")
    start = problem if fails_on_main else failing.measurement.problem
    example = find_minimal_example(start, failing, diagnosis, checked, options) or (problem if fails_on_main else None)
    if example is None or example.seed is None:
        return result
    reproduce = options.command(example, command)
    return replace(result, minimal_example=MinimalExample(example.N, example.D, example.H, example.seed, reproduce))


def _evidence(main: ProblemResult, edge_cases: EdgeCaseResults) -> Iterator[list[PairResult]]:
    """Yield the results that a diagnosis must explain, for each pair of functions, the main problem first.

    These are the results on typical edge cases, and if none of them fails, the failures on the other edge cases.
    """
    typical: dict[FunctionKey, list[PairResult]] = {function_key(r): [r] for r in main.plain}
    others: dict[FunctionKey, list[PairResult]] = {}
    for edge_case, outcome in edge_cases:
        for r in outcome.plain:
            (typical if edge_case.typical else others).setdefault(function_key(r), []).append(r)
    for key in dict.fromkeys((*typical, *others)):
        results = typical.get(key, [])
        if not any(_has_failed(r) for r in results):
            results = [*results[:1], *filter(_has_failed, others.get(key, []))]
        if results:
            yield results


def _has_failed(result: PairResult) -> bool:
    return Verdict.FAIL in result.verdicts


def _diagnose_sizes(result: CheckResult, edge_cases: EdgeCaseResults, checked: TargetCheck) -> list[Diagnosis]:
    """Report code that passes on the main problem, and on no edge case with another N, D or H."""
    if Verdict.FAIL in [*(f.verdict for f in result.forward), *(g.verdict for g in result.gradients.values())]:
        return []
    main = Sizes(result.problem.N, result.problem.D, result.problem.H)
    fails = {edge_case.name: edge_case.verdict is Verdict.FAIL for edge_case in result.edge_cases}
    outcomes = [(Sizes(*edge_case.sizes), fails[edge_case.name]) for edge_case, _ in edge_cases]
    if only_correct_at(main, outcomes):  # additional problems show which of the sizes is the cause
        outcomes += [(sizes, _fails_at(sizes, result.options, checked)) for sizes in discriminating_sizes(main)]
    sentence = only_correct_at(main, outcomes)
    return [Diagnosis(None, None, None, None, description=(sentence,))] if sentence else []


def _fails_at(sizes: Sizes, options: CheckOptions, checked: TargetCheck) -> bool:
    """Return whether the code is wrong, or raises, on a problem of these sizes."""
    options = replace(options, engine="local", step="auto", sample=None, cross_check_entries=0)
    check = TargetCheck(checked.target, options, ended=tuple(checked.ended), black_box=False)
    try:
        with np.errstate(all="ignore"):  # warnings about a problem that the user did not request are of no use
            return check.examine(random_problem(*sizes)).verdict is Verdict.FAIL or bool(check.unchecked_functions)
    except TargetError:
        return True
