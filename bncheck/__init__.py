"""Check the backward pass of affine, batch norm and ReLU against finite differences.

A numerical derivative is a measurement with an error bar; every entry of every gradient is
checked, ReLU's kink is guarded, and a verdict says pass, fail or inconclusive.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bncheck.checking.check import InterruptedCheck, check
from bncheck.errors import BncheckError, InvalidInput, TargetError
from bncheck.model.problem import Problem, random_problem
from bncheck.model.results import CheckResult, GradientResult, Verdict

if TYPE_CHECKING:
    from bncheck.sweeps.sweep import sweep
    from bncheck.testing import assert_gradients

__version__ = "0.1.0"

__all__ = [
    "BncheckError",
    "CheckResult",
    "GradientResult",
    "InterruptedCheck",
    "InvalidInput",
    "Problem",
    "TargetError",
    "Verdict",
    "assert_gradients",
    "check",
    "random_problem",
    "sweep",
]

# Imported where they are first used: a single check needs neither.
_LATER = {"sweep": "bncheck.sweeps.sweep", "assert_gradients": "bncheck.testing"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_LATER[name]), name)
    return value


def __dir__() -> list[str]:
    return __all__
