"""Edge cases: small additional problems, and other usages, that expose mistakes which the main problem hides."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from bncheck.checking.knowledge import function_and_reason
from bncheck.checking.target_check import ProblemResult, TargetCheck
from bncheck.errors import LimitExceeded, TargetEnded, TargetError
from bncheck.model.precision import FLOAT64
from bncheck.model.problem import Problem, random_problem
from bncheck.model.results import EdgeCaseResult, UncheckedFunction
from bncheck.model.verdict import Verdict
from bncheck.numerical.basepoint import BasePoint
from bncheck.numerical.measure import MIN_CROSS_CHECK_ENTRIES
from bncheck.numerical.plan import automatic_steps, excluded_below
from bncheck.numerical.schemes import get_scheme
from bncheck.targets.usage import Usage

# The name of all edge cases in the list of what was not checked.
EDGE_CASES_LABEL = "edge cases"
# The sizes of an edge case that does not set its own; they differ, so that no axis can be mistaken for another.
SMALL: Mapping[str, Any] = {"N": 7, "D": 5, "H": 4}
OTHER_CALLS = (Usage.STRIDED, Usage.TRANSPOSED, Usage.BACKWARD_TWICE, Usage.INTERLEAVED)
# Distance from 0 at which an output is placed, in multiples of the distance below which it is excluded.
KINK_DISTANCES = 10.0


@dataclass(frozen=True, slots=True)
class EdgeCase:
    """A random problem, a change to it, and how the code is called on it."""

    name: str
    about: str  # what distinguishes the problem, for the report
    settings: Mapping[str, Any] = field(default_factory=dict)  # of random_problem, where they differ from SMALL
    change: Callable[[Problem], Problem] | None = None  # applied to the random problem; None: it is used as drawn
    usages: Sequence[Usage] = (Usage.REPEATED,)
    scheme: str | None = None  # replaces that of the check; None: it is kept
    typical: bool = False  # mistakes have the same effect as on the main problem, so a diagnosis must explain both

    @property
    def may_raise(self) -> bool:
        """Whether correct code may raise: batch norm of a single sample is always beta."""
        return self.settings.get("N") == 1

    @property
    def is_random_problem(self) -> bool:
        """Whether a command can reproduce it: it is a random problem in the usual usage."""
        return self.change is None and self.scheme is None and tuple(self.usages) == (Usage.REPEATED,)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """N, D and H."""
        settings = {**SMALL, **self.settings}
        return settings["N"], settings["D"], settings["H"]

    def draw(self) -> Problem:
        """Return the problem; it has no seed if it was changed, because no command can draw it."""
        problem = random_problem(**{**SMALL, **self.settings})
        return problem if self.change is None else replace(self.change(problem), seed=None)


def _default_parameters(p: Problem) -> Problem:
    """Set gamma and beta to the initial values of most layers."""
    return replace(p, gamma=np.ones(p.H), beta=np.zeros(p.H))


def _outlier(p: Problem) -> Problem:
    """Place one sample far from the others, and spread gamma over four powers of ten."""
    X = p.X.copy()
    X[3] *= 1e3
    gamma = np.copysign(np.logspace(-2, 2, p.H), p.gamma)
    return replace(p, X=X, gamma=gamma, beta=p.beta * gamma / p.gamma)


def _one_hot(p: Problem) -> Problem:
    """Set dout to 1 at the largest output of each unit, and to 0 elsewhere."""
    largest = BasePoint.from_problem(p).y.argmax(axis=0)
    return replace(p, dout=np.where(np.arange(p.N)[:, None] == largest, 1.0, 0.0))


def _equal_rows(p: Problem) -> Problem:
    """Give every sample the same upstream gradient, as in an expanded array."""
    return replace(p, dout=np.broadcast_to(p.dout[:1], p.dout.shape))


def _near_the_kink(p: Problem) -> Problem:
    """Shift beta so that one output of each unit is as close to 0 as the complex step allows, on either side.

    A mask with another threshold, such as y > 1e-6, then selects other outputs.
    """
    scheme = get_scheme("complex")
    base = BasePoint.from_problem(p)
    median = np.argsort(base.y, axis=0)[p.N // 2], np.arange(p.H)  # half of the outputs of the unit stay active
    distance = KINK_DISTANCES * excluded_below(base, scheme, automatic_steps(base, scheme))[median]
    side = np.where(np.arange(p.H) % 2 == 0, 1.0, -1.0)
    return replace(p, beta=side * distance - (p.gamma * base.xhat)[median])


EDGE_CASES = (
    EdgeCase("small-variance", "inputs of size 1e-3", {"x_std": 1e-3}, typical=True),
    EdgeCase("large-eps", "eps 0.5", {"bn_eps": 0.5}, typical=True),
    EdgeCase("batch-of-two", "a batch of two", {"N": 2}, typical=True),
    EdgeCase("large-mean", "a mean of 50", {"x_mean": 50.0}, typical=True),
    EdgeCase("wide-layer", "more units than samples", {"N": 4, "H": 9}, typical=True),
    EdgeCase("large-inputs", "inputs and a bias of size 10", {"x_std": 10.0}, typical=True),
    EdgeCase("large-odd-shape", "sizes beyond 128, 64 and 32", {"N": 131, "D": 107, "H": 67}),
    EdgeCase("one-row", "a batch of one", {"N": 1}),
    EdgeCase("one-unit", "one feature and one unit", {"D": 1, "H": 1}),
    EdgeCase("square", "equal numbers of samples and units", {"N": 5, "H": 5}),
    EdgeCase("default-parameters", "gamma 1 and beta 0", change=_default_parameters),
    EdgeCase("outlier", "one sample far from the others, gamma from 0.01 to 100", change=_outlier),
    EdgeCase("large-scale", "inputs of size 1e4", {"x_std": 1e4}),
    EdgeCase("one-hot-dout", "dout is 1 at one output of each unit and 0 elsewhere", change=_one_hot),
    EdgeCase("near-the-kink", "outputs just above and below 0", change=_near_the_kink, scheme="complex"),
    EdgeCase("expanded-dout", "a dout whose rows share their memory", change=_equal_rows, usages=(Usage.EXPANDED,)),
    EdgeCase("calls", "other memory layouts and orders of calls", usages=OTHER_CALLS),
)


class CheckedEdgeCase(NamedTuple):
    """An edge case, its result in the report, and the results behind it."""

    edge_case: EdgeCase
    result: EdgeCaseResult
    outcome: ProblemResult


def check_edge_cases(check: TargetCheck, main: ProblemResult, command: str | None) -> Iterator[CheckedEdgeCase]:
    """Check a target on every edge case for which its arithmetic is precise enough.

    Parameters
    ----------
    check : TargetCheck
        The target, and what is known about it.
    main : ProblemResult
        Its results on the problem of the check.
    command : str or None
        The target, as named on the command line; None for an object from Python.
    """
    if main.precision.is_16_bit:
        check.knowledge.leave_out(EDGE_CASES_LABEL, f"the code computes in {main.precision.name}")
        return
    for edge_case in EDGE_CASES:
        try:
            with np.errstate(all="ignore"):  # the user did not choose this problem, so its warnings are not helpful
                checked = _check_edge_case(check, edge_case, command)
        except TargetEnded as error:
            yield _ended_at(edge_case, error)
            check.knowledge.leave_out(EDGE_CASES_LABEL, f"not those after {edge_case.name}, at which the target ended")
            return
        if checked is not None:
            yield checked


def _ended_at(edge_case: EdgeCase, error: TargetEnded) -> CheckedEdgeCase:
    """Return the result of an edge case at which the target ended; a limit of bncheck does not make code fail."""
    verdict = Verdict.INCONCLUSIVE if isinstance(error, LimitExceeded) else Verdict.FAIL
    result = EdgeCaseResult(edge_case.name, verdict, (str(error),), None, edge_case.sizes, edge_case.about)
    return CheckedEdgeCase(edge_case, result, ProblemResult((), (), ()))


def _check_edge_case(check: TargetCheck, edge_case: EdgeCase, command: str | None) -> CheckedEdgeCase | None:
    """Check a target on an edge case; None if it may reject it and does, or its arithmetic is not precise enough."""
    problem, options, knowledge = edge_case.draw(), check.options, check.knowledge
    scheme = edge_case.scheme or options.scheme
    entries = min(options.cross_check_entries, MIN_CROSS_CHECK_ENTRIES) if edge_case.typical else 0
    options = replace(options, engine="local", step="auto", sample=None, scheme=scheme, cross_check_entries=entries)
    # Differentiating a wrong forward function takes a pass for each entry; on most edge cases its output is enough.
    other = TargetCheck(check.interface, options, knowledge, tuple(check.ended), black_box=edge_case.typical)
    try:
        outcome = other.examine(problem, usages=edge_case.usages)
    except TargetEnded:
        raise
    except TargetError as error:
        other.unchecked_functions.append(UncheckedFunction(*function_and_reason(error), Verdict.FAIL))
        outcome = ProblemResult((), (), ())
    raised = [(item.function, item.reason.partition("\n")[0]) for item in other.unchecked_functions]
    if edge_case.may_raise:
        for function, reason in raised:
            knowledge.leave_out(function, f"edge case {edge_case.name}: it {reason}")
        raised = []
    verdict = Verdict.FAIL if raised else outcome.verdict
    if verdict is Verdict.INCONCLUSIVE and not outcome.cases:
        return None
    if verdict is Verdict.INCONCLUSIVE and outcome.precision != FLOAT64:
        reason = f"{outcome.precision.name} is not precise enough for it"
        knowledge.leave_out(f"edge case {edge_case.name}", reason)
        return None
    failed = [f"{c.output.name} of {c.output.function or 'forward'}" for c in outcome.cases if c.output.wrong]
    failed += [key for key, g in outcome.gradients.items() if g.verdict is not Verdict.PASS]
    failed += [f"{function} {reason}" for function, reason in raised]
    reproduce = options.command(problem, command) if edge_case.is_random_problem else None
    result = EdgeCaseResult(edge_case.name, verdict, tuple(failed), reproduce, edge_case.sizes, edge_case.about)
    return CheckedEdgeCase(edge_case, result, outcome)
