"""The verdict of a check or of a part of it."""

import enum
from collections.abc import Iterable


class Verdict(enum.Enum):
    """The result of a check, or of one of its gradients, outputs or edge cases; the members are ordered best to worst.

    ``meaning`` is the sentence that a report shows.
    """

    _value_: str
    meaning: str

    PASS = "pass", "Every entry matches within its error bound."
    INCONCLUSIVE = "inconclusive", "No error found, but the check is not precise enough to rule one out."
    FAIL = "fail", "At least one entry differs by more than its error bound."

    def __new__(cls, value: str, meaning: str = "") -> "Verdict":
        """Create a member whose value is the first of its two strings."""
        member = object.__new__(cls)
        member._value_, member.meaning = value, meaning
        return member

    @staticmethod
    def worst(verdicts: Iterable["Verdict"]) -> "Verdict":
        """Return the worst verdict; INCONCLUSIVE if there is none, because nothing was judged."""
        order = list(Verdict)
        return max(verdicts, key=order.index, default=Verdict.INCONCLUSIVE)
