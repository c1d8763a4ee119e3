"""``bncheck derive``: the derivation, equation by equation, each checked."""

import click

from bncheck.cli import streams
from bncheck.cli.exits import ExitCode
from bncheck.cli.parameters import REAL, SEED, SIZE
from bncheck.derivation import derive as derive_at
from bncheck.problem import random_problem
from bncheck.render.derivation_report import (
    DerivationTable,
    EquationPage,
    derivation_as_json,
    derivation_as_latex,
    derivation_as_markdown,
)

DOCUMENTS = {"json": derivation_as_json, "latex": derivation_as_latex, "markdown": derivation_as_markdown}


@click.command(epilog="Example: bncheck derive centring")
@click.argument("equation", required=False)
@click.option("--N", "N", type=SIZE, default=3, help="Batch size.")
@click.option("--D", "D", type=SIZE, default=4, help="Input features.")
@click.option("--H", "H", type=SIZE, default=2, help="Hidden units.")
@click.option("--seed", type=SEED, default=0, help="Seed of the random problem.")
@click.option("--bn-eps", type=REAL, default=1e-5, help="Batch norm's constant, inside the square root.")
@click.option("--format", "format_", type=click.Choice(["table", *DOCUMENTS]), default="table", help="On stdout.")
def derive(equation: str | None, N: int, D: int, H: int, seed: int, bn_eps: float, format_: str) -> ExitCode:
    """Show the derivation of the backward pass, every equation checked by finite differences.

    Without EQUATION all of them, and the same gradients by the computational graph, node by node;
    with one (relu, scale, centring, var, xhat, dh, dgamma, dbeta, dW, db, dX) the steps in
    between, and its matrices.
    """
    found = derive_at(random_problem(N, D, H, seed=seed, bn_eps=bn_eps), equation)
    document = DOCUMENTS.get(format_)
    streams.write(document(found) if document else EquationPage(found) if equation else DerivationTable(found))
    return ExitCode.of(found.verdict)
