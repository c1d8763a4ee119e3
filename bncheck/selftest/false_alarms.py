"""Check correct implementations on extreme inputs, and collect the checks that fail."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bncheck.checking.check import check
from bncheck.mistakes import NO_MISTAKE
from bncheck.mistakes.injected import FaultyNetwork
from bncheck.model.problem import Problem
from bncheck.model.verdict import Verdict

# A correct network that bncheck treats as user code.
FOREIGN = "foreign"
IMPLEMENTATIONS = ("reference", "staged", FOREIGN)


class FalseAlarmRecord(NamedTuple):
    """One check of a correct implementation."""

    name: str
    verdict: Verdict
    reproduce: str | None  # a command that repeats a false alarm; None if there was no alarm


@dataclass(frozen=True, slots=True)
class FalseAlarmTrial:
    """A correct implementation on random problems."""

    name: str
    problems: int
    inconclusive: int
    false_alarms: tuple[str, ...]  # commands that repeat them

    @classmethod
    def collect(cls, records: Iterable[FalseAlarmRecord]) -> "tuple[FalseAlarmTrial, ...]":
        """Group records by implementation."""
        by_name: dict[str, list[FalseAlarmRecord]] = {}
        for record in records:
            by_name.setdefault(record.name, []).append(record)
        return tuple(cls._of(name, group) for name, group in by_name.items())

    @classmethod
    def _of(cls, name: str, records: Sequence[FalseAlarmRecord]) -> "FalseAlarmTrial":
        inconclusive = sum(record.verdict is Verdict.INCONCLUSIVE for record in records)
        return cls(name, len(records), inconclusive, tuple(r.reproduce for r in records if r.reproduce))


def check_correct(problem: Problem, names: Iterable[str], *, must_pass: bool = False) -> list[FalseAlarmRecord]:
    """Check correct implementations on one problem; with ``must_pass``, inconclusive is a false alarm."""
    records = []
    for name in names:
        target: Any = FaultyNetwork(NO_MISTAKE) if name == FOREIGN else name
        result = check(problem, target, edge_cases=False, explain=False)
        alarm = result.verdict is Verdict.FAIL or (must_pass and result.verdict is not Verdict.PASS)
        command = result.options.command(problem, "reference" if name == FOREIGN else name)
        records.append(FalseAlarmRecord(name, result.verdict, command if alarm else None))
    return records
