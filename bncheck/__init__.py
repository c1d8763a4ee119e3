"""Check the backward pass of affine, batch norm and ReLU against finite differences.

bncheck compares every entry of every gradient with a finite difference that has its own error bound, excludes outputs
that are too close to ReLU's kink, and reports pass, fail or inconclusive.
"""

TYPE_CHECKING = False  # importing typing takes 3 ms, in which Ctrl-C has a traceback: see __main__
if TYPE_CHECKING:
    from typing import Any

    from bncheck.checking.check import check
    from bncheck.checking.run_check import InterruptedCheck
    from bncheck.errors import BncheckError, InvalidInput, TargetError
    from bncheck.model.problem import Problem, random_problem
    from bncheck.model.results import CheckResult, GradientResult
    from bncheck.model.verdict import Verdict
    from bncheck.model.version import __version__
    from bncheck.sweeps.runner import sweep
    from bncheck.testing import assert_gradients

__all__ = [
    "BncheckError",
    "CheckResult",
    "GradientResult",
    "InterruptedCheck",
    "InvalidInput",
    "Problem",
    "TargetError",
    "Verdict",
    "__version__",
    "assert_gradients",
    "check",
    "random_problem",
    "sweep",
]

# The public names, and the module that each is imported from at its first use: the command line needs few of them.
_MODULES = {
    "BncheckError": "bncheck.errors",
    "CheckResult": "bncheck.model.results",
    "GradientResult": "bncheck.model.results",
    "InterruptedCheck": "bncheck.checking.run_check",
    "InvalidInput": "bncheck.errors",
    "Problem": "bncheck.model.problem",
    "TargetError": "bncheck.errors",
    "Verdict": "bncheck.model.verdict",
    "__version__": "bncheck.model.version",
    "assert_gradients": "bncheck.testing",
    "check": "bncheck.checking.check",
    "random_problem": "bncheck.model.problem",
    "sweep": "bncheck.sweeps.runner",
}


def __getattr__(name: str) -> "Any":
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - not needed before __main__ handles signals

    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return __all__
