"""What bncheck learns about a target on one problem and uses on the next one."""

from dataclasses import dataclass, field

from bncheck.checking.recognition import EpsKnowledge
from bncheck.errors import TargetError
from bncheck.model.precision import Precision
from bncheck.model.results import NotChecked, Note
from bncheck.targets.pairs import Pair


@dataclass(slots=True)
class TargetKnowledge:
    """Properties of a target, and what has been listed and noted about it."""

    not_checked: list[NotChecked] = field(default_factory=list)
    eps: dict[str, EpsKnowledge] = field(default_factory=dict)  # by the name of the forward function
    precision: dict[Pair, Precision] = field(default_factory=dict)
    notes: dict[tuple[str, str], Note] = field(default_factory=dict)  # by code and function
    not_implemented: dict[str, str] = field(default_factory=dict)  # functions and gradients, and the reason

    def leave_out(self, function: str, reason: str, *, is_missing: bool = False) -> None:
        """List something as not checked, unless it is already listed; of the reason only the first line is shown."""
        item = NotChecked(function, reason.partition("\n")[0], is_missing)
        if item not in self.not_checked:
            self.not_checked.append(item)

    def leave_out_unimplemented(self, function: str, reason: str) -> None:
        """List a function or gradient that is not implemented yet."""
        self.not_implemented[function] = reason
        self.leave_out(function, reason, is_missing=True)

    def note(self, code: str, function: str, text: str) -> None:
        """Add a note, the first one of each code and function."""
        self.notes.setdefault((code, function), Note(code, text.partition("\n")[0]))


def function_and_reason(error: TargetError) -> tuple[str, str]:
    """Split a message into the name of the function that it starts with, and the rest."""
    function, _, reason = str(error).partition(" ")
    return function, reason
