"""``bncheck sweep``: checks over lists and ranges; ``bncheck report``: their tables again."""

import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import click

from bncheck.cli import signals, stdio
from bncheck.cli.exit_codes import ExitCode
from bncheck.cli.output import CHECK_FORMATS, Output, output_options, plot_option, refuse_same
from bncheck.cli.parameters import NAMES, REAL, SEED, SIZE, STEP, Values
from bncheck.cli.sections import SectionedCommand, SectionOption
from bncheck.errors import BncheckError, InvalidInput
from bncheck.model.options import ENGINES, GRADIENTS, CheckOptions, parse_gradient_names
from bncheck.model.verdict import Verdict
from bncheck.numerical.schemes import SCHEMES
from bncheck.render.sweep_report import SweepReport
from bncheck.sweeps.aggregate import SweepSummary
from bncheck.sweeps.convergence import observed_orders
from bncheck.sweeps.grid import Grid, SweepPoint
from bncheck.sweeps.rows import Row
from bncheck.sweeps.runner import create_pool, run_grid
from bncheck.sweeps.sweep_file import SweepFile, rows_of
from bncheck.targets.loading import expand_pattern

axis_option = partial(click.option, cls=SectionOption, section="Axes (a value, a list 8,64,256, or a range)")
shared_option = partial(click.option, cls=SectionOption, section="The same for all")
execution_option = partial(click.option, cls=SectionOption, section="Work")

# Seconds between lines of progress: on a terminal, where they overwrite each other, and elsewhere.
LIVE_REFRESH_SECONDS, LOG_INTERVAL_SECONDS = 0.1, 10.0

SCHEME_NAMES = click.Choice(list(SCHEMES))


@click.command(
    cls=SectionedCommand,
    short_help="Check over lists and ranges.",
    examples=(
        "bncheck sweep --step 1e-1..1e-12 --scheme central,five-point",
        "bncheck sweep --N 8,64 --D 20 --H 10 --bn-eps 1e-5,1 --seed 0..9 --jobs 2",
        "bncheck sweep layers.py --x-mean 0,100 --x-std 1,10 --only dX,dh",
        "bncheck sweep --N 8 --D 5 --H 4 --engine full --rtol 1e-5 --atol 1e-8",
        "bncheck sweep --N 8 --seed 0..99 --out more.jsonl --resume --format jsonl",
        "bncheck sweep --N 8,64 --format markdown --save table.svg --plot v.png",
    ),
)
@click.argument("targets", metavar="[TARGET]...", nargs=-1, type=click.Path())
@axis_option("--N", "N", type=Values(SIZE, True), default="64", help="Batch size.")
@axis_option("--D", "D", type=Values(SIZE, True), default="100", help="Input features.")
@axis_option("--H", "H", type=Values(SIZE, True), default="50", help="Hidden units.")
@axis_option("--seed", type=Values(SEED, True), default="0", help="Seeds, such as 0..9.")
@axis_option("--bn-eps", type=Values(REAL, False), default="1e-5", help="Batch norm's constant.")
@axis_option("--x-mean", type=Values(REAL, False), default="0", help="Mean of X.")
@axis_option("--x-std", type=Values(REAL, False), default="1", help="Standard deviation of X.")
@axis_option("--scheme", type=Values(SCHEME_NAMES, False), default="central", help=f"Of {', '.join(SCHEMES)}.")
@axis_option("--step", type=Values(STEP, False), default="auto", help="Steps: 1e-1..1e-12 one per decade, ../3 three.")
@shared_option("--engine", type=click.Choice(ENGINES), default="local", help="As for run.")
@shared_option("--only", type=NAMES, metavar="dW,dgamma,...", help=f"Of {', '.join(GRADIENTS)}.  [default: all]")
@shared_option("--rtol", type=REAL, help="As for run.  [default: error bars]")
@shared_option("--atol", type=REAL, help="As for run.  [default: error bars]")
@execution_option("--jobs", type=SIZE, default=1, help="Processes.")
@execution_option("--dask", metavar="ADDRESS", help="A Dask scheduler, whose workers do it.  [default: this machine]")
@execution_option(
    "--out", type=click.Path(path_type=Path), help="Append a row per check to this file.  [default: none]"
)
@execution_option("--resume", is_flag=True, help="Skip what --out holds and finish the rest.  [default: off]")
@output_options(*CHECK_FORMATS, streamed="jsonl")
@plot_option
def sweep(
    targets: tuple[str, ...],
    jobs: int,
    dask: str | None,
    out: Path | None,
    resume: bool,
    format_: str,
    save: tuple[str, ...],
    plot: tuple[str, ...],
    **given: Any,
) -> ExitCode:
    """Check targets over lists and ranges of shapes, epsilons, steps, schemes and seeds.

    Every combination is a check of its own, as run does it. Shown are correct digits: minus the
    logarithm of ||a - n|| / max(||a||, ||n||).
    """
    if resume and out is None:
        raise click.UsageError("--resume needs --out, the file to finish")
    if jobs < 1:
        raise click.UsageError(f"--jobs is {jobs}; take 1 or more")
    if dask is not None and jobs > 1:
        raise click.UsageError(f"--jobs {jobs} are processes of this machine; leave it out with --dask")
    refuse_same([str(out)] if out else [], save, plot)
    fixed = {name: given.pop(name) for name in ("engine", "only", "rtol", "atol")}
    method = CheckOptions(**{**fixed, "only": parse_gradient_names(fixed["only"])})
    names = [name for target in targets or ("reference",) for name in expand_pattern(target)]
    grid = Grid({"target": tuple(names), **given}, method)
    command = _command(names, given, method)
    started, tally, rows = time.monotonic(), SweepSummary(), list[Row]()

    def record_row(row: Row) -> None:
        tally.add(row.rounded)  # so that report draws and tells the same of the file
        if output.needs_all_rows:
            rows.append(row)

    def show(orders: Mapping[str, Mapping[str, float]]) -> None:
        if tally.count:
            output.show(SweepReport(tally, command, orders, time.monotonic() - started, rows))

    with ExitStack() as closed:
        output = closed.enter_context(Output(format_, save, plot))
        workers = create_pool(grid, jobs, dask, partial(click.echo, err=True))
        if workers is not None:
            closed.callback(workers.close)
        file = None if out is None else closed.enter_context(closing(SweepFile(out, grid.sweep_id, resume=resume)))
        if resume and out is not None:
            for row in rows_of(out):
                record_row(row)
        progress = _progress(len(grid), tally)
        try:
            for row in run_grid(grid, workers, done=file.completed_keys if file else ()):
                with signals.defer_signals():  # what is told is what the file holds
                    if file is not None:
                        file.append(row)
                    record_row(row)
                if format_ == "jsonl":
                    stdio.write(row.to_json(grid.sweep_id) + "\n")
                progress(False)
        except (KeyboardInterrupt, Exception) as error:
            # Some code makes an error of its own of an interruption.
            stopped = isinstance(error, KeyboardInterrupt) or bool(signals.received_signals)
            if not stopped and not isinstance(error, BncheckError):
                raise
            progress(True)
            show({})
            way = f"; finish it with: {command} --out {shlex.quote(str(out))} --resume" if out else ""
            return _report_early_end(None if stopped else error, f"after {tally.count:,} of {len(grid):,} checks{way}")
        progress(True)
        show(observed_orders(grid))
    return ExitCode.PASS if tally.passed else ExitCode.NOT_PASSED


def _report_early_end(error: BaseException | None, told: str) -> ExitCode:
    """Say how far a sweep came that an error, or without one an interruption, has ended."""
    if error is not None:
        raise InvalidInput(f"{error} ({told})") from error
    click.echo(f"Interrupted {told}", err=True)
    return ExitCode.INTERRUPTED


@click.command(
    cls=SectionedCommand,
    short_help="Show the tables of a sweep's files again.",
    examples=(
        "bncheck report rows.jsonl",
        "bncheck report rows.jsonl --format junit --save rows.json",
        "bncheck report rows.jsonl --plot v.svg",
    ),
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@output_options(*CHECK_FORMATS)
@plot_option
def report(files: tuple[Path, ...], format_: str, save: tuple[str, ...], plot: tuple[str, ...]) -> ExitCode:
    """Show the tables of a sweep's files again, many together; a check that is in two counts once.

    A row is a line of JSON; pandas reads it with: pandas.read_json("rows.jsonl", lines=True)
    """
    refuse_same(map(str, files), save, plot)
    tally, seen, rows = SweepSummary(), set[int](), list[Row]()
    with Output(format_, save, plot) as output:
        for path in files:
            for row in rows_of(path):
                if row.point.key not in seen:
                    seen.add(row.point.key)
                    tally.add(row)
                    if output.needs_all_rows:
                        rows.append(row)
        if not tally.count:
            raise click.UsageError(f"no rows in {', '.join(map(str, files))}")
        output.show(SweepReport(tally, rows=rows))
    return ExitCode.PASS if tally.passed else ExitCode.NOT_PASSED


def _progress(total: int, tally: SweepSummary) -> Callable[[bool], None]:
    """Tell on stderr how far it is: live on a terminal, now and then elsewhere, not for short work."""
    live, started, already, last = stdio.is_terminal(sys.stderr), time.monotonic(), tally.count, time.monotonic()

    def show(end: bool) -> None:
        nonlocal last
        now = time.monotonic()
        if live and end:
            click.echo("\r\x1b[K", nl=False, err=True)
        if end or now - last < (LIVE_REFRESH_SECONDS if live else LOG_INTERVAL_SECONDS):
            return
        last = now
        rate = (tally.count - already) / (now - started)
        left = _duration((total - tally.count) / rate) if rate else "?"
        failed = tally.total.verdicts[Verdict.FAIL] + tally.total.verdicts[None]
        line = f"  {tally.count:,} of {total:,}   {rate:.0f} per s   {left} left   {failed:,} failed"
        click.echo(f"\r\x1b[K{line}" if live else line, nl=not live, err=True)

    return show


def _duration(seconds: float) -> str:
    """Write 75 as 1 min 15 s."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _command(targets: Sequence[str], axes: dict[str, tuple[Any, ...]], method: CheckOptions) -> str:
    """Return the command that does it again, every axis listed."""
    words = ["bncheck", "sweep", *(shlex.quote(t) for t in targets if t != "reference")]
    if "reference" in targets and len(targets) > 1:
        words.insert(2, "reference")
    for axis, values in axes.items():
        if axis in ("N", "D", "H", "seed") or values != (getattr(SweepPoint(), axis),):
            words += [f"--{axis.replace('_', '-')}", _format_axis(values)]
    usual = CheckOptions()
    for name in ("engine", "only", "rtol", "atol"):
        value = getattr(method, name)
        if value != getattr(usual, name):
            words += [f"--{name}", ",".join(value) if isinstance(value, tuple) else str(value)]
    return " ".join(words)


def _format_axis(values: Sequence[Any]) -> str:
    """Write an axis: whole numbers one after the other, and decades, as the range that they are."""
    whole = all(isinstance(v, int) for v in values)
    if len(values) > 2 and whole and list(values) == list(range(values[0], values[-1] + 1)):
        return f"{values[0]}..{values[-1]}"
    if len(values) > 2 and all(isinstance(v, float) and v > 0 for v in values):
        for per_decade in range(1, 11):
            written = f"{values[0]:g}..{values[-1]:g}" + (f"/{per_decade}" if per_decade > 1 else "")
            if Values(REAL, False).convert(written, None, None) == tuple(values):
                return written
    return ",".join(str(v).removesuffix(".0") for v in values)
