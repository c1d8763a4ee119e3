"""``bncheck selftest``, the checker's own trials, and ``bncheck smoke``, its smallest size."""

import os
import sys

import click

from bncheck.cli import stdio
from bncheck.cli.exit_codes import ExitCode
from bncheck.cli.output import CHECK_FORMATS, Output, output_options
from bncheck.cli.parameters import SIZE
from bncheck.cli.run import check_targets, strict_option
from bncheck.cli.sections import SectionedCommand
from bncheck.model.problem import random_problem
from bncheck.render.selftest_report import SelftestReport
from bncheck.selftest import trials
from bncheck.targets.loading import expand_pattern

# What smoke draws for a target: small, and wider than it has features; the probes are smaller still.
SMOKE_SHAPE = {"N": 16, "D": 6, "H": 8, "seed": 0}


@click.command(
    cls=SectionedCommand,
    short_help="Check your code in CI, in seconds.",
    examples=(
        "bncheck smoke",
        "bncheck smoke layers.py",
        "bncheck smoke layers.py --strict --format github --save smoke.xml",
    ),
)
@click.argument("targets", metavar="[TARGET]...", nargs=-1, type=click.Path())
@strict_option
@output_options(*CHECK_FORMATS)
def smoke(targets: tuple[str, ...], strict: bool, format_: str, save: tuple[str, ...]) -> ExitCode:
    """Check your code in CI, in seconds: one line on success, the full story otherwise.

    Each TARGET, as for run, is checked on small problems. Without any, bncheck itself is: the
    reference must pass on problems of unlike shapes and scales, and a planted mistake of each
    kind must be caught.
    """
    names = [name for target in targets for name in expand_pattern(target)]
    with Output(format_, save, several=len(names) > 1, brief=True) as output:
        if names:
            return check_targets(names, random_problem(**SMOKE_SHAPE), output, [], strict=strict)
        result = trials.smoke()
        output.show(SelftestReport(result))
        return ExitCode.PASS if result.passed else ExitCode.NOT_PASSED


@click.command(
    cls=SectionedCommand,
    short_help="Prove that bncheck can be relied on.",
    examples=(
        "bncheck selftest",
        "bncheck selftest --problems 1 --jobs 1",
        "bncheck selftest --format json --save selftest.svg",
    ),
)
@click.option("--problems", type=SIZE, default=2, help="Random problems that each mistake is planted in.")
@click.option("--jobs", type=SIZE, default=os.cpu_count() or 1, show_default="one per core", help="Processes.")
@output_options(*CHECK_FORMATS)
def selftest(problems: int, jobs: int, format_: str, save: tuple[str, ...]) -> ExitCode:
    """Prove that bncheck can be relied on: mistakes are caught, right code passes.

    Every mistake of the catalogue is planted in random problems and must be caught; right code
    is tried over hard scales, means and epsilons; and errors of known sizes are planted in
    right gradients, beside the resolution that is claimed. Exits 1 if anything is missed.
    """
    live = stdio.is_terminal(sys.stderr)

    def progress(done: int, total: int) -> None:
        if live:
            click.echo(f"\r\x1b[K  {done:,} of {total:,}" if done < total else "\r\x1b[K", nl=False, err=True)

    with Output(format_, save) as output:
        result = trials.selftest(problems, jobs=jobs, progress=progress)
        output.show(SelftestReport(result))
    return ExitCode.PASS if result.passed else ExitCode.NOT_PASSED
