"""``bncheck run``: check a target on a random problem."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import click
from rich.console import RenderableType

from bncheck.check import InterruptedCheck, check
from bncheck.cli import streams
from bncheck.cli.exits import ExitCode
from bncheck.cli.parameters import NAMES, REAL, SEED, SIZE, STEP
from bncheck.cli.sections import SectionedCommand, SectionOption
from bncheck.errors import TargetError
from bncheck.method import ENGINES, GRADIENTS
from bncheck.numerical.schemes import SCHEMES
from bncheck.problem import Problem, random_problem
from bncheck.progress import Progress, silent
from bncheck.render import FORMATS, no_answer_as_json
from bncheck.render.summary import Line, Summary
from bncheck.results import CheckResult, Verdict
from bncheck.targets.loading import expanded

problem_option = partial(click.option, cls=SectionOption, section="Problem")
scheme_option = partial(click.option, cls=SectionOption, section="Scheme")
target_option = partial(click.option, cls=SectionOption, section="Target")
judgement_option = partial(click.option, cls=SectionOption, section="Judgement")
output_option = partial(click.option, cls=SectionOption, section="Output")

# Seconds after which a progress bar appears; before, it would only flicker.
PATIENCE = 0.5


@click.command(
    cls=SectionedCommand,
    short_help="Check a target on a random problem.",
    epilog="Example: bncheck run --N 64 --D 100 --H 50",
)
@click.argument("targets", metavar="[TARGET]...", nargs=-1)
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
    help=f"Gradients to check, of {', '.join(GRADIENTS)}.  [default: all]",
)
@target_option("--no-probes", is_flag=True, help="Do not try it on small problems too.  [default: tried]")
@target_option("--timeout", type=REAL, default=60, help="Seconds that one call of its functions may take.")
@judgement_option(
    "--rtol",
    type=REAL,
    help="Judge by atol + rtol max(|a|, |n|), not by the error bars; without --atol a gradient "
    "that is exactly 0 keeps them.  [default: error bars]",
)
@judgement_option("--atol", type=REAL, help="The absolute part of it.  [default: error bars]")
@output_option(
    "--format", "format_", type=click.Choice(list(FORMATS)), default="table", help="What is written to stdout."
)
def run(
    targets: tuple[str, ...],
    N: int,
    D: int,
    H: int,
    seed: int,
    bn_eps: float,
    x_mean: float,
    x_std: float,
    no_probes: bool,
    format_: str,
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
    names = [name for target in targets or ("reference",) for name in expanded(target)]
    output = Output(format_, several=len(names) > 1)
    lines: list[Line] = []
    try:
        code = _each(names, problem, output, lines, {**method, "probes": not no_probes})
    finally:
        output.end(lines)
    return code


def _each(
    names: Sequence[str], problem: Problem, output: "Output", lines: list[Line], options: dict[str, Any]
) -> ExitCode:
    """Check one target after the other, and return the exit code of all of them."""
    for name in names:
        try:
            with _progress() as progress:
                result = check(problem, name, **options, progress=progress)
        except InterruptedCheck as interrupted:
            output.result(interrupted.result)
            click.echo(f"{interrupted}.".capitalize(), err=True)
            return ExitCode.INTERRUPTED
        except TargetError as error:
            output.no_answer(name, error)
            lines.append(Line(name, 0, 0, None))
        else:
            output.result(result)
            lines.append(Line.of(name, result))
    verdicts = [line.verdict for line in lines if line.verdict is not None]
    if not verdicts:
        return ExitCode.NO_ANSWER
    # Where some gave no answer, the others' passes are not all that was asked for.
    return ExitCode.of(Verdict.worst(verdicts)) or ExitCode(len(verdicts) < len(lines))


class Output:
    """Reports on stdout, one after the other; as JSON an array of documents, if of several."""

    def __init__(self, format_: str, several: bool) -> None:
        self._show, self._several = FORMATS[format_], several
        self._array, self._written = format_ == "json" and several, 0

    def result(self, result: CheckResult) -> None:
        """Write one report."""
        self._write(self._show(result))

    def no_answer(self, name: str, error: TargetError) -> None:
        """Say on stderr why there is no report, and in an array of documents as well."""
        whose = "" if str(error).startswith(name) else f"{name}: "
        click.echo(f"Error: {whose}{error}", err=True)
        if self._array:
            self._write(no_answer_as_json(name, str(error)))

    def end(self, lines: Sequence[Line]) -> None:
        """Write what follows the reports of several targets."""
        if self._array:
            streams.write("]\n")
        elif self._several:
            streams.write(Summary(lines))

    def _write(self, content: RenderableType | str) -> None:
        if self._array:
            streams.write("," if self._written else "[")
        self._written += 1
        streams.write(content)


@contextmanager
def _progress() -> Iterator[Progress]:
    """Show a bar on stderr where that is a terminal and the work takes long enough to see it."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield silent
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn  # noqa: PLC0415 - only where somebody looks

    columns = ("entries", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=streams.console_on(sys.stderr), transient=True)
    task, started = bar.add_task(""), time.monotonic()

    def show(done: int, total: int) -> None:
        if not bar.live.is_started and time.monotonic() - started > PATIENCE:
            bar.start()
        bar.update(task, completed=done, total=total)

    try:
        yield show
    finally:
        bar.stop()
