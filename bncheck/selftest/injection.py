"""Inject mistakes of the catalogue, and count those that a check detects and identifies by their code."""

from collections.abc import Sequence
from dataclasses import dataclass

from bncheck.checking.check import check
from bncheck.mistakes import Mistake
from bncheck.mistakes.injected import FaultyNetwork, faulty_layers
from bncheck.model.verdict import Verdict
from bncheck.selftest.problems import plain_problem

# Stands for a code if a mistake is detected and the diagnosis names no known mistake.
NOT_IDENTIFIED = "?"


@dataclass(frozen=True, slots=True)
class InjectionResult:
    """A mistake, injected into random problems."""

    code: str
    name: str
    problems: int
    detected: int  # problems whose check failed
    identified: int  # problems whose diagnosis named its code first
    identified_as: tuple[str, ...]  # other codes that were named first, or "?", one per problem
    undetectable_because: str  # why no check can detect it; empty if a check can

    @classmethod
    def of(cls, mistake: Mistake, first_codes: Sequence[str | None]) -> "InjectionResult":
        """Collect the results of a mistake: the first code of each diagnosis, None if it was not detected."""
        detected = [code for code in first_codes if code is not None]
        others = tuple(code for code in detected if code != mistake.code)
        counts = len(first_codes), len(detected), len(detected) - len(others)
        return cls(mistake.code, mistake.name, *counts, others, mistake.undetectable_because)

    @property
    def undetected(self) -> int:
        """The number of problems on which it should have been detected and was not."""
        return 0 if self.undetectable_because else self.problems - self.detected

    @property
    def false_alarms(self) -> int:
        """The number of problems on which it was reported although it is not an error."""
        return self.detected if self.undetectable_because else 0

    @property
    def passed(self) -> bool:
        """Whether it was identified in every problem; for an undetectable mistake, whether it was never reported."""
        return not self.detected if self.undetectable_because else self.identified == self.problems


def inject(mistake: Mistake, seed: int) -> str | None:
    """Check one problem with a mistake.

    Returns
    -------
    str or None
        The first code of the diagnosis, "?" without a code, None if the mistake was not detected.
    """
    target = faulty_layers(mistake) if mistake.layer_only else FaultyNetwork(mistake)
    result = check(plain_problem(seed), target, minimal_example=False)
    codes = [d.code or NOT_IDENTIFIED for d in result.diagnosis] or [NOT_IDENTIFIED]
    detected = mistake.code in codes if mistake.is_side_effect else result.verdict is Verdict.FAIL
    return codes[0] if detected else None
