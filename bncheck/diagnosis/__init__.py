"""What is wrong with a gradient: a mistake of the catalogue by name, or a true description."""

from collections.abc import Iterable, Sequence
from copy import copy

import numpy as np

from bncheck.diagnosis.describe import describe_discrepancy, describe_terms, fit_terms, terms_of, with_fixed
from bncheck.diagnosis.evidence import OUTPUT, Evidence
from bncheck.diagnosis.match import Match, find_matches
from bncheck.diagnosis.sizes import Sizes, discriminating_sizes, only_correct_at
from bncheck.diagnosis.wrong_part import find_wrong_part
from bncheck.mistakes import all_mistakes
from bncheck.model.diagnosis_records import Diagnosis
from bncheck.model.results import Note, PairResult

__all__ = ["Sizes", "diagnose", "diagnose_side_effects", "discriminating_sizes", "find_wrong_part", "only_correct_at"]


def diagnose(cases: Sequence[PairResult]) -> list[Diagnosis]:
    """Say what is wrong with one pair of functions; nothing if nothing is.

    Parameters
    ----------
    cases : sequence of Case
        The same pair on the problem and on the probes.

    Returns
    -------
    list of Diagnosis
        The one nearest to the loss first. A mistake is named only where what it would give on the
        same problems agrees with what was returned, on all of them, within rounding.
    """
    with np.errstate(all="ignore"):  # a wrong value may be anything
        return _diagnosed(Evidence(cases))


def _diagnosed(evidence: Evidence) -> list[Diagnosis]:
    found: list[Diagnosis] = []
    order = evidence.permuted_gradients()
    if order and order.keys() != {"gamma", "beta"}:  # which has a name
        found.append(_of_order(evidence, order))
        evidence.explained |= order.keys()
    for name in evidence.failing:
        # What is right, given what went wrong before it, is no mistake of its own.
        if name in evidence.explained or (found and evidence.is_consistent(name)):
            continue
        told = find_matches(evidence, name)
        if len(told) > 1:  # first the one that what is wrong behind it goes with
            told.sort(key=lambda one: not _explains_next_failure(evidence, name, one))
        found.append(_diagnosis(evidence, name, told))
        if told:
            evidence.assume(name, told[0].mistake, told[0].explains, eps=next(iter(told[0].eps), None))
        else:
            weights = {number: fit.values for number, fit in fit_terms(evidence, name).items()}
            evidence.assume(name, None, weights=weights)
    return found


def _of_order(evidence: Evidence, order: dict[str, str]) -> Diagnosis:
    called = evidence.first.pair_output.labels
    expected = [called[name] for name in evidence.first.gradients]
    found = [called[order.get(name, name)] for name in evidence.first.gradients]
    names = [n for n in evidence.first.gradients if n in order]
    text = f"the gradients come in another order: expected {', '.join(expected)}, found {', '.join(found)}"
    function, also = evidence.first.pair_output.backward_name, tuple(called[n] for n in names[1:])
    return Diagnosis(None, None, function, called[names[0]], also_explains=also, description=(text,))


def _explains_next_failure(evidence: Evidence, name: str, one: Match) -> bool:
    """Tell whether the next wrong gradient can be explained, if this is the mistake before it."""
    hypothesis = copy(evidence)
    hypothesis.assume(name, one.mistake, one.explains, eps=next(iter(one.eps), None))
    behind = next((other for other in evidence.failing if other not in hypothesis.explained), None)
    return behind is None or hypothesis.is_consistent(behind) or bool(find_matches(hypothesis, behind))


def _diagnosis(evidence: Evidence, name: str, told: Sequence[Match]) -> Diagnosis:
    case = evidence.primary_case(name)
    label = case.output.name if name == OUTPUT else case.gradients[name].name
    function = case.pair_output.forward_name if name == OUTPUT else case.pair_output.backward_name
    terms = terms_of(evidence, name)
    if not told:
        said = describe_discrepancy(evidence, name, terms)
        fits = terms is not None and said == (describe_terms(terms),)  # other things are said where they explain more
        return Diagnosis(None, None, function, label, terms=terms if fits else None, description=said)
    first = told[0]
    whole = next(m for m in all_mistakes() if m.code == first.mistake.code)
    alone = f" Here in {label} alone." if len(first.mistake.replaces) < len(whole.replaces) else ""
    also = [case.gradients[other].name for other in first.explains if other not in (name, OUTPUT)]
    fixed = (with_fixed(first.eps),) if first.eps else ()
    tried = () if len(evidence.cases) > 1 else ("one problem was tried: on others it may differ",)
    return Diagnosis(
        code=first.mistake.code,
        name=first.mistake.name,
        function=function,
        gradient=label,
        relative_distance=first.closeness,
        message=first.mistake.message + alone,
        also_explains=tuple(also),
        alternatives=tuple(dict.fromkeys(n.mistake.code for n in told[1:] if n.mistake.code != first.mistake.code)),
        terms=terms if terms is not None and terms.exact else None,
        description=(*fixed, *tried),
    )


def diagnose_side_effects(remarks: Iterable[Note]) -> list[Diagnosis]:
    """Name what code does beside computing, from the remarks that its calls gave rise to."""
    by_name = {m.name: m for m in all_mistakes() if m.is_side_effect}
    return [
        Diagnosis(mistake.code, mistake.name, None, None, message=remark.message)
        for remark in remarks
        if (mistake := by_name.get(remark.code))
    ]
