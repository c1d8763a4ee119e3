"""How a check is done: scheme, engine, step, what is judged and by which rule."""

import math
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bncheck.errors import InvalidInput
from bncheck.model.components import NETWORK
from bncheck.model.problem import PROBLEM_DEFAULTS, Problem

ENGINES = ("local", "full")
# The gradients, in the order in which they are shown.
GRADIENTS = tuple(f"d{name}" for name in NETWORK.inputs)
# The same by their names in lower case, as layer functions call them: dx, dw.
CANONICAL = {name.lower(): name for name in GRADIENTS}
# Below this a step times a weight may be one of float64's denormals, which have lost digits.
LEAST_STEP = 1e-100


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """How the numerical gradients are taken, and what they are judged by.

    Raises
    ------
    InvalidInput
        A value is out of its range.
    """

    scheme: str = "central"  # the finite-difference formula
    engine: str = "local"  # "local" or "full": how the perturbed losses are evaluated
    step: float | str = "auto"  # absolute, or "auto": scale-aware ones
    sample: int | None = None  # entries drawn of each gradient; None for all of them
    only: tuple[str, ...] = GRADIENTS  # the gradients that are checked
    rtol: float | None = None  # either of these given: atol + rtol max(|a|, |n|) ...
    atol: float | None = None  # ... replaces the error bars
    cross_check_entries: int = 64  # entries of X that the local engine is audited on, at most; 0 for no audit at all

    def __post_init__(self) -> None:
        """Refuse what cannot be done; the scheme's name is refused by who looks it up."""
        if self.engine not in ENGINES:
            raise InvalidInput(f"no engine {self.engine!r}; there are {' and '.join(ENGINES)}")
        _require_step(self.step)
        _require_sample(self.sample, self.engine)
        for name in ("rtol", "atol"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise InvalidInput(f"{name} is {value}; it must be a finite number, 0 or larger")

    @property
    def uses_allclose_rule(self) -> bool:
        """Whether rtol or atol was asked for, the field's usual rule."""
        return self.rtol is not None or self.atol is not None

    def wants(self, function: str | None, label: str) -> bool:
        """Tell whether a gradient is asked for, by its name in the table: dx or batchnorm_backward.dx."""
        name = CANONICAL.get(label.lower(), label)
        return name in self.only or f"{function}.{name}" in self.only

    def command(self, problem: Problem, target: str | None) -> str | None:
        """Return the command that does the check again, or None where no command can."""
        if problem.seed is None or target is None:
            return None
        words = ["bncheck", "run", *([] if target == "reference" else [shlex.quote(target)])]
        words += ["--N", str(problem.N), "--D", str(problem.D), "--H", str(problem.H)]
        words += ["--seed", str(problem.seed)]
        options: dict[str, tuple[Any, Any]] = {
            "--" + name.replace("_", "-"): (getattr(problem, name), usual) for name, usual in PROBLEM_DEFAULTS.items()
        }
        usual_method = CheckOptions()
        for name in ("scheme", "step", "engine", "sample", "only", "rtol", "atol"):
            options[f"--{name}"] = getattr(self, name), getattr(usual_method, name)
        for option, (value, usual) in options.items():
            if value != usual:
                written = ",".join(value) if isinstance(value, tuple) else str(value)
                words += [option, written.removesuffix(".0")]
        return " ".join(words)


def parse_gradient_names(only: Iterable[str] | None) -> tuple[str, ...]:
    """Return the gradients that are asked for, in their usual order; all for None.

    Each is named as a table shows it: dW, or dw of layer functions, or batchnorm_backward.dx of one of these.

    Raises
    ------
    InvalidInput
        There is no such gradient.
    """
    if only is None:
        return GRADIENTS
    asked = [only] if isinstance(only, str) else list(only)
    if not asked:
        raise InvalidInput(f"only is empty; choose from {', '.join(GRADIENTS)}")
    known = list(map(_gradient_named, asked))
    return (*(name for name in GRADIENTS if name in known), *dict.fromkeys(n for n in known if n not in GRADIENTS))


def to_option_spelling(text: str) -> str:
    """Spell the parameters that a message names in backticks as options of the command line.

    Messages name a parameter, or a parameter and its value, as in Python: `x_mean` becomes --x-mean, `step='auto'`
    becomes --step auto, and `edge_cases=False` becomes --no-edge-cases.
    """

    def spell(match: re.Match[str]) -> str:
        name, value = match[1].replace("_", "-"), match[2]
        if value == "False":
            return f"--no-{name}"
        return " ".join([f"--{name}", *([] if value is None else [value.strip("'")])])

    return re.sub(r"`(\w+)(?:=([^`]*))?`", spell, text)


def _gradient_named(name: str) -> str:
    function, dot, label = str(name).rpartition(".")
    if label.lower() in CANONICAL:
        return f"{function}{dot}{CANONICAL[label.lower()]}"
    from difflib import get_close_matches  # noqa: PLC0415 - few names are mistyped

    near = get_close_matches(label, GRADIENTS, 1, 0.5)
    guess = f"did you mean {function}{dot}{near[0]}? There" if near else "there"
    raise InvalidInput(f"no gradient {name!r}; {guess} are {', '.join(GRADIENTS)}, or function.dx of layer functions")


def _require_step(step: float | str) -> None:
    if step == "auto":
        return
    if isinstance(step, str | bool) or not 0 < step < math.inf:
        raise InvalidInput(f"step is {step!r}; it must be a number above 0, or 'auto'")
    if step < LEAST_STEP:
        raise InvalidInput(f"step is {step}; float64 loses digits below {LEAST_STEP:.0e}")


def _require_sample(sample: int | None, engine: str) -> None:
    if sample is None:
        return
    if isinstance(sample, bool) or not isinstance(sample, int) or sample < 1:
        raise InvalidInput(f"sample is {sample!r}; it must be a whole number, 1 or larger")
    if engine != "full":
        raise InvalidInput(
            f"sample is {sample}, but the {engine} engine checks every entry; take the full engine, or leave sample out"
        )
