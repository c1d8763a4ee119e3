"""Functions that are correct in a single call, and wrong in other calls."""

from collections.abc import Iterable
from typing import TypeAlias

from bncheck.model.diagnosis_records import Diagnosis
from bncheck.model.results import PairResult
from bncheck.model.verdict import Verdict
from bncheck.targets.pairs import Usage

FunctionKey: TypeAlias = tuple[str | None, str]  # the names of a backward function and of its component


def function_key(result: PairResult) -> FunctionKey:
    """Return the key of the backward function that a result belongs to."""
    return result.pair_output.backward_name, result.pair_output.component.name


def diagnose_usages(results: Iterable[PairResult]) -> list[Diagnosis]:
    """List the calls in which functions are wrong that are correct in a single call.

    Parameters
    ----------
    results : iterable of PairResult
        The results of single calls, whose ``usage`` is empty, and of other calls.
    """
    failing = [result for result in results if Verdict.FAIL in result.verdicts]
    wrong = {function_key(result) for result in failing if not result.pair_output.usage}
    usages: dict[FunctionKey, dict[str, None]] = {}
    for result in failing:
        if function_key(result) not in wrong:
            usages.setdefault(function_key(result), {})[result.pair_output.usage] = None
    repeated = Usage.REPEATED.value  # if a repeated call is wrong, every later call may be
    return [
        Diagnosis(None, None, name, None, description=(f"correct in a single call, wrong {', '.join(calls)}",))
        for (name, _), names in usages.items()
        for calls in [[repeated] if repeated in names else names]
    ]
