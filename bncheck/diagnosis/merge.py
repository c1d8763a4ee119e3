"""Diagnoses of several functions with the same cause, as one diagnosis."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

from bncheck.model.components import NETWORK
from bncheck.model.diagnosis_records import Diagnosis
from bncheck.model.results import PairResult

DiagnosedPair: TypeAlias = tuple[Diagnosis, Sequence[PairResult]]  # a diagnosis and the results it is based on


def merge_diagnoses(diagnoses: Iterable[DiagnosedPair]) -> list[DiagnosedPair]:
    """Merge equal diagnoses of several functions; for a composite, refer to its wrong parts.

    Parameters
    ----------
    diagnoses : iterable of (Diagnosis, sequence of PairResult)
        The diagnoses of layers before those of functions that call them.
    """
    merged: list[DiagnosedPair] = []
    for diagnosis, results in diagnoses:
        index = next((i for i, (d, _) in enumerate(merged) if diagnosis.code and d.code == diagnosis.code), None)
        if index is not None:
            first, first_results = merged[index]
            names = tuple(f"{n} of {diagnosis.function}" for n in (diagnosis.gradient, *diagnosis.also_explains))
            merged[index] = replace(first, also_explains=(*first.also_explains, *names)), first_results
        elif diagnosis.code is None and diagnosis.function and results[0].pair_output.component is NETWORK:
            merged.append((_refer_to_parts(diagnosis, [d for d, _ in merged]), results))
        else:
            merged.append((diagnosis, results))
    return merged


def _refer_to_parts(composite: Diagnosis, others: Iterable[Diagnosis]) -> Diagnosis:
    """Replace the description of a composite function by the names of the other wrong functions, if there are any."""
    names = dict.fromkeys(str(other.function) for other in others if other.function != composite.function)
    if not names:
        return composite
    text = f"possibly a consequence of the error in {', '.join(names)}"
    return replace(composite, terms=None, description=(text,))
