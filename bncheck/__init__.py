"""Check the backward pass of affine, batch norm and ReLU against finite differences.

A numerical derivative is a measurement with an error bar; every entry of every gradient is
checked, ReLU's kink is guarded, and a verdict says pass, fail or inconclusive.
"""

from bncheck.check import InterruptedCheck, check
from bncheck.errors import BncheckError, InvalidInput, TargetError
from bncheck.problem import Problem, random_problem
from bncheck.results import CheckResult, GradientResult, Verdict
from bncheck.sweep import sweep
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
