"""``bncheck run``: check a target on a random problem."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import click

from bncheck.check import ENGINES, InterruptedCheck, check
from bncheck.cli import streams
from bncheck.cli.exits import ExitCode
from bncheck.cli.parameters import NAMES, REAL, SEED, SIZE, STEP
from bncheck.cli.sections import SectionedCommand, SectionOption
from bncheck.numerical.differentiate import entries_to_do
from bncheck.numerical.schemes import SCHEMES
from bncheck.problem import random_problem
from bncheck.progress import Progress, silent
from bncheck.render import FORMATS
from bncheck.results import GRADIENTS

problem_option = partial(click.option, cls=SectionOption, section="Problem")
scheme_option = partial(click.option, cls=SectionOption, section="Scheme")
judgement_option = partial(click.option, cls=SectionOption, section="Judgement")
output_option = partial(click.option, cls=SectionOption, section="Output")

# Entries below which a progress bar would only flicker.
WORTH_A_BAR = 20_000


@click.command(
    cls=SectionedCommand,
    short_help="Check a target on a random problem.",
    epilog="Example: bncheck run --N 64 --D 100 --H 50",
)
@click.argument("target", default="reference")
@problem_option("--N", "N", type=SIZE, default=64, help="Batch size.")
@problem_option("--D", "D", type=SIZE, default=100, help="Input features.")
@problem_option("--H", "H", type=SIZE, default=50, help="Hidden units.")
@problem_option("--seed", type=SEED, default=0, help="Seed of the random problem.")
@problem_option(
    "--bn-eps", type=REAL, default=1e-5, help="Batch norm's constant, inside the square root."
)
@problem_option("--x-mean", type=REAL, default=0.0, help="Mean of X.")
@problem_option("--x-std", type=REAL, default=1.0, help="Standard deviation of X.")
@scheme_option(
    "--scheme",
    type=click.Choice(list(SCHEMES)),
    default="central",
    help="Finite-difference formula.",
)
@scheme_option(
    "--step", type=STEP, default="auto", help="Absolute step, or auto: scale-aware ones."
)
@scheme_option(
    "--engine",
    type=click.Choice(ENGINES),
    default="local",
    help="How losses are evaluated; full: a whole forward pass for each.",
)
@scheme_option(
    "--sample",
    type=SIZE,
    help="Check that many random entries of each gradient; needs --engine full.  [default: all]",
)
@scheme_option(
    "--only",
    type=NAMES,
    metavar="dW,dgamma,...",
    help=f"Gradients to check, of {', '.join(GRADIENTS)}.  [default: all]",
)
@judgement_option(
    "--rtol",
    type=REAL,
    help="Judge by atol + rtol max(|a|, |n|), not by the error bars; without --atol a gradient "
    "that is exactly 0 keeps them.  [default: error bars]",
)
@judgement_option("--atol", type=REAL, help="The absolute part of it.  [default: error bars]")
@output_option(
    "--format",
    "format_",
    type=click.Choice(list(FORMATS)),
    default="table",
    help="What is written to stdout.",
)
def run(
    target: str,
    N: int,
    D: int,
    H: int,
    seed: int,
    bn_eps: float,
    x_mean: float,
    x_std: float,
    format_: str,
    **method: Any,
) -> ExitCode:
    """Check a target's backward pass on a random problem.

    TARGET is the code under test: reference (the default), bncheck's own network.

    Every entry of dX, dW, db, dgamma, dbeta and dh is held against finite differences of the
    forward pass, within error bars.
    """
    if method["sample"] is not None and method["engine"] != "full":
        raise click.UsageError(
            f"--sample {method['sample']} needs --engine full; the local engine checks every entry"
        )
    problem = random_problem(N, D, H, seed=seed, bn_eps=bn_eps, x_mean=x_mean, x_std=x_std)
    names = method["only"] or GRADIENTS
    todo = entries_to_do(problem, names, method["engine"], method["sample"])
    show = FORMATS[format_]
    try:
        with _progress(todo) as progress:
            result = check(problem, target, **method, progress=progress)
    except InterruptedCheck as interrupted:
        streams.write(show(interrupted.result))
        click.echo(f"{interrupted}.".capitalize(), err=True)
        return ExitCode.INTERRUPTED
    streams.write(show(result))
    return ExitCode.of(result.verdict)


@contextmanager
def _progress(entries: int) -> Iterator[Progress]:
    """Show a bar on stderr where that is a terminal and the work is long enough to see it."""
    if entries < WORTH_A_BAR or not sys.stderr.isatty():
        yield silent
        return
    from rich.progress import (  # noqa: PLC0415 - most runs are over before a bar could be seen
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TimeRemainingColumn,
    )

    columns = ("entries", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=streams.console_on(sys.stderr), transient=True) as bar:
        yield partial(bar.advance, bar.add_task("", total=entries))
