"""``bncheck derive``: the derivation, equation by equation, each checked."""

from functools import partial

import click

from bncheck.cli.exit_codes import ExitCode
from bncheck.cli.output import CHECK_FORMATS, Output, output_options
from bncheck.cli.parameters import REAL, SEED, SIZE
from bncheck.cli.sections import SectionedCommand, SectionOption
from bncheck.derivation import derive as derive_at
from bncheck.model.problem import random_problem
from bncheck.render.derivation_report import DerivationReport

problem_option = partial(click.option, cls=SectionOption, section="Problem")


@click.command(
    cls=SectionedCommand,
    short_help="Show the derivation, every equation checked.",
    examples=(
        "bncheck derive",
        "bncheck derive centering",
        "bncheck derive var --N 5 --D 2 --H 3 --seed 1 --bn-eps 0.1",
        "bncheck derive --format latex --save notes.md",
    ),
)
@click.argument("equation", required=False)
@problem_option("--N", "N", type=SIZE, default=3, help="Batch size.")
@problem_option("--D", "D", type=SIZE, default=4, help="Input features.")
@problem_option("--H", "H", type=SIZE, default=2, help="Hidden units.")
@problem_option("--seed", type=SEED, default=0, help="Seed of the random problem.")
@problem_option("--bn-eps", type=REAL, default=1e-5, help="Batch norm's constant, inside the square root.")
@output_options(*CHECK_FORMATS, "latex")
def derive(
    equation: str | None, N: int, D: int, H: int, seed: int, bn_eps: float, format_: str, save: tuple[str, ...]
) -> ExitCode:
    """Show the derivation of the backward pass, every equation checked by finite differences.

    Without EQUATION all of them, and the same gradients by the computational graph, node by node;
    with one (relu, scale, centering, var, xhat, dh, dgamma, dbeta, dW, db, dX) the steps in
    between, and its matrices.
    """
    problem = random_problem(N, D, H, seed=seed, bn_eps=bn_eps)
    with Output(format_, save) as output:
        found = derive_at(problem, equation)
        output.show(DerivationReport(found, in_full=equation is not None))
    return ExitCode.from_verdict(found.verdict)
