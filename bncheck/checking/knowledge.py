"""What the pairs of a target share: what bncheck has learned about the target, and the measurements on one problem."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace

from bncheck.checking.recognition import EpsKnowledge
from bncheck.errors import TargetError
from bncheck.model.components import Component
from bncheck.model.options import CheckOptions
from bncheck.model.precision import FLOAT64, Precision
from bncheck.model.problem import FloatArray, Problem
from bncheck.model.progress import Progress
from bncheck.model.results import Measurement, NotChecked, Note
from bncheck.numerical.full import PerturbedForward
from bncheck.numerical.measure import measure
from bncheck.targets.pairs import Pair


@dataclass(slots=True)
class TargetKnowledge:
    """Properties of a target that are learned on one problem and used on the next one, and the notes about it."""

    not_checked: list[NotChecked] = field(default_factory=list)
    eps: dict[str, EpsKnowledge] = field(default_factory=dict)  # by the name of the forward function
    precision: dict[Pair, Precision] = field(default_factory=dict)
    notes: dict[tuple[str, str], Note] = field(default_factory=dict)  # by code and function
    not_implemented: dict[str, str] = field(default_factory=dict)  # functions and gradients, and the reason

    def leave_out(self, function: str, reason: str, *, is_missing: bool = False) -> None:
        """List a function or a part of the check as not checked, with the first line of the reason."""
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


@dataclass(frozen=True, slots=True)
class Measurements:
    """Measure numerical gradients; pairs that need the same measurement share it."""

    options: CheckOptions
    progress: Progress
    finished: dict[Hashable, Measurement] = field(default_factory=dict)

    def measure(
        self,
        problem: Problem,
        component: Component,
        inputs: Sequence[str],
        precision: Precision = FLOAT64,
        *,
        bn_eps: FloatArray | None = None,
        forward: PerturbedForward | None = None,
        forward_name: str = "",
    ) -> Measurement:
        """Measure bncheck's own forward pass with ``bn_eps``, or a forward function of the code under test.

        Only the former is shared between pairs. The latter is measured with central differences instead of the complex
        step, because it may not accept complex numbers.
        """
        eps = None if bn_eps is None else bn_eps.tobytes()
        key = (component, forward_name) if forward else (component, tuple(inputs), problem.bn_eps, precision, eps)
        if forward or key not in self.finished:
            options, factor = self.options, precision.roundoff_factor
            if forward and options.scheme == "complex":
                options = replace(options, scheme="central")
            self.finished[key] = measure(
                problem, component, options, inputs,
                bn_eps=bn_eps, roundoff_factor=factor, black_box_forward=forward, progress=self.progress,
            )  # fmt: skip
        return self.finished[key]


def function_and_reason(error: TargetError) -> tuple[str, str]:
    """Split a message into the name of the function that it starts with, and the rest."""
    function, _, reason = str(error).partition(" ")
    return function, reason
