"""The options of all commands, each declared a single time, and the options of one check.

``OPTIONS`` is the table: the options of the command line, the command that reproduces a result and the axes of a sweep
follow from it. The signatures of Python functions repeat its names and defaults; a test compares them with the table.
"""

import enum
import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bncheck.errors import InvalidInput, unknown_name
from bncheck.model.axis_values import format_values

if TYPE_CHECKING:  # numpy, which the help of a command does not need
    from bncheck.model.problem import Problem

SCHEME_NAMES = ("forward", "central", "five-point", "richardson", "complex")
ENGINES = ("local", "full")
# The gradients, in the order of a report.
GRADIENTS = ("dX", "dW", "db", "dgamma", "dbeta", "dh")
# Layer functions call them dx, dw.
_BY_LOWER_CASE = {name.lower(): name for name in GRADIENTS}
# Smallest step. The product of a smaller one and a weight may be subnormal, where float64 has fewer digits.
MIN_STEP = 1e-100


class Kind(enum.Enum):
    """The kinds of values; for a number, the text completes "--N must be ..."."""

    SIZE = "an integer of at least 1"
    SEED = "an integer of at least 0"
    REAL = "a number"
    STEP = "'auto' or a positive finite number"
    CHOICE = "one of several names"
    NAMES = "names, separated by commas"
    FLAG = "no value"
    PATH = "the path of a file"
    TEXT = "any text"


# Headings of the help.
PROBLEM, METHOD, TARGET = "Problem", "Numerical method", "Target"
TOLERANCES, EXECUTION, OTHER = "Tolerances", "Execution", "Options"


@dataclass(frozen=True, slots=True)
class Option:
    """An option of the command line."""

    name: str  # in Python and in JSON: bn_eps
    kind: Kind
    default: Any
    heading: str  # under which the help lists the option
    help: str
    choices: tuple[str, ...] = ()  # of a CHOICE
    metavar: str | None = None  # what the help shows for the value; None: the kind
    default_text: str = ""  # what the help shows for the default; "": the default itself
    is_axis: bool = False  # a sweep accepts several values
    axis_help: str = ""  # the help of bncheck sweep; "": the same help
    always_written: bool = False  # a command states the value even if it is the default

    @property
    def flag(self) -> str:
        """The option as it is typed: --bn-eps; a stage that is on by default is switched off: --no-edge-cases."""
        prefix = "--no-" if self.default is True else "--"
        return prefix + self.name.replace("_", "-")


SIZE, SEED, REAL, STEP, CHOICE, NAMES, FLAG, PATH, TEXT = Kind

_TABLE = (
    Option("N", SIZE, 64, PROBLEM, "Batch size.", is_axis=True, always_written=True),
    Option("D", SIZE, 100, PROBLEM, "Input features.", is_axis=True, always_written=True),
    Option("H", SIZE, 50, PROBLEM, "Hidden units.", is_axis=True, always_written=True),
    Option("seed", SEED, 0, PROBLEM, "Seed of the random problem.", is_axis=True, always_written=True),
    Option("bn_eps", REAL, 1e-5, PROBLEM, "Constant added to the variance (eps).", is_axis=True),
    Option("x_mean", REAL, 0.0, PROBLEM, "Mean of X.", is_axis=True),
    Option("x_std", REAL, 1.0, PROBLEM, "Standard deviation of X.", is_axis=True),
    Option("scheme", CHOICE, "central", METHOD, "Finite-difference formula.", choices=SCHEME_NAMES,
           is_axis=True, axis_help=f"Finite-difference formulas: {', '.join(SCHEME_NAMES)}."),
    Option("step", STEP, "auto", METHOD, "Finite-difference step, or auto: steps chosen from the scale of the data.",
           metavar="NUMBER|auto", is_axis=True, axis_help="Steps; 1e-1..1e-12 is one per decade, 1e-1..1e-12/3 three."),
    Option("engine", CHOICE, "local", METHOD, "How perturbed losses are computed: local (closed form, fast) or full "
           "(one forward pass each).", choices=ENGINES),
    Option("sample", SIZE, None, METHOD, "Number of random entries to check per gradient; requires --engine full.",
           default_text="all"),
    Option("only", NAMES, GRADIENTS, METHOD, f"Gradients to check, comma-separated: {', '.join(GRADIENTS)}, or the "
           "names in the report of a file: dx, batchnorm_backward.dx.", metavar="dW,dgamma,...", default_text="all"),
    Option("edge_cases", FLAG, True, TARGET, "Skip the edge cases (small extra problems).", default_text="included"),
    Option("call_timeout", REAL, 60.0, TARGET, "Time limit in seconds for each call of a function under test."),
    Option("timeout", REAL, 600.0, TARGET, "Time limit in seconds for all calls of a check."),
    Option("memory", TEXT, None, TARGET, "Memory that the code under test may use, such as 1.5GB.", metavar="SIZE",
           default_text="what the problem needs and 2 GB"),
    Option("show_output", FLAG, False, TARGET, "Show what the code under test prints, on stderr."),
    Option("rtol", REAL, None, TOLERANCES, "Relative tolerance: accept an analytic a and a numerical n with |a - n| <= "
           "atol + rtol * max(|a|, |n|), instead of using error bounds. Without --atol, a gradient that must be 0 (db) "
           "keeps its error bound.", default_text="error bounds"),
    Option("atol", REAL, None, TOLERANCES, "Absolute tolerance, see --rtol.", default_text="error bounds"),
    Option("strict", FLAG, False, TOLERANCES, "Exit with 1 also if anything in the target was not checked."),
    Option("problems", SIZE, 2, OTHER, "Number of random problems per mistake."),
    Option("jobs", SIZE, 1, EXECUTION, "Number of worker processes."),
    Option("dask", TEXT, None, EXECUTION, "Run the checks on the workers of this Dask scheduler.", metavar="ADDRESS",
           default_text="this machine"),
    Option("out", PATH, None, EXECUTION, "Append one JSON row per check to FILE.", metavar="FILE", default_text="none"),
    Option("resume", FLAG, False, EXECUTION, "Skip the checks whose rows --out already contains."),
)  # fmt: skip
OPTIONS = {option.name: option for option in _TABLE}

# What a sweep can vary besides its target.
AXIS_OPTIONS = tuple(option for option in _TABLE if option.is_axis)
# The limits of the code under test.
LIMITS = ("call_timeout", "timeout", "memory")
# The parameters of random_problem, and the defaults that all commands share.
PROBLEM_SETTINGS = ("N", "D", "H", "seed", "bn_eps", "x_mean", "x_std")
PROBLEM_DEFAULTS = {name: OPTIONS[name].default for name in PROBLEM_SETTINGS if not OPTIONS[name].always_written}
# Spellings of earlier versions, which are accepted for one release.
OLD_FLAGS = {"--no-probes": "--no-edge-cases"}


def build_command(command: str, targets: Sequence[str], values: Mapping[str, Any]) -> str:
    """Return a command that runs with the given options; it can be pasted into a shell.

    Parameters
    ----------
    command : str
        The command: "run" or "sweep".
    targets : sequence of str
        The targets as the user named them, patterns included.
    values : mapping of str to object
        The values by the name of the option, tuples for several values. Defaults and names that are not in ``OPTIONS``
        are left out.
    """
    words = ["bncheck", command, *([] if list(targets) == ["reference"] else map(shlex.quote, targets))]
    for option in _TABLE:
        value = values.get(option.name, option.default)
        is_default = value in (option.default, (option.default,))
        if option.name in values and (option.always_written or not is_default):
            words.append(option.flag)
            if option.kind is not Kind.FLAG:
                words.append(shlex.quote(format_values(value if isinstance(value, tuple) else (value,))))
    return " ".join(words)


# A parameter in a message: in backticks, with or without a value; bn_eps, x_mean or x_std; "rtol must be ...".
_PARAMETER = re.compile(rf"`(\w+)(?:=([^`]*))?`|\b({'|'.join(PROBLEM_DEFAULTS)})\b|^({'|'.join(OPTIONS)})(?= must )")


def to_option_spelling(message: str) -> str:
    """Return a message with options instead of Python parameters.

    `x_mean` becomes --x-mean, `step='auto'` becomes --step auto, and `edge_cases=False` becomes --no-edge-cases.
    """

    def spell(match: re.Match[str]) -> str:
        option = OPTIONS.get(match[1] or match[3] or match[4])
        if option is None:
            return match[0]
        value = "" if match[2] is None or option.kind is Kind.FLAG else " " + match[2].strip("'")
        return option.flag + value

    return _PARAMETER.sub(spell, message)


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """How one check computes numerical gradients and tolerances.

    Raises
    ------
    InvalidInput
        If a value is out of range.
    """

    scheme: str = "central"  # a name of SCHEME_NAMES; get_scheme rejects others
    engine: str = "local"  # how perturbed losses are computed, a name of ENGINES
    step: float | str = "auto"  # finite-difference step, or "auto": chosen from the scale of the data
    sample: int | None = None  # random entries per gradient; None: all
    only: tuple[str, ...] = GRADIENTS  # gradients to check: "dW", or "batchnorm_backward.dX"
    rtol: float | None = None  # relative tolerance; None together with atol: error bounds
    atol: float | None = None  # absolute tolerance
    cross_check_entries: int = 64  # largest number of entries of X in the cross-check; 0: no cross-check

    def __post_init__(self) -> None:
        """Reject values that are out of range."""
        if self.engine not in ENGINES:
            raise unknown_name("engine", self.engine, ENGINES)
        step, sample = self.step, self.sample
        if step != "auto" and (isinstance(step, str | bool) or not 0 < step < math.inf):
            raise InvalidInput(f"step must be {Kind.STEP.value}, got {step!r}")
        if isinstance(step, float) and step < MIN_STEP:
            raise InvalidInput(f"step must be at least {MIN_STEP:.0e}, got {step}")
        if sample is not None and (isinstance(sample, bool) or not isinstance(sample, int) or sample < 1):
            raise InvalidInput(f"sample must be {Kind.SIZE.value}, got {sample!r}")
        if sample is not None and self.engine != "full":
            raise InvalidInput(
                f"`sample={sample}` requires `engine='full'` (the {self.engine} engine checks every entry)"
            )
        for name, value in (("rtol", self.rtol), ("atol", self.atol)):
            if value is not None and not 0 <= value < math.inf:
                raise InvalidInput(f"{name} must be a finite number of at least 0, got {value}")

    def as_dict(self) -> dict[str, Any]:
        """Return the options by name."""
        return {name: getattr(self, name) for name in self.__slots__}

    @property
    def uses_allclose_rule(self) -> bool:
        """Whether rtol or atol replaces the error bounds, as in numpy.allclose."""
        return self.rtol is not None or self.atol is not None

    def wants(self, function: str | None, label: str) -> bool:
        """Return whether ``only`` selects a gradient by its label (dx) or with its function (batchnorm_backward.dx)."""
        name = _BY_LOWER_CASE.get(label.lower(), label)
        return name in self.only or f"{function}.{name}" in self.only

    def command(self, problem: "Problem", target: str | None) -> str | None:
        """Return the command that repeats the check; None for a problem without a seed or a target without a name."""
        if problem.seed is None or target is None:
            return None
        problem_settings = {name: getattr(problem, name) for name in PROBLEM_SETTINGS}
        return build_command("run", [target], {**problem_settings, **self.as_dict()})


def parse_gradient_names(only: Iterable[str] | None) -> tuple[str, ...]:
    """Return the names of gradients, in the order of a report.

    Parameters
    ----------
    only : iterable of str, optional
        Names as in a report: "dW", "dw" of layer functions, "batchnorm_backward.dx" of one function. All by default.

    Raises
    ------
    InvalidInput
        If a name is not the name of a gradient, or if there is none.
    """
    if only is None:
        return GRADIENTS
    names = [_canonical_name(str(name)) for name in ([only] if isinstance(only, str) else only)]
    if not names:
        raise InvalidInput(f"only must name at least one gradient of {', '.join(GRADIENTS)}")
    return (*(name for name in GRADIENTS if name in names), *dict.fromkeys(n for n in names if n not in GRADIENTS))


def _canonical_name(name: str) -> str:
    """Return "dW" for "dw", and "affine_backward.dW" for "affine_backward.dw"."""
    function, dot, label = name.rpartition(".")
    if label.lower() not in _BY_LOWER_CASE:
        raise unknown_name("gradient", name, [f"{function}{dot}{gradient}" for gradient in GRADIENTS])
    return f"{function}{dot}{_BY_LOWER_CASE[label.lower()]}"
