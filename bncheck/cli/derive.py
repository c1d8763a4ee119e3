"""``bncheck derive``: the derivation, with a numerical check of every equation."""

import click

from bncheck.cli.command import ExitCode, command, options
from bncheck.cli.output import CHECK_FORMATS, Output, output_options
from bncheck.model.verdict import Verdict


@command(
    "bncheck derive",
    "bncheck derive centering",
    "bncheck derive var --N 5 --D 2 --H 3 --seed 1 --bn-eps 0.1",
    "bncheck derive --format latex --save notes.md",
)
@click.argument("equation", required=False)
@options("N", "D", "H", "seed", "bn_eps", N=3, D=4, H=2)
@output_options(*CHECK_FORMATS, "latex")
def derive(
    equation: str | None, N: int, D: int, H: int, seed: int, bn_eps: float, format_: str, save: tuple[str, ...]
) -> ExitCode:
    """Show the derivation and check every equation.

    Without EQUATION, show all equations and the same gradients from the computational graph. With EQUATION (relu,
    scale, centering, var, xhat, dh, dgamma, dbeta, dW, db, dX), show its derivation step by step, with the matrices.
    """
    from bncheck.derivation import derive as check_derivation  # noqa: PLC0415 - imports numpy
    from bncheck.model.problem import random_problem  # noqa: PLC0415 - imports numpy
    from bncheck.render.derivation_report import DerivationReport  # noqa: PLC0415 - imports numpy

    problem = random_problem(N, D, H, seed=seed, bn_eps=bn_eps)
    with Output(format_, save) as output:
        derivation = check_derivation(problem, equation)
        output.show(DerivationReport(derivation, in_full=equation is not None))
    return ExitCode.from_passed(derivation.verdict is Verdict.PASS)
