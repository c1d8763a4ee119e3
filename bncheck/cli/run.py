"""``bncheck run``: check a target on a random problem."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import click

from bncheck.checking.check import check
from bncheck.checking.in_process import InterruptedCheck
from bncheck.cli import stdio
from bncheck.cli.exit_codes import ExitCode
from bncheck.cli.output import CHECK_FORMATS, Output, output_options
from bncheck.cli.parameters import NAMES, REAL, SEED, SIZE, STEP
from bncheck.cli.sections import SectionedCommand, SectionOption
from bncheck.errors import TargetError
from bncheck.model.options import ENGINES, GRADIENTS, to_option_spelling
from bncheck.model.problem import Problem, random_problem
from bncheck.model.progress import Progress, silent
from bncheck.model.results import CheckResult, Verdict
from bncheck.numerical.schemes import SCHEMES
from bncheck.render import format
from bncheck.render.check_report import INCOMPLETE, CheckReport
from bncheck.render.summary import RunFailure, Summary, TargetSummary
from bncheck.targets.loading import expand_pattern

problem_option = partial(click.option, cls=SectionOption, section="Problem")
scheme_option = partial(click.option, cls=SectionOption, section="Scheme")
target_option = partial(click.option, cls=SectionOption, section="Target")
tolerance_option = partial(click.option, cls=SectionOption, section="Judgement")

strict_option = tolerance_option(
    "--strict", is_flag=True, help="Exit with 1 also if anything in the target was not checked.  [default: off]"
)

# Seconds after which a progress bar appears; before, it would only flicker.
PROGRESS_DELAY_SECONDS = 0.5


@click.command(
    cls=SectionedCommand,
    short_help="Check a target on a random problem.",
    examples=(
        "bncheck run --N 64 --D 100 --H 50",
        "bncheck run layers.py --seed 7 --bn-eps 1e-3 --x-mean 2 --x-std 0.5",
        "bncheck run --scheme five-point --step 1e-3 --only dW,dgamma",
        "bncheck run --engine full --sample 20 --rtol 1e-5 --atol 1e-8",
        "bncheck run layers.py wrong.py --no-edge-cases --timeout 10",
        "bncheck run layers.py --strict",
        "bncheck run layers.py --only batchnorm_backward.dx",
        "bncheck run layers.py --format junit --save report.html",
    ),
)
@click.argument("targets", metavar="[TARGET]...", nargs=-1, type=click.Path())
@problem_option("--N", "N", type=SIZE, default=64, help="Batch size.")
@problem_option("--D", "D", type=SIZE, default=100, help="Input features.")
@problem_option("--H", "H", type=SIZE, default=50, help="Hidden units.")
@problem_option("--seed", type=SEED, default=0, help="Seed of the random problem.")
@problem_option("--bn-eps", type=REAL, default=1e-5, help="Batch norm's constant, inside the square root.")
@problem_option("--x-mean", type=REAL, default=0.0, help="Mean of X.")
@problem_option("--x-std", type=REAL, default=1.0, help="Standard deviation of X.")
@scheme_option("--scheme", type=click.Choice(list(SCHEMES)), default="central", help="Finite-difference formula.")
@scheme_option("--step", type=STEP, default="auto", help="Absolute step, or auto: scale-aware ones.")
@scheme_option(
    "--engine",
    type=click.Choice(ENGINES),
    default="local",
    help="How losses are evaluated; full: a whole forward pass for each.",
)
@scheme_option(
    "--sample", type=SIZE, help="Check that many random entries of each gradient; needs --engine full.  [default: all]"
)
@scheme_option(
    "--only",
    type=NAMES,
    metavar="dW,dgamma,...",
    help=f"Gradients to check, of {', '.join(GRADIENTS)}, or by their names in the table of a file: dx, "
    "batchnorm_backward.dx.  [default: all]",
)
@target_option("--no-edge-cases", is_flag=True, help="Do not check the edge cases.  [default: they are checked]")
@target_option("--timeout", type=REAL, default=60, help="Seconds that one call of its functions may take.")
@tolerance_option(
    "--rtol",
    type=REAL,
    help="Judge by atol + rtol max(|a|, |n|), not by the error bars; without --atol a gradient "
    "that is exactly 0 keeps them.  [default: error bars]",
)
@tolerance_option("--atol", type=REAL, help="The absolute part of it.  [default: error bars]")
@strict_option
@output_options(*CHECK_FORMATS)
def run(
    targets: tuple[str, ...],
    N: int,
    D: int,
    H: int,
    seed: int,
    bn_eps: float,
    x_mean: float,
    x_std: float,
    no_edge_cases: bool,
    strict: bool,
    format_: str,
    save: tuple[str, ...],
    **method: Any,
) -> ExitCode:
    """Check a target's backward pass on a random problem.

    TARGET is the code under test: a file (layers.py), a module (mypkg.layers), a name in one
    (layers.py:solution_b), or one of bncheck's own, reference (the default) and staged. Of
    several each is reported, and a summary follows.

    Every entry of dX, dW, db, dgamma, dbeta and dh is held against finite differences of the
    forward pass, within error bars.
    """
    if method["sample"] is not None and method["engine"] != "full":
        raise click.UsageError(f"--sample {method['sample']} needs --engine full; the local engine checks every entry")
    problem = random_problem(N, D, H, seed=seed, bn_eps=bn_eps, x_mean=x_mean, x_std=x_std)
    names = [name for target in targets or ("reference",) for name in expand_pattern(target)]
    with Output(format_, save, several=len(names) > 1) as output:
        lines: list[TargetSummary] = []
        try:
            return check_targets(names, problem, output, lines, strict=strict, edge_cases=not no_edge_cases, **method)
        finally:
            if len(names) > 1:
                output.show(Summary(lines))


def check_targets(
    names: Sequence[str],
    problem: Problem,
    output: Output,
    lines: list[TargetSummary],
    *,
    strict: bool = False,
    **options: Any,
) -> ExitCode:
    """Check one target after the other, add a line for each, and return the exit code of all of them."""
    codes: list[ExitCode] = []
    for number, name in enumerate(names):
        try:
            with _progress() as progress:
                result = check(problem, name, **options, progress=progress)
        except KeyboardInterrupt as interrupted:
            _report_interruption(interrupted, names[number:], output, lines)
            return ExitCode.INTERRUPTED
        except TargetError as error:
            answer = RunFailure(name, to_option_spelling(str(error)))
            click.echo(f"Error: {answer.message}", err=True)
            output.show(answer, told=True)
            lines.append(TargetSummary.unanswered(name))
            codes.append(ExitCode.COULD_NOT_RUN)
        else:
            output.show(CheckReport(result))
            lines.append(TargetSummary.of(name, result))
            codes.append(_exit_code(name, result, strict))
    # If some were not judged, the passes of the others are not all that was asked for.
    return codes[0] if len(set(codes)) == 1 else ExitCode.NOT_PASSED


def _exit_code(name: str, result: CheckResult, strict: bool) -> ExitCode:
    """Return the exit code of a check; why a pass does not exit with 0 is printed."""
    if result.verdict is Verdict.FAIL:
        return ExitCode.NOT_PASSED
    if result.incomplete:
        click.echo(f"{INCOMPLETE}: {name}: {format.missing(result)}", err=True)
        return ExitCode.COULD_NOT_RUN
    if strict and result.not_checked:
        names = dict.fromkeys(item.function for item in result.not_checked)
        click.echo(f"Not checked, which --strict does not allow: {name}: {', '.join(names)}", err=True)
        return ExitCode.NOT_PASSED
    return ExitCode.from_verdict(result.verdict)


def _report_interruption(
    interrupted: KeyboardInterrupt, left: Sequence[str], output: Output, lines: list[TargetSummary]
) -> None:
    """Show what is known of the target that was being checked, and name those that were not."""
    told, rest = ("Interrupted" if lines else "Interrupted: nothing was judged"), ""
    if isinstance(interrupted, InterruptedCheck):
        output.show(CheckReport(interrupted.result))
        lines.append(TargetSummary.of(left[0], interrupted.result))
        told, left = str(interrupted).capitalize(), left[1:]
    if left and lines:
        rest = f"; not checked: {', '.join(left)}"
    for name in left:
        output.show(RunFailure(name, "interrupted before it was checked"), told=True)
        lines.append(TargetSummary.unanswered(name))
    click.echo(f"{told}{rest}.", err=True)


@contextmanager
def _progress() -> Iterator[Progress]:
    """Show a bar on stderr where that is a terminal and the work takes long enough to see it."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield silent
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn  # noqa: PLC0415 - only where somebody looks

    columns = ("entries", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=stdio.console_on(sys.stderr), transient=True)
    task, started = bar.add_task(""), time.monotonic()

    def show(done: int, total: int) -> None:
        if not bar.live.is_started and time.monotonic() - started > PROGRESS_DELAY_SECONDS:
            bar.start()
        bar.update(task, completed=done, total=total)

    try:
        yield show
    finally:
        bar.stop()
