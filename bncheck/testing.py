"""Assertions for test suites."""

from collections.abc import Iterable
from typing import Any

from bncheck.checking.check import check
from bncheck.errors import BncheckError
from bncheck.model.problem import random_problem
from bncheck.model.verdict import Verdict


def assert_gradients(
    target: Any,
    *,
    N: int = 16,
    D: int = 6,
    H: int = 8,
    seed: int = 0,
    bn_eps: float = 1e-5,
    x_mean: float = 0.0,
    x_std: float = 1.0,
    scheme: str = "central",
    step: float | str = "auto",
    engine: str = "local",
    only: Iterable[str] | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    edge_cases: bool = True,
    call_timeout: float = 60.0,
    timeout: float = 600.0,
    memory: str | int | None = None,
    strict: bool = False,
) -> None:
    """Assert that a forward pass computes batch norm, and that a backward pass returns its gradients.

    Parameters
    ----------
    target : str, path, module, object or mapping
        The code under test, as in ``check``.
    N, D, H, seed, bn_eps, x_mean, x_std
        The random problem, as in ``random_problem``.
    scheme, step, engine, only, rtol, atol, edge_cases, call_timeout, timeout, memory
        How it is checked, as in ``check``.
    strict : bool, default False
        Also fail if anything in the target was not checked.

    Raises
    ------
    AssertionError
        The verdict is not pass, or, with ``strict``, something was not checked. The message is the report with the
        diagnosis and the command that reproduces it.
    InvalidInput
        An argument is out of its range.
    TargetError
        The target did not load, raised, or returned something else than its interface requires.
    """
    __tracebackhide__ = True  # pytest shows the line of the test instead
    try:
        problem = random_problem(N, D, H, seed=seed, bn_eps=bn_eps, x_mean=x_mean, x_std=x_std)
        result = check(
            problem, target, scheme=scheme, step=step, engine=engine, only=only, rtol=rtol, atol=atol,
            edge_cases=edge_cases, call_timeout=call_timeout, timeout=timeout, memory=memory,
        )  # fmt: skip
    except BncheckError as error:
        prefix = f"{target}: " if isinstance(target, str) and target not in str(error) else ""
        raise type(error)(f"{prefix}{error}") from error.__cause__
    if result.verdict is not Verdict.PASS:
        headline = result.verdict.meaning
    elif strict and result.not_checked:
        headline = f"Not checked: {', '.join(item.function for item in result.not_checked)}"
    else:
        return
    from bncheck.render.check_report import CheckReport  # noqa: PLC0415 - imports rich, only needed after a failure
    from bncheck.render.export import text  # noqa: PLC0415 - imports rich, only needed after a failure

    raise AssertionError(f"{headline}\n\n{text([CheckReport(result)])}")
