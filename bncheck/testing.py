"""For test suites: gradients asserted, with the report as the message."""

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
    timeout: float = 60.0,
    strict: bool = False,
) -> None:
    """Assert that a target's backward pass is the derivative of its forward pass, and that one of batch norm.

    Parameters
    ----------
    target : str, path, module, object or mapping
        The code under test, as ``check`` takes it.
    N, D, H, seed, bn_eps, x_mean, x_std
        The random problem, as ``random_problem`` takes them.
    scheme, step, engine, only, rtol, atol, probes, timeout
        How it is checked, as ``check`` takes them.
    strict : bool, default False
        Fail also if anything in the target was not checked.

    Raises
    ------
    AssertionError
        Something is wrong, or the check was inconclusive, or with ``strict`` something was not checked: the
        message is the report, with the diagnosis and the command that does it again.
    InvalidInput
        An argument has a value it cannot have.
    TargetError
        The target did not load, raised, or did not return what its interface says.
    """
    __tracebackhide__ = True  # pytest shows the line of the test, not this
    try:
        problem = random_problem(N, D, H, seed=seed, bn_eps=bn_eps, x_mean=x_mean, x_std=x_std)
        result = check(
            problem, target, scheme=scheme, step=step, engine=engine, only=only, rtol=rtol, atol=atol, edge_cases=edge_cases,
            timeout=timeout,
        )  # fmt: skip
    except BncheckError as error:
        told = str(error) if not isinstance(target, str) or target in str(error) else f"{target}: {error}"
        raise type(error)(told) from error.__cause__
    not_checked = f"Not checked: {', '.join(item.function for item in result.not_checked)}"
    left_out = strict and bool(result.not_checked)
    if result.verdict is not Verdict.PASS or left_out:
        # rich is imported only where there is something to show.
        from bncheck.render.check_report import CheckReport  # noqa: PLC0415 - see above
        from bncheck.render.export import text  # noqa: PLC0415 - see above

        meaning = result.verdict.meaning if result.verdict is not Verdict.PASS else not_checked
        raise AssertionError(f"{meaning}\n\n{text([CheckReport(result)])}")
