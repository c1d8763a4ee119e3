"""What is wrong with a target, where, and the smallest problem that shows it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from bncheck.checking.edge_cases import EdgeCase
from bncheck.checking.minimal_example import minimize_problem
from bncheck.checking.target_check import ProblemResult, TargetCheck
from bncheck.diagnosis import diagnose, diagnose_side_effects
from bncheck.diagnosis.sizes import Sizes, discriminating_sizes, only_correct_at
from bncheck.diagnosis.wrong_part import find_wrong_part
from bncheck.errors import TargetError
from bncheck.model.components import NETWORK
from bncheck.model.diagnosis_records import Diagnosis, MinimalExample
from bncheck.model.options import CheckOptions
from bncheck.model.problem import Problem, random_problem
from bncheck.model.results import CheckResult, PairResult
from bncheck.model.verdict import Verdict
from bncheck.targets.usage import Usage

Function: TypeAlias = tuple[str | None, str]  # the name of a backward function, and of its piece


def explain_failure(
    result: CheckResult,
    main: ProblemResult,
    edge_cases: Sequence[tuple[EdgeCase, ProblemResult]],
    problem: Problem,
    checked: TargetCheck,
    command: str | None,
    shrink: bool,
) -> CheckResult:
    """Add to a result what is wrong, where it departs from the right pass, and how small a problem shows it.

    ``main`` is what came of the problem itself.
    """
    conduct = diagnose_side_effects(result.notes)
    sizes = _only_correct_at(result, edge_cases, checked)
    diagnoses = (
        []
        if sizes
        else _merge_diagnoses([(d, cases) for cases in _evidence(main, edge_cases) for d in diagnose(cases)])
    )
    usages = _wrong_usages(main, edge_cases)
    if any(d.name in ("nondeterministic", "parameter-update") for d in conduct):
        diagnoses, usages = [(d, cases) for d, cases in diagnoses if d.code], []  # what changes cannot be described
    result = replace(result, diagnosis=(*conduct, *sizes, *(d for d, _ in diagnoses), *usages))
    if not diagnoses:
        return result
    first, failing = diagnoses[0][0], next(c for c in diagnoses[0][1] if c.failed or c.output.wrong)
    result = replace(result, wrong_part=find_wrong_part(failing, first.code))
    if not shrink:
        return result
    method = replace(result.options, engine="local", sample=None)
    here = any(failing is case for case in main.plain)
    if not here:  # only an edge case shows it, and these have steps of their own
        method = replace(method, step="auto")
    start = problem if here else failing.measurement.problem
    small = _find_minimal_example(start, failing, first, checked, method) or (problem if here else None)
    if small is None or small.seed is None:
        return result
    again = method.command(small, command)
    return replace(result, minimal_example=MinimalExample(small.N, small.D, small.H, small.seed, again))


def _evidence(main: ProblemResult, edge_cases: Sequence[tuple[EdgeCase, ProblemResult]]) -> Iterator[list[PairResult]]:
    """Yield for each pair of functions the answers that a diagnosis must agree with, that on the problem first.

    These are the answers on typical edge cases, and if nothing is wrong there the answers on the others that fail.
    """
    others: dict[Function, list[PairResult]] = {}
    pairs: dict[Function, list[PairResult]] = {_function_of(case): [case] for case in main.plain}
    for edge_case, outcome in edge_cases:
        for case in outcome.plain:
            where = pairs if edge_case.typical else others
            where.setdefault(_function_of(case), []).append(case)
    for function in dict.fromkeys((*pairs, *others)):
        cases = pairs.get(function, [])
        if not any(Verdict.FAIL in case.verdicts for case in cases):
            cases = [*cases[:1], *(case for case in others.get(function, []) if Verdict.FAIL in case.verdicts)]
        if cases:
            yield cases


def _only_correct_at(
    result: CheckResult, edge_cases: Sequence[tuple[EdgeCase, ProblemResult]], checked: TargetCheck
) -> list[Diagnosis]:
    """Say so if code is correct for one N, D or H only: it passes on the problem, and on no edge case with another."""
    if Verdict.FAIL in [*(f.verdict for f in result.forward), *(g.verdict for g in result.gradients.values())]:
        return []
    main = Sizes(result.problem.N, result.problem.D, result.problem.H)
    failing = {probe.name: probe.verdict is Verdict.FAIL for probe in result.edge_cases}
    outcomes = [(Sizes(*edge_case.sizes), failing[edge_case.name]) for edge_case, _ in edge_cases]
    if only_correct_at(main, outcomes):  # of which size, other problems tell
        outcomes += [(sizes, _fails_at(sizes, result.options, checked)) for sizes in discriminating_sizes(main)]
    sentence = only_correct_at(main, outcomes)
    return [Diagnosis(None, None, None, None, description=(sentence,))] if sentence else []


def _fails_at(sizes: Sizes, method: CheckOptions, checked: TargetCheck) -> bool:
    """Tell whether code is wrong on a problem of these sizes, or raises there."""
    method = replace(method, engine="local", step="auto", sample=None, cross_check_entries=0)
    other = TargetCheck(checked.code, method, ended=tuple(checked.ended), black_box=False)
    try:
        with np.errstate(all="ignore"):  # a problem that the user did not ask for
            return other.examine(random_problem(*sizes)).verdict is Verdict.FAIL or bool(other.unchecked_functions)
    except TargetError:
        return True


def _wrong_usages(main: ProblemResult, edge_cases: Sequence[tuple[EdgeCase, ProblemResult]]) -> list[Diagnosis]:
    """Say of functions that are right in single calls in which other calls they are wrong."""
    tried = [main, *(outcome for _, outcome in edge_cases)]
    wrong = {_function_of(case) for outcome in tried for case in outcome.plain if Verdict.FAIL in case.verdicts}
    usages: dict[Function, dict[str, None]] = {}
    for case in (case for outcome in tried for case in outcome.cases if case.pair_output.usage):
        if _function_of(case) not in wrong and Verdict.FAIL in case.verdicts:
            usages.setdefault(_function_of(case), {})[case.pair_output.usage] = None
    repeated = Usage.REPEATED.value  # then any later call may be wrong, however it is made
    usages = {function: {repeated: None} if repeated in how else how for function, how in usages.items()}
    return [
        Diagnosis(None, None, function, None, description=(f"correct in a single call, wrong {', '.join(how)}",))
        for (function, _), how in usages.items()
    ]


def _merge_diagnoses(diagnoses: list[tuple[Diagnosis, list[PairResult]]]) -> list[tuple[Diagnosis, list[PairResult]]]:
    """Merge what several functions share; of a composite of wrong functions say only that."""
    merged: list[tuple[Diagnosis, list[PairResult]]] = []
    for d, cases in diagnoses:
        place = next((i for i, (other, _) in enumerate(merged) if d.code and other.code == d.code), None)
        if place is not None:
            first, its_cases = merged[place]
            also = (f"{name} of {d.function}" for name in (d.gradient, *d.also_explains))
            merged[place] = replace(first, also_explains=(*first.also_explains, *also)), its_cases
        elif d.code is None and d.function and cases[0].pair_output.component is NETWORK and merged:
            inside = ", ".join(
                dict.fromkeys(str(other.function) for other, _ in merged if other.function != d.function)
            )
            text = (f"it may follow from what is wrong in {inside}",) if inside else d.description
            merged.append((replace(d, terms=None if inside else d.terms, description=text), cases))
        else:
            merged.append((d, cases))
    return merged


def _find_minimal_example(
    start: Problem, failing: PairResult, first: Diagnosis, checked: TargetCheck, method: CheckOptions
) -> Problem | None:
    """Return the smallest problem found on which the same function still fails in the same way, if one is smaller."""
    method, finite = replace(method, cross_check_entries=0), _finite(failing)
    stage = _fault_part(failing, first)

    def fails(small: Problem) -> bool:
        try:
            with np.errstate(all="ignore"):  # a problem that the user did not ask for
                cases = TargetCheck(checked.code, method, ended=tuple(checked.ended)).examine(small).plain
        except TargetError:
            return False
        same = [c for c in cases if _function_of(c) == _function_of(failing) and _finite(c) == finite]
        found = ((c, d) for c in same for d in diagnose([c]) if d.gradient == first.gradient)
        if first.code is None:
            return any(_fault_part(c, first) == stage for c, _ in found)
        return any(first.code in (d.code, *d.alternatives) for _, d in found)

    return minimize_problem(fails, start)


def _fault_part(case: PairResult, d: Diagnosis) -> str:
    """Return where a case departs, without the numbers of rows and columns or the value of a factor."""
    return re.split(r"[,(]", find_wrong_part(case, d.code).part)[0]


def _finite(case: PairResult) -> bool:
    return all(np.isfinite(g.analytic).all() for g in case.gradients.values())


def _function_of(case: PairResult) -> Function:
    return case.pair_output.backward_name, case.pair_output.component.name
