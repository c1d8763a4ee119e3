"""Identification of the mistake in a wrong forward/backward pair, or a description of its wrong arrays."""

from collections.abc import Iterable, Sequence
from copy import copy

import numpy as np

from bncheck.diagnosis.describe import describe_discrepancy, describe_terms, format_hard_coded_eps
from bncheck.diagnosis.evidence import OUTPUT, Evidence
from bncheck.diagnosis.match import Match, find_matches
from bncheck.diagnosis.terms import find_terms, fit_terms
from bncheck.mistakes import all_mistakes
from bncheck.model.diagnosis_records import Diagnosis
from bncheck.model.results import Note, PairResult

__all__ = ["diagnose", "diagnose_side_effects"]


@np.errstate(all="ignore")  # wrong values may overflow or be invalid
def diagnose(results: Sequence[PairResult]) -> list[Diagnosis]:
    """Identify or describe the errors of a forward/backward pair.

    Parameters
    ----------
    results : sequence of PairResult
        The same pair on one or several problems, the main problem first.

    Returns
    -------
    list of Diagnosis
        In the order of backpropagation; empty if nothing is wrong. A mistake is identified only if the returned
        arrays match the values that it gives, up to rounding, on every problem.
    """
    evidence, diagnoses = Evidence(results), []
    contents = evidence.permuted_gradients()
    if contents and contents.keys() != {"gamma", "beta"}:  # BN305: dgamma and dbeta are swapped
        diagnoses.append(_describe_order(evidence, contents))
        evidence.explained |= contents.keys()
    for name in evidence.failing:
        # An array that follows correctly from an earlier error is not another error. The evidence may have lost the
        # problems on which it is wrong, because the expected values are unknown there.
        is_explained = name in evidence.explained or not evidence.problems_with_wrong(name)
        if not is_explained and not (diagnoses and evidence.is_consistent(name)):
            matches = find_matches(evidence, name)
            if len(matches) > 1:
                matches.sort(key=lambda match: not _explains_next_failure(evidence, match))
            diagnoses.append(_diagnosis(evidence, name, matches))
            if matches:
                evidence.assume_mistake(matches[0].mistake, matches[0].explains, matches[0].eps)
            else:
                evidence.assume_returned(
                    name, {p: [factor.values for factor in fit] for p, fit in fit_terms(evidence, name).items()}
                )
    return diagnoses


def diagnose_side_effects(notes: Iterable[Note]) -> list[Diagnosis]:
    """Identify the side effects of the code under test, from the notes about its calls."""
    by_name = {mistake.name: mistake for mistake in all_mistakes() if mistake.is_side_effect}
    return [Diagnosis(by_name[n].code, n, None, None, message=message) for n, message in notes if n in by_name]


def _explains_next_failure(evidence: Evidence, match: Match) -> bool:
    """Return whether a mistake leaves the next wrong array correct, or explained by another mistake."""
    hypothesis = copy(evidence)
    hypothesis.assume_mistake(match.mistake, match.explains, match.eps)
    following = next((other for other in evidence.failing if other not in hypothesis.explained), None)
    return following is None or hypothesis.is_consistent(following) or bool(find_matches(hypothesis, following))


def _describe_order(evidence: Evidence, contents: dict[str, str]) -> Diagnosis:
    """Report gradients that are returned in another order."""
    output, names = evidence.main.pair_output, evidence.main.gradients
    expected, returned = ([output.labels[n] for n in order] for order in (names, [contents.get(n, n) for n in names]))
    text = f"the gradients are returned in the wrong order: expected {', '.join(expected)}, got {', '.join(returned)}"
    first, *others = (output.labels[n] for n in names if n in contents)
    return Diagnosis(None, None, output.backward_name, first, also_explains=tuple(others), description=(text,))


def _diagnosis(evidence: Evidence, name: str, matches: Sequence[Match]) -> Diagnosis:
    """Report the first of the matching mistakes, or describe a wrong array that matches none."""
    primary, terms = evidence.primary(name), find_terms(evidence, name)
    output, labels = (
        primary.result.pair_output,
        {**primary.result.pair_output.labels, OUTPUT: primary.result.output.name},
    )
    function, label = output.forward_name if name == OUTPUT else output.backward_name, labels[name]
    if not matches:
        description = describe_discrepancy(evidence, name, terms)
        # Coefficients are not reported if another description fits better.
        is_about_terms = terms is not None and description == (describe_terms(terms),)
        return Diagnosis(None, None, function, label, terms=terms if is_about_terms else None, description=description)
    match, mistake = matches[0], matches[0].mistake
    clauses = [f"the code uses {format_hard_coded_eps(match.eps)}"] if match.eps else []
    if len(evidence.problems) == 1:
        clauses.append("this diagnosis is based on one problem only")
    codes = dict.fromkeys(other.mistake.code for other in matches if other.mistake.code != mistake.code)
    return Diagnosis(
        code=mistake.code,
        name=mistake.name,
        function=function,
        gradient=label,
        relative_distance=match.relative_distance,
        message=mistake.message if mistake in all_mistakes() else f"{mistake.message} Only {label} is affected.",
        also_explains=tuple(labels[n] for n in match.explains if n not in (name, OUTPUT)),
        alternatives=tuple(codes),
        terms=terms if terms is not None and terms.exact else None,
        description=tuple(clauses),
    )
