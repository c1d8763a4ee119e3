"""Edited targets in this process, and parts of their results."""

from types import SimpleNamespace
from typing import Any

from bncheck import CheckResult, Verdict

# The last line of the sample batchnorm.py, before which tests insert mistakes.
RETURN = "return dx, (dout * xhat).sum(axis=0), dout.sum(axis=0)"
# Replacement in the same sample.
SINGLE_PASS = ("x.var(axis=0)", "((x * x).mean(axis=0) - x.mean(axis=0) ** 2)")


def functions(source: str, *edits: tuple[str, str]) -> SimpleNamespace:
    """Return the functions of an edited source, in a namespace of their own."""
    for old, new in edits:
        assert old in source
        source = source.replace(old, new)
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    return SimpleNamespace(**namespace)


def verdicts(result: CheckResult) -> dict[str, Verdict]:
    return {key: gradient.verdict for key, gradient in result.gradients.items()}
